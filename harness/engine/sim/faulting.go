package sim

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"time"

	"quorumlab/faults"
	"quorumlab/harness/engine"
	"quorumlab/node/consensus"
	"quorumlab/node/control"
)

// faulting is a trial's schedule of faults under way.
type faulting struct {
	director *faults.Director
	// begun is true while times count: from the load's beginning on. ended is true once
	// nothing fires any more.
	begun, ended bool
	// nextAt is when the eventFaults that counts is, or never; endAt when the load was
	// planned to be over.
	nextAt, endAt int64
	// notices are what processes have to tell the director, each of which has an
	// eventNotice.
	notices ring[notice]
	// fulfilling is true while orders are carried out, whose evidence isn't looked for yet.
	fulfilling bool
	// watches is the evidence that is looked for, at pollAt next, or never.
	watches []*watch
	pollAt  int64
	// tamper, unless nil, may change an order before it is carried out: tests have it leave
	// something out, which evidence must bring to light.
	tamper func(*faults.Order)
}

// notice is what a process tells the director: one of a trace, a failpoint that was
// reached, or that it has ended by itself.
type notice struct {
	node    string
	trace   *control.Trace
	reached *control.Reached
}

// planFaults begins the schedule, if there is one.
func (s *trial) planFaults() error {
	schedule := s.simulation.Faults
	if len(schedule) == 0 {
		return nil
	}
	world := faults.World{
		Cluster: s.simulation.Cluster, Protocol: s.protocol, Topology: s.simulation.Topology, Hosts: s.simulation.Hosts,
		Load: s.loadTime(), Engine: Name,
	}
	for _, problem := range faults.Check(schedule, world) {
		return fmt.Errorf("the fault %s: %+v", schedule[problem.Fault].ID, problem)
	}
	s.faulting = &faulting{
		director: faults.NewDirector(schedule, world, s.simulation.Seed, s.leaders), nextAt: never, pollAt: never,
	}
	for _, p := range s.processes {
		p.condition = &condition{state: faults.NodeState{Node: p.node.Name, CPUShare: 1}}
	}
	return nil
}

// breaksNetwork tells whether links or pairs of hosts may change while the load runs.
func breaksNetwork(simulation *engine.Simulation) bool {
	return slices.ContainsFunc(simulation.Faults, func(f faults.Fault) bool {
		kind, known := faults.Lookup(f.Kind)
		return known && (kind.Hits == faults.HitsLinks || kind.Hits == faults.HitsPairs)
	})
}

// loadTime is for how long requests fall due.
func (s *trial) loadTime() (longest time.Duration) {
	for _, load := range s.simulation.Loads {
		longest = max(longest, time.Duration(load.StartNS+load.DurationNS))
	}
	return longest
}

// leaders lists the processes that would say that they lead, the one with the highest
// round first.
func (s *trial) leaders() []string {
	var leading []*process
	for _, p := range s.processes {
		if p.machine == nil || p.condition.still() {
			continue
		}
		if p.standing = p.machine.Status(); p.standing.Leading {
			leading = append(leading, p)
		}
	}
	slices.SortStableFunc(leading, func(a, b *process) int {
		switch {
		case a.standing.Round > b.standing.Round:
			return -1
		case a.standing.Round < b.standing.Round:
			return 1
		}
		return 0
	})
	names := make([]string, len(leading))
	for i, p := range leading {
		names[i] = p.node.Name
	}
	return names
}

// elapsed is the time since the load began; before that it is far below 0.
func (s *trial) elapsed() time.Duration {
	if !s.faulting.begun {
		return time.Duration(s.now) - math.MaxInt64/2
	}
	return time.Duration(s.now - s.loadStart)
}

// beginFaults has the schedule's times count from now on.
func (s *trial) beginFaults() {
	f := s.faulting
	if f == nil {
		return
	}
	f.begun = true
	f.endAt = s.now + int64(s.loadTime())
	s.schedule(f.endAt, eventFaults, 0)
	s.fulfil(f.director.Begin())
}

// advanceFaults is the event of something that is due by the schedule.
func (s *trial) advanceFaults() {
	f := s.faulting
	if f.ended {
		return
	}
	if s.now >= f.endAt {
		s.endFaults()
		if s.working == 0 {
			s.endLoad()
		}
		return
	}
	if f.nextAt != s.now {
		return // an earlier one took its place
	}
	f.nextAt = never
	s.fulfil(f.director.Advance(s.elapsed()))
}

// endFaults heals what has to be healed once the load is over.
func (s *trial) endFaults() {
	f := s.faulting
	if f == nil || f.ended || !f.begun {
		return
	}
	f.ended = true
	s.fulfil(f.director.End(s.elapsed()))
}

// notice tells the director what it has asked for.
func (s *trial) notice(p *process, label consensus.Label, to string) {
	subscriptions := p.condition.subscriptions
	if !subscriptions.Any() || !subscriptions.Wants(consensus.Time(s.now), label) {
		return
	}
	s.tell(notice{node: p.node.Name, trace: &control.Trace{TimeNS: s.now, Label: label, To: to}})
}

// reached tells the director of a failpoint where the process has done what it says,
// ended that the process has ended by itself.
func (s *trial) reached(p *process, h *halt) {
	h.reached.Unacknowledged = h.awaited != nil
	s.tell(notice{node: p.node.Name, reached: &h.reached})
}

func (s *trial) ended(p *process) { s.tell(notice{node: p.node.Name}) }

// tell has the director learn of something once the step in hand is done.
func (s *trial) tell(n notice) {
	*s.faulting.notices.push() = n
	s.schedule(s.now, eventNotice, 0)
}

// noticed is the event of something that the director is told.
func (s *trial) noticed() {
	f := s.faulting
	n := f.notices.pop()
	var orders []faults.Order
	switch {
	case n.trace != nil:
		orders = f.director.Observe(s.elapsed(), n.node, *n.trace)
	case n.reached != nil:
		orders = f.director.Reached(s.elapsed(), n.node, *n.reached)
	default:
		f.director.Ended(s.elapsed(), n.node)
	}
	s.fulfil(orders)
	s.mayEnd()
}

// fulfil carries out orders, and those that follow from that, and looks for what proves
// them.
func (s *trial) fulfil(orders []faults.Order) {
	f := s.faulting
	f.fulfilling = true
	defer func() { f.fulfilling = false }()
	for len(orders) > 0 {
		order := orders[0]
		orders = orders[1:]
		s.traceOrder(&order)
		if order.Heal {
			s.concludeHealed(order.Occurrence)
		}
		carried := order
		if f.tamper != nil {
			f.tamper(&carried)
		}
		watches := s.watch(&order)
		err := s.carryOrder(&carried)
		orders = append(orders, f.director.Done(order, s.elapsed(), err)...)
		if err == nil {
			s.lookFor(watches)
		}
	}
	if at, planned := f.director.Next(); planned && !f.ended && f.begun {
		if next := max(s.now, s.loadStart+int64(at)); next < f.nextAt {
			f.nextAt = next
			s.schedule(next, eventFaults, 0)
		}
	}
}

// carryOrder carries out an order.
func (s *trial) carryOrder(order *faults.Order) error {
	for _, state := range order.Nodes {
		if err := s.setNode(state); err != nil {
			return err
		}
	}
	for _, state := range order.Links {
		if err := s.setLink(state); err != nil {
			return err
		}
	}
	for _, state := range order.Pairs {
		if err := s.setPair(state); err != nil {
			return err
		}
	}
	if order.Reconfigure != nil {
		return s.reconfigure(order.Reconfigure)
	}
	return nil
}

// reconfigure hands a change of the configuration to the first of the nodes that answers.
func (s *trial) reconfigure(r *faults.Reconfiguration) error {
	if s.protocol.Reconfigure == nil {
		return fmt.Errorf("reconfiguring: protocol %s can't", s.protocol.Name)
	}
	for _, name := range r.Nodes {
		p, known := s.byName(name)
		if !known || !p.serves || p.machine == nil || p.condition.still() {
			continue
		}
		operation, err := s.protocol.Reconfigure(s.config(p), r.Change)
		if err != nil {
			return fmt.Errorf("reconfiguring at %s: %w", name, err)
		}
		s.trace.event(s.now, markReconfigure, p.index, 0)
		now := uint64(s.now)
		s.deliver(p, delivery{kind: deliverMessage, from: p.index, message: consensus.Request{Command: consensus.Command{
			Kind: consensus.KindReconfigure, Client: consensus.NewClientID(p.node.ID, math.MaxUint32),
			Sequence: now, FirstUnanswered: now, Operation: operation,
		}}})
		return nil
	}
	return fmt.Errorf("reconfiguring: none of %q lives", r.Nodes)
}

// traceOrder chains all that an order says into the trace.
func (s *trial) traceOrder(order *faults.Order) {
	s.trace.event(s.now, markOrder, int32(order.Occurrence), s.fingerprint(order))
}

// fingerprint is a hash of a value's JSON.
func (s *trial) fingerprint(value any) uint64 {
	text, err := json.Marshal(value)
	if err != nil {
		s.fail(fmt.Errorf("what faults do can't be written down: %w", err))
	}
	hash := fnv.New64a()
	_, _ = hash.Write(text)
	return hash.Sum64()
}
