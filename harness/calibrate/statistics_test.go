package calibrate

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
)

// The bounds must be those of the Clopper-Pearson intervals: the successes whose
// interval contains the probability.
func TestAcceptanceIsThatOfClopperAndPearson(t *testing.T) {
	for _, c := range []struct {
		p     float64
		n     int
		alpha float64
	}{{0.01, 100, 0.05}, {0.5, 20, 0.05}, {0.02, 500, 1e-4}, {0.9, 300, 1e-4}, {0.001, 50, 1e-7}, {1e-9, 10, 1e-6}} {
		low, high := acceptance(c.p, c.n, c.alpha)
		for k := range c.n + 1 {
			// Of k successes the interval begins and ends at these quantiles.
			from, to := 0.0, 1.0
			if k > 0 {
				from = distuv.Beta{Alpha: float64(k), Beta: float64(c.n - k + 1)}.Quantile(c.alpha / 2)
			}
			if k < c.n {
				to = distuv.Beta{Alpha: float64(k + 1), Beta: float64(c.n - k)}.Quantile(1 - c.alpha/2)
			}
			if within := k >= low && k <= high; within != (from < c.p && c.p < to) {
				t.Errorf("p %v, n %d, alpha %v: %d of %d to %d, and the interval is %v to %v", c.p, c.n, c.alpha, k, low, high, from, to)
			}
		}
	}
	for _, p := range []float64{0, 1} {
		if low, high := acceptance(p, 10, 0.5); low != int(10*p) || high != int(10*p) {
			t.Errorf("p %v: %d to %d", p, low, high)
		}
	}
}

// Far out in the tails the bounds are where the sums of the binomial probabilities say.
func TestAcceptanceHoldsFarOutInTheTails(t *testing.T) {
	const p, n, alpha = 0.02, 5000, 1e-7
	logGamma := func(x float64) float64 { l, _ := math.Lgamma(x); return l }
	probability := func(k int) float64 {
		return math.Exp(logGamma(n+1) - logGamma(float64(k+1)) - logGamma(float64(n-k+1)) + float64(k)*math.Log(p) + float64(n-k)*math.Log(1-p))
	}
	low, high := 0, n
	for below := probability(0); below <= alpha/2; below += probability(low) {
		low++
	}
	for above := probability(n); above <= alpha/2; above += probability(high) {
		high--
	}
	if l, h := acceptance(p, n, alpha); l != low || h != high {
		t.Errorf("%d to %d, want %d to %d", l, h, low, high)
	}
}

// A textbook's: 8 heads of 10 throws of a fair coin don't surprise at 5%, 9 do.
func TestAcceptanceOfAFairCoin(t *testing.T) {
	if low, high := acceptance(0.5, 10, 0.05); low != 2 || high != 8 {
		t.Errorf("%d to %d, want 2 to 8", low, high)
	}
}

func TestBoundsOfWhatWasDrawnHoldItsDistributionsQuantiles(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		name     string
		draw     func() float64
		quantile func(float64) float64
	}{
		{"normal", func() float64 { return 100 + 3*random.NormFloat64() }, distuv.Normal{Mu: 100, Sigma: 3}.Quantile},
		{"skewed", func() float64 { return random.ExpFloat64() + random.ExpFloat64() }, distuv.Gamma{Alpha: 2, Beta: 1}.Quantile},
		{"skewed the other way", func() float64 { return -random.ExpFloat64() - random.ExpFloat64() },
			func(q float64) float64 { return -distuv.Gamma{Alpha: 2, Beta: 1}.Quantile(1 - q) }},
	} {
		var draws []float64
		for range 1000 {
			draws = append(draws, c.draw())
		}
		s := spreadOf(draws)
		for _, alpha := range []float64{1e-2, 1e-5, 1e-7} {
			low, high := s.bounds(alpha)
			from, to := c.quantile(alpha/2), c.quantile(1-alpha/2)
			if slack := 0.35 * (to - from); low > from+0.05 || high < to-0.05 || low < from-slack || high > to+slack {
				t.Errorf("%s, alpha %v: %v to %v, the quantiles are %v to %v", c.name, alpha, low, high, from, to)
			}
		}
	}
	if low, high := spreadOf([]float64{7, 7, 7, 7}).bounds(1e-6); low != 7 || high != 7 {
		t.Errorf("what is always 7 is from %v to %v", low, high)
	}
}

func TestARareCountMayBeAboveAllThatWereDrawn(t *testing.T) {
	draws := make([]float64, 1000)
	draws[3], draws[90] = 1, 1
	low, high := spreadOf(draws).countBounds(500, 1e-6)
	if low != 0 || high < 2 || high > 6 {
		t.Errorf("%v to %v", low, high)
	}
}

// Kolmogorov's statistic of a sample worked out by hand: of the uniform distribution on
// 0 to 10 against 1, 2, 9 it is at 2, where the sample has 2/3 and the reference 0.2.
func TestTheDistanceOfTwoDistributions(t *testing.T) {
	var reference []float64
	for i := range 1000 {
		reference = append(reference, float64(i)/100)
	}
	for _, c := range []struct {
		sample      []float64
		early, late float64
		want        float64
	}{
		{[]float64{1, 2, 9}, 0, 0, 2.0/3 - 0.2},
		{[]float64{1, 1, 1}, 0, 0, 0.9},
		{[]float64{5}, 0, 0, 0.5},
		{[]float64{12}, 0, 0, 1},
		{[]float64{12}, 0, 2, 1}, // 2 late: it would have been at 10 at the earliest
		{[]float64{12}, 0, 7, 0.5},
		{[]float64{1, 2, 9}, 3, 0, 0.9 - 2.0/3},
		{reference, 0, 0, 0},
	} {
		if got := distance(c.sample, reference, c.early, c.late); math.Abs(got-c.want) > 0.0021 {
			t.Errorf("%v, %v early, %v late: %v, want %v", c.sample[:min(3, len(c.sample))], c.early, c.late, got, c.want)
		}
	}
}

// Of many samples of the reference the share beyond the critical distance is alpha at
// most, and their mean is the constant.
func TestTheCriticalDistanceIsExceededByTheShareAlpha(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	var reference []float64
	for i := range 100_000 {
		reference = append(reference, float64(i)/100_000)
	}
	const samples, n, alpha = 1000, 200, 0.05
	beyond, sum := 0, 0.0
	for range samples {
		sample := make([]float64, n)
		for i := range sample {
			sample[i] = random.Float64()
		}
		slices.Sort(sample)
		d := distance(sample, reference, 0, 0)
		sum += d
		if d > criticalDistance(n, alpha) {
			beyond++
		}
	}
	if beyond > 70 || beyond < 20 {
		t.Errorf("%d of %d are beyond, want about %d", beyond, samples, int(alpha*samples))
	}
	if mean := sum / samples * math.Sqrt(n); math.Abs(mean-meanDistance) > 0.05 {
		t.Errorf("the mean is %v, want %v", mean, meanDistance)
	}
}
