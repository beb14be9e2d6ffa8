package link

import (
	"math"
	"time"

	"quorumlab/topologies"
)

// conformanceCase is a link and the traffic that shows what it does.
type conformanceCase struct {
	name       string
	parameters topologies.Parameters
	// sizes are the frames' sizes in bytes, Ethernet header included, in turn.
	sizes []int
	// chance is the probability that a flow sends a frame at a tick.
	chance float64
	// flows is how many hosts send through the link.
	flows int
	// saturated is true if more is sent than the rate carries.
	saturated bool
}

const (
	// conformanceTick is the time between two frames of a flow that always sends.
	conformanceTick = 2500 * time.Microsecond
	// conformanceTicks is how long each case is observed.
	conformanceTicks = 1000
	smallFrame       = 100
	largeFrame       = 1000
)

// conformanceControls is how many of the first cases are controls: how late their frames
// are is how late the machine is, at sending and at waiting.
const conformanceControls = 2

// conformanceCases is every impairment, alone and with its neighbours.
func conformanceCases() []conformanceCase {
	const ms = time.Millisecond
	always := func(name string, p topologies.Parameters) conformanceCase {
		return conformanceCase{name: name, parameters: p, sizes: []int{smallFrame}, chance: 1, flows: 1}
	}
	jitter := func(name, distribution string, jitter time.Duration, reorders bool) conformanceCase {
		p := topologies.Parameters{Delay: 15 * ms, Jitter: jitter, JitterDistribution: distribution, JitterReorders: reorders}
		if distribution == topologies.JitterTable {
			p.Jitter, p.JitterTable = 0, measuredTable()
		}
		if reorders {
			return always(name+", overtaking", p)
		}
		return always(name+", in order", p)
	}
	cases := []conformanceCase{
		always("nothing", topologies.Parameters{}),
		always("delay 20 ms", topologies.Parameters{Delay: 20 * ms}),
		always("delay 12.345678 ms", topologies.Parameters{Delay: 12345678}),
	}
	for _, reorders := range []bool{false, true} {
		cases = append(cases,
			jitter("jitter uniform 10 ms", topologies.JitterUniform, 10*ms, reorders),
			jitter("jitter normal 4 ms", topologies.JitterNormal, 4*ms, reorders),
			jitter("jitter exponential 5 ms", topologies.JitterExponential, 5*ms, reorders),
			jitter("jitter pareto 5 ms", topologies.JitterPareto, 5*ms, reorders),
			jitter("jitter by a table", topologies.JitterTable, 0, reorders))
	}
	cases = append(cases,
		always("loss 10%", topologies.Parameters{Loss: 0.1}),
		always("loss 10%, correlated 60%", topologies.Parameters{Loss: 0.1, LossCorrelation: 0.6}),
		always("loss of Gilbert", topologies.Parameters{GilbertElliott: &topologies.GilbertElliott{GoodToBad: 0.05, BadToGood: 0.25, LossBad: 1}}),
		always("loss of Gilbert and Elliott", topologies.Parameters{
			GilbertElliott: &topologies.GilbertElliott{GoodToBad: 0.1, BadToGood: 0.2, LossGood: 0.02, LossBad: 0.6}}),
		always("duplicate 10%", topologies.Parameters{Delay: 5 * ms, Duplicate: 0.1}),
		always("duplicate 30%, loss 30%", topologies.Parameters{Duplicate: 0.3, Loss: 0.3}),
		always("corrupt 10%", topologies.Parameters{Delay: 5 * ms, Corrupt: 0.1}),
		always("reorder 20%", topologies.Parameters{Delay: 20 * ms, Reorder: 0.2}),
		always("reorder 50%, gap 5", topologies.Parameters{Delay: 20 * ms, Reorder: 0.5, ReorderGap: 5}),
		always("reorder 20%, correlated 60%", topologies.Parameters{Delay: 20 * ms, Reorder: 0.2, ReorderCorrelation: 0.6}),
		always("reorder 20% of jittered", topologies.Parameters{
			Delay: 20 * ms, Jitter: 5 * ms, JitterDistribution: topologies.JitterExponential, Reorder: 0.2}),
		always("trace", topologies.Parameters{Delay: 5 * ms, Trace: measuredTrace(topologies.GapHold)}),
		always("trace that loses", topologies.Parameters{Delay: 5 * ms, JitterReorders: true, Trace: measuredTrace(topologies.GapLose)}),
		always("down", topologies.Parameters{Down: true}),
	)
	return append(cases, rateCases()...)
}

// rateCases are the links with a rate. Those that are saturated are sent twice as much
// as they carry, at random times, so that few drops hang by a microsecond.
func rateCases() []conformanceCase {
	const ms = time.Millisecond
	large, mixed := []int{largeFrame}, []int{largeFrame, 200, 700}
	return []conformanceCase{
		{"rate 2 Mbit/s", topologies.Parameters{RateBPS: 2_000_000}, mixed, 0.6, 1, false},
		{"rate 2 Mbit/s, delay 10 ms", topologies.Parameters{RateBPS: 2_000_000, Delay: 10 * ms}, mixed, 0.6, 1, false},
		{"rate 1 Mbit/s, queue 5 frames", topologies.Parameters{RateBPS: 1_000_000, QueueFrames: 5}, large, 0.625, 1, true},
		{"rate 1 Mbit/s, queue 5000 bytes", topologies.Parameters{RateBPS: 1_000_000, QueueBytes: 5000}, mixed, 0.98, 1, true},
		{"rate 1 Mbit/s, queue 5, delay 10 ms, loss 30%", topologies.Parameters{
			RateBPS: 1_000_000, QueueFrames: 5, Delay: 10 * ms, Loss: 0.3}, large, 0.47, 1, false},
		{"rate 1 Mbit/s shared by two flows", topologies.Parameters{RateBPS: 1_000_000, QueueFrames: 8, Delay: 10 * ms}, large, 0.31, 2, true},
	}
}

// measuredTable is a skewed distribution with a gap in it.
func measuredTable() *topologies.Table {
	t := &topologies.Table{Name: "skewed"}
	for i := range 90 {
		t.Excess = append(t.Excess, time.Duration(i)*40*time.Microsecond)
	}
	for i := range 10 {
		t.Excess = append(t.Excess, 10*time.Millisecond+time.Duration(i)*time.Millisecond)
	}
	return t
}

// measuredTrace is a short series that begins again many times while it is observed,
// one row of it without an answer.
func measuredTrace(gap string) *topologies.Trace {
	trace := &topologies.Trace{Name: "saw", Align: topologies.AlignRandom, Gap: gap, GapAfter: time.Second, Period: 200 * time.Millisecond}
	for i := range 10 {
		trace.Times = append(trace.Times, time.Duration(i)*20*time.Millisecond)
		trace.Excess = append(trace.Excess, time.Duration(i*i)*300*time.Microsecond)
	}
	trace.Excess[6] = -1
	return trace
}

// declared is what parameters mean for figures, by arithmetic rather than by the
// model; not a number where arithmetic is no help.
func declared(c conformanceCase) figures {
	p, unknown := c.parameters, math.NaN()
	f := figures{meanDelayNS: unknown, rateBPS: unknown, overtaken: unknown, lostAfterLost: unknown, doubled: 0}
	f.lost = 1 - (1-p.MeanLoss())*(1-p.Corrupt)
	if p.Trace != nil && p.Trace.Gap == topologies.GapLose {
		f.lost = 0.1 // one of ten rows of the same length
	}
	if p.Duplicate > 0 {
		lost := p.Loss
		f.lost = lost * (1 - p.Duplicate)
		f.doubled = p.Duplicate * (1 - lost) * (1 - lost)
	}
	switch g := p.GilbertElliott; {
	case p.Loss > 0 && p.Duplicate == 0:
		f.lostAfterLost = p.Loss + p.LossCorrelation*(1-p.Loss)
	case g != nil:
		bad := g.GoodToBad / (g.GoodToBad + g.BadToGood)
		both := bad*g.LossBad*((1-g.BadToGood)*g.LossBad+g.BadToGood*g.LossGood) +
			(1-bad)*g.LossGood*((1-g.GoodToBad)*g.LossGood+g.GoodToBad*g.LossBad)
		f.lostAfterLost = both / g.Loss()
	}
	if p.Reorder > 0 {
		f.atOnce = 1 / (float64(max(p.ReorderGap, 1)-1) + 1/p.Reorder)
	}
	inOrder := !p.JitterReorders && p.Jitters()
	if p.RateBPS == 0 && !inOrder && !p.Down {
		f.meanDelayNS = float64(p.MeanDelay()) * (1 - f.atOnce)
	}
	if p.RateBPS > 0 && (p.QueueFrames > 0 || p.QueueBytes > 0) {
		f.lost, f.lostAfterLost = unknown, unknown
	}
	if c.saturated {
		f.rateBPS = float64(p.RateBPS)
	}
	if p.Reorder == 0 && (inOrder || !p.Jitters()) {
		f.overtaken = 0
	}
	return f
}

// declaredBelow is the distribution function of the delay, in nanoseconds; nil where
// there is none, or staying in order changes it.
func declaredBelow(p topologies.Parameters) func(ns float64) float64 {
	if !p.JitterReorders || p.Trace != nil {
		return nil
	}
	jitter, delay := float64(p.Jitter), float64(p.Delay)
	switch p.JitterDistribution {
	case topologies.JitterUniform:
		return func(ns float64) float64 { return min(max((ns-delay+jitter)/(2*jitter), 0), 1) }
	case topologies.JitterNormal:
		return func(ns float64) float64 { return math.Erfc((delay-ns)/jitter/math.Sqrt2) / 2 }
	case topologies.JitterExponential:
		return func(ns float64) float64 { return 1 - math.Exp(-max(ns-delay, 0)/jitter) }
	case topologies.JitterPareto:
		return func(ns float64) float64 {
			return 1 - math.Pow(1+max(ns-delay, 0)/jitter/(topologies.DefaultJitterShape-1), -topologies.DefaultJitterShape)
		}
	case topologies.JitterTable:
		return func(ns float64) float64 {
			below := 0
			for _, excess := range p.JitterTable.Excess {
				if float64(p.Delay+excess) <= ns {
					below++
				}
			}
			return float64(below) / float64(len(p.JitterTable.Excess))
		}
	}
	return nil
}
