package results

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// CreateTrial makes the folder of a planned trial, with nodes/ inside, and
// returns its path. A trial that has a verdict is left alone: ErrExists. What
// an interrupted attempt left is moved aside, to "0007.interrupted-1", where
// no reader looks.
func (f *Folder) CreateTrial(trial int) (string, error) {
	if _, ok := f.planned[trial]; !ok {
		return "", fmt.Errorf("creating trial %d: %w", trial, ErrNotPlanned)
	}
	dir := f.TrialDir(trial)
	if _, err := os.Lstat(filepath.Join(dir, VerdictFile)); err == nil {
		return "", fmt.Errorf("creating trial %d: %s: %w", trial, dir, ErrExists)
	}
	if err := moveAside(dir); err != nil {
		return "", fmt.Errorf("creating trial %d: %w", trial, err)
	}
	if err := os.MkdirAll(f.NodesDir(trial), 0o755); err != nil {
		return "", fmt.Errorf("creating trial %d: %w", trial, err)
	}
	if err := f.trials.syncDir(filepath.Dir(dir)); err != nil {
		return "", fmt.Errorf("creating trial %d: %w", trial, err)
	}
	return dir, nil
}

func moveAside(dir string) error {
	if _, err := os.Lstat(dir); errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	for i := 1; ; i++ {
		aside := fmt.Sprintf("%s.interrupted-%d", dir, i)
		if _, err := os.Lstat(aside); errors.Is(err, os.ErrNotExist) {
			return os.Rename(dir, aside)
		} else if err != nil {
			return err
		}
	}
}

// WriteLinks writes a trial's links.json.
func (f *Folder) WriteLinks(trial int, links Links) error {
	return writeJSON(filepath.Join(f.TrialDir(trial), linksFile), f.trials, links)
}

// ReadLinks reads a trial's links.json; the error wraps os.ErrNotExist if it
// has none.
func (f *Folder) ReadLinks(trial int) (*Links, error) {
	links := &Links{}
	if err := readJSON(filepath.Join(f.TrialDir(trial), linksFile), links); err != nil {
		return nil, err
	}
	return links, nil
}

// WriteFaults writes a trial's faults.json.
func (f *Folder) WriteFaults(trial int, faults Faults) error {
	return writeJSON(filepath.Join(f.TrialDir(trial), faultsFile), f.trials, faults)
}

// ReadFaults reads a trial's faults.json; the error wraps os.ErrNotExist if it
// has none, as trials without a schedule do.
func (f *Folder) ReadFaults(trial int) (*Faults, error) {
	faults := &Faults{}
	if err := readJSON(filepath.Join(f.TrialDir(trial), faultsFile), faults); err != nil {
		return nil, err
	}
	return faults, nil
}

// WriteVerdict writes a trial's verdict.json, which must be its last file: from
// then on the trial counts and can't be written again (ErrExists).
func (f *Folder) WriteVerdict(verdict Verdict) error {
	if _, ok := f.planned[verdict.Trial]; !ok {
		return fmt.Errorf("verdict of trial %d: %w", verdict.Trial, ErrNotPlanned)
	}
	dir := f.TrialDir(verdict.Trial)
	path := filepath.Join(dir, VerdictFile)
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s: %w", path, ErrExists)
	}
	// Files that others wrote into the folder have their names synced first.
	if err := f.trials.syncDir(dir); err != nil {
		return err
	}
	return writeJSON(path, f.trials, verdict)
}

// Trials reads the verdicts of all trials that have one, in the order of the
// plan.
func (f *Folder) Trials() ([]Verdict, error) {
	var verdicts []Verdict
	for _, planned := range f.manifest.Plan {
		path := filepath.Join(f.TrialDir(planned.Trial), VerdictFile)
		var verdict Verdict
		err := readJSON(path, &verdict)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if verdict.Trial != planned.Trial || verdict.Point != planned.Point {
			return nil, fmt.Errorf("reading %s: it is about trial %d of point %d, the plan has trial %d of point %d there",
				path, verdict.Trial, verdict.Point, planned.Trial, planned.Point)
		}
		verdicts = append(verdicts, verdict)
	}
	return verdicts, nil
}

// Missing lists the planned trials without a verdict, in the order of the plan.
func (f *Folder) Missing() ([]PlannedTrial, error) {
	var missing []PlannedTrial
	for _, planned := range f.manifest.Plan {
		path := filepath.Join(f.TrialDir(planned.Trial), VerdictFile)
		if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
			missing = append(missing, planned)
		} else if err != nil {
			return nil, fmt.Errorf("reading run folder: %w", err)
		}
	}
	return missing, nil
}
