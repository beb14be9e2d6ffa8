package quorum

import (
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"
)

// most is the number of processes up to which all sets are tried.
const most = 8

func setOf(mask uint) Set { return Set{first: uint64(mask)} }

// satisfying lists all sets of n processes that satisfy the rule.
func satisfying(n int, rule Rule) []uint {
	var masks []uint
	for mask := range uint(1) << n {
		if rule.Satisfied(setOf(mask)) {
			masks = append(masks, mask)
		}
	}
	return masks
}

// minimal leaves out the sets that cover another.
func minimal(masks []uint) []uint {
	var least []uint
	for _, mask := range masks {
		covers := func(other uint) bool { return other != mask && other&^mask == 0 }
		if !slices.ContainsFunc(masks, covers) {
			least = append(least, mask)
		}
	}
	return least
}

// anyMiss tells whether a set of the one list misses one of the other.
func anyMiss(one, other []uint) bool {
	for _, a := range one {
		for _, b := range other {
			if a&b == 0 {
				return true
			}
		}
	}
	return false
}

// rules are all sizes, the rows and columns of all grids, and random groups.
func rules(n int, random *rand.Rand) map[string]Rule {
	all := map[string]Rule{}
	for size := 1; size <= n; size++ {
		all[fmt.Sprintf("any %d of %d", size, n)] = heads{size, n}
	}
	for rows := 1; rows <= n; rows++ {
		if n%rows == 0 {
			grid, err := NewGrid(rows, n/rows)
			if err != nil {
				panic(err)
			}
			all[fmt.Sprintf("a row of %d x %d", rows, n/rows)] = grid.Phase1()
			all[fmt.Sprintf("a column of %d x %d", rows, n/rows)] = grid.Phase2()
		}
	}
	for i := range 12 {
		var masks []uint
		for range 1 + random.IntN(5) {
			masks = append(masks, 1+random.UintN(1<<n-1))
		}
		slices.Sort(masks)
		var sets groups
		for _, mask := range minimal(slices.Compact(masks)) {
			sets = append(sets, setOf(mask))
		}
		all[fmt.Sprintf("groups %d: %v", i, []Set(sets))] = sets
	}
	return all
}

// The search against trying all pairs of sets, for all pairs of rules.
func TestDisjointFindsAPairIfAndOnlyIfThereIsOne(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 3))
	for n := 1; n <= most; n++ {
		all := rules(n, random)
		satisfied := map[string][]uint{}
		for name, rule := range all {
			satisfied[name] = satisfying(n, rule)
		}
		for name1, rule1 := range all {
			for name2, rule2 := range all {
				one, two, found := Disjoint(System{n: n, phase1: rule1, phase2: rule2})
				if want := anyMiss(satisfied[name1], satisfied[name2]); found != want {
					t.Fatalf("%s and %s: %v and %v, found %v, want %v", name1, name2, one, two, found, want)
				}
				if found && (one.Intersects(two) || !isMinimal(rule1, one) || !isMinimal(rule2, two)) {
					t.Fatalf("%s and %s: the example is %v and %v", name1, name2, one, two)
				}
			}
		}
	}
}

// isMinimal tells whether the set is a quorum, but not without any one of its
// processes.
func isMinimal(rule Rule, s Set) bool {
	for index := range most {
		if s.Has(index) && rule.Satisfied(without(s, index)) {
			return false
		}
	}
	return rule.Satisfied(s)
}

func without(s Set, index int) Set {
	fewer := s.clone()
	fewer.remove(index)
	return fewer
}

// Flexible Paxos, section Simple quorums: sizes are safe if and only if
// q1 + q2 > n. All others are refused, with two quorums that miss each other.
func TestSimpleQuorumsAreRefusedUnlessTheyAddUpToMoreThanAll(t *testing.T) {
	for n := 1; n <= most; n++ {
		for q1 := 1; q1 <= n; q1++ {
			for q2 := 1; q2 <= n; q2++ {
				s, err := NewFlexible(n, q1, q2)
				if (err == nil) != (q1+q2 > n) {
					t.Fatalf("n = %d, q1 = %d, q2 = %d: %v", n, q1, q2, err)
				}
				var disjoint *DisjointError
				if err == nil {
					if anyMiss(satisfying(n, s.Phase1()), satisfying(n, s.Phase2())) {
						t.Fatalf("n = %d, q1 = %d, q2 = %d: quorums miss each other", n, q1, q2)
					}
				} else if !errors.As(err, &disjoint) || !errors.Is(err, ErrDisjoint) ||
					disjoint.Phase1.Len() != q1 || disjoint.Phase2.Len() != q2 || disjoint.Phase1.Intersects(disjoint.Phase2) {
					t.Fatalf("n = %d, q1 = %d, q2 = %d: %v", n, q1, q2, err)
				}
			}
		}
	}
	_, err := NewFlexible(6, 3, 3)
	if want := "phase 1 quorum {1, 2, 3} and phase 2 quorum {4, 5, 6} have no process in common: want q1 + q2 > 6"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// Flexible Paxos, section Majority quorums: classic Paxos is a special case, and
// with an even number of processes phase 2 does with one fewer than a majority.
func TestMajoritiesAreSimpleQuorumsAndAnEvenSystemNeedsOnlyHalfToDecide(t *testing.T) {
	for n := 1; n <= most; n++ {
		s, err := NewFlexible(n, Majority(n), Majority(n))
		if err != nil {
			t.Fatal(err)
		}
		for mask := range uint(1) << n {
			want := bits.OnesCount(mask) > n-bits.OnesCount(mask)
			for phase, rule := range []Rule{s.Phase1(), s.Phase2(), NewMajority(n).Phase1(), NewMajority(n).Phase2()} {
				if got := rule.Satisfied(setOf(mask)); got != want {
					t.Errorf("n = %d, rule %d: %v is a quorum: %v, want %v", n, phase, setOf(mask), got, want)
				}
			}
		}
		if _, err := NewFlexible(n, Majority(n), Majority(n)-1); n > 1 && (err == nil) != (n%2 == 0) {
			t.Errorf("n = %d: a majority elects, one fewer decides: %v", n, err)
		}
	}
}

// Flexible Paxos, abstract and introduction: quorums of one phase needn't
// intersect each other, neither those that decide nor those that elect.
func TestQuorumsOfOnePhaseMayMissEachOther(t *testing.T) {
	few, err1 := NewFlexible(6, 5, 2)
	many, err2 := NewFlexible(6, 2, 5)
	grid, err3 := NewGrid(2, 3)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	for name, rule := range map[string]Rule{
		"two of six decide": few.Phase2(), "two of six elect": many.Phase1(),
		"a row of a grid": grid.Phase1(), "a column": grid.Phase2(),
	} {
		if quorums := satisfying(6, rule); !anyMiss(quorums, quorums) {
			t.Errorf("%s: all quorums intersect each other", name)
		}
	}
}

// Flexible Paxos, section Simple quorums: a leader in office goes on with n - q2
// processes dead, a new one comes with n - q1 dead; one more is too many.
func TestSimpleQuorumsTolerateAsManyFailuresAsTheyLeaveOut(t *testing.T) {
	s, err := NewFlexible(6, 5, 2) // the example of the issue: two of six decide
	if err != nil {
		t.Fatal(err)
	}
	for mask := range uint(1) << 6 {
		alive := bits.OnesCount(mask)
		if elects := s.Phase1().Satisfied(setOf(mask)); elects != (alive >= 5) {
			t.Errorf("%v alive: can elect: %v", setOf(mask), elects)
		}
		if decides := s.Phase2().Satisfied(setOf(mask)); decides != (alive >= 2) {
			t.Errorf("%v alive: can decide: %v", setOf(mask), decides)
		}
	}
}

// Flexible Paxos, section Grid quorums: a row for phase 1 and a column for phase
// 2 are enough; they have exactly one process in common, and are the only
// minimal quorums.
func TestARowOfAGridMeetsAColumnInOneProcess(t *testing.T) {
	for rows := 1; rows <= most; rows++ {
		for columns := 1; rows*columns <= most; columns++ {
			n := rows * columns
			s, err := NewGrid(rows, columns)
			if err != nil {
				t.Fatal(err)
			}
			phase1, phase2 := minimal(satisfying(n, s.Phase1())), minimal(satisfying(n, s.Phase2()))
			if len(phase1) != rows || len(phase2) != columns || s.Phase1().Least() != columns || s.Phase2().Least() != rows {
				t.Errorf("%d x %d: %d quorums of at least %d elect, %d of at least %d decide", rows, columns,
					len(phase1), s.Phase1().Least(), len(phase2), s.Phase2().Least())
			}
			for _, row := range phase1 {
				for _, column := range phase2 {
					if bits.OnesCount(row&column) != 1 || bits.OnesCount(row) != columns || bits.OnesCount(column) != rows {
						t.Errorf("%d x %d: %v elects, %v decides", rows, columns, setOf(row), setOf(column))
					}
				}
			}
		}
	}
	s, err := NewGrid(2, 3)
	if err != nil || !s.Phase1().Satisfied(NewSet(3, 4, 5)) || !s.Phase2().Satisfied(NewSet(1, 4)) {
		t.Errorf("2 x 3: %v, the grid isn't numbered row by row", err)
	}
}

// Same section: which processes fail matters, not only how many. Of a grid of
// 2 x 3, the death of one row stops phase 2, that of a whole column doesn't.
func TestAGridSurvivesTheDeathOfAWholeColumnButNotOfARow(t *testing.T) {
	s, err := NewGrid(2, 3)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		alive          Set
		elect, decides bool
	}{
		{NewSet(0, 1, 2, 3, 4, 5), true, true},
		{NewSet(0, 1, 2), true, false},
		{NewSet(0, 1, 3, 4), false, true},
		{NewSet(0, 4, 5), false, false},
		{NewSet(0, 1, 2, 5), true, true},
	} {
		if elect, decides := s.Phase1().Satisfied(c.alive), s.Phase2().Satisfied(c.alive); elect != c.elect || decides != c.decides {
			t.Errorf("%v alive: elect %v, decide %v, want %v, %v", c.alive, elect, decides, c.elect, c.decides)
		}
	}
}

func TestSizesThatMakeNoSenseAreRefused(t *testing.T) {
	for _, c := range []struct{ n, phase1, phase2 int }{
		{0, 0, 0}, {0, 1, 1}, {-3, 1, 1}, {3, 0, 3}, {3, 3, 0}, {3, 4, 1}, {3, 1, 4}, {3, -1, 5}, {3, 1 << 62, 1 << 62},
	} {
		if _, err := NewFlexible(c.n, c.phase1, c.phase2); !errors.Is(err, ErrSize) {
			t.Errorf("n = %d, q1 = %d, q2 = %d: %v, want ErrSize", c.n, c.phase1, c.phase2, err)
		}
	}
	for _, c := range []struct{ rows, columns int }{{0, 3}, {3, 0}, {-1, -1}} {
		if _, err := NewGrid(c.rows, c.columns); !errors.Is(err, ErrSize) {
			t.Errorf("%d x %d: %v, want ErrSize", c.rows, c.columns, err)
		}
	}
}

func TestMoreThan64ProcessesHaveQuorumsToo(t *testing.T) {
	if _, err := NewFlexible(1000, 901, 100); err != nil {
		t.Error(err)
	}
	var disjoint *DisjointError
	if _, err := NewFlexible(1000, 900, 100); !errors.As(err, &disjoint) || disjoint.Phase1.Len() != 900 ||
		disjoint.Phase2.Len() != 100 || disjoint.Phase1.Intersects(disjoint.Phase2) {
		t.Errorf("900 and 100 of 1000: %v", err)
	}
	grid, err := NewGrid(10, 20)
	if err != nil {
		t.Fatal(err)
	}
	if one, two, found := Disjoint(grid); found {
		t.Errorf("10 x 20: %v misses %v", one, two)
	}
	turned := System{n: 200, phase1: grid.phase1, phase2: grid.phase1} // a row misses another row
	if one, two, found := Disjoint(turned); !found || one.Intersects(two) || one.Len() != 20 || two.Len() != 20 {
		t.Errorf("rows alone: %v and %v, found %v", one, two, found)
	}
}
