package multipaxos

import (
	"quorumlab/node/consensus"
)

// maxPageBytes is about how much one phase1b carries.
const maxPageBytes = 1 << 20

// acceptor is the protocol's fault-tolerant memory (dissertation, section
// 3.5.1), for the slots of one configuration. It acts on leaders' messages alone.
// Of each slot it keeps the pvalue of the highest ballot, which is all that a
// leader wants to know of it (Paxos Made Moderately Complex, section 4.1).
//
// What it promises and accepts is persisted before it answers; the records are
// the very messages that it acted upon.
type acceptor struct {
	configuration uint64
	ballot        Ballot
	// accepted begins at the lowest slot that some replica may still need; an
	// entry is nil if nothing was accepted.
	accepted ring[*Phase2a]
	counters *counters
}

func newAcceptor(configuration uint64, counters *counters) *acceptor {
	return &acceptor{configuration: configuration, accepted: newRing[*Phase2a](1), counters: counters}
}

// adopt takes the message's ballot if it is higher.
func (a *acceptor) adopt(m *Phase1a) bool {
	a.accepted.forget(m.Floor)
	if !m.Ballot.Above(a.ballot) {
		return false
	}
	a.ballot = m.Ballot
	return true
}

func (a *acceptor) phase1a(from consensus.NodeID, m *Phase1a, out *consensus.Outbox) {
	switch {
	case a.adopt(m):
		a.counters.adoptedBallots++
		out.Persist(m)
	case m.Ballot != a.ballot:
		a.counters.refused++
	}
	reply := &Phase1b{Configuration: a.configuration, Ballot: a.ballot, Floor: a.accepted.first}
	switch {
	case a.ballot == m.Ballot:
		a.page(m.From, reply)
	case a.ballot.Leader == from: // it takes this for the answer to its later question
		a.page(0, reply)
	} // another refused leader has no use for pvalues
	out.SendAfterSync(from, reply)
}

// page adds the accepted pvalues from a slot on, as many as a message may
// carry, and says where to go on.
func (a *acceptor) page(from uint64, reply *Phase1b) {
	size := 0
	for slot := max(from, a.accepted.first); slot < a.accepted.end; slot++ {
		m := *a.accepted.at(slot)
		if m == nil {
			continue
		}
		if size > maxPageBytes {
			reply.Next = slot
			return
		}
		size += 64 + len(m.Command.Operation)
		reply.Accepted = append(reply.Accepted, m.PValue)
	}
}

// phase2a accepts unless a higher ballot is adopted. The papers' pseudocode
// accepts only the very ballot that was adopted in phase 1; an acceptor whose
// phase1a was lost would then stay mute for as long as that ballot lasts, and
// one more crash could stop the service. To accept a higher ballot includes the
// promise of adopting it (Paxos Made Simple, P1a).
func (a *acceptor) phase2a(from consensus.NodeID, m *Phase2a, out *consensus.Outbox) {
	a.accepted.forget(m.Floor)
	if m.Slot >= a.accepted.first+maxSpan {
		return // no leader is so far ahead of what it knows to be committed
	}
	reply := &Phase2b{Configuration: a.configuration, Slot: m.Slot}
	if a.accept(m) {
		a.counters.accepted++
		out.Persist(m)
	} else {
		a.counters.refused++
		reply.Slot = 0 // the higher ballot may be the same leader's, which asks for the slot again
	}
	reply.Ballot = a.ballot
	out.SendAfterSync(from, reply)
}

func (a *acceptor) accept(m *Phase2a) bool {
	if a.ballot.Above(m.Ballot) {
		return false
	}
	a.ballot = m.Ballot
	if entry := a.accepted.reach(m.Slot); entry != nil {
		*entry = m
	}
	return true
}

// recall accepts again what was accepted before a restart. A checkpoint has the
// promise first, which may be above what was accepted before it.
func (a *acceptor) recall(m *Phase2a) {
	a.accepted.forget(m.Floor)
	if m.Ballot.Above(a.ballot) {
		a.ballot = m.Ballot
	}
	if entry := a.accepted.reach(m.Slot); entry != nil && (*entry == nil || !(*entry).Ballot.Above(m.Ballot)) {
		*entry = m
	}
}

// confirm says which ballot is adopted: the leader of that one may have reads
// answered.
func (a *acceptor) confirm(from consensus.NodeID, m *Confirm, out *consensus.Outbox) {
	if promise := (&Phase1a{Configuration: a.configuration, Ballot: m.Ballot}); a.adopt(promise) {
		out.Persist(promise)
	}
	reply := &Confirmed{Configuration: a.configuration, Ballot: a.ballot}
	if a.ballot == m.Ballot { // else it may be of the same leader, which counts its rounds anew
		reply.Round = m.Round
	}
	out.SendAfterSync(from, reply)
}

// checkpoint persists all that the acceptor remembers.
func (a *acceptor) checkpoint(out *consensus.Outbox) {
	out.Persist(&Phase1a{Configuration: a.configuration, Ballot: a.ballot, Floor: a.accepted.first})
	for slot := a.accepted.first; slot < a.accepted.end; slot++ {
		if m := *a.accepted.at(slot); m != nil {
			out.Persist(m)
		}
	}
}
