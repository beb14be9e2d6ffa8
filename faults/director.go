package faults

import (
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
	// Transport is that of the experiment (engine sim), Engine "sim" or the name of
	// another; empty where it isn't known yet.
	Engine string
}

// Leaders says who leads now, the one with the highest ballot, term or view first.
type Leaders func() []string

// Director is one trial's schedule under way. It isn't safe for use by several goroutines.
type Director struct{}

// NewDirector begins a schedule that Check has nothing against. Leaders is asked when a
// fault fires that has to know.
func NewDirector(schedule []Fault, world World, seed uint64, leaders Leaders) *Director {
	return &Director{}
}

// Needs is what the director has to be told, for each node, from the start of its process
// on: the events that its triggers wait for. Failpoints are in the orders of Begin.
func (d *Director) Needs(node string) []control.Subscription { return nil }

// Begin arms the failpoints, before the load begins.
func (d *Director) Begin() []Order { return nil }

// Next is when Advance must be called; ok is false if nothing is planned.
func (d *Director) Next() (at time.Duration, ok bool) { return 0, false }

// Advance fires and heals what is due by now.
func (d *Director) Advance(now time.Duration) []Order { return nil }

// Observe takes an event that a node has reported because of Needs.
func (d *Director) Observe(now time.Duration, node string, trace control.Trace) []Order { return nil }

// Reached takes a failpoint that a node has reached: the node has done what it says.
func (d *Director) Reached(now time.Duration, node string, reached control.Reached) []Order {
	return nil
}

// Ended takes the end of a process that no order demanded.
func (d *Director) Ended(now time.Duration, node string) {}

// Done takes when an order was carried out (what it demanded was in force), or why it wasn't.
func (d *Director) Done(order Order, at time.Duration, err error) []Order { return nil }

// Prove takes a piece of evidence of an occurrence, and when it was observed.
func (d *Director) Prove(occurrence int, at time.Duration, evidence results.Evidence) {}

// End heals what has to be healed once the load is over; nothing fires any more.
func (d *Director) End(now time.Duration) []Order { return nil }

// State is a node's at this moment: what a process that is started again must be told.
func (d *Director) State(node string) NodeState { return NodeState{Node: node, CPUShare: 1} }

// Records are all occurrences so far, and those that never came to be.
func (d *Director) Records() []results.Fault { return nil }

// Check says what is wrong with a schedule, as far as that is known by then.
func Check(schedule []Fault, world World) []Problem { return nil }
