package measure

import (
	"cmp"
	"math"
	"slices"

	"quorumlab/results"
)

// observation is how long something took, or how often it happened, in one occurrence of
// a fault.
type observation struct {
	state state
	value float64
}

// state says what an observation's value is.
type state int

const (
	// unknown: nothing can be said.
	unknown state = iota
	// none: there was nothing to measure, such as an election that nobody needed.
	none
	// seen: the value is what was measured.
	seen
	// censored: it had not happened when the watch ended, after the value.
	censored
)

func took(ns int64) observation { return observation{seen, float64(ns) / 1e6} }

func longerThan(ns int64) observation { return observation{censored, float64(max(ns, 0)) / 1e6} }

func counted(n int) observation { return observation{seen, float64(n)} }

// estimate describes what several trials observed, a list of occurrences each. A trial's
// value is the mean of its occurrences, censored ones with their lower bounds; a mean of
// such values is a lower bound itself, and then has no interval. The median is
// Kaplan and Meier's. It is nil if nothing was observed.
func estimate(trials [][]observation) *results.Estimate {
	var estimate results.Estimate
	var means []float64
	var pooled []observation
	for _, trial := range trials {
		var sum float64
		n := 0
		for _, observed := range trial {
			switch observed.state {
			case none:
				estimate.None++
			case censored:
				estimate.Censored++
				fallthrough
			case seen:
				sum += observed.value
				n++
				pooled = append(pooled, observed)
			}
		}
		if n > 0 {
			means = append(means, sum/float64(n))
		}
	}
	estimate.Occurrences = len(pooled)
	if estimate.Occurrences+estimate.None == 0 {
		return nil
	}
	interval := MeanInterval(means)
	estimate.N, estimate.Mean = interval.N, interval.Mean
	if estimate.LowerBound = estimate.Censored > 0; !estimate.LowerBound {
		estimate.CI95 = interval.CI95
		if interval.CI95 != nil {
			estimate.CIMethod = MethodT
		}
	}
	if median, ok := survivalMedian(pooled); ok {
		estimate.Median = &median
	}
	return &estimate
}

// survivalMedian is the least time that at most half survive, by the product-limit
// estimator (Kaplan and Meier, "Nonparametric Estimation from Incomplete Observations",
// 1958, section 2): of those at risk just before each time at which something happened,
// the others survive it. What was censored at the same time was still at risk. It reports
// false if more than half survive all that was seen.
func survivalMedian(observed []observation) (float64, bool) {
	sorted := slices.Clone(observed)
	slices.SortFunc(sorted, func(a, b observation) int { return cmp.Compare(a.value, b.value) })
	surviving := 1.0
	for i := 0; i < len(sorted); {
		atRisk := len(sorted) - i
		happened := 0
		value := sorted[i].value
		for ; i < len(sorted) && sorted[i].value == value; i++ {
			if sorted[i].state == seen {
				happened++
			}
		}
		surviving *= float64(atRisk-happened) / float64(atRisk)
		// Half, but for the rounding of the product.
		if happened > 0 && surviving <= 0.5+1e-12 {
			return value, true
		}
	}
	return math.NaN(), false
}
