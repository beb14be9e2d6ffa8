// Package multipaxos is Multi-Paxos as the dissertation implements it (chapters
// 2 and 3) after van Renesse and Altinbuken, Paxos Made Moderately Complex;
// where the two differ, the latter wins. Replicas give clients' commands slots,
// leaders win ballots and have commands decided, acceptors remember.
//
// It promises what the papers prove: at most one command is decided for a slot,
// whatever is lost, duplicated or reordered, and whichever processes end and are
// started again from what they persisted; and decisions go on while quorums of
// the acceptors, one leader and one replica can talk to each other and leaders
// don't duel for ever.
//
// A Machine has any set of the roles. It is pure (see package consensus). Where
// to look: replica.go, leader.go, phases.go and acceptor.go are the papers'
// pseudocode; watch.go and backoff.go keep leaders from duelling; membership.go
// changes the configuration; reads.go answers reads without slots; catchup.go
// brings a replica up to date that was away.
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
		{Name: RoleLeader, Default: 2, Min: 1, Replaceable: true, Leads: true},
		{Name: RoleAcceptor, Default: 3, Min: 1, Replaceable: true, Votes: true},
	},
	Events: []consensus.EventSpec{
		{Kind: "silent", Meaning: consensus.MeaningSuspected},
		{Kind: "scout", Meaning: consensus.MeaningCampaign},
		{Kind: "adopted", Meaning: consensus.MeaningElected},
		{Kind: "preempted", Meaning: consensus.MeaningDeposed},
		{Kind: "reconfigure"},
	},
	Messages: []string{
		"propose", "progress", "decision", "phase1a", "phase1b", "phase2a", "phase2b", "ping", "pong",
		"configure", "configured", "retire", "behind", "fetch", "read_request", "confirm", "confirmed", "read_ready",
	},
	CheckOptions: func(options json.RawMessage) error {
		_, err := ParseOptions(options)
		return err
	},
	CheckConfig:    checkConfig,
	Reconfigure:    reconfigure,
	New:            func(config consensus.Config) (consensus.Machine, error) { return New(config) },
	PredictLatency: predictLatency,
}

// setting is what all roles of a process know.
type setting struct {
	self     consensus.NodeID
	replicas []consensus.NodeID
	// initial is the configuration that the cluster starts with.
	initial  Configuration
	options  Options
	random   *rand.Rand
	counters *counters
}

// Machine is one process: the roles that it has, and the way to them.
type Machine struct {
	*setting
	replica *replica
	// leads and accepts say which of the other roles the process may take up; it
	// has a leader and an acceptor for each configuration that wants it, in
	// ascending order.
	leads, accepts bool
	leaders        []*leader
	acceptors      []*acceptor
	// announced are the configurations after the first that its leaders know;
	// those below over are over.
	announced []Configuration
	over      uint64
	started   bool
}

// New makes the machine of config.Self. It fails if a role has no process, if
// Self has none of the roles, or on a bad option.
func New(config consensus.Config) (*Machine, error) {
	options, err := ParseOptions(config.Options)
	if err != nil {
		return nil, fmt.Errorf("multipaxos: %w", err)
	}
	s := &setting{
		self: config.Self, options: options, replicas: config.WithRole(RoleReplica),
		initial:  Configuration{Leaders: config.WithRole(RoleLeader), Acceptors: config.WithRole(RoleAcceptor)},
		random:   rand.New(rand.NewPCG(config.Seed, uint64(config.Self))),
		counters: &counters{},
	}
	if len(s.replicas) == 0 || len(s.initial.Leaders) == 0 || len(s.initial.Acceptors) == 0 {
		return nil, fmt.Errorf("multipaxos: %d replicas, %d leaders, %d acceptors, want at least one of each",
			len(s.replicas), len(s.initial.Leaders), len(s.initial.Acceptors))
	}
	if err := checkConfig(config); err != nil {
		return nil, fmt.Errorf("multipaxos: %w", err)
	}
	m := &Machine{setting: s}
	for _, member := range config.Members {
		if member.ID == s.self {
			m.leads, m.accepts = member.Has(RoleLeader), member.Has(RoleAcceptor)
		}
	}
	if contains(s.replicas, s.self) {
		m.replica = newReplica(s)
	}
	if contains(s.initial.Leaders, s.self) {
		m.leaders = append(m.leaders, newLeader(s, s.initial))
	}
	if m.replica == nil && !m.leads && !m.accepts {
		return nil, fmt.Errorf("multipaxos: process %v has none of the roles replica, leader, acceptor", s.self)
	}
	return m, nil
}

// Step consumes one input.
func (m *Machine) Step(now consensus.Time, input consensus.Input, out *consensus.Outbox) {
	switch input.Kind {
	case consensus.InputStart:
		m.start(now, input, out)
	case consensus.InputCommand:
		if m.replica != nil {
			m.replica.request(now, input.Command, out)
		} else {
			m.counters.ignored++
		}
	case consensus.InputTimer:
		m.timer(now, input.Timer, out)
	case consensus.InputMessage:
		m.receive(now, input.From, input.Message, out)
	case consensus.InputCheckpoint:
		m.checkpoint(out)
	}
}

func (m *Machine) timer(now consensus.Time, timer consensus.Timer, out *consensus.Outbox) {
	if timer.Kind == timerTick {
		for _, l := range m.leaders {
			l.timer(now, timerTick, out)
		}
		m.setTick(out)
	} else if l := m.leaderOf(timer.Key); l != nil {
		l.timer(now, timer.Kind, out)
	}
	if m.replica != nil {
		m.replica.timer(now, timer, out)
	}
}

// receive hands a message to the role that it is for.
func (m *Machine) receive(now consensus.Time, from consensus.NodeID, message consensus.Message, out *consensus.Outbox) {
	switch message := message.(type) {
	case *Phase1a:
		if a := m.acceptorOf(from, message.Configuration, out); a != nil {
			a.phase1a(from, message, out)
		}
	case *Phase2a:
		if a := m.acceptorOf(from, message.Configuration, out); a != nil {
			a.phase2a(from, message, out)
		}
	case *Confirm:
		if a := m.acceptorOf(from, message.Configuration, out); a != nil {
			a.confirm(from, message, out)
		}
	case *Retire:
		m.retireUpTo(message, out)
	case *Progress:
		for _, l := range m.leaders {
			l.progress(now, from, message.SlotOut, out)
		}
		m.retire(out)
	case *Configure:
		m.configure(now, message.Configuration, out)
		m.retire(out)
		out.SendAfterSync(from, &Configured{Number: message.Configuration.Number})
	default:
		if !m.receiveAsLeader(now, from, message, out) && !m.receiveAsReplica(now, from, message, out) {
			m.counters.ignored++
		}
	}
}

// receiveAsLeader is false if the message isn't for a leader, or not for one that
// the process has.
func (m *Machine) receiveAsLeader(now consensus.Time, from consensus.NodeID, message consensus.Message, out *consensus.Outbox) bool {
	var l *leader
	switch message := message.(type) {
	case *Propose:
		if l = m.leaderOf(message.Configuration); l != nil {
			l.propose(now, from, message, out)
		}
	case *Phase1b:
		if l = m.leaderOf(message.Configuration); l != nil {
			l.phase1b(now, from, message, out)
		}
	case *Phase2b:
		if l = m.leaderOf(message.Configuration); l != nil {
			l.phase2b(now, from, message, out)
		}
	case *Ping:
		if l = m.leaderOf(message.Configuration); l != nil {
			l.ping(now, from, out)
		}
	case *Pong:
		if l = m.leaderOf(message.Configuration); l != nil {
			l.pong(now, from, message, out)
		}
	case *ReadRequest:
		if l = m.leaderOf(message.Configuration); l != nil {
			l.readRequest(now, from, message, out)
		}
	case *Confirmed:
		if l = m.leaderOf(message.Configuration); l != nil {
			l.confirmed(now, from, message, out)
		}
	}
	return l != nil
}

func (m *Machine) receiveAsReplica(now consensus.Time, from consensus.NodeID, message consensus.Message, out *consensus.Outbox) bool {
	if m.replica == nil {
		return false
	}
	switch message := message.(type) {
	case *Decision:
		m.replica.decision(now, from, message, out)
	case *Configured:
		m.replica.configured(from, message)
	case *Behind:
		m.replica.behind(now, from, message, out)
	case *Fetch:
		m.replica.fetch(from, message, out)
	case *ReadReady:
		m.replica.readReady(now, message, out)
	case *consensus.Snapshot:
		m.replica.install(now, message, out)
	default:
		return false
	}
	return true
}

func contains(ids []consensus.NodeID, id consensus.NodeID) bool { return slices.Contains(ids, id) }
