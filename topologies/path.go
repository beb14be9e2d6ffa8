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
func (t *Topology) Parameters(hop Hop) Parameters { return *t.parameters(hop) }

func (t *Topology) parameters(hop Hop) *Parameters {
	if hop.Reverse {
		return &t.Links[hop.Link].BToA
	}
	return &t.Links[hop.Link].AToB
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
// of fewest hops, as Topology.Routing says. Of paths alike in both it is the one
// without that link which comes last of those in which they differ; so the way back is
// the same where both directions of all links are alike. Hosts don't forward;
// directions that are down aren't used. The path to an unreachable node, and to the
// source itself, is nil.
//
// Between the two ends of a link the path to and from a monitor is that link, so that
// it can be measured by itself; see WithMonitors. A link between two hosts is on their
// path unless another way is better, and then nothing uses it.
func (g *Graph) From(source int) [][]Hop {
	nodes := g.search(source, false)
	paths := make([][]Hop, g.Len())
	for node := range paths {
		paths[node] = way(nodes, node)
	}
	g.monitored(source, paths)
	return paths
}

// way is the path that a search from its first node found; nil if there is none.
func way(nodes []reached, node int) []Hop {
	if !nodes[node].found || nodes[node].hops == 0 {
		return nil
	}
	path := make([]Hop, nodes[node].hops)
	for i := len(path) - 1; i >= 0; i-- {
		path[i] = nodes[node].hop
		node = nodes[node].before
	}
	return path
}

// search is Dijkstra's algorithm. Backward it finds the paths that lead to the source,
// and a node's hop is the one that leaves it.
func (g *Graph) search(source int, backward bool) []reached {
	nodes := make([]reached, g.Len())
	done := make([]bool, g.Len())
	open := frontier{byHops: g.topology.Routing == RoutingHops}
	nodes[source] = reached{node: source, found: true}
	heap.Push(&open, nodes[source])
	for open.Len() > 0 {
		at := heap.Pop(&open).(reached)
		if done[at.node] {
			continue
		}
		done[at.node] = true
		for _, e := range g.out[at.node] {
			hop := e.hop
			if backward {
				hop.Reverse = !hop.Reverse
			}
			p := g.topology.parameters(hop)
			if p.Down || done[e.to] {
				continue
			}
			next := reached{node: e.to, distance: at.distance + p.Delay, hops: at.hops + 1, before: at.node, hop: hop, found: true}
			if known := nodes[e.to]; known.found && !open.shorter(next, known) && (open.shorter(known, next) || !precedes(nodes, next, known)) {
				continue
			}
			nodes[e.to] = next
			if e.to >= len(g.topology.Hosts) { // hosts don't forward
				heap.Push(&open, next)
			}
		}
	}
	return nodes
}

// precedes decides between two ways to a node that are alike in delay and hops: the
// last of the links in which they differ isn't a's. Such an order of paths stays as it
// is when both go on alike, which Dijkstra's algorithm relies on.
func precedes(nodes []reached, a, b reached) bool {
	lastA, lastB := a.hop.Link, b.hop.Link
	i, j := a.before, b.before
	for i != j {
		lastA, lastB = max(lastA, nodes[i].hop.Link), max(lastB, nodes[j].hop.Link)
		i, j = nodes[i].before, nodes[j].before
	}
	return lastA < lastB
}

// Delay sums the propagation delays of a path.
func (t *Topology) Delay(path []Hop) time.Duration {
	var sum time.Duration
	for _, hop := range path {
		sum += t.parameters(hop).Delay
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
