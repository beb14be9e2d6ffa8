package harness

import (
	"fmt"
	"time"

	"quorumlab/harness/engine"
	"quorumlab/results"
)

// The thresholds that void a trial, all in one place. docs/validity.md says
// what they mean and why they are what they are; a test holds it to them.
const (
	// rttTolerance is how far the least round trip between two hosts may be
	// from the topology's prediction, or rttToleranceShare of the prediction if
	// that is more.
	rttTolerance      = time.Millisecond
	rttToleranceShare = 0.02
	// The emulator may send frames later than their deadline by latenessMean on
	// average, or by latenessShare of the mean path's delay if that is more.
	latenessMean  = 250 * time.Microsecond
	latenessShare = 0.01
	// Nor may it send more than lateShare of them later than lateFrame: a mean hides
	// a tail.
	lateFrame = time.Millisecond
	lateShare = 0.05
	// stealShare of the processors' time may be taken away by the hypervisor. What it
	// does to links is judged by their lateness; this is for what it takes from nodes.
	stealShare = 0.20
	// A client fell behind if more than clientLateShare of its requests were
	// sent more than clientLateAfter past their intended time. That doesn't
	// void the trial, since latency counts from the intended time; throughput
	// is then a lower bound.
	clientLateAfter = 2 * time.Millisecond
	clientLateShare = 0.25
)

// Codes of void reasons.
const (
	voidRTT          = "rtt"
	voidLink         = "link"
	voidSteal        = "steal"
	voidLate         = "late_frames"
	voidDrops        = "emulator_drops"
	voidEnded        = "node_ended"
	voidSilent       = "node_silent"
	voidUnconnected  = "not_connected"
	voidDrain        = "drain"
	voidAgreement    = "agreement"
	voidControl      = "control_channel"
	voidUnanswered   = "nothing_answered"
	voidUnfinished   = "load_unfinished"
	voidHistory      = "linearizability"
	voidNoHistory    = "linearizability_unknown"
	voidNoStates     = "agreement_unknown"
	voidNoLeader     = "no_leader"
	voidStopped      = "stopped_early"
	voidExec         = "exec"
	voidFault        = "fault_unproved"
	voidNeverFired   = "fault_never_fired"
	voidNobody       = "fault_hit_nobody"
	voidFaultFailed  = "fault_failed"
	mendLeaveAlone   = "Walk into a lab that isn't measured: bench lab up SPEC."
	mendBusy         = "Run again while the machine is idle, or at a lower rate."
	mendRaiseDrain   = "Raise phases.drain, or lower workload.rate."
	mendCalibrate    = "Run bench calibrate on the same file, while the machine is idle, to see whether the link is wrong."
	mendReadLog      = "Read that node's log in the run folder."
	mendReport       = "This is a safety violation: keep the run folder and report it with its seed."
	mendFewerPending = "Run fewer requests, or more keys, so that the search for an order is smaller."
	mendKeepTwo      = "Let two replicas live to the end, or have each decide 10 slots before it dies."
	mendStopLater    = "Raise stop.requests, or shorten phases.warmup."
	mendMoreLoad     = "Lengthen phases.measure, or raise workload.rate."
	mendRaiseTimeout = "Raise workload.timeout above the predicted latency."
	mendLookAtFaults = "Read faults.json in the trial's folder: it has what was measured of each fault."
	mendOptional     = "Correct the fault's trigger or whom it hits, or give it optional: true."
	mendLookAtEvents = "Read events.jsonl.gz in the trial's folder: it says which ballots were tried."
)

// asPredicted tells whether a pair's least round trip is what the topology
// predicts. Where that isn't the same for all frames, the links are measured one by one.
func asPredicted(pair probed) bool {
	if pair.Answered == 0 {
		return !pair.sure
	}
	predicted := time.Duration(pair.PredictedNS)
	return !pair.steady || rttError(pair.RTT) <= max(rttTolerance, time.Duration(rttToleranceShare*float64(predicted)))
}

func rttError(r results.RTT) time.Duration {
	return time.Duration(r.LeastNS - r.PredictedNS).Abs()
}

// judgeRTTs sets the probed round trips against the prediction.
func judgeRTTs(pairs []probed) []results.VoidReason {
	var worst results.RTT
	bad := 0
	for _, pair := range pairs {
		if asPredicted(pair) {
			continue
		}
		if pair.Answered == 0 {
			return []results.VoidReason{{Code: voidRTT, Mend: mendBusy,
				Text: fmt.Sprintf("no probe from %s to %s was answered, of %d", pair.From, pair.To, pair.Sent)}}
		}
		bad++
		if bad == 1 || rttError(pair.RTT) > rttError(worst) {
			worst = pair.RTT
		}
	}
	if bad == 0 {
		return nil
	}
	return []results.VoidReason{{Code: voidRTT, Mend: mendBusy, Text: fmt.Sprintf(
		"%d of %d pairs of hosts have another round trip than declared; worst %s to %s: %v, declared %v",
		bad, len(pairs), worst.From, worst.To, time.Duration(worst.LeastNS), time.Duration(worst.PredictedNS))}}
}

// judgeLinks looks at what the emulator says of itself; pathDelay is the mean
// delay of the paths between hosts, elapsed how long the report covers.
func judgeLinks(report engine.LinkReport, pathDelay, elapsed time.Duration) []results.VoidReason {
	var reasons []results.VoidReason
	allowed := max(latenessMean, time.Duration(latenessShare*float64(pathDelay)))
	frames, late := lateFrames(report)
	share := float64(late) / float64(max(frames, 1))
	if mean := meanLateness(report); mean > allowed || share > lateShare {
		reasons = append(reasons, results.VoidReason{Code: voidLate, Mend: mendBusy, Text: fmt.Sprintf(
			"the emulator was late by more than %v for %.2g%% of frames (%.0f%% is allowed), by %v on average (%v): the machine is too busy for %.0f frames a second",
			lateFrame, 100*share, 100*lateShare, mean.Round(time.Microsecond), allowed, float64(frames)/max(elapsed.Seconds(), 1e-9))})
	}
	if report.EmulatorDrops > 0 {
		reasons = append(reasons, results.VoidReason{Code: voidDrops, Mend: mendBusy, Text: fmt.Sprintf(
			"the emulator lost %d frames that the links would have carried: %v", report.EmulatorDrops, report.EmulatorDropCauses)})
	}
	return reasons
}

// judgeMachine looks at what else kept the machine busy.
func judgeMachine(load results.Load) []results.VoidReason {
	if load.StealShare <= stealShare {
		return nil
	}
	return []results.VoidReason{{Code: voidSteal, Mend: mendBusy, Text: fmt.Sprintf(
		"the hypervisor took away %.1f%% of the processors' time, %.0f%% is allowed", 100*load.StealShare, 100*stealShare)}}
}

// lateFrames counts the frames that the emulator sent, and those of them that were
// late by more than lateFrame.
func lateFrames(report engine.LinkReport) (frames, late uint64) {
	for _, bucket := range report.Lateness {
		frames += bucket.Frames
		if bucket.UpToNS == 0 || bucket.UpToNS > int64(lateFrame) {
			late += bucket.Frames
		}
	}
	return frames, late
}

// meanLateness is over all frames that the emulator sent; 0 if it sent none.
func meanLateness(report engine.LinkReport) time.Duration {
	frames, _ := lateFrames(report)
	return time.Duration(report.LatenessTotalNS / int64(max(frames, 1)))
}

// meanPathDelay is the mean one-way delay of the probed pairs.
func meanPathDelay(rtts []results.RTT) time.Duration {
	var sum int64
	for _, r := range rtts {
		sum += r.PredictedNS / 2
	}
	return time.Duration(sum / int64(max(len(rtts), 1)))
}

// judgeFaults voids a trial for each fault that isn't proved.
func judgeFaults(broke []results.Fault) []results.VoidReason {
	var reasons []results.VoidReason
	for _, f := range broke {
		name := f.ID
		if f.Occurrence > 1 {
			name = fmt.Sprintf("%s (occurrence %d)", f.ID, f.Occurrence)
		}
		reason := results.VoidReason{Mend: mendOptional}
		switch f.Outcome {
		case results.FaultProved:
			continue
		case results.FaultNeverFired, results.FaultNobody:
			if f.Optional {
				continue
			}
			reason.Code, reason.Text = voidNeverFired, fmt.Sprintf("fault %s never fired", name)
			if f.Outcome == results.FaultNobody {
				reason.Code, reason.Text = voidNobody, fmt.Sprintf("fault %s hit nobody", name)
			}
		case results.FaultFailed:
			reason.Code, reason.Mend, reason.Text = voidFaultFailed, mendLookAtFaults, fmt.Sprintf("fault %s couldn't be carried out", name)
		default:
			reason.Code, reason.Mend, reason.Text = voidFault, mendLookAtFaults, fmt.Sprintf("fault %s isn't proved", name)
		}
		if f.Reason != "" {
			reason.Text += ": " + f.Reason
		}
		reasons = append(reasons, reason)
	}
	return reasons
}
