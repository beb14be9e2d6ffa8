//go:build linux

package link

import (
	"cmp"
	"slices"
)

// event is a frame that reaches the next node of its path at timeNS.
type event struct {
	timeNS int64
	// sequence orders events of the same time by when they were pushed.
	sequence uint64
	frame    *frame
}

func (e *event) before(other *event) bool {
	if e.timeNS != other.timeNS {
		return e.timeNS < other.timeNS
	}
	return e.sequence < other.sequence
}

// eventHeap is a priority queue of events. Its nodes have four children: it is
// half as deep as a binary heap, and siblings share cache lines.
type eventHeap struct {
	events   []event
	sequence uint64
}

func (h *eventHeap) len() int { return len(h.events) }

// nextNS is the time of the first event; the heap must not be empty.
func (h *eventHeap) nextNS() int64 { return h.events[0].timeNS }

func (h *eventHeap) push(timeNS int64, f *frame) {
	h.sequence++
	added := event{timeNS: timeNS, sequence: h.sequence, frame: f}
	h.events = append(h.events, added)
	at := len(h.events) - 1
	for at > 0 {
		parent := (at - 1) / 4
		if !added.before(&h.events[parent]) {
			break
		}
		h.events[at] = h.events[parent]
		at = parent
	}
	h.events[at] = added
}

// pop removes the first event; the heap must not be empty.
func (h *eventHeap) pop() event {
	first := h.events[0]
	last := len(h.events) - 1
	moved := h.events[last]
	h.events[last] = event{}
	h.events = h.events[:last]
	if last == 0 {
		return first
	}
	at := 0
	for {
		child := 4*at + 1
		if child >= last {
			break
		}
		least := child
		for sibling := child + 1; sibling < min(child+4, last); sibling++ {
			if h.events[sibling].before(&h.events[least]) {
				least = sibling
			}
		}
		if !h.events[least].before(&moved) {
			break
		}
		h.events[at] = h.events[least]
		at = least
	}
	h.events[at] = moved
	return first
}

// repair restores the order after times were changed.
func (h *eventHeap) repair() {
	// What is sorted is a heap.
	slices.SortFunc(h.events, func(a, b event) int {
		return cmp.Or(cmp.Compare(a.timeNS, b.timeNS), cmp.Compare(a.sequence, b.sequence))
	})
}
