package measure

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"quorumlab/results"
)

// schedule collects what became of the entries of a point's schedule.
type schedule struct {
	entries []*entry
	// order has the entries' IDs as the schedule has them.
	order []string
}

// entry is one of them.
type entry struct {
	results.FaultEntry
	hits                          map[string]int
	requestedS, appliedS, activeS []float64
}

// readFaults reads a trial's faults.json; nil if it never had one.
func readFaults(folder *results.Folder, verdict results.Verdict) (*results.Faults, error) {
	faults, err := folder.ReadFaults(verdict.Trial)
	if errors.Is(err, os.ErrNotExist) {
		return nil, missingFile(verdict, err)
	}
	return faults, err
}

// missingFile is an error if the trial had records of faults: what they cost can't be
// told then.
func missingFile(verdict results.Verdict, err error) error {
	if verdict.Faults == 0 {
		return nil
	}
	return fmt.Errorf("a file of trial %d is missing, in which faults were recorded (%d), so that what they cost is unknown: %w",
		verdict.Trial, verdict.Faults, err)
}

// addFaults reads a trial's faults.json, if it has one.
func (s *schedule) addFaults(folder *results.Folder, verdict results.Verdict, timing *timing) error {
	faults, err := readFaults(folder, verdict)
	if err != nil || faults == nil {
		return err
	}
	if len(s.order) == 0 {
		s.order = faults.Schedule
	}
	names := hostNames(faults.Hosts)
	for _, fault := range faults.Faults {
		s.entry(fault).add(fault, names)
		timing.add(fault)
	}
	return nil
}

func (s *schedule) entry(fault results.Fault) *entry {
	i := slices.IndexFunc(s.entries, func(e *entry) bool { return e.ID == fault.ID })
	if i >= 0 {
		return s.entries[i]
	}
	added := &entry{hits: map[string]int{}, FaultEntry: results.FaultEntry{
		ID: fault.ID, Kind: fault.Kind, Trigger: fault.Trigger, Optional: fault.Optional,
	}}
	s.entries = append(s.entries, added)
	return added
}

func (e *entry) add(fault results.Fault, names map[string]string) {
	e.Occurrences++
	switch fault.Outcome {
	case results.FaultProved:
		e.Proved++
	case results.FaultUnproved:
		e.Unproved++
	case results.FaultNobody:
		e.HitNobody++
	case results.FaultFailed:
		e.Failed++
	case results.FaultNeverFired:
		e.NeverFired++
		e.Occurrences--
	}
	if fault.AppliedNS != nil {
		e.hits[hit(fault, names)]++
		e.appliedS = append(e.appliedS, seconds(*fault.AppliedNS))
		if fault.HealedNS != nil {
			e.activeS = append(e.activeS, seconds(*fault.HealedNS-*fault.AppliedNS))
		}
	}
	if fault.RequestedNS != nil {
		e.requestedS = append(e.requestedS, seconds(*fault.RequestedNS))
	}
	e.Evidence = cmp.Or(e.Evidence, evidence(fault, true))
	if fault.Outcome != results.FaultProved {
		e.Missing = cmp.Or(e.Missing, fault.Reason, evidence(fault, false))
	}
}

func seconds(ns int64) float64 { return float64(ns) / 1e9 }

// hostNames maps hosts of one process to its name.
func hostNames(hosts map[string]string) map[string]string {
	names := map[string]string{}
	for node, host := range hosts {
		if _, shared := names[host]; shared {
			names[host] = host
		} else {
			names[host] = node
		}
	}
	return names
}

// hit names what a fault hit: nodes, else links, else pairs of hosts, each pair once if it
// was hit both ways.
func hit(fault results.Fault, names map[string]string) string {
	if len(fault.Nodes) > 0 {
		return strings.Join(fault.Nodes, "+")
	}
	if len(fault.Links) > 0 {
		return strings.Join(fault.Links, "+")
	}
	var pairs []string
	for _, pair := range fault.Pairs {
		from, to, _ := strings.Cut(pair, ">")
		sign := ">"
		if slices.Contains(fault.Pairs, to+">"+from) {
			sign = "<>"
		}
		from, to = cmp.Or(names[from], from), cmp.Or(names[to], to)
		if sign == "<>" && from > to {
			from, to = to, from
		}
		pairs = append(pairs, from+sign+to)
	}
	slices.Sort(pairs)
	return strings.Join(slices.Compact(pairs), "+")
}

// maxEvidence bounds the pieces of evidence that a summary repeats.
const maxEvidence = 3

// evidence is what was found of a fault, or wasn't.
func evidence(fault results.Fault, found bool) string {
	var texts []string
	for _, piece := range fault.Evidence {
		if piece.Found != found || piece.Text == "" {
			continue
		}
		if len(texts) == maxEvidence {
			texts = append(texts, "...")
			break
		}
		texts = append(texts, piece.Target+": "+piece.Text)
	}
	return strings.Join(texts, "; ")
}

func (s *schedule) summary() []results.FaultEntry {
	place := map[string]int{}
	for i, id := range s.order {
		place[id] = i
	}
	slices.SortStableFunc(s.entries, func(a, b *entry) int { return cmp.Compare(place[a.ID], place[b.ID]) })
	var entries []results.FaultEntry
	for _, e := range s.entries {
		for what, times := range e.hits {
			if what != "" {
				e.Hit = append(e.Hit, results.Hit{What: what, Times: times})
			}
		}
		slices.SortFunc(e.Hit, func(a, b results.Hit) int {
			return cmp.Or(cmp.Compare(b.Times, a.Times), cmp.Compare(a.What, b.What))
		})
		e.Hit = e.Hit[:min(len(e.Hit), results.MaxHits)]
		e.RequestedS, e.AppliedS, e.ActiveS = rangeOf(e.requestedS), rangeOf(e.appliedS), rangeOf(e.activeS)
		entries = append(entries, e.FaultEntry)
	}
	return entries
}

func rangeOf(values []float64) *results.Range {
	if len(values) == 0 {
		return nil
	}
	return &results.Range{N: len(values), Mean: *MeanInterval(values).Mean, Min: slices.Min(values), Max: slices.Max(values)}
}

// timing collects how late faults were applied.
type timing struct {
	lateMS []float64
}

// timingBoundsMS are those of the histogram's buckets.
var timingBoundsMS = []float64{0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000}

// timelyMS is how late an applied fault may be.
const timelyMS = 5

func (t *timing) add(fault results.Fault) {
	if fault.RequestedNS != nil && fault.AppliedNS != nil {
		t.lateMS = append(t.lateMS, float64(*fault.AppliedNS-*fault.RequestedNS)/1e6)
	}
}

// summary is nil if nothing was applied.
func (t *timing) summary() *results.FaultTiming {
	if len(t.lateMS) == 0 {
		return nil
	}
	summary := &results.FaultTiming{Faults: len(t.lateMS), MaxMS: slices.Max(t.lateMS)}
	for i := range timingBoundsMS {
		summary.Buckets = append(summary.Buckets, results.TimingBucket{UpToMS: &timingBoundsMS[i]})
	}
	summary.Buckets = append(summary.Buckets, results.TimingBucket{})
	timely := 0
	for _, ms := range t.lateMS {
		i, _ := slices.BinarySearch(timingBoundsMS, ms)
		summary.Buckets[i].Faults++
		if ms <= timelyMS {
			timely++
		}
	}
	summary.Within5MS = float64(timely) / float64(len(t.lateMS))
	return summary
}
