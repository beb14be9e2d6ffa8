package faults

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"quorumlab/node/control"
	"quorumlab/topologies"
)

func TestEachFaultOfAProcessHasItsEffectItsEvidenceAndItsHealing(t *testing.T) {
	for _, c := range []struct {
		fault   Fault
		want    NodeState
		expect  Expectation
		healing Expectation
	}{
		{Fault{Kind: "crash"}, NodeState{Down: true, Disk: DiskSame}, Expectation{Kind: ExpectDown}, Expectation{Kind: ExpectDown}},
		{Fault{Kind: "pause"}, NodeState{Paused: true}, Expectation{Kind: ExpectPaused}, Expectation{Kind: ExpectPaused}},
		{
			Fault{Kind: "slow_cpu", Parameters: Parameters{Share: share(0.1)}}, NodeState{CPUShare: 0.1},
			Expectation{Kind: ExpectSlow, Share: 0.1}, Expectation{Kind: ExpectSlow, Share: 1},
		},
		{
			Fault{Kind: "slow_sync", Parameters: Parameters{Delay: 50 * time.Millisecond}}, NodeState{Injection: control.Injection{SyncDelayNS: 50e6}},
			Expectation{Kind: ExpectSlowSync, Delay: 50 * time.Millisecond}, Expectation{Kind: ExpectSlowSync, Delay: 50 * time.Millisecond},
		},
		{Fault{Kind: "failing_write"}, NodeState{Injection: control.Injection{FailWrites: true}}, Expectation{Kind: ExpectRefused}, Expectation{Kind: ExpectRefused}},
		{Fault{Kind: "full_disk"}, NodeState{Injection: control.Injection{FullDisk: true}}, Expectation{Kind: ExpectRefused}, Expectation{Kind: ExpectRefused}},
		{
			Fault{Kind: "clock", Parameters: Parameters{Rate: 2}}, NodeState{Injection: control.Injection{ClockRate: 2}},
			Expectation{Kind: ExpectClock, Rate: 2}, Expectation{Kind: ExpectClock, Rate: 1},
		},
		{
			Fault{Kind: "clock", Parameters: Parameters{Jump: -time.Second}}, NodeState{Injection: control.Injection{ClockJumpNS: -1e9}},
			Expectation{Kind: ExpectClock, Jump: -time.Second}, Expectation{Kind: ExpectClock, Jump: time.Second},
		},
		{
			Fault{Kind: "ignore", Parameters: Parameters{Messages: []string{"phase2a"}, From: []string{"leaders"}, Share: share(0.33)}},
			NodeState{Injection: control.Injection{Ignore: []control.Ignore{{Kinds: []string{"phase2a"}, From: []string{"leader1", "leader2"}, Share: 0.33}}}},
			Expectation{Kind: ExpectIgnored, Share: 0.33}, Expectation{Kind: ExpectIgnored, Share: 0.33},
		},
		{
			Fault{Kind: "ignore"}, NodeState{Injection: control.Injection{Ignore: []control.Ignore{{Share: 1}}}},
			Expectation{Kind: ExpectIgnored, Share: 1}, Expectation{Kind: ExpectIgnored, Share: 1},
		},
	} {
		t.Run(c.fault.Kind, func(t *testing.T) {
			c.fault.Whom, c.fault.Trigger, c.fault.For = []string{"acceptor2"}, at(time.Second), lasting(3*time.Second)
			l := newLab(t, testWorld(), c.fault)
			orders := l.until(time.Second)
			if len(orders) != 1 || len(orders[0].Nodes) != 1 || len(orders[0].Expect) != 1 {
				t.Fatalf("got %+v, want one order for one node that expects one thing", orders)
			}
			state := orders[0].Nodes[0]
			for i := range state.Injection.Ignore {
				state.Injection.Ignore[i].Seed = 0
			}
			c.want.Node, c.expect.Node, c.healing.Node = "acceptor2", "acceptor2", "acceptor2"
			if c.want.CPUShare == 0 {
				c.want.CPUShare = 1
			}
			if fmt.Sprintf("%+v", state) != fmt.Sprintf("%+v", c.want) || orders[0].Expect[0] != c.expect {
				t.Errorf("got %+v, expecting %+v; want %+v, expecting %+v", state, orders[0].Expect[0], c.want, c.expect)
			}
			orders = l.until(4 * time.Second)
			if len(orders) != 1 || !orders[0].Heal || orders[0].Requested != 4*time.Second || len(orders[0].Expect) != 1 || orders[0].Expect[0] != c.healing {
				t.Fatalf("got %+v, want a healing at 4s that expects %+v", orders, c.healing)
			}
			healed := NodeState{Node: "acceptor2", CPUShare: 1, Start: c.expect.Kind == ExpectRefused}
			if fmt.Sprintf("%+v", orders[0].Nodes) != fmt.Sprintf("%+v", []NodeState{healed}) {
				t.Errorf("healed it is %+v, want %+v", orders[0].Nodes, healed)
			}
			if record := l.record(0); record.Outcome != "proved" || *record.RequestedNS != 1e9 || *record.AppliedNS != 1e9 || *record.ObservedNS != 1e9 ||
				*record.HealRequestedNS != 4e9 || *record.HealedNS != 4e9 || *record.RecoveredNS != 4e9 || record.Trigger != "at 1s" || len(record.Evidence) != 2 {
				t.Errorf("the record is %+v", record)
			}
		})
	}
}

func TestACrashSaysWhatTheDiskLost(t *testing.T) {
	l := newLab(t, testWorld(), Fault{Kind: "crash", Whom: []string{"acceptor1"}, Parameters: Parameters{Disk: DiskTorn}, Trigger: at(0), For: lasting(time.Second)})
	order := l.until(0)[0]
	if order.Nodes[0].Disk != DiskTorn || !slices.Contains(order.Expect, Expectation{Kind: ExpectDisk, Node: "acceptor1", Disk: DiskTorn}) {
		t.Errorf("got %+v", order)
	}
}

// downLinks are the directions that are down, "LINK>" and the end that they lead to.
func (l *lab) downLinks() []string {
	var down []string
	for _, link := range l.world.Topology.Links {
		if state := l.links[link.Name]; state.AToB.Down || state.BToA.Down {
			for _, d := range []struct {
				to   string
				down bool
			}{{link.B, state.AToB.Down}, {link.A, state.BToA.Down}} {
				if d.down {
					down = append(down, link.Name+">"+d.to)
				}
			}
		}
	}
	return down
}

func (l *lab) downPairs() []string {
	var down []string
	for name, p := range l.pairs {
		if p != nil && p.Down {
			down = append(down, name)
		}
	}
	slices.Sort(down)
	return down
}

func TestEachFaultOfTheNetworkTakesDownWhatItSays(t *testing.T) {
	tree := testWorld()
	var err error
	if tree.Topology, err = topologies.Tree(10, 2, 0, declared); err != nil {
		t.Fatal(err)
	}
	together := testWorld()
	together.Hosts["leader1"] = "h1" // as replica1
	for name, c := range map[string]struct {
		world        World
		fault        Fault
		links, pairs string
	}{
		"link_down":              {testWorld(), Fault{Kind: "link_down", Parameters: Parameters{Links: []string{"h[12]-s1", "h2-*"}}}, "h1-s1>s1 h1-s1>h1 h2-s1>s1 h2-s1>h2", ""},
		"link_down from":         {testWorld(), Fault{Kind: "link_down", Parameters: Parameters{Links: []string{"h1-s1"}, LinksFrom: []string{"s*"}}}, "h1-s1>h1", ""},
		"isolate":                {together, Fault{Kind: "isolate", Whom: []string{"leader1", "replica1"}}, "h1-s1>s1 h1-s1>h1", ""},
		"isolate a client":       {testWorld(), Fault{Kind: "isolate", Whom: []string{"clients"}}, "h10-s1>s1 h10-s1>h10", ""},
		"isolate_subtree":        {tree, Fault{Kind: "isolate_subtree", Parameters: Parameters{Switch: "s3"}}, "s1-s3>s3 s1-s3>s1", ""},
		"isolate_subtree, lower": {tree, Fault{Kind: "isolate_subtree", Parameters: Parameters{Switch: "s5"}}, "s2-s5>s5 s2-s5>s2", ""},
		"cut":                    {testWorld(), Fault{Kind: "cut", Parameters: Parameters{From: []string{"leaders"}, To: []string{"leader2", "acceptor1"}}}, "", "h3>h4 h3>h6 h4>h6"},
		"cut on one host":        {together, Fault{Kind: "cut", Parameters: Parameters{From: []string{"leader1"}, To: []string{"replicas"}}}, "", "h1>h2"},
		"partition": {
			testWorld(), Fault{Kind: "partition", Parameters: Parameters{Groups: [][]string{{"leader1"}, {"leader2", "acceptor1"}, {"client1"}}}}, "",
			"h10>h3 h10>h4 h10>h6 h3>h10 h3>h4 h3>h6 h4>h10 h4>h3 h6>h10 h6>h3",
		},
		"partition whom": {
			together, Fault{Kind: "partition", Whom: []string{"leader1"}}, "",
			"h1>h2 h1>h4 h1>h5 h1>h6 h1>h7 h1>h8 h1>h9 h2>h1 h4>h1 h5>h1 h6>h1 h7>h1 h8>h1 h9>h1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c.fault.Trigger = at(time.Second)
			l := newLab(t, c.world, c.fault)
			orders := l.until(time.Second)
			same(t, "links", l.downLinks(), strings.Fields(c.links))
			same(t, "pairs", l.downPairs(), strings.Fields(c.pairs))
			if want := len(l.downLinks()) + len(l.downPairs()); len(orders[0].Expect) != want {
				t.Errorf("%+v is expected, want %d", orders[0].Expect, want)
			}
			orders = l.end()
			same(t, "links after all", l.downLinks(), nil)
			same(t, "pairs after all", l.downPairs(), nil)
			if len(orders) != 1 || !orders[0].Heal || len(orders[0].Expect) == 0 || l.record(0).Outcome != "proved" {
				t.Errorf("got %+v and %+v", orders, l.record(0))
			}
			for name, p := range l.pairs {
				if p != nil {
					t.Errorf("%s still has a stage", name)
				}
			}
			for name, link := range l.links {
				if link.AToB != declared || link.BToA != declared {
					t.Errorf("%s still isn't as declared", name)
				}
			}
		})
	}
}

func TestAHostThatIsInSeveralGroupsIsInTheFirst(t *testing.T) {
	l := newLab(t, testWorld(), Fault{Kind: "partition", Parameters: Parameters{Groups: [][]string{{"leader", "client1"}, {"followers", "leader1"}}}, Trigger: at(0)})
	l.until(0)
	same(t, "pairs", l.downPairs(), []string{"h10>h4", "h3>h4", "h4>h10", "h4>h3"})
}

func TestInARingEachSeesAMajorityAndNoTwoTheSame(t *testing.T) {
	for n := 3; n <= 60; n++ {
		sees := ringSees(n)
		seen := map[string]int{}
		for i := range sees {
			count := 0
			for j := range sees {
				if sees[i][j] {
					count++
				}
				if sees[i][j] != sees[j][i] {
					t.Fatalf("of %d, %d and %d see each other one way", n, i, j)
				}
			}
			if least := n/2 + 1; count < least || count > least+1 || !sees[i][i] {
				t.Errorf("of %d, %d sees %d, want %d or one more", n, i, count, least)
			}
			if other, twice := seen[fmt.Sprint(sees[i])]; twice {
				t.Errorf("of %d, %d and %d see the same", n, i, other)
			}
			seen[fmt.Sprint(sees[i])] = i
		}
	}
}

func TestAMajoritiesRingOfTheVotersCutsTheirHostsOnly(t *testing.T) {
	l := newLab(t, testWorld(), Fault{Kind: "majorities_ring", Trigger: at(0)})
	l.until(0)
	pairs := l.downPairs()
	if len(pairs) != 2 || strings.Trim(strings.Join(pairs, ""), "h678>") != "" {
		t.Errorf("%v are cut, want two of h6 to h8 from each other, both ways", pairs)
	}
}

func TestOnlyTheBridgeSeesBothHalves(t *testing.T) {
	l := newLab(t, testWorld(), Fault{Kind: "bridge", Whom: []string{"leader1"}, Trigger: at(0)})
	l.until(0)
	reach := map[string][]string{}
	for _, a := range l.world.Topology.Hosts {
		for _, b := range l.world.Topology.Hosts {
			if l.pairs[a.Name+">"+b.Name] == nil {
				reach[a.Name] = append(reach[a.Name], b.Name)
			}
		}
	}
	if len(reach["h3"]) != 10 || len(reach["h10"]) != 10 {
		t.Errorf("the bridge reaches %v and the client %v, want all", reach["h3"], reach["h10"])
	}
	for _, host := range []string{"h1", "h2", "h4", "h5", "h6", "h7", "h8", "h9"} {
		if len(reach[host]) != 6 { // its half of 4, the bridge, the client
			t.Errorf("%s reaches %v", host, reach[host])
		}
	}
}

func TestDegradeLaysOverLinksOrAddsAStage(t *testing.T) {
	l := newLab(
		t, testWorld(),
		Fault{Kind: "degrade", Parameters: Parameters{Links: []string{"h1-s1"}, LinksFrom: []string{"h1"}, Link: lossy}, Trigger: at(0), For: lasting(4 * time.Second)},
		Fault{Kind: "degrade", Whom: []string{"replica1"}, Parameters: Parameters{Link: slower}, Trigger: at(time.Second), For: lasting(4 * time.Second)},
		Fault{Kind: "degrade", Parameters: Parameters{From: []string{"leaders"}, To: []string{"acceptor1"}, Link: slower}, Trigger: at(2 * time.Second)},
	)
	orders := l.until(0)
	same(t, "expected", orders[0].Expect, []Expectation{{Kind: ExpectLink, Link: "h1-s1", From: "h1", Parameters: lossy(declared)}})
	orders = l.until(2 * time.Second)
	if got := l.links["h1-s1"]; got.AToB != slower(lossy(declared)) || got.BToA != slower(declared) {
		t.Errorf("both on one link: %+v", got)
	}
	stage := slower(topologies.Parameters{})
	if len(orders[1].Pairs) != 2 || *orders[1].Pairs[0].Parameters != stage || orders[1].Pairs[1].From != "h4" {
		t.Errorf("the stage is %+v", orders[1].Pairs)
	}
	same(t, "expected", orders[1].Expect, []Expectation{
		{Kind: ExpectPair, From: "h3", To: "h6", Parameters: stage}, {Kind: ExpectPair, From: "h4", To: "h6", Parameters: stage},
	})
	orders = l.until(4 * time.Second)
	same(t, "healed", orders[0].Expect, []Expectation{{Kind: ExpectLink, Link: "h1-s1", From: "h1", Parameters: slower(declared)}})
	orders = l.end()
	same(t, "healed", orders[1].Expect, []Expectation{{Kind: ExpectPair, From: "h3", To: "h6"}, {Kind: ExpectPair, From: "h4", To: "h6"}})
	if l.links["h1-s1"].AToB != declared {
		t.Errorf("in the end the link is %+v", l.links["h1-s1"])
	}
}

func TestServersAreAddedAndRemovedByWholeLists(t *testing.T) {
	l := newLab(
		t, testWorld(),
		Fault{Kind: "add_server", Whom: []string{"acceptor4"}, Trigger: at(1 * time.Second)},
		Fault{Kind: "remove_server", Whom: []string{"acceptor1"}, Parameters: Parameters{Role: "acceptor"}, Trigger: at(2 * time.Second)},
		Fault{Kind: "reconfigure", Parameters: Parameters{Change: json.RawMessage(`{"leaders": ["leader3", "leader1"]}`)}, Trigger: at(3 * time.Second)},
		Fault{Kind: "remove_server", Whom: []string{"leader1", "acceptors"}, Trigger: at(4 * time.Second)},
		Fault{Kind: "add_server", Whom: []string{"leader3"}, Trigger: at(5 * time.Second), Optional: true},
		Fault{Kind: "crash", Whom: []string{"voters", "followers"}, Trigger: at(6 * time.Second)},
	)
	l.leads = []string{"leader3"}
	orders := l.until(6 * time.Second)
	var changes []string
	for _, order := range orders {
		if order.Reconfigure == nil {
			continue
		}
		changes = append(changes, string(order.Reconfigure.Change))
		same(t, "handed to", order.Reconfigure.Nodes, []string{"replica1", "replica2"})
		same(t, "expected", order.Expect, []Expectation{{Kind: ExpectConfiguration}})
	}
	same(t, "changes", changes, []string{
		`{"acceptors":["acceptor1","acceptor2","acceptor3","acceptor4"]}`,
		`{"acceptors":["acceptor2","acceptor3","acceptor4"]}`,
		`{"leaders": ["leader3", "leader1"]}`,
		// The last acceptors stay: a role isn't left without members.
		`{"leaders":["leader3"]}`,
	})
	if record := l.record(4); record.Outcome != "hit_nobody" || !strings.Contains(record.Reason, "leader3 matched nobody") {
		t.Errorf("adding a member again: %+v", record)
	}
	same(t, "voters now", l.record(5).Nodes, []string{"acceptor2", "acceptor3", "acceptor4"})
}

func TestAKindFromOutsideJoinsTheCatalogue(t *testing.T) {
	kind := &Kind{
		Name: "test_outside", Hits: HitsNodes, Ways: [][]Parameter{{ParameterWhom}}, Lasts: true,
		Effects: func(scene *Scene) Effects {
			return Effects{
				Nodes: []NodeEffect{{Node: scene.Nodes[0], Apply: func(s *NodeState) { s.Paused = true }, Expect: []Expectation{{Kind: ExpectPaused, Node: scene.Nodes[0]}}}},
				Links: []LinkEffect{{Link: scene.LinksOf(scene.Hosts(scene.Nodes)[0])[0], Down: true}},
			}
		},
	}
	Register(kind)
	defer delete(kinds, kind.Name)
	if found, ok := Lookup(kind.Name); !ok || found != kind || !slices.Contains(Names(), kind.Name) {
		t.Error("it isn't found")
	}
	l := newLab(t, testWorld(), Fault{Kind: kind.Name, Whom: []string{"replica2"}, Trigger: at(0)})
	l.until(0)
	if !l.node("replica2").Paused || len(l.downLinks()) != 2 {
		t.Error("it has no effect")
	}
	defer func() {
		if recover() == nil {
			t.Error("a name was taken twice")
		}
	}()
	Register(&Kind{Name: kind.Name, Effects: kind.Effects})
}

func TestSpansAreDrawnWithinTheirBounds(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	sum := time.Duration(0)
	const n = 20_000
	for range n {
		if d := (Span{Least: 2 * time.Second, Most: 3 * time.Second}).draw(random); d < 2*time.Second || d > 3*time.Second {
			t.Fatalf("uniform: %v", d)
		}
		d := Span{Mean: time.Second}.draw(random)
		if d < leastSpan {
			t.Fatalf("exponential: %v", d)
		}
		sum += d
	}
	// Five standard deviations around the mean.
	if mean := sum.Seconds() / n; mean < 0.965 || mean > 1.036 {
		t.Errorf("the exponential mean is %v s", mean)
	}
	if d := lasting(time.Second).draw(random); d != time.Second {
		t.Errorf("fixed: %v", d)
	}
}
