package multipaxos

import "quorumlab/node/consensus"

// PValue is the triple (ballot, slot, command) that acceptors accept.
type PValue struct {
	Ballot  Ballot
	Slot    uint64
	Command consensus.Command
}

// Propose asks the leaders of a configuration to have Command decided for Slot
// (replica to leader).
type Propose struct {
	Configuration uint64
	Slot          uint64
	Command       consensus.Command
}

// Progress tells the leaders the lowest slot that a replica hasn't committed
// for good (replica to leader). It acknowledges the decisions below, and lets
// leaders and acceptors forget.
type Progress struct {
	SlotOut uint64
}

// Decision says that Command is chosen for Slot (leader to replica).
type Decision struct {
	Slot    uint64
	Command consensus.Command
}

// Phase1a asks an acceptor to adopt Ballot (leader to acceptor), and for its
// pvalues of slots from From on. What lies below Floor is committed and may be
// forgotten.
type Phase1a struct {
	Configuration uint64
	Ballot        Ballot
	Floor         uint64
	From          uint64
}

// Phase1b is the answer (acceptor to leader): the ballot that the acceptor has
// adopted, which is a higher one if it refused, and then the pvalues that it
// has accepted. It has forgotten those below its own Floor. If Next isn't 0 there
// are more, from the slot Next on: the leader must ask for them too.
type Phase1b struct {
	Configuration uint64
	Ballot        Ballot
	Floor         uint64
	Accepted      []PValue
	Next          uint64
}

// Phase2a asks an acceptor to accept a pvalue (leader to acceptor).
type Phase2a struct {
	Configuration uint64
	PValue
	Floor uint64
}

// Phase2b is the answer for a slot (acceptor to leader): the ballot that the
// acceptor has adopted. If it refused, that is a higher one, and Slot is 0.
type Phase2b struct {
	Configuration uint64
	Ballot        Ballot
	Slot          uint64
}

// Ping asks a leader whether it lives (leader to leader).
type Ping struct {
	Configuration uint64
}

// Pong answers a Ping with the highest ballot that its sender knows. Stalled
// says that the sender leads or tries to, but has no quorum of acceptors.
type Pong struct {
	Configuration uint64
	Ballot        Ballot
	Stalled       bool
}

// Configure announces a configuration (replica to leader). As a record it is
// what a process knows of configurations.
type Configure struct {
	Configuration Configuration
}

// Configured acknowledges it (leader to replica).
type Configured struct {
	Number uint64
}

// Retire says that every slot of the configuration, and of those before, is
// committed: nothing will be asked of its acceptors again (leader to acceptor).
// An acceptor that has retired answers so to leaders that haven't heard.
type Retire struct {
	Configuration uint64
}

// Behind tells a replica that the decisions it lacks, below Floor, have been
// forgotten: it needs a snapshot (leader to replica).
type Behind struct {
	Floor uint64
}

// Fetch asks for a snapshot of the application that includes SlotOut (replica to
// replica).
type Fetch struct {
	SlotOut uint64
}

// ReadRequest asks which slots a read must see (replica to leader).
type ReadRequest struct {
	Configuration uint64
	ID            uint64
}

// Confirm asks whether the acceptor's ballot is still this one (leader to
// acceptor).
type Confirm struct {
	Configuration uint64
	Ballot        Ballot
	Round         uint64
}

// Confirmed is the answer (acceptor to leader): the ballot that the acceptor has
// adopted. If that is a higher one, Round is 0.
type Confirmed struct {
	Configuration uint64
	Ballot        Ballot
	Round         uint64
}

// ReadReady answers a ReadRequest (leader to replica): whatever was decided
// before the request lies in slots up to Slot.
type ReadReady struct {
	Configuration uint64
	ID            uint64
	Slot          uint64
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

// Label names the message.
func (m *Configure) Label() consensus.Label {
	return consensus.Label{Kind: "configure", Slot: m.Configuration.First}
}

// Label names the message.
func (m *Configured) Label() consensus.Label { return consensus.Label{Kind: "configured"} }

// Label names the message.
func (m *Retire) Label() consensus.Label { return consensus.Label{Kind: "retire"} }

// Label names the message.
func (m *Behind) Label() consensus.Label { return consensus.Label{Kind: "behind", Slot: m.Floor} }

// Label names the message.
func (m *Fetch) Label() consensus.Label { return consensus.Label{Kind: "fetch", Slot: m.SlotOut} }

// Label names the message.
func (m *ReadRequest) Label() consensus.Label { return consensus.Label{Kind: "read_request"} }

// Label names the message.
func (m *Confirm) Label() consensus.Label { return m.Ballot.label("confirm", 0) }

// Label names the message.
func (m *Confirmed) Label() consensus.Label { return m.Ballot.label("confirmed", 0) }

// Label names the message.
func (m *ReadReady) Label() consensus.Label {
	return consensus.Label{Kind: "read_ready", Slot: m.Slot}
}
