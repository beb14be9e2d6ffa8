package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"quorumlab/topologies"
)

// randomTopology joins switches to a connected graph, and to each some hosts.
func randomTopology(random *rand.Rand) *topologies.Topology {
	t := &topologies.Topology{}
	join := func(a, b string) {
		t.Links = append(t.Links, topologies.Link{
			Name: a + "-" + b, A: a, B: b,
			AToB: topologies.Parameters{Delay: time.Duration(random.IntN(5)) * time.Millisecond},
			BToA: topologies.Parameters{Delay: time.Duration(random.IntN(5)) * time.Millisecond},
		})
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
	for range 200 {
		topology := randomTopology(random)
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
				if !ok || !slices.Equal(got, want) {
					t.Fatalf("from %d to %d: %v %v, want %v of %+v", from, to, got, ok, want, topology)
				}
				if delay := topology.Delay(paths[to]); r.delay(got) != int64(delay) {
					t.Fatalf("delay is %d, want %v", r.delay(got), delay)
				}
			}
		}
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
