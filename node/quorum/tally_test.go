package quorum

import (
	"math/rand/v2"
	"testing"
)

func TestAnAnswerCountsOnceAndTheQuorumCompletesOnce(t *testing.T) {
	grid, err := NewGrid(2, 3) // rows {1, 2, 3} and {4, 5, 6}
	if err != nil {
		t.Fatal(err)
	}
	type step struct {
		index int
		want  bool
	}
	for name, c := range map[string]struct {
		rule  Rule
		steps []step
	}{
		"majority of 3":  {NewMajority(3).Phase1(), []step{{0, false}, {0, false}, {1, true}, {1, false}, {2, false}}},
		"a stranger":     {NewMajority(3).Phase1(), []step{{-1, false}, {0, false}, {-1, false}, {2, true}}},
		"one process":    {NewMajority(1).Phase2(), []step{{0, true}, {0, false}}},
		"a row, late":    {grid.Phase1(), []step{{0, false}, {3, false}, {1, false}, {4, false}, {4, false}, {5, true}, {2, false}}},
		"a column":       {grid.Phase2(), []step{{0, false}, {1, false}, {2, false}, {5, true}, {4, false}, {3, false}}},
		"no rule at all": {nil, []step{{0, false}, {1, false}}},
	} {
		t.Run(name, func(t *testing.T) {
			tally := NewTally(c.rule)
			answered := map[int]bool{}
			for i, step := range c.steps {
				if got := tally.Add(step.index); got != step.want {
					t.Errorf("answer %d, from %d: completed = %v, want %v", i, step.index, got, step.want)
				}
				answered[step.index] = step.index >= 0
				for index := -1; index < 7; index++ {
					if tally.Has(index) != answered[index] {
						t.Errorf("after answer %d: has %d = %v, want %v", i, index, tally.Has(index), answered[index])
					}
				}
			}
		})
	}
}

// Any number of processes, answers in any order and several times.
func TestATallyCompletesWithTheAnswerThatMakesAQuorum(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 2))
	for range 2000 {
		rows, columns := 1+random.IntN(12), 1+random.IntN(12)
		n := rows * columns
		grid, err := NewGrid(rows, columns)
		if err != nil {
			t.Fatal(err)
		}
		for _, rule := range []Rule{grid.Phase1(), grid.Phase2(), heads{1 + random.IntN(n), n}} {
			tally, have, completions := NewTally(rule), Set{}, 0
			for range 2 * n {
				index := random.IntN(n)
				before := rule.Satisfied(have)
				have.Add(index)
				want := !before && rule.Satisfied(have)
				if got := tally.Add(index); got != want {
					t.Fatalf("%v of %d processes have answered: completed = %v, want %v", have, n, got, want)
				} else if got {
					completions++
				}
			}
			if completions > 1 {
				t.Fatalf("completed %d times", completions)
			}
		}
	}
}

func TestATallyOfUpTo64ProcessesTakesNoMemory(t *testing.T) {
	for name, rule := range rulesOf64(t) {
		completed := 0
		if allocations := testing.AllocsPerRun(100, func() {
			tally := NewTally(rule)
			for index := range 64 {
				if tally.Add(index) {
					completed++
				}
			}
		}); allocations != 0 || completed != 101 {
			t.Errorf("%s: %v allocations, %d completions in 101 rounds", name, allocations, completed)
		}
	}
}

func rulesOf64(t testing.TB) map[string]Rule {
	grid, err := NewGrid(8, 8)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]Rule{"majority": NewMajority(64).Phase2(), "row": grid.Phase1(), "column": grid.Phase2()}
}

// The time is that of one answer.
func BenchmarkTallyAdd(b *testing.B) {
	grid, err := NewGrid(3, 3)
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name string
		n    int
		rule Rule
	}{
		{"majority of 3", 3, NewMajority(3).Phase2()}, {"majority of 64", 64, NewMajority(64).Phase2()},
		{"majority of 200", 200, NewMajority(200).Phase2()}, {"column of 3 x 3", 9, grid.Phase2()},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			tally, index := NewTally(c.rule), 0
			for b.Loop() {
				tally.Add(index)
				if index++; index == c.n {
					tally, index = NewTally(c.rule), 0
				}
			}
		})
	}
}
