package draw

import "math"

// stressRounds is how often every node is moved, more changes little; in large
// networks it is less often.
const (
	stressRounds      = 120
	stressRoundsLarge = 30
	// stressStarts is how many beginnings are tried for the fewest crossings.
	stressStarts = 8
	// largeNetwork is how many nodes, manyLinks how many links are too many for
	// searching what looks best.
	largeNetwork = 250
	manyLinks    = 1000
)

// stress places the nodes of any graph so that distances on paper are like those in
// hops, by majorisation of stress (Gansner, Koren and North, "Graph Drawing by
// Stress Majorization", 2004; here node by node). It begins with the nodes on a
// circle, in several orders, and keeps what has the fewest links that cross.
func (n *network) stress(longest float64) *layout {
	hops := make([][]int, len(n.nodes))
	farthest := 1
	for i := range hops {
		hops[i] = n.distances(i)
		for _, d := range hops[i] {
			farthest = max(farthest, d)
		}
	}
	var order []int
	for _, t := range n.spans() {
		order = append(order, depthFirst(t, t.root)...)
	}
	if len(order) > largeNetwork || len(n.links) > manyLinks {
		l := n.newLayout()
		n.settle(l, order, hops, farthest, longest, stressRoundsLarge)
		return l
	}
	var best *layout
	fewest := 0
	for range stressStarts {
		attempt := n.newLayout()
		n.settle(attempt, order, hops, farthest, longest, stressRounds)
		if crossings := n.crossings(attempt); best == nil || crossings < fewest {
			best, fewest = attempt, crossings
		}
		order = dealt(order)
	}
	return best
}

// settle begins with the nodes on a circle in some order, and moves each in turn.
func (n *network) settle(l *layout, order []int, hops [][]int, farthest int, length float64, rounds int) {
	for place, i := range order {
		l.at[i] = polar(2*math.Pi*float64(place)/float64(len(order)), length*float64(farthest)/2)
	}
	for range rounds {
		for _, i := range order {
			l.at[i] = n.majorised(l, i, hops[i], farthest, length)
		}
	}
}

// dealt is another order: as if dealt onto three heaps.
func dealt(order []int) []int {
	var out []int
	for heap := range 3 {
		for i := heap; i < len(order); i += 3 {
			out = append(out, order[i])
		}
	}
	return out
}

// crossings counts the pairs of links that cross.
func (n *network) crossings(l *layout) int {
	count := 0
	for i, a := range n.links {
		for _, b := range n.links[:i] {
			if a.from != b.from && a.from != b.to && a.to != b.from && a.to != b.to &&
				crosses(l.at[a.from], l.at[a.to], l.at[b.from], l.at[b.to]) {
				count++
			}
		}
	}
	return count
}

// crosses tells whether the line from a to b crosses that from c to d.
func crosses(a, b, c, d point) bool {
	side := func(p, q, r point) bool {
		return (q.x-p.x)*(r.y-p.y)-(q.y-p.y)*(r.x-p.x) > 0
	}
	return side(a, b, c) != side(a, b, d) && side(c, d, a) != side(c, d, b)
}

// majorised is where a node has the least stress, the others as they are.
func (n *network) majorised(l *layout, i int, hops []int, farthest int, length float64) point {
	var sum point
	weights := 0.0
	for j, d := range hops {
		if j == i {
			continue
		}
		if d < 0 { // another component
			d = farthest + 1
		}
		ideal := float64(d) * length
		weight := 1 / (ideal * ideal)
		sum = sum.plus(l.at[j].plus(l.at[i].minus(l.at[j]).unit().times(ideal)).times(weight))
		weights += weight
	}
	if weights == 0 {
		return l.at[i]
	}
	return sum.times(1 / weights)
}

// depthFirst lists a tree's nodes.
func depthFirst(t *tree, from int) []int {
	order := []int{from}
	for _, e := range t.children[from] {
		order = append(order, depthFirst(t, e.to)...)
	}
	return order
}
