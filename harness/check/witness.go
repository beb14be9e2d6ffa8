package check

import (
	"cmp"
	"slices"
)

// witness replays an object's operations in the order of the log. Pending
// operations, whose places aren't known, take effect right before the
// operation that couldn't have its outcome without them.
//
// If it succeeds, it has built a linearization. If it fails, there may be one
// all the same.
type witness struct {
	// pending is in the order of calls; used marks those that took effect, and
	// next is where to look for an unused one of each kind.
	pending []operation
	used    []bool
	next    [end]int
	// writers gives the first pending operation that writes a value.
	writers map[int64]int
	value   int64
	// latest is, of the operations replayed so far, the one called last.
	latest *operation
}

// failure is where a witness failed: nothing after that instant is to blame.
type failure struct{ instant int64 }

// compare orders failures by time; those without come last.
func (f *failure) compare(other *failure) int {
	if f == nil || other == nil {
		return cmp.Compare(btoi(f == nil), btoi(other == nil))
	}
	return cmp.Compare(f.instant, other.instant)
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// witness tells whether the log's order explains the object's history; if not,
// where it failed, unless there is no such order.
func (a *application) witness(o *object) (ok bool, at *failure) {
	if o.slotless {
		return false, nil
	}
	slices.SortFunc(o.answered, byPlace)
	slices.SortFunc(o.pending, byCall)
	w := &witness{
		pending: o.pending, used: make([]bool, len(o.pending)), writers: map[int64]int{}, value: a.initial.value,
	}
	for i := range o.pending {
		if p := &o.pending[i]; p.writes() {
			if _, taken := w.writers[p.argument]; !taken {
				w.writers[p.argument] = i
			}
		}
	}
	reveals := reveals(o)
	for i := range o.answered {
		op, next := &o.answered[i], int64(absent)
		if reveals != nil {
			next = reveals[i]
		}
		if op.garbled || !a.explain(w, op, next) {
			return false, &failure{instant: op.done}
		}
		if !w.order(op) {
			// What the latest did may be known only once it was answered.
			return false, &failure{instant: max(op.done, answeredAt(w.latest))}
		}
		a.follow(w, op)
	}
	return true, nil
}

// byPlace orders operations as the log does. Reads that took no place saw the
// same state if they did after the same slot; any order of theirs will do, so
// they are in that of their calls, which real time can't contradict.
func byPlace(a, b operation) int {
	return cmp.Or(cmp.Compare(a.slot, b.slot), cmp.Compare(a.index, b.index), cmp.Compare(a.call, b.call))
}

func answeredAt(o *operation) int64 {
	if o.pending() {
		return o.call
	}
	return o.done
}

// order appends an operation to the linearization, unless it was answered before
// one that is already there was called.
func (w *witness) order(o *operation) bool {
	if w.latest != nil && o.done < w.latest.call {
		return false
	}
	if w.latest == nil || o.call > w.latest.call {
		w.latest = o
	}
	return true
}

// reveals gives, for each answered operation, the value that the key has
// according to the next read, or absent if something else writes first; nil if
// nobody needs to know.
func reveals(o *object) []int64 {
	if len(o.pending) == 0 {
		return nil
	}
	reveals := make([]int64, len(o.answered))
	next := int64(absent)
	for i, op := range slices.Backward(o.answered) {
		if op.observes() {
			next = op.result
		} else if op.mutates() {
			next = absent
		}
		reveals[i] = next
	}
	return reveals
}

// use has a pending operation take effect.
func (w *witness) use(i int) *operation {
	w.used[i] = true
	w.order(&w.pending[i]) // never refused: it has no answer
	return &w.pending[i]
}

// take has the pending operation of a kind take effect that was called first:
// the earlier, the less real time forbids.
func (w *witness) take(kind kind) (*operation, bool) {
	for ; w.next[kind] < len(w.pending); w.next[kind]++ {
		if i := w.next[kind]; !w.used[i] && w.pending[i].kind == kind {
			return w.use(i), true
		}
	}
	return nil, false
}

// explainKV makes the key present, absent or of the value that the outcome
// needs. next is the value that the next read will return.
func explainKV(w *witness, o *operation, next int64) bool {
	switch {
	case o.observes():
		return w.value == o.result || w.write(o.result)
	case needsAbsence(o.kind, o.failed):
		return w.disappear()
	}
	return w.appear(next)
}

// write has the pending operation take effect that writes a value.
func (w *witness) write(value int64) bool {
	i, exists := w.writers[value]
	if !exists || w.used[i] {
		return false
	}
	if create := w.pending[i].kind == create; create && !w.disappear() || !create && !w.appear(absent) {
		return false
	}
	w.use(i)
	w.value = value
	return true
}

// disappear makes the key absent.
func (w *witness) disappear() bool {
	if w.value == absent {
		return true
	}
	_, ok := w.take(remove)
	if ok {
		w.value = absent
	}
	return ok
}

// appear makes the key present, if it can be with the value wanted.
func (w *witness) appear(wanted int64) bool {
	if w.value != absent {
		return true
	}
	if i, exists := w.writers[wanted]; exists && !w.used[i] && w.pending[i].kind == create {
		w.value = w.use(i).argument
		return true
	}
	created, ok := w.take(create)
	if ok {
		w.value = created.argument
	}
	return ok
}

func followKV(w *witness, o *operation) {
	switch {
	case o.writes():
		w.value = o.argument
	case o.mutates():
		w.value = absent
	}
}

// explainCounter has as many increments or decrements take effect as the value
// is off.
func explainCounter(w *witness, o *operation, _ int64) bool {
	if o.failed {
		return false
	}
	needed := o.result - o.kind.step()
	for w.value != needed {
		kind := increment
		if needed < w.value {
			kind = decrement
		}
		taken, ok := w.take(kind)
		if !ok {
			return false
		}
		w.value += taken.kind.step()
	}
	return true
}

func followCounter(w *witness, o *operation) { w.value = o.result }
