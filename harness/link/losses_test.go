package link

import (
	"math"
	"testing"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"quorumlab/topologies"
)

// indicators transmits frames and tells of each, by 1 or 0, whether something befell it.
func indicators(p topologies.Parameters, seed uint64, frames int, befell func(Fate) bool) []float64 {
	m := NewModel(p, seed, 0)
	series := make([]float64, frames)
	for i := range series {
		if befell(m.Transmit(int64(i)*1000, 100)) {
			series[i] = 1
		}
	}
	return series
}

func isLost(f Fate) bool      { return f.Verdict == LostByLoss }
func isReordered(f Fate) bool { return f.Arrivals[0].Reordered }

func TestCorrelatedEventsHaveTheirShareAndCorrelation(t *testing.T) {
	const n = 500_000
	for _, c := range []struct {
		name               string
		p                  topologies.Parameters
		befell             func(Fate) bool
		share, correlation float64
	}{
		{"loss", topologies.Parameters{Loss: 0.05, LossCorrelation: 0.25}, isLost, 0.05, 0.25},
		{"heavy loss", topologies.Parameters{Loss: 0.6, LossCorrelation: 0.9}, isLost, 0.6, 0.9},
		{"independent loss", topologies.Parameters{Loss: 0.1}, isLost, 0.1, 0},
		{"reordering", topologies.Parameters{Delay: 1e6, Reorder: 0.3, ReorderCorrelation: 0.5}, isReordered, 0.3, 0.5},
	} {
		series := indicators(c.p, 5, n, c.befell)
		// What correlation adds to the variance of the mean.
		deviation := math.Sqrt(c.share * (1 - c.share) * (1 + c.correlation) / (1 - c.correlation) / n)
		if share := stat.Mean(series, nil); math.Abs(share-c.share) > 4*deviation {
			t.Errorf("%s: a share of %v, want %v", c.name, share, c.share)
		}
		if got := stat.Correlation(series[1:], series[:n-1], nil); math.Abs(got-c.correlation) > 0.01 {
			t.Errorf("%s: a correlation of %v from one frame to the next, want %v", c.name, got, c.correlation)
		}
	}
}

func TestTheFirstFrameIsLostWithTheLongRunProbability(t *testing.T) {
	const n = 20_000
	lost := 0
	for seed := range uint64(n) {
		m := NewModel(topologies.Parameters{Loss: 0.3, LossCorrelation: 0.8}, seed, 0)
		if isLost(m.Transmit(0, 100)) {
			lost++
		}
	}
	if q := (distuv.Binomial{N: n, P: 0.3}).CDF(float64(lost)); q < 0.0005 || q > 0.9995 {
		t.Errorf("the first frame was lost %d times of %d, want a share of 0.3", lost, n)
	}
}

func TestGilbertElliottHasItsLossAndItsBursts(t *testing.T) {
	const n = 1_000_000
	for _, g := range []topologies.GilbertElliott{
		{GoodToBad: 0.01, BadToGood: 0.25, LossBad: 1},
		{GoodToBad: 0.2, BadToGood: 0.5, LossGood: 0.01, LossBad: 0.7},
		{GoodToBad: 0, BadToGood: 1, LossGood: 0.02, LossBad: 1},
	} {
		series := indicators(topologies.Parameters{GilbertElliott: &g}, 9, n, isLost)
		if share := stat.Mean(series, nil); math.Abs(share/g.Loss()-1) > 0.02 {
			t.Errorf("%+v: a loss of %v, want %v", g, share, g.Loss())
		}
		if g.LossBad < 1 || g.LossGood > 0 {
			continue
		}
		// Each burst is one stay in the bad state, of geometric length.
		bursts, ones, length := 0, 0, 0
		for _, lost := range series {
			switch {
			case lost == 1:
				length++
			case length > 0:
				if bursts++; length == 1 {
					ones++
				}
				length = 0
			}
		}
		mean := stat.Mean(series, nil) * n / float64(bursts)
		if want := 1 / g.BadToGood; math.Abs(mean/want-1) > 0.03 {
			t.Errorf("%+v: bursts of %v frames, want %v", g, mean, want)
		}
		if q := (distuv.Binomial{N: float64(bursts), P: g.BadToGood}).CDF(float64(ones)); q < 0.0005 || q > 0.9995 {
			t.Errorf("%+v: %d of %d bursts are of one frame, want a share of %v", g, ones, bursts, g.BadToGood)
		}
	}
}

func TestGilbertElliottBeginsInTheGoodState(t *testing.T) {
	for seed := range uint64(100) {
		m := NewModel(topologies.Parameters{GilbertElliott: &topologies.GilbertElliott{GoodToBad: 1, BadToGood: 1, LossBad: 1}}, seed, 0)
		for i := range 6 {
			// The frame after which the state changes is judged by the state before.
			if lost := isLost(m.Transmit(int64(i), 100)); lost != (i%2 == 1) {
				t.Fatalf("frame %d: lost is %v; states alternate, the good one first", i, lost)
			}
		}
	}
}

func TestReorderGapsAreExact(t *testing.T) {
	const delay, frames = 1e6, 60
	for _, gap := range []int{0, 1, 2, 5} {
		m := NewModel(topologies.Parameters{Delay: delay, Reorder: 1, ReorderGap: gap}, 1, 0)
		for i := range int64(frames) {
			fate := m.Transmit(i*100, 100)
			want, wantNS := gap < 2 || i%int64(gap) == int64(gap)-1, i*100+delay
			if want {
				wantNS = i * 100
			}
			if a := fate.Arrivals[0]; a.Reordered != want || a.AtNS != int64(wantNS) {
				t.Fatalf("gap %d, frame %d: %+v, want reordered %v, at %v", gap, i, a, want, wantNS)
			}
		}
	}
}

func TestWithinAReorderGapNothingIsReordered(t *testing.T) {
	const n, gap = 100_000, 4
	series := indicators(topologies.Parameters{Delay: 1e6, Reorder: 0.5, ReorderGap: gap}, 3, n, isReordered)
	last, eligible, reordered := -1, 0, 0
	for i, was := range series {
		if i-last >= gap {
			eligible++
		}
		if was == 0 {
			continue
		}
		if i-last < gap {
			t.Fatalf("frames %d and %d were reordered, with a gap of %d", last, i, gap)
		}
		last, reordered = i, reordered+1
	}
	if q := (distuv.Binomial{N: float64(eligible), P: 0.5}).CDF(float64(reordered)); q < 0.0005 || q > 0.9995 {
		t.Errorf("%d of %d frames that could be were reordered, want half", reordered, eligible)
	}
}

func TestDuplicatesAndLossesLeaveWhatNetemLeaves(t *testing.T) {
	const n = 100_000
	for _, c := range []struct {
		name            string
		p               topologies.Parameters
		none, one, both float64
	}{
		{"duplication", topologies.Parameters{Duplicate: 0.3}, 0, 0.7, 0.3},
		{"always", topologies.Parameters{Duplicate: 1}, 0, 0, 1},
		{"always, and all lost", topologies.Parameters{Duplicate: 1, Loss: 1}, 0, 1, 0},
		{"never, and half lost", topologies.Parameters{Loss: 0.5}, 0.5, 0.5, 0},
		// The frame is lost, and its duplicate stays; or it isn't, and the
		// duplicate's own loss decides.
		{"always, and half lost", topologies.Parameters{Duplicate: 1, Loss: 0.5}, 0, 0.75, 0.25},
		{"half, and half lost", topologies.Parameters{Duplicate: 0.5, Loss: 0.5}, 0.25, 0.625, 0.125},
	} {
		m := NewModel(c.p, 21, 0)
		counts := [3]int{}
		for i := range n {
			fate := m.Transmit(int64(i), 100)
			if (fate.Verdict == Delivered) != (fate.Count > 0) {
				t.Fatalf("%s: %+v", c.name, fate)
			}
			counts[fate.Count]++
		}
		for count, share := range []float64{c.none, c.one, c.both} {
			got := float64(counts[count]) / n
			if math.Abs(got-share) > 4*math.Sqrt(share*(1-share)/n) {
				t.Errorf("%s: %v of the frames arrive %d times, want %v", c.name, got, count, share)
			}
		}
	}
}

func TestACopyIsCorruptedByItself(t *testing.T) {
	const n = 100_000
	m := NewModel(topologies.Parameters{Duplicate: 1, Corrupt: 0.2}, 4, 0)
	seen := map[[2]bool]float64{}
	for i := range n {
		fate := m.Transmit(int64(i), 100)
		seen[[2]bool{fate.Arrivals[0].Corrupted, fate.Arrivals[1].Corrupted}]++
	}
	for which, share := range map[[2]bool]float64{
		{false, false}: 0.64, {true, false}: 0.16, {false, true}: 0.16, {true, true}: 0.04,
	} {
		if got := seen[which] / n; math.Abs(got-share) > 4*math.Sqrt(share*(1-share)/n) {
			t.Errorf("corrupted %v: a share of %v, want %v", which, got, share)
		}
	}
}
