package results

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// FormatVersion is the version of the run folder's layout. Added fields don't
// change it.
const FormatVersion = 1

// Errors that callers can meet, wrapped with the path they are about.
var (
	// ErrExists is returned instead of writing over earlier results.
	ErrExists = errors.New("already holds something; earlier results are never overwritten")
	// ErrNotRunFolder is returned for a folder without a run's manifest.
	ErrNotRunFolder = errors.New("not a run folder")
	// ErrManifest is returned for a manifest that can't be read.
	ErrManifest = errors.New("unreadable manifest")
	// ErrNewer is returned for a run folder of a later version of the tool.
	ErrNewer = errors.New("written by a newer version of this tool")
	// ErrNotPlanned is returned for a trial that the plan doesn't have.
	ErrNotPlanned = errors.New("no such trial in the plan")
)

// Names of the files of a run folder.
const (
	manifestFile    = "manifest.json"
	summaryFile     = "summary.json"
	summaryCSVFile  = "summary.csv"
	trialsFolder    = "trials"
	nodesFolder     = "nodes"
	requestsFile    = "requests.csv.gz"
	eventsFile      = "events.jsonl.gz"
	linksFile       = "links.json"
	faultsFile      = "faults.json"
	timestampFormat = "20060102-150405"

	// VerdictFile says whether a trial counts, and why not.
	VerdictFile = "verdict.json"
	// ViolationPage shows, in a trial's folder, the requests that no order
	// explains; violation.json beside it has them for programs.
	ViolationPage = "violation.html"
)

// Folder is a run folder. Its methods may be called at the same time for
// different trials. What belongs to a trial survives a power cut unless the run
// is simulated.
type Folder struct {
	dir      string
	manifest Manifest
	planned  map[int]PlannedTrial
	// trials is how durable the files of trials are: a simulated one can be
	// repeated bit for bit.
	trials durability
}

// DefaultDir names a folder for a run of the named experiment that doesn't
// exist yet: parent/NAME-YYYYMMDD-HHMMSS, with -2, -3 and so on if it is taken.
func DefaultDir(parent, name string, at time.Time) string {
	base := filepath.Join(parent, FileName(name)+"-"+at.Format(timestampFormat))
	dir := base
	for i := 2; ; i++ {
		if _, err := os.Lstat(dir); err != nil {
			return dir
		}
		dir = fmt.Sprintf("%s-%d", base, i)
	}
}

// FileName makes any name fit for a file's.
func FileName(name string) string {
	safe := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_', r == '.':
			return r
		}
		return '-'
	}, name)
	safe = strings.TrimLeft(safe, ".-")
	if len(safe) > 100 {
		safe = safe[:100]
	}
	if safe == "" {
		return "run"
	}
	return safe
}

// Create makes a run folder, with its parents, and writes the manifest. It
// returns ErrExists if dir is there already and isn't empty.
func Create(dir string, manifest Manifest) (*Folder, error) {
	manifest.Format = FormatVersion
	folder, err := newFolder(dir, manifest)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("creating run folder: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("creating run folder: %w", err)
	}
	if len(entries) > 0 {
		return nil, fmt.Errorf("run folder %s: %w", dir, ErrExists)
	}
	// Of two that create the same folder at once, only one makes this.
	if err := os.Mkdir(filepath.Join(dir, trialsFolder), 0o755); errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("run folder %s: %w", dir, ErrExists)
	} else if err != nil {
		return nil, fmt.Errorf("creating run folder: %w", err)
	}
	if err := writeJSON(filepath.Join(dir, manifestFile), synced, manifest); err != nil {
		return nil, err
	}
	if err := synced.syncDir(filepath.Dir(filepath.Clean(dir))); err != nil {
		return nil, err
	}
	return folder, nil
}

// Open opens a run folder. It returns ErrNotRunFolder, ErrManifest or ErrNewer
// if dir isn't one that this version can read.
func Open(dir string) (*Folder, error) {
	file := filepath.Join(dir, manifestFile)
	data, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w: it has no %s", dir, ErrNotRunFolder, manifestFile)
	}
	if err != nil {
		return nil, fmt.Errorf("opening run folder: %w", err)
	}
	var version struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(data, &version); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", file, ErrManifest, err)
	}
	if version.Format > FormatVersion {
		return nil, fmt.Errorf("%s: %w: format %d, this one reads up to %d",
			file, ErrNewer, version.Format, FormatVersion)
	}
	if version.Format < 1 {
		return nil, fmt.Errorf("%s: %w: its %s has no format", dir, ErrNotRunFolder, manifestFile)
	}
	var manifest Manifest
	if err := json.Unmarshal(data, &manifest); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", file, ErrManifest, err)
	}
	return newFolder(dir, manifest)
}

func newFolder(dir string, manifest Manifest) (*Folder, error) {
	planned := make(map[int]PlannedTrial, len(manifest.Plan))
	for _, trial := range manifest.Plan {
		if _, twice := planned[trial.Trial]; twice || trial.Trial < 1 {
			return nil, fmt.Errorf("run folder %s: %w: trial numbers must be positive and different, found %d",
				dir, ErrManifest, trial.Trial)
		}
		planned[trial.Trial] = trial
	}
	return &Folder{dir: dir, manifest: manifest, planned: planned, trials: durability(!manifest.Simulated)}, nil
}

// Dir is the folder's path, as it was given.
func (f *Folder) Dir() string { return f.dir }

// Manifest is what was planned. It must not be changed.
func (f *Folder) Manifest() Manifest { return f.manifest }

// TrialDir is the path of a trial's folder, whether it exists or not.
func (f *Folder) TrialDir(trial int) string {
	return filepath.Join(f.dir, trialsFolder, trialName(trial))
}

// TrialPath is the path of a file of a trial's folder, relative to the run
// folder and with slashes.
func TrialPath(trial int, name string) string {
	return path.Join(trialsFolder, trialName(trial), name)
}

// trialName is the name of a trial's folder.
func trialName(trial int) string { return fmt.Sprintf("%04d", trial) }

// NodesDir is the folder for the logs and exit statuses of a trial's nodes.
func (f *Folder) NodesDir(trial int) string {
	return filepath.Join(f.TrialDir(trial), nodesFolder)
}

// WriteTraceHashes notes in the manifest the trace hashes of the trials that have
// a verdict and, if all of the plan have one, that of the whole run. It must not
// be called at the same time as any other method.
func (f *Folder) WriteTraceHashes() error {
	verdicts, err := f.Trials()
	if err != nil {
		return err
	}
	hashes := map[int]string{}
	for _, verdict := range verdicts {
		hashes[verdict.Trial] = verdict.TraceHash
	}
	manifest := f.manifest
	manifest.Plan = slices.Clone(manifest.Plan)
	whole := sha256.New()
	for i := range manifest.Plan {
		planned := &manifest.Plan[i]
		planned.TraceHash = hashes[planned.Trial]
		fmt.Fprintf(whole, "%d %s\n", planned.Trial, planned.TraceHash)
	}
	manifest.TraceHash = ""
	if len(verdicts) == len(manifest.Plan) {
		manifest.TraceHash = hex.EncodeToString(whole.Sum(nil))
	}
	if err := writeJSON(filepath.Join(f.dir, manifestFile), synced, manifest); err != nil {
		return err
	}
	f.manifest = manifest
	return nil
}

// WriteSummary writes summary.json and summary.csv, replacing earlier ones,
// which were derived too.
func (f *Folder) WriteSummary(summary *Summary) error {
	if err := writeJSON(filepath.Join(f.dir, summaryFile), synced, summary); err != nil {
		return err
	}
	return writeFile(filepath.Join(f.dir, summaryCSVFile), synced, summary.writeCSV)
}

// WriteDerived writes a file of the run folder that can be derived again, replacing an
// earlier one. Name is its path below the folder.
func (f *Folder) WriteDerived(name string, write func(io.Writer) error) error {
	path := filepath.Join(f.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return writeFile(path, synced, write)
}

// ReadSummary reads summary.json; the error wraps os.ErrNotExist if there is
// none yet.
func (f *Folder) ReadSummary() (*Summary, error) {
	summary := &Summary{}
	if err := readJSON(filepath.Join(f.dir, summaryFile), summary); err != nil {
		return nil, err
	}
	return summary, nil
}
