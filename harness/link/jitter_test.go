package link

import (
	"math"
	"slices"
	"testing"
	"time"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"quorumlab/topologies"
)

// delays transmits frames so far apart that order doesn't interfere, and returns their
// delays.
func delays(p topologies.Parameters, seed uint64, frames int, apart time.Duration) []float64 {
	m := NewModel(p, seed, 0)
	drawn := make([]float64, frames)
	for i := range drawn {
		nowNS := int64(i) * int64(apart)
		atNS, _ := transmit(m, nowNS, 100)
		drawn[i] = float64(atNS - nowNS)
	}
	return drawn
}

func TestJitterFollowsItsDistribution(t *testing.T) {
	const n = 100_000
	const delay, jitter = 20e6, 2e6
	lomax := func(shape float64) func(float64) float64 {
		scale := jitter * (shape - 1)
		return func(x float64) float64 { return 1 - math.Pow(1+math.Max(0, x)/scale, -shape) }
	}
	for _, c := range []struct {
		name         string
		distribution string
		shape        float64
		// cdf is that of the excess over delay.
		cdf func(x float64) float64
		// mean is that of the excess; stddev is 0 if its estimate is too rough.
		mean, stddev float64
	}{
		{"uniform", topologies.JitterUniform, 0, distuv.Uniform{Min: -jitter, Max: jitter}.CDF, 0, jitter / math.Sqrt(3)},
		{"normal", topologies.JitterNormal, 0, distuv.Normal{Sigma: jitter}.CDF, 0, jitter},
		{"exponential", topologies.JitterExponential, 0, distuv.Exponential{Rate: 1 / jitter}.CDF, jitter, jitter},
		{"pareto of shape 8", topologies.JitterPareto, 8, lomax(8), jitter, jitter * math.Sqrt(8.0/6)},
		{"pareto of the default shape", topologies.JitterPareto, 0, lomax(topologies.DefaultJitterShape), jitter, 0},
	} {
		p := topologies.Parameters{Delay: delay, Jitter: jitter, JitterDistribution: c.distribution, JitterShape: c.shape}
		excess := delays(p, 11, n, time.Minute)
		for i := range excess {
			excess[i] -= delay
		}
		mean, stddev := stat.MeanStdDev(excess, nil)
		if math.Abs(mean-c.mean) > 5*stddev/math.Sqrt(n) {
			t.Errorf("%s: the mean is %v, want %v", c.name, mean, c.mean)
		}
		if c.stddev > 0 && math.Abs(stddev/c.stddev-1) > 0.03 {
			t.Errorf("%s: the standard deviation is %v, want %v", c.name, stddev, c.stddev)
		}
		// The Kolmogorov-Smirnov statistic's 1% quantile.
		if d := kolmogorovSmirnov(excess, c.cdf); d > 1.63/math.Sqrt(n) {
			t.Errorf("%s: the greatest distance from its distribution is %v, want at most %v", c.name, d, 1.63/math.Sqrt(n))
		}
	}
}

// kolmogorovSmirnov is the greatest distance of a sample from a distribution.
func kolmogorovSmirnov(sample []float64, cdf func(float64) float64) float64 {
	sorted := slices.Clone(sample)
	slices.Sort(sorted)
	distance, n := 0.0, float64(len(sorted))
	for i, x := range sorted {
		expected := cdf(x)
		distance = max(distance, expected-float64(i)/n, float64(i+1)/n-expected)
	}
	return distance
}

func TestTheDistanceFromAWrongDistributionIsGreat(t *testing.T) {
	const n = 100_000
	excess := delays(topologies.Parameters{Jitter: 2e6, JitterDistribution: topologies.JitterExponential}, 11, n, time.Minute)
	if d := kolmogorovSmirnov(excess, distuv.Exponential{Rate: 1 / 2.05e6}.CDF); d <= 1.63/math.Sqrt(n) {
		t.Errorf("an exponential jitter of 2 ms is taken for one of 2.05 ms: distance %v", d)
	}
}

func TestTableJitterDrawsEachValueAlike(t *testing.T) {
	const n = 50_000
	table := []time.Duration{0, 10, 10, 300, 7e6}
	drawn := map[float64]int{}
	for _, d := range delays(topologies.Parameters{
		Delay: time.Millisecond, JitterDistribution: topologies.JitterTable, JitterTable: &topologies.Table{Excess: table},
	}, 3, n, time.Second) {
		drawn[d-1e6]++
	}
	for value, share := range map[float64]float64{0: 0.2, 10: 0.4, 300: 0.2, 7e6: 0.2} {
		if q := (distuv.Binomial{N: n, P: share}).CDF(float64(drawn[value])); q < 0.0005 || q > 0.9995 {
			t.Errorf("%v was drawn %d times of %d, want a share of %v", value, drawn[value], n, share)
		}
		delete(drawn, value)
	}
	if len(drawn) > 0 {
		t.Errorf("values that the table doesn't have: %v", drawn)
	}
}

func TestJitterWithoutBoundEndsAtADay(t *testing.T) {
	p := topologies.Parameters{Delay: topologies.MaxDelay, Jitter: topologies.MaxDelay, JitterDistribution: topologies.JitterPareto, JitterShape: 1.5}
	greatest := slices.Max(delays(p, 1, 10_000, 26*time.Hour))
	if want := float64(topologies.MaxDelay + 24*time.Hour); greatest != want {
		t.Errorf("the greatest delay is %v, want %v", greatest, want)
	}
}

func TestJitterReordersOnlyWhereItMay(t *testing.T) {
	for _, reorders := range []bool{false, true} {
		m := NewModel(topologies.Parameters{
			Delay: 10e6, Jitter: 5e6, JitterDistribution: topologies.JitterUniform, JitterReorders: reorders,
		}, 1, 0)
		overtakings, lastNS := 0, int64(0)
		for i := range int64(1000) {
			atNS, _ := transmit(m, i*1e5, 100)
			if atNS < i*1e5+5e6 || atNS > i*1e5+15e6 && reorders {
				t.Fatalf("frame %d arrived at %d", i, atNS)
			}
			if atNS < lastNS {
				overtakings++
			}
			lastNS = atNS
		}
		if reorders != (overtakings > 0) {
			t.Errorf("jitter_reorders %v: %d of 1000 frames overtook another", reorders, overtakings)
		}
	}
}
