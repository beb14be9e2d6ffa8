package sim

import (
	"quorumlab/harness/engine"
	"quorumlab/harness/link"
	"quorumlab/topologies"
)

// direction is one direction of a link, and what is on its way along it.
//
// Frames enter a link's model in the order of their times, from whichever way
// they come. But nothing that enters by t comes out before t + soonest; so
// entering is put off until something may come out, when many frames enter at
// once. That saves most events.
type direction struct {
	model *link.Model
	// delayNS is the delay of a direction that never does anything else, or none.
	delayNS int64
	// steady is true if each frame arrives, once, in order and unharmed, none is delayed
	// by chance, and that stays so: then it makes no difference which messages share
	// a segment.
	steady bool
	// soonest is the least propagation delay.
	soonest int64
	// perByte is no more than what serialising a byte takes, in 1/1024 ns.
	perByte int64
	// eventAt is when the eventDirection that counts is, or never; latest when the
	// latest frame entered.
	eventAt, latest int64
	counters

	// entering are the frames that haven't entered, by when they will have.
	entering sequence
	// arriving are those on their way to a host, by when they will be there; overtaking
	// are those that will be there before others that came earlier, nil if there never
	// were any.
	arriving   ring[laneEntry]
	overtaking *queue

	// parameters are those that the model goes by.
	parameters *topologies.Parameters
}

// counters count a direction's frames, as engine.DirectionReport does.
type counters struct {
	frames, bytes                    uint64
	lossDrops, queueDrops, downDrops uint64
	duplicates, corrupted, reordered uint64
}

// report is the counters in the engine's terms.
func (c *counters) report(link, from, to string) engine.DirectionReport {
	return engine.DirectionReport{
		Link: link, From: from, To: to, Frames: c.frames, Bytes: c.bytes,
		LossDrops: c.lossDrops, QueueDrops: c.queueDrops, DownDrops: c.downDrops,
		Duplicates: c.duplicates, Corrupted: c.corrupted, Reordered: c.reordered,
	}
}

// newDirection makes a direction, which may change if it is told so: then no shortcut
// is exact.
func newDirection(p topologies.Parameters, seed uint64, changing bool) direction {
	d := direction{model: link.NewModel(p, seed, 0), parameters: &p, delayNS: none, eventAt: never}
	if d.model.DelayOnly() && !changing {
		d.delayNS = int64(p.Delay)
	}
	harmless := !p.Lossy() && !p.Jitters() && p.Duplicate == 0 && p.Corrupt == 0 && p.Reorder == 0
	overflows := p.RateBPS > 0 && (p.QueueFrames > 0 || p.QueueBytes > 0)
	d.steady = harmless && !overflows && !changing
	d.bound(p)
	return d
}

// change gives the direction other parameters. Who calls it has let enter what came
// before.
func (d *direction) change(p topologies.Parameters) {
	// To the model a frame may have come up to when it is told: one that has come
	// keeps those behind it from overtaking it.
	d.model.Update(d.latest, p)
	d.parameters = &p
	d.bound(p)
}

// roomyQueueFrames is the bound of a queue from which on a full one takes longer than
// any one frame.
const roomyQueueFrames = 36

// bound finds how soon a frame that enters may come out.
func (d *direction) bound(p topologies.Parameters) {
	d.soonest, d.perByte = int64(p.Delay), 0
	switch {
	case p.Reorder > 0 || p.Jitter > 0 && p.JitterDistribution == topologies.JitterNormal:
		d.soonest = 0
	case p.Jitter > 0 && p.JitterDistribution == topologies.JitterUniform:
		d.soonest = max(0, int64(p.Delay-p.Jitter))
	}
	// Where a long frame may be dropped that a short one behind it isn't, the length
	// of the first says nothing.
	if p.RateBPS > 0 && p.QueueBytes == 0 && (p.QueueFrames == 0 || p.QueueFrames >= roomyQueueFrames) {
		d.perByte = 8_000_000_000 << 10 / p.RateBPS
	}
}

// forward takes a frame to the next direction that does more than delay it, or
// to its host.
func (s *trial) forward(slot int32, at int64) {
	n := s.network
	f := &n.slab[slot]
	for ; n.hops[f.hop] != none; f.hop++ {
		index := n.hops[f.hop]
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
	next := d.arrival()
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
	for d.arrival() <= s.now && !s.over {
		s.arrive(d.nextArrived())
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
		s.pass(index, e.index, e.at)
	}
}

// pass lets a frame enter a direction and sends it further if it isn't lost.
func (s *trial) pass(index, slot int32, at int64) {
	n := s.network
	f, d := &n.slab[slot], &n.directions[index]
	bytes := n.bytes(f)
	d.latest = at
	fate := d.model.Transmit(at, bytes)
	if fate.Verdict != link.Delivered {
		s.lose(at, d.lost(fate.Verdict), index, slot)
		return
	}
	if fate.Count > 1 {
		d.duplicates++
		s.trace.event(at, markDuplicate, index, s.identity(slot))
		copied := n.duplicate(slot)
		s.emerge(&n.slab[copied], d, index, copied, bytes, &fate.Arrivals[1])
		f = &n.slab[slot]
	}
	s.emerge(f, d, index, slot, bytes, &fate.Arrivals[0])
}

// lost counts a frame that is lost and returns its mark.
func (d *direction) lost(verdict link.Verdict) (mark uint64) {
	switch verdict {
	case link.LostByDown:
		d.downDrops++
		return markDown
	case link.LostByQueue:
		d.queueDrops++
	case link.LostByLoss:
		d.lossDrops++
	}
	return markLoss
}

// duplicate makes a second frame of one.
func (n *network) duplicate(slot int32) (copied int32) {
	f := n.slab[slot]
	if f.modelled > 0 {
		f.modelled = n.keep(n.segments[f.modelled-1]) + 1
	}
	return n.take(f)
}

// emerge sends a frame further that comes out of a direction.
func (s *trial) emerge(f *frame, d *direction, index, slot int32, bytes int, arrival *link.Arrival) {
	d.frames++
	d.bytes += uint64(bytes)
	if arrival.Corrupted {
		d.corrupted++
		f.corrupted = true
	}
	if arrival.Reordered {
		d.reordered++
	}
	if f.hop++; s.network.hops[f.hop] != none {
		s.forward(slot, arrival.AtNS)
		return
	}
	s.order++
	if n := d.arriving.count; n > 0 && arrival.AtNS < d.arriving.at(n-1).at {
		d.overtake(event{at: arrival.AtNS, order: s.order, index: slot})
	} else {
		*d.arriving.push() = laneEntry{at: arrival.AtNS, order: s.order, frame: slot}
	}
	if arrival.AtNS < d.eventAt {
		s.attend(d, index)
	}
}

// overtake notes a frame that will be at its host before the last of arriving.
func (d *direction) overtake(e event) {
	if d.overtaking == nil {
		d.overtaking = &queue{}
	}
	d.overtaking.push(e)
}

// arrival is when the next frame is at its host, or never.
func (d *direction) arrival() int64 {
	next := int64(never)
	if d.arriving.count > 0 {
		next = d.arriving.at(0).at
	}
	if d.overtaking != nil {
		next = min(next, d.overtaking.next())
	}
	return next
}

// nextArrived takes the frame that is at its host next, which must exist. It is never one
// of overtaking alone: what that overtook is in arriving.
func (d *direction) nextArrived() (slot int32) {
	first := d.arriving.at(0)
	if d.overtaking != nil && !d.overtaking.empty() && d.overtaking.first().before(&event{at: first.at, order: first.order}) {
		return d.overtaking.pop().index
	}
	slot = first.frame
	d.arriving.drop()
	return slot
}

// identity tells frames apart in the trace.
func (s *trial) identity(slot int32) uint64 {
	f := &s.network.slab[slot]
	return uint64(f.path)<<32 | uint64(f.number)
}

// lose forgets a frame; mark says why.
func (s *trial) lose(at int64, mark uint64, where, slot int32) {
	s.trace.event(at, mark, where, s.identity(slot))
	s.network.release(slot)
}
