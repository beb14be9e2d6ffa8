package quorum

import (
	"math/rand/v2"
	"testing"
)

// model is the plainest set there is.
type model map[int]bool

func (m model) set() Set {
	var s Set
	for index := range m {
		s.Add(index)
	}
	return s
}

func (m model) covers(other model) bool {
	for index := range other {
		if !m[index] {
			return false
		}
	}
	return true
}

func (m model) intersects(other model) bool {
	for index := range other {
		if m[index] {
			return true
		}
	}
	return false
}

// Words end at 64 and 128; sets of different length meet too.
func TestSetsBehaveAsMathematicsSays(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	draw := func() model {
		m, limit := model{}, []int{1, 5, 63, 64, 65, 128, 129, 200}[random.IntN(8)]
		for range random.IntN(limit + 1) {
			m[random.IntN(limit)] = true
		}
		return m
	}
	for range 5000 {
		m, other := draw(), draw()
		if random.IntN(4) == 0 {
			for index := range other {
				m[index] = true
			}
		}
		s, o := m.set(), other.set()
		if s.Len() != len(m) || s.Covers(o) != m.covers(other) || s.Intersects(o) != m.intersects(other) {
			t.Fatalf("%v and %v: length %d, covers %v, intersects %v, want %d, %v, %v", s, o,
				s.Len(), s.Covers(o), s.Intersects(o), len(m), m.covers(other), m.intersects(other))
		}
		rest := s.without(200)
		if rest.Intersects(s) || rest.Len()+s.Len() != 200 {
			t.Fatalf("the complement of %v is %v", s, rest)
		}
		index := random.IntN(200)
		c := s.clone()
		if added := c.Add(index); added == m[index] || !c.Has(index) || s.Has(index) != m[index] {
			t.Fatalf("%v and process %d: added %v, then has it %v, the original %v", s, index+1, added, c.Has(index), s.Has(index))
		}
		if c.remove(index); c.Has(index) || c.Len() != len(m)-map[bool]int{true: 1}[m[index]] {
			t.Fatalf("%v without process %d is %v", s, index+1, c)
		}
	}
}

func TestWhatIsOutsideOfASetIsNotInIt(t *testing.T) {
	for _, s := range []Set{{}, NewSet(0, 63), NewSet(64), NewSet(0, 63, 64, 127)} {
		for _, index := range []int{-65, -64, -1, 128, 1 << 40} {
			if s.Has(index) {
				t.Errorf("%v has %d", s, index)
			}
		}
	}
}

func TestSetsAreWrittenCountedFromOne(t *testing.T) {
	for want, s := range map[string]Set{"{}": {}, "{1, 2, 3}": NewSet(2, 0, 1), "{64, 65, 130}": NewSet(129, 64, 63)} {
		if s.String() != want {
			t.Errorf("%s is written %s", want, s)
		}
	}
}
