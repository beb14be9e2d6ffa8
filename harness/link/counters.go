//go:build linux

package link

import (
	"slices"

	"quorumlab/harness/engine"
	"quorumlab/topologies"
)

// latenessBoundsNS are the upper ends of the lateness buckets but the last.
var latenessBoundsNS = [...]int64{50e3, 100e3, 250e3, 500e3, 1e6, 2e6, 5e6, 10e6}

// directionCounters are one direction's.
type directionCounters struct {
	frames, bytes, lossDrops, queueDrops, downDrops uint64
	duplicates, corrupted, reordered                uint64
}

// counters are what an emulator has done.
type counters struct {
	// directions are the links' and then the stages of pairs.
	directions []directionCounters
	lateness   [len(latenessBoundsNS) + 1]uint64
	// latenessTotalNS sums what lateness counts.
	latenessTotalNS int64

	receiveDrops, sendFailures, memoryDrops, segmentDrops, strays uint64
	// interfaceDrops are sends that failed for want of room at the interface.
	interfaceDrops uint64
}

// transmitted counts a frame of one direction.
func (d *directionCounters) transmitted(bytes int, fate *Fate) {
	switch fate.Verdict {
	case Delivered:
		d.frames++
		d.bytes += uint64(bytes)
		if fate.Count > 1 {
			d.frames++
			d.bytes += uint64(bytes)
			d.duplicates++
		}
		for _, arrival := range fate.Arrivals[:fate.Count] {
			if arrival.Corrupted {
				d.corrupted++
			}
			if arrival.Reordered {
				d.reordered++
			}
		}
	case LostByLoss:
		d.lossDrops++
	case LostByQueue:
		d.queueDrops++
	case LostByDown:
		d.downDrops++
	}
}

// fill puts the counters under their names.
func (d *directionCounters) fill(named *engine.DirectionReport) {
	named.Frames, named.Bytes = d.frames, d.bytes
	named.LossDrops, named.QueueDrops, named.DownDrops = d.lossDrops, d.queueDrops, d.downDrops
	named.Duplicates, named.Corrupted, named.Reordered = d.duplicates, d.corrupted, d.reordered
}

// sent counts a frame that left so much after its deadline.
func (c *counters) sent(latenessNS int64) {
	c.latenessTotalNS += max(latenessNS, 0)
	for i, bound := range latenessBoundsNS {
		if latenessNS <= bound {
			c.lateness[i]++
			return
		}
	}
	c.lateness[len(latenessBoundsNS)]++
}

// clone copies the counters, so that the loop can go on.
func (c *counters) clone() counters {
	copied := *c
	copied.directions = slices.Clone(c.directions)
	return copied
}

// report names the counters of all but pairs.
func (c *counters) report(t *topologies.Topology) EmulatorReport {
	r := EmulatorReport{
		ReceiveDrops: c.receiveDrops,
		SendFailures: c.sendFailures,
		MemoryDrops:  c.memoryDrops,
		SegmentDrops: c.segmentDrops,
		Strays:       c.strays,
	}
	r.EmulatorDrops = r.ReceiveDrops + r.SendFailures + r.MemoryDrops + r.SegmentDrops
	r.LatenessTotalNS = c.latenessTotalNS
	for cause, frames := range map[string]uint64{
		"receive buffer full": c.receiveDrops, "send failed": c.sendFailures,
		"memory": c.memoryDrops, "unsegmented": c.segmentDrops,
	} {
		if frames > 0 {
			if r.EmulatorDropCauses == nil {
				r.EmulatorDropCauses = map[string]uint64{}
			}
			r.EmulatorDropCauses[cause] = frames
		}
	}
	r.Directions = namedDirections(t)
	for i := range r.Directions {
		c.directions[i].fill(&r.Directions[i])
	}
	for i, frames := range c.lateness {
		bucket := engine.LatenessBucket{Frames: frames}
		if i < len(latenessBoundsNS) {
			bucket.UpToNS = latenessBoundsNS[i]
		}
		r.Lateness = append(r.Lateness, bucket)
	}
	return r
}

// namedDirections lists a topology's directions in the order of
// LinkReport.Directions.
func namedDirections(t *topologies.Topology) []engine.DirectionReport {
	directions := make([]engine.DirectionReport, 0, 2*len(t.Links))
	for _, link := range t.Links {
		directions = append(directions,
			engine.DirectionReport{Link: link.Name, From: link.A, To: link.B},
			engine.DirectionReport{Link: link.Name, From: link.B, To: link.A})
	}
	return directions
}
