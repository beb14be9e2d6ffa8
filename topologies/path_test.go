package topologies

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const ms = time.Millisecond

func delayed(delay time.Duration) Parameters { return Parameters{Delay: delay} }

// joined is a link named after its ends, alike in both directions.
func joined(a, b string, p Parameters) Link {
	return Link{Name: a + "-" + b, A: a, B: b, AToB: p, BToA: p}
}

func custom(t testing.TB, hosts, switches []string, links ...Link) *Topology {
	t.Helper()
	made, err := Custom(hosts, switches, links)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// names of the links on the path from one node to another.
func route(t testing.TB, topology *Topology, from, to string) []string {
	t.Helper()
	g, err := topology.Graph()
	if err != nil {
		t.Fatal(err)
	}
	source, _ := g.Node(from)
	target, _ := g.Node(to)
	var names []string
	for _, hop := range g.From(source)[target] {
		names = append(names, topology.Links[hop.Link].Name)
	}
	return names
}

func wantRoute(t *testing.T, topology *Topology, from, to string, want ...string) {
	t.Helper()
	if got := route(t, topology, from, to); !slices.Equal(got, want) {
		t.Errorf("from %s to %s over %v, want %v", from, to, got, want)
	}
}

// ring is a cycle of four switches with a host at s1 and one at s3; the way over s2 is
// longer by extra.
func ring(t *testing.T, extra time.Duration) *Topology {
	return custom(t, []string{"h1", "h2"}, []string{"s1", "s2", "s3", "s4"},
		joined("h1", "s1", Parameters{}), joined("h2", "s3", Parameters{}),
		joined("s1", "s2", delayed(10*ms+extra)), joined("s2", "s3", delayed(10*ms)),
		joined("s3", "s4", delayed(10*ms)), joined("s4", "s1", delayed(10*ms)))
}

func TestFramesTakeTheWayOfLeastDelayAroundACycle(t *testing.T) {
	wantRoute(t, ring(t, ms), "h1", "h2", "h1-s1", "s4-s1", "s3-s4", "h2-s3")
	wantRoute(t, ring(t, -ms), "h1", "h2", "h1-s1", "s1-s2", "s2-s3", "h2-s3")
}

func TestOfEqualPathsTheOneWithoutTheLastLinkWinsBothWays(t *testing.T) {
	r := ring(t, 0)
	wantRoute(t, r, "h1", "h2", "h1-s1", "s1-s2", "s2-s3", "h2-s3")
	wantRoute(t, r, "h2", "h1", "h2-s3", "s2-s3", "s1-s2", "h1-s1")
}

func TestADirectionThatIsDownIsAvoidedAndTheOtherIsNot(t *testing.T) {
	r := ring(t, -ms)
	r.Links[3].AToB.Down = true // s2 to s3
	wantRoute(t, r, "h1", "h2", "h1-s1", "s4-s1", "s3-s4", "h2-s3")
	wantRoute(t, r, "h2", "h1", "h2-s3", "s2-s3", "s1-s2", "h1-s1")
	r.Links[5].BToA.Down = true // s1 to s4
	wantRoute(t, r, "h1", "h2")
}

func TestRoutingByHopsTakesTheDirectLinkEvenIfADetourIsShorter(t *testing.T) {
	w := custom(t, []string{"h1", "h2"}, []string{"a", "b", "c"},
		joined("h1", "a", Parameters{}), joined("h2", "b", Parameters{}),
		joined("a", "b", delayed(50*ms)), joined("a", "c", delayed(ms)), joined("b", "c", delayed(ms)))
	wantRoute(t, w, "h1", "h2", "h1-a", "a-c", "b-c", "h2-b")
	w.Routing = RoutingHops
	wantRoute(t, w, "h1", "h2", "h1-a", "a-b", "h2-b")
	w.Links[2].AToB.Down = true
	wantRoute(t, w, "h1", "h2", "h1-a", "a-c", "b-c", "h2-b")
}

func TestHostsDoNotForward(t *testing.T) {
	w := custom(t, []string{"h1", "h2", "h3"}, []string{"s1", "s2"},
		joined("h1", "s1", Parameters{}), joined("h2", "s1", Parameters{}), joined("h2", "s2", Parameters{}),
		joined("h3", "s2", Parameters{}), joined("s1", "s2", delayed(time.Second)))
	wantRoute(t, w, "h1", "h3", "h1-s1", "s1-s2", "h3-s2")
}

// randomTopology draws a graph of few delays, so that many paths are equal.
func randomTopology(t *rapid.T, symmetric bool) *Topology {
	topology := &Topology{Routing: rapid.SampledFrom([]string{"", RoutingDelay, RoutingHops}).Draw(t, "routing")}
	hosts := rapid.IntRange(1, 3).Draw(t, "hosts")
	switches := rapid.IntRange(0, 5).Draw(t, "switches")
	var names []string
	for i := range hosts {
		names = append(names, fmt.Sprintf("h%d", i+1))
		topology.Hosts = append(topology.Hosts, Host{Name: names[i], Address: Address(i)})
	}
	for i := range switches {
		topology.Switches = append(topology.Switches, fmt.Sprintf("s%d", i+1))
	}
	names = append(names, topology.Switches...)
	direction := func(name string) Parameters {
		return Parameters{
			Delay: time.Duration(rapid.IntRange(0, 3).Draw(t, name+" delay")) * ms,
			Down:  rapid.IntRange(0, 9).Draw(t, name+" down") == 0,
		}
	}
	for i := range names {
		for j := range i {
			if rapid.IntRange(0, 3).Draw(t, "absent") == 0 {
				continue
			}
			link := Link{Name: names[j] + "-" + names[i], A: names[j], B: names[i]}
			if rapid.Bool().Draw(t, "swapped") {
				link.A, link.B = link.B, link.A
			}
			link.AToB = direction(link.Name)
			link.BToA = link.AToB
			if !symmetric {
				link.BToA = direction(link.Name)
			}
			topology.Links = append(topology.Links, link)
		}
	}
	topology.Links = rapid.Permutation(topology.Links).Draw(t, "order")
	return topology
}

// slowPath tries every path without a cycle: the oracle.
func slowPath(g *Graph, from, to int) []Hop {
	t := g.topology
	cost := func(path []Hop) []int64 {
		delay, hops := int64(t.Delay(path)), int64(len(path))
		cost := []int64{delay, hops}
		if t.Routing == RoutingHops {
			cost = []int64{hops, delay}
		}
		var links []int64
		for _, hop := range path {
			links = append(links, int64(hop.Link))
		}
		slices.Sort(links)
		slices.Reverse(links)
		return append(cost, links...)
	}
	var best []Hop
	var walk func(at int, path []Hop, seen map[int]bool)
	walk = func(at int, path []Hop, seen map[int]bool) {
		if at == to {
			if best == nil || slices.Compare(cost(path), cost(best)) < 0 {
				best = slices.Clone(path)
			}
			return
		}
		if at != from && at < len(t.Hosts) {
			return
		}
		seen[at] = true
		for _, e := range g.out[at] {
			if !seen[e.to] && !t.Parameters(e.hop).Down {
				walk(e.to, append(path, e.hop), seen)
			}
		}
		seen[at] = false
	}
	if from != to {
		walk(from, nil, map[int]bool{})
	}
	return best
}

func TestPathsAreThoseThatTryingAllOfThemFinds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		topology := randomTopology(t, false)
		g, err := topology.Graph()
		if err != nil {
			t.Fatal(err)
		}
		for from := range g.Len() {
			paths := g.From(from)
			backward := g.search(from, true)
			for to := range g.Len() {
				if want := slowPath(g, from, to); !slices.Equal(paths[to], want) {
					t.Fatalf("from %d to %d: %v, want %v", from, to, paths[to], want)
				}
				// The backward search finds the way from to to from.
				var back []Hop
				for at := to; backward[at].hops > 0; at = backward[at].before {
					back = append(back, backward[at].hop)
				}
				if want := slowPath(g, to, from); !slices.Equal(back, want) {
					t.Fatalf("backward from %d to %d: %v, want %v", to, from, back, want)
				}
			}
		}
	})
}

func TestTheWayBackIsTheSameWhereLinksAreAlikeBothWays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		topology := randomTopology(t, true)
		g, err := topology.Graph()
		if err != nil {
			t.Fatal(err)
		}
		for from := range g.Len() {
			for to, path := range g.From(from) {
				var back []Hop
				for _, hop := range g.From(to)[from] {
					back = append([]Hop{{Link: hop.Link, Reverse: !hop.Reverse}}, back...)
				}
				if !slices.Equal(path, back) {
					t.Fatalf("from %d to %d: %v, back %v", from, to, path, back)
				}
			}
		}
	})
}

func TestEveryLinkOfASwitchIsMeasurableAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		plain := randomTopology(t, false)
		topology := plain.WithMonitors()
		g, err := topology.Graph()
		if err != nil {
			t.Fatal(err)
		}
		for i, link := range plain.Links {
			for _, hop := range []Hop{{Link: i}, {Link: i, Reverse: true}} {
				from, to := link.A, link.B
				if hop.Reverse {
					from, to = to, from
				}
				_, fromMonitor := station(t, topology, from)
				_, toMonitor := station(t, topology, to)
				if topology.Parameters(hop).Down || !fromMonitor && !toMonitor {
					continue
				}
				var want []Hop
				if fromMonitor {
					want = append(want, hopTo(topology, MonitorPrefix+from, true))
				}
				want = append(want, hop)
				if toMonitor {
					want = append(want, hopTo(topology, MonitorPrefix+to, false))
				}
				source, _ := station(t, topology, from)
				target, _ := station(t, topology, to)
				a, _ := g.Node(source)
				b, _ := g.Node(target)
				if got := g.From(a)[b]; !slices.Equal(got, want) {
					t.Fatalf("from %s to %s: %v, want %v", source, target, got, want)
				}
			}
		}
	})
}

func station(t *rapid.T, topology *Topology, node string) (host string, monitor bool) {
	host, ok := topology.Station(node)
	if !ok {
		t.Fatalf("no station at %s", node)
	}
	return host, host != node
}

// hopTo is the hop over a monitor's link, from the monitor or to it.
func hopTo(topology *Topology, name string, from bool) Hop {
	i := slices.IndexFunc(topology.Links, func(link Link) bool { return link.Name == name })
	return Hop{Link: i, Reverse: !from}
}

func TestMonitorsLeaveTheOtherPathsAsTheyAre(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		plain := randomTopology(t, false)
		with := plain.WithMonitors()
		g, err := plain.Graph()
		if err != nil {
			t.Fatal(err)
		}
		gWith, err := with.Graph()
		if err != nil {
			t.Fatal(err)
		}
		if len(with.Hosts) != len(plain.Hosts)+len(plain.Switches) {
			t.Fatalf("%d hosts with monitors", len(with.Hosts))
		}
		for i := range plain.Hosts {
			paths, pathsWith := g.From(i), gWith.From(i)
			for j := range plain.Hosts {
				if !slices.Equal(paths[j], pathsWith[j]) {
					t.Fatalf("from %d to %d: %v with monitors, %v without", i, j, pathsWith[j], paths[j])
				}
			}
		}
	})
}

func TestALinkThatIsDownIsNotTheOneMeasured(t *testing.T) {
	r := ring(t, 0)
	r.Links[2].AToB.Down = true // s1 to s2
	wantRoute(t, r.WithMonitors(), "@s1", "@s2", "@s1", "s4-s1", "s3-s4", "s2-s3", "@s2")
	wantRoute(t, r.WithMonitors(), "@s2", "@s1", "@s2", "s1-s2", "@s1")
}
