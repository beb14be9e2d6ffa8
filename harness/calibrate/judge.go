package calibrate

import (
	"fmt"
	"time"

	"quorumlab/harness/link"
	"quorumlab/results"
	"quorumlab/topologies"
)

// Tolerances of what isn't random: a machine is late now and then, never early.
const (
	// A frame may be late by lateBy, or lateShare of its delay if that is more, and early
	// by earlyBy, which allows for reading two clocks.
	lateBy    = 500 * time.Microsecond
	lateShare = 0.01
	earlyBy   = 50 * time.Microsecond
	// rateShare is how far a rate may be off.
	rateShare = 0.02
	// strayShare of frames may overtake others where nothing is declared to make them:
	// the machine has several processors.
	strayShare = 0.001
	// fewEvents is how many runs of losses it takes to judge their lengths.
	fewEvents = 10
)

// judge holds a direction's records against its declaration.
type judge struct {
	direction *direction
	// alpha is the share of all tries in which one judgement may fail a link that is as
	// declared.
	alpha float64
	// uncertainty is that of the two hosts' clocks against each other.
	uncertainty time.Duration
	// Where the network's start is known, a trace is followed in time: the start is
	// somewhere from earliestNS to latestNS, and seed is the direction's.
	earliestNS, latestNS int64
	seed                 uint64
	// startsNS, unless empty, are those of these times that fit the trace that was seen.
	startsNS []int64
	// strain is how the machine fared meanwhile.
	strain strain
	// counted caches what the model's counts are.
	counted func(p topologies.Parameters, o order, lag int) counts
}

// check begins a row.
func (j *judge) check(parameter, unit string, frames int) results.LinkCheck {
	return results.LinkCheck{
		Link: j.direction.link, From: j.direction.from, To: j.direction.to,
		Parameter: parameter, Unit: unit, Frames: frames, Finding: results.LinkPass,
	}
}

// untested is a row about what can't be judged.
func (j *judge) untested(parameter, unit, reason string) results.LinkCheck {
	c := j.check(parameter, unit, 0)
	c.Finding, c.Reason = results.LinkNotTested, reason
	return c
}

// settle fails a row whose measured value isn't within its bounds.
func settle(c results.LinkCheck) results.LinkCheck {
	if !(c.Measured >= c.Low && c.Measured <= c.High) {
		c.Finding = results.LinkFail
	}
	return c
}

// stream judges what a stream shows.
func (j *judge) stream(r *record, o order) []results.LinkCheck {
	p := j.direction.declared
	lag := max(p.ReorderGap, 1)
	seen := observe(r, lag)
	if p.Down {
		return []results.LinkCheck{j.share("loss", seen.missing, seen.frames, seen.frames, seen.frames, 1)}
	}
	var trace []results.LinkCheck
	if p.Trace != nil { // it tells where in the trace the frames were
		trace = append(trace, j.trace(p, r))
	}
	c, d := j.expected(p, r, o, lag)
	rows := trace
	if p.Trace == nil {
		rows = j.delay(p, r, seen, d)
	}
	rows = append(rows, j.losses(p, r, seen, c)...)
	return append(rows, j.order(p, seen, c)...)
}

// expected is what the model makes of the frames. Where delays are random, it depends on
// when each of them was sent.
func (j *judge) expected(p topologies.Parameters, r *record, o order, lag int) (counts, delays) {
	observing := func(played *record) observation { return observe(played, lag) }
	if p.Jitters() || p.Reorder > 0 {
		drawn := draw(j.player(p), r, delayDraws, observing)
		return countsOf(drawn), delaysOf(drawn, p)
	}
	without := topologies.Parameters{Delay: p.Delay, RateBPS: p.RateBPS}
	d := delaysOf(draw(newPlayer(without), r, 1, observing), without)
	if p.MeanLoss() > 0 || p.Duplicate > 0 {
		return j.counted(p, o, lag), d
	}
	return counts{}, d
}

// player has the model carry records in a network that started when this one did, where
// that is known: a trace is then where it is on the link.
func (j *judge) player(p topologies.Parameters) *player {
	if p.Trace == nil || j.latestNS == 0 {
		return newPlayer(p)
	}
	// A trace's beginning is as much later as the network's start is.
	begins := link.TraceBegins(p.Trace, j.seed, j.earliestNS)
	l := &player{
		declared: p, models: link.Models(aligned(p, topologies.AlignStart)),
		begun: true, earliestNS: begins, latestNS: begins + j.latestNS - j.earliestNS,
	}
	for _, start := range j.startsNS {
		l.beginsNS = append(l.beginsNS, begins+start-j.earliestNS)
	}
	return l
}

// share is a row about a share of the frames.
func (j *judge) share(parameter string, count, frames int, low, high int, declared float64) results.LinkCheck {
	c := j.check(parameter, "share", frames)
	n := float64(max(frames, 1))
	c.Declared, c.Measured, c.Low, c.High = declared, float64(count)/n, float64(low)/n, float64(high)/n
	return settle(c)
}

// late is by how much frames of a delay may be late.
func (j *judge) late(delay time.Duration) float64 {
	return float64(max(lateBy, time.Duration(lateShare*float64(delay))) + j.uncertainty)
}

// delay judges the median delay, and the whole distribution.
func (j *judge) delay(p topologies.Parameters, r *record, seen observation, d delays) []results.LinkCheck {
	c := j.check("delay", "ms", len(seen.delaysNS))
	ownNS := float64(serialisation(r.bytes, p.RateBPS))
	c.Declared = float64(p.MeanDelay()) / 1e6
	if len(seen.delaysNS) == 0 {
		c.Finding, c.Reason = results.LinkNotTested, "no frame arrived"
		return []results.LinkCheck{c}
	}
	if len(d.pool) == 0 { // that frames arrive at all is what the losses tell
		c.Finding, c.Reason = results.LinkNotTested, "no frame would arrive"
		return []results.LinkCheck{c}
	}
	low, high := d.middle.bounds(j.alpha)
	early, late := float64(earlyBy+j.uncertainty), j.late(p.MeanDelay())
	c.Declared, c.Measured = (d.middle.mean-ownNS)/1e6, (middleOf(seen.delaysNS, p)-ownNS)/1e6
	// Frames that the machine made late push others up to the middle.
	high += quantile(d.pool, 0.5+j.strain.late) - quantile(d.pool, 0.5)
	c.Low, c.High = (low-early-ownNS)/1e6, (high+late-ownNS)/1e6
	if c = settle(c); c.Measured > c.High && j.strain.explains() > 0 &&
		quantile(seen.delaysNS, 0.5-j.strain.explains()) <= high+late {
		c = j.strain.excuse(c)
	}
	if least := seen.delaysNS[0]; !p.Jitters() && p.Reorder == 0 && least < d.middle.mean-early {
		c.Finding = results.LinkFail
		c.Reason = fmt.Sprintf("the least delay was %.3f ms", (least-ownNS)/1e6)
	}
	rows := []results.LinkCheck{c}
	if jitter := j.jitter(seen, d, early, late); p.Jitters() || jitter.Finding != results.LinkPass {
		rows = append(rows, jitter)
	}
	return rows
}

// jitter judges the whole distribution. As many frames as the machine sent late may be
// late.
func (j *judge) jitter(seen observation, d delays, early, late float64) results.LinkCheck {
	row := j.check("jitter", "", len(seen.delaysNS))
	critical := d.dependence * criticalDistance(len(seen.delaysNS), j.alpha)
	small, large := distances(seen.delaysNS, d.pool, early, late)
	row.Measured, row.High = large, critical+j.strain.late
	if small > critical || small > large {
		row.Measured, row.High = small, critical
	}
	if row = settle(row); row.Finding == results.LinkPass {
		return row
	}
	if small <= critical && large <= critical+j.strain.explains() {
		return j.strain.excuse(row)
	}
	row.Reason = describeDistance(seen.delaysNS, d.pool)
	return row
}

// describeDistance tells two sorted distributions apart by their quantiles.
func describeDistance(sample, reference []float64) string {
	return fmt.Sprintf("5%%, 50%%, 95%% of the frames took up to %.2f, %.2f, %.2f ms; declared %.2f, %.2f, %.2f ms",
		quantile(sample, 0.05)/1e6, quantile(sample, 0.5)/1e6, quantile(sample, 0.95)/1e6,
		quantile(reference, 0.05)/1e6, quantile(reference, 0.5)/1e6, quantile(reference, 0.95)/1e6)
}

// losses judges missing and damaged frames.
func (j *judge) losses(p topologies.Parameters, r *record, seen observation, c counts) []results.LinkCheck {
	var rows []results.LinkCheck
	name, declared := "loss", 1-(1-p.MeanLoss())*(1-p.Corrupt)
	if p.Corrupt > 0 && !p.Lossy() {
		name = "corrupt"
	}
	low, high := acceptance(declared, seen.frames, j.alpha)
	if c.missing.draws > 0 && !independent(p) {
		l, h := c.missing.countBounds(seen.frames, j.alpha)
		low, high, declared = int(l), int(h), c.missing.mean/float64(seen.frames)
	}
	row := j.share(name, seen.missing, seen.frames, low, high, declared)
	if gaps(p) {
		row = j.undecided(row, row.High-row.Low)
	}
	// Of the missing frames those may have come that the receiver had no room for.
	if seen.missing > high && seen.missing-r.overflowed <= high {
		row = noRoom(row, r)
	}
	rows = append(rows, row)
	if r.damaged > 0 {
		damaged := j.share("corrupt", r.damaged, seen.frames, 0, 0, p.Corrupt)
		damaged.Reason = "so many frames were delivered with other bytes than were sent: the checksum refuses none of them"
		rows = append(rows, damaged)
	}
	if p.MeanLoss() == 0 {
		return rows
	}
	clustered := p.GilbertElliott != nil || p.LossCorrelation > 0
	if row := j.burst(seen, c); clustered || row.Finding == results.LinkFail {
		rows = append(rows, row)
	}
	return rows
}

// noRoom is a row that can't be judged since frames that came found no room at the receiver.
func noRoom(row results.LinkCheck, r *record) results.LinkCheck {
	row.Finding = results.LinkNotTested
	row.Reason = fmt.Sprintf("the receiver had no room for %d frames", r.overflowed)
	return row
}

// independent tells whether each frame is lost or not whatever became of the others,
// and of its own copy.
func independent(p topologies.Parameters) bool {
	return p.GilbertElliott == nil && p.LossCorrelation == 0 && p.Duplicate == 0 &&
		!gaps(p)
}

// burst judges how many frames are lost in a row.
func (j *judge) burst(seen observation, c counts) results.LinkCheck {
	row := j.check("burst", "frames", seen.frames)
	row.Declared = c.runLength.mean
	if c.runs.mean < fewEvents || seen.runs == 0 {
		row.Frames = 0
		row.Finding = results.LinkNotTested
		row.Reason = fmt.Sprintf("of %d frames about %.1f runs would be lost, too few to judge their lengths", seen.frames, c.runs.mean)
		return row
	}
	row.Measured = float64(seen.missing) / float64(seen.runs)
	row.Low, row.High = c.runLength.bounds(j.alpha)
	row.Low = max(row.Low, 1)
	return settle(row)
}

// order judges duplicates and overtakings; where none are declared, only if there are
// some.
func (j *judge) order(p topologies.Parameters, seen observation, c counts) []results.LinkCheck {
	var rows []results.LinkCheck
	n := seen.frames
	low, high := 0, 0
	if p.Duplicate > 0 {
		l, h := c.doubled.countBounds(n, j.alpha)
		low, high = int(l), int(h)
	}
	if row := j.share("duplicate", seen.doubled, n, low, high, c.doubled.mean/float64(n)); p.Duplicate > 0 || row.Finding == results.LinkFail {
		rows = append(rows, row)
	}
	_, strays := acceptance(strayShare, n, j.alpha)
	l, h := c.overtaking.countBounds(n, j.alpha)
	row := j.share("reorder", seen.overtaking, n, max(0, int(l)-strays), int(h)+strays, c.overtaking.mean/float64(n))
	declared := p.Reorder > 0 || p.JitterReorders && p.Jitters()
	if declared && c.overtaking.mean < 1 {
		row = j.untested("reorder", "share", "no frame would overtake another")
	}
	if declared || row.Finding == results.LinkFail {
		rows = append(rows, row)
	}
	if p.ReorderCorrelation > 0 && c.overtaking.mean >= fewEvents && seen.overtaking > 0 {
		row := j.check("reorder_correlation", "share", seen.overtaking)
		row.Declared = c.followed.mean
		row.Measured = float64(seen.followed) / float64(seen.overtaking)
		row.Low, row.High = c.followed.bounds(j.alpha)
		row.Low, row.High = max(row.Low, 0), min(row.High, 1)
		rows = append(rows, settle(row))
	}
	return rows
}
