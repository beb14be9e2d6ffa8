package link

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"quorumlab/topologies"
)

// conformModel compares the model, which is also the simulator's, with arithmetic.
func conformModel(c conformanceCase) conformanceRow {
	sent := c.traffic(conformanceTicks, 1)
	got, want := expect(c.parameters, sent), declared(c)
	row := conformanceRow{name: c.name, executor: "model, simulator", sent: len(sent) * conformancePredictions, want: got}
	row.got = figures{
		meanDelayNS: got.meanDelayNS.mean, lost: got.lost.mean, doubled: got.doubled.mean, rateBPS: got.rateBPS.mean, delaysNS: got.delaysNS,
	}
	row.saturated = c.saturated
	var off []string
	check := func(name string, got spread, want, tolerance float64) {
		// The mean of many predictions is by so much better than each.
		if allowed := conformanceDeviations*got.deviation/math.Sqrt(conformancePredictions) + tolerance; math.Abs(got.mean-want) > allowed {
			off = append(off, fmt.Sprintf("%s is %.5g, want %.5g ± %.2g", name, got.mean, want, allowed))
		}
	}
	check("mean delay", got.meanDelayNS, want.meanDelayNS, 1)
	check("lost", got.lost, want.lost, 1e-12)
	// The share after a lost frame is a quotient, whose mean is off by about 1/n.
	check("lost after lost", got.lostAfterLost, want.lostAfterLost, 0.005)
	check("doubled", got.doubled, want.doubled, 1e-12)
	check("overtaken", got.overtaken, want.overtaken, 0)
	check("let go at once", got.atOnce, want.atOnce, 0.002)
	check("rate", got.rateBPS, want.rateBPS, 0.005*want.rateBPS)
	if !math.IsNaN(want.meanDelayNS) {
		row.want.meanDelayNS.mean = want.meanDelayNS
	}
	if !math.IsNaN(want.lost) {
		row.want.lost.mean = want.lost
	}
	if !math.IsNaN(want.rateBPS) {
		row.want.rateBPS.mean = want.rateBPS
	}
	if below := declaredBelow(c.parameters); below != nil {
		// The quantiles stand for the declared distribution in the table.
		row.jitters = true
		row.want.delaysNS = quantiles(below, len(got.delaysNS))
		ks := max(excess(got.delaysNS, row.want.delaysNS, 0), excess(row.want.delaysNS, got.delaysNS, 0))
		if allowed := math.Sqrt(math.Log(2/1e-6)/2/float64(row.sent)) + 1.0/conformancePool; ks > allowed {
			off = append(off, fmt.Sprintf("KS distance %.4f, want at most %.4f", ks, allowed))
		}
	}
	row.verdict = verdictText(off)
	return row
}

func verdictText(off []string) string {
	if len(off) == 0 {
		return "pass"
	}
	return "FAIL: " + strings.Join(off, "; ")
}

// quantiles inverts a distribution function of nanoseconds from 0 to an hour.
func quantiles(below func(float64) float64, n int) []float64 {
	values := make([]float64, n)
	low := 0.0
	for i := range values {
		high := float64(time.Hour)
		for range 60 {
			if middle := (low + high) / 2; below(middle) < (float64(i)+0.5)/float64(n) {
				low = middle
			} else {
				high = middle
			}
		}
		values[i] = math.Round(high)
	}
	return values
}

func TestTheModelDoesWhatIsDeclared(t *testing.T) {
	var rows []conformanceRow
	for _, c := range conformanceCases() {
		row := conformModel(c)
		if row.verdict != "pass" {
			t.Errorf("%s: %s", c.name, row.verdict)
		}
		rows = append(rows, row)
	}
	t.Logf("\n%s", conformanceTable(rows))
}

// TestConformanceNoticesEachParameterThatIsOff lets a model with one parameter that is
// off stand in for an executor.
func TestConformanceNoticesEachParameterThatIsOff(t *testing.T) {
	const ms = time.Millisecond
	machine := lateness{over: 0.05}
	byName := map[string]conformanceCase{}
	for _, c := range conformanceCases() {
		byName[c.name] = c
	}
	for _, wrong := range []struct {
		name   string
		change func(*topologies.Parameters)
	}{
		{"nothing", func(p *topologies.Parameters) { p.Loss = 0.02 }},
		{"nothing", func(p *topologies.Parameters) { p.Delay = 3 * ms }},
		{"nothing", func(p *topologies.Parameters) { p.Duplicate = 0.02 }},
		{"delay 20 ms", func(p *topologies.Parameters) { p.Delay -= 100 * time.Microsecond }},
		{"delay 20 ms", func(p *topologies.Parameters) { p.Delay += 3 * ms }},
		{"jitter uniform 10 ms, overtaking", func(p *topologies.Parameters) { p.JitterReorders = false }},
		{"jitter uniform 10 ms, in order", func(p *topologies.Parameters) { p.JitterReorders = true }},
		{"jitter uniform 10 ms, overtaking", func(p *topologies.Parameters) { p.Jitter = 6 * ms }},
		{"jitter uniform 10 ms, in order", func(p *topologies.Parameters) { p.JitterDistribution = topologies.JitterNormal }},
		{"jitter normal 4 ms, overtaking", func(p *topologies.Parameters) { p.Jitter = 6 * ms }},
		{"jitter exponential 5 ms, overtaking", func(p *topologies.Parameters) { p.JitterDistribution = topologies.JitterNormal }},
		{"jitter pareto 5 ms, overtaking", func(p *topologies.Parameters) { p.Jitter = 2 * ms }},
		{"jitter by a table, overtaking", func(p *topologies.Parameters) {
			p.JitterTable = &topologies.Table{Excess: p.JitterTable.Excess[:80]}
		}},
		{"loss 10%", func(p *topologies.Parameters) { p.Loss = 0.2 }},
		{"loss 10%", func(p *topologies.Parameters) { p.LossCorrelation = 0.6 }},
		{"loss 10%, correlated 60%", func(p *topologies.Parameters) { p.LossCorrelation = 0 }},
		{"loss of Gilbert", func(p *topologies.Parameters) { p.GilbertElliott, p.Loss = nil, p.MeanLoss() }},
		{"loss of Gilbert and Elliott", func(p *topologies.Parameters) {
			p.GilbertElliott = &topologies.GilbertElliott{GoodToBad: 0.1, BadToGood: 0.2, LossBad: 1}
		}},
		{"duplicate 10%", func(p *topologies.Parameters) { p.Duplicate = 0.2 }},
		{"duplicate 30%, loss 30%", func(p *topologies.Parameters) { p.Loss = 0.2 }},
		{"corrupt 10%", func(p *topologies.Parameters) { p.Corrupt = 0 }},
		{"reorder 20%", func(p *topologies.Parameters) { p.Reorder = 0.3 }},
		{"reorder 50%, gap 5", func(p *topologies.Parameters) { p.ReorderGap = 0 }},
		{"trace", func(p *topologies.Parameters) { p.Trace, p.Delay = nil, p.MeanDelay() }},
		{"trace that loses", func(p *topologies.Parameters) { p.Trace = measuredTrace(topologies.GapHold) }},
		{"down", func(p *topologies.Parameters) { p.Down = false }},
		{"rate 2 Mbit/s", func(p *topologies.Parameters) { p.RateBPS = 1_500_000 }},
		{"rate 2 Mbit/s", func(p *topologies.Parameters) { p.RateBPS = 0 }},
		{"rate 1 Mbit/s, queue 5 frames", func(p *topologies.Parameters) { p.QueueFrames = 8 }},
		{"rate 1 Mbit/s, queue 5 frames", func(p *topologies.Parameters) { p.RateBPS = 950_000 }},
		{"rate 1 Mbit/s, queue 5000 bytes", func(p *topologies.Parameters) { p.QueueBytes = 8000 }},
		{"rate 1 Mbit/s, queue 5, delay 10 ms, loss 30%", func(p *topologies.Parameters) { p.Loss = 0.1 }},
		{"rate 1 Mbit/s shared by two flows", func(p *topologies.Parameters) { p.RateBPS = 1_100_000 }},
	} {
		c, ok := byName[wrong.name]
		if !ok {
			t.Fatalf("no case %q", wrong.name)
		}
		sent := c.traffic(conformanceTicks, 3)
		want := expect(c.parameters, sent)
		right := measure(c.parameters, sent, predict(c.parameters, sent, 4711))
		if off := want.verdict(c, right, len(sent), machine); off != nil {
			t.Errorf("%s as declared: %v", c.name, off)
		}
		p := c.parameters
		wrong.change(&p)
		got := measure(c.parameters, sent, predict(p, sent, 4711))
		if want.verdict(c, got, len(sent), machine) == nil {
			t.Errorf("%s passes for %+v", c.name, p)
		}
	}
}
