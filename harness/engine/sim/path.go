package sim

import (
	"encoding/binary"
	"fmt"
)

// path is the way from one process to another.
type path struct {
	index    int32
	from, to *process
	// there is where network.hops has the way of frames to the one, back that of frames
	// to the other; both were found when network.routed was routed.
	there, back int32
	routed      uint32
	// delayNS is the propagation there, backNS that of the way back, at the beginning.
	delayNS, backNS int64
	// direct is true if all directions only delay. Then a message is one event,
	// on the path's own lane, and frames are counted here.
	direct        bool
	lane          lane
	frames, bytes uint64
	// handed is true if messages are handed to the host at the time when they leave,
	// and not before.
	handed bool
	// number counts messages; assemblies are those of which some segments have arrived.
	number     uint32
	assemblies []assembly

	connection
	// modelled takes the place of connection where what becomes of a frame depends on
	// more than the frames before it; nil elsewhere.
	modelled *modelled
}

// local tells whether the two processes share a host.
func (p *path) local() bool { return p.from.host == p.to.host }

// newPath makes the way between two processes on hosts.
func (n *network) newPath(from, to *process) (*path, error) {
	p := &path{index: int32(len(n.paths)), from: from, to: to, direct: true, routed: n.routed}
	if !n.reroute(p) {
		hosts := n.topology.Hosts
		return nil, fmt.Errorf("the topology has no way from %s to %s and back, which %s and %s need",
			hosts[from.host].Name, hosts[to.host].Name, from.node.Name, to.node.Name)
	}
	there, back := n.directionsOf(p.there), n.directionsOf(p.back)
	p.delayNS, p.backNS = n.routes.delay(there), n.routes.delay(back)
	for _, d := range there {
		p.direct = p.direct && n.directions[d].delayNS != none
	}
	n.paths = append(n.paths, p)
	return p, nil
}

// reroute finds the ways that there are now; false if there are none even with all
// links up.
func (n *network) reroute(p *path) bool {
	there, ok := n.directionsBetween(p.from.host, p.to.host)
	back, okBack := n.directionsBetween(p.to.host, p.from.host)
	p.there, p.back, p.routed = n.way(there), n.way(back), n.routed
	return ok && okBack
}

// way finds or makes the place in n.hops of the directions from one host to another.
func (n *network) way(directions []int32) int32 {
	key := make([]byte, 0, 4*len(directions))
	for _, d := range directions {
		key = binary.NativeEndian.AppendUint32(key, uint32(d))
	}
	way, known := n.known[string(key)]
	if !known {
		way = int32(len(n.hops))
		n.hops = append(append(n.hops, directions...), none)
		n.known[string(key)] = way
	}
	return way
}

// directionsOf are the directions of a way.
func (n *network) directionsOf(way int32) []int32 {
	end := way
	for n.hops[end] != none {
		end++
	}
	return n.hops[way:end]
}

// steady tells whether all directions of a way are.
func (n *network) steady(way int32) bool {
	for _, d := range n.directionsOf(way) {
		if !n.directions[d].steady {
			return false
		}
	}
	return true
}
