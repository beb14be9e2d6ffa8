package multipaxos

import (
	"fmt"
	"testing"
	"time"

	"quorumlab/node/consensus"
	"quorumlab/node/kv"
)

const unwatched = `{"watch": false, "backoff": {"strategy": "random", "max": "250ms"}}`

// Random runs under loss, duplication, reordering, crashes of minorities and
// cut links; then the network heals and every command must be decided. The
// invariants are checked by the network after each commit.
func TestRandomRunsAreSafeAndFinishOnceTheNetworkHeals(t *testing.T) {
	runs := 150
	if testing.Short() {
		runs = 20
	}
	for seed := range uint64(runs) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { randomRun(t, seed) })
	}
}

func randomRun(t *testing.T, seed uint64) {
	options := `{"resend": "200ms", "window": 4}`
	if seed%2 == 1 {
		options = `{"resend": "200ms", "window": 50, "watch": false, "backoff": {"strategy": "exponential", "initial": "100ms"}}`
	}
	n := newNetwork(t, 1+int(seed%3), 1+int(seed/2%3), 1+int(seed/3%5), options, seed)
	n.loss = n.random.Float64() * 0.3
	n.twice = n.random.Float64() * 0.3
	n.delay = func() time.Duration {
		return time.Millisecond + time.Duration(n.random.Int64N(int64(80*time.Millisecond)))
	}
	isolated := n.ids[n.random.IntN(len(n.ids))]
	n.cut = func(from, to consensus.NodeID) bool {
		return int64(n.now)/1e9%4 == 1 && (from == isolated || to == isolated)
	}
	const commands = 40
	for sequence := uint64(1); sequence <= commands; sequence++ {
		var to []consensus.NodeID
		for _, id := range n.ids {
			if n.apps[id] != nil && (len(to) == 0 || n.random.IntN(4) > 0) {
				to = append(to, id)
			}
		}
		n.send(update(sequence, 1), to...)
		n.run(time.Duration(n.random.Int64N(int64(200 * time.Millisecond))))
	}
	n.loss, n.twice = 0, 0
	n.cut = func(_, _ consensus.NodeID) bool { return false }
	n.run(2 * time.Minute)
	if len(n.answers) != commands {
		t.Errorf("%d of %d commands answered two minutes after healing", len(n.answers), commands)
	}
	n.agree()
}

// A process may crash at any time for good: with f of each role dead the
// others go on, and what was answered stays.
func TestAMinorityOfEachRoleMayCrash(t *testing.T) {
	for seed := range uint64(60) {
		n := newNetwork(t, 2, 2, 3, `{"resend": "200ms"}`, seed)
		victims := []consensus.NodeID{
			1 + consensus.NodeID(seed%2), 11 + consensus.NodeID(seed/2%2), 21 + consensus.NodeID(seed/4%3),
		}
		for sequence := uint64(1); sequence <= 30; sequence++ {
			n.send(update(sequence, 1), 1, 2)
			n.run(50 * time.Millisecond)
			if i := int(sequence) / 10; sequence%10 == 0 {
				n.dead[victims[i-1]] = true
			}
		}
		n.run(30 * time.Second)
		if len(n.answers) != 30 {
			t.Errorf("seed %d: %d of 30 commands answered with f of each role dead", seed, len(n.answers))
		}
		n.agree()
	}
}

func TestNothingIsDecidedWithoutAMajorityOfAcceptors(t *testing.T) {
	n := newNetwork(t, 2, 2, 4, `{"resend": "200ms"}`, 1)
	n.dead[21], n.dead[22] = true, true // half of four is no majority
	n.send(update(1, 1), 1, 2)
	n.run(time.Minute)
	if len(n.chosen) != 0 {
		t.Fatalf("decided %v with two of four acceptors", n.chosen)
	}
	n.dead[21] = false // its memory is intact: as if it had been cut off
	n.schedule(0, 21, consensus.Input{Kind: consensus.InputStart})
	n.run(time.Minute)
	if len(n.answers) != 1 {
		t.Error("not decided although three of four acceptors live")
	}
}

// The whole run must follow from the seed: no map's order, clock or shared
// generator may show.
func TestTheSameSeedGivesTheSameTrace(t *testing.T) {
	trace := func() []string {
		n := newNetwork(t, 3, 3, 3, unwatched, 7)
		n.keep = true
		n.loss, n.twice = 0.1, 0.1
		n.delay = func() time.Duration { return time.Duration(n.random.Int64N(int64(80 * time.Millisecond))) }
		for sequence := uint64(1); sequence <= 50; sequence++ {
			n.send(update(sequence, 1), 1, 2, 3)
			n.run(20 * time.Millisecond)
		}
		n.run(20 * time.Second)
		return n.trace
	}
	a, b := trace(), trace()
	if len(a) != len(b) || len(a) < 500 {
		t.Fatalf("%d and %d messages", len(a), len(b))
	}
	for i := range a {
		if a[i] != b[i] {
			t.Fatalf("message %d: %q and %q", i, a[i], b[i])
		}
	}
}

// All roles in one process, as "any set of roles" allows.
func TestRolesMayShareAProcess(t *testing.T) {
	n := emptyNetwork(t, "", 1)
	roles := []string{RoleReplica, RoleLeader, RoleAcceptor}
	n.start([]consensus.Member{{ID: 1, Roles: roles}, {ID: 2, Roles: roles}, {ID: 3, Roles: roles}})
	for sequence := uint64(1); sequence <= 20; sequence++ {
		n.send(update(sequence, 1), 1, 2, 3)
		n.run(30 * time.Millisecond)
	}
	n.run(5 * time.Second)
	if len(n.answers) != 20 {
		t.Errorf("%d of 20 commands answered", len(n.answers))
	}
	n.agree()
}

// Memory: what every replica has committed is forgotten by all roles.
func TestStateIsBoundedByWhatIsInFlight(t *testing.T) {
	n := newNetwork(t, 2, 2, 3, "", 1)
	for sequence := uint64(1); sequence <= 3000; sequence++ {
		n.send(update(sequence, max(sequence, 41)-40), 1, 2)
		n.run(10 * time.Millisecond)
	}
	n.run(5 * time.Second)
	for _, id := range n.ids {
		m := n.machines[id]
		size := 0
		switch {
		case m.replica != nil:
			d := m.replica.decided[update(1, 1).Client].decided
			size = m.replica.requests.len() + int(m.replica.slots.end-m.replica.slots.first) + int(d.end-d.first)
		case m.leads:
			size = int(m.leaders[0].slots.end - m.leaders[0].slots.first)
		case m.accepts:
			size = int(m.acceptors[0].accepted.end - m.acceptors[0].accepted.first)
		}
		if size > 200 {
			t.Errorf("process %v holds %d entries after 3000 commands at 100 a second", id, size)
		}
	}
	n.agree()
	if result, err := kv.DecodeResult(n.answers[3000]); err != nil || result.Status != kv.Success {
		t.Errorf("the last command: %+v, %v", result, err)
	}
}
