package faults

import (
	"encoding/json"

	"quorumlab/topologies"
)

// Effects are what one occurrence of a fault does.
type Effects struct {
	Nodes []NodeEffect
	Links []LinkEffect
	Pairs []PairEffect
	// Hit are processes that are hit without an effect on themselves: those that effects on
	// links or pairs cut off from most servers, or whose roles a change gives or takes.
	Hit []string
	// Change, unless empty, is a change of the configuration in the protocol's own JSON.
	Change json.RawMessage
	// Heals are the IDs of faults whose active occurrences are healed.
	Heals []string
}

// NodeEffect is what happens to one process.
type NodeEffect struct {
	Node string
	// Apply lays the effect over what faults before it have made of the node's state.
	Apply func(state *NodeState)
	// Expect is what proves it, and its healing.
	Expect []Expectation
	// Ends is true for what makes the process end by itself, so that it has to be started
	// again when this is healed.
	Ends bool
}

// LinkEffect is what happens to a link.
type LinkEffect struct {
	Link string
	// From is the end that a direction leaves; empty means both directions.
	From string
	// Down takes the link down; else Lay is laid over its parameters.
	Down bool
	Lay  func(topologies.Parameters) topologies.Parameters
}

// PairEffect is what happens to frames from one host to another, which are different
// hosts. Pairs may share Parameters; nobody changes them.
type PairEffect struct {
	From, To   string
	Parameters *topologies.Parameters
}

// changes tells whether the effect is about the direction that leaves the end.
func (e LinkEffect) changes(end string) bool { return e.From == "" || e.From == end }

func (e LinkEffect) apply(p topologies.Parameters) topologies.Parameters {
	if e.Down {
		p.Down = true
		return p
	}
	laid := e.Lay(p)
	laid.Down = p.Down || laid.Down
	return laid
}

// none tells whether nothing happens at all.
func (e *Effects) none() bool {
	return len(e.Nodes)+len(e.Links)+len(e.Pairs)+len(e.Change)+len(e.Heals) == 0
}
