package link

import (
	"math/rand/v2"
	"slices"
	"sort"
	"time"

	"quorumlab/topologies"
)

// replay reads a trace at ascending times, in a time that doesn't grow with the trace.
type replay struct {
	trace *topologies.Trace
	// originNS is when the trace is at its beginning.
	originNS int64
	// row is the last one that was looked up, span what holds around it.
	row  int
	span span
}

// span is a part of the trace between two times in it, of the one delay or with a
// delay that goes from one to the other in a straight line. It may begin below 0 or
// end after the period, when it goes round.
type span struct {
	fromNS, untilNS     int64
	excessNS, towardsNS int64
	lost                bool
}

// TraceBegins is when the trace of a direction of this seed is at its first row, in a
// network that starts at startNS.
func TraceBegins(t *topologies.Trace, seed uint64, startNS int64) int64 {
	return newReplay(t, startNS, rand.New(rand.NewPCG(seed, generator))).originNS
}

// newReplay starts a trace at startNS, or at a time drawn from the generator.
func newReplay(t *topologies.Trace, startNS int64, random *rand.Rand) *replay {
	r := &replay{trace: t, originNS: startNS}
	if t.Align == topologies.AlignRandom {
		r.originNS -= random.Int64N(int64(t.Period))
	}
	return r
}

// sameTrace tells whether two traces are alike, but for their names.
func sameTrace(a, b *topologies.Trace) bool {
	return a == b || a != nil && b != nil && a.Align == b.Align && a.Gap == b.Gap && a.GapAfter == b.GapAfter &&
		a.Period == b.Period && slices.Equal(a.Times, b.Times) && slices.Equal(a.Excess, b.Excess)
}

// at is what the trace says for a frame at timeNS.
func (r *replay) at(timeNS int64) (excessNS int64, lost bool) {
	period := int64(r.trace.Period)
	at := (timeNS - r.originNS) % period
	if at < 0 {
		at += period
	}
	s := &r.span
	if at < s.fromNS || at >= s.untilNS {
		r.seek(time.Duration(at))
		*s = r.around(r.row)
	}
	if s.towardsNS == s.excessNS {
		return s.excessNS, s.lost
	}
	part := float64(at-s.fromNS) / float64(s.untilNS-s.fromNS)
	return s.excessNS + int64(part*float64(s.towardsNS-s.excessNS)), s.lost
}

// seek finds the row that holds at a time in the trace: one of the next, or any.
func (r *replay) seek(at time.Duration) {
	times := r.trace.Times
	if times[r.row] > at {
		r.row = 0
	}
	for range 4 {
		if r.row+1 == len(times) || times[r.row+1] > at {
			return
		}
		r.row++
	}
	rest := times[r.row:]
	r.row += sort.Search(len(rest), func(i int) bool { return rest[i] > at }) - 1
}

// before and after are the rows next to one, round the end; far tells whether the
// next row is so far away that there is a gap.
func (r *replay) before(row int) int { return (row + len(r.trace.Times) - 1) % len(r.trace.Times) }
func (r *replay) after(row int) int  { return (row + 1) % len(r.trace.Times) }
func (r *replay) far(row int) bool   { return r.length(row) > r.trace.GapAfter }

// length is how long it is until the next row.
func (r *replay) length(row int) time.Duration {
	if row+1 == len(r.trace.Times) {
		return r.trace.Period - r.trace.Times[row]
	}
	return r.trace.Times[row+1] - r.trace.Times[row]
}

// around is the span that a row is in: until the next row, or the whole gap. A gap
// begins with a row from which it is far to the next, or with the first of several
// without an answer; it ends with an answer.
func (r *replay) around(row int) span {
	t := r.trace
	fromNS := int64(t.Times[row])
	untilNS := fromNS + int64(r.length(row))
	if t.Excess[row] >= 0 && !r.far(row) {
		return span{fromNS: fromNS, untilNS: untilNS, excessNS: int64(t.Excess[row]), towardsNS: int64(t.Excess[row])}
	}
	if t.Gap == topologies.GapLose {
		return span{fromNS: fromNS, untilNS: untilNS, lost: true}
	}
	first := row
	for t.Excess[first] < 0 {
		earlier := r.before(first)
		if t.Excess[earlier] >= 0 && !r.far(earlier) {
			break
		}
		fromNS -= int64(r.length(earlier))
		first = earlier
	}
	held := t.Excess[first]
	if held < 0 {
		held = t.Excess[r.before(first)]
	}
	next := r.after(row)
	for t.Excess[next] < 0 {
		untilNS += int64(r.length(next))
		next = r.after(next)
	}
	s := span{fromNS: fromNS, untilNS: untilNS, excessNS: int64(held), towardsNS: int64(held)}
	if t.Gap == topologies.GapInterpolate {
		s.towardsNS = int64(t.Excess[next])
	}
	return s
}
