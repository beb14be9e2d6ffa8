package experiment

import (
	"slices"
	"time"

	"quorumlab/node/consensus"
	"quorumlab/topologies"
)

// distances are mean propagation delays between the nodes of a network. Paths are
// found once they are asked for, from one node or to one node at a time; a host with one
// link uses those of that link's far end.
type distances struct {
	network *topologies.Topology
	graph   *topologies.Graph
	// mean has each link's mean delay from A to B and back.
	mean [][2]time.Duration
	// uplinks has for each host that has exactly one link its way out.
	uplinks map[int]topologies.Hop
	from    map[int][]time.Duration
	// reversed are those of the network with its directions exchanged, once needed.
	reversed *distances
}

func newDistances(network *topologies.Topology) *distances {
	graph, err := network.Graph()
	if err != nil {
		panic("experiment: a topology with a fault: " + err.Error())
	}
	d := &distances{network: network, graph: graph, uplinks: map[int]topologies.Hop{}, from: map[int][]time.Duration{}}
	means := map[topologies.Parameters]time.Duration{} // that of a trace takes long
	mean := func(p topologies.Parameters) time.Duration {
		m, known := means[p]
		if !known {
			m = p.MeanPropagation()
			means[p] = m
		}
		return m
	}
	degree := make([]int, graph.Len())
	for i, link := range network.Links {
		d.mean = append(d.mean, [2]time.Duration{mean(link.AToB), mean(link.BToA)})
		for _, end := range []struct {
			name    string
			reverse bool
		}{{link.A, false}, {link.B, true}} {
			node, _ := graph.Node(end.name)
			if degree[node]++; degree[node] == 1 && node < len(network.Hosts) {
				d.uplinks[node] = topologies.Hop{Link: i, Reverse: end.reverse}
			} else {
				delete(d.uplinks, node)
			}
		}
	}
	return d
}

func (d *distances) of(hop topologies.Hop) time.Duration {
	if hop.Reverse {
		return d.mean[hop.Link][1]
	}
	return d.mean[hop.Link][0]
}

// between is the mean delay from one node to another; 0 if they are the same.
func (d *distances) between(source, target int) time.Duration {
	if source == target {
		return 0
	}
	var first time.Duration
	if up, ok := d.uplinks[source]; ok {
		first, source = d.of(up), d.graph.To(up)
	}
	if delays, ok := d.from[source]; ok {
		return first + delays[target]
	}
	// Who asks for the way back from many will do so again: the ways to one are found
	// at once.
	if near := d.near(target); d.from[near] != nil {
		return first + d.backward().between(target, source)
	}
	return first + d.search(source)[target]
}

// near is the node from which a host's paths go on.
func (d *distances) near(host int) int {
	if up, ok := d.uplinks[host]; ok {
		return d.graph.To(up)
	}
	return host
}

// search finds the delays from a node to all others.
func (d *distances) search(source int) []time.Duration {
	delays := make([]time.Duration, 0, d.graph.Len())
	for _, path := range d.graph.From(source) {
		var sum time.Duration
		for _, hop := range path {
			sum += d.of(hop)
		}
		delays = append(delays, sum)
	}
	d.from[source] = delays
	return delays
}

// backward are the distances of the network with its directions exchanged: from here to
// there in it is from there to here.
func (d *distances) backward() *distances {
	if d.reversed == nil {
		reversed := *d.network
		reversed.Links = slices.Clone(d.network.Links)
		for i := range reversed.Links {
			link := &reversed.Links[i]
			link.AToB, link.BToA = link.BToA, link.AToB
		}
		d.reversed = newDistances(&reversed)
	}
	return d.reversed
}

// delayTable answers what the mean propagation delay from process to process is; 0 for
// those that share a host.
type delayTable struct {
	*distances
	node map[consensus.NodeID]int
}

func (t delayTable) delay(from, to consensus.NodeID) time.Duration {
	return t.between(t.node[from], t.node[to])
}
