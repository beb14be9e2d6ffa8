package harness

import (
	"fmt"
	"time"

	"quorumlab/harness/engine"
	"quorumlab/results"
	"quorumlab/topologies"
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
	mendBusy         = "Run again while the machine is idle, or at a lower rate."
	mendRaiseDrain   = "Raise phases.drain, or lower workload.rate."
	mendReadLog      = "Read that node's log in the run folder."
	mendReport       = "This is a safety violation: keep the run folder and report it with its seed."
	mendFewerPending = "Run fewer requests, or more keys, so that the search for an order is smaller."
	mendKeepTwo      = "Let two replicas live to the end, or have each decide 1,000 slots before it dies."
	mendStopLater    = "Raise stop.requests, or shorten phases.warmup."
	mendMoreLoad     = "Lengthen phases.measure, or raise workload.rate."
	mendRaiseTimeout = "Raise workload.timeout above the predicted latency."
	mendLookAtEvents = "Read events.jsonl.gz in the trial's folder: it says which ballots were tried."
)

// asPredicted tells whether a pair's least round trip is what the topology
// predicts.
func asPredicted(topology *topologies.Topology, r results.RTT) bool {
	predicted := time.Duration(r.PredictedNS)
	tolerance := max(rttTolerance, time.Duration(rttToleranceShare*float64(predicted)))
	tolerance += 2 * 2 * maxJitter(topology) // two links, there and back
	return r.Answered > 0 && rttError(r) <= tolerance
}

func rttError(r results.RTT) time.Duration {
	return time.Duration(r.LeastNS - r.PredictedNS).Abs()
}

// judgeRTTs sets the probed round trips against the prediction.
func judgeRTTs(topology *topologies.Topology, rtts []results.RTT) []results.VoidReason {
	var worst results.RTT
	bad := 0
	for _, r := range rtts {
		if r.Answered == 0 {
			return []results.VoidReason{{Code: voidRTT, Mend: mendBusy,
				Text: fmt.Sprintf("no probe from %s to %s was answered, of %d", r.From, r.To, r.Sent)}}
		}
		if !asPredicted(topology, r) {
			bad++
			if bad == 1 || rttError(r) > rttError(worst) {
				worst = r
			}
		}
	}
	if bad == 0 {
		return nil
	}
	return []results.VoidReason{{Code: voidRTT, Mend: mendBusy, Text: fmt.Sprintf(
		"%d of %d pairs of hosts have another round trip than declared; worst %s to %s: %v, declared %v",
		bad, len(rtts), worst.From, worst.To, time.Duration(worst.LeastNS), time.Duration(worst.PredictedNS))}}
}

// maxJitter bounds by how much one link's delay may honestly differ from its
// declaration: four standard deviations of a normal jitter, the half width of a
// uniform one.
func maxJitter(topology *topologies.Topology) time.Duration {
	var most time.Duration
	for _, link := range topology.Links {
		for _, p := range []topologies.Parameters{link.AToB, link.BToA} {
			if p.JitterDistribution == topologies.JitterUniform {
				most = max(most, p.Jitter)
			} else {
				most = max(most, 4*p.Jitter)
			}
		}
	}
	return most
}

// judgeLinks looks at what the emulator says of itself; pathDelay is the mean
// delay of the paths between hosts.
func judgeLinks(report engine.LinkReport, pathDelay time.Duration) []results.VoidReason {
	var reasons []results.VoidReason
	allowed := max(latenessMean, time.Duration(latenessShare*float64(pathDelay)))
	if mean := meanLateness(report); mean > allowed {
		reasons = append(reasons, results.VoidReason{Code: voidLate, Mend: mendBusy, Text: fmt.Sprintf(
			"the emulator sent frames late by %v on average, %v is allowed: the machine is too busy",
			mean.Round(time.Microsecond), allowed)})
	}
	if report.EmulatorDrops > 0 {
		reasons = append(reasons, results.VoidReason{Code: voidDrops, Mend: mendBusy, Text: fmt.Sprintf(
			"the emulator lost %d frames that the links would have carried: %v", report.EmulatorDrops, report.EmulatorDropCauses)})
	}
	return reasons
}

// meanLateness is over all frames that the emulator sent; 0 if it sent none.
func meanLateness(report engine.LinkReport) time.Duration {
	var frames uint64
	for _, bucket := range report.Lateness {
		frames += bucket.Frames
	}
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
