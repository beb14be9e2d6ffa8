package multipaxos

import (
	"cmp"
	"slices"
	"time"

	"quorumlab/node/consensus"
	"quorumlab/node/quorum"
)

// predictLatency follows a command through the undisturbed protocol: the
// least over the replicas of client -> replica -> leader, a round trip to the
// nearest quorum of phase 2, the least over the replicas of leader -> replica
// -> client. Where leaders watch each other the one with the lowest identifier
// leads; else the best placed one is assumed to.
//
// It is the least time that a command can take, not the mean: where quorums are
// drawn at random, the time with the best draw; where commands are batched,
// that of the one that fills the batch. It is 0 if checkConfig refuses the
// configuration.
func predictLatency(config consensus.Config, client consensus.NodeID, delay func(from, to consensus.NodeID) time.Duration) time.Duration {
	options, err := ParseOptions(config.Options)
	if err != nil {
		return 0
	}
	acceptors := config.WithRole(RoleAcceptor)
	system, err := options.Quorums.System(len(acceptors))
	if err != nil {
		return 0
	}
	leaders := config.WithRole(RoleLeader)
	if options.Watch {
		leaders = leaders[:1]
	}
	var best time.Duration = -1
	for _, leader := range leaders {
		var in, out []time.Duration
		for _, replica := range config.WithRole(RoleReplica) {
			in = append(in, delay(client, replica)+delay(replica, leader))
			out = append(out, delay(leader, replica)+delay(replica, client))
		}
		decided := nearestQuorum(system.Phase2(), acceptors, func(acceptor consensus.NodeID) time.Duration {
			return delay(leader, acceptor) + delay(acceptor, leader)
		})
		if d := slices.Min(in) + decided + slices.Min(out); best < 0 || d < best {
			best = d
		}
	}
	return best
}

// nearestQuorum is the least time after which a quorum of acceptors has
// answered, if each does after its round trip.
func nearestQuorum(rule quorum.Rule, acceptors []consensus.NodeID, roundTrip func(consensus.NodeID) time.Duration) time.Duration {
	type answer struct {
		index int
		after time.Duration
	}
	var answers []answer
	for index, acceptor := range acceptors {
		answers = append(answers, answer{index, roundTrip(acceptor)})
	}
	slices.SortStableFunc(answers, func(a, b answer) int { return cmp.Compare(a.after, b.after) })
	tally := quorum.NewTally(rule)
	for _, a := range answers {
		if tally.Add(a.index) {
			return a.after
		}
	}
	panic("multipaxos: all acceptors together are no quorum")
}
