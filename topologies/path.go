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

// From finds the path of least delay from one host to every node; of paths
// with equal delay the one with fewer hops, then the one whose links come
// first. Hosts don't forward. The path to an unreachable node, and to the host
// itself, is nil.
func (g *Graph) From(source int) [][]Hop {
	const unreached = time.Duration(-1)
	distance := make([]time.Duration, g.Len())
	hops := make([]int, g.Len())
	previous := make([]edge, g.Len()) // to: the node before; hop: how it was left
	for i := range distance {
		distance[i] = unreached
	}
	distance[source] = 0
	queue := &frontier{{node: source}}
	done := make([]bool, g.Len())
	for queue.Len() > 0 {
		at := heap.Pop(queue).(reached)
		if done[at.node] {
			continue
		}
		done[at.node] = true
		if at.node != source && at.node < len(g.topology.Hosts) {
			continue
		}
		for _, e := range g.out[at.node] {
			d := at.distance + g.topology.Parameters(e.hop).Delay
			better := distance[e.to] == unreached || d < distance[e.to] ||
				d == distance[e.to] && at.hops+1 < hops[e.to]
			if done[e.to] || !better {
				continue
			}
			distance[e.to], hops[e.to] = d, at.hops+1
			previous[e.to] = edge{to: at.node, hop: e.hop}
			heap.Push(queue, reached{node: e.to, distance: d, hops: at.hops + 1})
		}
	}
	paths := make([][]Hop, g.Len())
	for node := range paths {
		if node == source || distance[node] == unreached {
			continue
		}
		path := make([]Hop, hops[node])
		for at, i := node, len(path)-1; i >= 0; i-- {
			path[i] = previous[at].hop
			at = previous[at].to
		}
		paths[node] = path
	}
	return paths
}

// Delay sums the propagation delays of a path.
func (t *Topology) Delay(path []Hop) time.Duration {
	var sum time.Duration
	for _, hop := range path {
		sum += t.Parameters(hop).Delay
	}
	return sum
}

type reached struct {
	node     int
	distance time.Duration
	hops     int
}

type frontier []reached

func (f frontier) Len() int { return len(f) }
func (f frontier) Less(i, j int) bool {
	if f[i].distance != f[j].distance {
		return f[i].distance < f[j].distance
	}
	if f[i].hops != f[j].hops {
		return f[i].hops < f[j].hops
	}
	return f[i].node < f[j].node
}
func (f frontier) Swap(i, j int) { f[i], f[j] = f[j], f[i] }
func (f *frontier) Push(x any)   { *f = append(*f, x.(reached)) }
func (f *frontier) Pop() any {
	old := *f
	last := old[len(old)-1]
	*f = old[:len(old)-1]
	return last
}
