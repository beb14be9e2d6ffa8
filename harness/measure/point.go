package measure

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"os"
	"slices"

	"quorumlab/harness/engine"
	"quorumlab/results"
)

// lateFrameNS is how late a frame must be to count as late.
const lateFrameNS = 1_000_000

// Counters of a verdict that BallotsPerDecision is made of.
const (
	// CounterBallots is the ballots that all leaders started.
	CounterBallots = "leader.ballots"
	// CounterDecided is the slots decided, as the most advanced replica has it.
	CounterDecided = "decided"
)

// sample collects a point's valid trials. The latencies are its only part that
// grows with the number of requests.
type sample struct {
	latenciesNS []int64
	outcomes    results.Outcomes
	// meansMS and throughputsRPS have a value a trial; a trial without an
	// answer has a throughput of 0 but no mean.
	meansMS        []float64
	throughputsRPS []float64
	offeredRPS     []float64
	// leadersMS are when trials that ended with the first leader had one.
	leadersMS []float64
}

// addTrial reads a trial's requests. Those that were due within the measured
// phase count for latency, whenever their answer came; throughput counts the
// answers that came in the phase.
func (s *sample) addTrial(verdict results.Verdict, rows iter.Seq2[results.Row, error]) error {
	if verdict.LedAfterNS != nil { // it had no load
		s.leadersMS = append(s.leadersMS, float64(*verdict.LedAfterNS)/1e6)
		return nil
	}
	lengthNS := verdict.MeasureEndNS - verdict.MeasureStartNS
	if lengthNS <= 0 {
		return fmt.Errorf("trial %d: its measured phase has no length", verdict.Trial)
	}
	// A sum of whole nanoseconds doesn't depend on the order of the rows; it
	// overflows after 292 years of latency.
	var sumNS, answered, responses int64
	for row, err := range rows {
		if err != nil {
			return fmt.Errorf("trial %d: %w", verdict.Trial, err)
		}
		if row.Outcome != results.OutcomeTimeout && row.DoneNS >= verdict.MeasureStartNS && row.DoneNS < verdict.MeasureEndNS {
			responses++
		}
		if row.IntendedNS < verdict.MeasureStartNS || row.IntendedNS >= verdict.MeasureEndNS {
			continue
		}
		if row.Outcome == results.OutcomeTimeout {
			s.outcomes.Timeout++
			continue
		}
		latencyNS := row.DoneNS - row.IntendedNS
		if latencyNS < 0 {
			return fmt.Errorf("trial %d: request %d of %s was answered %d ns before it was due",
				verdict.Trial, row.Sequence, row.Client, -latencyNS)
		}
		switch row.Outcome {
		case results.OutcomeOK:
			s.outcomes.OK++
		case results.OutcomeFail:
			s.outcomes.Fail++
		default:
			return fmt.Errorf("trial %d: request %d of %s has unknown outcome %q",
				verdict.Trial, row.Sequence, row.Client, row.Outcome)
		}
		s.latenciesNS = append(s.latenciesNS, latencyNS)
		sumNS += latencyNS
		answered++
	}
	if answered > 0 {
		s.meansMS = append(s.meansMS, float64(sumNS)/float64(answered)/1e6)
	}
	s.throughputsRPS = append(s.throughputsRPS, float64(responses)/(float64(lengthNS)/1e9))
	s.offeredRPS = append(s.offeredRPS, verdict.OfferedRPS)
	return nil
}

// latency is nil without a valid trial. It sorts the latencies.
func (s *sample) latency() *results.Latency {
	if len(s.throughputsRPS) == 0 {
		return nil
	}
	slices.Sort(s.latenciesNS)
	percentile := func(permille int) *float64 {
		ns, ok := Percentile(s.latenciesNS, s.outcomes.Timeout, permille)
		if !ok {
			return nil
		}
		ms := float64(ns) / 1e6
		return &ms
	}
	mean := MeanInterval(s.meansMS)
	return &results.Latency{
		Trials:     mean.N,
		Requests:   len(s.latenciesNS) + s.outcomes.Timeout,
		Mean:       mean.Mean,
		Stddev:     mean.Stddev,
		CI95:       mean.CI95,
		CIMethod:   MethodT,
		CI95Normal: mean.CI95Normal,
		Min:        percentile(0),
		P50:        percentile(500),
		P90:        percentile(900),
		P95:        percentile(950),
		P99:        percentile(990),
		P999:       percentile(999),
		Max:        percentile(1000),
	}
}

// throughput is nil without a valid trial.
func (s *sample) throughput() *results.Throughput {
	if len(s.throughputsRPS) == 0 {
		return nil
	}
	mean := MeanInterval(s.throughputsRPS)
	return &results.Throughput{
		Trials:     mean.N,
		Offered:    *MeanInterval(s.offeredRPS).Mean,
		Mean:       mean.Mean,
		Stddev:     mean.Stddev,
		CI95:       mean.CI95,
		CIMethod:   MethodT,
		CI95Normal: mean.CI95Normal,
	}
}

// firstLeader is nil unless the trials ended with the first leader.
func (s *sample) firstLeader() *results.Spread {
	if len(s.leadersMS) == 0 {
		return nil
	}
	mean := MeanInterval(s.leadersMS)
	least, most := slices.Min(s.leadersMS), slices.Max(s.leadersMS)
	return &results.Spread{
		Trials: mean.N, Mean: mean.Mean, Stddev: mean.Stddev, CI95: mean.CI95, CIMethod: MethodT, Min: &least, Max: &most,
	}
}

// summarisePoint makes the statistics of one point of its trials' verdicts.
func summarisePoint(folder *results.Folder, params json.RawMessage, verdicts []results.Verdict, late *timing) (results.Point, error) {
	point := results.Point{Params: map[string]json.RawMessage{}}
	if len(params) > 0 && string(params) != "null" {
		if err := json.Unmarshal(params, &point.Params); err != nil {
			return point, fmt.Errorf("swept values %s: %w", params, err)
		}
	}
	var collected sample
	var broken recoveries
	var entries schedule
	for _, verdict := range verdicts {
		point.Attempted++
		point.CheckedOperations += verdict.History.Operations
		point.Violations = append(point.Violations, violations(verdict)...)
		if point.PredictedMS == nil && verdict.PredictedNS > 0 {
			ms := float64(verdict.PredictedNS) / 1e6
			point.PredictedMS = &ms
		}
		if err := entries.addFaults(folder, verdict, late); err != nil {
			return point, err
		}
		if !verdict.Valid {
			point.Void++
			continue
		}
		point.Trials++
		point.ClientLimited = point.ClientLimited || verdict.ClientLimited
		point.Captured = point.Captured || verdict.Captured
		point.Transport = addTransport(point.Transport, verdict.Transport)
		for name, count := range verdict.Counters {
			if point.Counters == nil {
				point.Counters = map[string]uint64{}
			}
			point.Counters[name] += count
		}
		if err := collected.addTrial(verdict, folder.Requests(verdict.Trial)); err != nil {
			return point, err
		}
		if err := broken.addTrial(folder, verdict); err != nil {
			return point, err
		}
	}
	point.Faults, point.Recovery = entries.summary(), broken.summary()
	point.Outcomes = collected.outcomes
	point.Latency = collected.latency()
	point.Throughput = collected.throughput()
	point.FirstLeader = collected.firstLeader()
	point.BallotsPerDecision = ballotsPerDecision(point.Counters)
	point.Linearizable = worst(verdicts, func(v results.Verdict) string { return v.Linearizable })
	point.Agreement = worst(verdicts, func(v results.Verdict) string { return v.Agreement })
	var err error
	point.Links, err = linkErrors(folder, verdicts)
	return point, err
}

// addTransport sums what connections did. The settings of one point's trials are the
// same.
func addTransport(sum, trial *results.Transport) *results.Transport {
	if trial == nil {
		return sum
	}
	if sum == nil {
		sum = &results.Transport{CongestionControl: trial.CongestionControl, SlowStartAfterIdle: trial.SlowStartAfterIdle}
	}
	sum.SegmentsSent += trial.SegmentsSent
	sum.Retransmitted += trial.Retransmitted
	sum.FramesLost += trial.FramesLost
	sum.MessagesLost += trial.MessagesLost
	return sum
}

func ballotsPerDecision(counters map[string]uint64) *float64 {
	ballots, counted := counters[CounterBallots]
	decided := counters[CounterDecided]
	if !counted || decided == 0 {
		return nil
	}
	ratio := float64(ballots) / float64(decided)
	return &ratio
}

// violations are the files of a trial to look at.
func violations(verdict results.Verdict) []string {
	var files []string
	if verdict.Linearizable == results.FindingViolation {
		files = append(files, results.TrialPath(verdict.Trial, results.ViolationPage))
	}
	if verdict.Agreement == results.FindingViolation {
		files = append(files, results.TrialPath(verdict.Trial, results.VerdictFile))
	}
	return files
}

// findings, from the least to the most telling.
var findings = []string{results.FindingNotChecked, results.FindingOK, results.FindingUnknown, results.FindingViolation}

// worst is a point's finding: the worst of all its trials, void ones too, since
// a void trial doesn't excuse a violation. It is not_checked only if no trial was
// checked.
func worst(verdicts []results.Verdict, finding func(results.Verdict) string) string {
	worst := 0
	for _, verdict := range verdicts {
		found := cmp.Or(finding(verdict), results.FindingNotChecked)
		rank := slices.Index(findings, found)
		if rank < 0 { // a later version's
			rank = slices.Index(findings, results.FindingUnknown)
		}
		worst = max(worst, rank)
	}
	return findings[worst]
}

// linkErrors judges the links of all trials with a verdict, void ones too,
// since bad links are a reason for being void.
func linkErrors(folder *results.Folder, verdicts []results.Verdict) (results.LinkErrors, error) {
	var sum results.LinkErrors
	var errorsNS []int64
	for _, verdict := range verdicts {
		links, err := folder.ReadLinks(verdict.Trial)
		if errors.Is(err, os.ErrNotExist) {
			// A trial can be void before its links were up.
			continue
		}
		if err != nil {
			return sum, err
		}
		for _, rtt := range links.RTTs {
			if rtt.Answered > 0 {
				errorsNS = append(errorsNS, int64(math.Abs(float64(rtt.LeastNS-rtt.PredictedNS))))
			}
		}
		if len(links.Report) == 0 {
			continue
		}
		var report engine.LinkReport
		if err := json.Unmarshal(links.Report, &report); err != nil {
			return sum, fmt.Errorf("trial %d: the report in its links.json: %w", verdict.Trial, err)
		}
		sum.LateFrames += lateFrames(report.Lateness)
		sum.DroppedByEmulator += report.EmulatorDrops
	}
	slices.Sort(errorsNS)
	if ns, ok := Percentile(errorsNS, 0, 500); ok {
		ms := float64(ns) / 1e6
		sum.RTTErrorMSP50 = &ms
	}
	if ns, ok := Percentile(errorsNS, 0, 990); ok {
		ms := float64(ns) / 1e6
		sum.RTTErrorMSP99 = &ms
	}
	return sum, nil
}

// lateFrames counts the frames that were over a millisecond late. Of a bucket
// that holds that limit, all frames count.
func lateFrames(buckets []engine.LatenessBucket) uint64 {
	var late uint64
	for _, bucket := range buckets {
		if bucket.UpToNS == 0 || bucket.UpToNS > lateFrameNS {
			late += bucket.Frames
		}
	}
	return late
}
