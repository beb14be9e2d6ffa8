package faults

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// maxBurst is how many faults may fire within a second, which a trigger that waits for
// events can't be held to beforehand.
const maxBurst = 100

// occur begins an occurrence of an entry.
func (d *Director) occur(e *entry, cause string) *occurrence {
	e.occurred++
	o := &occurrence{index: len(d.occurrences), number: e.occurred, entry: e, cause: cause}
	d.occurrences = append(d.occurrences, o)
	return o
}

// burst tells whether too many faults have fired within the second before.
func (d *Director) burst(at time.Duration) bool {
	recent := 0
	for _, o := range slices.Backward(d.occurrences) {
		if o.requested == nil {
			continue
		}
		if *o.requested <= at-time.Second {
			break
		}
		recent++
	}
	return recent >= maxBurst
}

// fire has an entry happen.
func (d *Director) fire(e *entry, at time.Duration, cause string) []Order {
	if e.stopped {
		return nil
	}
	burst := d.burst(at)
	o := d.occur(e, cause)
	o.hit, o.requested = true, &at
	if burst {
		o.failed = fmt.Sprintf("more than %d faults fired within a second", maxBurst)
		e.stopped = true
		return nil
	}
	o.effects = e.kind.Effects(d.scene(o))
	if o.effects.none() {
		return nil
	}
	if len(o.effects.Heals) > 0 {
		return d.healOthers(o, at)
	}
	return []Order{d.apply(o, at)}
}

// scene resolves the selectors of an occurrence.
func (d *Director) scene(o *occurrence) *Scene {
	e := o.entry
	random := generator(d.seed, e.index, o.number, drawTargets)
	c := d.cast(random)
	if e.kind.Hits == HitsNodes {
		c.reachable = d.up
	}
	scene := &Scene{Fault: e.fault, World: d.view.World, Random: random, view: d.view, members: d.members}
	scene.Nodes = c.resolve(e.whom)
	c.reachable = nil
	if e.kind.Hits == HitsNodes {
		scene.Nodes = slices.DeleteFunc(scene.Nodes, func(node string) bool { return !d.up(node) })
	}
	scene.From, scene.To = c.resolve(e.from), c.resolve(e.to)
	for _, group := range e.groups {
		scene.Groups = append(scene.Groups, c.resolve(group))
	}
	if asksLeaders(slices.Concat(append(e.groups, e.whom, e.from, e.to)...)) {
		if leaders := c.leaders(); len(leaders) > 0 {
			o.leader = leaders[0]
		}
	}
	return scene
}

// cast resolves selectors at this moment; who leads is asked once at most.
func (d *Director) cast(random *rand.Rand) *cast {
	var leaders []string
	asked := false
	return &cast{members: d.members, up: d.up, random: random, leaders: func() []string {
		if !asked && d.leaders != nil {
			leaders, asked = d.leaders(), true
		}
		return leaders
	}}
}

// apply puts an occurrence's effects in force.
func (d *Director) apply(o *occurrence, at time.Duration) Order {
	o.indexed()
	o.active = true
	d.active = append(d.active, o)
	d.changed(o)
	for _, e := range o.effects.Nodes {
		if d.node(e.Node, nil).Down {
			d.unstall(e.Node)
		}
	}
	order := d.order(o, false, at)
	if len(o.effects.Change) > 0 {
		d.members.adopt(o.effects.Change)
		order.Reconfigure = &Reconfiguration{Nodes: d.serving(), Change: o.effects.Change}
	}
	d.expectApplied(o, &order)
	d.await(o)
	switch {
	case !o.entry.kind.Lasts:
		d.retire(o)
	case !o.entry.fault.For.IsZero():
		span := o.entry.fault.For.draw(generator(d.seed, o.entry.index, o.number, drawSpan))
		d.schedule(planned{at: at + span, heals: o})
	}
	return order
}

// serving are the nodes that take changes of the configuration.
func (d *Director) serving() []string {
	var names []string
	roles := d.view.roles(serves)
	for _, node := range d.view.servers {
		if slices.ContainsFunc(roles, d.view.nodes[node].Has) {
			names = append(names, node)
		}
	}
	return names
}

// retire takes an occurrence's effects out of force.
func (d *Director) retire(o *occurrence) {
	o.active = false
	d.active = slices.DeleteFunc(d.active, func(other *occurrence) bool { return other == o })
	d.changed(o)
}

// changed forgets the paths if an occurrence has changed links.
func (d *Director) changed(o *occurrence) {
	if len(o.effects.Links) > 0 {
		d.current = nil
	}
}

// healOthers heals what is active of the faults that an occurrence names.
func (d *Director) healOthers(o *occurrence, at time.Duration) []Order {
	var orders []Order
	d.healers = append(d.healers, o)
	for _, other := range slices.Clone(d.active) {
		if slices.Contains(o.effects.Heals, other.entry.fault.ID) {
			o.heals = append(o.heals, other)
			orders = append(orders, d.heal(other, at)...)
		}
	}
	return orders
}

// heal ends an occurrence.
func (d *Director) heal(o *occurrence, at time.Duration) []Order {
	if !o.active {
		return nil // another fault has healed it
	}
	o.healRequested = &at
	was := d.beforeHealing(o)
	ends := o.endsProcesses()
	d.retire(o)
	order := d.order(o, true, at)
	for i := range order.Nodes {
		state := &order.Nodes[i]
		if slices.Contains(ends, state.Node) && !state.Down && !d.endsByItself(state.Node) {
			state.Start = true
			d.starting[state.Node] = true
			delete(d.ended, state.Node)
		}
	}
	d.expectHealed(o, &order, was)
	d.await(o)
	orders := []Order{order}
	if o.entry.fault.Trigger.Failpoint != nil && !d.over {
		orders = append(orders, d.arm(o.entry, at)...)
	}
	return orders
}

// endsProcesses are the nodes whose processes end by themselves because of the occurrence.
func (o *occurrence) endsProcesses() []string {
	var names []string
	for _, e := range o.effects.Nodes {
		if e.Ends {
			names = append(names, e.Node)
		}
	}
	return names
}
