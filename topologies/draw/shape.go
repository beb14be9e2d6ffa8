package draw

import "slices"

// distances are the hops from a node to each; -1 for what can't be reached.
func (n *network) distances(from int) []int {
	hops := make([]int, len(n.nodes))
	for i := range hops {
		hops[i] = -1
	}
	hops[from] = 0
	for queue := []int{from}; len(queue) > 0; queue = queue[1:] {
		for _, e := range n.out[queue[0]] {
			if hops[e.to] < 0 {
				hops[e.to] = hops[queue[0]] + 1
				queue = append(queue, e.to)
			}
		}
	}
	return hops
}

// root is the node that a drawing begins with, among candidates: a tree's first
// switch, a row's first, else the switch from which the farthest node is nearest, else,
// without switches, such a host. Of equals it is the first.
func (n *network) root(candidates []int) int {
	if order, ring := n.walk(); len(order) > 2 && !ring && n.Topology.Kind != "tree" && slices.Contains(candidates, order[0]) {
		return order[0]
	}
	var switches []int
	for _, i := range candidates {
		if n.nodes[i].isSwitch {
			switches = append(switches, i)
		}
	}
	if len(switches) > 0 {
		candidates = switches
	}
	if len(switches) > 0 && n.Topology.Kind == "tree" {
		return switches[0]
	}
	best, bestFar, bestSum := -1, 0, 0
	for _, i := range candidates {
		far, sum := 0, 0
		for _, d := range n.distances(i) {
			far, sum = max(far, d), sum+max(d, 0)
		}
		if best < 0 || far < bestFar || far == bestFar && sum < bestSum {
			best, bestFar, bestSum = i, far, sum
		}
	}
	return best
}

// tree is a spanning tree of what can be reached from its root, breadth first in
// the order of the links.
type tree struct {
	root     int
	order    []int // breadth first
	depth    []int // -1 for what isn't in it
	children [][]end
	inTree   map[int]bool // links
}

func (n *network) span(root int) *tree {
	t := &tree{root: root, order: []int{root}, depth: make([]int, len(n.nodes)),
		children: make([][]end, len(n.nodes)), inTree: map[int]bool{}}
	for i := range t.depth {
		t.depth[i] = -1
	}
	t.depth[root] = 0
	for at := 0; at < len(t.order); at++ {
		i := t.order[at]
		if i != root && !n.nodes[i].isSwitch && n.switches > 0 {
			continue // hosts don't forward
		}
		for _, e := range n.out[i] {
			if t.depth[e.to] < 0 {
				t.depth[e.to] = t.depth[i] + 1
				t.children[i] = append(t.children[i], e)
				t.order = append(t.order, e.to)
				t.inTree[e.link] = true
			}
		}
	}
	return t
}

// spans are trees of all components, the first from the root of all.
func (n *network) spans() []*tree {
	left := make([]int, len(n.nodes))
	for i := range left {
		left[i] = i
	}
	var trees []*tree
	for len(left) > 0 {
		t := n.span(n.root(left))
		trees = append(trees, t)
		left = slices.DeleteFunc(left, func(i int) bool { return t.depth[i] >= 0 })
	}
	return trees
}

// core are the switches, or all hosts if there are none.
func (n *network) core() []int {
	var core []int
	for i, node := range n.nodes {
		if node.isSwitch || n.switches == 0 {
			core = append(core, i)
		}
	}
	return core
}

// hangsOn tells whether every host outside the core has one link, to a switch.
func (n *network) hangsOn() bool {
	for i, node := range n.nodes {
		if !node.isSwitch && n.switches > 0 && (len(n.out[i]) != 1 || !n.nodes[n.out[i][0].to].isSwitch) {
			return false
		}
	}
	return true
}

// inCore lists a node's neighbours in the core.
func (n *network) inCore(i int) []int {
	var out []int
	for _, e := range n.out[i] {
		if n.nodes[e.to].isSwitch == n.nodes[i].isSwitch {
			out = append(out, e.to)
		}
	}
	return out
}

// hangers are the hosts that hang on a switch.
func (n *network) hangers(i int) []int {
	var out []int
	for _, e := range n.out[i] {
		if n.nodes[i].isSwitch && !n.nodes[e.to].isSwitch {
			out = append(out, e.to)
		}
	}
	return out
}

// complete tells whether each two nodes of the core are joined by one link.
func (n *network) complete() bool {
	core := n.core()
	for _, i := range core {
		joined := n.inCore(i)
		slices.Sort(joined)
		if len(joined) != len(core)-1 || len(slices.Compact(joined)) != len(core)-1 {
			return false
		}
	}
	return len(core) > 2
}

// walk is the core in the order of a path or a ring, if it is one: from a path's
// end that comes first, or a ring's first node.
func (n *network) walk() (order []int, ring bool) {
	core := n.core()
	if len(core) == 0 {
		return nil, false
	}
	var ends []int
	for _, i := range core {
		switch len(n.inCore(i)) {
		case 1:
			ends = append(ends, i)
		case 2:
		default:
			return nil, false
		}
	}
	if len(ends) != 2 && len(ends) != 0 {
		return nil, false
	}
	at := core[0]
	if len(ends) > 0 {
		at = ends[0]
	}
	for at >= 0 {
		order = append(order, at)
		next := -1
		for _, to := range n.inCore(at) {
			if !slices.Contains(order, to) {
				next = to
				break
			}
		}
		at = next
	}
	if len(order) != len(core) {
		return nil, false
	}
	return order, len(ends) == 0
}
