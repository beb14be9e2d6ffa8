package measure

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func seenAt(values ...float64) []observation {
	var observed []observation
	for _, value := range values {
		observed = append(observed, observation{seen, value})
	}
	return observed
}

func censoredAt(values ...float64) []observation {
	var observed []observation
	for _, value := range values {
		observed = append(observed, observation{censored, value})
	}
	return observed
}

func TestSurvivalMedianOfKnownSamples(t *testing.T) {
	tests := []struct {
		name     string
		observed []observation
		want     float64 // negative: there is none
	}{
		// Remission of leukemia in weeks (Freireich and others, 1963), which textbooks on
		// survival analysis use: the median is 23 with 6-mercaptopurine, 8 with placebo.
		{"6-MP", append(seenAt(6, 6, 6, 7, 10, 13, 16, 22, 23), censoredAt(6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35)...), 23},
		{"placebo", seenAt(1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23), 8},
		{"one", seenAt(4), 4},
		{"even, all seen: the lower of the middle ones", seenAt(4, 1, 3, 2), 2},
		{"half censored at the end", append(seenAt(1, 2), censoredAt(9, 9)...), 2},
		{"more than half censored", append(seenAt(1, 2), censoredAt(9, 9, 9)...), -1},
		{"all censored", censoredAt(1, 2, 3), -1},
		{"censored early tells nothing", append(seenAt(5, 6), censoredAt(1, 1, 1)...), 5},
		{"censored at the same time was still at risk", append(seenAt(5, 8), censoredAt(5)...), 8},
		{"none", nil, -1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for range 5 {
				rand.Shuffle(len(test.observed), func(i, j int) {
					test.observed[i], test.observed[j] = test.observed[j], test.observed[i]
				})
				got, ok := survivalMedian(test.observed)
				if ok != (test.want >= 0) || ok && got != test.want {
					t.Errorf("median of %v is %v, %t, want %v", test.observed, got, ok, test.want)
				}
			}
		})
	}
}

func TestEstimateOfSeenValuesIsTheIntervalOfTheTrialsMeans(t *testing.T) {
	got := estimate([][]observation{seenAt(90, 110), seenAt(102), seenAt(104, 104, 104)})
	want := MeanInterval([]float64{100, 102, 104})
	if *got.Mean != 102 || *got.CI95 != *want.CI95 || got.CIMethod != MethodT || got.LowerBound ||
		got.N != 3 || got.Occurrences != 6 || got.Censored != 0 || *got.Median != 104 {
		t.Errorf("%+v, mean %v, interval %v", got, *got.Mean, got.CI95)
	}
}

func TestCensoredOccurrencesMakeTheMeanALowerBoundWithoutInterval(t *testing.T) {
	got := estimate([][]observation{seenAt(100), seenAt(102), append(seenAt(50), censoredAt(450)...)})
	if !got.LowerBound || got.CI95 != nil || got.CIMethod != "" || *got.Mean != (100+102+250)/3.0 ||
		got.N != 3 || got.Occurrences != 4 || got.Censored != 1 || *got.Median != 100 {
		t.Errorf("%+v, mean %v", got, *got.Mean)
	}
	all := estimate([][]observation{censoredAt(30), censoredAt(50)})
	if !all.LowerBound || *all.Mean != 40 || all.Median != nil || all.Censored != 2 {
		t.Errorf("all censored: %+v", all)
	}
}

func TestEstimateTellsNothingToMeasureFromNothingKnown(t *testing.T) {
	nobody := []observation{{state: none}}
	if got := estimate([][]observation{nobody, nobody}); got.None != 2 || got.Mean != nil || got.N != 0 || got.LowerBound {
		t.Errorf("%+v", got)
	}
	mixed := estimate([][]observation{nobody, seenAt(7), {{state: unknown}}})
	if mixed.None != 1 || mixed.N != 1 || *mixed.Mean != 7 || mixed.CI95 != nil || mixed.Occurrences != 1 {
		t.Errorf("%+v", mixed)
	}
	if got := estimate([][]observation{{{state: unknown}}, nil}); got != nil {
		t.Errorf("of nothing: %+v", got)
	}
}

// The lower bound must hold: censoring can only lower the mean.
func TestCensoringNeverRaisesTheMean(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var whole, cut [][]observation
		for range 1 + random.IntN(5) {
			var values, shortened []observation
			for range 1 + random.IntN(4) {
				value, limit := random.ExpFloat64()*100, random.ExpFloat64()*100
				values = append(values, observation{seen, value})
				if value > limit {
					shortened = append(shortened, observation{censored, limit})
				} else {
					shortened = append(shortened, observation{seen, value})
				}
			}
			whole, cut = append(whole, values), append(cut, shortened)
		}
		if got, most := *estimate(cut).Mean, *estimate(whole).Mean; got > most+1e-9 {
			t.Fatalf("censored: %v, all seen: %v\n%v\n%v", got, most, cut, whole)
		}
		if slices.ContainsFunc(cut, func(o []observation) bool {
			return slices.ContainsFunc(o, func(o observation) bool { return o.state == censored })
		}) != estimate(cut).LowerBound {
			t.Fatalf("%v: lower bound %t", cut, estimate(cut).LowerBound)
		}
	}
}
