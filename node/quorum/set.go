package quorum

import (
	"math/bits"
	"slices"
	"strconv"
	"strings"
)

// Set is a set of processes. The first 64 take no memory of their own. The zero
// Set is empty. After an assignment only one of the two may be added to.
type Set struct {
	first uint64
	// rest holds the processes from 64 on, 64 a word.
	rest []uint64
}

// NewSet is the set of the given processes.
func NewSet(indices ...int) Set {
	var s Set
	for _, index := range indices {
		s.Add(index)
	}
	return s
}

// Add puts a process into the set and returns true if it wasn't there. The
// index must not be below 0.
func (s *Set) Add(index int) bool {
	word, bit := &s.first, uint64(1)<<(index&63)
	if index >= 64 {
		word = s.beyond(index/64 - 1)
	}
	added := *word&bit == 0
	*word |= bit
	return added
}

// beyond is the i-th word of the rest.
func (s *Set) beyond(i int) *uint64 {
	for len(s.rest) <= i {
		s.rest = append(s.rest, 0)
	}
	return &s.rest[i]
}

// remove takes out a process that is in the set.
func (s *Set) remove(index int) {
	word := &s.first
	if index >= 64 {
		word = s.beyond(index/64 - 1)
	}
	*word &^= 1 << (index & 63)
}

// Has tells whether the process is in the set.
func (s Set) Has(index int) bool {
	word := uint64(0)
	switch i := index/64 - 1; {
	case index < 0:
	case index < 64:
		word = s.first
	case i < len(s.rest):
		word = s.rest[i]
	}
	return word>>(index&63)&1 != 0
}

// Len is the number of processes in the set.
func (s Set) Len() int {
	n := bits.OnesCount64(s.first)
	for _, word := range s.rest {
		n += bits.OnesCount64(word)
	}
	return n
}

// Covers tells whether all processes of the other set are in this one.
func (s Set) Covers(other Set) bool {
	if other.first&^s.first != 0 {
		return false
	}
	for i, word := range other.rest {
		if i < len(s.rest) {
			word &^= s.rest[i]
		}
		if word != 0 {
			return false
		}
	}
	return true
}

// Intersects tells whether the sets have a process in common.
func (s Set) Intersects(other Set) bool {
	if s.first&other.first != 0 {
		return true
	}
	for i := range min(len(s.rest), len(other.rest)) {
		if s.rest[i]&other.rest[i] != 0 {
			return true
		}
	}
	return false
}

// String lists the processes, counted from 1: {1, 2, 3}.
func (s Set) String() string {
	var b strings.Builder
	for index := range 64 * (1 + len(s.rest)) {
		if !s.Has(index) {
			continue
		}
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		b.WriteString(strconv.Itoa(index + 1))
	}
	return "{" + b.String() + "}"
}

// clone is a copy that may be added to.
func (s Set) clone() Set { return Set{first: s.first, rest: slices.Clone(s.rest)} }

// without is the set of those of n processes that aren't in this one.
func (s Set) without(n int) Set {
	var others Set
	for index := range n {
		if !s.Has(index) {
			others.Add(index)
		}
	}
	return others
}
