package faults

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"quorumlab/results"
)

// Records are all occurrences so far, and behind them the faults that never came to be.
// An occurrence is proved if all of its evidence was found. What other faults have hidden
// doesn't count, nor that nothing came by which it could have shown itself, but at least one
// piece of evidence of its effect must have been found. Where there was none for
// these reasons the outcome is that it hit nobody, which an optional fault may.
func (d *Director) Records() []results.Fault {
	records := make([]results.Fault, 0, len(d.occurrences))
	for _, o := range d.occurrences {
		records = append(records, o.record())
	}
	for _, e := range d.entries {
		if e.occurred == 0 {
			record := e.record(1, e.fault.Trigger.String())
			record.Outcome, record.Reason = results.FaultNeverFired, e.neverFired()
			records = append(records, record)
		}
	}
	return records
}

// Record is that of an occurrence, which Order.Occurrence indexes; ok is false if there is
// none.
func (d *Director) Record(occurrence int) (record results.Fault, ok bool) {
	if occurrence < 0 || occurrence >= len(d.occurrences) {
		return results.Fault{}, false
	}
	return d.occurrences[occurrence].record(), true
}

func (e *entry) record(number int, trigger string) results.Fault {
	return results.Fault{ID: e.fault.ID, Kind: e.fault.Kind, Occurrence: number, Optional: e.fault.Optional, Trigger: trigger}
}

func (e *entry) neverFired() string {
	if on := e.fault.Trigger.On; on != nil && on.Count > 1 {
		return fmt.Sprintf("%d of %d such events came", e.matched, on.Count)
	}
	return "what it waited for never came"
}

func (o *occurrence) record() results.Fault {
	record := o.entry.record(o.number, o.cause)
	record.Leader = o.leader
	for _, e := range o.effects.Nodes {
		record.Nodes = append(record.Nodes, e.Node)
	}
	if !o.effects.none() {
		record.Nodes = append(record.Nodes, o.effects.Hit...)
	}
	for _, e := range o.effects.Links {
		record.Links = append(record.Links, e.Link)
	}
	slices.Sort(record.Links)
	record.Links = slices.Compact(record.Links)
	for _, e := range o.effects.Pairs {
		record.Pairs = append(record.Pairs, e.From+">"+e.To)
	}
	record.RequestedNS, record.AppliedNS = nanoseconds(o.requested), nanoseconds(o.applied)
	record.HealRequestedNS, record.HealedNS = nanoseconds(o.healRequested), nanoseconds(o.healed)
	for _, e := range o.evidence {
		record.Evidence = append(record.Evidence, e.evidence)
	}
	record.ObservedNS, record.RecoveredNS = nanoseconds(o.seen(false)), nanoseconds(o.seen(true))
	record.Outcome, record.Reason = o.outcome()
	return record
}

func nanoseconds(at *time.Duration) *int64 {
	if at == nil {
		return nil
	}
	ns := at.Nanoseconds()
	return &ns
}

// seen is when the last of the evidence was found, of the effect or of its healing.
func (o *occurrence) seen(heal bool) *time.Duration {
	var last *time.Duration
	later := func(at *time.Duration) {
		if at != nil && (last == nil || *at > *last) {
			last = at
		}
	}
	for _, x := range o.expects {
		if x.heal == heal {
			later(x.found)
		}
	}
	for _, e := range o.evidence {
		if e.evidence.Kind == evidenceReached && e.evidence.Found && !heal {
			later(&e.at)
		}
	}
	if !heal {
		for _, healed := range o.heals {
			later(healed.seen(true))
		}
	}
	return last
}

// outcome says what became of the occurrence, and why.
func (o *occurrence) outcome() (outcome, reason string) {
	if len(o.heals) > 0 {
		return o.outcomeOfHealing()
	}
	missing, hidden, idle, found := o.tally()
	switch {
	case o.failed != "":
		return results.FaultFailed, o.failed
	case !o.hit:
		return results.FaultNeverFired, o.unreached()
	case o.effects.none(), len(o.effects.Heals) > 0:
		return results.FaultNobody, o.entry.nobody()
	case o.applied == nil:
		return results.FaultUnproved, "it was never carried out"
	case o.healRequested != nil && o.healed == nil:
		return results.FaultUnproved, "its healing was never carried out"
	case len(missing) > 0:
		return results.FaultUnproved, "no evidence of " + list(missing)
	case found == 0 && len(idle) > 0:
		return results.FaultNobody, "nothing came that it could have shown itself by: " + list(slices.Concat(idle, hidden))
	case found == 0 && len(hidden) > 0:
		return results.FaultNobody, "other faults have hidden all of its effect: " + list(hidden)
	case found == 0:
		return results.FaultUnproved, "there is no evidence"
	}
	var reasons []string
	if len(hidden) > 0 {
		reasons = append(reasons, "other faults have hidden "+list(hidden))
	}
	if len(idle) > 0 {
		reasons = append(reasons, "nothing came that it could have shown itself by: "+list(idle))
	}
	return results.FaultProved, strings.Join(reasons, "; ")
}

// tally counts what was found of the effect, and names what wasn't found: hidden by other
// faults, idle, or missing.
func (o *occurrence) tally() (missing, hidden, idle []string, found int) {
	for _, x := range o.expects {
		name := fmt.Sprintf("%s at %s", x.Kind, x.Target())
		if x.heal {
			name = "healing, " + name
		}
		switch {
		case x.found != nil:
			if !x.heal {
				found++
			}
		case x.hidden:
			hidden = append(hidden, name)
		case x.idle:
			idle = append(idle, name)
		default:
			missing = append(missing, name)
		}
	}
	for _, e := range o.evidence {
		switch {
		case e.evidence.Kind != evidenceReached:
		case e.evidence.Found:
			found++
		default:
			missing = append(missing, "the receiver's acknowledgement of what "+e.evidence.Target+" sent")
		}
	}
	return missing, hidden, idle, found
}

// outcomeOfHealing is that of a fault that has healed others.
func (o *occurrence) outcomeOfHealing() (outcome, reason string) {
	for _, healed := range o.heals {
		name := fmt.Sprintf("%s, occurrence %d", healed.entry.fault.ID, healed.number)
		missing, _, _, _ := healed.tally()
		missing = slices.DeleteFunc(missing, func(m string) bool { return !strings.HasPrefix(m, "healing, ") })
		switch {
		case healed.failed != "":
			return results.FaultFailed, name + ": " + healed.failed
		case healed.healed == nil:
			return results.FaultUnproved, name + ": its healing was never carried out"
		case len(missing) > 0:
			return results.FaultUnproved, name + ": no evidence of " + list(missing)
		}
	}
	return results.FaultProved, ""
}

// nobody says why it hit nobody.
func (e *entry) nobody() string {
	if e.fault.Fault != "" {
		return fmt.Sprintf("nothing of %s was active", e.fault.Fault)
	}
	var selectors []string
	for _, s := range slices.Concat(append(e.groups, e.whom, e.from, e.to)...) {
		selectors = append(selectors, s.String())
	}
	if len(selectors) == 0 {
		return "there was nothing that it could hit"
	}
	return list(selectors) + " matched nobody that it could hit"
}
