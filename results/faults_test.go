package results

import (
	"encoding/csv"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func faultsFolder(t *testing.T) *Folder {
	t.Helper()
	folder, err := Create(filepath.Join(t.TempDir(), "run"), Manifest{Simulated: true, Plan: []PlannedTrial{{Trial: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := folder.CreateTrial(1); err != nil {
		t.Fatal(err)
	}
	return folder
}

func TestFaultsAreReadAsTheyWereWritten(t *testing.T) {
	folder := faultsFolder(t)
	if _, err := folder.ReadFaults(1); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a schedule: %v", err)
	}
	applied := int64(60_000_100_000)
	want := Faults{StartNS: 17, Hosts: map[string]string{"leader1": "h2"}, Faults: []Fault{{
		ID: "kill", Kind: "crash", Occurrence: 1, Trigger: "at 60s", Nodes: []string{"leader1"}, Leader: "leader1",
		AppliedNS: &applied, Outcome: FaultProved,
		Evidence: []Evidence{{Kind: "down", Target: "leader1", Found: true, Text: "pid 4711 is gone <&>"}},
	}}}
	if err := folder.WriteFaults(1, want); err != nil {
		t.Fatal(err)
	}
	got, err := folder.ReadFaults(1)
	if err != nil || !reflect.DeepEqual(*got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	data, err := os.ReadFile(filepath.Join(folder.TrialDir(1), "faults.json"))
	if err != nil {
		t.Fatal(err)
	}
	// What never came is there, as null.
	for _, text := range []string{`"healed_ns": null`, `"applied_ns": 60000100000`, "gone <&>"} {
		if !strings.Contains(string(data), text) {
			t.Errorf("no %s in\n%s", text, data)
		}
	}
}

func TestDamagedFaultsAreAnErrorThatNamesTheFile(t *testing.T) {
	folder := faultsFolder(t)
	path := filepath.Join(folder.TrialDir(1), "faults.json")
	if err := os.WriteFile(path, []byte(`{"faults": [`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := folder.ReadFaults(1); err == nil || errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("%v", err)
	}
}

func TestATraceHasARowForEachRequestWithTheFaultsInForce(t *testing.T) {
	folder := faultsFolder(t)
	trace := &Trace{Trial: 1, Simulated: true, LengthS: 10, Faults: []TraceFault{
		{ID: "a", FromS: 1, ToS: 2, Healed: true}, {ID: "a", FromS: 1.5, ToS: 3, Healed: true}, {ID: "b", FromS: 2, ToS: 10},
	}}
	for _, due := range []float64{0, 1, 1.9, 2, 3, 10.5} {
		trace.Requests = append(trace.Requests, TraceRequest{DueS: due, LatencyMS: 0.5, Outcome: OutcomeOK})
	}
	trace.Requests[4] = TraceRequest{DueS: 3, LatencyMS: -7, Outcome: OutcomeTimeout}
	for range 2 { // the second takes the place of the first
		if err := folder.WriteTrace(trace); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(filepath.Join(folder.TrialDir(1), "trace.csv"))
	if err != nil {
		t.Fatal(err)
	}
	want := `due_s,latency_ms,outcome,faults,label
0.000000000,0.500000,ok,,SIMULATED
1.000000000,0.500000,ok,a,SIMULATED
1.900000000,0.500000,ok,a,SIMULATED
2.000000000,0.500000,ok,a b,SIMULATED
3.000000000,,timeout,b,SIMULATED
10.500000000,0.500000,ok,b,SIMULATED
`
	if string(data) != want {
		t.Errorf("got\n%s\nwant\n%s", data, want)
	}
}

func TestSummaryCSVHasTheRecoveryFromEachEntryAtTheEnd(t *testing.T) {
	mean := 2061.5
	summary := &Summary{Engine: "sim", Points: []Point{
		{Faults: []FaultEntry{{ID: "kill"}, {ID: "cut"}}, Recovery: map[string]Recovery{"kill": {
			UnavailableMS: &Estimate{Mean: &mean, LowerBound: true, N: 5, Occurrences: 5, Censored: 2},
			ElectionMS:    &Estimate{None: 5},
		}}},
		{Faults: []FaultEntry{{ID: "other"}}},
	}}
	folder := faultsFolder(t)
	if err := folder.WriteSummary(summary); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(filepath.Join(folder.Dir(), "summary.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rows, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	cell := func(row int, name string) string {
		i := slices.Index(rows[0], name)
		if i < 0 {
			t.Fatalf("no column %s", name)
		}
		return rows[row][i]
	}
	for name, want := range map[string]string{
		"recovery_kill_unavailable_ms_mean": "2061.5", "recovery_kill_unavailable_ms_ci95_low": "",
		"recovery_kill_unavailable_ms_n": "5", "recovery_kill_unavailable_ms_censored": "2",
		"recovery_kill_election_ms_none": "5", "recovery_kill_election_ms_mean": "",
		"recovery_kill_tcp_ms_n": "", "recovery_cut_unavailable_ms_n": "", "recovery_other_timeouts_mean": "", "engine": "sim",
	} {
		if got := cell(1, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if slices.Index(rows[0], "label") > slices.Index(rows[0], "recovery_kill_unavailable_ms_mean") {
		t.Error("columns of earlier versions come later than new ones")
	}
	if cell(2, "recovery_kill_unavailable_ms_mean") != "" {
		t.Error("another point has a value")
	}
}
