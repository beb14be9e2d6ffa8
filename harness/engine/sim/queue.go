package sim

import "math"

// never is later than every event.
const never = math.MaxInt64

// eventKind says what happens at an event; its comment says what index means.
type eventKind uint8

const (
	// eventArrival: the first message on a direct path arrives (path).
	eventArrival eventKind = iota + 1
	// eventDirection: a frame may come out of a direction of a link (direction).
	eventDirection
	// eventFrame: a frame arrives (its place in the slab).
	eventFrame
	// eventEgress: a process hands the next message on its lane to its host, which
	// sends it then (process).
	eventEgress
	// eventWake: a core is free again while inputs wait for it (process).
	eventWake
	// eventTimer: the earliest timer is due (process).
	eventTimer
	// eventSync: the disk's sync is over (process).
	eventSync
	// eventOpen: a connection is established (path).
	eventOpen
	// eventPhase: the present phase of the trial is over.
	eventPhase
	// eventLive: progress is reported.
	eventLive
	// eventStart: a process begins (process).
	eventStart
	// eventFaults: a fault may be due, or the load's planned end.
	eventFaults
	// eventNotice: the director of the faults is told something.
	eventNotice
	// eventPoll: evidence of faults is looked for.
	eventPoll
	// eventHalted: a process ends that has halted, or has done what it halts for (process).
	eventHalted
	// eventGoOn: a process that stood still goes on (process).
	eventGoOn
	// eventExpire: a timer of a modelled TCP connection is due (path).
	eventExpire
)

// event is an entry of the queue. It holds no pointers.
type event struct {
	at int64
	// order breaks ties: what was scheduled first happens first.
	order uint64
	kind  eventKind
	index int32
}

func (e *event) before(other *event) bool {
	return e.at < other.at || e.at == other.at && e.order < other.order
}

// nearEvents is how many of the earliest events are kept sorted.
const nearEvents = 32

// queue gives events in their order. The earliest few are kept sorted, for most
// events are added to happen very soon and many trials have few; all others are in
// a heap with four children a node.
type queue struct {
	// near has the earliest events, the earliest last; none in heap is before them.
	near  [nearEvents]event
	count int
	heap  []event
}

func (q *queue) empty() bool { return q.count == 0 && len(q.heap) == 0 }

// first is the earliest event, which must exist, until the next push or pop.
func (q *queue) first() *event {
	if q.count == 0 {
		return &q.heap[0]
	}
	return &q.near[q.count-1]
}

// next is when the earliest event is, or never.
func (q *queue) next() int64 {
	if q.empty() {
		return never
	}
	return q.first().at
}

// pop removes the earliest event, which must exist.
func (q *queue) pop() event {
	if q.count > 0 {
		q.count--
		return q.near[q.count]
	}
	first := q.heap[0]
	last := len(q.heap) - 1
	e := q.heap[last]
	q.heap = q.heap[:last]
	if last > 0 {
		q.sink(e)
	}
	return first
}

func (q *queue) push(e event) {
	if len(q.heap) > 0 && q.heap[0].before(&e) {
		q.rise(e)
		return
	}
	if q.count == nearEvents {
		if q.near[0].before(&e) {
			q.rise(e)
			return
		}
		q.rise(q.near[0])
		copy(q.near[:], q.near[1:])
		q.count--
	}
	i := q.count
	for i > 0 && q.near[i-1].before(&e) {
		q.near[i] = q.near[i-1]
		i--
	}
	q.near[i] = e
	q.count++
}

// rise adds e to the heap.
func (q *queue) rise(e event) {
	q.heap = append(q.heap, e)
	h := q.heap
	i := len(h) - 1
	for i > 0 {
		parent := (i - 1) / 4
		if !e.before(&h[parent]) {
			break
		}
		h[i] = h[parent]
		i = parent
	}
	h[i] = e
}

// sink puts e where it belongs in the heap, for which the event at 0 makes room.
func (q *queue) sink(e event) {
	h := q.heap
	i := 0
	for {
		child := 4*i + 1
		if child >= len(h) {
			break
		}
		least := child
		for c := child + 1; c < min(child+4, len(h)); c++ {
			if h[c].before(&h[least]) {
				least = c
			}
		}
		if !h[least].before(&e) {
			break
		}
		h[i] = h[least]
		i = least
	}
	h[i] = e
}

// sequence gives events in the order of the queue, and is small and fast if most are
// added in that order.
type sequence struct {
	// ordered are those that came in order, late all others; nil before there were any.
	ordered ring[event]
	late    *queue
}

func (q *sequence) empty() bool { return q.ordered.count == 0 && q.inOrder() }

// inOrder tells whether all events in the sequence came in order, as nearly always.
func (q *sequence) inOrder() bool { return q.late == nil || q.late.empty() }

// push adds an event whose order is above all others'.
func (q *sequence) push(e event) {
	if n := q.ordered.count; n > 0 && e.at < q.ordered.at(n-1).at {
		if q.late == nil {
			q.late = &queue{}
		}
		q.late.push(e)
		return
	}
	*q.ordered.push() = e
}

// first is the earliest event, which must exist, until the next push or pop.
func (q *sequence) first() *event {
	if q.inOrder() || q.ordered.count > 0 && q.ordered.at(0).before(q.late.first()) {
		return q.ordered.at(0)
	}
	return q.late.first()
}

// popDue removes the earliest event if its time has come.
func (q *sequence) popDue(now int64) (e event, due bool) {
	if q.late != nil {
		return q.popAny(now)
	}
	if q.ordered.count == 0 || q.ordered.at(0).at > now {
		return event{}, false
	}
	e = *q.ordered.at(0)
	q.ordered.drop()
	return e, true
}

// popAny is popDue where events may have come late.
func (q *sequence) popAny(now int64) (e event, due bool) {
	if q.empty() || q.first().at > now {
		return event{}, false
	}
	if q.inOrder() || q.ordered.count > 0 && q.ordered.at(0).before(q.late.first()) {
		e = *q.ordered.at(0)
		q.ordered.drop()
		return e, true
	}
	return q.late.pop(), true
}

// ring is a first-in first-out queue that keeps its memory. Its zero value is
// empty.
type ring[T any] struct {
	slots []T // its length is 0 or a power of two
	head  int
	count int
}

// push adds a slot at the end, to be filled in; what it held before is unknown.
func (r *ring[T]) push() *T {
	if r.count == len(r.slots) {
		r.grow()
	}
	slot := &r.slots[(r.head+r.count)&(len(r.slots)-1)]
	r.count++
	return slot
}

func (r *ring[T]) grow() {
	grown := make([]T, max(8, 2*len(r.slots)))
	for i := range r.count {
		grown[i] = *r.at(i)
	}
	r.slots, r.head = grown, 0
}

// at is the i-th entry; it stays valid until the next push.
func (r *ring[T]) at(i int) *T { return &r.slots[(r.head+i)&(len(r.slots)-1)] }

// pop removes the first entry and returns it. Its slot is cleared, so that
// nothing is kept alive.
func (r *ring[T]) pop() T {
	slot := &r.slots[r.head]
	first := *slot
	var zero T
	*slot = zero
	r.head = (r.head + 1) & (len(r.slots) - 1)
	r.count--
	return first
}

// drop removes the first entry and leaves its slot as it is.
func (r *ring[T]) drop() {
	r.head = (r.head + 1) & (len(r.slots) - 1)
	r.count--
}

// clear empties the ring and gives its memory back.
func (r *ring[T]) clear() { *r = ring[T]{} }
