package check

import (
	"slices"
)

// classes of operations without an answer that can stand for one another.
const (
	// classAdd holds increments, and creations of values that nothing read.
	classAdd = iota
	// classTake holds decrements and removals.
	classTake
	classes
	// classNone holds the others.
	classNone
)

// task is an operation as the search for an order sees it.
type task struct {
	// operation is what it was recorded as; nil for the end.
	operation        *operation
	call, done       int64
	argument, result int64
	// rank is, for a pending task of a class, its place among that class in the
	// order of calls.
	rank  int32
	class uint8
	kind  kind
	// pending tasks may take effect or not.
	failed, pending, garbled bool
	// possible is true for a read of a value that the initial state may be, if
	// that is unknown.
	possible bool
}

// problem is a history made easy to search. It has a linearization if and only
// if the history has one.
//
//   - A pending update whose value nothing read is left out: in a linearization
//     that has it, those who see its value only see that the key is present,
//     which it was before.
//   - A pending operation that alone may have written a value that was read did
//     take effect, before the first of those reads was answered. It is as good as
//     answered then. (Not if the initial state may be that value.)
//   - Pending operations that have the same effect take effect in the order of
//     their calls: if a linearization has a later one instead of, or before, an
//     earlier one, exchanging the two gives another.
//   - Of these, the first few suffice (application.enough).
//   - A pending operation is ordered either where it has an effect or after the
//     end, which follows all answers.
type problem struct {
	initial state
	// tasks are in the order of their calls; the end, if anything is pending, is
	// last.
	tasks []task
}

// newProblem prepares a history, whose operations it puts in the order of calls.
func newProblem(h *history) problem {
	slices.SortFunc(h.operations, byCall)
	p := problem{initial: h.initial, tasks: make([]task, 0, len(h.operations)+1)}
	observed, writers := h.values()
	var ranks [classes]int32
	for i := range h.operations {
		o := &h.operations[i]
		t := newTask(h, o)
		if o.pending() {
			first, seen := observed[o.argument]
			switch {
			case o.kind == update && !seen:
				continue
			case o.writes() && seen && writers[o.argument] == 1 && o.call <= first && !h.mayBeginAs(o.argument):
				t.pending, t.done = false, first
			default:
				t.classify(seen)
			}
			if t.class < classes {
				t.rank = ranks[t.class]
				ranks[t.class]++
			}
		}
		p.tasks = append(p.tasks, t)
	}
	enough := h.application.enough(&p)
	p.tasks = slices.DeleteFunc(p.tasks, func(t task) bool { return t.class < classes && t.rank >= enough })
	p.close()
	return p
}

func newTask(h *history, o *operation) task {
	return task{
		operation: o, call: o.call, done: o.done, argument: o.argument, result: o.result,
		class: classNone, kind: o.kind, failed: o.failed, pending: o.pending(), garbled: o.garbled,
		possible: o.observes() && h.possible(o.result),
	}
}

// values gives for each value that was read when the first of these reads was
// answered, and for each value how many operations may have written it.
func (h *history) values() (observed map[int64]int64, writers map[int64]int) {
	observed, writers = map[int64]int64{}, map[int64]int{}
	for i := range h.operations {
		o := &h.operations[i]
		if o.observes() {
			if first, seen := observed[o.result]; !seen || o.done < first {
				observed[o.result] = o.done
			}
		}
		if o.writes() {
			writers[o.argument]++
		}
	}
	return observed, writers
}

// mayBeginAs tells whether the initial state may be this value.
func (h *history) mayBeginAs(value int64) bool {
	if h.initial.known == exact {
		return h.initial.value == value
	}
	return h.possible(value)
}

// classify finds the pending tasks that a task can stand for. Whether an
// operation's value was read tells whether its value matters.
func (t *task) classify(seen bool) {
	switch {
	case t.kind == remove || t.kind == decrement:
		t.class = classTake
	case t.kind == increment || t.kind == create && !seen:
		t.class = classAdd
	}
}

// close adds the end after the last call and answer, if anything is pending, and
// lets that last for longer.
func (p *problem) close() {
	last, open := int64(-never), false
	for i := range p.tasks {
		t := &p.tasks[i]
		open = open || t.pending
		if last = max(last, t.call); !t.pending {
			last = max(last, t.done)
		}
	}
	if !open {
		return
	}
	p.tasks = append(p.tasks, task{kind: end, class: classNone, call: last + 1, done: last + 1})
	for i := range p.tasks {
		if t := &p.tasks[i]; t.pending {
			t.done = last + 2
		}
	}
}

// others counts the tasks that no other can stand for.
func (p *problem) others() int {
	others := 0
	for i := range p.tasks {
		if p.tasks[i].class == classNone {
			others++
		}
	}
	return others
}

// step orders a task next, unless its outcome is impossible there.
func (a *application) step(s state, t *task) (state, bool) {
	if t.kind == end {
		s.ended = true
		return s, true
	}
	if !t.pending {
		return a.apply(s, t)
	}
	if s.ended {
		return s, true
	}
	if t.class < classes {
		if s.used[t.class] != t.rank {
			return s, false
		}
		s.used[t.class]++
	}
	return a.apply(s, t)
}
