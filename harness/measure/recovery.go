package measure

import (
	"slices"

	"quorumlab/results"
)

// recoveries collects, over a point's valid trials, what each entry's faults cost.
type recoveries struct {
	byEntry map[string]*entryCosts
	// before has the latencies before each trial's first fault.
	before phases
}

// entryCosts has a list for each trial.
type entryCosts struct {
	trials        [][]cost
	during, after phases
}

// phases collects the latencies of one phase over trials.
type phases struct {
	meansMS  []float64
	pooledNS []int64
	timeouts int
	trials   int
}

func (p *phases) add(latenciesNS []int64, timeouts int) {
	if len(latenciesNS)+timeouts == 0 {
		return
	}
	p.trials++
	p.timeouts += timeouts
	p.pooledNS = append(p.pooledNS, latenciesNS...)
	if len(latenciesNS) > 0 {
		var sumNS int64
		for _, ns := range latenciesNS {
			sumNS += ns
		}
		p.meansMS = append(p.meansMS, float64(sumNS)/float64(len(latenciesNS))/1e6)
	}
}

// latency is nil without a request.
func (p *phases) latency() *results.PhaseLatency {
	if p.trials == 0 {
		return nil
	}
	slices.Sort(p.pooledNS)
	percentile := func(permille int) *float64 {
		ns, ok := Percentile(p.pooledNS, p.timeouts, permille)
		if !ok {
			return nil
		}
		ms := float64(ns) / 1e6
		return &ms
	}
	mean := MeanInterval(p.meansMS)
	return &results.PhaseLatency{
		Trials: p.trials, Requests: len(p.pooledNS) + p.timeouts, Timeouts: p.timeouts,
		Mean: mean.Mean, CI95: mean.CI95, P50: percentile(500), P99: percentile(990),
	}
}

// addTrial measures a valid trial's faults.
func (r *recoveries) addTrial(folder *results.Folder, verdict results.Verdict) error {
	trial, err := readBroken(folder, verdict)
	if err != nil || trial == nil {
		return err
	}
	if trial.normal != nil {
		r.before.add(trial.normal.latenciesNS, trial.normal.timeouts)
	}
	costs := map[string][]cost{}
	for _, occurrence := range trial.occurrences() {
		id := occurrence.fault.ID
		costs[id] = append(costs[id], trial.cost(occurrence))
	}
	for id, ofTrial := range costs {
		if r.byEntry == nil {
			r.byEntry = map[string]*entryCosts{}
		}
		entry := r.byEntry[id]
		if entry == nil {
			entry = &entryCosts{}
			r.byEntry[id] = entry
		}
		entry.add(ofTrial)
	}
	return nil
}

func (e *entryCosts) add(ofTrial []cost) {
	var during, after phase
	for i := range ofTrial {
		c := &ofTrial[i]
		during.latenciesNS = append(during.latenciesNS, c.during.latenciesNS...)
		during.timeouts += c.during.timeouts
		after.latenciesNS = append(after.latenciesNS, c.after.latenciesNS...)
		after.timeouts += c.after.timeouts
		c.during, c.after = phase{}, phase{} // counted; they may be large
	}
	e.during.add(during.latenciesNS, during.timeouts)
	e.after.add(after.latenciesNS, after.timeouts)
	e.trials = append(e.trials, ofTrial)
}

// summary is nil if no valid trial had a fault.
func (r *recoveries) summary() map[string]results.Recovery {
	if len(r.byEntry) == 0 {
		return nil
	}
	before := r.before.latency()
	summary := map[string]results.Recovery{}
	for id, entry := range r.byEntry {
		recovery := entry.summary()
		recovery.Before = before
		summary[id] = recovery
	}
	return summary
}

func (e *entryCosts) summary() results.Recovery {
	of := func(what func(cost) observation) *results.Estimate {
		trials := make([][]observation, len(e.trials))
		for i, costs := range e.trials {
			for _, c := range costs {
				trials[i] = append(trials[i], what(c))
			}
		}
		return estimate(trials)
	}
	recovery := results.Recovery{
		Trials:        len(e.trials),
		UnavailableMS: of(func(c cost) observation { return c.unavailable }),
		DetectionMS:   of(func(c cost) observation { return c.detection }),
		ElectionMS:    of(func(c cost) observation { return c.election }),
		FirstCommitMS: of(func(c cost) observation { return c.firstCommit }),
		BackMS:        of(func(c cost) observation { return c.back }),
		Rounds:        of(func(c cost) observation { return c.rounds }),
		Elections:     of(func(c cost) observation { return c.elections }),
		TCPMS:         of(func(c cost) observation { return c.tcp }),
		ProtocolMS:    of(func(c cost) observation { return c.protocol }),
		Late:          of(func(c cost) observation { return c.late }),
		Timeouts:      of(func(c cost) observation { return c.timeouts }),
		During:        e.during.latency(),
		After:         e.after.latency(),
	}
	for _, costs := range e.trials {
		recovery.Occurrences += len(costs)
		for _, c := range costs {
			recovery.Requests.Requests += c.requests.Requests
			recovery.Requests.Late += c.requests.Late
			recovery.Requests.Timeout += c.requests.Timeout
		}
	}
	return recovery
}
