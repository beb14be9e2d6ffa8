// Package quorum says how many answers, and whose, make a quorum. It promises
// that a process is counted once, however often it answers.
package quorum

import (
	"slices"

	"quorumlab/node/consensus"
)

// Majority is the number of processes out of n such that any two sets of that
// many have a process in common.
func Majority(n int) int { return n/2 + 1 }

// Count gathers the answers of one round.
type Count struct {
	need int
	from []consensus.NodeID
}

// NewCount awaits answers from need different processes.
func NewCount(need int) Count { return Count{need: need} }

// Add counts a process's answer. It returns true if this answer completed the
// quorum: once at most.
func (c *Count) Add(from consensus.NodeID) bool {
	if slices.Contains(c.from, from) {
		return false
	}
	c.from = append(c.from, from)
	return len(c.from) == c.need
}

// Has tells whether the process has answered.
func (c *Count) Has(from consensus.NodeID) bool { return slices.Contains(c.from, from) }
