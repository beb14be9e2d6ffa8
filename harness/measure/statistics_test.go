package measure

import (
	"math"
	"slices"
	"testing"

	"github.com/montanaflynn/stats"
	"pgregory.net/rapid"
)

func TestStudentQuantilesOfTheTextbook(t *testing.T) {
	// The two-sided 95% column of any table of Student's t.
	tests := []struct {
		degreesOfFreedom int
		want             float64
	}{{1, 12.706}, {2, 4.303}, {3, 3.182}, {4, 2.776}, {9, 2.262}, {29, 2.045}, {120, 1.980}, {100000, 1.960}}
	for _, test := range tests {
		if got := studentQuantile(test.degreesOfFreedom); math.Abs(got-test.want) > 0.0005 {
			t.Errorf("t with %d degrees of freedom is %.4f, want %.3f", test.degreesOfFreedom, got, test.want)
		}
	}
}

func TestMeanIntervalKnownAnswers(t *testing.T) {
	// Mean 3, variance 10/4: the standard error is sqrt(2.5/5).
	interval := MeanInterval([]float64{1, 2, 3, 4, 5})
	standardError := math.Sqrt(0.5)
	near(t, "mean", *interval.Mean, 3, 1e-12)
	near(t, "stddev", *interval.Stddev, math.Sqrt(2.5), 1e-12)
	near(t, "low", interval.CI95[0], 3-2.776445105*standardError, 1e-8)
	near(t, "high", interval.CI95[1], 3+2.776445105*standardError, 1e-8)
	near(t, "normal low", interval.CI95Normal[0], 3-1.96*standardError, 1e-12)
	near(t, "normal high", interval.CI95Normal[1], 3+1.96*standardError, 1e-12)
	if interval.N != 5 {
		t.Errorf("n = %d", interval.N)
	}
}

func TestMeanIntervalClaimsNoMoreThanTheSample(t *testing.T) {
	none := MeanInterval(nil)
	if none.N != 0 || none.Mean != nil || none.Stddev != nil || none.CI95 != nil || none.CI95Normal != nil {
		t.Errorf("of nothing: %+v", none)
	}
	one := MeanInterval([]float64{7})
	if one.N != 1 || *one.Mean != 7 || one.Stddev != nil || one.CI95 != nil || one.CI95Normal != nil {
		t.Errorf("of one value: %+v", one)
	}
	same := MeanInterval([]float64{0, 0, 0})
	if *same.Stddev != 0 || *same.CI95 != [2]float64{0, 0} {
		t.Errorf("of equal values: %+v", same)
	}
}

func TestPercentileKnownAnswers(t *testing.T) {
	hundred := make([]int64, 100)
	for i := range hundred {
		hundred[i] = int64(i + 1)
	}
	tests := []struct {
		name     string
		sorted   []int64
		timeouts int
		permille int
		want     int64
		ok       bool
	}{
		{"least", hundred, 0, 0, 1, true},
		{"median of an even number is the lower one", hundred, 0, 500, 50, true},
		{"p99", hundred, 0, 990, 99, true},
		{"p99.9 of 100", hundred, 0, 999, 100, true},
		{"greatest", hundred, 0, 1000, 100, true},
		{"Wikipedia's example, p30", []int64{15, 20, 35, 40, 50}, 0, 300, 20, true},
		{"Wikipedia's example, p40", []int64{15, 20, 35, 40, 50}, 0, 400, 20, true},
		{"Wikipedia's example, p50", []int64{15, 20, 35, 40, 50}, 0, 500, 35, true},
		{"a timeout is greater than any", hundred[:99], 1, 1000, 0, false},
		{"the last before the timeouts", hundred[:99], 1, 990, 99, true},
		{"half timed out", hundred[:50], 50, 500, 50, true},
		{"more than half timed out", hundred[:49], 51, 500, 0, false},
		{"all timed out", nil, 5, 0, 0, false},
		{"nothing", nil, 0, 500, 0, false},
		{"one value", []int64{7}, 0, 1, 7, true},
	}
	for _, test := range tests {
		got, ok := Percentile(test.sorted, test.timeouts, test.permille)
		if got != test.want || ok != test.ok {
			t.Errorf("%s: %d, %t; want %d, %t", test.name, got, ok, test.want, test.ok)
		}
	}
}

func TestPercentileIsTheNearestRank(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64Range(0, 1000), 1, 300).Draw(t, "values")
		percent := rapid.IntRange(0, 100).Draw(t, "percent")
		floats := make([]float64, len(values))
		for i, value := range values {
			floats[i] = float64(value)
		}
		want, err := stats.PercentileNearestRank(floats, float64(percent))
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(values)
		got, ok := Percentile(values, 0, 10*percent)
		if !ok || float64(got) != want {
			t.Fatalf("p%d of %v is %d, %t; package stats has %g", percent, values, got, ok, want)
		}
	})
}

func TestScalingTheSampleScalesItsInterval(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Float64Range(0, 1e4), 2, 20).Draw(t, "values")
		factor := rapid.Float64Range(0.001, 1000).Draw(t, "factor")
		scaled := make([]float64, len(values))
		for i, value := range values {
			scaled[i] = value * factor
		}
		before, after := MeanInterval(values), MeanInterval(scaled)
		for _, pair := range [][2]float64{
			{*before.Mean, *after.Mean}, {*before.Stddev, *after.Stddev},
			{before.CI95[0], after.CI95[0]}, {before.CI95[1], after.CI95[1]},
			{before.CI95Normal[0], after.CI95Normal[0]},
		} {
			if math.Abs(pair[0]*factor-pair[1]) > 1e-9*factor*1e5 {
				t.Fatalf("%g times %g isn't %g", pair[0], factor, pair[1])
			}
		}
		if before.CI95[0] > before.CI95Normal[0] || before.CI95[1] < before.CI95Normal[1] {
			t.Fatal("Student's interval is narrower than the normal one")
		}
	})
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if math.Abs(got-want) > tolerance {
		t.Errorf("%s is %.10g, want %.10g", what, got, want)
	}
}
