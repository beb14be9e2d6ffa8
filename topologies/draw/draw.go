// Package draw shows topologies: as text for a terminal, as Graphviz's DOT, and as
// SVG for a paper. Drawings follow from the topology alone: the same one gives
// the same bytes each time. It reads nothing and writes where it is told.
package draw

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"quorumlab/topologies"
)

// Process runs on a host.
type Process struct {
	// Name is unique, such as "replica1"; Role is what hosts are coloured by, such as
	// "replica".
	Name string `json:"name"`
	Role string `json:"role"`
}

// Picture is what to draw.
type Picture struct {
	// Topology must be one that Topology.Graph accepts. Monitors are left out.
	Topology *topologies.Topology
	// Title stands above an SVG; empty for none.
	Title string
	// Processes are those of each host, by its name.
	Processes map[string][]Process
}

// network is a topology indexed for drawing. Nodes are numbered: hosts first, then
// switches.
type network struct {
	Picture
	nodes []node
	links []link
	out   [][]end
	// switches is how many there are.
	switches int
	roles    []role
}

type node struct {
	name     string
	isSwitch bool
	// processes are the host's, compactly: "replica1-3, client1".
	processes []string
	// roles index network.roles.
	roles []int
}

// link is a link between two nodes, described.
type link struct {
	*topologies.Link
	from, to int
	// there and back describe its directions.
	there, back string
}

// alike tells whether both directions are the same.
func (l link) alike() bool { return l.there == l.back }

// end is a node's end of a link.
type end struct {
	to, link int
}

// role is a role with its colour and the letter for black and white.
type role struct {
	name, letter string
	fill, ink    string
}

// newNetwork indexes what is to be drawn.
func newNetwork(p Picture) (*network, error) {
	if _, err := p.Topology.Graph(); err != nil {
		return nil, fmt.Errorf("draw: %w", err)
	}
	n := &network{Picture: p}
	index := map[string]int{}
	add := func(name string, isSwitch bool) {
		index[name] = len(n.nodes)
		n.nodes = append(n.nodes, node{name: name, isSwitch: isSwitch, processes: compact(p.Processes[name])})
	}
	for _, host := range p.Topology.Hosts {
		if !host.Monitor {
			add(host.Name, false)
		}
	}
	for _, name := range p.Topology.Switches {
		add(name, true)
		n.switches++
	}
	n.out = make([][]end, len(n.nodes))
	for i := range p.Topology.Links {
		l := &p.Topology.Links[i]
		a, okA := index[l.A]
		b, okB := index[l.B]
		if !okA || !okB {
			continue // a monitor's
		}
		n.out[a] = append(n.out[a], end{b, len(n.links)})
		n.out[b] = append(n.out[b], end{a, len(n.links)})
		n.links = append(n.links, link{Link: l, from: a, to: b, there: Describe(l.AToB), back: Describe(l.BToA)})
	}
	n.findRoles()
	return n, nil
}

// palette is that of Okabe and Ito, "Color Universal Design" (2008), which the colour-blind
// tell apart; the order alternates light and dark for black and white prints.
var palette = []struct{ fill, ink string }{
	{"#56B4E9", "#000000"}, {"#D55E00", "#FFFFFF"}, {"#F0E442", "#000000"}, {"#0072B2", "#FFFFFF"},
	{"#E69F00", "#000000"}, {"#009E73", "#FFFFFF"}, {"#CC79A7", "#000000"}, {"#999999", "#000000"},
}

// findRoles numbers the roles in the order of the hosts.
func (n *network) findRoles() {
	for i := range n.nodes {
		for _, process := range n.Processes[n.nodes[i].name] {
			at := slices.IndexFunc(n.roles, func(r role) bool { return r.name == process.Role })
			if at < 0 {
				at = len(n.roles)
				color := palette[at%len(palette)]
				n.roles = append(n.roles, role{name: process.Role, letter: n.letter(process.Role), fill: color.fill, ink: color.ink})
			}
			if !slices.Contains(n.nodes[i].roles, at) {
				n.nodes[i].roles = append(n.nodes[i].roles, at)
			}
		}
	}
}

// letter is the shortest beginning of a role's name that no role before it has.
func (n *network) letter(name string) string {
	runes := []rune(name)
	for length := 1; length <= len(runes); length++ {
		letter := strings.ToUpper(string(runes[:1])) + string(runes[1:length])
		if !slices.ContainsFunc(n.roles, func(r role) bool { return r.letter == letter }) {
			return letter
		}
	}
	return fmt.Sprint(len(n.roles) + 1)
}

// compact lists processes by role, runs of numbers joined: "replica1-3".
func compact(processes []Process) []string {
	var names []string
	for _, process := range processes {
		names = append(names, process.Name)
	}
	return ranges(names)
}

// ranges joins names that differ in a number at their end and follow each other.
func ranges(names []string) []string {
	var out []string
	for i := 0; i < len(names); {
		stem, first, ok := numbered(names[i])
		last, j := first, i+1
		for ; ok && j < len(names); j++ {
			nextStem, next, numeric := numbered(names[j])
			if !numeric || nextStem != stem || next != last+1 {
				break
			}
			last = next
		}
		if last > first {
			out = append(out, fmt.Sprintf("%s-%d", names[i], last))
		} else {
			out = append(out, names[i])
		}
		i = j
	}
	return out
}

// numbered cuts the number off a name's end.
func numbered(name string) (stem string, number int, ok bool) {
	stem = strings.TrimRightFunc(name, func(r rune) bool { return r < unicode.MaxASCII && unicode.IsDigit(r) })
	digits := name[len(stem):]
	if digits == "" || len(digits) > 9 || digits[0] == '0' {
		return name, 0, false
	}
	for _, d := range digits {
		number = 10*number + int(d-'0')
	}
	return stem, number, true
}
