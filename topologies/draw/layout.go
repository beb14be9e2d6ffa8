package draw

import (
	"math"
	"slices"
)

// layout says where nodes are.
type layout struct {
	at []point
	// outward is where a host's label goes; the zero point leaves that open.
	outward []point
	// turned labels lie along outward, in one line.
	turned bool
	// bend has the corners of a link that isn't straight.
	bend map[int][]point
}

func (n *network) newLayout() *layout {
	return &layout{at: make([]point, len(n.nodes)), outward: make([]point, len(n.nodes)), bend: map[int][]point{}}
}

const (
	hostRadius    = 11.0
	switchHeight  = 20.0
	nodeSize      = 11.0 // of the font
	linkSize      = 10.0
	labelLine     = 12.0
	minLinkLength = 80.0
	// maxUpright is how many leaves a tree or star may have for upright labels.
	maxUpright = 16
	// rowWidth is about where a row of switches turns back.
	rowWidth = 900.0
)

// lay chooses the layout that suits the topology.
func (n *network) lay(common string) *layout {
	access, between := minLinkLength, minLinkLength
	for _, l := range n.links {
		switch {
		case l.alike() && l.there == common:
		case n.nodes[l.from].isSwitch == n.nodes[l.to].isSwitch:
			between = max(between, l.room())
		default:
			access = max(access, l.room())
		}
	}
	longest := max(access, between)
	order, ring := n.walk()
	trees := n.spans()
	isTree := len(trees) == 1 && len(n.links) == len(n.nodes)-1
	switch {
	case len(n.nodes) == 0:
		return n.newLayout()
	case isTree && n.hangsOn() && len(order) > 1 && !ring && n.Topology.Kind != "tree":
		return n.row(order, access, between)
	case isTree && len(n.core()) > 1 && n.leaves(trees[0]) <= maxUpright:
		return n.layered(trees[0], longest)
	case isTree:
		return n.radial(trees[0], longest)
	case n.hangsOn() && ring:
		return n.circle(order, access, between)
	case n.hangsOn() && (n.complete() || n.Topology.Kind == "wan"):
		return n.circle(n.core(), access, between)
	}
	return n.stress(longest)
}

// leaves counts a tree's nodes without children.
func (n *network) leaves(t *tree) int {
	count := 0
	for _, i := range t.order {
		if len(t.children[i]) == 0 {
			count++
		}
	}
	return count
}

// radial puts a tree's root in the middle and its levels on circles; a star has one.
func (n *network) radial(t *tree, longest float64) *layout {
	l := n.newLayout()
	leaves := n.leaves(t)
	l.turned = leaves > maxUpright
	spacing := n.widestLabel() + 8
	if l.turned {
		spacing = 2*hostRadius + 3
	}
	deepest := t.depth[t.order[len(t.order)-1]]
	if deepest == 0 {
		return l
	}
	ring := max(longest, spacing*float64(leaves)/(2*math.Pi)/float64(deepest))
	next, angle := 0, make([]float64, len(n.nodes))
	var place func(i int)
	place = func(i int) {
		if len(t.children[i]) == 0 {
			angle[i] = -math.Pi/2 + 2*math.Pi*float64(next)/float64(leaves)
			next++
		} else {
			for _, e := range t.children[i] {
				place(e.to)
			}
			first, last := t.children[i][0].to, t.children[i][len(t.children[i])-1].to
			angle[i] = (angle[first] + angle[last]) / 2
		}
		l.at[i] = polar(angle[i], ring*float64(t.depth[i]))
		l.outward[i] = polar(angle[i], 1)
	}
	place(t.root)
	return l
}

// widestLabel is the greatest width of a host's label.
func (n *network) widestLabel() float64 {
	widest := 2 * hostRadius
	for _, node := range n.nodes {
		if !node.isSwitch {
			width, _ := labelSize(node)
			widest = max(widest, width)
		}
	}
	return widest
}

// layered puts a tree's root on top and each level below the one before.
func (n *network) layered(t *tree, longest float64) *layout {
	l := n.newLayout()
	x, level := 0.0, max(longest, minLinkLength)
	var place func(i int)
	place = func(i int) {
		if len(t.children[i]) == 0 {
			width := n.nodeWidth(i) + 14
			l.at[i].x = x + width/2
			x += width
		} else {
			for _, e := range t.children[i] {
				place(e.to)
			}
			first, last := t.children[i][0].to, t.children[i][len(t.children[i])-1].to
			l.at[i].x = (l.at[first].x + l.at[last].x) / 2
		}
		l.at[i].y = level * float64(t.depth[i])
		l.outward[i] = point{0, 1}
	}
	place(t.root)
	return l
}

// nodeWidth is what a node takes with the label below it.
func (n *network) nodeWidth(i int) float64 {
	if n.nodes[i].isSwitch {
		return switchWidth(n.nodes[i].name)
	}
	width, _ := labelSize(n.nodes[i])
	return max(2*hostRadius, width)
}

// row puts switches in a row with their hosts below, or below and above if they are
// many. A long row turns back at its end.
func (n *network) row(order []int, access, between float64) *layout {
	l := n.newLayout()
	fans := make([]fan, len(order))
	top, bottom := 0.0, 0.0
	for i, at := range order {
		fans[i] = n.newFan(at)
		if len(fans[i].above) > 0 {
			top = access + 30
		}
		bottom = access + 50
	}
	x, y, direction, since := 0.0, 0.0, 1.0, 0
	for i, at := range order {
		if i > 0 {
			step := max((fans[i-1].width+fans[i].width)/2+16, between+n.nodeWidth(at)/2+n.nodeWidth(order[i-1])/2-30)
			if edge := x + direction*step; since > 1 && (edge > rowWidth || edge < 0) {
				side := x + direction*(max(fans[i-1].width, fans[i].width)/2+24)
				below := y + top + bottom + 2*switchHeight
				l.bend[n.joining(order[i-1], at)] = []point{{side, y}, {side, below}}
				y, direction, since = below, -direction, 0
			} else {
				x += direction * step
			}
		}
		since++
		l.at[at] = point{x, y}
		n.hang(l, at, fans[i].below, 1, access)
		n.hang(l, at, fans[i].above, -1, access)
	}
	return l
}

// fan are the hosts of a switch in a row.
type fan struct {
	above, below []int
	width        float64
}

func (n *network) newFan(at int) fan {
	hosts := n.hangers(at)
	f := fan{below: hosts}
	if len(hosts) > 4 {
		f.above, f.below = hosts[:len(hosts)/2], hosts[len(hosts)/2:]
	}
	f.width = n.nodeWidth(at)
	for _, side := range [][]int{f.above, f.below} {
		width := 0.0
		for _, host := range side {
			width += n.nodeWidth(host) + 12
		}
		f.width = max(f.width, width)
	}
	return f
}

// hang puts hosts beside each other below (side 1) or above (-1) their switch.
func (n *network) hang(l *layout, at int, hosts []int, side, distance float64) {
	width := 0.0
	for _, host := range hosts {
		width += n.nodeWidth(host) + 12
	}
	x := l.at[at].x - width/2
	for _, host := range hosts {
		own := n.nodeWidth(host) + 12
		l.at[host] = point{x + own/2, l.at[at].y + side*distance}
		l.outward[host] = point{0, side}
		x += own
	}
}

// joining is a link between two nodes.
func (n *network) joining(a, b int) int {
	at := slices.IndexFunc(n.out[a], func(e end) bool { return e.to == b })
	return n.out[a][at].link
}

// circle puts the core on a circle, in the order given, and hosts that hang on it
// around the outside of their switch.
func (n *network) circle(order []int, access, between float64) *layout {
	l := n.newLayout()
	room := max(between, n.widestLabel())
	for _, at := range order {
		room = max(room, n.nodeWidth(at)+30)
		if hosts := len(n.hangers(at)); hosts > 0 {
			room = max(room, 1.2*n.fanRadius(hosts, access))
		}
	}
	radius := max(room/(2*math.Sin(math.Pi/float64(max(len(order), 2)))), 0.9*between)
	for i, at := range order {
		angle := -math.Pi/2 + 2*math.Pi*float64(i)/float64(len(order))
		l.at[at] = polar(angle, radius)
		l.outward[at] = polar(angle, 1)
		n.around(l, at, angle, access)
	}
	return l
}

// widestFan is the angle that a switch's hosts are spread over.
const widestFan = 150 * math.Pi / 180

// fanRadius is how far from their switch so many hosts are.
func (n *network) fanRadius(hosts int, access float64) float64 {
	return max(access, float64(hosts-1)*(n.widestLabel()+6)/widestFan)
}

// around spreads a switch's hosts about a direction.
func (n *network) around(l *layout, at int, angle, access float64) {
	hosts := n.hangers(at)
	step := 0.0
	if len(hosts) > 1 {
		step = min(widestFan/float64(len(hosts)-1), 50*math.Pi/180)
	}
	for i, host := range hosts {
		own := angle + step*(float64(i)-float64(len(hosts)-1)/2)
		l.at[host] = l.at[at].plus(polar(own, n.fanRadius(len(hosts), access)))
		l.outward[host] = polar(own, 1)
	}
}
