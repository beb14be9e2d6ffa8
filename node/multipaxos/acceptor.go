package multipaxos

import (
	"cmp"
	"slices"

	"quorumlab/node/consensus"
)

// acceptor is the protocol's fault-tolerant memory (dissertation, section
// 3.5.1). It acts on leaders' messages alone. Of each slot it keeps the pvalue
// of the highest ballot, which is all that a leader wants to know of it (Paxos
// Made Moderately Complex, section 4.1).
type acceptor struct {
	ballot   Ballot
	accepted map[uint64]PValue
	// floor is the lowest slot that some replica may not have committed.
	floor uint64

	adoptedCount, acceptedCount, refusedCount uint64
}

func newAcceptor() *acceptor {
	return &acceptor{accepted: map[uint64]PValue{}, floor: 1}
}

func (a *acceptor) phase1a(from consensus.NodeID, m *Phase1a, out *consensus.Outbox) {
	a.forget(m.Floor)
	if m.Ballot.Above(a.ballot) {
		a.ballot = m.Ballot
		a.adoptedCount++
	} else if m.Ballot != a.ballot {
		a.refusedCount++
	}
	reply := &Phase1b{Ballot: a.ballot, Floor: a.floor}
	if a.ballot == m.Ballot { // a refused leader has no use for them
		for _, pvalue := range a.accepted {
			if pvalue.Slot >= m.Floor {
				reply.Accepted = append(reply.Accepted, pvalue)
			}
		}
		slices.SortFunc(reply.Accepted, func(x, y PValue) int { return cmp.Compare(x.Slot, y.Slot) })
	}
	out.Send(from, reply)
}

// phase2a accepts unless a higher ballot is adopted. The papers' pseudocode
// accepts only the very ballot that was adopted in phase 1; an acceptor whose
// phase1a was lost would then stay mute for as long as that ballot lasts, and
// one more crash could stop the service. To accept a higher ballot includes the
// promise of adopting it (Paxos Made Simple, P1a).
func (a *acceptor) phase2a(from consensus.NodeID, m *Phase2a, out *consensus.Outbox) {
	a.forget(m.Floor)
	if a.ballot.Above(m.Ballot) {
		a.refusedCount++
	} else {
		a.ballot = m.Ballot
		if m.Slot >= a.floor {
			a.accepted[m.Slot] = m.PValue
		}
		a.acceptedCount++
	}
	out.Send(from, &Phase2b{Ballot: a.ballot, Slot: m.Slot})
}

// forget drops the pvalues of slots that every replica has committed.
func (a *acceptor) forget(floor uint64) {
	consensus.Forget(a.accepted, a.floor, floor)
	a.floor = max(a.floor, floor)
}
