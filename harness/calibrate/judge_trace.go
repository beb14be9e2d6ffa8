package calibrate

import (
	"math"
	"time"

	"quorumlab/harness/link"
	"quorumlab/results"
	"quorumlab/topologies"
)

const (
	// traceShare of frames may have another delay than the trace.
	traceShare = 0.05
	// fitShare is how many more of the frames may be off the trace for a start of the network
	// than for the best one, if it is to count as possible.
	fitShare = 0.01
	// tooWide is the least range, of all there could be, that tells nothing.
	tooWide = 0.5
	// openMargin is how far from a gap of the trace a train has to stay.
	openMargin = 20 * time.Millisecond
)

// whyUnknown is why a trace can't be followed.
const whyUnknown = "where in the trace the frames were isn't known"

// gaps tells whether a direction loses what is sent in its trace's gaps.
func gaps(p topologies.Parameters) bool {
	return p.Trace != nil && p.Trace.Gap == topologies.GapLose
}

// undecided makes a row about a direction with a trace one that wasn't tested, if it tells
// nothing: nobody knows where the trace was, or what would do is that wide a share of all
// there could be.
func (j *judge) undecided(c results.LinkCheck, wide float64) results.LinkCheck {
	switch {
	case j.direction.declared.Trace == nil:
	case j.latestNS == 0:
		c.Finding, c.Reason = results.LinkNotTested, whyUnknown
	case wide > tooWide && c.Finding == results.LinkPass:
		c.Finding, c.Reason = results.LinkNotTested, whyUnknown+" well enough"
	}
	return c
}

// trace judges how many frames have another delay than the trace gives at their times, of
// all possible starts of the network by that which fits best. It notes all that fit.
func (j *judge) trace(p topologies.Parameters, r *record) results.LinkCheck {
	if j.latestNS == 0 {
		return j.untested("trace", "share", whyUnknown)
	}
	alone := topologies.Parameters{Delay: p.Delay, Trace: p.Trace, JitterReorders: p.JitterReorders, RateBPS: p.RateBPS,
		QueueFrames: p.QueueFrames, QueueBytes: p.QueueBytes}
	c := j.check("trace", "share", len(r.arrivals))
	if len(r.arrivals) == 0 {
		c.Finding, c.Reason = results.LinkNotTested, "no frame arrived"
		return c
	}
	c.High = traceShare + j.strain.late
	c.Measured = 1
	step := max(int64(time.Millisecond), (j.latestNS-j.earliestNS)/1000)
	models := link.Models(alone)
	var starts []int64
	var shares []float64
	late := 0.0
	for start := j.earliestNS; start <= j.latestNS; start += step {
		off, offLate := j.strays(r, carry(models(j.seed, start), r))
		starts, shares = append(starts, start), append(shares, off)
		if off < c.Measured {
			c.Measured, late = off, offLate
		}
	}
	if c = settle(c); c.Finding == results.LinkPass {
		for i, start := range starts {
			if shares[i] <= c.Measured+fitShare {
				j.startsNS = append(j.startsNS, start)
			}
		}
		return c
	}
	if c.Measured-late <= traceShare && late <= traceShare+j.strain.explains() && j.strain.explains() > 0 {
		return j.strain.excuse(c)
	}
	c.Reason = "so many frames have another delay than the trace"
	return c
}

// strays is the share of the frames that came whose delay isn't the model's, and that of
// those of them that are merely late.
func (j *judge) strays(r, model *record) (off, late float64) {
	expected := make([]int64, len(r.sentNS))
	for i := range expected {
		expected[i] = math.MinInt64
	}
	for _, a := range model.arrivals {
		expected[a.frame] = a.atNS
	}
	for _, a := range r.arrivals {
		allowed := j.late(time.Duration(expected[a.frame] - r.sentNS[a.frame]))
		switch {
		case expected[a.frame] == math.MinInt64 || expected[a.frame]-a.atNS > int64(earlyBy+j.uncertainty):
			off++
		case float64(a.atNS-expected[a.frame]) > allowed:
			off++
			late++
		}
	}
	n := float64(max(len(r.arrivals), 1))
	return off / n, late / n
}

// opening is how long to wait from now on, up to most, until a trace loses none of the
// frames of a train; false if it isn't so by then.
func (j *judge) opening(o order, nowNS int64, most time.Duration) (wait time.Duration, ok bool) {
	p := j.direction.declared
	if !gaps(p) || j.latestNS == 0 {
		return 0, true
	}
	starts := j.startsNS
	if len(starts) == 0 {
		starts = []int64{j.earliestNS, j.latestNS}
	}
	begins := link.TraceBegins(p.Trace, j.seed, j.earliestNS) - j.earliestNS
	models := link.Models(aligned(topologies.Parameters{Trace: p.Trace, JitterReorders: true}, topologies.AlignStart))
	lasts := int64(o.lasts(topologies.Parameters{RateBPS: p.RateBPS}) + 2*openMargin)
	open := func(fromNS int64) bool {
		for _, start := range []int64{starts[0], starts[len(starts)/2], starts[len(starts)-1]} {
			m := models(0, begins+start)
			for i := range int64(17) {
				if m.Transmit(fromNS+i*lasts/16, o.bytes).Count == 0 {
					return false
				}
			}
		}
		return true
	}
	step := max(10*time.Millisecond, time.Duration(lasts)/4)
	for wait = 0; wait <= max(most, 0); wait += step {
		if open(nowNS + int64(wait-openMargin)) {
			return wait, true
		}
	}
	return 0, false
}
