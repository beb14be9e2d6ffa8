package draw

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"

	"quorumlab/topologies"
)

const (
	// maxTextNodes is how many hosts and switches are drawn one a line; larger
	// networks are lists of neighbours.
	maxTextNodes = 48
	// maxTextCycles is how many links that close cycles are listed below a tree.
	maxTextCycles = 60
	// maxPadding is up to which width labels are made equally wide.
	maxPadding = 32
	// MinTextWidth is the least width that Text keeps to.
	MinTextWidth = 40
)

// Text draws for a terminal of so many columns, without colour. Links that aren't
// labelled are as its last line says. Small networks are drawn as a tree from the most
// central switch, with the links that close cycles below it; where each two regions
// are joined, as a matrix of delays; large ones as a list of neighbours.
func Text(w io.Writer, p Picture, width int) error {
	n, err := newNetwork(p)
	if err != nil {
		return err
	}
	t := &text{network: n, width: max(width, MinTextWidth), common: n.common()}
	switch {
	case t.matrix():
	case len(n.nodes) > maxTextNodes, len(n.links) > len(n.nodes)+maxTextCycles:
		t.neighbours()
	default:
		t.trees()
	}
	if legend := n.legend(t.common); legend != "" {
		t.wrapped("(", ")", strings.Split(legend, ", "))
	}
	_, err = io.WriteString(w, t.b.String())
	return err
}

type text struct {
	*network
	b      strings.Builder
	width  int
	common string
}

// line writes a line, cut to the width.
func (t *text) line(s string) {
	s = strings.TrimRight(s, " ")
	t.b.WriteString(runewidth.Truncate(s, t.width, "…") + "\n")
}

// label is a link's, seen from one of its ends; empty if it is common.
func (t *text) label(l link, from int) string {
	if l.alike() {
		if l.there == t.common {
			return ""
		}
		return l.there
	}
	away, back := l.there, l.back
	if from != l.from {
		away, back = back, away
	}
	delayAway, restAway, _ := strings.Cut(away, ", ")
	delayBack, restBack, _ := strings.Cut(back, ", ")
	if restAway == restBack {
		return strings.Join(notEmpty(fmt.Sprintf("→ %s ← %s", delayAway, delayBack), restAway), ", ")
	}
	return fmt.Sprintf("→ %s; ← %s", away, back)
}

// trees draws a tree for each component, and then what closes cycles.
func (t *text) trees() {
	inTree := map[int]bool{}
	for _, tree := range t.spans() {
		t.line(t.title(tree.root))
		t.children(tree, tree.root, "")
		for i := range tree.inTree {
			inTree[i] = true
		}
	}
	var further []int
	for i := range t.links {
		if !inTree[i] {
			further = append(further, i)
		}
	}
	t.further(further)
}

// title is a node with its processes.
func (t *text) title(i int) string {
	return strings.TrimSpace(t.nodes[i].name + "  " + strings.Join(t.nodes[i].processes, ", "))
}

// children draws what is below a node, hosts first.
func (t *text) children(tree *tree, parent int, indent string) {
	children := slices.Clone(tree.children[parent])
	slices.SortStableFunc(children, func(a, b end) int {
		return cmp.Compare(len(tree.children[a.to]), len(tree.children[b.to]))
	})
	widest := 0
	for _, e := range children {
		widest = max(widest, runewidth.StringWidth(t.label(t.links[e.link], parent)))
	}
	widest = min(widest, maxPadding)
	for i, e := range children {
		branch, below := "├─", "│  "
		if i == len(children)-1 {
			branch, below = "└─", "   "
		}
		label := t.label(t.links[e.link], parent)
		line := indent + branch + stroke(label, widest) + " " + t.title(e.to)
		if runewidth.StringWidth(line) > t.width && label != "" {
			t.line(indent + branch + " " + t.title(e.to))
			t.wrapped(indent+below+"(", ")", strings.Split(label, ", "))
		} else {
			t.line(line)
		}
		t.children(tree, e.to, indent+below)
	}
}

// stroke is the line that leads to a child, with its label, so wide that labels of
// this width end at the same column.
func stroke(label string, widest int) string {
	if widest == 0 {
		return ""
	}
	fill := strings.Repeat("─", max(0, widest-runewidth.StringWidth(label)))
	if label == "" {
		return "──" + fill + "─"
	}
	return " " + label + " " + fill + "─"
}

// further lists links that aren't in a tree: those alike together.
func (t *text) further(links []int) {
	var order []string
	groups := map[string][]string{}
	for _, i := range links {
		l := t.links[i]
		label := t.label(l, l.from)
		if groups[label] == nil {
			order = append(order, label)
		}
		groups[label] = append(groups[label], l.A+" ─ "+l.B)
	}
	for _, label := range order {
		heading := "further: "
		if label != "" {
			heading = "further, " + label + ": "
		}
		t.wrapped(heading, "", groups[label])
	}
}

// neighbours lists, for each switch, what it is joined to; without switches, for
// each host.
func (t *text) neighbours() {
	seen := map[int]bool{}
	var lists []string
	for _, i := range t.core() {
		var order []string
		groups := map[string][]string{}
		for _, e := range t.out[i] {
			if seen[e.link] {
				continue
			}
			seen[e.link] = true
			label := t.label(t.links[e.link], i)
			if groups[label] == nil {
				order = append(order, label)
			}
			groups[label] = append(groups[label], t.nodes[e.to].name)
		}
		var parts []string
		for _, label := range order {
			parts = append(parts, strings.Join(notEmpty(label, strings.Join(ranges(groups[label]), ", ")), " ─ "))
		}
		if len(parts) > 0 {
			lists = append(lists, t.nodes[i].name+" ─ "+strings.Join(parts, "; "))
		}
	}
	t.columns(lists)
	if processes := t.placements(); len(processes) > 0 {
		t.wrapped("processes: ", "", processes)
	}
}

// columns writes texts below each other, in several columns if they are short.
func (t *text) columns(texts []string) {
	widest := 1
	for _, s := range texts {
		widest = max(widest, runewidth.StringWidth(s))
	}
	count := max(1, (t.width+3)/(widest+3))
	rows := (len(texts) + count - 1) / count
	for row := range rows {
		line := ""
		for i := row; i < len(texts); i += rows {
			line += runewidth.FillRight(texts[i], widest) + "   "
		}
		if line = strings.TrimRight(line, " "); runewidth.StringWidth(line) > t.width {
			t.wrapped("", "", strings.Split(line, ", "))
		} else {
			t.line(line)
		}
	}
}

// placements lists which processes are on which hosts, neighbours alike together:
// "h1-3 replica1-3".
func (t *text) placements() []string {
	var hosts, processes, out []string
	flush := func() {
		if len(hosts) > 0 {
			out = append(out, ranges(hosts)[0]+" "+ranges(processes)[0])
		}
		hosts, processes = nil, nil
	}
	for _, node := range t.nodes {
		own := t.Processes[node.name]
		if len(own) == 1 {
			hosts, processes = append(hosts, node.name), append(processes, own[0].Name)
			if len(ranges(hosts)) == 1 && len(ranges(processes)) == 1 {
				continue
			}
			hosts, processes = hosts[:len(hosts)-1], processes[:len(processes)-1]
			flush()
			hosts, processes = []string{node.name}, []string{own[0].Name}
			continue
		}
		flush()
		if len(own) > 1 {
			out = append(out, node.name+" "+strings.Join(node.processes, "+"))
		}
	}
	flush()
	return out
}

// wrapped writes words separated by commas over as many lines as they need.
func (t *text) wrapped(heading, tail string, words []string) {
	line, indent := heading, "    "
	if trimmed := strings.TrimRight(heading, "("); trimmed != heading {
		indent = trimmed + " "
	}
	for i, word := range words {
		if i < len(words)-1 {
			word += ","
		} else {
			word += tail
		}
		if runewidth.StringWidth(line+word) > t.width && i > 0 {
			t.line(line)
			line = indent
		}
		line += word + " "
	}
	t.line(line)
}

// matrix draws a core in which each two nodes are joined and links differ in nothing
// but their delays, or in nothing; false, having written nothing, for other networks.
func (t *text) matrix() bool {
	core := t.core()
	if !t.complete() || !t.hangsOn() {
		return false
	}
	if t.uniform() {
		t.line("each two of these are joined by a link of their own")
		t.regions(core)
		return true
	}
	rest, cells, column := "", make([][]string, len(core)), 0
	for row, from := range core {
		for _, to := range core {
			cell := "-"
			if from != to {
				p := t.direction(from, to)
				cell = number(float64(p.Delay) / float64(time.Millisecond))
				p.Delay = 0
				if description := Describe(p); rest == "" {
					rest = description
				} else if description != rest {
					return false
				}
			}
			cells[row] = append(cells[row], cell)
			column = max(column, len(cell))
		}
	}
	names := t.headings(core, column)
	first := runewidth.StringWidth(names.corner)
	for i := range core {
		column = max(column, runewidth.StringWidth(names.columns[i]))
		first = max(first, runewidth.StringWidth(names.rows[i]))
	}
	if first+len(core)*(column+2) > t.width {
		return false
	}
	t.writeMatrix(core, cells, names, first, column, rest)
	return true
}

// headings are a matrix's.
type headings struct {
	corner        string
	rows, columns []string
}

// headings of the core's names if they fit, else of numbers.
func (t *text) headings(core []int, column int) headings {
	h := headings{corner: "from \\ to"}
	first := runewidth.StringWidth(h.corner)
	for _, i := range core {
		h.rows = append(h.rows, t.nodes[i].name)
		column, first = max(column, runewidth.StringWidth(t.nodes[i].name)), max(first, runewidth.StringWidth(t.nodes[i].name))
	}
	h.columns = h.rows
	if first+len(core)*(column+2) <= t.width {
		return h
	}
	h.rows, h.columns = nil, nil
	for number, i := range core {
		h.columns = append(h.columns, fmt.Sprint(number+1))
		h.rows = append(h.rows, fmt.Sprintf("%2d %s", number+1, t.nodes[i].name))
	}
	return h
}

// uniform tells whether no link of the core needs a label.
func (t *text) uniform() bool {
	for _, l := range t.links {
		if t.nodes[l.from].isSwitch == t.nodes[l.to].isSwitch && t.label(l, l.from) != "" {
			return false
		}
	}
	return true
}

// direction finds the parameters from one node to a neighbour.
func (t *text) direction(from, to int) topologies.Parameters {
	for _, e := range t.out[from] {
		if e.to == to && t.links[e.link].from == from {
			return t.links[e.link].AToB
		} else if e.to == to {
			return t.links[e.link].BToA
		}
	}
	panic("draw: nodes of a complete core that aren't joined")
}

func (t *text) writeMatrix(core []int, cells [][]string, names headings, first, column int, rest string) {
	caption := "one-way delay in ms"
	if rest = strings.TrimPrefix(strings.TrimPrefix(rest, "no delay"), ", "); rest != "" {
		caption += "; each way " + rest
	}
	t.line(caption)
	write := func(heading string, cells []string) {
		line := runewidth.FillRight(heading, first)
		for _, cell := range cells {
			line += "  " + runewidth.FillLeft(cell, column)
		}
		t.line(line)
	}
	write(names.corner, names.columns)
	for r, heading := range names.rows {
		write(heading, cells[r])
	}
	t.regions(core)
}

// regions lists the nodes of a core that have hosts or processes.
func (t *text) regions(core []int) {
	for _, i := range core {
		node := t.nodes[i]
		if !node.isSwitch {
			if len(node.processes) > 0 || t.uniform() {
				t.line(t.title(i))
			}
			continue
		}
		hosts, plain := &tree{root: i, children: make([][]end, len(t.nodes))}, true
		var titles []string
		for _, e := range t.out[i] {
			if t.nodes[e.to].isSwitch {
				continue
			}
			hosts.children[i] = append(hosts.children[i], e)
			titles = append(titles, host(t.nodes[e.to].name, t.Processes[t.nodes[e.to].name]))
			plain = plain && t.label(t.links[e.link], i) == ""
		}
		switch {
		case plain && len(titles) > 0:
			t.wrapped(node.name+": ", "", titles)
		case len(titles) > 0 || t.uniform():
			t.line(node.name)
			t.children(hosts, i, "")
		}
	}
}
