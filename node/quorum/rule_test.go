package quorum

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
)

// Every minimal quorum is drawn, no other set is, and all alike often: the
// statistic of the chi-squared test stays below its 99.9% quantile.
func TestAMinimalQuorumIsDrawnUniformly(t *testing.T) {
	const perQuorum = 400
	random := rand.New(rand.NewPCG(4, 4))
	for n := 1; n <= 6; n++ {
		all := rules(n, random)
		for _, name := range slices.Sorted(maps.Keys(all)) { // in order, so that the draws repeat
			rule := all[name]
			want := minimal(satisfying(n, rule))
			count := map[uint64]int{}
			for range perQuorum * len(want) {
				count[rule.Choose(random).first]++
			}
			statistic := 0.0
			for _, mask := range want {
				off := float64(count[uint64(mask)] - perQuorum)
				statistic += off * off / perQuorum
				delete(count, uint64(mask))
			}
			if len(count) > 0 {
				t.Errorf("%s: %d sets drawn that are no minimal quorums", name, len(count))
			}
			if len(want) == 1 {
				continue
			}
			if limit := (distuv.ChiSquared{K: float64(len(want) - 1)}).Quantile(0.999); statistic > limit {
				t.Errorf("%s: chi-squared %.1f over %d quorums, want at most %.1f", name, statistic, len(want), limit)
			}
		}
	}
}

func TestTheLeastSizeIsThatOfTheSmallestQuorum(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 5))
	for n := 1; n <= most; n++ {
		for name, rule := range rules(n, random) {
			least := n
			for _, mask := range satisfying(n, rule) {
				least = min(least, setOf(mask).Len())
			}
			if rule.Least() != least {
				t.Errorf("%s: least %d, want %d", name, rule.Least(), least)
			}
		}
	}
}

// With 130 processes of which 40 are drawn each takes part in 4 of 13 draws: in
// 4000 draws 1231 times, with a standard deviation of 29.
func TestManyProcessesAreDrawnAlikeOften(t *testing.T) {
	random := rand.New(rand.NewPCG(6, 6))
	rule := heads{40, 130}
	var count [130]int
	for range 4000 {
		s := rule.Choose(random)
		if s.Len() != 40 {
			t.Fatalf("%v drawn, want 40 processes", s)
		}
		for index := range count {
			if s.Has(index) {
				count[index]++
			}
		}
	}
	for index, times := range count {
		if times < 1231-5*29 || times > 1231+5*29 {
			t.Errorf("process %d takes part %d times, want about 1231", index, times)
		}
	}
}

// What was drawn is the caller's: adding to it must not change the rule.
func TestADrawnQuorumIsACopy(t *testing.T) {
	grid, err := NewGrid(2, 70)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(7, 7))
	for range 10 {
		drawn := grid.Phase1().Choose(random)
		for index := range 140 {
			drawn.Add(index)
		}
	}
	if !grid.Phase1().Satisfied(span(0, 1, 70)) || !grid.Phase1().Satisfied(span(70, 1, 70)) {
		t.Error("a row has grown")
	}
}
