package multipaxos

import "quorumlab/node/consensus"

// counters count what happened since the process started, over all
// configurations.
type counters struct {
	// ignored counts inputs for roles that the process doesn't have.
	ignored uint64

	proposed, committed, duplicates, noops, repeated uint64
	reads, snapshots, fetches, configurations        uint64
	ballots, adopted, preempted, decided, readRounds uint64
	adoptedBallots, accepted, refused                uint64
}

// Status says where the process stands. Counters are named role.what.
func (m *Machine) Status() consensus.Status {
	c := m.counters
	status := consensus.Status{Counters: map[string]uint64{"ignored": c.ignored}}
	if r := m.replica; r != nil {
		status.Learner, status.Slot = true, r.slotOut-1
		status.Configuration = r.configurationOf(r.slotOut).Number
		status.Counters["replica.proposed"] = c.proposed
		status.Counters["replica.decided"] = c.committed
		status.Counters["replica.duplicate_decisions"] = c.duplicates
		status.Counters["replica.noops"] = c.noops
		status.Counters["replica.repeated_commands"] = c.repeated
		status.Counters["replica.reads"] = c.reads
		status.Counters["replica.snapshots_installed"] = c.snapshots
		status.Counters["replica.snapshots_asked"] = c.fetches
		status.Counters["replica.configurations"] = c.configurations
	}
	if m.leads {
		for _, l := range m.leaders {
			status.Leading = status.Leading || l.active && l.end == 0
			status.Round = max(status.Round, l.ballot.Round)
			if m.replica == nil && l.reached(1) >= l.configuration.First {
				status.Configuration = max(status.Configuration, l.configuration.Number)
			}
		}
		status.Counters["leader.ballots"] = c.ballots
		status.Counters["leader.adopted"] = c.adopted
		status.Counters["leader.preempted"] = c.preempted
		status.Counters["leader.decided"] = c.decided
		status.Counters["leader.read_rounds"] = c.readRounds
	}
	if m.accepts {
		status.Counters["acceptor.adopted"] = c.adoptedBallots
		status.Counters["acceptor.accepted"] = c.accepted
		status.Counters["acceptor.refused"] = c.refused
	}
	return status
}
