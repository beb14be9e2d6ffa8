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
	routes *routes
	// directions has two entries a link, A to B first.
	directions []direction
	paths      []*path
	tcp        bool
	header     int
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

// direction is one direction of a link, and what is on its way along it.
//
// Frames enter a link's model in the order of their times, from whichever way
// they come. But nothing that enters by t comes out before t + soonest; so
// entering is put off until something may come out, when many frames enter at
// once. That saves most events.
type direction struct {
	model *link.Model
	// delayNS is the delay of a direction that does nothing else, or none.
	delayNS int64
	// soonest is the least propagation delay.
	soonest int64
	// perByte is no more than what serialising a byte takes, in 1/1024 ns.
	perByte int64
	// entering are the frames that haven't entered, by when they will have.
	entering sequence
	// arriving are those on their way to a host, by when they will be there.
	arriving ring[laneEntry]
	// eventAt is when the eventDirection that counts is, or never.
	eventAt int64

	frames, bytes, lossDrops, queueDrops uint64
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
	hop     int32
	// modelled is where network.segments has the frame that package tcp made, plus
	// 1; 0 for all others. back is true if it goes back to the messages' sender.
	modelled int32
	back     bool
}

// path is the way from one process to another.
type path struct {
	index    int32
	from, to *process
	// directions are empty if the two share a host; back is the way back.
	directions, back []int32
	// delayNS is the propagation there, backNS that of the way back.
	delayNS, backNS int64
	// direct is true if all directions only delay. Then a message is one event,
	// on the path's own lane, and frames are counted here.
	direct        bool
	lane          lane
	frames, bytes uint64
	// number counts messages; arriving is that of which segments have arrived,
	// arrived how many of them in a row.
	number, arriving uint32
	arrived          int32

	connection
	// modelled takes the place of connection where frames can be lost or delayed
	// by chance; nil elsewhere.
	modelled *modelled
}

func newNetwork(t *topologies.Topology, transport string, seed uint64) (*network, error) {
	routes, err := newRoutes(t)
	if err != nil {
		return nil, err
	}
	n := &network{routes: routes, directions: make([]direction, 2*len(t.Links))}
	switch transport {
	case engine.TransportTCP:
		n.tcp, n.header = true, headerTCP
	case engine.TransportDatagram:
		n.header = headerDatagram
	default:
		return nil, fmt.Errorf("transport is %q, want %s or %s", transport, engine.TransportTCP, engine.TransportDatagram)
	}
	for i, l := range t.Links {
		for reverse, parameters := range []topologies.Parameters{l.AToB, l.BToA} {
			if err := parameters.Check(); err != nil {
				return nil, fmt.Errorf("link %s: %w", l.Name, err)
			}
			if n.tcp && parameters.QueueFrames >= unboundedQueueFrames {
				parameters.QueueFrames = 0
			}
			n.directions[2*i+reverse] = newDirection(parameters, link.DirectionSeed(seed, i, reverse == 1))
		}
	}
	n.exclusive = !n.tcp || n.allSteady()
	return n, nil
}

func newDirection(p topologies.Parameters, seed uint64) direction {
	d := direction{model: link.NewModel(p, seed, 0), delayNS: none, soonest: int64(p.Delay), eventAt: never}
	if p.RateBPS > 0 {
		d.perByte = 8_000_000_000 << 10 / p.RateBPS
	}
	switch {
	case d.model.DelayOnly():
		d.delayNS = int64(p.Delay)
	case p.Jitter > 0 && p.JitterDistribution == topologies.JitterUniform:
		d.soonest = max(0, int64(p.Delay-p.Jitter))
	case p.Jitter > 0:
		d.soonest = 0
	}
	return d
}

// newPath makes the way between two processes on hosts.
func (n *network) newPath(from, to *process) (*path, error) {
	there, ok := n.routes.path(from.host, to.host)
	back, okBack := n.routes.path(to.host, from.host)
	if !ok || !okBack {
		hosts := n.routes.topology.Hosts
		return nil, fmt.Errorf("the topology has no way from %s to %s and back, which %s and %s need",
			hosts[from.host].Name, hosts[to.host].Name, from.node.Name, to.node.Name)
	}
	p := &path{
		index: int32(len(n.paths)), from: from, to: to, directions: there, back: back, direct: true,
		delayNS: n.routes.delay(there), backNS: n.routes.delay(back),
	}
	for _, d := range there {
		p.direct = p.direct && n.directions[d].delayNS != none
	}
	n.paths = append(n.paths, p)
	return p, nil
}

// steady tells whether each frame on the directions arrives, and none is delayed by
// chance: then it makes no difference which messages share a segment.
func (n *network) steady(directions []int32) bool {
	for _, d := range directions {
		p := n.routes.topology.Parameters(hop(d))
		if p.Loss > 0 || p.Jitter > 0 || p.RateBPS > 0 && p.QueueFrames > 0 && p.QueueFrames < unboundedQueueFrames {
			return false
		}
	}
	return true
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
		if len(p.directions) > 0 {
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
	if d := p.directions[0]; s.network.exclusive && !p.from.sharesHost && s.network.directions[d].delayNS == none {
		// Nobody else uses the host's link, and a process's messages leave one after
		// the other: they may enter the link before their time has come.
		s.pass(p, d, slot, at)
		return
	}
	s.forward(p, slot, at)
}

// way is the directions that a frame of the path takes.
func (p *path) way(f *frame) []int32 {
	if f.back {
		return p.back
	}
	return p.directions
}

// bytes is the size of a frame with its headers.
func (n *network) bytes(f *frame) int {
	if f.modelled > 0 {
		return n.segments[f.modelled-1].Bytes
	}
	return n.header + int(min(segmentBytes, f.size-f.segment*segmentBytes))
}

// forward takes a frame to the next direction that does more than delay it, or
// to its host.
func (s *trial) forward(p *path, slot int32, at int64) {
	n := s.network
	f := &n.slab[slot]
	for way := p.way(f); int(f.hop) < len(way); f.hop++ {
		index := way[f.hop]
		d := &n.directions[index]
		if d.delayNS == none {
			s.order++
			d.entering.push(event{at: at, order: s.order, index: slot})
			s.attend(d, index)
			return
		}
		d.frames++
		d.bytes += uint64(n.bytes(f))
		at += d.delayNS
	}
	s.schedule(at, eventFrame, slot)
}

// attend sees to it that there is an event when something may come out of a
// direction.
func (s *trial) attend(d *direction, index int32) {
	next := int64(never)
	if d.arriving.count > 0 {
		next = d.arriving.at(0).at
	}
	if !d.entering.empty() {
		first := d.entering.first()
		if soonest := first.at + d.soonest; soonest < min(next, d.eventAt) {
			if d.perByte > 0 {
				soonest += int64(s.network.bytes(&s.network.slab[first.index])) * d.perByte >> 10
			}
			next = min(next, soonest)
		}
	}
	if next < d.eventAt {
		d.eventAt = next
		s.schedule(next, eventDirection, index)
	}
}

// directionEvent lets frames enter a direction and those arrive that are due.
func (s *trial) directionEvent(index int32) {
	d := &s.network.directions[index]
	if d.eventAt != s.now {
		return // an earlier one took its place
	}
	d.eventAt = 0 // what happens meanwhile needs no event
	s.enter(d, index)
	for d.arriving.count > 0 && d.arriving.at(0).at <= s.now && !s.over {
		slot := d.arriving.at(0).frame
		d.arriving.drop()
		s.arrive(slot)
	}
	d.eventAt = never
	s.attend(d, index)
}

// enter lets those frames enter a direction whose time has come.
func (s *trial) enter(d *direction, index int32) {
	for {
		e, due := d.entering.popDue(s.now)
		if !due {
			return
		}
		s.pass(s.network.paths[s.network.slab[e.index].path], index, e.index, e.at)
	}
}

// pass lets a frame enter a direction and sends it further if it isn't lost.
func (s *trial) pass(p *path, index, slot int32, at int64) {
	n := s.network
	f, d := &n.slab[slot], &n.directions[index]
	bytes := n.bytes(f)
	fate := d.model.Transmit(at, bytes)
	deliver := fate.Arrivals[0].AtNS
	switch fate.Verdict {
	case link.Delivered:
		d.frames++
		d.bytes += uint64(bytes)
		if f.hop++; int(f.hop) < len(p.way(f)) {
			s.forward(p, slot, deliver)
			return
		}
		*d.arriving.push() = laneEntry{at: deliver, frame: slot}
		if deliver < d.eventAt {
			s.attend(d, index)
		}
		return
	case link.LostByLoss:
		d.lossDrops++
	case link.LostByQueue:
		d.queueDrops++
	}
	s.lose(at, index, slot)
}

// lose forgets a frame.
func (s *trial) lose(at int64, where int32, slot int32) {
	f := &s.network.slab[slot]
	s.trace.event(at, markLoss, where, uint64(f.path)<<32|uint64(f.number))
	s.network.release(slot)
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
	if f.modelled > 0 {
		s.arriveModelled(p, slot)
		return
	}
	if !p.to.alive || f.connection != p.epoch {
		s.lose(s.now, p.to.index, slot)
		return
	}
	d := delivery{kind: deliverMessage, from: p.from.index, size: f.size, message: f.message}
	whole := p.direct || f.size <= segmentBytes || p.complete(f)
	s.network.release(slot)
	if whole {
		s.deliver(p.to, d)
	}
}

// complete notes a segment and tells whether all of its message's have arrived.
func (p *path) complete(f *frame) bool {
	switch {
	case f.segment == 0:
		p.arriving, p.arrived = f.number, 1
	case f.number == p.arriving && f.segment == p.arrived:
		p.arrived++
	}
	return f.number == p.arriving && p.arrived == segments(f.size)
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
		for _, d := range p.directions {
			n.directions[d].frames += p.frames
			n.directions[d].bytes += p.bytes
		}
		p.frames, p.bytes = 0, 0
	}
	var r engine.LinkReport
	for i, l := range n.routes.topology.Links {
		for reverse, ends := range [][2]string{{l.A, l.B}, {l.B, l.A}} {
			d := &n.directions[2*i+reverse]
			r.Directions = append(r.Directions, engine.DirectionReport{
				Link: l.Name, From: ends[0], To: ends[1],
				Frames: d.frames, Bytes: d.bytes, LossDrops: d.lossDrops, QueueDrops: d.queueDrops,
			})
		}
	}
	return r
}
