package multipaxos

import (
	"fmt"

	"quorumlab/node/consensus"
)

// oracle watches all that processes send and commit, and knows by itself, from
// the durable answers of acceptors, what has been chosen. It fails the test at the
// first step that breaks an invariant of the protocol.
type oracle struct {
	n *network
	// phase2 is how many acceptances decide, per configuration's number of
	// acceptors; nil means a majority.
	phase2 func(acceptors int) int
	// commands are what each ballot asked to be accepted for a slot.
	commands map[proposalKey]consensus.Command
	// votes are the acceptors that said they have accepted it.
	votes map[proposalKey]map[consensus.NodeID]bool
	// promised is the highest ballot that each acceptor has answered with.
	promised map[promiseKey]Ballot
	// configurations are those that changes in the log made.
	configurations map[uint64]Configuration
	// changedAt is the slot of the change that made a configuration.
	changedAt map[uint64]uint64
	// decidedFor is what decisions have said of a slot.
	decidedFor map[uint64]consensus.Command
	// answered is the highest slot whose command was answered; asked is what it
	// was when a read was sent.
	answered uint64
	asked    map[uint64]uint64
}

type proposalKey struct {
	configuration uint64
	ballot        Ballot
	slot          uint64
}

type promiseKey struct {
	acceptor      consensus.NodeID
	configuration uint64
}

func newOracle(n *network) *oracle {
	o := &oracle{
		n: n, commands: map[proposalKey]consensus.Command{}, votes: map[proposalKey]map[consensus.NodeID]bool{},
		promised: map[promiseKey]Ballot{}, configurations: map[uint64]Configuration{}, changedAt: map[uint64]uint64{},
		decidedFor: map[uint64]consensus.Command{}, asked: map[uint64]uint64{},
	}
	initial := consensus.Config{Members: n.members}
	o.configurations[0] = Configuration{Leaders: initial.WithRole(RoleLeader), Acceptors: initial.WithRole(RoleAcceptor)}
	return o
}

func (o *oracle) fail(format string, arguments ...any) {
	o.n.t.Helper()
	o.n.t.Fatalf("at %v: %s", o.n.now, fmt.Sprintf(format, arguments...))
}

// sent looks at each message as it leaves its sender.
func (o *oracle) sent(from consensus.NodeID, out consensus.Outgoing) {
	switch m := out.Message.(type) {
	case *Phase2a:
		o.commanded(m)
	case *Phase1b:
		o.answeredWith(from, m.Configuration, m.Ballot)
	case *Phase2b:
		o.answeredWith(from, m.Configuration, m.Ballot)
		key := proposalKey{m.Configuration, m.Ballot, m.Slot}
		if o.votes[key] == nil {
			o.votes[key] = map[consensus.NodeID]bool{}
		}
		o.votes[key][from] = true
	case *Decision:
		o.decision(m)
	}
}

// One ballot asks for one command a slot, also across a restart of its leader.
func (o *oracle) commanded(m *Phase2a) {
	key := proposalKey{m.Configuration, m.Ballot, m.Slot}
	if before, known := o.commands[key]; known && !before.Same(m.Command) {
		o.fail("ballot %v asks for two commands for slot %d: %d and %d", m.Ballot, m.Slot, before.Sequence, m.Command.Sequence)
	}
	o.commands[key] = m.Command
}

// An acceptor's ballot never goes back, also across its restart.
func (o *oracle) answeredWith(acceptor consensus.NodeID, configuration uint64, ballot Ballot) {
	key := promiseKey{acceptor, configuration}
	if o.promised[key].Above(ballot) {
		o.fail("acceptor %v answers with ballot %v after %v", acceptor, ballot, o.promised[key])
	}
	o.promised[key] = ballot
}

// What is called decided was accepted, under one ballot, by a quorum of the
// acceptors of the slot's configuration; and nothing else ever is.
func (o *oracle) decision(m *Decision) {
	if before, known := o.decidedFor[m.Slot]; known {
		if !before.Same(m.Command) {
			o.fail("slot %d is decided as command %d and as command %d", m.Slot, before.Sequence, m.Command.Sequence)
		}
		return
	}
	o.decidedFor[m.Slot] = m.Command
	configuration := o.configurationOf(m.Slot)
	need := len(configuration.Acceptors)/2 + 1
	if o.phase2 != nil {
		need = o.phase2(len(configuration.Acceptors))
	}
	for key, votes := range o.votes {
		if key.slot != m.Slot || key.configuration != configuration.Number || !o.commands[key].Same(m.Command) {
			continue
		}
		count := 0
		for _, acceptor := range configuration.Acceptors {
			if votes[acceptor] {
				count++
			}
		}
		if count >= need {
			return
		}
	}
	o.fail("slot %d is said to be decided as command %d without %d acceptances in configuration %d",
		m.Slot, m.Command.Sequence, need, configuration.Number)
}

func (o *oracle) configurationOf(slot uint64) Configuration {
	found := o.configurations[0]
	for _, c := range o.configurations {
		if c.First <= slot && c.Number > found.Number {
			found = c
		}
	}
	return found
}

// committed follows the changes of the configuration, by the paper's rule.
func (o *oracle) committed(id consensus.NodeID, c consensus.Committed) {
	_ = c.Command.Each(func(_ uint32, command consensus.Command) {
		if command.Kind != consensus.KindReconfigure {
			return
		}
		last := o.configurations[0]
		for _, known := range o.configurations {
			if known.Number > last.Number && o.changedAt[known.Number] < c.Slot {
				last = known
			}
		}
		if next, ok := last.after(command.Operation, c.Slot+o.n.machines[id].options.Window); ok {
			o.configurations[next.Number] = next
			o.changedAt[next.Number] = c.Slot
		}
	})
}

// sendsRead notes what a read that is sent now must see.
func (o *oracle) sendsRead(sequence uint64) { o.asked[sequence] = o.answered }

// read checks that a read without a slot sees all that was answered before it
// was sent.
func (o *oracle) read(id consensus.NodeID, command consensus.Command) {
	if slot := o.n.apps[id].Slot(); slot < o.asked[command.Sequence] {
		o.fail("replica %v answers read %d at slot %d, slot %d was answered before it was sent", id, command.Sequence, slot, o.asked[command.Sequence])
	}
}
