package multipaxos

import (
	"slices"
	"time"

	"quorumlab/node/consensus"
	"quorumlab/node/quorum"
)

// predictLatency follows a command through the undisturbed protocol: the
// least over the replicas of client -> replica -> leader, a round trip to the
// nearest majority of acceptors, the least over the replicas of leader ->
// replica -> client. Where leaders watch each other the one with the lowest
// identifier leads; else the best placed one is assumed to.
func predictLatency(config consensus.Config, client consensus.NodeID, delay func(from, to consensus.NodeID) time.Duration) time.Duration {
	leaders := config.WithRole(RoleLeader)
	if options, err := ParseOptions(config.Options); err == nil && options.Watch {
		leaders = leaders[:1]
	}
	var best time.Duration = -1
	for _, leader := range leaders {
		if d := predictUnder(config, client, leader, delay); best < 0 || d < best {
			best = d
		}
	}
	return best
}

func predictUnder(config consensus.Config, client, leader consensus.NodeID, delay func(from, to consensus.NodeID) time.Duration) time.Duration {
	var in, out, phase2 []time.Duration
	for _, replica := range config.WithRole(RoleReplica) {
		in = append(in, delay(client, replica)+delay(replica, leader))
		out = append(out, delay(leader, replica)+delay(replica, client))
	}
	for _, acceptor := range config.WithRole(RoleAcceptor) {
		phase2 = append(phase2, delay(leader, acceptor)+delay(acceptor, leader))
	}
	slices.Sort(phase2)
	return slices.Min(in) + phase2[quorum.Majority(len(phase2))-1] + slices.Min(out)
}
