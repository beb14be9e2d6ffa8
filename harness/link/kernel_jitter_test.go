package link

import (
	"math"
	"slices"
	"testing"
	"time"

	"quorumlab/topologies"
)

// delaysOf are the delays that netem makes of a table, ascending, over the parameters'.
func (j netemJitter) delaysOf() []float64 {
	delays := make([]float64, len(j.table))
	for i, entry := range j.table {
		delays[i] = float64(j.centreNS) + float64(j.spreadNS)*float64(entry)/netemTableUnit
	}
	slices.Sort(delays)
	return delays
}

func TestNetemsTablesHaveTheDeclaredDistributions(t *testing.T) {
	for _, p := range []topologies.Parameters{
		{Jitter: 10 * time.Millisecond, JitterDistribution: topologies.JitterUniform},
		{Jitter: time.Microsecond, JitterDistribution: topologies.JitterUniform},
		{Jitter: 4 * time.Second, JitterDistribution: topologies.JitterUniform},
		{Jitter: 2 * time.Millisecond, JitterDistribution: topologies.JitterNormal},
		{Jitter: 5 * time.Millisecond, JitterDistribution: topologies.JitterExponential},
		{Jitter: 5 * time.Millisecond, JitterDistribution: topologies.JitterPareto},
		{JitterDistribution: topologies.JitterTable, JitterTable: measuredTable()},
	} {
		p.JitterReorders, p.Delay = true, time.Minute
		jitter, err := newNetemJitter(p)
		if err != nil {
			t.Errorf("%+v: %v", p, err)
			continue
		}
		delays := jitter.delaysOf()
		mean := 0.0
		for _, delay := range delays {
			mean += delay / float64(len(delays))
		}
		step := float64(jitter.spreadNS) / netemTableUnit
		if want := float64(p.MeanDelay() - p.Delay); math.Abs(mean-want) > step/2+0.5 {
			t.Errorf("%+v: the mean is %v ns, want %v", p, mean, want)
		}
		want := quantiles(declaredBelow(p), len(delays))
		if p.JitterTable != nil {
			// Its values are apart, so rounding counts rather than the distance.
			for i, delay := range delays {
				if excess := float64(p.JitterTable.Excess[i]); math.Abs(delay-excess) > step/2+0.5 {
					t.Errorf("entry %d is %v ns, want %v", i, delay, excess)
				}
			}
			continue
		}
		for i := range want {
			want[i] -= float64(p.Delay)
		}
		if ks := max(excess(delays, want, 0), excess(want, delays, 0)); ks > 0.003 {
			t.Errorf("%+v: KS distance %v, want at most 0.003", p, ks)
		}
	}
}

func TestNetemsSymmetricTablesHaveTheDeclaredSpread(t *testing.T) {
	const jitter = 3 * time.Millisecond
	for distribution, want := range map[string]float64{
		topologies.JitterUniform: float64(jitter) / math.Sqrt(3), topologies.JitterNormal: float64(jitter),
	} {
		j, err := newNetemJitter(topologies.Parameters{Jitter: jitter, JitterDistribution: distribution})
		if err != nil {
			t.Fatal(err)
		}
		delays := j.delaysOf()
		squares := 0.0
		for i, delay := range delays {
			squares += delay * delay / float64(len(delays))
			if mirrored := delays[len(delays)-1-i]; math.Abs(delay+mirrored) > float64(j.spreadNS)/netemTableUnit+1 {
				t.Fatalf("%s: %v ns and %v ns are not symmetric", distribution, delay, mirrored)
			}
		}
		if got := math.Sqrt(squares); math.Abs(got-want) > 0.001*want {
			t.Errorf("%s: standard deviation %v ns, want %v", distribution, got, want)
		}
	}
}

func TestALongTableIsAveragedIntoNetems(t *testing.T) {
	table := &topologies.Table{}
	for i := range 3*netemTableSize + 7 {
		table.Excess = append(table.Excess, time.Duration(i)*time.Microsecond)
	}
	j, err := newNetemJitter(topologies.Parameters{JitterDistribution: topologies.JitterTable, JitterTable: table})
	if err != nil {
		t.Fatal(err)
	}
	delays := j.delaysOf()
	if len(delays) != netemTableSize {
		t.Fatalf("%d entries, want %d", len(delays), netemTableSize)
	}
	for i, delay := range delays {
		if want := float64(3*i+1) * 1e3; math.Abs(delay-want) > 10e3 {
			t.Fatalf("entry %d is %v ns, want about %v", i, delay, want)
		}
	}
}

func TestProbabilitiesInNetemsUnits(t *testing.T) {
	for _, c := range []struct {
		probability   float64
		atMost, below uint32
	}{
		{0, 0, 0}, {1, math.MaxUint32, math.MaxUint32}, {0.5, 1<<31 - 1, 1 << 31}, {0.25, 1<<30 - 1, 1 << 30}, {1.0 / (1 << 32), 0, 1},
	} {
		if got := atMost(c.probability); got != c.atMost {
			t.Errorf("at most, %v: %d, want %d", c.probability, got, c.atMost)
		}
		if got := below(c.probability); got != c.below {
			t.Errorf("below, %v: %d, want %d", c.probability, got, c.below)
		}
	}
}
