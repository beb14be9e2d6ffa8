package harness

import (
	"strings"

	"quorumlab/harness/engine"
	"quorumlab/topologies"
)

// linksSince is what the links have done between two reports, without the links of
// monitors, which only measurements use.
func linksSince(now, before engine.LinkReport) engine.LinkReport {
	since := now
	since.Directions, since.Lateness = nil, nil
	for i, d := range now.Directions {
		if strings.HasPrefix(d.Link, topologies.MonitorPrefix) {
			continue
		}
		if i < len(before.Directions) {
			d = directionSince(d, before.Directions[i])
		}
		since.Directions = append(since.Directions, d)
	}
	for i, bucket := range now.Lateness {
		if i < len(before.Lateness) {
			bucket.Frames -= before.Lateness[i].Frames
		}
		since.Lateness = append(since.Lateness, bucket)
	}
	since.LatenessTotalNS -= before.LatenessTotalNS
	since.EmulatorDrops -= before.EmulatorDrops
	since.EmulatorDropCauses = nil
	for cause, frames := range now.EmulatorDropCauses {
		if frames -= before.EmulatorDropCauses[cause]; frames > 0 {
			if since.EmulatorDropCauses == nil {
				since.EmulatorDropCauses = map[string]uint64{}
			}
			since.EmulatorDropCauses[cause] = frames
		}
	}
	return since
}

// directionSince is the difference of a direction's counters.
func directionSince(now, before engine.DirectionReport) engine.DirectionReport {
	now.Frames -= before.Frames
	now.Bytes -= before.Bytes
	now.LossDrops -= before.LossDrops
	now.QueueDrops -= before.QueueDrops
	now.DownDrops -= before.DownDrops
	now.Duplicates -= before.Duplicates
	now.Corrupted -= before.Corrupted
	now.Reordered -= before.Reordered
	now.CaptureMissed -= before.CaptureMissed
	return now
}

// captureMissed counts the frames that captures lack.
func captureMissed(report engine.LinkReport) uint64 {
	var missed uint64
	for _, d := range report.Directions {
		missed += d.CaptureMissed
	}
	return missed
}
