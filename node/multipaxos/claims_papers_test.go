package multipaxos

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"quorumlab/node/consensus"
)

// More claims, one test each: of Paxos Made Simple (PMS), Paxos Made Moderately
// Complex (PMMC), Flexible Paxos, and the dissertation's chapters 2 and 3 (plain
// section numbers).

// step gives a machine any input and returns what is to happen.
func step(m *Machine, input consensus.Input) *consensus.Outbox {
	var out consensus.Outbox
	m.Step(0, input, &out)
	return &out
}

// Section 2.1.5, The Synod Protocol: in the absence of proposals a leader seeks
// its initial ballot (0, leader).
func TestALeaderSeeksItsFirstBallotBeforeAnyProposal(t *testing.T) {
	n := newNetwork(t, 1, 3, 3, `{"watch": false}`, 1)
	for _, id := range []consensus.NodeID{11, 12, 13} {
		m, err := New(consensus.Config{Self: id, Members: n.members, Options: json.RawMessage(n.options)})
		if err != nil {
			t.Fatal(err)
		}
		out := step(m, consensus.Input{Kind: consensus.InputStart})
		if len(out.Messages) != 3 || out.Messages[0].Message.(*Phase1a).Ballot != ballot(0, id) {
			t.Errorf("leader %v begins with %+v", id, out.Messages)
		}
	}
}

// Section 3.5.1: acceptors change their state and send only upon leaders'
// messages.
func TestAnAcceptorIsPassive(t *testing.T) {
	m := newTestMachine(t, 21, "")
	for _, input := range []consensus.Input{
		{Kind: consensus.InputStart}, {Kind: consensus.InputTimer, Timer: consensus.Timer{Kind: timerTick}},
		{Kind: consensus.InputCommand, From: testClient, Command: update(1, 1)},
		{Kind: consensus.InputMessage, From: 1, Message: &Propose{Slot: 1, Command: update(1, 1)}},
		{Kind: consensus.InputMessage, From: 11, Message: &Decision{Slot: 1, Command: update(1, 1)}},
	} {
		if out := step(m, input); len(out.Messages)+len(out.Records) > 0 {
			t.Errorf("input %+v: %+v", input, out)
		}
	}
}

// Section 3.5.1 and figure 3.13: a pvalue that comes again is accepted once.
// PMMC, section 4.1: nor do more ballots for a slot take more memory.
func TestAnAcceptorKeepsOnePValueASlot(t *testing.T) {
	m := newTestMachine(t, 21, "")
	for round := range uint64(100) {
		for range 2 {
			deliver(m, 11, &Phase2a{PValue: pvalue(ballot(round, 11), 1, 1), Floor: 1})
		}
	}
	reply := deliver(m, 11, &Phase1a{Ballot: ballot(100, 11), Floor: 1, From: 1})[0].Message.(*Phase1b)
	if got := brief(reply.Accepted); got != "[(99, 11) 1 #1]" {
		t.Errorf("remembers %s", got)
	}
}

// PMS, section 2.2, P2c: where no acceptor of the quorum has accepted anything
// the leader may have its own value; section 3.5.2: it kept the proposals that
// came while it was passive, and has them decided now.
func TestAnAdoptedLeaderCommandsWhatItKeptWhilePassive(t *testing.T) {
	m := newTestMachine(t, 12, `{"watch": false}`)
	step(m, consensus.Input{Kind: consensus.InputStart})
	for _, slot := range []uint64{1, 2, 4} {
		if out := deliver(m, 1, &Propose{Slot: slot, Command: update(slot, 1)}); len(out) != 0 {
			t.Fatalf("a passive leader sent %+v", out)
		}
	}
	deliver(m, 21, &Phase1b{Ballot: ballot(0, 12), Floor: 1, Accepted: []PValue{pvalue(ballot(0, 11), 2, 7)}})
	got := ""
	for _, s := range deliver(m, 22, &Phase1b{Ballot: ballot(0, 12), Floor: 1}) {
		if s.To == 21 {
			got += describe(s.Message) + " "
		}
	}
	if want := "phase2a((0, 12), 1, #1) phase2a((0, 12), 2, #7) phase2a((0, 12), 4, #4) "; got != want {
		t.Errorf("sent %swant %s", got, want)
	}
}

// Section 3.5.2, Scouts: answers beyond the quorum are discarded.
func TestAnswersBeyondTheQuorumChangeNothing(t *testing.T) {
	m := leading(t)
	deliver(m, 1, &Propose{Slot: 1, Command: update(1, 1)})
	if out := deliver(m, 23, &Phase1b{Ballot: ballot(0, 11), Floor: 1, Accepted: []PValue{pvalue(ballot(0, 3), 1, 9)}}); len(out) != 0 {
		t.Errorf("a third phase1b sent %+v", out)
	}
	deliver(m, 21, &Phase2b{Ballot: ballot(0, 11), Slot: 1})
	if out := deliver(m, 22, &Phase2b{Ballot: ballot(0, 11), Slot: 1}); out[0].Message.(*Decision).Command.Sequence != 1 {
		t.Errorf("decided %+v", out[0].Message)
	}
	if out := deliver(m, 23, &Phase2b{Ballot: ballot(0, 11), Slot: 1}); len(out) != 0 {
		t.Errorf("a third phase2b sent %+v", out)
	}
}

// PMS, section 2.2: only all of an acceptor's pvalues make its answer. (They come
// in pages where they are many.)
func TestALeaderAwaitsAllPagesOfAnAnswer(t *testing.T) {
	m := newTestMachine(t, 12, `{"watch": false}`)
	step(m, consensus.Input{Kind: consensus.InputStart})
	deliver(m, 22, &Phase1b{Ballot: ballot(0, 12), Floor: 1})
	page := &Phase1b{Ballot: ballot(0, 12), Floor: 1, Accepted: []PValue{pvalue(ballot(0, 11), 1, 7)}, Next: 2}
	for i, want := range []int{1, 0} { // the same page twice is asked beyond once
		out := deliver(m, 21, page)
		if m.leaders[0].active || len(out) != want || want == 1 && out[0].Message.(*Phase1a).From != 2 {
			t.Fatalf("page %d: active %v, sent %+v", i, m.leaders[0].active, out)
		}
	}
	deliver(m, 21, &Phase1b{Ballot: ballot(0, 12), Floor: 1, Accepted: []PValue{pvalue(ballot(0, 11), 2, 8)}})
	if l := m.leaders[0]; !l.active || l.slots.at(1).command.Sequence != 7 || l.slots.at(2).command.Sequence != 8 {
		t.Error("not active with both pvalues after the last page")
	}
}

// PMMC, section 4.4: a read must see whatever may have been decided before it:
// also what the leader inherited and hasn't had decided again.
func TestAReadMustSeeTheSlotsThatALeaderInherits(t *testing.T) {
	m := newTestMachine(t, 12, `{"watch": false, "reads": "confirm"}`)
	step(m, consensus.Input{Kind: consensus.InputStart})
	deliver(m, 21, &Phase1b{Ballot: ballot(0, 12), Floor: 3, Accepted: []PValue{pvalue(ballot(0, 11), 5, 7)}})
	deliver(m, 22, &Phase1b{Ballot: ballot(0, 12), Floor: 1})
	deliver(m, 1, &ReadRequest{ID: 8})
	deliver(m, 21, &Confirmed{Ballot: ballot(0, 12), Round: 1})
	if out := deliver(m, 21, &Confirmed{Ballot: ballot(0, 12), Round: 1}); len(out) != 0 {
		t.Fatalf("one acceptor confirmed twice: %+v", out)
	}
	out := deliver(m, 23, &Confirmed{Ballot: ballot(0, 12), Round: 1})
	if len(out) != 1 || out[0].Message.(*ReadReady).Slot != 5 || out[0].Message.(*ReadReady).ID != 8 {
		t.Errorf("sent %+v, want the read ready at slot 5", out)
	}
}

// Section 2.1.5, Clients: a request goes to all replicas; each applies it once
// and responds, however often it is asked.
func TestACommandSentToAllReplicasIsAppliedOnce(t *testing.T) {
	n := newNetwork(t, 3, 1, 3, "", 1)
	for range 3 {
		n.send(update(1, 1), 1, 2, 3)
		n.run(300 * time.Millisecond)
	}
	n.run(3 * time.Second)
	for id, applied := range n.applied {
		if len(applied) != 1 || n.apps[id].Slot() != 1 {
			t.Errorf("replica %v applied %v in %d slots", id, applied, n.apps[id].Slot())
		}
	}
}

// Section 3.4.2: a reconfiguration doesn't alter the application's state. PMMC,
// section 2.1: it holds from its slot + WINDOW on, and not before.
func TestAReconfigurationHoldsFromWindowSlotsOnAndLeavesTheStateAlone(t *testing.T) {
	n := emptyNetwork(t, `{"window": 7}`, 1)
	n.start(members(1, 1, 1, 3, 3))
	n.send(update(1, 1), 1)
	n.run(time.Second)
	n.send(n.reconfiguration(1, change{Leaders: []string{"leader12"}, Acceptors: []string{"acceptor24"}}), 1)
	slots := map[uint64]map[uint64]bool{}
	n.onSend = func(_, _ consensus.NodeID, message consensus.Message) {
		if m, ok := message.(*Phase2a); ok {
			if slots[m.Configuration] == nil {
				slots[m.Configuration] = map[uint64]bool{}
			}
			slots[m.Configuration][m.Slot] = true
		}
	}
	n.run(2 * time.Second)
	n.send(update(2, 1), 1)
	n.run(2 * time.Second)
	if got := fmt.Sprint(sortedKeys(slots[0]), sortedKeys(slots[1])); got != "[2 3 4 5 6 7 8] [9]" {
		t.Errorf("slots of the configurations: %s", got)
	}
	if len(n.applied[1]) != 2 || len(n.answers[2]) == 0 {
		t.Errorf("applied %v", n.applied[1])
	}
}

// Flexible Paxos, section 4: n = 6, q2 = 2 decides with two acceptors alive once
// there is a leader, and can't elect another one.
func TestTwoOfSixAcceptorsDecideButDoNotElect(t *testing.T) {
	n := newNetwork(t, 2, 2, 6, `{"quorums": {"kind": "flexible", "phase2": 2}, "resend": "200ms"}`, 1)
	n.run(time.Second)
	for _, id := range []consensus.NodeID{21, 23, 24, 26} {
		n.crash(id)
	}
	for sequence := uint64(1); sequence <= 10; sequence++ {
		n.send(update(sequence, 1), 1, 2)
		n.run(100 * time.Millisecond)
	}
	n.run(2 * time.Second)
	if len(n.answers) != 10 {
		t.Fatalf("%d of 10 commands decided by two of six acceptors", len(n.answers))
	}
	n.crash(11)
	n.send(update(11, 1), 1, 2)
	n.run(time.Minute)
	if n.machines[12].counters.adopted > 0 || len(n.answers) != 10 {
		t.Fatal("a leader was elected by two of six acceptors")
	}
	for _, id := range []consensus.NodeID{21, 23, 24} {
		n.boot(id)
	}
	n.run(time.Minute)
	n.agree()
	if len(n.answers) != 11 {
		t.Error("nothing is decided although five of six acceptors live")
	}
}

// Flexible Paxos, section 3: quorums of the two phases must intersect; a
// configuration in which they needn't is refused, also as a change.
func TestQuorumsThatMayMissEachOtherAreRefused(t *testing.T) {
	for options, acceptors := range map[string]int{
		`{"quorums": {"kind": "flexible", "phase1": 4, "phase2": 2}}`: 6,
		`{"quorums": {"kind": "flexible", "phase1": 1, "phase2": 1}}`: 2,
		`{"quorums": {"kind": "grid", "rows": 2, "columns": 2}}`:      5,
	} {
		if err := checkConfig(consensus.Config{Members: members(1, 1, 0, acceptors, 0), Options: json.RawMessage(options)}); err == nil {
			t.Errorf("%s with %d acceptors passed", options, acceptors)
		}
	}
	config := consensus.Config{Members: members(1, 1, 0, 3, 1), Options: json.RawMessage(`{"quorums": {"kind": "flexible", "phase1": 2, "phase2": 2}}`)}
	if err := checkConfig(config); err != nil {
		t.Fatal(err)
	}
	if _, err := reconfigure(config, json.RawMessage(`{"acceptors": ["acceptor21", "acceptor22", "acceptor23", "acceptor24"]}`)); err == nil {
		t.Error("a change to four acceptors passed, of which two elect and two decide")
	}
}
