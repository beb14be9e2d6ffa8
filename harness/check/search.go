package check

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// maxSearchBytes bounds the memory of one search: porcupine keeps a bit for each
// task with each state that it reaches.
const maxSearchBytes = 512 << 20

// limit is when a search must end: at its deadline, or before that with its
// context.
type limit struct {
	ctx      context.Context
	deadline time.Time
}

// within is a limit so long from now.
func within(ctx context.Context, d time.Duration) limit {
	return limit{ctx: ctx, deadline: time.Now().Add(d)}
}

// over tells whether the search must end.
func (l limit) over() bool { return l.ctx.Err() != nil || !time.Now().Before(l.deadline) }

// share is a limit of a part of the time that is left, one of so many.
func (l limit) share(parts int) limit {
	return within(l.ctx, time.Until(l.deadline)/time.Duration(parts))
}

// search is one run of porcupine within bounds. Once they are exceeded no step
// is possible any more, so that porcupine comes to an end at once.
type search struct {
	limit limit
	// bytes is what remains; stepBytes is what each step takes.
	bytes, stepBytes int64
	steps            int
	exhausted        bool
}

func newSearch(tasks int, limit limit) *search {
	return &search{limit: limit, bytes: maxSearchBytes, stepBytes: int64(tasks)/8 + 128}
}

// spend counts a step and tells whether the search may go on.
func (s *search) spend() bool {
	s.steps++
	if s.steps%256 == 0 && s.limit.over() {
		s.exhausted = true
	}
	return !s.exhausted
}

// keep accounts for a state that was reached.
func (s *search) keep() {
	if s.bytes -= s.stepBytes; s.bytes < 0 {
		s.exhausted = true
	}
}

// unbind lets steps be taken again, however many.
func (s *search) unbind() {
	s.limit, s.bytes, s.stepBytes, s.exhausted = within(context.Background(), time.Hour), 1, 0, false
}

// model is the application for porcupine. The inputs are tasks; there are no
// outputs, since a task says what came of it.
func (s *search) model(a *application, initial state) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return initial },
		Step: func(before, input, _ any) (bool, any) {
			if !s.spend() {
				return false, before
			}
			after, ok := a.step(before.(state), input.(*task))
			if !ok {
				return false, before
			}
			s.keep()
			return true, after
		},
		Equal: func(a, b any) bool { return a.(state) == b.(state) },
	}
}

// operations are a problem's tasks for porcupine.
func (p *problem) operations() []porcupine.Operation {
	operations := make([]porcupine.Operation, len(p.tasks))
	for i := range p.tasks {
		t := &p.tasks[i]
		operations[i] = porcupine.Operation{Input: t, Call: t.call, Return: t.done}
	}
	return operations
}

// linearizable has porcupine look for an order of the history's operations; it
// is Unknown if the time or the memory doesn't suffice.
func (h *history) linearizable(limit limit) porcupine.CheckResult {
	if limit.over() {
		return porcupine.Unknown
	}
	p := newProblem(h)
	return p.search(h.application, newSearch(len(p.tasks), limit))
}

// search has porcupine look for an order of the tasks, within bounds.
func (p *problem) search(a *application, s *search) porcupine.CheckResult {
	ok := porcupine.CheckOperations(s.model(a, p.initial), p.operations())
	switch {
	case ok:
		return porcupine.Ok
	case s.exhausted:
		return porcupine.Unknown
	}
	return porcupine.Illegal
}

// decide tells whether the object's history has a linearization; if it has none,
// it returns a part of the history that has none either.
func (a *application) decide(s suspect, limit limit) (porcupine.CheckResult, *history) {
	whole := s.object.history(a)
	if s.failure != nil {
		// Half of the time, so that the search of everything has some too.
		if part := whole.around(s.failure.instant, limit.share(2)); part != nil {
			return porcupine.Illegal, part
		}
	}
	verdict := porcupine.Ok
	for _, part := range whole.parts() {
		if len(part.operations) > 16*windowAnswers {
			if window := part.scan(limit.share(2)); window != nil {
				return porcupine.Illegal, window
			}
		}
		switch part.linearizable(limit) {
		case porcupine.Illegal:
			return porcupine.Illegal, &part
		case porcupine.Unknown:
			verdict = porcupine.Unknown
		}
	}
	return verdict, nil
}

// answers lists when the answers came, in order.
func (h *history) answers() []int64 {
	var answers []int64
	for i := range h.operations {
		if o := &h.operations[i]; !o.pending() {
			answers = append(answers, o.done)
		}
	}
	slices.Sort(answers)
	return answers
}

// window is the part of a history between two of its answers.
func (h *history) window(answers []int64, first, last int) history {
	part := *h
	if last < len(answers) {
		part = part.until(answers[last])
	}
	if first > 0 {
		part = part.since(answers[first])
	}
	return part
}

// around looks for a violation among the operations answered shortly before and
// after an instant, more and more of them: such parts are fast to search.
func (h *history) around(instant int64, limit limit) *history {
	answers := h.answers()
	at, _ := slices.BinarySearch(answers, instant)
	for width := 8; width <= 4096; width *= 8 {
		part := h.window(answers, at-width, at+width)
		if part.linearizable(limit) == porcupine.Illegal {
			return &part
		}
		if width > at && at+width >= len(answers) {
			break // that was everything
		}
	}
	return nil
}

// windowAnswers is the length of the windows of scan.
const windowAnswers = 128

// scan looks for a violation in windows of the history, each of which overlaps
// the next by half. It finds almost all violations, also where the whole is too
// much to search. It takes time in proportion to the answers and to the windows
// times what is pending.
func (h *history) scan(limit limit) *history {
	answered, pending := h.byAnswer()
	answers := h.answers()
	// earliest is when the first of an answered operation and all later ones was
	// called: where that is after the window, the window has all it needs.
	earliest := make([]int64, len(answered))
	first := int64(never)
	for i, o := range slices.Backward(answered) {
		first = min(first, o.call)
		earliest[i] = first
	}
	for first := 0; first+windowAnswers/2 < len(answered) && !limit.over(); first += windowAnswers / 2 {
		last := first + windowAnswers
		stop := min(last, len(answered))
		for stop < len(answered) && earliest[stop] <= answers[last] {
			stop++
		}
		some := h.with(slices.Concat(answered[first:stop], pending))
		part := some.window(answers, first, last)
		if part.linearizable(limit) == porcupine.Illegal {
			return &part
		}
	}
	return nil
}

// byAnswer splits the operations into those with an answer, in the order of
// their answers, and the others.
func (h *history) byAnswer() (answered, pending []operation) {
	for _, o := range h.operations {
		if o.pending() {
			pending = append(pending, o)
		} else {
			answered = append(answered, o)
		}
	}
	slices.SortFunc(answered, func(a, b operation) int { return cmp.Compare(a.done, b.done) })
	return answered, pending
}

// minPart is the least number of operations of a part, so that there aren't
// needlessly many.
const minPart = 64

// parts splits the history where its state is certain: after an operation that
// is concurrent with no other and that leaves one state only, whatever came
// before. All operations before precede it, and all after follow it, in every
// linearization. So the history has a linearization if and only if all parts
// have one, each from the state that the part before leaves. What is pending
// could take effect in any part after it: from there on there is no split.
func (h history) parts() []history {
	p := newProblem(&h)
	var parts []history
	part := h.with(nil)
	last := int64(-never) // when the latest answer before a task came
	for i := range p.tasks {
		t := &p.tasks[i]
		if t.kind == end {
			break
		}
		part.operations = append(part.operations, *t.operation)
		alone := i > 0 && last < t.call && i+1 < len(p.tasks) && t.done < p.tasks[i+1].call
		last = max(last, t.done)
		if !alone || t.pending || len(part.operations) < minPart {
			continue
		}
		if value, sure := h.application.after(t); sure {
			parts = append(parts, part)
			part = h.with(nil)
			part.initial = state{value: value}
		}
	}
	return append(parts, part)
}
