package calibrate

import (
	"fmt"
	"strings"

	"quorumlab/topologies"
)

// direction is one direction of a link.
type direction struct {
	link, from, to string
	// index numbers the link in the topology, reverse is true from B to A.
	index   int
	reverse bool
	// sender and receiver are the hosts at its ends.
	sender, receiver string
	declared         topologies.Parameters
	// untestable says why it can't be measured by itself; empty if it can.
	untestable string
}

// directions lists both directions of each link but those of monitors.
func directions(t *topologies.Topology) ([]direction, error) {
	graph, err := t.Graph()
	if err != nil {
		return nil, err
	}
	paths := map[string][][]topologies.Hop{}
	var all []direction
	for i, link := range t.Links {
		if strings.HasPrefix(link.Name, topologies.MonitorPrefix) { // only measurements use it
			continue
		}
		for _, reverse := range []bool{false, true} {
			d := direction{link: link.Name, from: link.A, to: link.B, index: i, reverse: reverse}
			if reverse {
				d.from, d.to = link.B, link.A
			}
			d.declared = t.Parameters(topologies.Hop{Link: i, Reverse: reverse})
			d.place(t, graph, paths)
			all = append(all, d)
		}
	}
	return all, nil
}

// place finds the hosts at the direction's ends, and whether frames between them meet
// this direction and nothing else that does anything.
func (d *direction) place(t *topologies.Topology, graph *topologies.Graph, paths map[string][][]topologies.Hop) {
	sender, okSender := t.Station(d.from)
	receiver, okReceiver := t.Station(d.to)
	if !okSender || !okReceiver {
		d.untestable = "no host stands at both of its ends"
		return
	}
	d.sender, d.receiver = sender, receiver
	source, _ := graph.Node(sender)
	destination, _ := graph.Node(receiver)
	if paths[sender] == nil {
		paths[sender] = graph.From(source)
	}
	path := paths[sender][destination]
	met := false
	for _, hop := range path {
		switch {
		case hop == (topologies.Hop{Link: d.index, Reverse: d.reverse}):
			met = true
		case t.Parameters(hop) != (topologies.Parameters{}):
			d.untestable = fmt.Sprintf("frames between its ends pass %s too", t.Links[hop.Link].Name)
			return
		}
	}
	if !met && !(d.declared.Down && path == nil) {
		d.untestable = "frames between its ends take another way"
	}
}

// String names the direction for people.
func (d *direction) String() string { return fmt.Sprintf("%s (%s to %s)", d.link, d.from, d.to) }
