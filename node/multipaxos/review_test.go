package multipaxos

import (
	"testing"
	"time"

	"quorumlab/node/consensus"
)

// A scout that asked again sent its ballot although the disk, slower than the
// resend interval, didn't have it yet.
func TestAScoutAsksAgainOnlyWithADurableBallot(t *testing.T) {
	m := newTestMachine(t, 11, `{"resend": "10ms"}`)
	var out consensus.Outbox
	m.Step(0, consensus.Input{Kind: consensus.InputStart}, &out)
	out.Reset()
	m.Step(consensus.Time(20*time.Millisecond), consensus.Input{Kind: consensus.InputTimer, Timer: consensus.Timer{Kind: timerTick}}, &out)
	for _, o := range out.Messages {
		if _, ok := o.Message.(*Phase1a); ok && !o.AfterSync {
			t.Fatalf("%s leaves before its ballot is durable", describe(o.Message))
		}
	}
}

// The consequence of it: the same ballot used in two lives.
func TestABallotIsNeverUsedInTwoLivesWithASlowDisk(t *testing.T) {
	n := emptyNetwork(t, `{"resend": "50ms"}`, 1)
	n.sync = 300 * time.Millisecond
	n.start(members(1, 1, 0, 3, 0))
	n.run(200 * time.Millisecond)
	n.crash(11)
	n.boot(11)
	n.run(5 * time.Second)
}

// Two changes in quick succession: the first configuration's leader hears no more
// of the replicas' progress and never retires.
func TestALeaderRetiresAlthoughTheNextChangeFollowsAtOnce(t *testing.T) {
	n := emptyNetwork(t, `{"window": 5}`, 1)
	n.start(members(2, 1, 2, 3, 0))
	n.delay = func() time.Duration { return time.Millisecond }
	n.run(1010 * time.Millisecond)
	n.send(n.reconfiguration(1, change{Leaders: []string{"leader12"}}), 1)
	n.run(20 * time.Millisecond)
	n.send(n.reconfiguration(2, change{Leaders: []string{"leader13"}}), 1)
	n.run(10 * time.Second)
	for s := uint64(1); s <= 20; s++ {
		n.send(update(s, 1), 1, 2)
		n.run(50 * time.Millisecond)
	}
	n.run(10 * time.Second)
	decisions := map[consensus.NodeID]int{}
	n.onSend = func(from, _ consensus.NodeID, m consensus.Message) {
		if _, ok := m.(*Decision); ok {
			decisions[from]++
		}
	}
	n.run(time.Minute)
	t.Logf("latest %d slotOut %d, decisions resent in an idle minute: %v", n.machines[1].replica.latest().Number, n.machines[1].replica.slotOut, decisions)
	for _, id := range []consensus.NodeID{11, 12} {
		if len(n.machines[id].leaders) > 0 {
			l := n.machines[id].leaders[0]
			t.Errorf("leader %v of configuration %d hasn't retired: first %d end %d", id, l.configuration.Number, l.slots.first, l.end)
		}
	}
	for _, id := range []consensus.NodeID{21, 22, 23} {
		if k := len(n.machines[id].acceptors); k > 1 {
			t.Errorf("acceptor %v holds %d configurations", id, k)
		}
	}
}

// A process that leads nothing but accepts restarts from a checkpoint.
func TestARestartFromACheckpointLetsTheLeaderGoOn(t *testing.T) {
	n := emptyNetwork(t, `{"resend": "200ms"}`, 1)
	var all []consensus.Member
	for i := consensus.NodeID(1); i <= 3; i++ {
		all = append(all, consensus.Member{ID: i, Name: "n" + i.String(), Roles: []string{RoleReplica, RoleLeader, RoleAcceptor}})
	}
	n.start(all)
	n.run(time.Second)
	s := uint64(0)
	load := func(k int) {
		for range k {
			s++
			n.send(update(s, 1), 1, 2, 3)
			n.run(20 * time.Millisecond)
		}
	}
	load(50)
	n.checkpoint(3)
	before := n.machines[1].counters.preempted
	n.crash(3)
	n.boot(3)
	load(50)
	n.run(5 * time.Second)
	if after := n.machines[1].counters.preempted; after != before {
		t.Errorf("the restart of a passive process pre-empted the leader %d times", after-before)
	}
	n.agree()
}

// The first leader is dead for good, another leads, a third comes back: it asked
// the first one alone, and deposed whoever led.
func TestALeaderThatComesBackLetsWhoeverLeadsGoOn(t *testing.T) {
	n := newNetwork(t, 1, 3, 3, `{"resend": "200ms"}`, 1)
	s := uint64(0)
	load := func(k int) {
		for range k {
			s++
			n.send(update(s, 1), 1)
			n.run(50 * time.Millisecond)
		}
	}
	load(20)
	n.crash(11)
	load(100)
	leads, back := consensus.NodeID(12), consensus.NodeID(13)
	if n.machines[13].leaders[0].active {
		leads, back = 13, 12
	}
	n.crash(leads)
	load(100)
	leads, back = back, leads
	l := n.machines[leads].leaders[0]
	before := l.ballot
	if !l.active {
		t.Fatalf("%v doesn't lead", leads)
	}
	n.boot(back)
	load(200)
	if !l.active || l.ballot != before {
		t.Errorf("%v led with %v and was deposed by the return of %v: %v", leads, before, back, n.machines[back].leaders[0].ballot)
	}
}

// A read must see a slot that was accepted by few and then died out.
func TestAReadDoesNotWaitForASlotThatDiedOut(t *testing.T) {
	n := newNetwork(t, 2, 2, 3, `{"reads": "confirm", "resend": "200ms"}`, 1)
	n.run(time.Second)
	n.send(update(1, 1), 1, 2)
	n.run(time.Second)
	// Slot 2 reaches acceptor 21 alone, and leader 11 dies with replica 1.
	n.catch = func(_, to consensus.NodeID, m consensus.Message) bool {
		p, ok := m.(*Phase2a)
		return ok && p.Slot == 2 && to != 21
	}
	n.cut = func(from, to consensus.NodeID) bool { return from == 1 && to == 12 }
	n.send(update(2, 1), 1)
	n.run(100 * time.Millisecond)
	n.crash(1)
	n.crash(11)
	// 12 takes over with 21 in its quorum; its phase2a are lost but a read is confirmed.
	n.cut = func(from, to consensus.NodeID) bool { return from == 12 && to == 22 || from == 22 && to == 12 }
	n.run(3 * time.Second)
	n.send(readOf(3, 1), 2)
	n.run(500 * time.Millisecond)
	l := n.machines[12].leaders[0]
	t.Logf("12 active %v highest %d, ready %+v", l.active, l.highest, n.machines[2].replica.reading.ready)
	n.crash(12)
	n.crash(21)
	n.catch = nil
	n.cut = func(_, _ consensus.NodeID) bool { return false }
	n.boot(11)
	n.run(5 * time.Second)
	n.send(readOf(4, 1), 2)
	n.run(20 * time.Second)
	t.Logf("11 active %v highest %d, ready %+v", n.machines[11].leaders[0].active, n.machines[11].leaders[0].highest, n.machines[2].replica.reading.ready)
	for s := uint64(3); s <= 4; s++ {
		if len(n.answers[s]) == 0 {
			t.Errorf("read %d is never answered", s)
		}
	}
}

// A replica lags when the configuration changes, and the old leaders go.
func TestALateReplicaCatchesUpAfterTheOldConfigurationIsGone(t *testing.T) {
	n := emptyNetwork(t, `{"window": 5, "resend": "200ms"}`, 1)
	n.start(members(2, 1, 1, 3, 3))
	n.run(time.Second)
	n.send(update(1, 1), 1, 2)
	n.run(time.Second)
	n.cut = func(from, to consensus.NodeID) bool { return to == 2 }
	n.send(n.reconfiguration(2, change{Leaders: []string{"leader12"}, Acceptors: []string{"acceptor24", "acceptor25", "acceptor26"}}), 1)
	n.run(5 * time.Second)
	r := n.machines[1].replica
	if r.configurationOf(r.slotOut).Number != 1 {
		t.Fatal("not in force")
	}
	for _, id := range []consensus.NodeID{11, 21, 22, 23} {
		n.crash(id)
	}
	n.cut = func(_, _ consensus.NodeID) bool { return false }
	for s := uint64(3); s <= 30; s++ {
		n.send(update(s, 1), 1, 2)
		n.run(50 * time.Millisecond)
	}
	n.run(30 * time.Second)
	t.Logf("slotOut %d and %d", n.machines[1].replica.slotOut, n.machines[2].replica.slotOut)
	n.agree()
}

// Status of a leader says a configuration is in force that isn't.
func TestALeadersStatusGivesTheConfigurationInForce(t *testing.T) {
	n := emptyNetwork(t, `{"window": 100}`, 1)
	all := members(1, 1, 0, 3, 0)
	all[0].Roles = []string{RoleReplica, RoleLeader}
	n.start(all)
	n.run(time.Second)
	deliver(n.machines[1], 1, &Configure{Configuration: Configuration{Number: 1, First: 100, Leaders: []consensus.NodeID{1}, Acceptors: []consensus.NodeID{21}}})
	if s := n.machines[1].Status(); s.Configuration != 0 {
		t.Errorf("at slot %d the status says configuration %d", s.Slot, s.Configuration)
	}
}

// One of three replicas ran ahead by more than retain slots and died for good:
// what it alone had was forgotten by leaders and acceptors.
func TestOneReplicaOfThreeMayDieForGood(t *testing.T) {
	n := newNetwork(t, 3, 1, 3, `{"resend": "200ms", "retain": 10}`, 1)
	n.run(time.Second)
	n.cut = func(from, to consensus.NodeID) bool { return from == 11 && (to == 2 || to == 3) }
	for s := uint64(1); s <= 50; s++ {
		n.send(update(s, 1), 1)
		n.run(50 * time.Millisecond)
	}
	n.run(time.Second)
	n.crash(1)
	n.cut = func(_, _ consensus.NodeID) bool { return false }
	n.send(update(51, 1), 2, 3)
	n.run(30 * time.Second)
	if len(n.answers[51]) == 0 {
		t.Errorf("replicas 2 and 3 stay at slot_out %d: slots below %d are nowhere", n.machines[2].replica.slotOut, n.machines[11].leaders[0].slots.first)
	}
}
