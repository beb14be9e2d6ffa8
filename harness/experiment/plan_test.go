package experiment

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const swept = `
version: 1
seed: 7
repeat: 4
sweep:
  system.roles.acceptors: [3, 5, 7]
  topology.link.delay: [10ms, 20ms]
`

func TestTheLastSweptFieldVariesFastest(t *testing.T) {
	source := parse(t, swept)
	var got []string
	for i, point := range source.Points {
		if point.Index != i {
			t.Errorf("point %d has the index %d", i, point.Index)
		}
		text, err := json.Marshal(point.Params)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(text))
		spec := point.Spec
		if want := []int{3, 5, 7}[i/2]; spec.System.Roles["acceptors"] != want || spec.System.Roles["leaders"] != 2 {
			t.Errorf("point %d has the roles %v", i, spec.System.Roles)
		}
		if want := []time.Duration{10, 20}[i%2] * time.Millisecond; *spec.Topology.Link.Delay != (Delay{Constant: Duration(want)}) {
			t.Errorf("point %d has the delay %v", i, *spec.Topology.Link.Delay)
		}
		if len(spec.Sweep) != 0 {
			t.Errorf("point %d has a sweep still", i)
		}
	}
	want := []string{
		`{"system.roles.acceptors":3,"topology.link.delay":"10ms"}`,
		`{"system.roles.acceptors":3,"topology.link.delay":"20ms"}`,
		`{"system.roles.acceptors":5,"topology.link.delay":"10ms"}`,
		`{"system.roles.acceptors":5,"topology.link.delay":"20ms"}`,
		`{"system.roles.acceptors":7,"topology.link.delay":"10ms"}`,
		`{"system.roles.acceptors":7,"topology.link.delay":"20ms"}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if s := source.Points[1].Params.String(); s != "system.roles.acceptors=3 topology.link.delay=20ms" {
		t.Errorf("the parameters are shown as %s", s)
	}
	maps := Params{{"topology.link", map[string]any{"loss": "1%", "delay": "10ms", "gilbert_elliott": map[string]any{"good_to_bad": 0.5}}}, {"x", []any{uint64(1), "a", true, nil}}}
	if s := maps.String(); s != "topology.link={delay: 10ms, gilbert_elliott: {good_to_bad: 0.5}, loss: 1%} x=[1, a, true, null]" {
		t.Errorf("mappings are shown as %s", s)
	}
	axes := []Axis{
		{"system.roles.acceptors", []any{uint64(3), uint64(5), uint64(7)}},
		{"topology.link.delay", []any{"10ms", "20ms"}},
	}
	if diff := cmp.Diff(axes, source.Spec.Sweep); diff != "" {
		t.Errorf("axes: -want +got\n%s", diff)
	}
	if source.Spec.Topology.Link.Delay != nil || source.Spec.System.Roles["acceptors"] != 3 {
		t.Error("the sweep has changed the base")
	}
}

func TestPlanHasEveryPointOnceABlock(t *testing.T) {
	source := parse(t, swept)
	plan := source.Plan()
	if len(plan) != 24 {
		t.Fatalf("%d trials, want 24", len(plan))
	}
	seeds := map[uint64]bool{}
	blocks := map[string]bool{}
	for i, trial := range plan {
		if trial.Number != i+1 || trial.Repeat != i/6 {
			t.Errorf("trial %d: number %d, repeat %d", i, trial.Number, trial.Repeat)
		}
		if trial.Seed != TrialSeed(7, trial.Point.Index, trial.Repeat) || trial.Seed >= 1<<53 || seeds[trial.Seed] {
			t.Errorf("trial %d has the seed %d", i, trial.Seed)
		}
		seeds[trial.Seed] = true
	}
	for block := range slices.Chunk(plan, 6) {
		var order strings.Builder
		seen := map[int]bool{}
		for _, trial := range block {
			order.WriteByte(byte('0' + trial.Point.Index))
			seen[trial.Point.Index] = true
		}
		if len(seen) != 6 {
			t.Errorf("block %s lacks points", order.String())
		}
		blocks[order.String()] = true
	}
	if len(blocks) < 3 || blocks["012345"] && len(blocks) == 1 {
		t.Errorf("the blocks are not shuffled: %v", blocks)
	}
}

func TestMoreRepeatsKeepTheEarlierTrials(t *testing.T) {
	few, many := parse(t, swept).Plan(), parse(t, swept, "repeat=9").Plan()
	if len(many) != 54 {
		t.Fatalf("%d trials, want 54", len(many))
	}
	for i, trial := range few {
		other := many[i]
		if trial.Number != other.Number || trial.Point.Index != other.Point.Index || trial.Repeat != other.Repeat || trial.Seed != other.Seed {
			t.Errorf("trial %d is %+v with 4 repeats and %+v with 9", i, trial, other)
		}
	}
	other := parse(t, swept, "seed=8").Plan()
	if slices.EqualFunc(few, other, func(a, b Trial) bool { return a.Point.Index == b.Point.Index }) {
		t.Error("another seed gives the same order")
	}
}

func TestOnePointRunsInOrder(t *testing.T) {
	for i, trial := range parse(t, "version: 1\nrepeat: 3\n").Plan() {
		if trial.Number != i+1 || trial.Repeat != i || trial.Point.Index != 0 || len(trial.Point.Params) != 0 {
			t.Errorf("trial %d is %+v", i, trial)
		}
	}
}

// Published runs name their seeds: the function may never change.
func TestSeedsNeverChange(t *testing.T) {
	got := []uint64{TrialSeed(1, 0, 0), TrialSeed(1, 0, 1), TrialSeed(1, 1, 0), TrialSeed(math.MaxUint64, 99, 99)}
	if diff := cmp.Diff([]uint64{4272823083866350, 5249012685788718, 457690077680573, 3562752660103012}, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	order := []int{0, 1, 2, 3, 4, 5, 6, 7}
	shuffle(order, 42)
	if diff := cmp.Diff([]int{0, 1, 4, 7, 3, 6, 2, 5}, order); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	// SplitMix64's published first outputs for the seed 1234567.
	state := uint64(1234567)
	for _, want := range []uint64{6457827717110365317, 3203168211198807973, 9817491932198370423} {
		if got := mix(state); got != want {
			t.Errorf("mix gives %d, want %d", got, want)
		}
		state += 0x9e3779b97f4a7c15
	}
}

func TestShuffleFavoursNoOrder(t *testing.T) {
	count := map[[3]int]int{}
	const draws = 60_000
	for seed := range uint64(draws) {
		order := []int{0, 1, 2}
		shuffle(order, mix(seed))
		count[[3]int(order)]++
	}
	chiSquare := 0.0
	for _, n := range count {
		chiSquare += math.Pow(float64(n)-draws/6.0, 2) / (draws / 6.0)
	}
	if len(count) != 6 || chiSquare > 20.5 { // 5 degrees of freedom, p = 0.001
		t.Errorf("orders %v, chi square %.1f", count, chiSquare)
	}
}

func TestEstimate(t *testing.T) {
	got := parse(t, "version: 1\nrepeat: 3\nphases: {warmup: 5s, measure: 15s}\nsweep: {workload.rate: [10, 30]}\n").Estimate()
	want := Estimate{Points: 2, Trials: 6, Requests: 3 * (200 + 600), Time: 6 * 22 * time.Second, DiskBytes: 20 * 2400}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	// In the simulator the same passes in virtual time; at 8 hosts a request takes 16 us, and so does a third of a second.
	sim := parse(t, "version: 1\nengine: sim\nrepeat: 3\nphases: {warmup: 5s, measure: 15s}\nsweep: {workload.rate: [10, 30]}\n")
	want.Virtual, want.Time = 6*20*time.Second, (2400+6*60)*16*time.Microsecond
	if got := sim.Estimate(); got != want {
		t.Errorf("simulated: got %+v, want %+v", got, want)
	}
	auto := parse(t, "version: 1\nrepeat: 3\nphases: {warmup: 5s, measure: 15s}\nsweep: {workload.rate: [10, 30]}\n")
	if got := auto.EstimateOn(EngineSim); got != want {
		t.Errorf("auto, which is sim: got %+v, want %+v", got, want)
	}
	for set, want := range map[string]Estimate{
		"stop.requests=100": {Requests: 6 * 100, Virtual: 3 * (10*time.Second + time.Second*10/3)},
		"stop.requests=400": {Requests: 3 * (200 + 400), Virtual: 3 * (20*time.Second + time.Second*40/3)},
		"stop.leader=true":  {Virtual: 6 * 20 * time.Second},
	} {
		overrides := testOverrides()
		overrides.Engine, overrides.Set = "sim", []string{set}
		source, err := Parse("x.yaml", auto.Data, overrides)
		if err != nil {
			t.Fatal(err)
		}
		if got := source.Estimate(); got.Requests != want.Requests || (got.Virtual-want.Virtual).Abs() > time.Microsecond {
			t.Errorf("%s: %d requests in %v, want %d in %v", set, got.Requests, got.Virtual, want.Requests, want.Virtual)
		}
	}
	got = parse(t, "version: 1\nrepeat: 100000\nworkload: {rate: 10000000}\nphases: {warmup: 24h, measure: 24h}\n").Estimate()
	if got.Time != math.MaxInt64 || got.Requests <= 0 || got.DiskBytes != 20*got.Requests {
		t.Errorf("a huge plan overflows: %+v", got)
	}
}
