package sim

import (
	"slices"

	"quorumlab/topologies"
)

// routes finds the directions that a path consists of, as the executors of real
// frames do. Hosts with one link share the tree of paths of the switch that it
// leads to, so that thousands of them cost one tree.
type routes struct {
	topology *topologies.Topology
	graph    *topologies.Graph
	// uplinks has, for each host with one link, that link's direction away from
	// it; none for others.
	uplinks []int32
	// trees has, for a node that paths begin at, the direction by which the path
	// to each node ends; none where there is no path. It is filled in as needed.
	trees map[int][]int32
	// raised are the routes if no link were down; nil until they are needed.
	raised *routes
}

// none is no direction.
const none = -1

func newRoutes(t *topologies.Topology) (*routes, error) {
	graph, err := t.Graph()
	if err != nil {
		return nil, err
	}
	r := &routes{topology: t, graph: graph, uplinks: make([]int32, len(t.Hosts)), trees: map[int][]int32{}}
	degrees := make([]int, graph.Len())
	for i, link := range t.Links {
		for reverse, end := range []string{link.A, link.B} {
			node, _ := graph.Node(end)
			degrees[node]++
			if node < len(r.uplinks) {
				r.uplinks[node] = int32(2*i + reverse)
			}
		}
	}
	for host := range r.uplinks {
		if degrees[host] != 1 {
			r.uplinks[host] = none
		}
	}
	return r, nil
}

// hop is the topology's name of a direction.
func hop(direction int32) topologies.Hop {
	return topologies.Hop{Link: int(direction / 2), Reverse: direction%2 == 1}
}

// number is a hop's direction.
func number(h topologies.Hop) int32 {
	if h.Reverse {
		return int32(2*h.Link + 1)
	}
	return int32(2 * h.Link)
}

// end is the node that a direction leads to, origin the one that it leaves.
func (r *routes) end(direction int32) int    { return r.graph.To(hop(direction)) }
func (r *routes) origin(direction int32) int { return r.graph.To(hop(direction ^ 1)) }

// way is the path from one host to another. Where links that are down bar all, it is
// the one that there would be if they were up, as in the executors of real frames: the
// first such link loses the frames. False if there is none either.
func (r *routes) way(from, to int) (directions []int32, ok bool) {
	if directions, ok = r.path(from, to); ok {
		return directions, true
	}
	if r.raised == nil {
		t := *r.topology
		t.Links = slices.Clone(t.Links)
		for i := range t.Links {
			t.Links[i].AToB.Down, t.Links[i].BToA.Down = false, false
		}
		r.raised = mustRoutes(&t)
	}
	return r.raised.path(from, to)
}

// mustRoutes is newRoutes of a topology that was good before its parameters changed.
func mustRoutes(t *topologies.Topology) *routes {
	routes, err := newRoutes(t)
	if err != nil {
		panic("sim: a topology went bad as its parameters changed: " + err.Error())
	}
	return routes
}

// path lists the directions from one host to another; false if there is no way.
func (r *routes) path(from, to int) (directions []int32, ok bool) {
	if from == to {
		return nil, true
	}
	if hosts := r.topology.Hosts; hosts[from].Monitor || hosts[to].Monitor {
		// Monitors have paths that are no part of a tree.
		for _, h := range r.graph.From(from)[to] {
			directions = append(directions, number(h))
		}
		return directions, len(directions) > 0
	}
	root, first := from, r.uplinks[from]
	if first != none {
		if r.topology.Parameters(hop(first)).Down {
			return nil, false
		}
		if root = r.end(first); root < len(r.uplinks) && root != to {
			return nil, false // hosts don't forward
		}
	}
	tree := r.tree(root)
	length := 0
	for node := to; node != root; length++ {
		if tree[node] == none {
			return nil, false
		}
		node = r.origin(tree[node])
	}
	if first != none {
		length++
	}
	directions = make([]int32, length)
	for node, i := to, length-1; node != root; i-- {
		directions[i] = tree[node]
		node = r.origin(tree[node])
	}
	if first != none {
		directions[0] = first
	}
	return directions, true
}

// tree is the tree of paths from a node.
func (r *routes) tree(root int) []int32 {
	if tree := r.trees[root]; tree != nil {
		return tree
	}
	tree := make([]int32, r.graph.Len())
	for node, path := range r.graph.From(root) {
		tree[node] = none
		if len(path) > 0 {
			tree[node] = number(path[len(path)-1])
		}
	}
	r.trees[root] = tree
	return tree
}

// delay sums the propagation delays of directions, in nanoseconds. (The stages between
// hosts, beyond all links, don't count: only networks without any ask.)
func (r *routes) delay(directions []int32) int64 {
	var sum int64
	for _, d := range directions {
		if int(d) < 2*len(r.topology.Links) {
			sum += r.topology.Parameters(hop(d)).Delay.Nanoseconds()
		}
	}
	return sum
}
