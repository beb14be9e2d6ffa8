package multipaxos

import (
	"testing"
	"time"

	"quorumlab/node/consensus"
)

// Each test guards against a fault that was found once.

// Leaders farther apart than the ping timeout took each other for dead and
// duelled for ever.
func TestLeadersFarApartComeToRest(t *testing.T) {
	n := newNetwork(t, 2, 3, 3, `{"ping_timeout": "500ms", "resend": "3s"}`, 1)
	n.delay = func() time.Duration { return 600 * time.Millisecond }
	n.run(time.Minute)
	before := n.ballots()
	n.run(10 * time.Minute)
	if after := n.ballots(); after != before || before > 12 {
		t.Errorf("%d ballots in the first minute, %d in eleven, want them to end", before, after)
	}
}

func (n *network) ballots() uint64 {
	sum := uint64(0)
	for _, id := range n.ids {
		sum += n.machines[id].counters.ballots
	}
	return sum
}

// A leader that lives but reaches no acceptors answered pings, and was deferred
// to for ever.
func TestALeaderWithoutAcceptorsIsReplaced(t *testing.T) {
	for name, from := range map[string]time.Duration{"from the start": 0, "while it leads": 5 * time.Second} {
		n := newNetwork(t, 2, 2, 3, "", 1)
		n.cut = func(a, b consensus.NodeID) bool {
			return n.now >= consensus.Time(from) && (a == 11 && b > 20 || b == 11 && a > 20)
		}
		for sequence := uint64(1); sequence <= 100; sequence++ {
			n.send(update(sequence, 1), 1, 2)
			n.run(100 * time.Millisecond)
		}
		n.run(30 * time.Second)
		if len(n.answers) != 100 {
			t.Errorf("cut off %s: %d of 100 commands answered", name, len(n.answers))
		}
		n.agree()
	}
}

// A leader that was pre-empted by a ballot of its own, from before a restart,
// watched itself for ever.
func TestALeaderDoesNotWatchItself(t *testing.T) {
	m := newTestMachine(t, 11, "")
	var out consensus.Outbox
	m.Step(0, consensus.Input{Kind: consensus.InputStart}, &out)
	sent := deliver(m, 21, &Phase1b{Ballot: ballot(3, 11)})
	if len(sent) != 3 || sent[0].Message.(*Phase1a).Ballot != ballot(4, 11) {
		t.Errorf("sent %+v, want phase1a of (4, 11)", sent)
	}
}

// After one lost request the replicas' proposals were a slot apart, and each
// command was decided for one and a half slots, for ever.
func TestReplicasThatDriftedApartFindTogetherAgain(t *testing.T) {
	n := newNetwork(t, 2, 2, 3, "", 1)
	n.run(time.Second)
	for sequence := uint64(1); sequence <= 1000; sequence++ {
		if sequence == 50 {
			n.send(update(sequence, 1), 1) // lost on the way to the other
		} else {
			n.send(update(sequence, 1), 1, 2)
		}
		n.run(10 * time.Millisecond)
	}
	n.run(10 * time.Second)
	if slots := n.apps[1].Slot(); len(n.answers) != 1000 || slots > 1050 {
		t.Errorf("%d commands answered in %d slots, want 1000 in hardly more", len(n.answers), slots)
	}
	n.agree()
}

// The last report of a replica's progress was lost; the leader then sent the
// same decisions for ever.
func TestALostReportOfProgressIsSentAgain(t *testing.T) {
	n := newNetwork(t, 2, 1, 3, "", 1)
	n.run(time.Second)
	n.cut = func(from, to consensus.NodeID) bool { return from == 2 && n.now < consensus.Time(6*time.Second) }
	for sequence := uint64(1); sequence <= 50; sequence++ {
		n.send(update(sequence, 1), 1)
		n.run(20 * time.Millisecond)
	}
	n.run(30 * time.Second)
	decisions := 0
	n.onSend = func(_, _ consensus.NodeID, m consensus.Message) {
		if _, ok := m.(*Decision); ok {
			decisions++
		}
	}
	n.run(time.Minute)
	if l := n.machines[11].leaders[0]; decisions != 0 || l.slots.first != 51 || l.slots.end != 51 {
		t.Errorf("an idle minute later: %d decisions sent, floor %d, %d slots held", decisions, l.slots.first, l.slots.end-l.slots.first)
	}
}

// Requests of a long outage that their client has given up were kept, and
// proposed first afterwards.
func TestRequestsThatWereGivenUpAreForgotten(t *testing.T) {
	n := newNetwork(t, 1, 1, 1, `{"window": 10}`, 1)
	n.dead[21] = true
	for sequence := uint64(1); sequence <= 20_000; sequence++ {
		n.send(update(sequence, max(sequence, 101)-100), 1)
		n.run(time.Millisecond)
	}
	n.run(time.Second)
	if held := len(n.machines[1].replica.requests); held > 3000 {
		t.Errorf("holds %d requests, of which its client awaits 100", held)
	}
}
