package faults

import (
	"slices"
	"strings"
	"testing"
	"time"

	"quorumlab/node/control"
	"quorumlab/results"
)

func pointAt(kind, whom string, times int, span time.Duration) Fault {
	f := Fault{
		ID: "point", Kind: kind, Whom: strings.Fields(whom),
		Trigger: Trigger{Failpoint: &control.Failpoint{Place: control.AfterSend, Kind: "phase2a", Slot: 100, To: "acceptor1"}, Times: times},
	}
	if span > 0 {
		f.For = lasting(span)
	}
	return f
}

// armedAt are the nodes with a failpoint of that action, as they were last told.
func (l *lab) armedAt(action string) []string {
	var names []string
	for _, node := range l.world.Cluster.Nodes {
		if slices.ContainsFunc(l.nodes[node.Name].Injection.Failpoints, func(p control.Failpoint) bool { return p.Action == action }) {
			names = append(names, node.Name)
		}
	}
	return names
}

func (l *lab) reach(at time.Duration, node string) []Order {
	l.t.Helper()
	points := l.nodes[node].Injection.Failpoints
	if len(points) == 0 {
		l.t.Fatalf("%s has no failpoint", node)
	}
	l.until(at)
	return l.carry(l.d.Reached(at, node, control.Reached{ID: points[0].ID, Label: trace("phase2a", 100, 3).Label, To: "acceptor1"}))
}

func TestANodeThatCrashesAtAFailpointIsDownAndTheOthersAreDisarmed(t *testing.T) {
	l := newLab(t, testWorld(), pointAt("crash", "leaders", 0, 2*second))
	begun := l.carry(l.d.Begin())
	if len(begun) != 1 || begun[0].Occurrence != 0 || len(begun[0].Expect) != 0 || len(begun[0].Nodes) != 2 {
		t.Fatalf("it begins with %+v", begun)
	}
	want := control.Failpoint{ID: "point#1", Place: control.AfterSend, Kind: "phase2a", Slot: 100, To: "acceptor1", Action: control.ActionStall}
	same(t, "armed", l.nodes["leader2"].Injection.Failpoints, []control.Failpoint{want})
	if record := l.record(0); record.Outcome != results.FaultNeverFired || record.Trigger != "the failpoint after_send phase2a slot 100 to acceptor1" {
		t.Errorf("before it is reached: %+v", record)
	}
	orders := l.reach(3*second, "leader2")
	if len(orders) != 1 || orders[0].Heal || orders[0].Requested != 3*second || len(orders[0].Nodes) != 2 || !orders[0].Nodes[1].Down || orders[0].Nodes[0].Down {
		t.Fatalf("reached: %+v", orders)
	}
	same(t, "expected", kindsOf(orders[0].Expect), []ExpectationKind{ExpectDown})
	same(t, "armed", l.armedAt(control.ActionStall), nil)
	healed := l.until(5 * second)
	if len(healed) != 1 || !healed[0].Heal || healed[0].Nodes[0].Down || len(healed[0].Nodes[0].Injection.Failpoints) != 0 {
		t.Errorf("healed: %+v", healed)
	}
	record := l.record(0)
	if record.Outcome != results.FaultProved || *record.AppliedNS != 3e9 || *record.ObservedNS != 3e9 || len(record.Nodes) != 1 || record.Evidence[0].Kind != "failpoint" ||
		record.Trigger != "the failpoint after_send phase2a slot 100 to acceptor1, reached at leader2" ||
		record.Evidence[0].Text != "the node has reached the failpoint after_send phase2a slot 100 to acceptor1: phase2a slot 100 round 3 to acceptor1" {
		t.Errorf("the record is %+v", record)
	}
	l.end()
	if len(l.d.Records()) != 1 {
		t.Errorf("there are %d records", len(l.d.Records()))
	}
}

func TestANodeThatStallsKeepsItsFailpointUntilItIsHealed(t *testing.T) {
	jump := fault("clock", "leader1", 4*second, 0)
	jump.Jump = second
	l := newLab(t, testWorld(), pointAt("pause", "leader", 0, 4*second), fault("isolate", "replica1", 5*second, 0), jump)
	l.carry(l.d.Begin())
	same(t, "armed", l.armedAt(control.ActionStall), []string{"leader1"})
	orders := l.reach(3*second, "leader1")
	if len(orders) != 1 || len(orders[0].Expect) != 0 || orders[0].Nodes[0].Paused {
		t.Errorf("reached: %+v", orders)
	}
	l.until(5 * second)
	same(t, "armed", l.armedAt(control.ActionStall), []string{"leader1"}) // other orders say so too
	l.until(7 * second)
	same(t, "armed", l.armedAt(control.ActionStall), nil)
	if record := l.record(0); record.Outcome != results.FaultProved || record.HealedNS == nil || record.Kind != "pause" {
		t.Errorf("the record is %+v", record)
	}
}

func TestAProcessThatIsStartedAgainIsNotStalledAgain(t *testing.T) {
	jump := fault("clock", "leader1", 6*second, 0)
	jump.Jump = second
	l := newLab(t, testWorld(), pointAt("pause", "", 0, 0), fault("crash", "leader1", 4*second, second), jump)
	l.carry(l.d.Begin())
	if armed := l.armedAt(control.ActionStall); len(armed) != 9 {
		t.Errorf("without whom it is armed at %v, want at all servers", armed)
	}
	l.reach(3*second, "leader1")
	l.until(5 * second)
	if state := l.node("leader1"); state.Down || len(state.Injection.Failpoints) != 0 {
		t.Errorf("started again it is %+v", state)
	}
	if jumped := l.until(6 * second); len(jumped[0].Expect) != 1 {
		t.Error("what happens to it then is taken for hidden")
	}
	l.end()
	if record := l.record(0); record.Outcome != results.FaultProved {
		t.Errorf("the record is %+v", record)
	}
}

func TestAFailpointThatMayHappenAgainIsArmedAgain(t *testing.T) {
	for _, c := range []struct {
		span  time.Duration
		armed []string
	}{{2 * second, []string{"leader1", "leader2"}}, {0, []string{"leader2"}}} {
		l := newLab(t, testWorld(), pointAt("crash", "leaders", 2, c.span))
		l.carry(l.d.Begin())
		l.reach(3*second, "leader1")
		if (len(l.armedAt(control.ActionStall)) > 0) != (c.span == 0) {
			t.Errorf("for %v: armed at %v", c.span, l.armedAt(control.ActionStall))
		}
		l.until(6 * second)
		same(t, "armed again", l.armedAt(control.ActionStall), c.armed)
		if id := l.nodes["leader2"].Injection.Failpoints[0].ID; id != "point#2" {
			t.Errorf("its ID is %s", id)
		}
		l.reach(8*second, "leader2")
		l.until(20 * second)
		same(t, "armed a third time", l.armedAt(control.ActionStall), nil)
		if len(l.d.Records()) != 2 || l.record(1).Occurrence != 2 || l.record(1).Nodes[0] != "leader2" {
			t.Errorf("the records are %+v", l.d.Records())
		}
	}
}

func TestOfTwoNodesThatReachAFailpointTheFirstIsHitAndTheOtherGoesOn(t *testing.T) {
	for _, kind := range []string{"crash", "pause"} {
		l := newLab(t, testWorld(), pointAt(kind, "leaders", 0, second))
		l.carry(l.d.Begin())
		reached := control.Reached{ID: "point#1", Label: trace("phase2a", 100, 1).Label}
		l.carry(l.d.Reached(3*second, "leader2", reached))
		for _, late := range []time.Duration{3*second + 1, 3*second + 2, 5 * second} { // told twice, and after it was healed
			if other := l.until(late); late == 5*second && len(other) != 1 {
				t.Errorf("%s: healed by %+v", kind, other)
			}
			if other := l.d.Reached(late, "leader1", reached); other != nil {
				t.Errorf("%s: the second one at %v: %+v", kind, late, other)
			}
			first, other := l.node("leader2"), l.node("leader1")
			hit := first.Down || len(first.Injection.Failpoints) > 0
			if hit != (late < 4*second) || other.Down || len(other.Injection.Failpoints) > 0 || len(l.nodes["leader1"].Injection.Failpoints) > 0 {
				t.Errorf("%s: at %v they are %+v, %+v", kind, late, first, other)
			}
		}
		if record := l.record(0); record.Outcome != results.FaultProved || !slices.Equal(record.Nodes, []string{"leader2"}) || len(l.d.Records()) != 1 {
			t.Errorf("%s: the records are %+v", kind, l.d.Records())
		}
		if unknown := l.d.Reached(6*second, "acceptor1", reached); unknown != nil {
			t.Errorf("where it wasn't armed: %+v", unknown)
		}
	}
}

func TestACrashAtAFailpointIsAppliedOnceTheProcessIsKilled(t *testing.T) {
	l := newLab(t, testWorld(), pointAt("crash", "leaders", 0, 2*second))
	arming := l.d.Begin()
	killing := l.d.Reached(second, "leader1", control.Reached{ID: "point#1"})
	l.d.Done(arming[0], second+1, nil) // the other one took longer to arm
	if record := l.record(0); record.AppliedNS != nil {
		t.Errorf("it is applied before it is carried out: %+v", record)
	}
	l.d.Done(killing[0], second+5, nil)
	if record := l.record(0); *record.RequestedNS != 1e9 || *record.AppliedNS != 1e9+5 {
		t.Errorf("the record is %+v", record)
	}
}

func TestAFailpointReachedWhileTheLoadEndsHitsNobody(t *testing.T) {
	for _, kind := range []string{"crash", "pause"} {
		l := newLab(t, testWorld(), pointAt(kind, "leaders", 0, 0))
		l.carry(l.d.Begin())
		ending := l.d.End(100 * second)
		if len(ending) != 1 || len(ending[0].Nodes) != 2 || !ending[0].Heal {
			t.Fatalf("it is disarmed by %+v", ending)
		}
		if orders := l.d.Reached(100*second, "leader1", control.Reached{ID: "point#1"}); orders != nil {
			t.Errorf("%s: %+v", kind, orders)
		}
		l.carry(ending)
		record := l.record(0)
		if state := l.node("leader1"); state.Down || len(state.Injection.Failpoints) > 0 || record.Outcome != results.FaultNeverFired ||
			record.Reason != "leader1 came to it when the load was over" {
			t.Errorf("%s: %+v, %+v", kind, state, record)
		}
	}
}

func TestAFailpointOfALeaderWhileNobodyLeadsIsArmedAtAllThatCouldLead(t *testing.T) {
	for whom, want := range map[string][]string{
		"leader": {"leader1", "leader2"}, "leader acceptor1": {"leader1", "leader2", "acceptor1"}, "followers": {"leader1", "leader2"},
	} {
		l := newLab(t, testWorld(), pointAt("crash", whom, 0, second))
		l.leads = nil
		l.carry(l.d.Begin())
		same(t, whom, l.armedAt(control.ActionStall), want)
	}
	// Put back when the leader is started again, before another is elected.
	l := newLab(t, testWorld(), pointAt("crash", "leader", 2, second))
	l.carry(l.d.Begin())
	same(t, "armed", l.armedAt(control.ActionStall), []string{"leader1"})
	l.reach(3*second, "leader1")
	l.leads = nil
	l.until(4 * second)
	same(t, "armed again", l.armedAt(control.ActionStall), []string{"leader1", "leader2"})
	l.reach(5*second, "leader2")
	if record := l.record(1); record.Outcome != results.FaultProved || !slices.Equal(record.Nodes, []string{"leader2"}) {
		t.Errorf("the record is %+v", record)
	}
}

func TestAFailpointThatNobodyCanHaveHitsNobody(t *testing.T) {
	l := newLab(t, testWorld(), pointAt("crash", "leader1", 2, 0))
	l.carry(l.d.Begin())
	l.reach(second, "leader1") // for good
	if record := l.record(1); record.Outcome != results.FaultNobody {
		t.Errorf("the record is %+v", record)
	}
}

func TestAFailpointWithACountThatIsNeverFulfilledDoesNotSayThatNobodyCame(t *testing.T) {
	point := pointAt("crash", "leaders", 0, 0)
	for count, want := range map[int]string{0: "no node has reached it", 1: "no node has reached it", 3: "no node came to it often enough, which is 3 times"} {
		counted := *point.Trigger.Failpoint
		counted.Count = count
		point.Trigger.Failpoint = &counted
		l := newLab(t, testWorld(), point)
		l.carry(l.d.Begin())
		l.end()
		if record := l.record(0); record.Outcome != results.FaultNeverFired || record.Reason != want {
			t.Errorf("count %d: %+v", count, record)
		}
	}
}

func TestAFailpointAfterSendingNeedsTheReceiversAcknowledgement(t *testing.T) {
	l := newLab(t, testWorld(), pointAt("crash", "leaders", 0, 0))
	l.carry(l.d.Begin())
	l.carry(l.d.Reached(second, "leader1", control.Reached{ID: "point#1", Unacknowledged: true}))
	record := l.record(0)
	if record.Outcome != results.FaultUnproved || !strings.Contains(record.Reason, "acknowledgement") || !l.node("leader1").Down {
		t.Errorf("the record is %+v", record)
	}
}
