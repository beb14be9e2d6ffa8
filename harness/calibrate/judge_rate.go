package calibrate

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"

	"quorumlab/harness/link"
	"quorumlab/results"
	"quorumlab/topologies"
)

// mostlyBusy is the least share of a train's time that the link has to be busy: what comes
// in pauses of the sender says nothing about the rate.
const mostlyBusy = 0.7

// trainDraws is how often the model carries a train or a burst.
const trainDraws = 100

// train judges the rate by how fast a train of frames comes out of the link.
func (j *judge) train(r *record) results.LinkCheck {
	p := j.direction.declared
	row := j.check("rate", "bit/s", len(r.arrivals))
	row.Declared = float64(p.RateBPS)
	leaves := departures(p, r)
	if reason := unsaturated(p, r, leaves); reason != "" {
		row.Finding, row.Reason = results.LinkNotTested, reason
		return row
	}
	stretch, ok := stretchOf(r, leaves)
	from := j.player(p)
	if !ok {
		row.Finding, row.Reason = results.LinkFail, "hardly any frame of the train arrived"
		if slices.Contains(draw(from, r, trainDraws, func(played *record) bool {
			_, ok := stretchOf(played, leaves)
			return ok
		}), false) {
			row.Finding, row.Reason = results.LinkNotTested, "the link loses too many of the frames"
		}
		if gaps(p) {
			row = j.undecided(row, 0)
		}
		return row
	}
	row.Measured = row.Declared / stretch
	low, high := row.Declared, row.Declared
	if p.Jitters() || p.Reorder > 0 {
		low, high = spreadOf(draw(from, r, trainDraws, func(played *record) float64 {
			stretch, _ := stretchOf(played, leaves)
			return row.Declared / stretch
		})).bounds(j.alpha)
	}
	row.Low, row.High = low-rateShare*row.Declared, high+rateShare*row.Declared
	return j.undecided(settle(row), (row.High-row.Low)/row.Declared)
}

// departures is when each frame has left the sender's end of the link, if its rate is
// as declared; MinInt64 if it found the queue full.
func departures(p topologies.Parameters, r *record) []int64 {
	only := topologies.Parameters{RateBPS: p.RateBPS, QueueFrames: p.QueueFrames, QueueBytes: p.QueueBytes}
	m := link.NewModel(only, 0, r.sentNS[0])
	leaves := make([]int64, len(r.sentNS))
	for i, at := range r.sentNS {
		leaves[i] = math.MinInt64
		if fate := m.Transmit(at, r.bytes); fate.Count > 0 {
			leaves[i] = fate.Arrivals[0].AtNS
		}
	}
	return leaves
}

// unsaturated says why a train says nothing about the rate: the link was idle at times.
func unsaturated(p topologies.Parameters, r *record, leaves []int64) string {
	carried, last := 0, int64(0)
	for _, at := range leaves {
		if at != math.MinInt64 {
			carried++
			last = at
		}
	}
	busyNS := float64(carried) * float64(r.bytes) * 8e9 / float64(p.RateBPS)
	lastsNS := float64(last - r.sentNS[0])
	if busyNS >= mostlyBusy*lastsNS {
		return ""
	}
	return fmt.Sprintf("frames can't be sent faster than %s here", rate(float64(p.RateBPS)*busyNS/lastsNS))
}

// stretchOf is how much longer the frames that came took than the model lets them, by
// least squares; 1 and false if hardly any came.
func stretchOf(r *record, leaves []int64) (float64, bool) {
	var modelled, measured []float64
	for _, a := range r.arrivals {
		if leaves[a.frame] != math.MinInt64 {
			modelled = append(modelled, float64(leaves[a.frame]-r.sentNS[0]))
			measured = append(measured, float64(a.atNS-r.sentNS[0]))
		}
	}
	if len(modelled) < 3 {
		return 1, false
	}
	_, slope := stat.LinearRegression(modelled, measured, nil, false)
	if !(slope > 0) {
		return 1, false
	}
	return slope, true
}

// queueSlackNS is how far the times at which frames enter the link may be from those at
// which they were sent; what is serialised meanwhile is room in the queue.
const queueSlackNS = 300_000

// queue judges the queue by how many frames of a burst it took; bytes says in what it is
// measured.
func (j *judge) queue(r *record, bytes bool) results.LinkCheck {
	p := j.direction.declared
	row := j.check("queue", "frames", len(r.sentNS))
	row.Declared = float64(p.QueueFrames)
	each := 1.0
	if bytes {
		row.Unit, row.Declared, each = "bytes", float64(p.QueueBytes), float64(r.bytes)
	}
	expected := spreadOf(draw(j.player(p), r, trainDraws, func(played *record) float64 { return float64(count(played, 1).missing) }))
	if dropped := droppedOf(departures(p, r)); dropped < 3 {
		row.Finding, row.Reason = results.LinkNotTested, "frames can't be sent fast enough here to fill it"
		return row
	}
	low, high := expected.bounds(j.alpha)
	slack := 2 + queueSlackNS/float64(serialisation(r.bytes, p.RateBPS))
	row.Measured = row.Declared + each*(expected.mean-float64(count(r, 1).missing))
	row.Low = row.Declared - each*(high-expected.mean+slack)
	row.High = row.Declared + each*(expected.mean-low+slack)
	if row = settle(row); gaps(p) {
		row = j.undecided(row, (row.High-row.Low)/row.Declared)
	}
	// Frames that found no room at the receiver look as if the queue had dropped them.
	if row.Measured < row.Low && row.Measured+each*float64(r.overflowed) >= row.Low {
		return noRoom(row, r)
	}
	return row
}

func droppedOf(leaves []int64) int {
	dropped := 0
	for _, at := range leaves {
		if at == math.MinInt64 {
			dropped++
		}
	}
	return dropped
}
