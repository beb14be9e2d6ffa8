package results

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func testManifest() Manifest {
	return Manifest{Experiment: "star <&>", Seed: 7, Repeat: 2, Engine: "netns", Links: "kernel",
		Plan: []PlannedTrial{
			{Trial: 2, Point: 0, Repeat: 0, Params: json.RawMessage(`{"a.b":1}`)},
			{Trial: 1, Point: 0, Repeat: 1, Params: json.RawMessage(`{"a.b":1}`)},
			{Trial: 3, Point: 1, Repeat: 0, Params: json.RawMessage(`{"a.b":2}`)},
		}}
}

func create(t *testing.T) *Folder {
	t.Helper()
	folder, err := Create(filepath.Join(t.TempDir(), "runs", "x"), testManifest())
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

func verdictOf(trial, point int) Verdict {
	return Verdict{Trial: trial, Point: point, Valid: true, Params: json.RawMessage(`{}`)}
}

func TestCreateThenOpen(t *testing.T) {
	created := create(t)
	opened, err := Open(created.Dir())
	if err != nil {
		t.Fatal(err)
	}
	want, got := created.Manifest(), opened.Manifest()
	if got.Experiment != want.Experiment || got.Format != FormatVersion || len(got.Plan) != 3 {
		t.Errorf("opened %+v, created %+v", got, want)
	}
	text, err := os.ReadFile(filepath.Join(created.Dir(), manifestFile))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "star <&>") {
		t.Errorf("the manifest isn't readable by people: %s", text)
	}
}

func TestCreateRefusesWhatExists(t *testing.T) {
	folder := create(t)
	if _, err := Create(folder.Dir(), testManifest()); !errors.Is(err, ErrExists) {
		t.Errorf("over a run folder: %v, want ErrExists", err)
	}
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "thesis.tex"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(other, testManifest()); !errors.Is(err, ErrExists) {
		t.Errorf("over somebody's files: %v, want ErrExists", err)
	}
	if _, err := Create(t.TempDir(), testManifest()); err != nil {
		t.Errorf("in an empty directory: %v", err)
	}
}

func TestOnlyOneOfManyCreates(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	var created atomic.Int32
	var wait sync.WaitGroup
	for range 16 {
		wait.Go(func() {
			_, err := Create(dir, testManifest())
			if err == nil {
				created.Add(1)
			} else if !errors.Is(err, ErrExists) {
				t.Errorf("want ErrExists, got %v", err)
			}
		})
	}
	wait.Wait()
	if created.Load() != 1 {
		t.Errorf("%d callers created the same folder", created.Load())
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	tests := []struct {
		name, manifest string
		want           error
	}{
		{"no manifest", "", ErrNotRunFolder},
		{"not JSON", "{", ErrManifest},
		{"another tool's", `{"name": "app"}`, ErrNotRunFolder},
		{"wrong types", `{"format": 1, "plan": "none"}`, ErrManifest},
		{"newer", `{"format": 2, "plan": "in a new form"}`, ErrNewer},
		{"same trial twice", `{"format": 1, "plan": [{"trial": 1}, {"trial": 1}]}`, ErrManifest},
		{"trial zero", `{"format": 1, "plan": [{"trial": 0}]}`, ErrManifest},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			if test.manifest != "" {
				if err := os.WriteFile(filepath.Join(dir, manifestFile), []byte(test.manifest), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			_, err := Open(dir)
			if !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if err != nil && !strings.Contains(err.Error(), dir) {
				t.Errorf("%q doesn't say where", err)
			}
		})
	}
	if _, err := Open(filepath.Join(t.TempDir(), "nothing")); !errors.Is(err, ErrNotRunFolder) {
		t.Errorf("a folder that isn't there: %v", err)
	}
}

func TestDefaultDir(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	tests := []struct{ name, want string }{
		{"size", "size-20260102-030405"},
		{"../../etc/x y", "etc-x-y-20260102-030405"},
		{"ü", "run-20260102-030405"},
		{"", "run-20260102-030405"},
	}
	for _, test := range tests {
		if got := DefaultDir("runs", test.name, at); got != filepath.Join("runs", test.want) {
			t.Errorf("DefaultDir(%q) = %s, want %s", test.name, got, test.want)
		}
	}
	parent := t.TempDir()
	for _, want := range []string{"x-20260102-030405", "x-20260102-030405-2", "x-20260102-030405-3"} {
		dir := DefaultDir(parent, "x", at)
		if filepath.Base(dir) != want {
			t.Errorf("DefaultDir = %s, want %s", dir, want)
		}
		if _, err := Create(dir, testManifest()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTrialCountsOnlyWithVerdict(t *testing.T) {
	folder := create(t)
	for _, trial := range []int{1, 2} {
		if _, err := folder.CreateTrial(trial); err != nil {
			t.Fatal(err)
		}
		if err := folder.WriteLinks(trial, Links{Executor: "kernel"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := folder.WriteVerdict(verdictOf(1, 0)); err != nil {
		t.Fatal(err)
	}
	verdicts, err := folder.Trials()
	if err != nil || len(verdicts) != 1 || verdicts[0].Trial != 1 {
		t.Errorf("trials %+v, %v; want only trial 1", verdicts, err)
	}
	missing, err := folder.Missing()
	if err != nil || len(missing) != 2 || missing[0].Trial != 2 || missing[1].Trial != 3 {
		t.Errorf("missing %+v, %v; want trials 2 and 3", missing, err)
	}
	if links, err := folder.ReadLinks(1); err != nil || links.Executor != "kernel" {
		t.Errorf("links %+v, %v", links, err)
	}
	if _, err := folder.ReadLinks(3); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("links of a trial that never ran: %v", err)
	}
}

func TestEarlierResultsAreNeverLost(t *testing.T) {
	folder := create(t)
	dir, err := folder.CreateTrial(1)
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, nodesFolder, "replica1.log")
	if err := os.WriteFile(log, []byte("first"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := folder.CreateTrial(1); err != nil {
		t.Fatalf("an interrupted trial again: %v", err)
	}
	aside, err := os.ReadFile(filepath.Join(dir+".interrupted-1", nodesFolder, "replica1.log"))
	if err != nil || string(aside) != "first" {
		t.Errorf("the interrupted attempt: %q, %v", aside, err)
	}
	if _, err := os.Stat(log); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the new attempt begins with old files: %v", err)
	}
	if err := folder.WriteVerdict(verdictOf(1, 0)); err != nil {
		t.Fatal(err)
	}
	if err := folder.WriteVerdict(verdictOf(1, 0)); !errors.Is(err, ErrExists) {
		t.Errorf("a second verdict: %v, want ErrExists", err)
	}
	if _, err := folder.CreateTrial(1); !errors.Is(err, ErrExists) {
		t.Errorf("a trial that counts again: %v, want ErrExists", err)
	}
	if _, err := folder.CreateTrial(9); !errors.Is(err, ErrNotPlanned) {
		t.Errorf("an unplanned trial: %v, want ErrNotPlanned", err)
	}
	if err := folder.WriteVerdict(verdictOf(9, 0)); !errors.Is(err, ErrNotPlanned) {
		t.Errorf("an unplanned verdict: %v, want ErrNotPlanned", err)
	}
}

func TestTraceHashesComeFromTheVerdicts(t *testing.T) {
	manifest := testManifest()
	manifest.Simulated = true
	folder, err := Create(filepath.Join(t.TempDir(), "x"), manifest)
	if err != nil {
		t.Fatal(err)
	}
	finish := func(trial, point int, hash string) {
		t.Helper()
		if _, err := folder.CreateTrial(trial); err != nil {
			t.Fatal(err)
		}
		verdict := verdictOf(trial, point)
		verdict.TraceHash = hash
		if err := folder.WriteVerdict(verdict); err != nil {
			t.Fatal(err)
		}
		if err := folder.WriteTraceHashes(); err != nil {
			t.Fatal(err)
		}
	}
	read := func() Manifest {
		t.Helper()
		opened, err := Open(folder.Dir())
		if err != nil {
			t.Fatal(err)
		}
		return opened.Manifest()
	}
	finish(2, 0, "aa")
	finish(3, 1, "cc")
	if m := read(); m.TraceHash != "" || m.Plan[0].TraceHash != "aa" || m.Plan[1].TraceHash != "" || m.Plan[2].TraceHash != "cc" {
		t.Errorf("with one trial missing: %+v", m)
	}
	finish(1, 0, "bb")
	// printf '2 aa\n1 bb\n3 cc\n' | sha256sum
	const want = "14e29766c0de7c15e51175b520dc5d3e3a59ad9bf2c4f83b7c66fa7036c0771c"
	if m := read(); m.TraceHash != want || folder.Manifest().TraceHash != want || m.Experiment != manifest.Experiment {
		t.Errorf("the whole run's: %s, want %s", m.TraceHash, want)
	}
}

func TestRequestsAndEventsAreWrittenAllOrNothing(t *testing.T) {
	folder := create(t)
	if _, err := folder.CreateTrial(1); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	for _, failed := range []error{broken, nil} {
		err := folder.WriteRequests(1, func(w *RowWriter) error {
			return errors.Join(w.Write(Row{Client: "client1", Sequence: 1, Operation: "nop", Outcome: OutcomeOK}), failed)
		})
		if !errors.Is(err, failed) {
			t.Errorf("writing requests: %v, want %v", err, failed)
		}
		err = folder.WriteEvents(1, func(w io.Writer) error {
			_, err := w.Write([]byte("{}\n"))
			return errors.Join(err, failed)
		})
		if !errors.Is(err, failed) {
			t.Errorf("writing events: %v, want %v", err, failed)
		}
		events, err := folder.OpenEvents(1)
		if failed != nil {
			if !errors.Is(err, os.ErrNotExist) {
				t.Errorf("half a file of events: %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(events); err != nil || string(text) != "{}\n" {
			t.Errorf("events %q, %v", text, err)
		}
		if err := events.Close(); err != nil {
			t.Error(err)
		}
	}
	rows := 0
	for row, err := range folder.Requests(1) {
		if err != nil || row.Client != "client1" {
			t.Errorf("row %+v, %v", row, err)
		}
		rows++
	}
	if rows != 1 {
		t.Errorf("%d rows, want 1", rows)
	}
}

func TestDamagedVerdictIsAnError(t *testing.T) {
	for name, content := range map[string]string{
		"half": `{"trial": 1,`, "empty": "", "of another trial": `{"trial": 2, "point": 0}`,
	} {
		folder := create(t)
		dir, err := folder.CreateTrial(1)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, VerdictFile), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if verdicts, err := folder.Trials(); err == nil {
			t.Errorf("%s: read as %+v", name, verdicts)
		} else if !strings.Contains(err.Error(), filepath.Join("0001", VerdictFile)) {
			t.Errorf("%s: %q doesn't name the file", name, err)
		}
	}
}

func TestWriteFileIsAllOrNothing(t *testing.T) {
	folder := create(t)
	summary := &Summary{Experiment: "first", Points: []Point{}}
	if err := folder.WriteSummary(summary); err != nil {
		t.Fatal(err)
	}
	bad := &Summary{Experiment: "second", Points: []Point{{Params: map[string]json.RawMessage{"x": json.RawMessage("{")}}}}
	if err := folder.WriteSummary(bad); err == nil {
		t.Fatal("a summary that can't be encoded was written")
	}
	back, err := folder.ReadSummary()
	if err != nil || back.Experiment != "first" {
		t.Errorf("after a failed write: %+v, %v", back, err)
	}
	entries, err := os.ReadDir(folder.Dir())
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), ".tmp") {
			t.Errorf("%s was left behind", entry.Name())
		}
	}
}

func TestSummaryCSV(t *testing.T) {
	mean, p50 := 240.5, 240.0
	summary := &Summary{Engine: "sim", Label: LabelSimulated, Points: []Point{
		{Params: map[string]json.RawMessage{"z": json.RawMessage(`"20ms"`), "a": json.RawMessage(`{"max": 1, "n": "a,b"}`)},
			Trials: 5, Attempted: 5, Latency: &Latency{Trials: 5, Requests: 10, Mean: &mean, P50: &p50,
				CI95: &[2]float64{240, 241}, CIMethod: "t"}, Agreement: "ok"},
		{Params: map[string]json.RawMessage{"z": json.RawMessage(`3`)}},
	}}
	folder := create(t)
	if err := folder.WriteSummary(summary); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(folder.Dir(), summaryCSVFile))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	want := []string{
		"a,z,trials,void,attempted,latency_ms_n_trials,latency_ms_n_requests,latency_ms_mean,latency_ms_stddev,latency_ms_ci95_low,latency_ms_ci95_high,latency_ms_ci_method,",
		`"{""max"": 1, ""n"": ""a,b""}",20ms,5,0,5,5,10,240.5,,240,241,t,`,
		",3,0,0,0,,,,,,,,",
	}
	if len(lines) != 4 || lines[3] != "" {
		t.Fatalf("want 3 lines, got %q", lines)
	}
	for i, end := range []string{",engine,label", ",sim,SIMULATED", ",sim,SIMULATED"} {
		if !strings.HasSuffix(lines[i], end) {
			t.Errorf("line %d is %s, want it to end with %s", i+1, lines[i], end)
		}
	}
	for i, prefix := range want {
		if !strings.HasPrefix(lines[i], prefix) {
			t.Errorf("line %d is %s, want it to begin with %s", i+1, lines[i], prefix)
		}
	}
}
