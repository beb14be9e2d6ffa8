// Package measure derives a run's summary from its folder: means, confidence
// intervals, percentiles, and whether the run counts. It promises to read
// nothing but the folder, to average no void trial in, and to leave out (null)
// what the sample can't support, such as the interval of a single trial.
//
// A request's latency is the time from when it was due to its first answer, so
// that a stalled system can't hide the requests that it held up. A trial's mean
// is over its answered requests; the mean of a point is the mean of its M
// trials' means, and its interval is over these M values, because requests of
// one trial aren't independent of each other.
package measure

import (
	"math"

	"github.com/montanaflynn/stats"
	"gonum.org/v1/gonum/stat/distuv"
)

// MethodT names Student's t, the method of the intervals called CI95.
const MethodT = "t"

// normalQuantile is the 97.5% quantile of the normal distribution, rounded as
// the dissertation has it (section 4.2.1).
const normalQuantile = 1.96

// Interval is a sample's mean with its confidence intervals. What the sample
// can't support is nil: the mean of no values; all else of fewer than two.
type Interval struct {
	N int
	// Mean is the sample's mean, Stddev its standard deviation with n-1.
	Mean   *float64
	Stddev *float64
	// CI95 is the two-sided 95% interval by Student's t with n-1 degrees of
	// freedom: mean +- t * stddev / sqrt(n).
	CI95 *[2]float64
	// CI95Normal has 1.96 instead of t, as in the dissertation, section 4.2.1.
	// With few values it is too narrow.
	CI95Normal *[2]float64
}

// MeanInterval describes a sample of finite values.
func MeanInterval(values []float64) Interval {
	interval := Interval{N: len(values)}
	if len(values) == 0 {
		return interval
	}
	mean := must(stats.Mean(values))
	interval.Mean = &mean
	if len(values) == 1 {
		return interval
	}
	stddev := must(stats.StandardDeviationSample(values))
	interval.Stddev = &stddev
	standardError := stddev / math.Sqrt(float64(len(values)))
	around := func(quantile float64) *[2]float64 {
		return &[2]float64{mean - quantile*standardError, mean + quantile*standardError}
	}
	interval.CI95 = around(studentQuantile(len(values) - 1))
	interval.CI95Normal = around(normalQuantile)
	return interval
}

// must panics on the errors of package stats, which are about samples too small.
func must(value float64, err error) float64 {
	if err != nil {
		panic("measure: statistics of a sample whose size was checked: " + err.Error())
	}
	return value
}

// studentQuantile is the 97.5% quantile of Student's t distribution.
func studentQuantile(degreesOfFreedom int) float64 {
	return distuv.StudentsT{Mu: 0, Sigma: 1, Nu: float64(degreesOfFreedom)}.Quantile(0.975)
}

// Percentile is the nearest-rank percentile of a sample in ascending order
// followed by timeouts, which are infinitely late: the value of rank
// ceil(permille/1000 * n), at least 1, where n counts the timeouts too. It is
// always a value that occurred. It reports false if there is no such value
// because the sample is empty or the rank falls among the timeouts. Permille is
// 0 (the least) to 1000 (the greatest).
func Percentile(sorted []int64, timeouts, permille int) (int64, bool) {
	// Whole numbers, because 0.999 * n in floating point can land on the wrong
	// side of a rank.
	n := len(sorted) + timeouts
	rank := max(1, (permille*n+999)/1000)
	if rank > len(sorted) {
		return 0, false
	}
	return sorted[rank-1], true
}
