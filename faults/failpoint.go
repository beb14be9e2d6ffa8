package faults

import (
	"fmt"
	"slices"
	"time"

	"quorumlab/node/control"
	"quorumlab/results"
)

// evidenceReached is what a failpoint's evidence is called: the node has said that it came
// there.
const evidenceReached = "failpoint"

// arm arms an entry's failpoint, unless it has fired often enough, at the nodes that its
// selectors pick now: without any, at all servers. One that may happen again is armed
// again once it is healed, or at once if it is for good. Nobody may lead then, so soon
// after a crash: who will can't be known, and the leader stands for all that could.
func (d *Director) arm(e *entry, at time.Duration) []Order {
	if e.counted >= max(e.fault.Trigger.Times, 1) || e.armed != nil {
		return nil
	}
	e.counted++
	o := d.occur(e, e.fault.Trigger.String())
	if len(e.whom) == 0 {
		e.whom = []Selector{{Set: SetAll}}
	}
	c := d.cast(generator(d.seed, e.index, o.number, drawTargets))
	c.reachable, c.candidates = d.up, true
	o.armed = slices.DeleteFunc(c.resolve(e.whom), func(node string) bool { return !d.up(node) })
	if len(o.armed) == 0 {
		o.hit, o.requested = true, &at
		return nil
	}
	e.armed = o
	order := d.order(o, false, at, o.armed...)
	order.arms = true
	return []Order{order}
}

// Reached takes a failpoint that a node has reached, where it stands still until it is
// told otherwise. The first one is hit: a crash ends it while it stands there, a pause
// leaves it there. The failpoint is disarmed at all others, so that any that have come
// there meanwhile go on.
func (d *Director) Reached(now time.Duration, node string, reached control.Reached) []Order {
	orders := d.Advance(now)
	i := slices.IndexFunc(d.occurrences, func(o *occurrence) bool { return len(o.armed) > 0 && o.pointID() == reached.ID })
	if i < 0 || !slices.Contains(d.occurrences[i].armed, node) {
		return orders
	}
	o := d.occurrences[i]
	e := o.entry
	if e.armed != o { // somebody else was first, or the load is over
		o.late = node
		return orders
	}
	e.armed = nil
	o.hit, o.requested, o.effects = true, &now, Effects{Nodes: []NodeEffect{e.pointEffect(o, node)}}
	o.cause = fmt.Sprintf("%s, reached at %s", e.fault.Trigger, node)
	o.evidence = append(o.evidence, observed{now, results.Evidence{
		Kind: evidenceReached, Target: node, Found: !reached.Unacknowledged,
		Text: "the node has reached " + e.fault.Trigger.String() + describeReached(reached),
	}})
	order := d.apply(o, now)
	order.Nodes = d.order(o, false, now, o.armed...).Nodes // the others are disarmed
	orders = append(orders, order)
	if e.stalls() {
		d.applied(o, now) // it stands still already
	}
	orders = append(orders, d.Advance(now)...)
	if e.kind.Final && e.fault.For.IsZero() {
		orders = append(orders, d.arm(e, now)...)
	}
	return orders
}

// pointEffect is what is done to the node that has reached the failpoint: a crash is that
// of the kind; one that stalls does so until the failpoint is gone from its state.
func (e *entry) pointEffect(o *occurrence, node string) NodeEffect {
	if e.stalls() {
		point := e.failpoint(o)
		return NodeEffect{Node: node, Apply: func(state *NodeState) {
			state.Injection.Failpoints = append(state.Injection.Failpoints, point)
		}}
	}
	return e.kind.Effects(&Scene{Fault: e.fault, Nodes: []string{node}}).Nodes[0]
}

// unreached says why a failpoint that was armed has hit nobody. How often nodes passed it
// on the way to its count, they don't say.
func (o *occurrence) unreached() string {
	switch {
	case o.late != "":
		return o.late + " came to it when the load was over"
	case o.entry.fault.Trigger.Failpoint.Count > 1:
		return fmt.Sprintf("no node came to it often enough, which is %d times", o.entry.fault.Trigger.Failpoint.Count)
	}
	return "no node has reached it"
}

func describeReached(reached control.Reached) string {
	text := ""
	if reached.Label.Kind != "" {
		text += ": " + reached.Label.Kind
	}
	if reached.Label.Slot != 0 {
		text += fmt.Sprintf(" slot %d", reached.Label.Slot)
	}
	if reached.Label.Round != 0 {
		text += fmt.Sprintf(" round %d", reached.Label.Round)
	}
	if reached.To != "" {
		text += " to " + reached.To
	}
	if reached.Unacknowledged {
		text += ", but the receiver didn't acknowledge it"
	}
	return text
}
