package faults

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"quorumlab/results"
	"quorumlab/topologies"
)

func TestSelectorsAreReadAsTheGrammarSays(t *testing.T) {
	for text, want := range map[string]Selector{
		"acceptor1":                 {Set: "acceptor1"},
		"acceptors":                 {Set: "acceptors"},
		" leader ":                  {Set: SetLeader},
		"followers":                 {Set: SetFollowers},
		"all":                       {Set: SetAll},
		"voters":                    {Set: SetVoters},
		"region(eu-west-1)":         {Set: SetRegion, Region: "eu-west-1"},
		"random(2)":                 {Pick: PickRandom, Count: 2, Set: SetAll},
		"minority":                  {Pick: PickMinority, Set: SetVoters},
		"majority":                  {Pick: PickMajority, Set: SetVoters},
		"random(10) of acceptors":   {Pick: PickRandom, Count: 10, Set: "acceptors"},
		"minority  of  region(a.b)": {Pick: PickMinority, Set: SetRegion, Region: "a.b"},
		"majority of all":           {Pick: PickMajority, Set: SetAll},
	} {
		got, err := ParseSelector(text)
		if err != nil || got != want {
			t.Errorf("%q is %+v (%v), want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", " ", "random", "random()", "random(0)", "random(-1)", "random(x)", "random(1", "random(9999999999)", "region", "region()",
		"region(a b)", "region((a))", "a b", "leader of all", "random(1) of", "of all", "random(1) of random(1)", "minority of majority",
		"random(1) of all of all", "@s1", "a,b", "*", "random (1)",
	} {
		if got, err := ParseSelector(text); !errors.Is(err, ErrSelector) || !strings.Contains(err.Error(), "want a node") {
			t.Errorf("%q is %+v (%v), want an ErrSelector that says what would be right", text, got, err)
		}
	}
}

func FuzzParseSelector(f *testing.F) {
	for _, text := range []string{"leader", "random(2) of acceptors", "minority of region(eu)", "majority", "random(", ") of x", "région(é)"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		selector, err := ParseSelector(text)
		if err != nil {
			if !errors.Is(err, ErrSelector) || selector != (Selector{}) {
				t.Errorf("%q: %+v, %v", text, selector, err)
			}
			return
		}
		again, err := ParseSelector(selector.String())
		if err != nil || again != selector {
			t.Errorf("%q is %+v, which is written %q and read as %+v (%v)", text, selector, selector, again, err)
		}
		if selector.Pick == PickRandom && selector.Count < 1 || selector.Set == "" {
			t.Errorf("%q is %+v", text, selector)
		}
	})
}

// whom is whom a fault of the network hits by its selectors: the hosts that it cuts off
// from client1.
func whom(t *testing.T, l *lab) []string {
	t.Helper()
	var nodes []string
	for _, node := range l.world.Cluster.Nodes {
		if l.pairs[l.world.Hosts[node.Name]+">"+l.world.Hosts["client1"]] != nil {
			nodes = append(nodes, node.Name)
		}
	}
	return nodes
}

func TestSelectorsPickWhomTheySay(t *testing.T) {
	world := testWorld()
	for _, c := range []struct {
		whom, want string
		leads      []string
	}{
		{whom: "acceptor2", want: "acceptor2"},
		{whom: "acceptors", want: "acceptor1 acceptor2 acceptor3"}, // not the spare
		{whom: "acceptor4", want: "acceptor4"},
		{whom: "voters", want: "acceptor1 acceptor2 acceptor3"},
		{whom: "leader", want: "leader2", leads: []string{"leader2", "leader1"}},
		{whom: "followers", want: "leader2", leads: []string{"leader1"}},
		{whom: "followers", want: "leader1 leader2"},
		{whom: "followers leader", want: "leader1 leader2", leads: []string{"leader2"}},
		{whom: "all", want: "replica1 replica2 leader1 leader2 leader3 acceptor1 acceptor2 acceptor3 acceptor4"},
		{whom: "acceptor3 replicas", want: "replica1 replica2 acceptor3"},
		{whom: "acceptor3 acceptors", want: "acceptor1 acceptor2 acceptor3"},
	} {
		l := newLab(t, world, Fault{Kind: "cut", Parameters: Parameters{From: strings.Fields(c.whom), To: []string{"client1"}}, Trigger: at(0)})
		l.leads = c.leads
		l.until(0)
		same(t, c.whom, whom(t, l), strings.Fields(c.want))
	}
}

func TestPicksHaveTheirSizesAndDependOnTheSeed(t *testing.T) {
	for selector, size := range map[string]int{
		"random(1)": 1, "random(4)": 4, "random(2) of acceptors": 2, "minority": 1, "majority": 2, "minority of all": 4, "majority of all": 5,
		"random(1) of leader": 1,
	} {
		picked := map[string]bool{}
		for seed := range uint64(40) {
			l := seeded(t, testWorld(), seed, Fault{Kind: "cut", Parameters: Parameters{From: []string{selector}, To: []string{"client1"}}, Trigger: at(0)})
			l.until(0)
			nodes := whom(t, l)
			if len(nodes) != size {
				t.Fatalf("%s has picked %v, want %d", selector, nodes, size)
			}
			picked[fmt.Sprint(nodes)] = true
		}
		if selector != "random(1) of leader" && len(picked) < 3 {
			t.Errorf("%s picks only %v", selector, picked)
		}
	}
}

func TestAMinorityLeavesAQuorumAliveWhateverIsDownAlready(t *testing.T) {
	crash := func(whom string, when time.Duration) Fault {
		return Fault{Kind: "crash", Whom: []string{whom}, Trigger: at(when), Optional: true}
	}
	for seed := range uint64(20) {
		l := seeded(t, testWorld(), seed, crash("acceptor2", 0), crash("minority", 1*time.Second), crash("minority of all", 2*time.Second))
		l.until(time.Second)
		if l.node("acceptor1").Down || l.node("acceptor3").Down || l.record(1).Outcome != results.FaultNobody {
			t.Fatalf("of 3 acceptors 1 is down, and a minority has hit %v", l.record(1).Nodes)
		}
		l.until(2 * time.Second)
		if hit := l.record(2).Nodes; len(hit) != 3 || slices.Contains(hit, "acceptor2") {
			t.Errorf("of 9, 1 was down already, and a minority has hit %v, want 3 others", hit)
		}
	}
}

func TestADrawDoesntDependOnOtherFaults(t *testing.T) {
	random := func(when time.Duration) Fault {
		return Fault{Kind: "pause", Whom: []string{"random(2)"}, Trigger: at(when), For: Span{Least: time.Second, Most: 9 * time.Second}}
	}
	hit := func(first Fault) (nodes []string, healed time.Duration) {
		l := newLab(t, testWorld(), first, random(5*time.Second))
		orders := l.until(50 * time.Second)
		for _, order := range orders {
			if order.Heal && l.d.Records()[order.Occurrence].ID == "pause2" {
				healed = order.Requested
			}
		}
		for _, record := range l.d.Records() {
			if record.ID == "pause2" {
				nodes = record.Nodes
			}
		}
		return nodes, healed
	}
	nodes, healed := hit(random(time.Second))
	for _, other := range []Fault{
		random(7 * time.Second), {Kind: "isolate", Whom: []string{"random(3)"}, Trigger: at(time.Second)},
	} {
		n, h := hit(other)
		if !slices.Equal(n, nodes) || h != healed {
			t.Errorf("beside %s the second fault hits %v until %v, else %v until %v", other.Kind, n, h, nodes, healed)
		}
	}
}

func TestARegionIsTheProcessesOnASwitch(t *testing.T) {
	world := testWorld()
	var err error
	if world.Topology, err = topologies.Tree(10, 2, 0, declared); err != nil {
		t.Fatal(err)
	}
	region := ""
	for _, link := range world.Topology.Links {
		if link.A == "h9" || link.B == "h9" {
			region = strings.Trim(strings.ReplaceAll(link.Name, "h9", ""), "-")
		}
	}
	l := newLab(t, world, Fault{Kind: "pause", Whom: []string{"region(" + region + ")"}, Trigger: at(0)})
	l.until(0)
	same(t, "region", l.record(0).Nodes, []string{"acceptor4"}) // the client on h10 isn't named
}

func TestRandomPicksOfAProcessFaultAreOfThoseThatAreUp(t *testing.T) {
	for seed := range uint64(20) {
		crash := Fault{Kind: "crash", Whom: []string{"random(1) of acceptors"}, Trigger: at(0)}
		crash.Trigger.Every, crash.Trigger.Times = time.Second, 3
		l := seeded(t, testWorld(), seed, crash)
		l.until(3 * time.Second)
		for _, node := range []string{"acceptor1", "acceptor2", "acceptor3"} {
			if !l.node(node).Down {
				t.Fatalf("of 3 acceptors each was to be hit once, and %s wasn't", node)
			}
		}
	}
}

func TestFaultsThatSayTheSameDrawForThemselves(t *testing.T) {
	alike := 0
	for seed := range uint64(50) {
		pause := func() Fault { return Fault{Kind: "pause", Whom: []string{"random(1)"}, Trigger: at(0)} }
		l := seeded(t, testWorld(), seed, pause(), pause())
		l.until(0)
		if slices.Equal(l.record(0).Nodes, l.record(1).Nodes) {
			alike++
		}
	}
	if alike > 20 { // of 9 processes: about 6
		t.Errorf("%d of 50 times both have drawn the same process", alike)
	}
}
