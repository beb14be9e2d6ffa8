package calibrate

import (
	"math"
	"slices"
	"sort"

	"gonum.org/v1/gonum/mathext"
	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// acceptance bounds the successes that n independent trials of probability p honestly
// have, but for a share alpha of all tries: those whose Clopper-Pearson interval of
// confidence 1-alpha contains p (Clopper and Pearson, "The use of confidence or
// fiducial limits", 1934).
func acceptance(p float64, n int, alpha float64) (low, high int) {
	switch {
	case p <= 0:
		return 0, 0
	case p >= 1:
		return n, n
	}
	// atLeast is the probability of k or more successes, of at least one.
	atLeast := func(k int) float64 { return mathext.RegIncBeta(float64(k), float64(n-k+1), p) }
	// atMost is that of k or fewer, of less than n.
	atMost := func(k int) float64 { return mathext.RegIncBeta(float64(n-k), float64(k+1), 1-p) }
	low = sort.Search(n, func(k int) bool { return atMost(k) > alpha/2 })
	high = n - sort.Search(n, func(i int) bool { return atLeast(n-i) > alpha/2 })
	return low, high
}

// spread is what a number does that the model was made to draw many times.
type spread struct {
	mean, deviation, skewness float64
	draws                     int
}

func spreadOf(draws []float64) spread {
	s := spread{draws: len(draws)}
	if len(draws) < 3 {
		return s
	}
	var variance float64
	s.mean, variance = stat.MeanVariance(draws, nil)
	if s.deviation = math.Sqrt(variance); s.deviation > 0 {
		s.skewness = stat.Skew(draws, nil)
	}
	return s
}

// bounds contain the number but for a share alpha of all tries: the quantiles of the
// Pearson type III distribution of the same mean, deviation and skewness, each of
// them as far off as three of its own standard errors.
func (s spread) bounds(alpha float64) (low, high float64) {
	if s.deviation == 0 {
		return s.mean, s.mean
	}
	draws := float64(s.draws)
	deviation := s.deviation * (1 + 2/math.Sqrt(2*draws))
	mean, skewness := 2*s.deviation/math.Sqrt(draws), 2*math.Sqrt(6/draws)
	low = s.mean - mean - deviation*pearsonIII(1-alpha/2, skewness-s.skewness)
	high = s.mean + mean + deviation*pearsonIII(1-alpha/2, skewness+s.skewness)
	return low, high
}

// countBounds are bounds of a count out of n, which isn't below 0 or above n, and which
// may be larger than in any draw where that is rare. What was the same in all draws has
// to be that.
func (s spread) countBounds(n int, alpha float64) (low, high float64) {
	low, high = s.bounds(alpha)
	rare := s.mean + 3*math.Sqrt(s.mean/float64(s.draws)) + 3/float64(s.draws)
	if s.deviation > 0 && rare < float64(n) {
		_, most := acceptance(rare/float64(n), n, alpha)
		high = max(high, float64(most))
	}
	return max(0, math.Floor(low)), min(float64(n), math.Ceil(high))
}

// pearsonIII is a quantile of the standardised Pearson type III distribution: a
// gamma distribution, shifted, and mirrored if the skewness is negative.
func pearsonIII(probability, skewness float64) float64 {
	if math.Abs(skewness) < 0.02 {
		return distuv.UnitNormal.Quantile(probability)
	}
	shape := 4 / (skewness * skewness)
	if skewness < 0 {
		return (shape - distuv.Gamma{Alpha: shape, Beta: 1}.Quantile(1-probability)) / math.Sqrt(shape)
	}
	return (distuv.Gamma{Alpha: shape, Beta: 1}.Quantile(probability) - shape) / math.Sqrt(shape)
}

// distance is how far the distribution of a sample is from a reference one, both
// sorted: the least d such that the sample's lies within
// [F(x - late) - d, F(x + early) + d] for all x. With early and late 0 it is the
// Kolmogorov-Smirnov statistic.
func distance(sample, reference []float64, early, late float64) float64 {
	small, large := distances(sample, reference, early, late)
	return max(small, large)
}

// distances are distance's two sides: by how much the sample's values are too small, and by
// how much they are too large.
func distances(sample, reference []float64, early, late float64) (small, large float64) {
	n, all := float64(len(sample)), float64(len(reference))
	for i, x := range sample {
		// The sample's distribution rises at x from i/n on, or before if x repeats.
		if i+1 == len(sample) || sample[i+1] > x {
			small = max(small, float64(i+1)/n-float64(countUpTo(reference, x+early))/all)
		}
		if i == 0 || sample[i-1] < x {
			large = max(large, float64(countBelow(reference, x-late))/all-float64(i)/n)
		}
	}
	return small, large
}

func countUpTo(sorted []float64, x float64) int {
	return sort.Search(len(sorted), func(i int) bool { return sorted[i] > x })
}

func countBelow(sorted []float64, x float64) int {
	i, _ := slices.BinarySearch(sorted, x)
	return i
}

// meanDistance is the mean of the Kolmogorov-Smirnov statistic of n independent
// values, times the square root of n: ln 2 times the square root of pi / 2.
var meanDistance = math.Ln2 * math.Sqrt(math.Pi/2)

// criticalDistance is exceeded by the Kolmogorov-Smirnov statistic of n independent
// values with probability alpha at most (Massart, "The tight constant in the
// Dvoretzky-Kiefer-Wolfowitz inequality", 1990).
func criticalDistance(n int, alpha float64) float64 {
	return math.Sqrt(math.Log(2/alpha) / (2 * float64(n)))
}

// quantile of sorted values, of which there is at least one.
func quantile(sorted []float64, q float64) float64 {
	return sorted[int(min(max(q, 0), 1)*float64(len(sorted)-1))]
}

// median of sorted values, of which there is at least one.
func median(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
