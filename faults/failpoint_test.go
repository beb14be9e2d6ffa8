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
	want := control.Failpoint{ID: "point#1", Place: control.AfterSend, Kind: "phase2a", Slot: 100, To: "acceptor1", Action: control.ActionCrash}
	same(t, "armed", l.nodes["leader2"].Injection.Failpoints, []control.Failpoint{want})
	if record := l.record(0); record.Outcome != results.FaultNeverFired || record.Trigger != "the failpoint after_send phase2a slot 100 to acceptor1" {
		t.Errorf("before it is reached: %+v", record)
	}
	orders := l.reach(3*second, "leader2")
	if len(orders) != 1 || orders[0].Heal || orders[0].Requested != 3*second || len(orders[0].Nodes) != 2 || !orders[0].Nodes[1].Down || orders[0].Nodes[0].Down {
		t.Fatalf("reached: %+v", orders)
	}
	same(t, "expected", kindsOf(orders[0].Expect), []ExpectationKind{ExpectDown})
	same(t, "armed", l.armedAt(control.ActionCrash), nil)
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
		if (len(l.armedAt(control.ActionCrash)) > 0) != (c.span == 0) {
			t.Errorf("for %v: armed at %v", c.span, l.armedAt(control.ActionCrash))
		}
		l.until(6 * second)
		same(t, "armed again", l.armedAt(control.ActionCrash), c.armed)
		if id := l.nodes["leader2"].Injection.Failpoints[0].ID; id != "point#2" {
			t.Errorf("its ID is %s", id)
		}
		l.reach(8*second, "leader2")
		l.until(20 * second)
		same(t, "armed a third time", l.armedAt(control.ActionCrash), nil)
		if len(l.d.Records()) != 2 || l.record(1).Occurrence != 2 || l.record(1).Nodes[0] != "leader2" {
			t.Errorf("the records are %+v", l.d.Records())
		}
	}
}

func TestTwoNodesThatReachAFailpointBeforeTheyAreDisarmedAreBothHit(t *testing.T) {
	l := newLab(t, testWorld(), pointAt("crash", "leaders", 0, second))
	l.carry(l.d.Begin())
	reached := control.Reached{ID: "point#1", Label: trace("phase2a", 100, 1).Label}
	first := l.d.Reached(3*second, "leader1", reached)
	other := l.d.Reached(3*second+1, "leader2", reached)
	if len(other) != 1 || !other[0].Nodes[0].Down || len(other[0].Expect) != 1 || other[0].Occurrence != 0 {
		t.Errorf("the second one: %+v", other)
	}
	if again := l.d.Reached(3*second+2, "leader2", reached); again != nil {
		t.Errorf("told twice: %+v", again)
	}
	l.carry(append(first, other...))
	l.until(4 * second)
	if l.node("leader1").Down || l.node("leader2").Down || l.record(0).Outcome != results.FaultProved || len(l.record(0).Nodes) != 2 {
		t.Errorf("healed: %+v", l.record(0))
	}
	// A third comes so late that all is healed.
	if unknown := l.d.Reached(5*second, "acceptor1", reached); unknown != nil {
		t.Errorf("where it wasn't armed: %+v", unknown)
	}
}

func TestANodeThatReachesAFailpointAfterItsHealingIsStartedAtOnce(t *testing.T) {
	l := newLab(t, testWorld(), pointAt("crash", "leaders", 0, second))
	l.carry(l.d.Begin())
	l.reach(3*second, "leader1")
	l.until(4 * second)
	orders := l.d.Reached(4*second+1, "leader2", control.Reached{ID: "point#1"})
	if len(orders) != 1 || !orders[0].Nodes[0].Start || orders[0].Nodes[0].Down || len(orders[0].Nodes[0].Injection.Failpoints) != 0 {
		t.Errorf("got %+v", orders)
	}
}

func TestAFailpointReachedWhileTheLoadEndsIsHealedAtOnce(t *testing.T) {
	for _, c := range []struct {
		kind string
		span time.Duration
		down bool
	}{{"crash", 0, true}, {"crash", second, false}, {"pause", 0, false}} {
		l := newLab(t, testWorld(), pointAt(c.kind, "leaders", 0, c.span))
		l.carry(l.d.Begin())
		ending := l.d.End(100 * second)
		if len(ending) != 1 || len(ending[0].Nodes) != 2 || !ending[0].Heal {
			t.Fatalf("it is disarmed by %+v", ending)
		}
		l.carry(l.d.Reached(100*second, "leader1", control.Reached{ID: "point#1"}))
		l.carry(ending)
		if state := l.node("leader1"); state.Down != c.down || len(state.Injection.Failpoints) > 0 || l.record(0).Outcome != results.FaultProved {
			t.Errorf("%s for %v: %+v, %+v", c.kind, c.span, state, l.record(0))
		}
	}
}

func TestAFailpointThatNobodyCanHaveHitsNobody(t *testing.T) {
	l := newLab(t, testWorld(), pointAt("crash", "leader", 0, 0))
	l.leads = nil
	if orders := l.d.Begin(); orders != nil {
		t.Errorf("it begins with %+v", orders)
	}
	if record := l.record(0); record.Outcome != results.FaultNobody {
		t.Errorf("the record is %+v", record)
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
