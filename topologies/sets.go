package topologies

import mathbits "math/bits"

// sets keeps which of n things have been joined (union-find).
type sets []int

func newSets(n int) sets {
	s := make(sets, n)
	for i := range s {
		s[i] = i
	}
	return s
}

// find gives the least of those that i is joined with.
func (s sets) find(i int) int {
	for s[i] != i {
		s[i] = s[s[i]]
		i = s[i]
	}
	return i
}

func (s sets) join(a, b int) {
	a, b = s.find(a), s.find(b)
	s[max(a, b)] = min(a, b)
}

// bits is a set of small numbers.
type bits []uint64

func newBits(n int) bits { return make(bits, (n+63)/64) }

func (b bits) set(i int) { b[i/64] |= 1 << (i % 64) }

func (b bits) add(other bits) {
	for i, word := range other {
		b[i] |= word
	}
}

func (b bits) count() int {
	n := 0
	for _, word := range b {
		n += mathbits.OnesCount64(word)
	}
	return n
}

// firstMissing is the least of the numbers below n that isn't in the set.
func (b bits) firstMissing(n int) (int, bool) {
	for i, word := range b {
		if missing := i*64 + mathbits.TrailingZeros64(^word); ^word != 0 && missing < n {
			return missing, true
		}
	}
	return 0, false
}
