package topologies

import (
	"container/heap"
	"fmt"
	"time"
)

// Hop is one direction of a link on a path.
type Hop struct {
	// Link indexes Topology.Links.
	Link int
	// Reverse is true if the path takes the link from B to A.
	Reverse bool
}

// Parameters of the hop's direction.
func (t *Topology) Parameters(hop Hop) Parameters {
	if hop.Reverse {
		return t.Links[hop.Link].BToA
	}
	return t.Links[hop.Link].AToB
}

// Graph is a topology made ready for finding paths. Nodes are numbered: first
// the hosts in their order, then the switches.
type Graph struct {
	topology *Topology
	index    map[string]int
	out      [][]edge
}

type edge struct {
	to  int
	hop Hop
}

// Graph indexes the topology. It fails if a name stands twice or a link joins
// what doesn't exist.
func (t *Topology) Graph() (*Graph, error) {
	g := &Graph{topology: t, index: map[string]int{}}
	add := func(name string) error {
		if _, taken := g.index[name]; taken {
			return fmt.Errorf("topology: the name %q stands twice", name)
		}
		g.index[name] = len(g.index)
		return nil
	}
	for _, host := range t.Hosts {
		if err := add(host.Name); err != nil {
			return nil, err
		}
	}
	for _, name := range t.Switches {
		if err := add(name); err != nil {
			return nil, err
		}
	}
	g.out = make([][]edge, len(g.index))
	for i, link := range t.Links {
		a, okA := g.index[link.A]
		b, okB := g.index[link.B]
		if !okA || !okB || a == b {
			return nil, fmt.Errorf("topology: link %q joins %q and %q, want two hosts or switches that exist", link.Name, link.A, link.B)
		}
		g.out[a] = append(g.out[a], edge{to: b, hop: Hop{Link: i}})
		g.out[b] = append(g.out[b], edge{to: a, hop: Hop{Link: i, Reverse: true}})
	}
	return g, nil
}

// Node numbers a host or switch, hosts first.
func (g *Graph) Node(name string) (int, bool) {
	n, ok := g.index[name]
	return n, ok
}

// Len is the number of hosts and switches.
func (g *Graph) Len() int { return len(g.out) }

// To is the node at the far end of a hop.
func (g *Graph) To(hop Hop) int {
	link := g.topology.Links[hop.Link]
	if hop.Reverse {
		return g.index[link.A]
	}
	return g.index[link.B]
}

// From finds the paths from one host or switch to every node: those of least delay or
// of fewest hops, as Topology.Routing says; of paths alike in both the one whose
// links come first. Hosts don't forward; directions that are down aren't used. The
// path to an unreachable node, and to the source itself, is nil.
//
// Between the two ends of a link the path to and from a monitor is that link, so that
// it can be measured by itself; see WithMonitors.
func (g *Graph) From(source int) [][]Hop {
	s := g.search(source)
	paths := make([][]Hop, g.Len())
	for node := range paths {
		if node == source || !s.nodes[node].found {
			continue
		}
		path := make([]Hop, s.nodes[node].hops)
		for at, i := node, len(path)-1; i >= 0; i-- {
			path[i] = s.nodes[at].hop
			at = s.nodes[at].before
		}
		paths[node] = path
	}
	g.monitored(source, paths)
	return paths
}

// search is Dijkstra's algorithm at work.
type search struct {
	nodes    []reached
	done     []bool
	frontier frontier
}

func (g *Graph) search(source int) *search {
	s := &search{nodes: make([]reached, g.Len()), done: make([]bool, g.Len())}
	s.frontier.byHops = g.topology.Routing == RoutingHops
	s.nodes[source] = reached{node: source, found: true}
	heap.Push(&s.frontier, s.nodes[source])
	for s.frontier.Len() > 0 {
		at := heap.Pop(&s.frontier).(reached)
		if s.done[at.node] {
			continue
		}
		s.done[at.node] = true
		if at.node != source && at.node < len(g.topology.Hosts) {
			continue
		}
		for _, e := range g.out[at.node] {
			p := g.topology.Parameters(e.hop)
			next := reached{node: e.to, distance: at.distance + p.Delay, hops: at.hops + 1, before: at.node, hop: e.hop, found: true}
			if p.Down || s.done[e.to] || s.nodes[e.to].found && !s.frontier.shorter(next, s.nodes[e.to]) {
				continue
			}
			s.nodes[e.to] = next
			heap.Push(&s.frontier, next)
		}
	}
	return s
}

// Delay sums the propagation delays of a path.
func (t *Topology) Delay(path []Hop) time.Duration {
	var sum time.Duration
	for _, hop := range path {
		sum += t.Parameters(hop).Delay
	}
	return sum
}

// reached is the best way to a node that is known so far.
type reached struct {
	node     int
	distance time.Duration
	hops     int
	// before is the node before, hop the way from there.
	before int
	hop    Hop
	found  bool
}

// frontier is a priority queue of nodes.
type frontier struct {
	nodes  []reached
	byHops bool
}

// shorter tells whether a is a better way than b, apart from the order of links.
func (f *frontier) shorter(a, b reached) bool {
	if f.byHops && a.hops != b.hops {
		return a.hops < b.hops
	}
	if a.distance != b.distance {
		return a.distance < b.distance
	}
	return a.hops < b.hops
}

func (f *frontier) Len() int { return len(f.nodes) }
func (f *frontier) Less(i, j int) bool {
	a, b := f.nodes[i], f.nodes[j]
	if f.shorter(a, b) || f.shorter(b, a) {
		return f.shorter(a, b)
	}
	return a.node < b.node
}
func (f *frontier) Swap(i, j int) { f.nodes[i], f.nodes[j] = f.nodes[j], f.nodes[i] }
func (f *frontier) Push(x any)    { f.nodes = append(f.nodes, x.(reached)) }
func (f *frontier) Pop() any {
	last := f.nodes[len(f.nodes)-1]
	f.nodes = f.nodes[:len(f.nodes)-1]
	return last
}
