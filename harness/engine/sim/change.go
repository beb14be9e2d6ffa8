package sim

import (
	"fmt"
	"slices"

	"quorumlab/harness/engine"
	"quorumlab/topologies"
)

// planLink checks a change of a link.
func (s *trial) planLink(a engine.Action) error {
	i := slices.IndexFunc(s.network.topology.Links, func(l topologies.Link) bool { return l.Name == a.Link })
	if i < 0 {
		return fmt.Errorf("an action is for link %q, want the name of one of the topology's", a.Link)
	}
	planned := action{at: int64(a.At), kind: a.Kind, link: i, parameters: [2]topologies.Parameters{a.AToB, a.BToA}}
	for _, p := range planned.parameters {
		if err := p.Check(); err != nil {
			return fmt.Errorf("an action for link %s: %w", a.Link, err)
		}
	}
	s.actions = append(s.actions, planned)
	return nil
}

// changeLink gives both directions of a link other parameters. What has come to the
// link by now went by those of before; frames that are on their way keep it. If a
// direction goes down or comes up, frames that are sent later take the routes that
// there are then.
func (s *trial) changeLink(a *action) {
	n := s.network
	s.trace.event(s.now, markLink, int32(a.link), 0)
	t := *n.topology
	t.Links = slices.Clone(t.Links)
	changed := &t.Links[a.link]
	rerouted := changed.AToB.Down != a.parameters[0].Down || changed.BToA.Down != a.parameters[1].Down
	changed.AToB, changed.BToA = a.parameters[0], a.parameters[1]
	n.topology = &t
	for i, p := range a.parameters {
		index := int32(2*a.link + i)
		d := &n.directions[index]
		s.enter(d, index)
		d.change(n.modelled(p))
		s.attend(d, index)
	}
	if rerouted {
		n.routes = mustRoutes(&t)
		n.routed++
	}
}
