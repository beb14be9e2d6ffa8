package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"quorumlab/topologies"
)

// randomTopology joins switches to a connected graph, and to each some hosts; a share
// of the directions is down.
func randomTopology(random *rand.Rand, down float64) *topologies.Topology {
	t := &topologies.Topology{Routing: []string{"", topologies.RoutingDelay, topologies.RoutingHops}[random.IntN(3)]}
	direction := func() topologies.Parameters {
		return topologies.Parameters{Delay: time.Duration(random.IntN(5)) * time.Millisecond, Down: random.Float64() < down}
	}
	join := func(a, b string) {
		t.Links = append(t.Links, topologies.Link{Name: a + "-" + b, A: a, B: b, AToB: direction(), BToA: direction()})
	}
	for i := range 2 + random.IntN(5) {
		name := fmt.Sprint("s", i)
		if i > 0 {
			join(name, t.Switches[random.IntN(i)])
		}
		t.Switches = append(t.Switches, name)
	}
	for range random.IntN(4) {
		a, b := random.IntN(len(t.Switches)), random.IntN(len(t.Switches))
		if a != b {
			join(t.Switches[a], t.Switches[b])
		}
	}
	for i := range 2 + random.IntN(6) {
		host := topologies.Host{Name: fmt.Sprint("h", i), Address: topologies.Address(i)}
		t.Hosts = append(t.Hosts, host)
		join(host.Name, t.Switches[random.IntN(len(t.Switches))])
		if random.IntN(4) == 0 { // a second link: the host has paths of its own
			join(t.Switches[random.IntN(len(t.Switches))], host.Name)
		}
	}
	return t
}

func TestRoutesAreThoseOfTheTopologysGraph(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	found, cut := 0, 0
	for i := range 400 {
		topology := randomTopology(random, float64(i%2)/6)
		if i%4 > 1 {
			topology = topology.WithMonitors()
		}
		r, err := newRoutes(topology)
		if err != nil {
			t.Fatal(err)
		}
		for from := range topology.Hosts {
			paths := r.graph.From(from)
			for to := range topology.Hosts {
				got, ok := r.path(from, to)
				var want []int32
				for _, h := range paths[to] {
					direction := int32(2 * h.Link)
					if h.Reverse {
						direction++
					}
					want = append(want, direction)
				}
				if ok != (from == to || want != nil) || !slices.Equal(got, want) {
					t.Fatalf("from %d to %d: %v %v, want %v of %+v", from, to, got, ok, want, topology)
				}
				if ok {
					found++
				} else {
					cut++
				}
				if delay := topology.Delay(paths[to]); r.delay(got) != int64(delay) {
					t.Fatalf("delay is %d, want %v", r.delay(got), delay)
				}
			}
		}
	}
	if found < 10_000 || cut < 1000 {
		t.Errorf("%d paths were compared, and %d pairs without one", found, cut)
	}
}

func TestHostsThatHaveNoWayToEachOtherAreFoundOut(t *testing.T) {
	topology := topologies.Star(2, topologies.Parameters{})
	topology.Hosts = append(topology.Hosts, topologies.Host{Name: "alone"}, topologies.Host{Name: "behind"})
	topology.Links = append(topology.Links, topologies.Link{Name: "h1-behind", A: "h1", B: "behind"})
	r, err := newRoutes(topology)
	if err != nil {
		t.Fatal(err)
	}
	for _, pair := range [][2]int{{0, 2}, {2, 0}, {1, 3}, {3, 1}} { // hosts don't forward
		if path, ok := r.path(pair[0], pair[1]); ok {
			t.Errorf("the path of %v is %v, want none", pair, path)
		}
	}
	for _, pair := range [][2]int{{0, 3}, {3, 0}, {0, 1}} {
		if _, ok := r.path(pair[0], pair[1]); !ok {
			t.Errorf("no path for %v", pair)
		}
	}
}
