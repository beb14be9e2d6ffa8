package faults

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/results"
	"quorumlab/topologies"
)

// equalOrders compares orders without their functions, of which they have none.
func equalOrders(a, b Order) bool { return reflect.DeepEqual(a, b) }

func fault(kind, whom string, when, span time.Duration) Fault {
	f := Fault{Kind: kind, Trigger: at(when)}
	if whom != "" {
		f.Whom = strings.Fields(whom)
	}
	if span > 0 {
		f.For = lasting(span)
	}
	return f
}

func TestFaultsOfOneNodeCompose(t *testing.T) {
	slow := func(x float64, when, span time.Duration) Fault {
		f := fault("slow_cpu", "acceptor1", when, span)
		f.Share = share(x)
		return f
	}
	l := newLab(
		t, testWorld(),
		slow(0.5, 1*second, 9*second), slow(0.1, 2*second, 2*second), slow(0.3, 3*second, 5*second), // 1-10, 2-4, 3-8
		fault("pause", "acceptor1", 5*second, 4*second), // 5-9
		fault("crash", "acceptor1", 6*second, second),   // 6-7
	)
	for _, want := range []struct {
		at           time.Duration
		down, paused bool
		share        float64
	}{
		{0, false, false, 1},
		{1 * second, false, false, 0.5},
		{2 * second, false, false, 0.1},
		{3 * second, false, false, 0.1},
		{4 * second, false, false, 0.3},
		{5 * second, false, true, 0.3},
		{6 * second, true, true, 0.3},
		{7 * second, false, true, 0.3},
		{8 * second, false, true, 0.5},
		{9 * second, false, false, 0.5},
		{10 * second, false, false, 1},
	} {
		l.until(want.at)
		state := l.node("acceptor1")
		if state.Down != want.down || state.Paused != want.paused || state.CPUShare != want.share {
			t.Errorf("at %v it is %+v, want %+v", want.at, state, want)
		}
		if told, ok := l.nodes["acceptor1"]; ok && fmt.Sprintf("%+v", told) != fmt.Sprintf("%+v", state) {
			t.Errorf("at %v the orders say %+v, State says %+v", want.at, told, state)
		}
	}
}

func TestAFaultOfAProcessThatIsDownHitsNobody(t *testing.T) {
	later := []Fault{fault("crash", "acceptor1 acceptor2", 2*second, 0)}
	for _, kind := range []string{"crash", "pause", "failing_write", "ignore"} {
		f := fault(kind, "acceptor1", 3*second, 0)
		f.Optional = true
		later = append(later, f)
	}
	l := newLab(t, testWorld(), append([]Fault{fault("crash", "acceptor1", second, 0)}, later...)...)
	l.until(10 * second)
	same(t, "who else was hit", l.record(1).Nodes, []string{"acceptor2"})
	for i := 2; i <= 5; i++ {
		if record := l.record(i); record.Outcome != results.FaultNobody || !record.Optional || record.RequestedNS == nil || record.AppliedNS != nil ||
			record.Reason != "acceptor1 matched nobody that it could hit" {
			t.Errorf("%s: %+v", record.Kind, record)
		}
	}
}

func TestLinksAndPairsCompose(t *testing.T) {
	down := Fault{Kind: "link_down", Parameters: Parameters{Links: []string{"h1-s1"}}, Trigger: at(2 * second), For: lasting(4 * second)}
	degrade := Fault{Kind: "degrade", Parameters: Parameters{Links: []string{"h1-s1"}, Link: slower}, Trigger: at(3 * second), For: lasting(5 * second)}
	isolate := fault("isolate", "replica1", 4*second, 3*second)
	pair := func(kind string, when, span time.Duration, link func(topologies.Parameters) topologies.Parameters) Fault {
		return Fault{Kind: kind, Parameters: Parameters{From: []string{"replica1"}, To: []string{"replica2"}, Link: link}, Trigger: at(when), For: lasting(span)}
	}
	l := newLab(
		t, testWorld(), down, degrade, isolate,
		pair("degrade", 1*second, 8*second, lossy), pair("degrade", 2*second, 3*second, slower), pair("cut", 3*second, second, nil),
	)
	zero := topologies.Parameters{}
	for _, want := range []struct {
		at   time.Duration
		link topologies.Parameters
		pair *topologies.Parameters
	}{
		{0, declared, nil},
		{1 * second, declared, new(lossy(zero))},
		{2 * second, func() topologies.Parameters { p := declared; p.Down = true; return p }(), new(slower(zero))},
		{3 * second, func() topologies.Parameters { p := slower(declared); p.Down = true; return p }(), &topologies.Parameters{Down: true}},
		{4 * second, func() topologies.Parameters { p := slower(declared); p.Down = true; return p }(), new(slower(zero))},
		{5 * second, func() topologies.Parameters { p := slower(declared); p.Down = true; return p }(), new(lossy(zero))},
		{6 * second, func() topologies.Parameters { p := slower(declared); p.Down = true; return p }(), new(lossy(zero))}, // isolated still
		{7 * second, slower(declared), new(lossy(zero))},
		{8 * second, declared, new(lossy(zero))},
		{9 * second, declared, nil},
	} {
		l.until(want.at)
		link, told := l.d.linkState("h1-s1"), l.links["h1-s1"]
		if link.AToB != want.link || want.at >= 2*second && told != link {
			t.Errorf("at %v the link is %+v (told %+v), want %+v", want.at, link, told, want.link)
		}
		if pair := l.pairs["h1>h2"]; !reflect.DeepEqual(pair, want.pair) {
			t.Errorf("at %v the pair is %+v, want %+v", want.at, pair, want.pair)
		}
	}
}

func TestWhatAnotherFaultKeepsAsItWasIsntExpectedToHeal(t *testing.T) {
	l := newLab(
		t, testWorld(),
		fault("isolate", "replica1", 1*second, 4*second), // 1-5
		Fault{Kind: "link_down", Parameters: Parameters{Links: []string{"h[12]-s1"}}, Trigger: at(2 * second), For: lasting(second)}, // 2-3
		fault("pause", "acceptor1", 1*second, 2*second), fault("pause", "acceptor1", 2*second, 3*second), // 1-3, 2-5
		Fault{Kind: "cut", Parameters: Parameters{From: []string{"leaders"}, To: []string{"acceptor2"}}, Trigger: at(1 * second), For: lasting(second)},     // 1-2
		Fault{Kind: "cut", Parameters: Parameters{From: []string{"leader1"}, To: []string{"acceptor2"}}, Trigger: at(1 * second), For: lasting(2 * second)}, // 1-3
	)
	var expected []string
	for _, order := range l.until(10 * second) {
		for _, e := range order.Expect {
			if order.Heal {
				expected = append(expected, seconds(order.Requested)+" "+string(e.Kind)+" "+e.Target())
			}
		}
	}
	same(t, "healing", expected, []string{
		"2s cut h4>h7", "3s cut h3>h7", "3s link h2-s1 from h2", "3s link h2-s1 from s1",
		"5s link h1-s1 from h1", "5s link h1-s1 from s1", "5s paused acceptor1",
	})
}

func TestEvidenceThatOtherFaultsHideIsMoot(t *testing.T) {
	// Each first fault lasts from 1s to 5s, the second begins at 2s, for 1s or for good.
	for name, c := range map[string]struct {
		first, second Fault
		moot, healing bool
	}{
		"ignoring, then killed":            {fault("ignore", "acceptor1", 0, 0), fault("crash", "acceptor1", 0, second), true, false},
		"ignoring, then paused":            {fault("ignore", "acceptor1", 0, 0), fault("pause", "acceptor1", 0, second), true, false},
		"ignoring, another is killed":      {fault("ignore", "acceptor1", 0, 0), fault("crash", "acceptor2", 0, second), false, false},
		"paused, then killed":              {fault("pause", "acceptor1", 0, 0), fault("crash", "acceptor1", 0, second), true, false},
		"crashed, later cut off":           {fault("crash", "acceptor1", 0, 0), fault("isolate", "leader1", 0, 0), false, true},
		"crashed, later another is paused": {fault("crash", "acceptor1", 0, 0), fault("pause", "leader1", 0, 0), false, false},
		"isolated, then isolated again":    {fault("isolate", "acceptor1", 0, 0), fault("isolate", "acceptor1", 0, second), true, false},
		"cut, then the host is isolated":   {Fault{Kind: "cut", Parameters: Parameters{From: []string{"leader1"}, To: []string{"acceptor1"}}}, fault("isolate", "acceptor1", 0, 0), true, true},
		"cut, then another is cut":         {Fault{Kind: "cut", Parameters: Parameters{From: []string{"leader1"}, To: []string{"acceptor1"}}}, fault("isolate", "acceptor2", 0, 0), false, false},
		"degraded, then more":              {Fault{Kind: "degrade", Whom: []string{"acceptor1"}, Parameters: Parameters{Link: slower}}, Fault{Kind: "degrade", Whom: []string{"acceptor1"}, Parameters: Parameters{Link: lossy}}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			c.first.Trigger, c.first.For, c.second.Trigger = at(second), lasting(4*second), at(2*second)
			l := newLab(t, testWorld(), c.first, c.second)
			l.blind = true
			applied := l.until(second)[0]
			e := applied.Expect[0]
			if l.d.Moot(applied, e) {
				t.Error("it is moot from the start")
			}
			l.until(4 * second)
			if got := l.d.Moot(applied, e); got != c.moot {
				t.Errorf("%+v is moot: %v, want %v", e, got, c.moot)
			}
			for _, order := range l.until(5 * second) {
				if order.Occurrence == 0 && (len(order.Expect) == 0) != c.healing {
					t.Errorf("healing expects %+v", order.Expect)
				}
			}
			if outcome := l.record(0).Outcome; c.moot && c.healing && outcome != results.FaultNobody || !c.moot && outcome != results.FaultUnproved {
				t.Errorf("the outcome is %s", outcome)
			}
			l.d.Prove(0, 6*second, applied.Evidence(e, true, "after all"))
			if l.d.Moot(applied, e) {
				t.Error("it was found, and is moot")
			}
		})
	}
}

func TestAnEffectThatIsHiddenFromTheStartIsntAskedForAndDoesntCount(t *testing.T) {
	l := newLab(
		t, testWorld(),
		fault("isolate", "replica1", 0, 0),
		Fault{Kind: "degrade", Whom: []string{"replica1"}, Parameters: Parameters{Link: slower}, Trigger: at(second)},
		Fault{Kind: "degrade", Whom: []string{"replica1", "replica2"}, Parameters: Parameters{Link: slower}, Trigger: at(2 * second), For: lasting(second)},
	)
	orders := l.until(2 * second)
	if len(orders[1].Expect) != 0 || len(orders[2].Expect) != 2 || orders[2].Expect[0].Link != "h2-s1" {
		t.Errorf("got %+v", orders)
	}
	l.until(3 * second)
	if r := l.record(1); r.Outcome != results.FaultNobody || !strings.Contains(r.Reason, "hidden all") {
		t.Errorf("all is hidden: %+v", r)
	}
	if r := l.record(2); r.Outcome != results.FaultProved || !strings.Contains(r.Reason, "h1-s1") {
		t.Errorf("half is hidden: %+v", r)
	}
}

func TestRecordsSayWhatBecameOfEachFault(t *testing.T) {
	l := newLab(
		t, testWorld(),
		fault("crash", "leader", 1*second, 2*second), fault("crash", "acceptor1", 1*second, 0), fault("pause", "acceptor2", 1*second, 0),
		pauses("never", Trigger{On: &On{Event: "phase2a", Count: 3}}),
		fault("pause", "acceptor3", 2*second, second),
	)
	l.blind = true
	orders := l.until(4 * second)
	prove := func(order Order, found bool) {
		for _, e := range order.Expect {
			l.d.Prove(order.Occurrence, order.Requested+time.Millisecond, order.Evidence(e, found, "text"))
		}
	}
	prove(orders[0], true) // crash1
	prove(orders[2], false)
	prove(orders[3], true)                                 // pause5, whose healing nobody sees
	l.d.Done(orders[1], second, errors.New("no such pid")) // too late: it was done already
	for _, order := range orders {
		if order.Heal && order.Occurrence == 0 {
			prove(order, false)
			prove(order, true) // seen at the second look
		}
	}
	l.d.Observe(5*second, "leader1", trace("phase2a", 1, 1))
	want := map[string]string{
		"crash1": results.FaultProved + ":", "crash2": results.FaultFailed + ":no such pid",
		"pause3": results.FaultUnproved + ":no evidence of paused at acceptor2", "never": results.FaultNeverFired + ":1 of 3 such events came",
		"pause5": results.FaultUnproved + ":no evidence of healing, paused at acceptor3",
	}
	records := l.d.Records()
	for _, r := range records {
		if got := r.Outcome + ":" + r.Reason; got != want[r.ID] {
			t.Errorf("%s: %s, want %s", r.ID, got, want[r.ID])
		}
	}
	if first := records[0]; first.Leader != "leader1" || *first.ObservedNS != 1_001_000_000 || *first.RecoveredNS != 3_001_000_000 || first.Occurrence != 1 {
		t.Errorf("the first record is %+v", first)
	}
	if last := records[len(records)-1]; last.ID != "never" || last.RequestedNS != nil || last.Trigger != "on phase2a, number 3" {
		t.Errorf("the last record is %+v", last)
	}
	if len(records) != len(want) || l.asked != 1 {
		t.Errorf("%d records, asked %d times who leads", len(records), l.asked)
	}
}

func TestAHealEndsWhatIsActiveOfAFault(t *testing.T) {
	repeated := fault("pause", "", second, 0)
	repeated.Whom = []string{"random(1) of acceptors"}
	repeated.ID, repeated.Trigger.Every, repeated.Trigger.Times, repeated.Optional = "p", second, 3, true
	l := newLab(
		t, testWorld(), repeated, fault("crash", "leader1", second, 0),
		Fault{ID: "heal-p", Kind: "heal", Parameters: Parameters{Fault: "p"}, Trigger: at(5 * second)},
		Fault{ID: "heal-crash", Kind: "heal", Parameters: Parameters{Fault: "crash2"}, Trigger: Trigger{After: &After{ID: "heal-p", By: second}}},
		Fault{ID: "in-vain", Kind: "heal", Parameters: Parameters{Fault: "p"}, Trigger: at(9 * second), Optional: true},
	)
	orders := l.until(50 * second)
	var healed []string
	for _, order := range orders {
		if order.Heal {
			healed = append(healed, fmt.Sprintf("%s %s", l.record(order.Occurrence).ID, seconds(order.Requested)))
		}
	}
	same(t, "healed", healed, []string{"p 5s", "p 5s", "p 5s", "crash2 6s"})
	outcomes := map[string]string{}
	for _, record := range l.d.Records() {
		outcomes[record.ID] = record.Outcome
		if record.ID == "heal-p" && (*record.AppliedNS != 5e9 || *record.ObservedNS != 5e9) {
			t.Errorf("the healing is %+v", record)
		}
	}
	if outcomes["heal-p"] != results.FaultProved || outcomes["heal-crash"] != results.FaultProved || outcomes["in-vain"] != results.FaultNobody {
		t.Errorf("the outcomes are %v", outcomes)
	}
	if l.node("leader1").Down {
		t.Error("the crash wasn't healed")
	}
}

func TestTheEndHealsAllButCrashesForGoodTheNetworkFirst(t *testing.T) {
	l := newLab(
		t, testWorld(),
		fault("pause", "acceptor1", 1*second, 0), fault("isolate", "replica1", 2*second, 0), fault("crash", "acceptor2", 3*second, 0),
		fault("crash", "acceptor3", 4*second, 1000*second), fault("partition", "leader1", 5*second, 0), fault("full_disk", "leader2", 6*second, 0),
		Fault{ID: "point", Kind: "crash", Trigger: Trigger{Failpoint: &control.Failpoint{Place: control.AfterSend}}, Optional: true},
	)
	l.carry(l.d.Begin())
	var ended []string
	for _, order := range l.end()[6:] {
		if !order.Heal || order.Requested != l.world.Load {
			t.Errorf("got %+v", order)
		}
		ended = append(ended, l.record(order.Occurrence).ID)
	}
	same(t, "healed", ended, []string{"point", "isolate2", "partition5", "pause1", "crash4", "full_disk6"})
	for name, state := range l.nodes {
		if state.Down != (name == "acceptor2") || state.Paused || state.CPUShare != 1 || len(state.Injection.Failpoints) > 0 || state.Injection.FullDisk {
			t.Errorf("in the end it is %+v", state)
		}
	}
	if l.d.End(l.world.Load) != nil {
		t.Error("it ends twice")
	}
	if _, planned := l.d.Next(); planned {
		t.Error("there is more to come")
	}
}

func TestAProcessThatItsDiskHasEndedIsStartedOnHealing(t *testing.T) {
	l := newLab(
		t, testWorld(), fault("failing_write", "acceptor1 acceptor2", 1*second, 4*second), fault("full_disk", "acceptor1", 2*second, 5*second),
	)
	started := map[string][]time.Duration{}
	note := func(orders []Order) {
		for _, order := range orders {
			for _, node := range order.Nodes {
				if node.Start {
					started[node.Node] = append(started[node.Node], order.Requested)
				}
			}
		}
	}
	note(l.until(2 * second))
	if !l.d.Ended(3*second, "acceptor1") || !l.d.Ended(3*second, "acceptor2") || l.d.up("acceptor1") {
		t.Error("their end isn't explained, or they are up")
	}
	healing := l.d.Advance(5 * second)
	if !l.d.Ended(5*second, "acceptor2") || !l.d.up("acceptor2") {
		t.Error("an end that is told while the process is being started counts again")
	}
	note(l.carry(healing))
	note(l.until(10 * second))
	// acceptor1's disk was still full at 5s.
	same(t, "acceptor1 was started", started["acceptor1"], []time.Duration{7 * second})
	same(t, "acceptor2 was started", started["acceptor2"], []time.Duration{5 * second})
	if !l.d.up("acceptor1") || l.d.Ended(11*second, "acceptor1") || l.d.up("acceptor1") {
		t.Error("what ends once it was started again is excused")
	}
}

func TestAnEndThatNoFaultExplainsIsntExcused(t *testing.T) {
	l := newLab(t, testWorld(), fault("failing_write", "acceptor1", 1*second, 4*second), fault("crash", "acceptor2", 1*second, 4*second))
	l.until(second)
	for node, want := range map[string]bool{"acceptor1": true, "acceptor2": true, "acceptor3": false} {
		if got := l.d.Ended(2*second, node); got != want {
			t.Errorf("%s's end is explained: %v, want %v", node, got, want)
		}
	}
	l.until(10 * second)
	if l.d.up("acceptor3") || !l.d.up("acceptor1") {
		t.Error("who ended is up, or who was started isn't")
	}
}

// bigWorld has so many acceptors, a host each, and a replica and a leader.
func bigWorld(acceptors int) World {
	w := testWorld()
	w.Cluster.Nodes, w.Hosts = w.Cluster.Nodes[:3:3], map[string]string{"replica1": "h1", "replica2": "h2", "leader1": "h3"}
	for i := range acceptors {
		name := fmt.Sprintf("acceptor%d", i+1)
		w.Cluster.Nodes = append(w.Cluster.Nodes, control.Node{Member: consensus.Member{ID: consensus.NodeID(i + 4), Name: name, Roles: []string{"acceptor"}}})
		w.Hosts[name] = fmt.Sprintf("h%d", i+4)
	}
	w.Topology = topologies.Star(acceptors+3, declared)
	return w
}

func TestOfManyLinksAndPairsSomeHaveToBeProved(t *testing.T) {
	isolate, cut := fault("isolate", "voters", 0, second), fault("partition", "leader1 replicas", 2*second, second)
	l := newLab(t, bigWorld(150), isolate, cut)
	orders := l.until(5 * second)
	if len(orders) != 4 || len(orders[0].Links) != 150 || len(orders[2].Pairs) != 2*3*150 {
		t.Fatalf("got %d orders", len(orders))
	}
	for i, order := range orders {
		distinct := map[string]bool{}
		last := -1
		for _, e := range order.Expect {
			distinct[e.Target()] = true
			if i == 0 { // in the topology's order, as without a sample
				var host int
				fmt.Sscanf(e.Link, "h%d-s1", &host)
				if host < last {
					t.Errorf("%s comes after h%d", e.Link, last)
				}
				last = host
			}
		}
		if len(distinct) != maxExpectations || len(order.Expect) != maxExpectations {
			t.Errorf("order %d expects %d different things of %d, want %d", i, len(distinct), len(order.Expect), maxExpectations)
		}
	}
	if l.record(0).Outcome != results.FaultProved || l.record(1).Outcome != results.FaultProved {
		t.Errorf("the outcomes are %s, %s", l.record(0).Outcome, l.record(1).Outcome)
	}
}

func TestALinkThatIsDownStaysSoWhateverIsLaidOverIt(t *testing.T) {
	replace := Fault{Kind: "degrade", Whom: []string{"replica1"}, Trigger: at(second)}
	replace.Parameters.Link = func(topologies.Parameters) topologies.Parameters { return topologies.Parameters{Delay: second} }
	l := newLab(t, testWorld(), fault("isolate", "replica1", 0, 2*second), replace)
	l.until(second)
	same(t, "down", l.downLinks(), []string{"h1-s1>s1", "h1-s1>h1"})
	l.until(2 * second)
	if got := l.links["h1-s1"].AToB; got != (topologies.Parameters{Delay: second}) {
		t.Errorf("up again it is %+v", got)
	}
}

func TestAHealingThatNobodyCarriesOutIsUnproved(t *testing.T) {
	l := newLab(t, testWorld(), fault("pause", "acceptor1", 0, second))
	l.until(0)
	l.d.Advance(second)
	if record := l.record(0); record.Outcome != results.FaultUnproved || !strings.Contains(record.Reason, "healing was never carried out") {
		t.Errorf("the record is %+v", record)
	}
}

func TestOfTwoCrashesOfAProcessTheWorseDiskCounts(t *testing.T) {
	for _, disks := range [][2]string{{DiskEmpty, DiskTorn}, {DiskTorn, DiskEmpty}} {
		crash, point := fault("crash", "leader1", second, 5*second), pointAt("crash", "leader1", 0, 2*second)
		crash.Disk, point.Disk = disks[0], disks[1]
		l := newLab(t, testWorld(), crash, point)
		l.carry(l.d.Begin())
		id := l.nodes["leader1"].Injection.Failpoints[0].ID
		l.until(second)
		// It came to its failpoint before the crash reached it.
		orders := l.carry(l.d.Reached(second, "leader1", control.Reached{ID: id}))
		if state := orders[0].Nodes[0]; !state.Down || state.Disk != DiskEmpty {
			t.Errorf("%v: it is %+v", disks, state)
		}
		l.until(3 * second)
		if state := l.node("leader1"); !state.Down || state.Disk != disks[0] {
			t.Errorf("%v: once the failpoint is healed it is %+v", disks, state)
		}
		if l.until(6 * second); l.node("leader1").Down {
			t.Errorf("%v: it is down for good", disks)
		}
	}
}
