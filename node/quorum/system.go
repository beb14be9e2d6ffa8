package quorum

import (
	"errors"
	"fmt"
)

// ErrSize is wrapped by errors about numbers of processes that make no sense.
var ErrSize = errors.New("impossible size")

// ErrDisjoint is wrapped by errors about systems in which a quorum of phase 1
// misses one of phase 2.
var ErrDisjoint = errors.New("quorums that don't intersect")

// System says which sets of n processes are quorums. It is never modified.
type System struct {
	n              int
	phase1, phase2 Rule
}

// Phase1 says which sets may elect a leader.
func (s System) Phase1() Rule { return s.phase1 }

// Phase2 says which sets may decide.
func (s System) Phase2() Rule { return s.phase2 }

// NewMajority is the system of classic Paxos: in both phases any majority of n,
// which is at least 1.
func NewMajority(n int) System {
	majority := heads{Majority(n), n}
	return System{n: n, phase1: majority, phase2: majority}
}

// NewFlexible is the system of simple quorums: any phase1 processes out of n
// elect, any phase2 decide (Flexible Paxos, section Simple quorums). It fails
// with ErrSize if a size isn't from 1 to n, with a *DisjointError unless
// phase1 + phase2 > n.
func NewFlexible(n, phase1, phase2 int) (System, error) {
	for i, size := range []int{phase1, phase2} {
		if size < 1 || size > n {
			return System{}, fmt.Errorf("%w: phase %d quorums of %d processes, want from 1 to %d", ErrSize, i+1, size, n)
		}
	}
	s := System{n: n, phase1: heads{phase1, n}, phase2: heads{phase2, n}}
	if one, two, found := Disjoint(s); found {
		return System{}, &DisjointError{Phase1: one, Phase2: two, Want: fmt.Sprintf("q1 + q2 > %d", n)}
	}
	return s, nil
}

// NewGrid arranges rows x columns processes as a grid, row by row: a whole row
// elects, a whole column decides (Flexible Paxos, section Grid quorums). It
// fails with ErrSize if either number is below 1.
func NewGrid(rows, columns int) (System, error) {
	if rows < 1 || columns < 1 {
		return System{}, fmt.Errorf("%w: a grid of %d rows and %d columns, want at least one of each", ErrSize, rows, columns)
	}
	var phase1, phase2 groups
	for row := range rows {
		phase1 = append(phase1, span(row*columns, 1, columns))
	}
	for column := range columns {
		phase2 = append(phase2, span(column, columns, rows))
	}
	return System{n: rows * columns, phase1: phase1, phase2: phase2}, nil // a row and a column cross
}

// DisjointError shows two quorums that miss each other. It wraps ErrDisjoint.
type DisjointError struct {
	Phase1, Phase2 Set
	// Want is the condition that the system breaks.
	Want string
}

// Error names the two quorums, their processes counted from 1.
func (e *DisjointError) Error() string {
	return fmt.Sprintf("phase 1 quorum %v and phase 2 quorum %v have no process in common: want %s", e.Phase1, e.Phase2, e.Want)
}

// Unwrap is ErrDisjoint.
func (e *DisjointError) Unwrap() error { return ErrDisjoint }

// Disjoint finds a minimal quorum of phase 1 and one of phase 2 that have no
// process in common; found is false if there are none.
//
// Such a pair exists if and only if the processes outside of some minimal
// quorum of the one phase satisfy the other phase. It takes one quorum to know
// if both rules treat all processes alike, since every other pair is then a
// renaming of it; else all of a rule's that doesn't.
func Disjoint(s System) (phase1, phase2 Set, found bool) {
	if quorums, alike := s.phase2.minimal(); !alike {
		phase2, phase1, found = missed(s.n, quorums, s.phase1)
		return phase1, phase2, found
	}
	quorums, _ := s.phase1.minimal()
	return missed(s.n, quorums, s.phase2)
}

// missed finds one of the quorums that the other rule can do without, and a
// minimal quorum of that rule outside of it.
func missed(n int, quorums []Set, other Rule) (quorum, outside Set, found bool) {
	for _, quorum := range quorums {
		if rest := quorum.without(n); other.Satisfied(rest) {
			return quorum.clone(), shrink(n, rest, other), true
		}
	}
	return Set{}, Set{}, false
}

// shrink leaves out what a quorum doesn't need, the highest indices first.
func shrink(n int, quorum Set, rule Rule) Set {
	for index := n - 1; index >= 0; index-- {
		if !quorum.Has(index) {
			continue
		}
		fewer := quorum.clone()
		fewer.remove(index)
		if rule.Satisfied(fewer) {
			quorum = fewer
		}
	}
	return quorum
}
