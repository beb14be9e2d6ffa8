package faults

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"quorumlab/node/consensus"
	"quorumlab/node/control"
)

// begin plans what is known of an entry's times from the start.
func (d *Director) begin(e *entry) {
	trigger := e.fault.Trigger
	switch {
	case trigger.At != nil:
		d.schedule(planned{at: *trigger.At, entry: e, cause: "at " + seconds(*trigger.At)})
	case trigger.Random != nil:
		random := generator(d.seed, e.index, 0, drawArrivals)
		e.arrivals = func() time.Duration { return exponential(trigger.Random.Mean, random) }
		d.planNext(planned{at: trigger.Random.From, entry: e})
	case trigger.On != nil:
		e.events = resolveEvent(d.view.Protocol, trigger.On.Event)
		e.at = mustSelectors(trigger.On.Nodes)
	}
}

// planNext plans the next time of an entry that repeats.
func (d *Director) planNext(p planned) {
	trigger := p.entry.fault.Trigger
	if trigger.Times > 0 && p.entry.counted >= trigger.Times {
		return
	}
	switch {
	case trigger.Every > 0:
		p.at += trigger.Every
		p.cause = "at " + seconds(p.at)
	case trigger.Random != nil:
		p.at += p.entry.arrivals()
		p.cause = "at random, " + seconds(p.at)
	default:
		return
	}
	d.schedule(p)
}

// Observe takes an event that a node has reported because of Needs. What happens before the
// load begins, at negative times, doesn't count, but for commits: they are there when it
// begins.
func (d *Director) Observe(now time.Duration, node string, trace control.Trace) []Order {
	if d.over || now < 0 && trace.Label.Kind != control.TraceCommit {
		return nil
	}
	orders := d.Advance(now)
	for _, e := range d.entries {
		on := e.fault.Trigger.On
		if on == nil || e.counted >= max(e.fault.Trigger.Times, 1) || !e.isAbout(trace) || !d.happensAt(e, node) {
			continue
		}
		if e.matched++; e.matched < max(on.Count, 1) {
			continue
		}
		e.matched = 0
		cause := fmt.Sprintf("%s at %s%s", on.Event, node, describeLabel(trace.Label, on.Event))
		if on.Count > 1 {
			cause += fmt.Sprintf(", number %d", on.Count)
		}
		if on.Delay > 0 {
			cause += ", and " + seconds(on.Delay) + " later"
		}
		d.schedule(planned{at: max(now, 0) + on.Delay, entry: e, cause: cause})
	}
	return append(orders, d.Advance(now)...)
}

// isAbout tells whether an event is one that the entry waits for.
func (e *entry) isAbout(trace control.Trace) bool {
	on, label := e.fault.Trigger.On, trace.Label
	if !slices.Contains(e.events, label.Kind) || on.Round != 0 && on.Round != label.Round {
		return false
	}
	if label.Kind == control.TraceCommit {
		return label.Slot >= on.Slot
	}
	return on.Slot == 0 || on.Slot == label.Slot
}

// happensAt tells whether a node is one of those where the entry wants events to happen.
func (d *Director) happensAt(e *entry, node string) bool {
	if len(e.at) == 0 {
		return true
	}
	c := d.cast(generator(d.seed, e.index, e.counted, drawPlaces))
	return slices.Contains(c.resolve(e.at), node)
}

// Needs is what the director has to be told, for each node, from the start of its process
// on: the events that its triggers wait for. Failpoints are in the orders of Begin.
func (d *Director) Needs(node string) []control.Subscription {
	if slices.Contains(d.view.clients, node) {
		return nil
	}
	var needs []control.Subscription
	for _, e := range d.entries {
		on := e.fault.Trigger.On
		if on == nil {
			continue
		}
		named, here := true, len(e.at) == 0
		for _, selector := range e.at {
			_, isNode := d.view.nodes[selector.Set]
			named = named && isNode && selector.Pick == ""
			here = here || selector.Set == node
		}
		if named && !here {
			continue
		}
		for _, kind := range e.events {
			need := control.Subscription{Kind: kind, Slot: on.Slot, Round: on.Round}
			if named && kind == control.TraceCommit { // of which alone there are none that don't count
				need.Limit = max(on.Count, 1) * max(e.fault.Trigger.Times, 1)
			}
			needs = addNeed(needs, need)
		}
	}
	return needs
}

// addNeed adds a subscription, or lifts the limit of one that is there.
func addNeed(needs []control.Subscription, need control.Subscription) []control.Subscription {
	for i := range needs {
		if n := &needs[i]; n.Kind == need.Kind && n.Slot == need.Slot && n.Round == need.Round {
			if n.Limit != 0 {
				n.Limit = max(n.Limit, need.Limit)
			}
			if need.Limit == 0 {
				n.Limit = 0
			}
			return needs
		}
	}
	return append(needs, need)
}

// resolveEvent lists the kinds of events, messages and commits that a trigger's event
// stands for; none if the protocol has no such thing.
func resolveEvent(protocol *consensus.Protocol, event string) []string {
	if event == control.TraceCommit {
		return []string{control.TraceCommit}
	}
	var found []string
	if protocol == nil {
		return nil
	}
	for _, spec := range protocol.Events {
		if spec.Kind == event || spec.Meaning == event && event != "" {
			found = append(found, spec.Kind)
		}
	}
	if found == nil && slices.Contains(messageKinds(protocol), event) {
		found = []string{event}
	}
	return found
}

// messageKinds are those of the protocol and of the messages that all protocols share.
func messageKinds(protocol *consensus.Protocol) []string {
	return append(slices.Clone(protocol.Messages), (&consensus.Snapshot{}).Label().Kind, consensus.Request{}.Label().Kind, consensus.Response{}.Label().Kind)
}

// applied notes when an occurrence was, and plans what follows it.
func (d *Director) applied(o *occurrence, at time.Duration) {
	o.applied = &at
	d.follow(o, at, false)
}

// healed likewise notes when it was healed, for faults that healed it too.
func (d *Director) healed(o *occurrence, at time.Duration) {
	o.healed = &at
	d.follow(o, at, true)
	for _, healer := range d.healers {
		if healer.applied == nil && slices.Contains(healer.heals, o) &&
			!slices.ContainsFunc(healer.heals, func(other *occurrence) bool { return other.healed == nil }) {
			d.applied(healer, at)
		}
	}
}

// follow plans the faults that wait for another one.
func (d *Director) follow(o *occurrence, at time.Duration, healed bool) {
	if d.over {
		return
	}
	for _, e := range d.entries {
		after := e.fault.Trigger.After
		if after == nil || after.ID != o.entry.fault.ID || after.Healed != healed || e.counted > 0 {
			continue
		}
		d.schedule(planned{at: at + after.By, entry: e, cause: e.fault.Trigger.String()})
	}
}

// String says when, such as "every 5s from 10s on".
func (t Trigger) String() string {
	var words string
	switch {
	case t.At != nil && t.Every > 0:
		words = fmt.Sprintf("every %s from %s on", seconds(t.Every), seconds(*t.At))
	case t.At != nil:
		words = "at " + seconds(*t.At)
	case t.After != nil:
		words = fmt.Sprintf("%s after %s is applied", seconds(t.After.By), t.After.ID)
		if t.After.Healed {
			words = fmt.Sprintf("%s after %s is healed", seconds(t.After.By), t.After.ID)
		}
	case t.On != nil:
		words = "on " + t.On.String()
	case t.Failpoint != nil:
		words = "the failpoint " + describeFailpoint(*t.Failpoint)
	case t.Random != nil:
		words = fmt.Sprintf("at random, every %s on average, from %s on", seconds(t.Random.Mean), seconds(t.Random.From))
	}
	if t.Times > 0 {
		words += fmt.Sprintf(", at most %d times", t.Times)
	}
	if t.Until > 0 {
		words += ", until " + seconds(t.Until)
	}
	return words
}

// String says what is waited for, such as "phase2a slot 100 at leader1".
func (o On) String() string {
	words := o.Event + describeLabel(consensus.Label{Slot: o.Slot, Round: o.Round}, "")
	if len(o.Nodes) > 0 {
		words += " at " + strings.Join(o.Nodes, " or ")
	}
	if o.Count > 1 {
		words += fmt.Sprintf(", number %d", o.Count)
	}
	if o.Delay > 0 {
		words += ", and " + seconds(o.Delay) + " later"
	}
	return words
}

func describeFailpoint(f control.Failpoint) string {
	words := f.Place
	if f.Kind != "" {
		words += " " + f.Kind
	}
	words += describeLabel(consensus.Label{Slot: f.Slot, Round: f.Round}, "")
	if f.To != "" {
		words += " to " + f.To
	}
	if f.Count > 1 {
		words += fmt.Sprintf(", number %d", f.Count)
	}
	return words
}

// describeLabel says what a label names beside its kind, and the kind itself where it
// isn't the one that was asked for.
func describeLabel(label consensus.Label, asked string) string {
	words := ""
	if asked != "" && label.Kind != asked {
		words += " (" + label.Kind + ")"
	}
	if label.Slot != 0 {
		words += fmt.Sprintf(" slot %d", label.Slot)
	}
	if label.Round != 0 {
		words += fmt.Sprintf(" round %d", label.Round)
	}
	return words
}
