package multipaxos

import (
	"testing"
	"time"

	"quorumlab/node/consensus"
	"quorumlab/node/kv"
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
	if held := n.machines[1].replica.requests.len(); held > 3000 {
		t.Errorf("holds %d requests, of which its client awaits 100", held)
	}
}

// An acceptor that had missed some four million slots took the next one for
// absurd, although the message said that those before it are committed, and was
// mute for as long as the ballot lasted.
func TestAnAcceptorThatWasAwayForLongAcceptsAgain(t *testing.T) {
	m := newTestMachine(t, 21, "")
	deliver(m, 11, &Phase2a{PValue: pvalue(ballot(0, 11), 1, 1), Floor: 1})
	far := uint64(maxSpan + 1000)
	if out := deliver(m, 11, &Phase2a{PValue: pvalue(ballot(0, 11), far, 2), Floor: far - 10}); len(out) != 1 {
		t.Fatalf("answered %d messages to slot %d above a floor of %d, want a phase2b", len(out), far, far-10)
	}
	accepted := deliver(m, 12, &Phase1a{Ballot: ballot(1, 12)})[0].Message.(*Phase1b).Accepted
	if got := brief(accepted); len(accepted) != 1 {
		t.Errorf("remembers %s", got)
	}
}

// A process with a leader and a replica that was behind restarted after hearing
// of configuration 2, not of 1: the replica then knew 2 without having
// committed its change, took the change to 1 for one that comes too late, and
// proposed slots of configuration 1 to the leaders of 0.
func TestAReplicaKnowsNoConfigurationBeforeItsChangeIsCommitted(t *testing.T) {
	all := members(2, 2, 2, 3, 3)
	all[0].Roles = []string{RoleReplica, RoleLeader}
	n := emptyNetwork(t, `{"window": 10}`, 1)
	n.start(all)
	n.run(time.Second)
	one := Configuration{Number: 1, First: 12, Leaders: []consensus.NodeID{13}, Acceptors: []consensus.NodeID{24, 25, 26}}
	two := Configuration{Number: 2, First: 20, Leaders: []consensus.NodeID{14}, Acceptors: []consensus.NodeID{21, 22, 23}}
	n.disks[1].durable = []consensus.Message{&Configure{Configuration: two}}
	n.crash(1)
	n.boot(1)
	n.run(0)
	r := n.machines[1].replica
	if len(r.configurations) != 1 {
		t.Errorf("knows %+v at slot %d", r.configurations, r.slotOut)
	}
	change := n.reconfiguration(1, change{Leaders: []string{"leader13"}, Acceptors: []string{"acceptor24", "acceptor25", "acceptor26"}})
	change, _ = numbered(change, 1)
	var out consensus.Outbox
	n.machines[1].Step(n.now, consensus.Input{Kind: consensus.InputMessage, From: 11, Message: &Decision{Slot: 1, Command: update(1, 1)}}, &out)
	n.machines[1].Step(n.now, consensus.Input{Kind: consensus.InputMessage, From: 11, Message: &Decision{Slot: 2, Command: change}}, &out)
	if got := r.configurationOf(one.First); got.Number != 1 {
		t.Errorf("slot %d belongs to configuration %d, want 1", one.First, got.Number)
	}
}

// A replica that restarted from a checkpoint behind the change told nobody of the
// new configuration any more: if its leaders hadn't heard before, they never did.
func TestARestartedReplicaStillAnnouncesTheConfiguration(t *testing.T) {
	n := emptyNetwork(t, `{"window": 5, "resend": "200ms"}`, 1)
	n.start(members(1, 1, 1, 3, 3))
	n.run(time.Second)
	n.crash(12)
	n.send(n.reconfiguration(1, change{Leaders: []string{"leader12"}, Acceptors: []string{"acceptor24", "acceptor25", "acceptor26"}}), 1)
	n.run(time.Second)
	n.checkpoint(1)
	n.crash(1)
	n.boot(1)
	n.boot(12)
	n.run(time.Second)
	n.send(update(1, 1), 1)
	n.run(20 * time.Second)
	if len(n.answers[1]) == 0 {
		t.Errorf("a command waits at slot %d for leaders that don't know of their configuration", n.machines[1].replica.slotOut)
	}
}

// A read that waited for slots that then came as a snapshot waited for the next
// decision, which may never come.
func TestAReadIsAnsweredOnceASnapshotBringsItsSlots(t *testing.T) {
	n := newNetwork(t, 2, 1, 3, `{"reads": "confirm", "retain": 2, "resend": "200ms"}`, 1)
	n.run(time.Second)
	n.cut = func(from, to consensus.NodeID) bool { return from == 11 && to == 2 }
	for sequence := uint64(1); sequence <= 20; sequence++ {
		n.send(update(sequence, 1), 1)
		n.run(50 * time.Millisecond)
	}
	n.run(time.Second)
	n.cut = func(from, to consensus.NodeID) bool { return from == 1 && to == 2 } // no snapshot yet
	n.send(readOf(21, 20), 2)
	n.run(time.Second)
	if len(n.answers[21]) > 0 {
		t.Fatal("the read was answered without its slots")
	}
	n.cut = func(_, _ consensus.NodeID) bool { return false }
	n.run(10 * time.Second)
	n.agree()
	if result, err := kv.DecodeResult(n.answers[21]); err != nil || result.Value != "v20" {
		t.Errorf("the read: %+v, %v", result, err)
	}
}

// A leader that came to know the floor from its acceptors told replicas that they
// are behind for ever, and forgot nothing, until a next command came.
func TestALeaderLearnsHowFarIdleReplicasAre(t *testing.T) {
	n := newNetwork(t, 2, 2, 3, `{"resend": "200ms"}`, 1)
	for sequence := uint64(1); sequence <= 20; sequence++ {
		n.send(update(sequence, 1), 1, 2)
		n.run(50 * time.Millisecond)
	}
	n.run(5 * time.Second)
	n.crash(11) // 12 takes over, and its phase1a carries the floor to the acceptors
	n.boot(11)
	n.run(5 * time.Second)
	n.crash(12) // 11 takes over, which has heard no replica since it was started
	n.run(20 * time.Second)
	behind := 0
	n.onSend = func(_, _ consensus.NodeID, m consensus.Message) {
		if _, ok := m.(*Behind); ok {
			behind++
		}
	}
	n.run(time.Minute)
	if l := n.machines[11].leaders[0]; behind > 0 || l.slots.first != 21 {
		t.Errorf("in an idle minute replicas were told %d times that they are behind; the floor is %d, want 21", behind, l.slots.first)
	}
}

// A leader that heard of its configuration after hearing of the next one didn't
// know where its own ends, and never retired.
func TestALeaderKnowsItsEndWhateverTheOrderOfAnnouncements(t *testing.T) {
	n := emptyNetwork(t, "", 1)
	n.start(members(2, 1, 1, 3, 0))
	n.run(0)
	m := n.machines[12]
	acceptors := []consensus.NodeID{21, 22, 23}
	deliver(m, 1, &Configure{Configuration: Configuration{Number: 2, First: 30, Leaders: []consensus.NodeID{11}, Acceptors: acceptors}})
	deliver(m, 1, &Configure{Configuration: Configuration{Number: 1, First: 20, Leaders: []consensus.NodeID{12}, Acceptors: acceptors}})
	if l := m.leaderOf(1); l == nil || l.end != 30 {
		t.Errorf("the leader of configuration 1 is %+v, want its end at slot 30", l)
	}
}

// Announcements to a leader that never answers were kept, and sent again, for
// ever, also once its configuration was over.
func TestAnAnnouncementEndsWithItsConfiguration(t *testing.T) {
	n := emptyNetwork(t, `{"window": 5, "resend": "200ms"}`, 1)
	n.start(members(1, 2, 1, 3, 0))
	n.run(time.Second)
	n.crash(12)
	for i := range uint64(10) {
		leaders := []string{"leader11"}
		if i%2 == 0 {
			leaders = []string{"leader11", "leader12"}
		}
		n.send(n.reconfiguration(i+1, change{Leaders: leaders}), 1)
		n.run(10 * time.Second)
	}
	r := n.machines[1].replica
	if r.latest().Number != 10 {
		t.Fatalf("the configuration is %d, want 10", r.latest().Number)
	}
	if len(r.announcements) > 2 {
		t.Errorf("%d announcements are held after ten changes", len(r.announcements))
	}
}

// Scouts and commanders are told apart by their identities in Paxos Made
// Moderately Complex. Here a leader has one scout, and one commander a slot; an
// acceptor's refusal of an old ballot names the higher one, which may be the same
// leader's: then it mustn't pass for an answer to what that ballot asks.
func TestARefusalIsNoAnswerToTheSameLeadersNextBallot(t *testing.T) {
	n := newNetwork(t, 1, 2, 3, `{"watch": false, "reads": "confirm"}`, 1)
	n.run(0)
	acceptor, leader := n.machines[21], n.machines[11]
	deliver(acceptor, 12, &Phase2a{PValue: pvalue(ballot(1, 12), 1, 7)})
	deliver(leader, 1, &Propose{Slot: 1, Command: update(1, 1)})
	deliver(leader, 22, &Phase1b{Ballot: ballot(1, 12)}) // on to (2, 11)
	deliver(acceptor, 11, &Phase1a{Ballot: ballot(2, 11), Floor: 1, From: 1})

	// The answer to (2, 11) is lost; an old phase1a arrives late.
	for _, late := range deliver(acceptor, 11, &Phase1a{Ballot: ballot(0, 11), Floor: 1, From: 1}) {
		deliver(leader, 21, late.Message)
	}
	sent := deliver(leader, 22, &Phase1b{Ballot: ballot(2, 11), Floor: 1})
	for _, s := range sent {
		if p, ok := s.Message.(*Phase2a); ok && p.Command.Sequence != 7 {
			t.Errorf("asks for command %d, though acceptor 21 may have helped to have command 7 chosen", p.Command.Sequence)
		}
	}
	if l := leader.leaderOf(0); !l.active {
		deliver(leader, 21, deliver(acceptor, 11, &Phase1a{Ballot: ballot(2, 11), Floor: 1, From: 1})[0].Message)
	}
	for _, late := range deliver(acceptor, 11, &Phase2a{PValue: pvalue(ballot(0, 11), 1, 1)}) {
		deliver(leader, 21, late.Message)
	}
	if out := deliver(leader, 22, &Phase2b{Ballot: ballot(2, 11), Slot: 1}); len(out) > 0 {
		t.Errorf("one acceptance and a refusal decided the slot: %s", describe(out[0].Message))
	}
	deliver(leader, 1, &ReadRequest{ID: 1})
	for _, late := range deliver(acceptor, 11, &Confirm{Ballot: ballot(0, 11), Round: 1}) {
		deliver(leader, 21, late.Message)
	}
	if out := deliver(leader, 22, &Confirmed{Ballot: ballot(2, 11), Round: 1}); len(out) > 0 {
		t.Errorf("one confirmation and an old one had a read answered: %s", describe(out[0].Message))
	}
}
