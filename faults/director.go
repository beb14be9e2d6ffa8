package faults

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/results"
	"quorumlab/topologies"
)

// World is what a schedule is for.
type World struct {
	Cluster  control.Cluster
	Protocol *consensus.Protocol
	Topology *topologies.Topology
	// Hosts maps each node's name to its host's.
	Hosts map[string]string
	// Load is how long the load lasts.
	Load time.Duration
	// Engine is "sim" or the name of another; empty where it isn't known yet.
	Engine string
}

// Leaders says who leads now, the one with the highest ballot, term or view first.
type Leaders func() []string

// Director is one trial's schedule under way. It isn't safe for use by several goroutines.
type Director struct {
	view    *view
	seed    uint64
	leaders Leaders
	entries []*entry
	members *membership

	// plan is what will happen at known times, the next first.
	plan []planned
	// occurrences are all, active those that are in force, in the order in which they
	// fired; awaiting those whose evidence may still be found; healers those that heal others.
	occurrences, active, awaiting, healers []*occurrence
	// ended are the nodes whose process ended by itself, starting those that an order under
	// way starts again.
	ended, starting map[string]bool
	// current is the network as it is; nil after links changed.
	current *network
	over    bool
}

// entry is a fault of the schedule under way.
type entry struct {
	index int
	fault Fault
	kind  *Kind

	whom, from, to, at []Selector
	groups             [][]Selector
	// counted is how often it has been planned or has fired, occurred how many
	// occurrences it has, matched how many events since it last was fulfilled.
	counted, occurred, matched int
	// events are the kinds of events that On waits for.
	events []string
	// armed is the occurrence that its failpoint waits for.
	armed *occurrence
	// arrivals draws the times of Random.
	arrivals func() time.Duration
	// stopped is true if it fires no more, whatever its trigger says.
	stopped bool
}

// planned is something that happens at a known time.
type planned struct {
	at time.Duration
	// heals is the occurrence that is healed; nil if entry fires, because of cause.
	heals *occurrence
	entry *entry
	cause string
}

// NewDirector begins a schedule that Check has nothing against. Leaders is asked when a
// fault fires that has to know; nil if nobody leads.
func NewDirector(schedule []Fault, world World, seed uint64, leaders Leaders) *Director {
	d := &Director{view: newView(world), seed: seed, leaders: leaders, ended: map[string]bool{}, starting: map[string]bool{}}
	d.members = newMembership(d.view)
	for i, fault := range schedule {
		kind, ok := Lookup(fault.Kind)
		if !ok {
			panic("faults: a kind that Check should have refused: " + fault.Kind)
		}
		if len(fault.Whom) == 0 && kind.Whom != "" {
			fault.Whom = []string{kind.Whom}
		}
		e := &entry{
			index: i, fault: fault, kind: kind,
			whom: mustSelectors(fault.Whom), from: mustSelectors(fault.From), to: mustSelectors(fault.To),
		}
		for _, group := range fault.Groups {
			e.groups = append(e.groups, mustSelectors(group))
		}
		d.entries = append(d.entries, e)
		d.begin(e)
	}
	return d
}

// Begin arms the failpoints, before the load begins.
func (d *Director) Begin() []Order {
	var orders []Order
	for _, e := range d.entries {
		if e.fault.Trigger.Failpoint != nil {
			orders = append(orders, d.arm(e, 0)...)
		}
	}
	return orders
}

// Next is when Advance must be called; ok is false if nothing is planned.
func (d *Director) Next() (at time.Duration, ok bool) {
	if d.over || len(d.plan) == 0 {
		return 0, false
	}
	return d.plan[0].at, true
}

// Advance fires and heals what is due by now, in the order of the times at which it is due.
// Of what is due at one time, healing comes first.
func (d *Director) Advance(now time.Duration) []Order {
	var orders []Order
	for !d.over && len(d.plan) > 0 && d.plan[0].at <= now {
		p := d.plan[0]
		d.plan = d.plan[1:]
		if p.heals != nil {
			orders = append(orders, d.heal(p.heals, p.at)...)
			continue
		}
		d.planNext(p)
		orders = append(orders, d.fire(p.entry, p.at, p.cause)...)
	}
	return orders
}

// schedule plans something, unless that is past the end of the load or of the trigger.
func (d *Director) schedule(p planned) {
	if p.heals == nil {
		trigger := p.entry.fault.Trigger
		if d.view.Load > 0 && p.at >= d.view.Load || trigger.Until > 0 && p.at >= trigger.Until {
			return
		}
		p.entry.counted++
	}
	at, _ := slices.BinarySearchFunc(d.plan, p, func(a, b planned) int {
		// What is planned later comes later, all else alike.
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.class(), b.class()), cmp.Compare(a.rank(), b.rank()), -1)
	})
	d.plan = slices.Insert(d.plan, at, p)
}

// class puts healing before firing, rank either in the schedule's order.
func (p planned) class() int {
	if p.heals != nil {
		return 0
	}
	return 1
}

func (p planned) rank() int {
	if p.heals != nil {
		return p.heals.index
	}
	return p.entry.index
}

// Done takes when an order was carried out (what it demanded was in force), or why it
// wasn't. It returns what is to happen at once because of that.
func (d *Director) Done(order Order, at time.Duration, err error) []Order {
	if order.Heal {
		for _, node := range order.Nodes {
			if node.Start {
				delete(d.starting, node.Node)
			}
		}
	}
	if order.Occurrence < 0 || order.Occurrence >= len(d.occurrences) {
		return nil
	}
	o := d.occurrences[order.Occurrence]
	if err != nil {
		if o.failed == "" {
			o.failed = err.Error()
			if order.Heal && o.hit {
				o.failed = "it couldn't be healed: " + o.failed
			}
		}
		return nil
	}
	switch {
	case order.arms, !o.hit:
		return nil // a failpoint was armed, or disarmed
	case !order.Heal && o.applied == nil:
		d.applied(o, at)
	case order.Heal && o.healed == nil:
		d.healed(o, at)
	}
	return d.Advance(at)
}

// Prove takes a piece of evidence of an occurrence, as Order.Evidence makes it, and when it
// was observed. One that was found isn't lost by another that wasn't.
func (d *Director) Prove(occurrence int, at time.Duration, evidence results.Evidence) {
	if occurrence < 0 || occurrence >= len(d.occurrences) {
		return
	}
	o := d.occurrences[occurrence]
	o.evidence = append(o.evidence, observed{at, evidence})
	for _, x := range o.expects {
		if x.found != nil || x.heal != evidence.Healed || string(x.Kind) != evidence.Kind || x.Target() != evidence.Target {
			continue
		}
		x.idle = evidence.Idle && !evidence.Found
		if evidence.Found {
			x.found = &at
			return
		}
	}
}

// Ended takes the end of a process that no order demanded, and tells whether a fault
// explains it: its disk fails.
func (d *Director) Ended(_ time.Duration, node string) (explained bool) {
	if d.starting[node] || d.node(node, nil).Down {
		return true
	}
	d.ended[node] = true
	d.unstall(node)
	d.overshadow()
	return d.endsByItself(node)
}

// State is a node's at this moment: what a process that is started again must be told.
func (d *Director) State(node string) NodeState { return d.node(node, nil) }

// End heals what has to be healed once the load is over; nothing fires any more. All but
// crashes without a duration are healed: first failpoints are disarmed, then links and
// pairs healed, then nodes, each in the order in which the faults fired.
func (d *Director) End(now time.Duration) []Order {
	if d.over {
		return nil
	}
	d.over = true
	d.plan = nil
	var orders []Order
	for _, e := range d.entries {
		if o := e.armed; o != nil {
			e.armed = nil
			orders = append(orders, d.order(o, true, now, o.armed...))
		}
	}
	for _, network := range []bool{true, false} {
		for _, o := range slices.Clone(d.active) {
			if o.active && o.network() == network && (!o.entry.kind.Final || !o.entry.fault.For.IsZero()) {
				orders = append(orders, d.heal(o, now)...)
			}
		}
	}
	return orders
}

// pointID is the ID of the failpoint that the occurrence waits for.
func (o *occurrence) pointID() string { return fmt.Sprintf("%s#%d", o.entry.fault.ID, o.number) }
