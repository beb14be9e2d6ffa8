package draw

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// scene is a picture with everything in its place.
type scene struct {
	*network
	layout *layout
	common string
	// shapes are the boxes of nodes, labels the hosts' (nil for switches).
	shapes []box
	labels []*label
	// linkLabels has those of links that have one.
	linkLabels []*label
	// unlabelled says why links that differ have no labels; usually empty.
	unlabelled string
}

// label is text in a box.
type label struct {
	lines []string
	size  float64
	box   box
	// align is -1 for text that begins at the box's left, 1 for its right, 0 for the
	// middle.
	align int
	// beside is true for two lines above and below a link.
	beside bool
}

const (
	// maxLinkLabels is how many labelled links can be read.
	maxLinkLabels = 150
	// growth is by how much a drawing grows until nothing overlaps, at most
	// maxGrowths times.
	growth     = 1.1
	maxGrowths = 30
	// gap is the least distance between things.
	gap = 2.0
	// maxProcessLines is how many lines of processes stand at a host.
	maxProcessLines = 4
)

// newScene lays the network out, as large as it takes for nothing to overlap.
func newScene(n *network) *scene {
	s := &scene{network: n, common: n.common()}
	s.layout = n.lay(s.common)
	s.tooMany()
	for round := 0; !s.arrange() && round < maxGrowths; round++ {
		s.layout.grow(growth)
	}
	return s
}

// tooMany gives labels of links up if nobody could read them.
func (s *scene) tooMany() {
	count := 0
	for i := range s.links {
		if s.labelled(i) {
			count++
		}
	}
	if count > maxLinkLabels {
		s.unlabelled = fmt.Sprintf("%d links that differ have no label here", count)
	}
}

// labelled tells whether a link says by itself what it does.
func (s *scene) labelled(i int) bool {
	l := s.links[i]
	return s.unlabelled == "" && (!l.alike() || l.there != s.common)
}

func (l *layout) grow(factor float64) {
	for i := range l.at {
		l.at[i] = l.at[i].times(factor)
	}
	for _, corners := range l.bend {
		for i := range corners {
			corners[i] = corners[i].times(factor)
		}
	}
}

// arrange places shapes and labels; false if some overlap.
func (s *scene) arrange() bool {
	s.shapes, s.labels, s.linkLabels = make([]box, len(s.nodes)), make([]*label, len(s.nodes)), nil
	for i, node := range s.nodes {
		s.shapes[i] = box{middle: s.layout.at[i], width: 2 * hostRadius, height: 2 * hostRadius, round: true}
		if node.isSwitch {
			s.shapes[i] = box{middle: s.layout.at[i], width: switchWidth(node.name), height: switchHeight}
		}
	}
	taken := slices.Clone(s.shapes)
	for i, node := range s.nodes {
		if !node.isSwitch {
			s.labels[i] = s.hostLabel(i, taken)
			taken = append(taken, s.labels[i].box)
		}
	}
	if clash(taken, gap) {
		return false
	}
	for i := range s.links {
		if s.labelled(i) {
			placed, ok := s.linkLabel(i, taken)
			if !ok {
				return false
			}
			s.linkLabels = append(s.linkLabels, placed)
			taken = append(taken, placed.box)
		}
	}
	return true
}

// clash tells whether any two boxes come nearer than a gap.
func clash(boxes []box, gap float64) bool {
	type span struct {
		box   box
		reach bounds
	}
	var spans []span
	for _, b := range boxes {
		spans = append(spans, span{b, nothing.with(b)})
	}
	slices.SortStableFunc(spans, func(a, b span) int { return cmp.Compare(a.reach.left, b.reach.left) })
	for i, a := range spans {
		for _, b := range spans[i+1:] {
			if b.reach.left > a.reach.right+gap {
				break
			}
			if a.box.overlaps(b.box, gap) {
				return true
			}
		}
	}
	return false
}

// switchWidth is that of the box around a switch's name.
func switchWidth(name string) float64 { return max(26, textWidth(name, nodeSize)+12) }

// labelLines are what stands at a host.
func labelLines(node node) []string {
	lines := append([]string{node.name}, node.processes...)
	if len(lines) > maxProcessLines+1 {
		lines = append(lines[:maxProcessLines:maxProcessLines], fmt.Sprintf("and %d more", len(lines)-maxProcessLines))
	}
	return lines
}

func labelSize(node node) (width, height float64) {
	lines := labelLines(node)
	for _, line := range lines {
		width = max(width, textWidth(line, nodeSize))
	}
	return width + 2, float64(len(lines)) * labelLine
}

// hostLabel places a host's label: where the layout wants it, or where it is in the
// least way.
func (s *scene) hostLabel(i int, taken []box) *label {
	if s.layout.turned {
		return s.turnedLabel(i)
	}
	if s.layout.outward[i] != (point{}) {
		return s.labelTowards(i, s.layout.outward[i])
	}
	var away point
	for _, e := range s.out[i] {
		away = away.minus(s.layout.at[e.to].minus(s.layout.at[i]).unit())
	}
	if len(s.nodes) > largeNetwork {
		return s.labelTowards(i, away.unit())
	}
	start := math.Atan2(away.unit().y, away.unit().x)
	var best *label
	least := 0.0
	for turn := range 8 {
		side := float64((turn+1)/2) * (1 - 2*float64(turn%2)) // 0, -1, 1, -2, 2 and so on
		candidate := s.labelTowards(i, polar(start+side*math.Pi/4, 1))
		if cost := s.cost(candidate.box, taken, -1) + math.Abs(side); best == nil || cost < least {
			best, least = candidate, cost
		}
	}
	return best
}

// labelTowards puts an upright label beside a host.
func (s *scene) labelTowards(i int, direction point) *label {
	width, height := labelSize(s.nodes[i])
	l := &label{lines: labelLines(s.nodes[i]), size: nodeSize, box: box{width: width, height: height}}
	for distance := hostRadius; ; distance++ {
		l.box.middle = s.layout.at[i].plus(direction.times(distance))
		if l.box.distance(s.layout.at[i]) >= hostRadius+3 {
			break
		}
	}
	if direction.x > 0.5 {
		l.align = -1
	} else if direction.x < -0.5 {
		l.align = 1
	}
	return l
}

// turnedLabel lies along the line from the middle of the drawing, so that many fit
// around it. It is never upside down.
func (s *scene) turnedLabel(i int) *label {
	text := strings.Join(labelLines(s.nodes[i]), "  ")
	direction := s.layout.outward[i].unit()
	width := textWidth(text, nodeSize) + 2
	l := &label{lines: []string{text}, size: nodeSize, align: -1, box: box{width: width, height: labelLine,
		middle: s.layout.at[i].plus(direction.times(hostRadius + 4 + width/2)), angle: math.Atan2(direction.y, direction.x)}}
	if direction.x < -1e-9 {
		l.box.angle -= math.Copysign(math.Pi, l.box.angle)
		l.align = 1
	}
	return l
}

// overlapped is the cost of overlapping something that must be seen.
const overlapped = 1000.0

// cost says how much a box is in the way of others, and of links but one.
func (s *scene) cost(b box, taken []box, own int) float64 {
	sum := 0.0
	for _, other := range taken {
		if b.overlaps(other, gap) {
			sum += overlapped
		}
	}
	if len(s.links) > manyLinks {
		return sum
	}
	for i := range s.links {
		if i == own {
			continue
		}
		from := s.layout.at[s.links[i].from]
		for _, corner := range s.layout.bend[i] {
			if b.crossed(from, corner) {
				sum += 10
			}
			from = corner
		}
		if b.crossed(from, s.layout.at[s.links[i].to]) {
			sum += 10
		}
	}
	return sum
}

// line is a link's course.
func (s *scene) line(i int) []point {
	l := s.links[i]
	line := append([]point{s.layout.at[l.from]}, s.layout.bend[i]...)
	return append(line, s.layout.at[l.to])
}

func linkTextWidth(text string) float64 { return textWidth(text, linkSize) + 6 }

// linkLabel places what a link does along its line, near the middle if there is
// room, else elsewhere; false if it overlaps something everywhere.
func (s *scene) linkLabel(i int, taken []box) (*label, bool) {
	p, q := s.longestPart(i)
	var best *label
	least := math.Inf(1)
	for _, along := range []float64{0.5, 0.42, 0.58, 0.34, 0.66, 0.26, 0.74, 0.18, 0.82} {
		candidate := s.labelAlong(i, p, q, along)
		if cost := s.cost(candidate.box, taken, i) + 20*math.Abs(along-0.5); cost < least {
			best, least = candidate, cost
		}
	}
	return best, least < overlapped
}

// longestPart is the longest straight part of a link.
func (s *scene) longestPart(i int) (p, q point) {
	line := s.line(i)
	p, q = line[0], line[1]
	for j := 2; j < len(line); j++ {
		if line[j].minus(line[j-1]).length() > q.minus(p).length() {
			p, q = line[j-1], line[j]
		}
	}
	return p, q
}

// labelAlong makes a link's label at a share of the way from p to q: on the line if
// both directions are alike, else one above and one below, with arrows.
func (s *scene) labelAlong(i int, p, q point, along float64) *label {
	l := s.links[i]
	angle := math.Atan2(q.y-p.y, q.x-p.x)
	forwards := q.x > p.x || q.x == p.x && q.y > p.y
	if !forwards {
		angle -= math.Copysign(math.Pi, angle)
	}
	made := &label{lines: l.lines(forwards), size: linkSize, box: box{middle: p.plus(q.minus(p).times(along)), height: labelLine, angle: angle}}
	if len(made.lines) > 1 {
		made.box.height, made.beside = 2*labelLine+4, true
	}
	for _, line := range made.lines {
		made.box.width = max(made.box.width, linkTextWidth(line))
	}
	return made
}

// lines are what stands at a link whose first end is on the left, or on the right:
// one line on it if both directions are alike, else one above and one below, with
// arrows.
func (l link) lines(leftToRight bool) []string {
	if l.alike() {
		return []string{l.there}
	}
	right, left := l.there, l.back
	if !leftToRight {
		right, left = left, right
	}
	delayRight, restRight, _ := strings.Cut(right, ", ")
	delayLeft, restLeft, _ := strings.Cut(left, ", ")
	if restRight == restLeft && restRight != "" {
		return []string{"← " + delayLeft + " · " + delayRight + " →", restRight}
	}
	return []string{right + " →", "← " + left}
}

// room is the length that a link needs for its label.
func (l link) room() float64 {
	room := 0.0
	for _, line := range l.lines(true) {
		room = max(room, linkTextWidth(line))
	}
	return room + 46
}
