package quorum

import "math/rand/v2"

// Rule says which sets are quorums of one phase. A set that covers a quorum is
// one too.
type Rule interface {
	// Satisfied tells whether the set is a quorum.
	Satisfied(have Set) bool
	// Choose draws one of the minimal quorums, those that aren't without any of
	// their processes, each with equal probability.
	Choose(random *rand.Rand) Set
	// Least is the number of processes in the smallest quorum.
	Least() int

	// minimal lists minimal quorums: all of them, unless the rule treats all
	// processes alike; then one that stands for the others.
	minimal() (quorums []Set, alike bool)
}

// heads is satisfied by any size of n processes: the paper's simple quorums.
type heads struct{ size, n int }

func (h heads) Satisfied(have Set) bool { return have.Len() >= h.size }

func (h heads) Least() int { return h.size }

// Choose is Floyd's way of sampling without replacement (Bentley and Floyd,
// A Sample of Brilliance, 1987).
func (h heads) Choose(random *rand.Rand) Set {
	var chosen Set
	for last := h.n - h.size; last < h.n; last++ {
		if !chosen.Add(random.IntN(last + 1)) {
			chosen.Add(last)
		}
	}
	return chosen
}

func (h heads) minimal() ([]Set, bool) { return []Set{span(0, 1, h.size)}, true }

// groups is satisfied by all processes of any one group; no group covers
// another.
type groups []Set

func (g groups) Satisfied(have Set) bool {
	for i := range g {
		if have.Covers(g[i]) {
			return true
		}
	}
	return false
}

func (g groups) Least() int {
	least := g[0].Len()
	for _, group := range g[1:] {
		least = min(least, group.Len())
	}
	return least
}

func (g groups) Choose(random *rand.Rand) Set { return g[random.IntN(len(g))].clone() }

func (g groups) minimal() ([]Set, bool) { return g, false }

// span is the set of count processes from first on, step apart.
func span(first, step, count int) Set {
	var s Set
	for i := range count {
		s.Add(first + i*step)
	}
	return s
}
