package sim

import (
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

// end is the node that a direction leads to, origin the one that it leaves.
func (r *routes) end(direction int32) int    { return r.graph.To(hop(direction)) }
func (r *routes) origin(direction int32) int { return r.graph.To(hop(direction ^ 1)) }

// path lists the directions from one host to another; false if there is no way.
func (r *routes) path(from, to int) (directions []int32, ok bool) {
	if from == to {
		return nil, true
	}
	root, first := from, r.uplinks[from]
	if first != none {
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
			last := path[len(path)-1]
			tree[node] = int32(2 * last.Link)
			if last.Reverse {
				tree[node]++
			}
		}
	}
	r.trees[root] = tree
	return tree
}

// delay sums the propagation delays of directions, in nanoseconds.
func (r *routes) delay(directions []int32) int64 {
	var sum int64
	for _, d := range directions {
		sum += r.topology.Parameters(hop(d)).Delay.Nanoseconds()
	}
	return sum
}
