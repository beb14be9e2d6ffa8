package sim

import (
	"fmt"
	"slices"
	"strings"

	"quorumlab/faults"
	"quorumlab/harness/engine"
	"quorumlab/harness/link"
	"quorumlab/topologies"
)

// setLink gives both directions of a link other parameters. What has come to the link by
// now went by those of before; frames that are on their way keep it. If a direction
// goes down or comes up, frames that are sent later take the routes that there are then.
func (s *trial) setLink(state faults.LinkState) error {
	n := s.network
	i := slices.IndexFunc(n.topology.Links, func(l topologies.Link) bool { return l.Name == state.Link })
	if i < 0 {
		return fmt.Errorf("there is no link %q", state.Link)
	}
	parameters := [2]topologies.Parameters{state.AToB, state.BToA}
	for _, p := range parameters {
		if err := p.Check(); err != nil {
			return fmt.Errorf("link %s: %w", state.Link, err)
		}
	}
	s.trace.event(s.now, markLink, int32(i), 0)
	t := *n.topology
	t.Links = slices.Clone(t.Links)
	changed := &t.Links[i]
	rerouted := changed.AToB.Down != state.AToB.Down || changed.BToA.Down != state.BToA.Down
	changed.AToB, changed.BToA = state.AToB, state.BToA
	n.topology = &t
	for reverse, p := range parameters {
		s.changeDirection(int32(2*i+reverse), p)
	}
	if rerouted {
		n.routes = mustRoutes(&t)
		n.routed++
	}
	return nil
}

// changeDirection gives a direction other parameters. What has come by now goes by those
// of before.
func (s *trial) changeDirection(index int32, p topologies.Parameters) {
	d := &s.network.directions[index]
	s.enter(d, index)
	d.change(s.network.modelled(p))
	s.attend(d, index)
}

// pair is two hosts, one way.
type pair struct{ from, to int }

// setPair changes what frames from one host to another pass before they enter the
// network. What has passed it keeps its time, and a stage that does nothing any more
// still keeps frames from overtaking what is on its way through it.
func (s *trial) setPair(state faults.PairState) error {
	n := s.network
	between := pair{n.host(state.From), n.host(state.To)}
	if between.from < 0 || between.to < 0 || between.from == between.to {
		return fmt.Errorf("frames from %q to %q can't be changed, want two hosts", state.From, state.To)
	}
	var parameters topologies.Parameters
	if state.Parameters != nil {
		parameters = *state.Parameters
	}
	if err := parameters.Check(); err != nil {
		return fmt.Errorf("frames from %s to %s: %w", state.From, state.To, err)
	}
	s.trace.event(s.now, markPair, int32(between.from), uint64(between.to))
	if known, ok := n.stages[between]; ok {
		s.changeDirection(known, parameters)
		return nil
	}
	seed := link.PairSeed(s.simulation.Seed, state.From, state.To)
	if n.stages == nil {
		n.stages = map[pair]int32{}
	}
	n.stages[between] = int32(len(n.directions))
	n.directions = append(n.directions, newDirection(n.modelled(parameters), seed, true))
	n.routed++ // ways begin with it from now on
	return nil
}

// host is the index of the host of that name, or none.
func (n *network) host(name string) int {
	return slices.IndexFunc(n.topology.Hosts, func(h topologies.Host) bool { return h.Name == name })
}

// directionsBetween are those from one host to another as they are now, the stage between the
// two first; false if there are none even with all links up.
func (n *network) directionsBetween(from, to int) (directions []int32, ok bool) {
	directions, ok = n.routes.way(from, to)
	if stage, staged := n.stages[pair{from, to}]; staged && from != to {
		directions = slices.Insert(slices.Clone(directions), 0, stage)
	}
	return directions, ok
}

// reportPairs counts what the stages between hosts did, in the order of their names.
func (n *network) reportPairs() (reports []engine.DirectionReport) {
	hosts := n.topology.Hosts
	for between, index := range n.stages {
		from, to := hosts[between.from].Name, hosts[between.to].Name
		reports = append(reports, n.directions[index].report(from+">"+to, from, to))
	}
	slices.SortFunc(reports, func(a, b engine.DirectionReport) int { return strings.Compare(a.Link, b.Link) })
	return reports
}
