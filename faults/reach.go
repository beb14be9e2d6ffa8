package faults

import "quorumlab/topologies"

// network is the topology as faults have made it, with the paths that were asked for.
type network struct {
	topology *topologies.Topology
	graph    *topologies.Graph
	paths    map[string][][]topologies.Hop
}

// nowNetwork is the network with all that is active, made again after links changed.
func (d *Director) nowNetwork() *network {
	if d.current != nil {
		return d.current
	}
	t := *d.view.Topology
	t.Links = append([]topologies.Link(nil), t.Links...)
	for i := range t.Links {
		link := &t.Links[i]
		if at, ok := d.view.links[link.Name]; !ok || at != i {
			continue // a monitor's
		}
		state := d.linkState(link.Name)
		link.AToB, link.BToA = state.AToB, state.BToA
	}
	graph, err := t.Graph()
	if err != nil {
		panic("faults: a topology that Check should have refused: " + err.Error())
	}
	d.current = &network{topology: &t, graph: graph, paths: map[string][][]topologies.Hop{}}
	return d.current
}

// severed tells whether no frame gets from one host to another, even without the effects
// of one occurrence on pairs.
func (d *Director) severed(from, to string, without *occurrence) bool {
	if p := d.pair(from, to, without); p != nil && p.MeanLoss() >= 1 {
		return true
	}
	n := d.nowNetwork()
	source, okFrom := n.graph.Node(from)
	target, okTo := n.graph.Node(to)
	if !okFrom || !okTo {
		return true
	}
	paths, ok := n.paths[from]
	if !ok {
		paths = n.graph.From(source)
		n.paths[from] = paths
	}
	if paths[target] == nil {
		return true
	}
	for _, hop := range paths[target] {
		if n.topology.Parameters(hop).MeanLoss() >= 1 {
			return true
		}
	}
	return false
}

// cutOff tells whether a server's host can't exchange frames with some other server's.
func (d *Director) cutOff(host string) bool {
	for _, other := range d.view.hosts(d.view.servers) {
		if other != host && (d.severed(host, other, nil) || d.severed(other, host, nil)) {
			return true
		}
	}
	return false
}
