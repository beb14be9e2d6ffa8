package calibrate

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"quorumlab/harness/engine"
	"quorumlab/results"
	"quorumlab/topologies"
)

// madeLate has a share of a record's frames arrive 1.5 ms late.
func madeLate(r *record, share float64) *record {
	random := rand.New(rand.NewPCG(1, 2))
	late := *r
	late.arrivals = slices.Clone(r.arrivals)
	for i := range late.arrivals {
		if random.Float64() < share {
			late.arrivals[i].atNS += int64(1500 * time.Microsecond)
		}
	}
	inOrder(late.arrivals)
	return &late
}

// strained is the record of a link with jitter of 20,000 frames, of which a share is late.
func strained(actual, declared topologies.Parameters, share float64) (*record, order) {
	o := order{kind: kindStream, frames: 20_000, interval: 500 * time.Microsecond, bytes: fullBytes}
	return madeLate(measured(actual, declared, o, 1), share), o
}

func TestFramesThatTheMachineMadeLateAreNotBlamedOnTheLink(t *testing.T) {
	narrow := with(overtake, func(p *topologies.Parameters) { p.Jitter = 400 * time.Microsecond })
	for _, c := range []struct {
		name        string
		share, seen float64
		want        string
	}{
		{"as many as the emulator says", 0.06, 0.04, results.LinkPass},
		{"somewhat more than the emulator says", 0.12, 0.04, results.LinkNotTested},
		{"far more than the emulator says", 0.40, 0.04, results.LinkFail},
		{"the emulator was never late", 0.12, 0, results.LinkFail},
	} {
		r, o := strained(narrow, narrow, c.share)
		j := judgeOf(narrow)
		j.strain = strain{late: c.seen, veryLate: c.seen}
		row := find(t, j.stream(r, o), "jitter")
		if row.Finding != c.want {
			t.Errorf("%s: %+v, want %s", c.name, row, c.want)
		}
		if row.Finding == results.LinkNotTested && row.Reason != "the machine was too busy: the emulator sent 4% of frames over 1 ms late" {
			t.Errorf("%s: %q", c.name, row.Reason)
		}
	}
}

func TestABusyMachineExcusesNoLinkThatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		declared topologies.Parameters
		change   func(p *topologies.Parameters)
		want     string
	}{
		"delay":                {plain, func(p *topologies.Parameters) { p.Delay = 12 * ms }, "delay"},
		"less delay":           {plain, func(p *topologies.Parameters) { p.Delay = 9 * ms }, "delay"},
		"delay under jitter":   {overtake, func(p *topologies.Parameters) { p.Delay = 13 * ms }, "delay"},
		"less jitter":          {overtake, func(p *topologies.Parameters) { p.Jitter = ms }, "jitter"},
		"more jitter":          {overtake, func(p *topologies.Parameters) { p.Jitter = 4 * ms }, "jitter"},
		"another's undeclared": {plain, func(p *topologies.Parameters) { p.Jitter, p.JitterDistribution = 3*ms, topologies.JitterNormal }, "jitter"},
	} {
		r, o := strained(with(c.declared, c.change), c.declared, 0.05)
		j := judgeOf(c.declared)
		j.strain = strain{late: 0.06, veryLate: 0.05}
		if got := failed(j.stream(r, o)); !slices.Contains(got, c.want) {
			t.Errorf("%s: %v failed, want %s", name, got, c.want)
		}
	}
}

func TestTheStrainIsWhatCameBetweenTwoReadings(t *testing.T) {
	load := func(few, some, many, stolen, total uint64) Load {
		return Load{StolenTicks: stolen, TotalTicks: total, Lateness: []engine.LatenessBucket{
			{UpToNS: 500_000, Frames: few}, {UpToNS: 1_000_000, Frames: some}, {Frames: many}}}
	}
	before := load(10, 20, 30, 5, 100)
	got := since(before, load(100, 25, 35, 45, 200))
	if want := (strain{late: 0.1, veryLate: 0.05, stolen: 0.4}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := since(before, before); got != (strain{}) || got.busy() != "" || got.explains() != 0 {
		t.Errorf("of nothing: %+v", got)
	}
	if got := (strain{stolen: 0.4}); !strings.Contains(got.busy(), "hypervisor took away 40%") || got.explains() != mostExcused {
		t.Errorf("stolen time: %q, %v", got.busy(), got.explains())
	}
}
