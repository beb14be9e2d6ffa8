package multipaxos

import "quorumlab/node/consensus"

// The records of a process are messages that it acted upon. To recover is to act
// upon them again without answering:
//
//	Phase1a    an acceptor's promise; from this process itself, a leader's ballot
//	Phase2a    what an acceptor accepted
//	Decision   what a replica committed
//	Configure  a configuration that leaders or replicas know
//	Retire     configurations that are over

// start begins the machine's life, or takes it up again from records.
func (m *Machine) start(now consensus.Time, input consensus.Input, out *consensus.Outbox) {
	restarted := len(input.Recovered) > 0 || input.Slot > 0
	if m.replica != nil && restarted {
		m.replica.recover(input.Slot, input.Recovered, out)
	}
	for _, record := range input.Recovered {
		m.recover(now, record)
	}
	m.started = true
	for _, l := range m.leaders {
		l.start(now, restarted, out)
	}
	m.setTick(out)
}

func (m *Machine) recover(now consensus.Time, record consensus.Message) {
	var discarded consensus.Outbox // all has been persisted, and sent if it was
	switch record := record.(type) {
	case *Phase1a:
		if l := m.leaderOf(record.Configuration); l != nil && record.Ballot.Leader == m.self && !l.ballot.Above(record.Ballot) {
			l.used, l.ballot = record.Ballot, record.Ballot.After(m.self)
		}
		if m.accepts && record.Configuration >= m.over {
			m.acceptorOf(m.self, record.Configuration, &discarded).adopt(record)
		}
	case *Phase2a:
		if m.accepts && record.Configuration >= m.over {
			m.acceptorOf(m.self, record.Configuration, &discarded).recall(record)
		}
	case *Configure:
		m.configure(now, record.Configuration, &discarded)
	case *Retire:
		m.retireUpTo(record, &discarded)
	}
}

// checkpoint persists all that the roles must not forget.
func (m *Machine) checkpoint(out *consensus.Outbox) {
	if m.over > 0 {
		out.Persist(&Retire{Configuration: m.over - 1})
	}
	if m.replica != nil {
		m.replica.checkpoint(out)
	}
	for _, c := range m.announced {
		out.Persist(&Configure{Configuration: c})
	}
	for _, a := range m.acceptors {
		a.checkpoint(out)
	}
	for _, l := range m.leaders {
		l.checkpoint(out)
	}
}
