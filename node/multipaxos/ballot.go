package multipaxos

import (
	"cmp"
	"fmt"

	"quorumlab/node/consensus"
)

// Ballot is a ballot number: the pair (round, leader), ordered by round first,
// as in Paxos Made Moderately Complex, section 2.2. (The order that the
// dissertation gives in section 2.1.5 isn't antisymmetric.) The zero Ballot is
// the bottom, below every leader's.
type Ballot struct {
	Round  uint64
	Leader consensus.NodeID
}

// FirstBallot is the first of a leader's ballots, (0, leader).
func FirstBallot(leader consensus.NodeID) Ballot { return Ballot{Leader: leader} }

// IsBottom tells whether the ballot is the bottom.
func (b Ballot) IsBottom() bool { return b == Ballot{} }

// Compare returns -1, 0 or 1 as b is below, equal to or above other.
func (b Ballot) Compare(other Ballot) int {
	if c := cmp.Compare(b.Round, other.Round); c != 0 {
		return c
	}
	return cmp.Compare(b.Leader, other.Leader)
}

// Above tells whether b is above other.
func (b Ballot) Above(other Ballot) bool { return b.Compare(other) > 0 }

// After is the leader's ballot in the round after b's (dissertation, section
// 3.5.2: a pre-empted leader increments the round).
func (b Ballot) After(leader consensus.NodeID) Ballot {
	return Ballot{Round: b.Round + 1, Leader: leader}
}

// String gives the pair, or "bottom".
func (b Ballot) String() string {
	if b.IsBottom() {
		return "bottom"
	}
	return fmt.Sprintf("(%d, %v)", b.Round, b.Leader)
}

// label names a message about the ballot.
func (b Ballot) label(kind string, slot uint64) consensus.Label {
	return consensus.Label{Kind: kind, Slot: slot, Round: b.Round, Leader: b.Leader}
}
