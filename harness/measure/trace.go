package measure

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"

	"quorumlab/results"
)

// Trace derives a trial's requests against time, with the faults that were in force. A
// trial without a load has none: ErrNoLoad. The error wraps os.ErrNotExist if its requests
// weren't recorded.
func Trace(folder *results.Folder, verdict results.Verdict) (*results.Trace, error) {
	faults, err := folder.ReadFaults(verdict.Trial)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	trace := &results.Trace{Trial: verdict.Trial, Valid: verdict.Valid, Simulated: folder.Manifest().Simulated}
	var duesNS []int64
	for row, err := range folder.Requests(verdict.Trial) {
		if err != nil {
			return nil, fmt.Errorf("trial %d: %w", verdict.Trial, err)
		}
		duesNS = append(duesNS, row.IntendedNS)
		trace.Requests = append(trace.Requests, results.TraceRequest{
			LatencyMS: float64(row.DoneNS-row.IntendedNS) / 1e6, Outcome: row.Outcome,
		})
	}
	if len(trace.Requests) == 0 {
		return nil, fmt.Errorf("trial %d: %w", verdict.Trial, ErrNoLoad)
	}
	startNS := slices.Min(duesNS)
	if faults != nil {
		startNS = faults.StartNS
	}
	for i, dueNS := range duesNS {
		trace.Requests[i].DueS = seconds(dueNS - startNS)
	}
	slices.SortStableFunc(trace.Requests, func(a, b results.TraceRequest) int { return cmp.Compare(a.DueS, b.DueS) })
	trace.LengthS = seconds(max(slices.Max(duesNS), verdict.MeasureEndNS) - startNS)
	trace.MeasureS = seconds(max(verdict.MeasureStartNS, startNS) - startNS)
	if faults != nil {
		trace.Faults = traceFaults(faults.Faults, trace.LengthS)
	}
	return trace, nil
}

// ErrNoLoad is returned where no request fell due.
var ErrNoLoad = errors.New("no request fell due")

func traceFaults(faults []results.Fault, lengthS float64) []results.TraceFault {
	var applied []results.TraceFault
	for _, fault := range faults {
		if fault.AppliedNS == nil || fault.Kind == kindHeal {
			continue
		}
		interval := results.TraceFault{ID: fault.ID, FromS: seconds(*fault.AppliedNS), ToS: lengthS}
		if fault.HealedNS != nil {
			interval.ToS, interval.Healed = seconds(*fault.HealedNS), true
		}
		applied = append(applied, interval)
	}
	slices.SortStableFunc(applied, func(a, b results.TraceFault) int { return cmp.Compare(a.FromS, b.FromS) })
	return applied
}

// WriteTraces writes the trace.csv of every trial that has a verdict, a schedule of faults
// and a load.
func WriteTraces(folder *results.Folder) error {
	verdicts, err := folder.Trials()
	if err != nil {
		return err
	}
	for _, verdict := range verdicts {
		if _, err := folder.ReadFaults(verdict.Trial); errors.Is(err, os.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		trace, err := Trace(folder, verdict)
		if errors.Is(err, ErrNoLoad) || errors.Is(err, os.ErrNotExist) {
			continue // a void trial may have come to an early end
		}
		if err == nil {
			err = folder.WriteTrace(trace)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
