// Package multipaxos is Multi-Paxos as the dissertation implements it (chapters
// 2 and 3) after van Renesse and Altinbuken, Paxos Made Moderately Complex;
// where the two differ, the latter wins. Replicas give clients' commands slots,
// leaders win ballots and have commands decided, acceptors remember.
//
// It promises what the papers prove: at most one command is decided for a slot,
// whatever is lost, duplicated or reordered, as long as no process restarts
// without its state; and decisions go on while a majority of the acceptors, one leader and
// one replica can talk to each other and leaders don't duel for ever.
//
// A Machine has any set of the roles. It is pure (see package consensus).
package multipaxos

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"

	"quorumlab/node/consensus"
)

// Name is the protocol's name in experiment files.
const Name = "multipaxos"

// The roles, as in table 2.2 of the dissertation.
const (
	RoleReplica  = "replica"
	RoleLeader   = "leader"
	RoleAcceptor = "acceptor"
)

// Protocol describes Multi-Paxos; its wire package adds the codec and
// registers it. The numbers of processes tolerate one failure.
var Protocol = consensus.Protocol{
	Name: Name,
	Roles: []consensus.RoleSpec{
		{Name: RoleReplica, Default: 2, Min: 1, Serves: true},
		{Name: RoleLeader, Default: 2, Min: 1},
		{Name: RoleAcceptor, Default: 3, Min: 1},
	},
	CheckOptions: func(options json.RawMessage) error {
		_, err := ParseOptions(options)
		return err
	},
	New:            func(config consensus.Config) (consensus.Machine, error) { return New(config) },
	PredictLatency: predictLatency,
}

// setting is what all roles of a process know.
type setting struct {
	self                         consensus.NodeID
	replicas, leaders, acceptors []consensus.NodeID
	options                      Options
	random                       *rand.Rand
}

// Machine is one process: the roles that it has, and the way to them.
type Machine struct {
	*setting
	replica  *replica
	leader   *leader
	acceptor *acceptor
	// ignored counts inputs for roles that the process doesn't have.
	ignored uint64
}

// New makes the machine of config.Self. It fails if a role has no process, if
// Self has none of the roles, or on a bad option.
func New(config consensus.Config) (*Machine, error) {
	options, err := ParseOptions(config.Options)
	if err != nil {
		return nil, fmt.Errorf("multipaxos: %w", err)
	}
	s := &setting{
		self: config.Self, options: options,
		replicas:  config.WithRole(RoleReplica),
		leaders:   config.WithRole(RoleLeader),
		acceptors: config.WithRole(RoleAcceptor),
		random:    rand.New(rand.NewPCG(config.Seed, uint64(config.Self))),
	}
	if len(s.replicas) == 0 || len(s.leaders) == 0 || len(s.acceptors) == 0 {
		return nil, fmt.Errorf("multipaxos: %d replicas, %d leaders, %d acceptors, want at least one of each",
			len(s.replicas), len(s.leaders), len(s.acceptors))
	}
	m := &Machine{setting: s}
	if contains(s.replicas, s.self) {
		m.replica = newReplica(s)
	}
	if contains(s.leaders, s.self) {
		m.leader = newLeader(s)
	}
	if contains(s.acceptors, s.self) {
		m.acceptor = newAcceptor()
	}
	if m.replica == nil && m.leader == nil && m.acceptor == nil {
		return nil, fmt.Errorf("multipaxos: process %v has none of the roles replica, leader, acceptor", s.self)
	}
	return m, nil
}

// Step consumes one input.
func (m *Machine) Step(now consensus.Time, input consensus.Input, out *consensus.Outbox) {
	switch input.Kind {
	case consensus.InputStart:
		if m.leader != nil {
			m.leader.start(now, out)
		}
		m.setTick(out)
	case consensus.InputCommand:
		if m.replica != nil {
			m.replica.request(now, input.Command, out)
		} else {
			m.ignored++
		}
	case consensus.InputTimer:
		m.timer(now, input.Timer, out)
	case consensus.InputMessage:
		if !m.receive(now, input.From, input.Message, out) {
			m.ignored++
		}
	}
}

func (m *Machine) timer(now consensus.Time, timer consensus.Timer, out *consensus.Outbox) {
	if m.leader != nil {
		m.leader.timer(now, timer, out)
	}
	if timer.Kind != timerTick {
		return
	}
	if m.replica != nil {
		m.replica.tick(now, out)
	}
	m.setTick(out)
}

// receive hands a message to the role that it is for; false if the process
// doesn't have it.
func (m *Machine) receive(now consensus.Time, from consensus.NodeID, message consensus.Message, out *consensus.Outbox) bool {
	switch message := message.(type) {
	case *Decision:
		if m.replica == nil {
			return false
		}
		m.replica.decision(now, message, out)
		return true
	case *Phase1a:
		if m.acceptor == nil {
			return false
		}
		m.acceptor.phase1a(from, message, out)
		return true
	case *Phase2a:
		if m.acceptor == nil {
			return false
		}
		m.acceptor.phase2a(from, message, out)
		return true
	}
	return m.leader != nil && m.leader.receive(now, from, message, out)
}

func (l *leader) receive(now consensus.Time, from consensus.NodeID, message consensus.Message, out *consensus.Outbox) bool {
	switch message := message.(type) {
	case *Propose:
		l.propose(now, from, message, out)
	case *Progress:
		l.progress(from, message.SlotOut)
	case *Phase1b:
		l.phase1b(now, from, message, out)
	case *Phase2b:
		l.phase2b(now, from, message, out)
	case *Ping:
		out.Send(from, &Pong{Ballot: l.known(), Stalled: l.stalled(now)})
	case *Pong:
		l.pong(now, from, message, out)
	default:
		return false
	}
	return true
}

// Status says where the process stands. Counters are named role.what.
func (m *Machine) Status() consensus.Status {
	status := consensus.Status{Counters: map[string]uint64{"ignored": m.ignored}}
	if r := m.replica; r != nil {
		status.Learner, status.Slot = true, r.slotOut-1
		status.Counters["replica.proposed"] = r.proposedCount
		status.Counters["replica.decided"] = r.decidedCount
		status.Counters["replica.duplicate_decisions"] = r.duplicateCount
		status.Counters["replica.noops"] = r.noopCount
		status.Counters["replica.repeated_commands"] = r.repeatedCount
	}
	if l := m.leader; l != nil {
		status.Leading = l.active
		status.Counters["leader.ballots"] = l.ballotCount
		status.Counters["leader.adopted"] = l.adoptedCount
		status.Counters["leader.preempted"] = l.preemptedCount
		status.Counters["leader.decided"] = l.decidedCount
	}
	if a := m.acceptor; a != nil {
		status.Counters["acceptor.adopted"] = a.adoptedCount
		status.Counters["acceptor.accepted"] = a.acceptedCount
		status.Counters["acceptor.refused"] = a.refusedCount
	}
	return status
}

func contains(ids []consensus.NodeID, id consensus.NodeID) bool { return slices.Contains(ids, id) }
