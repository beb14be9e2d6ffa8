package multipaxos

import (
	"fmt"
	"testing"
	"time"

	"quorumlab/node/consensus"
)

// One test a claim of the dissertation's chapters 2 and 3 and of Paxos Made
// Moderately Complex (PMMC), named as a sentence, the section cited.

// deliver hands one message to a machine and returns what it sends.
func deliver(m *Machine, from consensus.NodeID, message consensus.Message) []consensus.Outgoing {
	var out consensus.Outbox
	m.Step(0, consensus.Input{Kind: consensus.InputMessage, From: from, Message: message}, &out)
	return out.Messages
}

func newTestMachine(t *testing.T, self consensus.NodeID, options string) *Machine {
	t.Helper()
	n := newNetwork(t, 2, 2, 3, options, 1)
	return n.machines[self]
}

func ballot(round uint64, leader consensus.NodeID) Ballot {
	return Ballot{Round: round, Leader: leader}
}

func pvalue(b Ballot, slot, sequence uint64) PValue {
	return PValue{Ballot: b, Slot: slot, Command: update(sequence, 1)}
}

// Section 2.1.5, with PMMC's lexicographic order.
func TestBallotsAreTotallyOrderedWithABottom(t *testing.T) {
	ascending := []Ballot{{}, ballot(0, 11), ballot(0, 12), ballot(1, 11), ballot(1, 12), ballot(2, 1)}
	for i, a := range ascending {
		for j, b := range ascending {
			if got := a.Compare(b); got != compareInts(i, j) {
				t.Errorf("%v against %v: %d", a, b, got)
			}
		}
	}
	if !(Ballot{}).IsBottom() || FirstBallot(1).IsBottom() {
		t.Error("the bottom is the zero ballot alone")
	}
	if got := ballot(3, 12).After(11); got != ballot(4, 11) {
		t.Errorf("leader 11 follows (3, 12) by %v, want (4, 11)", got)
	}
}

func compareInts(i, j int) int {
	switch {
	case i < j:
		return -1
	case i > j:
		return 1
	}
	return 0
}

// Section 3.5.1: an acceptor adopts the first ballot it receives and higher
// ones; in either case it answers with the ballot it has adopted.
func TestAnAcceptorAdoptsOnlyHigherBallotsAndAlwaysAnswers(t *testing.T) {
	m := newTestMachine(t, 21, "")
	for _, step := range []struct{ asked, adopted Ballot }{
		{ballot(0, 12), ballot(0, 12)}, {ballot(0, 11), ballot(0, 12)},
		{ballot(0, 12), ballot(0, 12)}, {ballot(1, 11), ballot(1, 11)},
	} {
		out := deliver(m, step.asked.Leader, &Phase1a{Ballot: step.asked})
		if len(out) != 1 || out[0].To != step.asked.Leader || out[0].Message.(*Phase1b).Ballot != step.adopted {
			t.Errorf("phase1a%v: answered %+v, want the ballot %v", step.asked, out, step.adopted)
		}
	}
}

// Section 2.1.5: adopting a ballot is the promise not to accept lower ones.
func TestAnAcceptorNeverAcceptsBelowItsPromise(t *testing.T) {
	m := newTestMachine(t, 21, "")
	deliver(m, 12, &Phase1a{Ballot: ballot(1, 12)})
	out := deliver(m, 11, &Phase2a{PValue: pvalue(ballot(1, 11), 1, 1)})
	if got := out[0].Message.(*Phase2b).Ballot; got != ballot(1, 12) {
		t.Errorf("answered with ballot %v, want (1, 12)", got)
	}
	accepted := deliver(m, 12, &Phase1a{Ballot: ballot(2, 12)})[0].Message.(*Phase1b).Accepted
	if len(accepted) != 0 {
		t.Errorf("accepted %v", accepted)
	}
}

// PMMC section 4.1: of each slot the pvalue of the highest ballot is enough.
func TestAnAcceptorReturnsTheHighestPValueOfEachSlotInOrder(t *testing.T) {
	m := newTestMachine(t, 21, "")
	deliver(m, 11, &Phase2a{PValue: pvalue(ballot(0, 11), 2, 1)})
	deliver(m, 11, &Phase2a{PValue: pvalue(ballot(0, 11), 1, 2)})
	deliver(m, 12, &Phase2a{PValue: pvalue(ballot(0, 12), 2, 3)})
	accepted := deliver(m, 11, &Phase1a{Ballot: ballot(1, 11)})[0].Message.(*Phase1b).Accepted
	if got, want := fmt.Sprint(brief(accepted)), "[(0, 11) 1 #2, (0, 12) 2 #3]"; got != want {
		t.Errorf("returned %s, want %s", got, want)
	}
	if refused := deliver(m, 12, &Phase1a{Ballot: ballot(0, 12)})[0].Message.(*Phase1b); len(refused.Accepted) != 0 {
		t.Error("a refused leader was sent pvalues")
	}
}

func brief(pvalues []PValue) string {
	text := "["
	for i, p := range pvalues {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("%v %d #%d", p.Ballot, p.Slot, p.Command.Sequence)
	}
	return text + "]"
}

// Section 3.5.2: on adoption the command of the highest ballot replaces the
// leader's own proposal for the slot.
func TestANewLeaderPrefersTheValueOfTheHighestBallotToItsOwn(t *testing.T) {
	m := newTestMachine(t, 12, `{"watch": false}`)
	var out consensus.Outbox
	m.Step(0, consensus.Input{Kind: consensus.InputStart}, &out)
	deliver(m, 1, &Propose{Slot: 1, Command: update(9, 1)})
	deliver(m, 21, &Phase1b{Ballot: ballot(0, 12), Floor: 1, Accepted: []PValue{pvalue(ballot(0, 3), 1, 5)}})
	sent := deliver(m, 22, &Phase1b{Ballot: ballot(0, 12), Floor: 1, Accepted: []PValue{pvalue(ballot(0, 7), 1, 6)}})
	for _, s := range sent {
		if p := s.Message.(*Phase2a); p.Command.Sequence != 6 {
			t.Errorf("proposes command %d, want 6, accepted under the highest ballot", p.Command.Sequence)
		}
	}
	if len(sent) != 3 {
		t.Errorf("sent %d messages, want phase2a to three acceptors", len(sent))
	}
}

// Section 2.1.5, Quorums: f + 1 of 2f + 1, each counted once.
func TestACommanderCountsEachAcceptorOnce(t *testing.T) {
	m := leading(t)
	deliver(m, 1, &Propose{Slot: 1, Command: update(1, 1)})
	for i := range 3 {
		if out := deliver(m, 21, &Phase2b{Ballot: ballot(0, 11), Slot: 1}); len(out) != 0 {
			t.Fatalf("answer %d of one acceptor decided the slot", i+1)
		}
	}
	out := deliver(m, 22, &Phase2b{Ballot: ballot(0, 11), Slot: 1})
	if len(out) != 2 || out[0].Message.Label().Kind != "decision" {
		t.Errorf("after two of three acceptors: %+v, want a decision for each replica", out)
	}
}

// leading is leader 11 after its first ballot was adopted.
func leading(t *testing.T) *Machine {
	m := newTestMachine(t, 11, "")
	var out consensus.Outbox
	m.Step(0, consensus.Input{Kind: consensus.InputStart}, &out)
	deliver(m, 21, &Phase1b{Ballot: ballot(0, 11), Floor: 1})
	deliver(m, 22, &Phase1b{Ballot: ballot(0, 11), Floor: 1})
	if !m.Status().Leading {
		t.Fatal("not active after a majority adopted its ballot")
	}
	return m
}

// Section 3.5.2: a proposal that is already present is not commanded again.
func TestALeaderCommandsOnlyTheFirstProposalOfASlot(t *testing.T) {
	m := leading(t)
	if out := deliver(m, 1, &Propose{Slot: 1, Command: update(1, 1)}); len(out) != 3 {
		t.Errorf("the first proposal sent %d messages, want 3", len(out))
	}
	if out := deliver(m, 2, &Propose{Slot: 1, Command: update(2, 1)}); len(out) != 0 {
		t.Errorf("the second proposal sent %+v", out)
	}
}

// PMMC section 4.2: a slot that an acceptor has forgotten was committed by
// every replica; no leader may have another command decided there.
func TestALeaderLearnsFromAcceptorsWhichSlotsAreOver(t *testing.T) {
	m := newTestMachine(t, 12, `{"watch": false}`)
	var out consensus.Outbox
	m.Step(0, consensus.Input{Kind: consensus.InputStart}, &out)
	deliver(m, 1, &Propose{Slot: 3, Command: update(9, 1)})
	deliver(m, 21, &Phase1b{Ballot: ballot(0, 12), Floor: 5})
	for _, s := range deliver(m, 22, &Phase1b{Ballot: ballot(0, 12), Floor: 1}) {
		t.Errorf("sent %s although slot 3 is over", describe(s.Message))
	}
	if out := deliver(m, 2, &Propose{Slot: 4, Command: update(9, 1)}); len(out) != 0 {
		t.Errorf("commands slot 4, which is over: %+v", out)
	}
}

// PMMC section 4.2: what every replica has committed is forgotten, and the
// acceptor says from where on it remembers.
func TestAnAcceptorForgetsBelowTheFloorAndSaysSo(t *testing.T) {
	m := newTestMachine(t, 21, "")
	for slot := uint64(1); slot <= 6; slot++ {
		deliver(m, 11, &Phase2a{PValue: pvalue(ballot(0, 11), slot, slot), Floor: 1})
	}
	deliver(m, 11, &Phase2a{PValue: pvalue(ballot(0, 11), 7, 7), Floor: 6})
	reply := deliver(m, 12, &Phase1a{Ballot: ballot(1, 12), Floor: 1})[0].Message.(*Phase1b)
	if got := brief(reply.Accepted); reply.Floor != 6 || got != "[(0, 11) 6 #6, (0, 11) 7 #7]" {
		t.Errorf("floor %d, pvalues %s", reply.Floor, got)
	}
	deliver(m, 11, &Phase2a{PValue: pvalue(ballot(2, 11), 3, 3), Floor: 1})
	if n := m.acceptors[0].accepted.end - m.acceptors[0].accepted.first; n != 2 {
		t.Errorf("remembers %d pvalues after one below its floor, want 2", n)
	}
}

// A replica that nobody sends requests to has only decisions to learn from: a
// lost one must come again, even if nothing follows it.
func TestALostDecisionIsSentAgain(t *testing.T) {
	n := newNetwork(t, 2, 1, 3, `{"resend": "200ms"}`, 1)
	n.run(time.Second)
	n.cut = func(from, to consensus.NodeID) bool {
		return from == 11 && to == 2 && n.now < consensus.Time(2*time.Second)
	}
	n.send(update(1, 1), 1)
	n.run(10 * time.Second)
	n.agree()
	if n.apps[2].Slot() != 1 {
		t.Errorf("replica 2 stands at slot %d, want 1", n.apps[2].Slot())
	}
}

// Section 3.4.2: slot_in < slot_out + WINDOW, and the rest waits.
func TestAReplicaProposesAtMostWindowCommandsAhead(t *testing.T) {
	n := newNetwork(t, 1, 1, 1, `{"window": 3, "resend": "10s"}`, 1)
	n.dead[21] = true // nothing is ever decided
	for sequence := uint64(1); sequence <= 10; sequence++ {
		n.send(update(sequence, 1), 1)
	}
	n.run(5 * time.Second)
	r := n.machines[1].replica
	if r.proposing != 3 || r.slotIn != 4 || r.requests.len() != 7 {
		t.Errorf("%d proposals, slot_in %d, %d requests; want 3, 4, 7", r.proposing, r.slotIn, r.requests.len())
	}
}

// Section 3.4.2: if another command is decided for the slot, the replica's own
// returns to the requests and finds another slot.
func TestACommandWhoseSlotWentToAnotherIsProposedAgain(t *testing.T) {
	m := newTestMachine(t, 1, "")
	var out consensus.Outbox
	m.Step(0, consensus.Input{Kind: consensus.InputCommand, From: testClient, Command: update(1, 1)}, &out)
	sent := deliver(m, 11, &Decision{Slot: 1, Command: update(2, 1)})
	if len(sent) != 2 || sent[0].Message.(*Propose).Slot != 2 || sent[0].Message.(*Propose).Command.Sequence != 1 {
		t.Errorf("sent %+v, want command 1 proposed to both leaders for slot 2", sent)
	}
}

// Section 3.4.2: decisions are committed in slot order, whatever order they
// come in.
func TestDecisionsAreCommittedInSlotOrder(t *testing.T) {
	m := newTestMachine(t, 1, "")
	var committed []uint64
	for _, slot := range []uint64{3, 1, 1, 4, 2} {
		var out consensus.Outbox
		m.Step(0, consensus.Input{Kind: consensus.InputMessage, From: 11, Message: &Decision{Slot: slot, Command: update(slot, 1)}}, &out)
		for _, c := range out.Committed {
			committed = append(committed, c.Slot)
		}
	}
	if fmt.Sprint(committed) != "[1 2 3 4]" {
		t.Errorf("committed %v", committed)
	}
}

// Section 3.5.2: a pre-empted leader becomes passive, increments the round
// beyond that of the winner and scouts again.
func TestAPreemptedLeaderTriesAHigherRound(t *testing.T) {
	m := newTestMachine(t, 11, `{"watch": false}`)
	var out consensus.Outbox
	m.Step(0, consensus.Input{Kind: consensus.InputStart}, &out)
	sent := deliver(m, 21, &Phase1b{Ballot: ballot(4, 12)})
	if len(sent) != 3 || sent[0].Message.(*Phase1a).Ballot != ballot(5, 11) {
		t.Errorf("sent %+v, want phase1a of (5, 11) to each acceptor", sent)
	}
	for _, acceptor := range []consensus.NodeID{21, 22, 23} {
		if late := deliver(m, acceptor, &Phase1b{Ballot: ballot(0, 11)}); len(late) != 0 || m.Status().Leading {
			t.Fatal("answers to the abandoned ballot counted")
		}
	}
}

// PMMC section 3: a passive leader watches the active one; it takes over once
// that one is silent, and not before.
func TestAWatchingLeaderTakesOverOnlyFromASilentOne(t *testing.T) {
	n := newNetwork(t, 2, 3, 3, `{"ping_interval": "100ms", "ping_timeout": "500ms"}`, 1)
	n.run(time.Minute)
	if m := n.machines[11]; !m.leaders[0].active || m.counters.ballots != 1 {
		t.Fatalf("leader 11: active %v after %d ballots, want undisturbed", m.leaders[0].active, m.counters.ballots)
	}
	if n.machines[12].counters.ballots+n.machines[13].counters.ballots != 0 {
		t.Fatal("a watching leader scouted although the active one lives")
	}
	n.dead[11] = true
	n.run(time.Minute)
	n.send(update(1, 1), 1, 2) // a leader that lost its ballot learns it by using it
	n.run(time.Minute)
	active, ballots := 0, uint64(0)
	for _, id := range []consensus.NodeID{12, 13} {
		if n.machines[id].leaders[0].active {
			active++
		}
		ballots += n.machines[id].counters.ballots
	}
	if active != 1 || ballots > 4 {
		t.Errorf("%d active leaders after %d ballots, want one, soon", active, ballots)
	}
}

// A no-op fills a slot that its only proposer took to its grave.
func TestAGapLeftByADeadReplicaIsFilled(t *testing.T) {
	n := newNetwork(t, 2, 1, 3, `{"resend": "200ms"}`, 1)
	n.cut = func(from, to consensus.NodeID) bool { return from == 1 && n.now < consensus.Time(200*time.Millisecond) }
	n.send(update(1, 1), 1) // replica 1 proposes it for slot 1: lost
	n.run(200 * time.Millisecond)
	n.send(update(2, 1), 1)      // slot 2: arrives
	n.run(45 * time.Millisecond) // dead before it asks again for slot 1
	n.dead[1] = true
	n.run(10 * time.Second)
	if len(n.answers[2]) == 0 {
		t.Error("command 2 is decided for slot 2 but never committed: slot 1 has no proposer")
	}
	if n.machines[2].counters.noops == 0 {
		t.Error("no no-op was proposed")
	}
}

// The prediction must equal what the machines do, undisturbed, in virtual time.
func TestThePredictedLatencyIsThatOfAnUndisturbedRun(t *testing.T) {
	n := newNetwork(t, 2, 2, 3, "", 1)
	n.run(5 * time.Second)
	start := n.now
	n.send(update(1, 1), 1, 2)
	var answered consensus.Time
	for answered == 0 && n.now.Sub(start) < time.Second {
		n.run(time.Millisecond)
		if len(n.answers) > 0 {
			answered = n.now
		}
	}
	var members []consensus.Member
	for _, id := range n.ids {
		members = append(members, consensus.Member{ID: id, Roles: roleOf(n.machines[id])})
	}
	predicted := Protocol.PredictLatency(consensus.Config{Members: members}, testClient,
		func(_, _ consensus.NodeID) time.Duration { return 40 * time.Millisecond })
	if measured := answered.Sub(start) + 40*time.Millisecond; predicted != measured || predicted != 240*time.Millisecond {
		t.Errorf("predicted %v, measured %v, want 240ms", predicted, measured)
	}
}

func roleOf(m *Machine) []string {
	switch {
	case m.replica != nil:
		return []string{RoleReplica}
	case m.leads:
		return []string{RoleLeader}
	}
	return []string{RoleAcceptor}
}
