package multipaxos

// maxSpan bounds how far apart the slots of one ring may be. Slots beyond it
// come from no process that follows the protocol.
const maxSpan = 1 << 22

// ring holds an entry for each slot from first up to, not including, end. The
// entries of one ring are dense: the slots that a process is concerned with at
// a time are those between what all have committed and the window's end.
type ring[T any] struct {
	entries    []T // its length is 0 or a power of two
	first, end uint64
}

func newRing[T any](first uint64) ring[T] { return ring[T]{first: first, end: first} }

// at is the slot's entry; nil if the ring doesn't reach there.
func (r *ring[T]) at(slot uint64) *T {
	if slot < r.first || slot >= r.end {
		return nil
	}
	return &r.entries[slot&uint64(len(r.entries)-1)]
}

// reach is the slot's entry, for which the ring is extended; nil for a slot
// below first or absurdly far beyond.
func (r *ring[T]) reach(slot uint64) *T {
	if slot < r.first || slot-r.first >= maxSpan {
		return nil
	}
	if slot >= r.end {
		if slot-r.first >= uint64(len(r.entries)) {
			r.grow(slot - r.first + 1)
		}
		r.end = slot + 1
	}
	return &r.entries[slot&uint64(len(r.entries)-1)]
}

func (r *ring[T]) grow(span uint64) {
	size := max(uint64(len(r.entries)), 16)
	for size < span {
		size *= 2
	}
	grown := make([]T, size)
	for slot := r.first; slot < r.end; slot++ {
		grown[slot&(size-1)] = *r.at(slot)
	}
	r.entries = grown
}

// forget drops the entries below a slot, which becomes first unless it is less.
func (r *ring[T]) forget(upTo uint64) {
	if upTo <= r.first {
		return
	}
	var zero T
	for slot := r.first; slot < min(upTo, r.end); slot++ {
		r.entries[slot&uint64(len(r.entries)-1)] = zero
	}
	r.first, r.end = upTo, max(upTo, r.end)
}
