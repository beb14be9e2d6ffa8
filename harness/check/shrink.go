package check

import (
	"cmp"
	"slices"
	"sort"

	"github.com/anishathalye/porcupine"
)

// shrink cuts a violation down to one of few operations, as far as it gets until
// the limit. Each cut is such that a violation afterwards implies one before,
// and is kept only if porcupine still finds none of the orders possible.
func shrink(h history, limit limit) history {
	s := shrinker{limit: limit}
	h = s.shortestPrefix(h)
	for {
		before := len(h.operations)
		h = s.latestStart(h)
		h = s.leaveOut(h)
		if len(h.operations) >= before || limit.over() {
			return h.tidy()
		}
	}
}

type shrinker struct{ limit limit }

func (s *shrinker) violates(h history) bool { return h.linearizable(s.limit) == porcupine.Illegal }

// shortestPrefix finds the first answer with which the history is a violation.
// Violations are monotone in the instant (history.until), so it bisects.
func (s *shrinker) shortestPrefix(h history) history {
	answers := h.answers()
	// Short prefixes are fast to search, so begin with them.
	low, high := 0, 8
	for high < len(answers) && !s.violates(h.until(answers[high])) {
		low, high = high+1, 2*high
	}
	high = min(high, len(answers))
	first := low + sort.Search(high-low, func(i int) bool { return s.violates(h.until(answers[low+i])) })
	if first == len(answers) {
		return h // the time was too short to tell
	}
	// The prefix at high, if it is that one, was found to be a violation above.
	return h.until(answers[first])
}

// latestStart finds a call as late as possible from which on the history is
// still a violation, whatever the state was before. It doubles the part that it
// tries, since short ones are fast to search, and then bisects.
func (s *shrinker) latestStart(h history) history {
	var calls []int64
	for i := range h.operations {
		if call := h.operations[i].call; call > h.cut {
			calls = append(calls, call)
		}
	}
	slices.SortFunc(calls, func(a, b int64) int { return cmp.Compare(b, a) })
	calls = slices.Compact(calls)
	fails := func(i int) bool { return s.violates(h.since(calls[i])) }
	low, high := 0, 1
	for high < len(calls) && !fails(high) {
		low, high = high+1, 2*high
	}
	high = min(high, len(calls))
	latest := low + sort.Search(high-low, func(i int) bool { return fails(low + i) })
	if latest == len(calls) {
		return h
	}
	// Starts aren't monotone where operations are under way, but the one that the
	// bisection ends at was tried.
	return h.since(calls[latest])
}

// leaveOut drops operations that no other depends on, many at a time and then
// one by one, while the history stays a violation. A linearization stays one
// without a read or an operation that failed, since they change nothing. It
// stays one without an update whose value nothing read: those that come between
// it and the next write only saw that the key was present, which it was before
// the update. So if there is no linearization without them, there is none with
// them.
func (s *shrinker) leaveOut(h history) history {
	slices.SortFunc(h.operations, byCall)
	for size := max(len(h.operations)/2, 1); size > 0; size /= 2 {
		for start := 0; start < len(h.operations) && !s.limit.over(); {
			rest := h.without(start, start+size)
			if len(rest.operations) < len(h.operations) && s.violates(rest) {
				h = rest
			} else {
				start += size
			}
		}
	}
	return h
}

// without leaves out what may be left out among the operations of a range.
func (h *history) without(start, stop int) history {
	observed, _ := h.values()
	kept := make([]operation, 0, len(h.operations))
	for i, o := range h.operations {
		_, seen := observed[o.argument]
		needed := o.pending() || o.mutates() && (o.kind != update || seen)
		if i < start || i >= stop || needed {
			kept = append(kept, o)
		}
	}
	return h.with(kept)
}

// tidy leaves out what the search leaves out, and sorts by time.
func (h history) tidy() history {
	p := newProblem(&h)
	kept := make([]operation, 0, len(p.tasks))
	for _, t := range p.tasks {
		if t.operation != nil {
			kept = append(kept, *t.operation)
		}
	}
	return h.with(kept)
}
