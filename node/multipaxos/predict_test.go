package multipaxos

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"quorumlab/node/consensus"
	"quorumlab/node/quorum"
)

// In a cluster of ofAcceptors, client 100 and leader 2 are 10 ms from replica 1
// and acceptor i, counted from 1, is i ms from the leader.
func predictionFor(acceptors int, options string) time.Duration {
	return predictLatency(ofAcceptors(acceptors, 0, options), 100, func(from, to consensus.NodeID) time.Duration {
		if acceptor := max(from, to); acceptor < 100 && acceptor > 2 {
			return time.Duration(acceptor-2) * time.Millisecond
		}
		return 10 * time.Millisecond
	})
}

// The command takes 40 ms there and back, and a round trip to the farthest
// acceptor of the nearest quorum of phase 2.
func TestTheNearestQuorumOfPhase2Decides(t *testing.T) {
	for _, c := range []struct {
		acceptors int
		quorums   string
		farthest  time.Duration // acceptor of the nearest quorum
	}{
		{1, `{}`, 1}, {3, `{}`, 2}, {4, `{}`, 3}, {5, `{}`, 3},
		{6, `{"kind": "flexible", "phase2": 1}`, 1},
		{6, `{"kind": "flexible", "phase1": 5, "phase2": 2}`, 2},
		{6, `{"kind": "flexible", "phase1": 1, "phase2": 6}`, 6},
		{6, `{"kind": "flexible", "phase1": 1}`, 6},
		{6, `{"kind": "grid", "rows": 2, "columns": 3}`, 4}, // 1 and 4
		{6, `{"kind": "grid", "rows": 3, "columns": 2}`, 5}, // 1, 3 and 5
		{6, `{"kind": "grid", "rows": 1, "columns": 6}`, 1},
		{6, `{"kind": "grid", "rows": 6, "columns": 1}`, 6},
		{6, `{"choice": "random"}`, 4}, // the best draw
		{6, `{"kind": "grid", "rows": 2, "columns": 3, "choice": "random"}`, 4},
	} {
		want := (40 + 2*c.farthest) * time.Millisecond
		if got := predictionFor(c.acceptors, `{"quorums": `+c.quorums+`}`); got != want {
			t.Errorf("%d acceptors, quorums %s: %v, want %v", c.acceptors, c.quorums, got, want)
		}
	}
}

// Against all sets: the quorum whose farthest acceptor is nearest.
func TestTheNearestQuorumIsTheBestOfAll(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for _, options := range []QuorumOptions{
		{Kind: QuorumMajority}, {Kind: QuorumFlexible, Phase2: 2},
		{Kind: QuorumGrid, Rows: 2, Columns: 4}, {Kind: QuorumGrid, Rows: 4, Columns: 2},
	} {
		system, err := options.System(8)
		if err != nil {
			t.Fatal(err)
		}
		for range 30 {
			var acceptors []consensus.NodeID
			roundTrips := map[consensus.NodeID]time.Duration{}
			for id := consensus.NodeID(11); id < 19; id++ {
				acceptors = append(acceptors, id)
				roundTrips[id] = time.Duration(random.IntN(20)) // some alike
			}
			best := time.Hour
			for mask := range 1 << 8 {
				var set quorum.Set
				var farthest time.Duration
				for index, id := range acceptors {
					if mask>>index&1 != 0 {
						set.Add(index)
						farthest = max(farthest, roundTrips[id])
					}
				}
				if system.Phase2().Satisfied(set) {
					best = min(best, farthest)
				}
			}
			got := nearestQuorum(system.Phase2(), acceptors, func(id consensus.NodeID) time.Duration { return roundTrips[id] })
			if got != best {
				t.Fatalf("%+v, round trips %v: %v, want %v", options, roundTrips, got, best)
			}
		}
	}
}

// The lowest leader leads if leaders watch each other; else the best placed
// may. The least over the replicas is taken on the way there and on the way
// back, where another may be nearer.
func TestThePredictionTakesTheLeaderThatWillLeadAndTheBestReplicas(t *testing.T) {
	config := consensus.Config{Members: []consensus.Member{
		{ID: 1, Roles: []string{RoleReplica}}, {ID: 2, Roles: []string{RoleReplica}},
		{ID: 3, Roles: []string{RoleLeader}}, {ID: 4, Roles: []string{RoleLeader}}, {ID: 5, Roles: []string{RoleAcceptor}},
		{ID: 6, Roles: []string{RoleAcceptor}, Spare: true},
	}}
	const there, back = 1 * time.Millisecond, 50 * time.Millisecond
	delays := map[[2]consensus.NodeID]time.Duration{
		{100, 1}: there, {1, 3}: there, {3, 1}: back, {1, 100}: back, // replica 1 is near on the way there
		{100, 2}: back, {2, 3}: back, {3, 2}: there, {2, 100}: there, // replica 2 on the way back
		{3, 5}: 20 * time.Millisecond, {5, 3}: 40 * time.Millisecond,
		{1, 4}: there, {4, 1}: there, {4, 5}: there, {5, 4}: there,
	}
	delay := func(from, to consensus.NodeID) time.Duration {
		if d, known := delays[[2]consensus.NodeID{from, to}]; known {
			return d
		}
		return time.Minute
	}
	for _, c := range []struct {
		options string
		want    time.Duration
	}{
		{`{}`, 4*there + 60*time.Millisecond},
		{`{"watch": false}`, 5*there + back}, // leader 4, which knows replica 1 alone
		{`{"batch": {"size": 10, "delay": "1s"}}`, 4*there + 60*time.Millisecond},
		{`{"quorums": {"kind": "flexible", "phase2": 2}}`, 0}, // more than there are
		{`{"window": 0}`, 0},
	} {
		config.Options = json.RawMessage(c.options)
		if got := predictLatency(config, 100, delay); got != c.want {
			t.Errorf("%s: %v, want %v", c.options, got, c.want)
		}
	}
}

func ExampleQuorumOptions_System() {
	_, err := QuorumOptions{Kind: QuorumFlexible, Phase1: 3, Phase2: 3}.System(6)
	fmt.Println(err)
	// Output: option quorums.phase1 is 3, want at least 4 beside phase2: 3, since phase 1 quorum {1, 2, 3} and phase 2 quorum {4, 5, 6} have no process in common: want q1 + q2 > 6
}
