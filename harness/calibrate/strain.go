package calibrate

import (
	"context"
	"fmt"
	"time"

	"quorumlab/harness/engine"
	"quorumlab/results"
)

const (
	// A machine is busy if its emulator sends more than busyShare of the frames over
	// busyLate late, or if the hypervisor takes away more than busySteal of its time.
	busyLate  = time.Millisecond
	busyShare = 0.01
	busySteal = 0.10
	// A direction may have had strainFactor times its share of the frames that were late, but
	// no more than half of its frames are ever excused.
	strainFactor = 2
	mostExcused  = 0.5
)

// Load is how a machine has fared so far; its numbers only rise.
type Load struct {
	// Lateness is engine.LinkReport's.
	Lateness []engine.LatenessBucket
	// StolenTicks of all processors' TotalTicks went to other machines.
	StolenTicks, TotalTicks uint64
}

// strain is how a machine fared while something was measured, in shares.
type strain struct {
	// late frames were sent over lateBy late by the emulator, veryLate ones over busyLate.
	late, veryLate float64
	// stolen is of the processors' time.
	stolen float64
}

// since is what became of the machine between two readings.
func since(before, after Load) strain {
	var frames, late, veryLate uint64
	for i, bucket := range after.Lateness {
		n := bucket.Frames
		if i < len(before.Lateness) {
			n -= min(n, before.Lateness[i].Frames)
		}
		frames += n
		if bucket.UpToNS == 0 || bucket.UpToNS > int64(lateBy) {
			late += n
		}
		if bucket.UpToNS == 0 || bucket.UpToNS > int64(busyLate) {
			veryLate += n
		}
	}
	share := func(part, of uint64) float64 { return float64(part) / float64(max(of, 1)) }
	return strain{
		late: share(late, frames), veryLate: share(veryLate, frames),
		stolen: share(after.StolenTicks-min(before.StolenTicks, after.StolenTicks), after.TotalTicks-min(before.TotalTicks, after.TotalTicks)),
	}
}

// busy says why the machine was too busy to blame a link for frames that are late; empty
// if it wasn't.
func (s strain) busy() string {
	switch {
	case s.veryLate > busyShare:
		return fmt.Sprintf("the machine was too busy: the emulator sent %.2g%% of frames over 1 ms late", 100*s.veryLate)
	case s.stolen > busySteal:
		return fmt.Sprintf("the machine was too busy: the hypervisor took away %.2g%% of the processors' time", 100*s.stolen)
	}
	return ""
}

// explains is the share of a direction's frames that may be late because of the machine; 0
// if it wasn't busy.
func (s strain) explains() float64 {
	if s.busy() == "" {
		return 0
	}
	share := s.late
	if s.stolen > busySteal {
		share = max(share, s.stolen)
	}
	return min(strainFactor*share, mostExcused)
}

// excuse makes a row that failed because frames were late one that wasn't tested.
func (s strain) excuse(c results.LinkCheck) results.LinkCheck {
	c.Finding, c.Reason = results.LinkNotTested, s.busy()
	return c
}

// load reads how the machine has fared; nothing is known of it if nobody tells.
func (m *measurer) load(ctx context.Context) (Load, error) {
	if m.lab.Load == nil {
		return Load{}, nil
	}
	return m.lab.Load(ctx)
}
