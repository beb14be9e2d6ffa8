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
// again once it is healed, or at once if it is for good.
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
	c.reachable = d.up
	o.armed = slices.DeleteFunc(c.resolve(e.whom), func(node string) bool { return !d.up(node) })
	if len(o.armed) == 0 {
		o.hit, o.requested = true, &at
		return nil
	}
	e.armed = o
	return []Order{d.order(o, false, at, o.armed...)}
}

// Reached takes a failpoint that a node has reached: the node has done what it says. The
// failpoint is disarmed at all others. If another node comes there before it is, that one
// is hit too.
func (d *Director) Reached(now time.Duration, node string, reached control.Reached) []Order {
	orders := d.Advance(now)
	i := slices.IndexFunc(d.occurrences, func(o *occurrence) bool { return len(o.armed) > 0 && o.pointID() == reached.ID })
	if i < 0 || !slices.Contains(d.occurrences[i].armed, node) {
		return orders
	}
	o := d.occurrences[i]
	e := o.entry
	if _, known := o.byNode[node]; known && o.active {
		return orders
	}
	effect := e.pointEffect(o, node)
	o.evidence = append(o.evidence, observed{now, results.Evidence{
		Kind: evidenceReached, Target: node, Found: !reached.Unacknowledged,
		Text: "the node has reached " + e.fault.Trigger.String() + describeReached(reached),
	}})
	if o.hit {
		return append(orders, d.reachedToo(o, node, effect, now)...)
	}
	e.armed = nil
	o.hit, o.requested, o.effects = true, &now, Effects{Nodes: []NodeEffect{effect}}
	o.cause = fmt.Sprintf("%s, reached at %s", e.fault.Trigger, node)
	order := d.apply(o, now)
	order.Nodes = d.order(o, false, now, o.armed...).Nodes // the others are disarmed
	orders = append(orders, order)
	d.applied(o, now)
	orders = append(orders, d.Advance(now)...)
	switch {
	case d.over && (!e.kind.Final || !e.fault.For.IsZero()):
		orders = append(orders, d.heal(o, now)...)
	case !d.over && e.kind.Final && e.fault.For.IsZero():
		orders = append(orders, d.arm(e, now)...)
	}
	return orders
}

// reachedToo adds a node to an occurrence that has fired at another one already.
func (d *Director) reachedToo(o *occurrence, node string, effect NodeEffect, now time.Duration) []Order {
	o.effects.Nodes = append(o.effects.Nodes, effect)
	if !o.active { // healed: so is this one, at once
		state := d.node(node, nil)
		state.Start = !state.Down
		d.starting[node] = state.Start
		return []Order{{Occurrence: o.index, Heal: true, Requested: now, Nodes: []NodeState{state}}}
	}
	o.byNode[node] = len(o.effects.Nodes) - 1
	if d.node(node, nil).Down {
		d.unstall(node)
	}
	order := Order{Occurrence: o.index, Requested: now, Nodes: []NodeState{d.node(node, nil)}}
	for _, expectation := range effect.Expect {
		d.expect(o, &order, expectation)
	}
	d.await(o)
	return []Order{order}
}

// pointEffect is what the failpoint does to the node that reaches it: a crash is that of
// the kind; one that stalls does so until the failpoint is gone from its state.
func (e *entry) pointEffect(o *occurrence, node string) NodeEffect {
	if e.stalls() {
		point := e.failpoint(o)
		return NodeEffect{Node: node, Apply: func(state *NodeState) {
			state.Injection.Failpoints = append(state.Injection.Failpoints, point)
		}}
	}
	return e.kind.Effects(&Scene{Fault: e.fault, Nodes: []string{node}}).Nodes[0]
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
