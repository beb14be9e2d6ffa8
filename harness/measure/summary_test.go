package measure

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"quorumlab/results"
)

// run is a run folder of the given points and repeats.
func run(t *testing.T, points, repeat int) *results.Folder {
	t.Helper()
	manifest := results.Manifest{Experiment: "size", Seed: 3, Repeat: repeat, Engine: "netns", Links: "userspace"}
	for i := range points * repeat {
		manifest.Plan = append(manifest.Plan, results.PlannedTrial{Trial: i + 1, Point: i % points, Repeat: i / points,
			Params: json.RawMessage(fmt.Sprintf(`{"system.roles.replicas": %d}`, i%points+2))})
	}
	folder, err := results.Create(filepath.Join(t.TempDir(), "run"), manifest)
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

// finish writes a trial's files, with a request a second that takes so long,
// and its verdict.
func finish(t *testing.T, folder *results.Folder, trial int, latencyNS int64, change func(*results.Verdict)) {
	t.Helper()
	dir, err := folder.CreateTrial(trial)
	if err != nil {
		t.Fatal(err)
	}
	var rows []results.Row
	for i := range int64(70) {
		rows = append(rows, answered(i*second, latencyNS))
	}
	file := filepath.Join(dir, "nodes", "requests.csv")
	writeRows(t, file, rows)
	if _, err := folder.CollectRequests(trial, []string{file}); err != nil {
		t.Fatal(err)
	}
	links := results.Links{Executor: "userspace",
		RTTs: []results.RTT{
			{From: "a", To: "b", PredictedNS: 80 * ms, LeastNS: 80*ms + 100_000, Answered: 5, Sent: 5},
			{From: "a", To: "c", PredictedNS: 80 * ms, LeastNS: 80*ms - 300_000, Answered: 5, Sent: 5},
			{From: "a", To: "d", PredictedNS: 80 * ms, Sent: 5},
		},
		Report: json.RawMessage(`{"directions": [], "emulator_drops": 2,
			"lateness": [{"up_to_ns": 1000000, "frames": 100}, {"up_to_ns": 0, "frames": 3}]}`)}
	if err := folder.WriteLinks(trial, links); err != nil {
		t.Fatal(err)
	}
	verdict := measured(trial)
	verdict.Point = planned(folder, trial).Point
	verdict.Counters = map[string]uint64{CounterBallots: 2, CounterDecided: 70}
	if change != nil {
		change(&verdict)
	}
	if err := folder.WriteVerdict(verdict); err != nil {
		t.Fatal(err)
	}
}

func planned(folder *results.Folder, trial int) results.PlannedTrial {
	plan := folder.Manifest().Plan
	return plan[slices.IndexFunc(plan, func(p results.PlannedTrial) bool { return p.Trial == trial })]
}

func void(code, text, mend string) func(*results.Verdict) {
	return func(v *results.Verdict) {
		v.Valid = false
		v.Reasons = append(v.Reasons, results.VoidReason{Code: code, Text: text, Mend: mend})
	}
}

func summarise(t *testing.T, folder *results.Folder) *results.Summary {
	t.Helper()
	// From the files alone, as a later command would.
	opened, err := results.Open(folder.Dir())
	if err != nil {
		t.Fatal(err)
	}
	summary, err := Summarise(opened)
	if err != nil {
		t.Fatal(err)
	}
	if err := folder.WriteSummary(summary); err != nil {
		t.Fatal(err)
	}
	return summary
}

func TestSummariseValidRun(t *testing.T) {
	folder := run(t, 2, 5)
	for trial := 1; trial <= 10; trial++ {
		finish(t, folder, trial, 240*ms+int64(trial)*ms, nil)
	}
	summary := summarise(t, folder)
	if !summary.Valid || summary.Interrupted || len(summary.VoidReasons) != 0 || summary.Mend != "" {
		t.Errorf("a good run: %+v", summary)
	}
	if summary.Experiment != "size" || summary.Links != "userspace" || summary.Repeat != 5 || len(summary.Points) != 2 {
		t.Errorf("%+v", summary)
	}
	// Point 1 has trials 2, 4, 6, 8, 10: means 242 to 250 ms, stddev sqrt(10).
	point := summary.Points[1]
	near(t, "mean", *point.Latency.Mean, 246, 1e-9)
	near(t, "low", point.Latency.CI95[0], 246-2.776445105*1.414213562, 1e-6)
	near(t, "median", *point.Latency.P50, 246, 1e-9)
	near(t, "predicted", *point.PredictedMS, 240, 1e-9)
	near(t, "throughput", *point.Throughput.Mean, 1, 1e-9)
	near(t, "ballots", *point.BallotsPerDecision, 2.0/70, 1e-12)
	near(t, "rtt p50", *point.Links.RTTErrorMSP50, 0.1, 1e-9)
	near(t, "rtt p99", *point.Links.RTTErrorMSP99, 0.3, 1e-9)
	if point.Trials != 5 || point.Attempted != 5 || point.Void != 0 || point.Outcomes.OK != 300 || point.Latency.Requests != 300 {
		t.Errorf("%+v", point)
	}
	if point.Links.LateFrames != 15 || point.Links.DroppedByEmulator != 10 {
		t.Errorf("links %+v", point.Links)
	}
	if string(point.Params["system.roles.replicas"]) != "3" || point.Agreement != "ok" || point.Linearizable != "not_checked" {
		t.Errorf("%+v", point)
	}
}

func TestASummaryOfASimulatedRunIsLabelled(t *testing.T) {
	manifest := results.Manifest{Experiment: "size", Repeat: 2, Engine: "sim", EngineReason: "netns is forbidden", Simulated: true,
		Plan: []results.PlannedTrial{{Trial: 1, Params: json.RawMessage(`{}`)}, {Trial: 2, Repeat: 1, Params: json.RawMessage(`{}`)}}}
	folder, err := results.Create(filepath.Join(t.TempDir(), "run"), manifest)
	if err != nil {
		t.Fatal(err)
	}
	finish(t, folder, 1, 240*ms, func(v *results.Verdict) {
		v.Linearizable, v.History.Operations = "ok", 70
	})
	finish(t, folder, 2, 240*ms, nil)
	summary := summarise(t, folder)
	if !summary.Simulated || summary.Label != "SIMULATED" || summary.EngineReason != "netns is forbidden" {
		t.Errorf("%+v", summary)
	}
	if point := summary.Points[0]; point.Linearizable != "ok" || point.CheckedOperations != 70 || len(point.Violations) != 0 {
		t.Errorf("%+v", point)
	}
	if plain := summarise(t, run(t, 1, 1)); plain.Label != "" {
		t.Errorf("a real run is labelled %q", plain.Label)
	}
}

func TestViolationsOfVoidTrialsAreListed(t *testing.T) {
	folder := run(t, 1, 3)
	finish(t, folder, 1, 240*ms, func(v *results.Verdict) {
		void("linearizability", "not so", "report it")(v)
		v.Linearizable = "violation"
	})
	finish(t, folder, 2, 240*ms, func(v *results.Verdict) {
		void("agreement", "not so", "report it")(v)
		v.Agreement = "violation"
	})
	finish(t, folder, 3, 240*ms, nil)
	want := []string{"trials/0001/violation.html", "trials/0002/verdict.json"}
	if got := summarise(t, folder).Points[0].Violations; !slices.Equal(got, want) {
		t.Errorf("violations %q, want %q", got, want)
	}
}

func TestTrialsThatEndWithTheFirstLeaderHaveNoLatency(t *testing.T) {
	folder := run(t, 1, 3)
	for trial := 1; trial <= 3; trial++ {
		finish(t, folder, trial, 240*ms, func(v *results.Verdict) {
			after := int64(trial) * 100 * ms
			v.LedAfterNS = &after
			v.MeasureStartNS, v.MeasureEndNS = 0, 0
		})
	}
	point := summarise(t, folder).Points[0]
	if point.Latency != nil || point.Throughput != nil || point.FirstLeader == nil {
		t.Fatalf("%+v", point)
	}
	led := point.FirstLeader
	near(t, "mean", *led.Mean, 200, 1e-9)
	near(t, "low", led.CI95[0], 200-4.30265273*100/1.7320508, 1e-5)
	near(t, "least", *led.Min, 100, 1e-9)
	near(t, "most", *led.Max, 300, 1e-9)
	if led.Trials != 3 || led.CIMethod != MethodT {
		t.Errorf("%+v", led)
	}
}

func TestVoidTrialsAreNeverAveragedIn(t *testing.T) {
	folder := run(t, 1, 5)
	for trial := 1; trial <= 3; trial++ {
		finish(t, folder, trial, 240*ms, nil)
	}
	finish(t, folder, 4, 900*ms, void("rtt", "h1 to h2 took 90 ms", "close other programs"))
	finish(t, folder, 5, 900*ms, func(v *results.Verdict) {
		void("agreement", "replica1 and replica2 differ", "report a bug")(v)
		void("rtt", "h1 to h2 took 91 ms", "close other programs")(v)
		void("rtt", "h1 to h3 took 92 ms", "close other programs")(v)
		v.Agreement = "violation"
		v.ClientLimited = true
	})
	summary := summarise(t, folder)
	point := summary.Points[0]
	near(t, "mean", *point.Latency.Mean, 240, 1e-9)
	near(t, "greatest", *point.Latency.Max, 240, 1e-9)
	if point.Trials != 3 || point.Void != 2 || point.Attempted != 5 || point.Outcomes.OK != 180 || point.ClientLimited {
		t.Errorf("%+v", point)
	}
	if point.Agreement != "violation" {
		t.Error("a void trial hid a violation")
	}
	want := []string{
		"too few trials: 3 valid of 5 wanted",
		"rtt (2 trials): h1 to h2 took 90 ms (and others like it)",
		"agreement (1 trial): replica1 and replica2 differ",
	}
	if summary.Valid || summary.Interrupted || !slices.Equal(summary.VoidReasons, want) {
		t.Errorf("reasons %q, want %q", summary.VoidReasons, want)
	}
	if summary.Mend != "close other programs" {
		t.Errorf("mend %q", summary.Mend)
	}
}

func TestInterruptedRun(t *testing.T) {
	folder := run(t, 2, 2)
	finish(t, folder, 1, 240*ms, nil)
	if _, err := folder.CreateTrial(2); err != nil {
		t.Fatal(err)
	}
	summary := summarise(t, folder)
	want := []string{"interrupted: 3 of 4 trials without a verdict", "too few trials: 2 of 2 points with fewer than 2 valid"}
	if !summary.Interrupted || summary.Valid || !slices.Equal(summary.VoidReasons, want) || summary.Mend != mendInterrupted {
		t.Errorf("%+v", summary)
	}
	if one := summary.Points[0]; one.Latency.CI95 != nil || one.Latency.Mean == nil || one.Trials != 1 {
		t.Errorf("the point with one trial: %+v", one)
	}
	if none := summary.Points[1]; none.Latency != nil || none.Throughput != nil || none.Attempted != 0 ||
		none.PredictedMS != nil || none.Agreement != "not_checked" {
		t.Errorf("the point without a trial: %+v", none)
	}
}

func TestAllTrialsVoid(t *testing.T) {
	folder := run(t, 1, 1)
	finish(t, folder, 1, 240*ms, func(v *results.Verdict) { v.Valid = false })
	summary := summarise(t, folder)
	point := summary.Points[0]
	if summary.Valid || point.Latency != nil || point.Throughput != nil || point.Void != 1 || point.PredictedMS == nil {
		t.Errorf("%+v", point)
	}
	if !slices.Contains(summary.VoidReasons, "unexplained (1 trial): the verdict gives no reason") {
		t.Errorf("reasons %q", summary.VoidReasons)
	}
}

func TestVoidTrialsNeedNoFiles(t *testing.T) {
	folder := run(t, 1, 1)
	if _, err := folder.CreateTrial(1); err != nil {
		t.Fatal(err)
	}
	verdict := results.Verdict{Trial: 1}
	void("lab", "the lab could not be built", "bench doctor")(&verdict)
	if err := folder.WriteVerdict(verdict); err != nil {
		t.Fatal(err)
	}
	if summary := summarise(t, folder); summary.Mend != "bench doctor" {
		t.Errorf("%+v", summary)
	}
}

func TestNothingPlannedIsVoid(t *testing.T) {
	if summary := summarise(t, run(t, 0, 0)); summary.Valid || len(summary.VoidReasons) != 1 || summary.Points == nil {
		t.Errorf("%+v", summary)
	}
}

func TestValidTrialWithoutItsRequestsIsAnError(t *testing.T) {
	folder := run(t, 1, 1)
	finish(t, folder, 1, 240*ms, nil)
	path := filepath.Join(folder.TrialDir(1), "requests.csv.gz")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func() error{
		"cut short": func() error { return os.WriteFile(path, content[:len(content)/2], 0o644) },
		"gone":      func() error { return os.Remove(path) },
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		if _, err := Summarise(folder); err == nil || !strings.Contains(err.Error(), folder.Dir()) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSummariseTwiceIsTheSame(t *testing.T) {
	folder := run(t, 2, 3)
	for trial := 1; trial <= 6; trial++ {
		finish(t, folder, trial, int64(trial)*ms/3, nil)
	}
	first, err := json.Marshal(summarise(t, folder))
	if err != nil {
		t.Fatal(err)
	}
	second, err := json.Marshal(summarise(t, folder))
	if err != nil || string(first) != string(second) {
		t.Errorf("%s\n%s\n%v", first, second, err)
	}
}

// writeRows writes a client's file.
func writeRows(t *testing.T, path string, rows []results.Row) {
	t.Helper()
	var out bytes.Buffer
	writer := results.NewRowWriter(&out)
	for _, row := range rows {
		if err := writer.Write(row); err != nil {
			t.Fatal(err)
		}
	}
	if err := writer.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
