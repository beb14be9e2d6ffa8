//go:build linux

package link

import "math"

// enter puts the frame in receive slot i onto the first link of its way.
func (e *emulator) enter(i int, offsetNS, nowNS int64) {
	arrival := e.socket.arrival(i)
	source, ours := e.byInterface[arrival.interfaceIndex]
	if !ours {
		return
	}
	destination, way, segments, ok := e.route(source, i, arrival)
	if !ok {
		return
	}
	f := e.socket.take(i, arrival.bytes, &e.pool)
	if f == nil {
		e.counters.memoryDrops++
		return
	}
	copy(f.small[virtioBytes:], e.ports[destination].mac[:])
	f.to, f.way, f.segments = destination, way, segments

	// The emulator's own delay cancels out if time runs from the kernel's stamp.
	// Frames of one port keep the order in which they were read.
	port := &e.ports[source]
	arrivedNS := nowNS
	if arrival.stampNS != 0 {
		arrivedNS = min(max(arrival.stampNS-offsetNS, e.emptyNS-maxQueueingNS), nowNS)
	}
	port.arrivedNS = max(port.arrivedNS, arrivedNS)
	e.advance(f, port.arrivedNS)
}

// route decides where the frame in receive slot i goes. If it goes nowhere, it
// has been counted.
func (e *emulator) route(source int32, i int, arrival arrival) (destination int32, way []uint32, segments, ok bool) {
	if arrival.truncated {
		e.counters.segmentDrops++
		return 0, nil, false, false
	}
	// The headers always fit into the small buffer.
	head := e.socket.receiving[i].frame.small[:min(max(virtioBytes+arrival.bytes, 0), smallBytes)]
	var address uint32
	if len(head) > virtioBytes {
		address, ok = frameTarget(head[virtioBytes:])
	}
	if ok {
		destination, ok = e.byAddress[address]
	}
	if ok {
		way = e.paths[int(source)*len(e.ports)+int(destination)]
	}
	if len(way) == 0 {
		e.counters.strays++
		return 0, nil, false, false
	}
	return destination, way, head[virtioGSOType] != 0, true
}

// advance takes a frame that is at a node at timeNS over the next link of its way.
func (e *emulator) advance(f *frame, timeNS int64) {
	direction := f.way[f.hop]
	model := e.models[direction]
	if f.segments && !model.CarriesSegments() {
		e.counters.segmentDrops++
		e.pool.put(f)
		return
	}
	fate := model.Transmit(timeNS, f.bytes)
	e.counters.directions[direction].transmitted(f.bytes, &fate)
	if c := e.taps[direction]; c != nil {
		c.entered(f, direction&1 == 1, timeNS, fate.Verdict)
	}
	if fate.Verdict != Delivered {
		e.pool.put(f)
		return
	}
	f.hop++
	if fate.Count == 1 {
		e.arrive(f, direction, fate.Arrivals[0], remarkNone)
		return
	}
	duplicate := e.pool.clone(f)
	e.arrive(f, direction, fate.Arrivals[0], remarkNone)
	if duplicate == nil {
		e.counters.memoryDrops++
		return
	}
	e.arrive(duplicate, direction, fate.Arrivals[1], remarkDuplicate)
}

// arrive plans a frame's arrival behind a direction, or behind those after it as long as
// these only delay.
func (e *emulator) arrive(f *frame, direction uint32, arrival Arrival, what remark) {
	switch {
	case arrival.Corrupted:
		f.corrupt(e.places)
		what = remarkCorrupted
	case arrival.Reordered:
		what = remarkReordered
	}
	if c := e.taps[direction]; c != nil {
		f.capture, f.reverse, f.remark = c, direction&1 == 1, what
		f.folded = 0
		e.events.push(arrival.AtNS, f)
		return
	}
	e.events.push(e.fold(f, arrival.AtNS), f)
}

// fold takes a frame that is at a node at timeNS over the next directions as long as
// these only delay, and returns when it is behind them.
func (e *emulator) fold(f *frame, timeNS int64) int64 {
	f.folded, f.nodeNS = 0, timeNS
	for int(f.hop) < len(f.way) {
		direction := f.way[f.hop]
		model := e.models[direction]
		if !model.foldable() || e.taps[direction] != nil {
			break
		}
		timeNS = model.Transmit(timeNS, f.bytes).Arrivals[0].AtNS
		counted := &e.counters.directions[direction]
		counted.frames++
		counted.bytes += uint64(f.bytes)
		f.hop++
		f.folded++
	}
	return timeNS
}

// unfold takes back what was done ahead of its time: no frame is on a direction that it
// only comes to from nowNS on. Then refold must be called.
func (e *emulator) unfold(nowNS int64) {
	for i := range e.events.events {
		planned := &e.events.events[i]
		planned.timeNS = e.unfoldFrame(planned.frame, planned.timeNS, nowNS)
	}
}

// refold does what unfold took back as it is to be done now. A frame that is at a node
// at the same time as one that comes there later stays ahead of it.
func (e *emulator) refold() {
	for i := range e.events.events {
		planned := &e.events.events[i]
		if planned.frame.capture == nil {
			planned.timeNS = e.fold(planned.frame, planned.timeNS)
		}
	}
	e.events.repair()
}

// unfoldFrame returns when the frame arrives at the next node, which was to be at
// timeNS.
func (e *emulator) unfoldFrame(f *frame, timeNS, nowNS int64) int64 {
	atNS := f.nodeNS
	for hop := f.hop - f.folded; hop < f.hop; hop++ {
		if atNS >= nowNS {
			for _, direction := range f.way[hop:f.hop] {
				counted := &e.counters.directions[direction]
				counted.frames--
				counted.bytes -= uint64(f.bytes)
			}
			timeNS, f.hop = atNS, hop
			break
		}
		atNS = e.models[f.way[hop]].Transmit(atNS, f.bytes).Arrivals[0].AtNS
	}
	f.folded = 0
	return timeNS
}

// arrivedNS is when all frames that are on a direction will have arrived, at the
// earliest time that there is if there are none. Nothing may be folded.
func (e *emulator) arrivedNS(direction uint32) int64 {
	latestNS := int64(math.MinInt64)
	for _, planned := range e.events.events {
		if f := planned.frame; f.hop > 0 && f.way[f.hop-1] == direction {
			latestNS = max(latestNS, planned.timeNS)
		}
	}
	return latestNS
}

// forwardDue handles the events whose time has come, in their order.
func (e *emulator) forwardDue() {
	nowNS := e.clock.nowNS()
	for handled := 0; e.events.len() > 0 && e.events.nextNS() <= nowNS && handled < dueAtOnce; handled++ {
		next := e.events.pop()
		f := next.frame
		if f.capture != nil {
			f.capture.left(f, next.timeNS)
			f.capture = nil
		}
		if int(f.hop) < len(f.way) {
			e.advance(f, next.timeNS)
			continue
		}
		e.socket.queue(e.queued, f, e.ports[f.to].interfaceIndex, next.timeNS)
		if e.queued++; e.queued == batch {
			e.flush()
			nowNS = e.clock.nowNS()
		}
	}
	e.flush()
}

// flush sends the queued frames.
func (e *emulator) flush() {
	for from := 0; from < e.queued; {
		n, errno := e.socket.send(from, e.queued)
		sentNS := e.clock.nowNS()
		for i := from; i < from+n; i++ {
			e.counters.sent(sentNS - e.socket.sending[i].deadline)
		}
		from += n
		if errno != 0 {
			e.counters.refused(errno)
			from++
		}
	}
	for i := range e.queued {
		e.pool.put(e.socket.sending[i].frame)
	}
	e.queued = 0
}
