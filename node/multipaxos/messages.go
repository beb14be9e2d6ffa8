package multipaxos

import "quorumlab/node/consensus"

// PValue is the triple (ballot, slot, command) that acceptors accept.
type PValue struct {
	Ballot  Ballot
	Slot    uint64
	Command consensus.Command
}

// Propose asks the leaders to have Command decided for Slot (replica to
// leader). SlotOut is the lowest slot that the replica hasn't committed; it
// tells leaders what they may forget.
type Propose struct {
	Slot    uint64
	Command consensus.Command
	SlotOut uint64
}

// Progress tells the leaders the lowest slot that a replica hasn't committed
// (replica to leader). It acknowledges the decisions below.
type Progress struct {
	SlotOut uint64
}

// Decision says that Command is chosen for Slot (leader to replica).
type Decision struct {
	Slot    uint64
	Command consensus.Command
}

// Phase1a asks an acceptor to adopt Ballot (leader to acceptor). Every replica
// has committed the slots below Floor: the leader needs no pvalues of these.
type Phase1a struct {
	Ballot Ballot
	Floor  uint64
}

// Phase1b is the answer (acceptor to leader): the ballot that the acceptor has
// adopted, which is a higher one if it refused, and then the pvalues that it
// has accepted. It has forgotten those below its own Floor.
type Phase1b struct {
	Ballot   Ballot
	Floor    uint64
	Accepted []PValue
}

// Phase2a asks an acceptor to accept a pvalue (leader to acceptor).
type Phase2a struct {
	PValue
	Floor uint64
}

// Phase2b is the answer for a slot (acceptor to leader): the ballot that the
// acceptor has adopted, which is a higher one if it refused.
type Phase2b struct {
	Ballot Ballot
	Slot   uint64
}

// Ping asks a leader whether it lives (leader to leader).
type Ping struct{}

// Pong answers a Ping with the highest ballot that its sender knows. Stalled
// says that the sender leads or tries to, but has no quorum of acceptors.
type Pong struct {
	Ballot  Ballot
	Stalled bool
}

// Label names the message.
func (m *Propose) Label() consensus.Label {
	return consensus.Label{Kind: "propose", Slot: m.Slot}
}

// Label names the message.
func (m *Progress) Label() consensus.Label {
	return consensus.Label{Kind: "progress", Slot: m.SlotOut}
}

// Label names the message.
func (m *Decision) Label() consensus.Label {
	return consensus.Label{Kind: "decision", Slot: m.Slot}
}

// Label names the message.
func (m *Phase1a) Label() consensus.Label { return m.Ballot.label("phase1a", 0) }

// Label names the message.
func (m *Phase1b) Label() consensus.Label { return m.Ballot.label("phase1b", 0) }

// Label names the message.
func (m *Phase2a) Label() consensus.Label { return m.Ballot.label("phase2a", m.Slot) }

// Label names the message.
func (m *Phase2b) Label() consensus.Label { return m.Ballot.label("phase2b", m.Slot) }

// Label names the message.
func (m *Ping) Label() consensus.Label { return consensus.Label{Kind: "ping"} }

// Label names the message.
func (m *Pong) Label() consensus.Label { return m.Ballot.label("pong", 0) }
