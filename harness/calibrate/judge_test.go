package calibrate

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"quorumlab/harness/link"
	"quorumlab/results"
	"quorumlab/topologies"
)

const ms = time.Millisecond

// testAlpha is that of a calibration of a hundred directions.
const testAlpha = FalseAlarm / (100 * testsEach)

// measured is what a lab with these parameters would show that was told to send an
// order: the sender's pace is uneven, and frames are some 50 us late.
func measured(actual, declared topologies.Parameters, o order, seed uint64) *record {
	random := rand.New(rand.NewPCG(seed, 1))
	r := nominal(o)
	const start = int64(time.Hour)
	for i := range r.sentNS {
		r.sentNS[i] += start + random.Int64N(1+min(int64(o.interval)/2, 100_000))
	}
	r.cutNS = r.sentNS[len(r.sentNS)-1] + int64(patience(declared, nominal(o)))
	m := link.NewModel(actual, seed, start)
	for range random.IntN(1000) { // it has a past
		m.Transmit(start-int64(time.Minute), o.bytes)
	}
	r = carry(m, r)
	atNS := int64(0)
	for i := range r.arrivals { // late, but in order
		atNS = max(atNS, r.arrivals[i].atNS+int64(random.ExpFloat64()*50_000))
		r.arrivals[i].atNS = atNS
	}
	return r
}

// drawnCounts are shared by the tests.
var drawnCounts sync.Map

func judgeOf(p topologies.Parameters) *judge {
	return &judge{
		direction: &direction{link: "h1-s1", from: "h1", to: "s1", declared: p}, alpha: testAlpha,
		counted: func(p topologies.Parameters, o order, lag int) counts {
			known, _ := drawnCounts.LoadOrStore(fmt.Sprintf("%+v %+v %v", p, p.GilbertElliott, o), sync.OnceValue(func() counts {
				return drawCounts(p, nominal(o), lag)
			}))
			return known.(func() counts)()
		},
	}
}

// judged is every row about a link that is declared one way and is another.
func judged(j *judge, actual topologies.Parameters, seed uint64) []results.LinkCheck {
	p := j.direction.declared
	window := time.Second
	if p.GilbertElliott != nil {
		window = 2 * time.Second // bursts are few
	}
	o := planStreams([]topologies.Parameters{p}, window)[0]
	rows := j.stream(measured(actual, p, o, seed), o)
	if p.RateBPS == 0 || p.Down {
		return rows
	}
	rows = append(rows, j.train(measured(actual, p, planTrain(p, trainLasts(p)), seed)))
	for _, kind := range []string{kindBurst, kindBurstBytes} {
		if o, reason := planBurst(p, kind); reason == "" {
			rows = append(rows, j.queue(measured(actual, p, o, seed), kind == kindBurstBytes))
		}
	}
	return rows
}

func failed(rows []results.LinkCheck) []string {
	var names []string
	for _, c := range rows {
		if c.Finding == results.LinkFail && !slices.Contains(names, c.Parameter) {
			names = append(names, c.Parameter)
		}
	}
	slices.Sort(names)
	return names
}

func with(p topologies.Parameters, change func(*topologies.Parameters)) topologies.Parameters {
	if p.GilbertElliott != nil {
		g := *p.GilbertElliott
		p.GilbertElliott = &g
	}
	change(&p)
	return p
}

// table is a distribution of delays in milliseconds.
func table(excess ...float64) *topologies.Table {
	t := &topologies.Table{}
	for _, e := range excess {
		t.Excess = append(t.Excess, time.Duration(e*1e6))
	}
	return t
}

var (
	plain    = topologies.Parameters{Delay: 10 * ms}
	normal   = topologies.Parameters{Delay: 10 * ms, Jitter: 2 * ms, JitterDistribution: topologies.JitterNormal}
	overtake = with(normal, func(p *topologies.Parameters) { p.JitterReorders = true })
	pareto   = topologies.Parameters{Delay: 10 * ms, Jitter: 3 * ms, JitterDistribution: topologies.JitterPareto}
	tabled   = topologies.Parameters{Delay: 10 * ms, JitterDistribution: topologies.JitterTable, JitterTable: table(0, 1, 1, 2, 3, 8, 9)}
	lossy    = topologies.Parameters{Delay: 10 * ms, Loss: 0.02}
	clusters = topologies.Parameters{Delay: 10 * ms, Loss: 0.05, LossCorrelation: 0.4}
	gilbert  = topologies.Parameters{Delay: 10 * ms, GilbertElliott: &topologies.GilbertElliott{GoodToBad: 0.03, BadToGood: 0.3, LossGood: 0.005, LossBad: 0.8}}
	doubling = topologies.Parameters{Delay: 10 * ms, Duplicate: 0.05}
	flipping = topologies.Parameters{Delay: 10 * ms, Corrupt: 0.05}
	skipping = topologies.Parameters{Delay: 10 * ms, Reorder: 0.2, ReorderGap: 3, ReorderCorrelation: 0.3}
	slow     = topologies.Parameters{Delay: 10 * ms, RateBPS: 10_000_000, QueueFrames: 100}
	slowByte = topologies.Parameters{Delay: 10 * ms, RateBPS: 10_000_000, QueueBytes: 100_000}
	down     = topologies.Parameters{Delay: 10 * ms, Down: true}
	all      = topologies.Parameters{Delay: 20 * ms, Jitter: 3 * ms, JitterDistribution: topologies.JitterExponential, JitterReorders: true,
		Loss: 0.02, LossCorrelation: 0.2, Duplicate: 0.02, Corrupt: 0.01, Reorder: 0.05, RateBPS: 20_000_000, QueueFrames: 50}
)

func TestALinkAsDeclaredPasses(t *testing.T) {
	for name, p := range map[string]topologies.Parameters{
		"plain": plain, "normal": normal, "overtake": overtake, "pareto": pareto, "table": tabled, "lossy": lossy, "clusters": clusters,
		"gilbert": gilbert, "doubling": doubling, "flipping": flipping, "skipping": skipping, "slow": slow, "slow in bytes": slowByte,
		"down": down, "all at once": all, "nothing": {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := judgeOf(p)
			for seed := range uint64(2) {
				rows := judged(j, p, seed)
				for _, c := range rows {
					if c.Finding != results.LinkPass {
						t.Errorf("seed %d: %+v", seed, c)
					}
					if c.Frames == 0 || c.Link != "h1-s1" || c.From != "h1" {
						t.Errorf("seed %d: a row that says too little: %+v", seed, c)
					}
				}
			}
		})
	}
}

func TestEachParameterThatIsMisSetFails(t *testing.T) {
	type parameters = topologies.Parameters
	for _, c := range []struct {
		name     string
		declared parameters
		change   func(p *parameters)
		// want are rows of which at least one must fail.
		want string
	}{
		{"delay", plain, func(p *parameters) { p.Delay = 12 * ms }, "delay"},
		{"less delay", plain, func(p *parameters) { p.Delay = 9 * ms }, "delay"},
		{"delay under jitter", normal, func(p *parameters) { p.Delay = 12 * ms }, "delay"},
		{"jitter", normal, func(p *parameters) { p.Jitter = 4 * ms }, "jitter"},
		{"less jitter", overtake, func(p *parameters) { p.Jitter = ms }, "jitter"},
		{"no jitter", normal, func(p *parameters) { p.Jitter = 0 }, "jitter"},
		{"undeclared jitter", plain, func(p *parameters) { p.Jitter, p.JitterDistribution = 3*ms, topologies.JitterNormal }, "jitter"},
		{"distribution", overtake, func(p *parameters) { p.JitterDistribution = topologies.JitterUniform }, "jitter"},
		{"shape", pareto, func(p *parameters) { p.JitterShape = 1.2 }, "jitter"},
		{"table", tabled, func(p *parameters) { p.JitterTable = table(0, 1, 5, 5, 5, 8, 9) }, "jitter"},
		{"jitter that reorders", overtake, func(p *parameters) { p.JitterReorders = false }, "reorder"},
		{"jitter that doesn't reorder", normal, func(p *parameters) { p.JitterReorders = true }, "reorder"},
		{"loss", lossy, func(p *parameters) { p.Loss = 0.05 }, "loss"},
		{"less loss", lossy, func(p *parameters) { p.Loss = 0.005 }, "loss"},
		{"undeclared loss", plain, func(p *parameters) { p.Loss = 0.1 }, "loss"},
		{"correlation", clusters, func(p *parameters) { p.LossCorrelation = 0 }, "burst"},
		{"more correlation", clusters, func(p *parameters) { p.LossCorrelation = 0.7 }, "burst"},
		{"good to bad", gilbert, func(p *parameters) { p.GilbertElliott.GoodToBad = 0.06 }, "loss"},
		{"bad to good", gilbert, func(p *parameters) { p.GilbertElliott.BadToGood = 0.6 }, "burst loss"},
		{"loss while good", gilbert, func(p *parameters) { p.GilbertElliott.LossGood = 0.06 }, "burst loss"},
		{"loss while bad", gilbert, func(p *parameters) { p.GilbertElliott.LossBad = 0.3 }, "burst loss"},
		{"the same loss without clusters", gilbert, func(p *parameters) { p.Loss, p.GilbertElliott = p.GilbertElliott.Loss(), nil }, "burst"},
		{"duplicate", doubling, func(p *parameters) { p.Duplicate = 0.1 }, "duplicate"},
		{"undeclared duplicates", plain, func(p *parameters) { p.Duplicate = 0.1 }, "duplicate"},
		{"corrupt", flipping, func(p *parameters) { p.Corrupt = 0.1 }, "corrupt"},
		{"reorder", skipping, func(p *parameters) { p.Reorder = 0.4 }, "reorder"},
		{"undeclared reordering", plain, func(p *parameters) { p.Reorder = 0.2 }, "reorder"},
		{"reorder gap", skipping, func(p *parameters) { p.ReorderGap = 6 }, "reorder reorder_correlation"},
		{"reorder correlation", skipping, func(p *parameters) { p.ReorderCorrelation = 0.7 }, "reorder_correlation"},
		{"rate", slow, func(p *parameters) { p.RateBPS = 10_400_000 }, "rate"},
		{"less rate", slow, func(p *parameters) { p.RateBPS = 9_600_000 }, "rate"},
		{"no rate", slow, func(p *parameters) { p.RateBPS = 0 }, "rate"},
		{"undeclared rate", plain, func(p *parameters) { p.RateBPS = 10_000_000 }, "delay"},
		{"queue", slow, func(p *parameters) { p.QueueFrames = 120 }, "queue"},
		{"less queue", slow, func(p *parameters) { p.QueueFrames = 80 }, "queue"},
		{"unbounded queue", slow, func(p *parameters) { p.QueueFrames = 0 }, "queue"},
		{"queue in bytes", slowByte, func(p *parameters) { p.QueueBytes = 150_000 }, "queue"},
		{"down", plain, func(p *parameters) { p.Down = true }, "loss"},
		{"up", down, func(p *parameters) { p.Down = false }, "loss"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			j := judgeOf(c.declared)
			rows := judged(j, with(c.declared, c.change), 1)
			if got := failed(rows); !slices.ContainsFunc(got, func(name string) bool { return slices.Contains(strings.Fields(c.want), name) }) {
				t.Errorf("%v failed, want %s; rows %+v", got, c.want, rows)
			}
		})
	}
}
