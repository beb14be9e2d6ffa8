package topologies

import "slices"

// MonitorPrefix begins the names of monitors and of their links: "@s1" is both the
// monitor of the switch s1 and the link between the two.
const MonitorPrefix = "@"

// WithMonitors gives every switch a host of its own, a monitor, on a link that
// carries all at once. What a link does is then measured between its two ends, be they
// hosts or switches, without any other link on the way. Monitors come after the other
// hosts, and their links after the other links, so that addresses and numbers of
// these stay what they were. The topology itself isn't changed.
func (t *Topology) WithMonitors() *Topology {
	with := *t
	with.Hosts, with.Links = slices.Clone(t.Hosts), slices.Clone(t.Links)
	for _, name := range t.Switches {
		monitor := MonitorPrefix + name
		with.Hosts = append(with.Hosts, Host{Name: monitor, Address: Address(len(with.Hosts)), Monitor: true})
		with.Links = append(with.Links, Link{Name: monitor, A: monitor, B: name})
	}
	return &with
}

// Station is the host that stands at a node of the graph for measurements: a host
// itself, or a switch's monitor. False if the switch has none.
func (t *Topology) Station(node string) (host string, ok bool) {
	for _, h := range t.Hosts {
		if h.Name == node || h.Monitor && h.Name == MonitorPrefix+node {
			return h.Name, true
		}
	}
	return "", false
}

// monitored replaces those paths from a station that lead to the far end of a link
// at its own end, if one of the two stations is a monitor.
func (g *Graph) monitored(source int, paths [][]Hop) {
	near, start, isMonitor := g.behind(source)
	if source >= len(g.topology.Hosts) {
		return
	}
	for _, e := range g.out[near] {
		far, end, ok := g.station(e.to)
		if !ok || far == source || !isMonitor && end == nil || g.topology.Parameters(e.hop).Down {
			continue
		}
		paths[far] = append(append(slices.Clone(start), e.hop), end...)
	}
}

// behind is the node whose links a station measures, and the way there: its switch if
// it is a monitor, else itself.
func (g *Graph) behind(source int) (node int, way []Hop, monitor bool) {
	if source >= len(g.topology.Hosts) || !g.topology.Hosts[source].Monitor || len(g.out[source]) == 0 {
		return source, nil, false
	}
	up := g.out[source][0]
	return up.to, []Hop{up.hop}, true
}

// station is the host that stands at a node, and the way from the node to it.
func (g *Graph) station(node int) (host int, way []Hop, ok bool) {
	if node < len(g.topology.Hosts) {
		return node, nil, !g.topology.Hosts[node].Monitor
	}
	for _, e := range g.out[node] {
		if e.to < len(g.topology.Hosts) && g.topology.Hosts[e.to].Monitor {
			return e.to, []Hop{e.hop}, true
		}
	}
	return 0, nil, false
}
