package harness

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"quorumlab/harness/engine"
	"quorumlab/harness/engine/sim"
	"quorumlab/harness/experiment"
	"quorumlab/harness/report"
	"quorumlab/results"

	_ "quorumlab/node/multipaxos/wire"
)

// small is an experiment of a second or so.
const small = `
version: 1
name: small
seed: 7
repeat: 3
system: {protocol: multipaxos, roles: {replicas: 2, leaders: 2, acceptors: 3}}
topology: {kind: star, link: {delay: 5ms, rate: 1gbit}}
workload: {clients: 2, rate: 200/s, mix: {update: 0.5, read: 0.5}, keys: 10}
phases: {warmup: 300ms, measure: 1s, drain: 5s}
`

// load reads the small experiment for an engine, with --set flags.
func load(t *testing.T, engineName string, flags ...string) *experiment.Source {
	t.Helper()
	overrides := experiment.Overrides{Engine: engineName, Engines: []string{"netns", "sim"}}
	for i := 1; i < len(flags); i += 2 {
		overrides.Set = append(overrides.Set, flags[i])
	}
	source, err := experiment.Parse("small.yaml", []byte(small), overrides)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// newFolder is a simulated run folder without trials.
func newFolder(t *testing.T, source *experiment.Source) (*results.Folder, []experiment.Trial) {
	t.Helper()
	plan := source.Plan()
	manifest, err := manifestOf(source, Options{}, plan, "")
	if err != nil {
		t.Fatal(err)
	}
	manifest.Engine = sim.Name
	if err := settleSimulation(&manifest, source, ""); err != nil {
		t.Fatal(err)
	}
	folder, err := results.Create(filepath.Join(t.TempDir(), "run"), manifest)
	if err != nil {
		t.Fatal(err)
	}
	return folder, plan
}

func quiet() report.Progress { return report.NewProgress(os.Stderr, false, true) }

func simulated(t *testing.T, source *experiment.Source, change func(*Options)) (*results.Folder, *results.Summary) {
	t.Helper()
	options := Options{Dir: filepath.Join(t.TempDir(), "run"), Progress: quiet()}
	if change != nil {
		change(&options)
	}
	folder, summary, err := Run(t.Context(), source, options)
	if err != nil {
		t.Fatal(err)
	}
	return folder, summary
}

func TestASimulatedRunIsValidAndSaysThatItIsSimulated(t *testing.T) {
	folder, summary := simulated(t, load(t, "sim"), nil)
	if !summary.Valid || !summary.Simulated || summary.Label != "SIMULATED" || summary.Engine != "sim" || summary.Links != "model" {
		t.Fatalf("summary %+v", summary)
	}
	point := summary.Points[0]
	if point.Trials != 3 || point.Linearizable != "ok" || point.Agreement != "ok" || point.CheckedOperations < 600 || point.Outcomes.Timeout > 0 {
		t.Errorf("point %+v", point)
	}
	// Six paths of two links.
	if mean := *point.Latency.Mean; mean < 60 || mean > 63 {
		t.Errorf("mean latency %v ms, want about 60", mean)
	}
	manifest := folder.Manifest()
	var costs engine.Costs
	if err := json.Unmarshal(manifest.Costs, &costs); err != nil || costs != sim.DefaultCosts() {
		t.Errorf("costs %s, %v", manifest.Costs, err)
	}
	if manifest.TraceHash == "" || !manifest.Simulated || manifest.Tool.NodeSHA256 != "" {
		t.Errorf("manifest %+v", manifest)
	}
	verdicts, err := folder.Trials()
	if err != nil {
		t.Fatal(err)
	}
	for i, verdict := range verdicts {
		if verdict.TraceHash == "" || verdict.TraceHash != manifest.Plan[i].TraceHash || verdict.Simulation == nil ||
			verdict.Simulation.Events == 0 || verdict.Simulation.CPUNS["leader1"] == 0 {
			t.Errorf("verdict %+v", verdict)
		}
	}
	text, err := os.ReadFile(filepath.Join(folder.Dir(), "summary.csv"))
	if err != nil || !strings.Contains(string(text), ",sim,SIMULATED\n") {
		t.Errorf("summary.csv: %v\n%s", err, text)
	}
}

// files are the bytes of a run folder that must be the same each time.
func files(t *testing.T, folder *results.Folder) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, planned := range folder.Manifest().Plan {
		for _, name := range []string{"requests.csv.gz", "events.jsonl.gz", "links.json", "verdict.json", "nodes/cluster.json"} {
			path := results.TrialPath(planned.Trial, name)
			data, err := os.ReadFile(filepath.Join(folder.Dir(), path))
			if err != nil {
				t.Fatal(err)
			}
			all[path] = string(data)
		}
	}
	return all
}

func TestTheSameSeedGivesTheSameBytesOnAnyNumberOfCores(t *testing.T) {
	first, _ := simulated(t, load(t, "sim"), nil)
	want := files(t, first)
	before := runtime.GOMAXPROCS(1)
	again, _ := simulated(t, load(t, "sim"), nil)
	runtime.GOMAXPROCS(before)
	if first.Manifest().TraceHash != again.Manifest().TraceHash {
		t.Error("the runs' trace hashes differ")
	}
	for path, content := range files(t, again) {
		if content != want[path] {
			t.Errorf("%s differs", path)
		}
	}
	other, _ := simulated(t, load(t, "sim", "--set", "seed=8"), nil)
	if other.Manifest().TraceHash == first.Manifest().TraceHash {
		t.Error("another seed has the same trace hash")
	}
}

// stopAfter ends a context once so many trials are done.
type stopAfter struct {
	report.Progress
	trials int
	stop   func()
}

func (s *stopAfter) TrialsDone(trial int, description, verdict string, valid bool) {
	if s.trials--; s.trials == 0 {
		s.stop()
	}
}

func TestAnInterruptedSimulationKeepsTheFinishedTrials(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // so that trials end one after the other
	interrupted := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	folder, summary, err := Run(ctx, load(t, "sim", "--set", "repeat=50"), Options{
		Dir: filepath.Join(t.TempDir(), "run"), Progress: &stopAfter{quiet(), 3, func() { cancel(interrupted) }},
	})
	if !errors.Is(err, interrupted) {
		t.Fatalf("%v, want the context's cause", err)
	}
	if !summary.Interrupted || summary.Points[0].Trials < 3 || summary.Points[0].Trials == 50 || summary.Points[0].Latency.Mean == nil {
		t.Errorf("summary %+v", summary)
	}
	manifest := folder.Manifest()
	if manifest.TraceHash != "" || manifest.Plan[0].TraceHash == "" {
		t.Errorf("trace hashes: whole %q, first %q", manifest.TraceHash, manifest.Plan[0].TraceHash)
	}
	trials, err := os.ReadDir(filepath.Join(folder.Dir(), "trials"))
	if err != nil || len(trials) != summary.Points[0].Attempted {
		t.Errorf("%d folders of %d trials that have ended (%v)", len(trials), summary.Points[0].Attempted, err)
	}
}

// misled simulates over a transport that there isn't.
type misled struct{ engine.Simulator }

func (m misled) Simulate(ctx context.Context, simulation engine.Simulation) (*engine.Simulated, error) {
	simulation.Transport = "pigeons"
	return m.Simulator.Simulate(ctx, simulation)
}

func TestASimulationThatCannotBeEndsTheRunWithItsReason(t *testing.T) {
	source := load(t, "sim")
	folder, plan := newFolder(t, source)
	r := &run{source: source, plan: plan, folder: folder, progress: quiet()}
	simulator, _ := engine.Lookup(sim.Name)
	err := r.runSimulations(t.Context(), misled{simulator.(engine.Simulator)})
	if err == nil || !strings.Contains(err.Error(), "pigeons") || !strings.Contains(err.Error(), "trial ") {
		t.Errorf("%v", err)
	}
	if verdicts, err := folder.Trials(); err != nil || len(verdicts) != 0 {
		t.Errorf("%d verdicts, %v", len(verdicts), err)
	}
}

func TestLinksOfASimulationCannotBeChosen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	_, _, err := Run(t.Context(), load(t, "sim"), Options{Dir: dir, Links: engine.LinksKernel, Progress: quiet()})
	if !errors.Is(err, ErrLinks) {
		t.Errorf("%v, want ErrLinks", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was created: %v", err)
	}
}

func TestALoadThatEndsWithItsRequestsCountsUpToTheLast(t *testing.T) {
	folder, summary := simulated(t, load(t, "sim", "--set", "stop={requests: 150}", "--set", "repeat=1"), nil)
	point := summary.Points[0]
	if !summary.Valid || point.Throughput == nil {
		t.Fatalf("summary %+v", summary)
	}
	verdicts, err := folder.Trials()
	if err != nil {
		t.Fatal(err)
	}
	length := time.Duration(verdicts[0].MeasureEndNS - verdicts[0].MeasureStartNS)
	if length <= 0 || length >= time.Second {
		t.Errorf("the measured phase lasts %v, want less than the second that was planned", length)
	}
	// 200 a second, as long as it lasted.
	if rate := *point.Throughput.Mean; rate < 150 || rate > 250 {
		t.Errorf("%v requests a second, want about 200", rate)
	}
	// The answer that ends the phase is at its end, which isn't in it.
	last := int64(0)
	for row, err := range folder.Requests(1) {
		if err != nil {
			t.Fatal(err)
		}
		if row.DoneNS == verdicts[0].MeasureEndNS {
			last = row.DoneNS
		}
	}
	if last == 0 {
		t.Errorf("no answer came at the end of the measured phase, %d", verdicts[0].MeasureEndNS)
	}
}

// Few answers show best what the last one would add.
func TestThroughputUpToTheLastOfAFewAnswersIsThatOfALongLoad(t *testing.T) {
	_, summary := simulated(t, load(t, "sim", "--set", "repeat=10", "--set", "stop.requests=70"), nil)
	// Some 10 of the 70 answers are in the measured phase: one more would be a tenth
	// more a second.
	point := summary.Points[0]
	if point.Trials < 10 {
		t.Fatalf("%d trials, %v", point.Trials, summary.VoidReasons)
	}
	if mean := *point.Throughput.Mean; mean < 190 || mean > 205 {
		t.Errorf("%v requests a second, want about 200", mean)
	}
}

func TestALoadThatEndsByTheWarmUpHasOneReasonToBeVoid(t *testing.T) {
	folder, _ := simulated(t, load(t, "sim", "--set", "stop={requests: 3}", "--set", "repeat=1"), nil)
	verdicts, err := folder.Trials()
	if err != nil || len(verdicts) != 1 || codes(verdicts[0]) != voidStopped || verdicts[0].Reasons[0].Mend != mendStopLater || verdicts[0].MeasureEndNS != 0 {
		t.Errorf("%+v, %v", verdicts, err)
	}
	tr := newTrial(folder, load(t, "sim").Plan()[0])
	at := &recorder{limit: 3, limitNS: int64(300 * time.Millisecond)} // the very end of the warm-up
	ended := simulatedTrial{trial: tr}
	ended.measured(&engine.Simulated{}, at)
	if codes(ended.verdict) != voidStopped {
		t.Errorf("a load that ended with the warm-up: %+v", ended.verdict)
	}
}

func TestATrialThatEndsWithTheFirstLeaderTellsWhenThatWas(t *testing.T) {
	_, summary := simulated(t, load(t, "sim", "--set", "stop={leader: true}"), nil)
	point := summary.Points[0]
	if !summary.Valid || point.FirstLeader == nil || point.FirstLeader.Trials != 3 || point.Latency != nil || point.Linearizable != "not_checked" {
		t.Fatalf("point %+v, %v", point, summary.VoidReasons)
	}
	// A ballot's round trip is four links.
	if *point.FirstLeader.Min < 20 {
		t.Errorf("led after %v ms, want at least a round trip", *point.FirstLeader.Min)
	}
}

func TestModelledCostsComeFromTheExperiment(t *testing.T) {
	slow, _ := simulated(t, load(t, "sim", "--set", "simulation={per_message: 5ms}", "--set", "repeat=1", "--set", "workload.rate=10/s"), nil)
	var costs engine.Costs
	if err := json.Unmarshal(slow.Manifest().Costs, &costs); err != nil || costs.PerMessage != 5*time.Millisecond || costs.PerSend != sim.DefaultCosts().PerSend {
		t.Errorf("costs %+v, %v", costs, err)
	}
	summary, err := slow.ReadSummary()
	if err != nil || *summary.Points[0].Latency.Mean < 80 {
		t.Errorf("mean latency %v ms, want well over the 60 that links alone take (%v)", *summary.Points[0].Latency.Mean, err)
	}
}

func TestTrialsAreSimulatedOnAllCoresAsMemoryAllows(t *testing.T) {
	source := load(t, "sim", "--set", "repeat=100")
	for _, c := range []struct {
		memory int64
		rate   string
		want   int
	}{
		{1 << 40, "200/s", runtime.GOMAXPROCS(0)},
		{0, "200/s", runtime.GOMAXPROCS(0)},
		{100 << 20, "200/s", 1},
		{2 << 30, "1000000/s", 1},
	} {
		source.Points[0].Spec.Workload.Rate = 200
		if c.rate != "200/s" {
			source.Points[0].Spec.Workload.Rate = 1e6
		}
		folder, plan := newFolderWithMemory(t, source, c.memory)
		r := &run{source: source, plan: plan, folder: folder}
		if got := r.workers(); got != c.want {
			t.Errorf("%d bytes of memory, %s: %d at once, want %d", c.memory, c.rate, got, c.want)
		}
	}
}

func newFolderWithMemory(t *testing.T, source *experiment.Source, memory int64) (*results.Folder, []experiment.Trial) {
	t.Helper()
	plan := source.Plan()
	manifest, err := manifestOf(source, Options{}, plan, "")
	if err != nil {
		t.Fatal(err)
	}
	manifest.Machine.MemoryBytes, manifest.Simulated = memory, true
	folder, err := results.Create(filepath.Join(t.TempDir(), "run"), manifest)
	if err != nil {
		t.Fatal(err)
	}
	return folder, plan
}

func TestThePlanOfASimulationTellsItsVirtualTime(t *testing.T) {
	source := load(t, "sim")
	for flag, want := range map[string]string{
		"repeat=3": "SIMULATED: 3.9s of virtual time", "stop.requests=100": "SIMULATED: 1.5s of virtual time",
		"stop.leader=true": "SIMULATED: at most 3.9s of virtual time",
	} {
		source := load(t, "sim", "--set", flag)
		lines, err := PlanLines(t.Context(), source)
		if err != nil || !strings.Contains(lines[0], want) || len(lines) != 5 {
			t.Errorf("%s: plan %q, %v", flag, lines, err)
		}
		if lines := planLines(source, source.Plan(), results.Manifest{Engine: "sim", Links: "model"}, "dir"); !strings.Contains(lines[0], want) {
			t.Errorf("%s: a run says %q", flag, lines)
		}
	}
	manifest := results.Manifest{Engine: "sim", Links: "model", Simulated: true, EngineReason: "netns doesn't work here: forbidden"}
	source.Spec.Engine = "auto"
	if lines := planLines(source, source.Plan(), manifest, "dir"); !slices.Contains(lines, "engine sim, because netns doesn't work here: forbidden") {
		t.Errorf("lines %q", lines)
	}
}

// What this machine or the chosen engine can't do is said before a run, as bench topo does.
func TestARunWarnsOfWhatItsEngineCannotDo(t *testing.T) {
	source := load(t, "sim", "--set", "topology.link.rate=10gbit")
	const slow = "above the about 2 Gbit/s that this machine carries"
	for engine, want := range map[string]bool{"sim": false, "netns": true} {
		lines := planLines(source, source.Plan(), results.Manifest{Engine: engine, Links: "userspace"}, "dir")
		if got := strings.Contains(strings.Join(lines, "\n"), slow); got != want {
			t.Errorf("%s: %q", engine, lines)
		}
	}
	source = load(t, "auto", "--set", "capture=[h1-s1]")
	for engine, want := range map[string]bool{"sim": true, "netns": false} {
		lines := planLines(source, source.Plan(), results.Manifest{Engine: engine, Links: "userspace"}, "dir")
		if got := strings.Contains(strings.Join(lines, "\n"), "nothing is captured"); got != want {
			t.Errorf("%s: %q", engine, lines)
		}
	}
}

// bench plan says what bench run would do.
func TestThePlanIsOfTheEngineThatAutoStandsFor(t *testing.T) {
	source := load(t, "auto")
	works := checkedEngine{"netns", []engine.Readiness{{Name: "netns", OK: true}}}
	forbidden := checkedEngine{"netns", []engine.Readiness{{Name: "netns", Reason: "forbidden"}}}
	lines, err := planWith(t.Context(), finder(works), source)
	if err != nil || len(lines) != 5 || strings.Contains(lines[0], "SIMULATED") || !strings.Contains(lines[0], "about 10s") {
		t.Errorf("where netns works: %q, %v", lines, err)
	}
	lines, err = planWith(t.Context(), finder(forbidden), source)
	if err != nil || len(lines) != 6 || !strings.Contains(lines[0], "SIMULATED: 3.9s of virtual time") ||
		lines[1] != "engine sim, because netns doesn't work here: forbidden" {
		t.Errorf("where it doesn't: %q, %v", lines, err)
	}
}

func TestLinksOfASimulatedTrialAreCounted(t *testing.T) {
	folder, _ := simulated(t, load(t, "sim", "--set", "repeat=1"), nil)
	links, err := folder.ReadLinks(1)
	if err != nil {
		t.Fatal(err)
	}
	var counted engine.LinkReport
	if err := json.Unmarshal(links.Report, &counted); err != nil || links.Executor != "model" || len(links.RTTs) != 0 {
		t.Fatalf("links %+v, %v", links, err)
	}
	if len(counted.Directions) != 2*9 || counted.Directions[0].Frames == 0 {
		t.Errorf("%d directions, the first with %d frames", len(counted.Directions), counted.Directions[0].Frames)
	}
}

// interruptedSimulator is interrupted once the trial has begun.
type interruptedSimulator struct {
	sim.Engine
	interrupt func()
}

func (s interruptedSimulator) Simulate(ctx context.Context, simulation engine.Simulation) (*engine.Simulated, error) {
	s.interrupt()
	return s.Engine.Simulate(ctx, simulation)
}

func TestAnInterruptedSimulatedTrialLeavesNoFolder(t *testing.T) {
	source := load(t, "sim")
	folder, plan := newFolder(t, source)
	interrupted := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	r := &run{source: source, plan: plan, folder: folder, progress: quiet()}
	for i := range 2 { // during a trial, and before one
		err := r.simulateOne(ctx, interruptedSimulator{interrupt: func() { cancel(interrupted) }}, plan[i])
		if !errors.Is(err, interrupted) {
			t.Errorf("trial %d: %v, want the context's cause", i+1, err)
		}
	}
	if left, err := os.ReadDir(filepath.Join(folder.Dir(), "trials")); err != nil || len(left) > 0 {
		t.Errorf("it left %v (%v)", left, err)
	}
}
