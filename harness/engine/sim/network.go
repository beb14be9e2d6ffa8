package sim

import (
	"fmt"

	"quorumlab/harness/engine"
	"quorumlab/harness/engine/sim/tcp"
	"quorumlab/harness/link"
	"quorumlab/node/consensus"
	"quorumlab/topologies"
)

// Sizes of frames, in bytes.
const (
	// segmentBytes is the most of a message that one frame carries: an Ethernet
	// frame of 1500 bytes less the headers of IP and TCP with timestamps.
	segmentBytes = 1448
	// headerTCP and headerDatagram are the headers from Ethernet's on.
	headerTCP      = 66
	headerDatagram = 42
)

// unboundedQueueFrames is the queue from which on links count as unable to
// overflow under TCP, whose windows would keep far fewer frames waiting; such
// a queue is then modelled without a bound.
const unboundedQueueFrames = 1_000_000

// network is the topology at work.
type network struct {
	// topology is the network as it is now, routes are those of when a link last went
	// down or came up, or of the beginning.
	topology *topologies.Topology
	routes   *routes
	// changing is true if links change while the simulation runs. Then each frame
	// goes by each link on its own, at its own time: no shortcut is exact.
	changing bool
	// routed counts how often routes were found anew.
	routed uint32
	// directions has two entries a link, A to B first, and then the stages that frames
	// from one host to another pass first; stages finds those.
	directions []direction
	stages     map[pair]int32
	paths      []*path
	// hops has one way after the other: the directions from one host to another, and
	// none at its end. known finds where a way begins.
	hops   []int32
	known  map[string]int32
	tcp    bool
	header int
	// exclusive is true if hosts send nothing but their processes' messages: no
	// connection is modelled, whose kernels have something to say too.
	exclusive bool
	// slab holds the frames on their way, free its places that are free.
	slab []frame
	free []int32
	// config is for the paths that package tcp models; segments are their frames on
	// the way, spare the places that are free.
	config   tcp.Config
	segments []tcp.Frame
	spare    []int32
}

// lane is a first-in first-out way: a direct path, or the way out of a host. The
// queue of events holds its first frame only.
type lane struct {
	ring[laneEntry]
	last int64
}

// laneEntry is a frame on a lane, by its place in network.slab, and when it
// arrives at the lane's end. It holds no pointers.
type laneEntry struct {
	at    int64
	order uint64
	frame int32
}

// frame is a segment of a message on a direction, or a whole message on a direct
// path or in a host. It keeps its place in network.slab on its whole way.
type frame struct {
	// message is nil for all segments but the last, which are there to be lost.
	message consensus.Message
	path    int32
	// connection is that of the path's which the frame belongs to.
	connection uint32
	// number counts the path's messages; size is this message's, in bytes.
	number  uint32
	size    int32
	segment int32
	// hop is where network.hops has the direction that the frame goes by next.
	hop int32
	// modelled is where network.segments has the frame that package tcp made, plus
	// 1; 0 for all others.
	modelled int32
	// corrupted frames go all the way; the host that they reach refuses them.
	corrupted bool
}

// newNetwork makes a network; changing tells whether links change while the simulation
// runs.
func newNetwork(t *topologies.Topology, transport string, seed uint64, changing bool) (*network, error) {
	routes, err := newRoutes(t)
	if err != nil {
		return nil, err
	}
	n := &network{
		topology: t, routes: routes, changing: changing, directions: make([]direction, 2*len(t.Links)), known: map[string]int32{},
	}
	switch transport {
	case engine.TransportTCP:
		n.tcp, n.header = true, headerTCP
	case engine.TransportDatagram:
		n.header = headerDatagram
	default:
		return nil, fmt.Errorf("transport is %q, want %s or %s", transport, engine.TransportTCP, engine.TransportDatagram)
	}
	steady := true
	for i, l := range t.Links {
		for reverse, parameters := range []topologies.Parameters{l.AToB, l.BToA} {
			if err := parameters.Check(); err != nil {
				return nil, fmt.Errorf("link %s: %w", l.Name, err)
			}
			direction := newDirection(n.modelled(parameters), link.DirectionSeed(seed, i, reverse == 1), changing)
			n.directions[2*i+reverse] = direction
			steady = steady && direction.steady
		}
	}
	n.exclusive = steady || !n.tcp && !changing
	return n, nil
}

// modelled is what of a direction's parameters is modelled.
func (n *network) modelled(p topologies.Parameters) topologies.Parameters {
	if n.tcp && p.QueueFrames >= unboundedQueueFrames {
		p.QueueFrames = 0
	}
	return p
}

// segments is the number of frames that a message of so many bytes needs.
func segments(size int32) int32 { return max(1, (size+segmentBytes-1)/segmentBytes) }

// take gives a frame a place. Pointers into the slab don't outlive it.
func (n *network) take(f frame) int32 {
	if last := len(n.free) - 1; last >= 0 {
		slot := n.free[last]
		n.free = n.free[:last]
		n.slab[slot] = f
		return slot
	}
	n.slab = append(n.slab, f)
	return int32(len(n.slab) - 1)
}

// release frees a frame's place.
func (n *network) release(slot int32) {
	f := &n.slab[slot]
	if f.modelled > 0 {
		n.spare = append(n.spare, f.modelled-1)
	}
	f.message = nil
	n.free = append(n.free, slot)
}

// transmit puts a message onto its path.
func (s *trial) transmit(p *path, leave int64, size int32, message consensus.Message) {
	p.number++
	slot := s.network.take(frame{message: message, path: p.index, connection: p.epoch, number: p.number, size: size})
	switch {
	case p.direct:
		if !p.local() {
			count := segments(size)
			p.frames += uint64(count)
			p.bytes += uint64(size) + uint64(count)*uint64(s.network.header)
		}
		s.enqueue(&p.lane, eventArrival, p.index, leave+p.delayNS, slot)
	default:
		s.emit(p, slot, leave)
	}
}

// emit cuts a message into segments and sends them on their way.
func (s *trial) emit(p *path, slot int32, at int64) {
	f := &s.network.slab[slot]
	if f.size > segmentBytes {
		first, last := *f, segments(f.size)-1
		first.message = nil
		f.segment = last
		for i := range last {
			first.segment = i
			s.set(p, s.network.take(first), at)
		}
	}
	s.set(p, slot, at)
}

// set puts a frame onto the first link of its path.
func (s *trial) set(p *path, slot int32, at int64) {
	n := s.network
	if !n.exclusive || p.from.sharesHost {
		s.launch(p, slot, false, at)
		return
	}
	n.slab[slot].hop = p.there
	if d := n.hops[p.there]; n.directions[d].delayNS == none {
		// Nobody else uses the host's link, and a process's messages leave one after
		// the other: they may enter the link before their time has come.
		s.pass(d, slot, at)
		return
	}
	s.forward(slot, at)
}

// launch puts a frame onto the way that there is now, or the way back.
func (s *trial) launch(p *path, slot int32, back bool, at int64) {
	n := s.network
	if p.routed != n.routed {
		n.reroute(p)
	}
	n.slab[slot].hop = p.there
	if back {
		n.slab[slot].hop = p.back
	}
	s.forward(slot, at)
}

// bytes is the size of a frame with its headers.
func (n *network) bytes(f *frame) int {
	if f.modelled > 0 {
		return n.segments[f.modelled-1].Bytes
	}
	return n.header + int(min(segmentBytes, f.size-f.segment*segmentBytes))
}

// enqueue adds a frame to a lane, behind all that is there.
func (s *trial) enqueue(l *lane, kind eventKind, index int32, at int64, slot int32) {
	at = max(at, l.last)
	l.last = at
	s.order++
	if l.count == 0 {
		s.queue.push(event{at: at, order: s.order, kind: kind, index: index})
	}
	*l.push() = laneEntry{at: at, order: s.order, frame: slot}
}

// dequeue takes the first frame off a lane, at its event.
func (s *trial) dequeue(l *lane, e event) (slot int32) {
	slot = l.at(0).frame
	l.drop()
	if l.count > 0 {
		next := l.at(0)
		s.queue.push(event{at: next.at, order: next.order, kind: e.kind, index: e.index})
	}
	return slot
}

// arrive hands a frame that has reached its host to the process.
func (s *trial) arrive(slot int32) {
	f := &s.network.slab[slot]
	p := s.network.paths[f.path]
	switch {
	case f.corrupted: // a checksum is wrong
		s.lose(s.now, markCorrupted, p.index, slot)
		return
	case f.modelled > 0:
		s.arriveModelled(p, slot)
		return
	case !p.to.alive || f.connection != p.epoch:
		s.lose(s.now, markLoss, p.to.index, slot)
		return
	}
	d := delivery{kind: deliverMessage, from: p.from.index, size: f.size, message: f.message}
	whole := true
	if !p.direct && f.size > segmentBytes {
		d.message, whole = p.assemble(f)
	}
	s.network.release(slot)
	if whole {
		s.deliver(p.to, d)
	}
}

// report counts what the links did.
func (s *trial) report() engine.LinkReport {
	n := s.network
	for i := range n.directions { // frames enter where others come from before
		s.enter(&n.directions[i], int32(i))
	}
	for _, p := range n.paths {
		if !p.direct {
			continue
		}
		for _, d := range n.directionsOf(p.there) {
			n.directions[d].frames += p.frames
			n.directions[d].bytes += p.bytes
		}
		p.frames, p.bytes = 0, 0
	}
	var r engine.LinkReport
	for i, l := range n.topology.Links {
		for reverse, ends := range [][2]string{{l.A, l.B}, {l.B, l.A}} {
			r.Directions = append(r.Directions, n.directions[2*i+reverse].report(l.Name, ends[0], ends[1]))
		}
	}
	r.Pairs = n.reportPairs()
	return r
}
