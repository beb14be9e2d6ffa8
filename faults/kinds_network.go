package faults

import (
	"slices"

	"quorumlab/topologies"
)

func init() {
	for _, kind := range []*Kind{linkDown(), isolate(), isolateSubtree(), cut(), partition(), majoritiesRing(), bridge(), degrade()} {
		Register(kind)
	}
}

const linkEvidence = "what the link carries, by its counters or by probes, beside what it shall"

func linkDown() *Kind {
	return &Kind{
		Name: "link_down", Hits: HitsLinks,
		Summary:  "takes links down, in both directions or in those that leave the ends named by `from`",
		Evidence: linkEvidence,
		Ways:     [][]Parameter{{ParameterLinks}}, Takes: []Parameter{ParameterEnds}, Lasts: true,
		Effects: func(scene *Scene) Effects {
			effects := Effects{Links: scene.links(scene.chosen(), LinkEffect{Down: true})}
			if !scene.probing {
				effects.Hit = scene.fewer(scene.view.parts(effects.Links))
			}
			return effects
		},
	}
}

func isolate() *Kind {
	return &Kind{
		Name: "isolate", Hits: HitsLinks,
		Summary:  "takes all links of a node's host down",
		Evidence: linkEvidence,
		Ways:     [][]Parameter{{ParameterWhom}}, Lasts: true,
		Effects: func(scene *Scene) Effects {
			return Effects{Links: scene.links(scene.ofNodes(), LinkEffect{Down: true}), Hit: scene.on(scene.Hosts(scene.Nodes))}
		},
	}
}

func isolateSubtree() *Kind {
	return &Kind{
		Name: "isolate_subtree", Hits: HitsLinks,
		Summary:  "takes the link down that leads from a switch towards the root, the topology's first switch",
		Evidence: linkEvidence,
		Ways:     [][]Parameter{{ParameterSwitch}}, Lasts: true,
		Check: checkSubtree,
		Effects: func(scene *Scene) Effects {
			link, ok := scene.view.uplink(scene.Fault.Switch)
			if !ok {
				return Effects{}
			}
			links := []LinkEffect{{Link: scene.World.Topology.Links[link].Name, Down: true}}
			return Effects{Links: links, Hit: scene.on(scene.view.below(scene.Fault.Switch, links))}
		},
	}
}

// chosen are the directions of links that Links and LinksFrom name.
func (s *Scene) chosen() []LinkEffect {
	var directions []LinkEffect
	for _, i := range s.view.matching(s.Fault.Links) {
		link := s.World.Topology.Links[i]
		if len(s.Fault.LinksFrom) == 0 {
			directions = append(directions, LinkEffect{Link: link.Name})
			continue
		}
		for _, end := range []string{link.A, link.B} {
			if matches(s.Fault.LinksFrom, end) {
				directions = append(directions, LinkEffect{Link: link.Name, From: end})
			}
		}
	}
	return directions
}

// ofNodes are the links of the hosts of Nodes, each once.
func (s *Scene) ofNodes() []LinkEffect {
	var links []LinkEffect
	for _, host := range s.Hosts(s.Nodes) {
		for _, name := range s.LinksOf(host) {
			if !slices.ContainsFunc(links, func(l LinkEffect) bool { return l.Link == name }) {
				links = append(links, LinkEffect{Link: name})
			}
		}
	}
	return links
}

// links gives all the directions one effect.
func (s *Scene) links(directions []LinkEffect, effect LinkEffect) []LinkEffect {
	for i := range directions {
		directions[i].Down, directions[i].Lay = effect.Down, effect.Lay
	}
	return directions
}

const cutEvidence = "no frame gets from one host to the other, and later some do"

func cut() *Kind {
	return &Kind{
		Name: "cut", Hits: HitsPairs,
		Summary:  "loses all frames from some hosts to others, one way",
		Evidence: cutEvidence,
		Ways:     [][]Parameter{{ParameterFrom, ParameterTo}}, Lasts: true,
		Effects: func(scene *Scene) Effects {
			pairs := pairSet{probing: scene.probing}
			pairs.cross(scene.Hosts(scene.From), scene.Hosts(scene.To), &topologies.Parameters{Down: true})
			return Effects{Pairs: pairs.effects}
		},
	}
}

// pairSet collects pairs of different hosts, each once.
type pairSet struct {
	effects []PairEffect
	has     map[[2]string]bool
	// probing: one will do.
	probing bool
}

func (s *pairSet) add(from, to string, parameters *topologies.Parameters) {
	if from == to || s.full() || s.has[[2]string{from, to}] {
		return
	}
	if s.has == nil {
		s.has = map[[2]string]bool{}
	}
	s.has[[2]string{from, to}] = true
	s.effects = append(s.effects, PairEffect{From: from, To: to, Parameters: parameters})
}

// full tells whether there are enough of them.
func (s *pairSet) full() bool { return s.probing && len(s.effects) > 0 }

// cross adds the pairs from each of some hosts to each of others.
func (s *pairSet) cross(from, to []string, parameters *topologies.Parameters) {
	for _, a := range from {
		if s.full() {
			return
		}
		for _, b := range to {
			s.add(a, b, parameters)
		}
	}
}

// divide cuts the sides off from each other, both ways. A host on several sides is on the
// first of them.
func (s *Scene) divide(sides [][]string) Effects {
	pairs := pairSet{probing: s.probing}
	var placed []string
	for i := range sides {
		sides[i] = without(sides[i], placed)
		placed = append(placed, sides[i]...)
	}
	down := &topologies.Parameters{Down: true}
	for i, one := range sides {
		for _, other := range sides[i+1:] {
			pairs.cross(one, other, down)
			pairs.cross(other, one, down)
		}
	}
	return Effects{Pairs: pairs.effects}
}

func partition() *Kind {
	return &Kind{
		Name: "partition", Hits: HitsPairs,
		Summary:  "cuts groups of hosts off from each other, or (`whom`) some hosts from those of all other servers; hosts in no group reach all",
		Evidence: cutEvidence,
		Ways:     [][]Parameter{{ParameterGroups}, {ParameterWhom}}, Lasts: true,
		Effects: func(scene *Scene) Effects {
			var sides [][]string
			for _, group := range scene.Groups {
				sides = append(sides, scene.Hosts(group))
			}
			if sides == nil {
				side := scene.Hosts(scene.Nodes)
				effects := scene.divide([][]string{side, scene.OtherHosts(side)})
				effects.Hit = scene.on(side)
				return effects
			}
			effects := scene.divide(sides) // which puts each host on one side
			effects.Hit = scene.fewer(sides)
			return effects
		},
	}
}

func bridge() *Kind {
	return &Kind{
		Name: "bridge", Hits: HitsPairs,
		Summary:  "cuts the other servers' hosts into two halves, drawn from the seed, that only the bridge sees both of",
		Evidence: cutEvidence,
		Ways:     [][]Parameter{{ParameterWhom}}, Lasts: true,
		Effects: func(scene *Scene) Effects {
			if len(scene.Nodes) == 0 {
				return Effects{}
			}
			others := shuffled(scene.OtherHosts(scene.Hosts(scene.Nodes)), scene.Random)
			return scene.divide([][]string{others[:len(others)/2], others[len(others)/2:]})
		},
	}
}

func majoritiesRing() *Kind {
	return &Kind{
		Name: "majorities_ring", Hits: HitsPairs,
		Summary:  "cuts hosts off from each other so that each sees a majority of them, and no two the same; their order on the ring is drawn from the seed",
		Evidence: cutEvidence,
		Ways:     [][]Parameter{{}}, Takes: []Parameter{ParameterWhom}, Whom: SetVoters, Lasts: true,
		Effects: func(scene *Scene) Effects {
			ring := shuffled(scene.Hosts(scene.Nodes), scene.Random)
			if len(ring) < 3 {
				return Effects{}
			}
			if scene.probing {
				ring = ring[:3]
			}
			sees := ringSees(len(ring))
			down := &topologies.Parameters{Down: true}
			pairs := pairSet{probing: scene.probing}
			for i := range ring {
				for j := range ring {
					if !sees[i][j] {
						pairs.add(ring[i], ring[j], down)
					}
				}
			}
			return Effects{Pairs: pairs.effects}
		},
	}
}

// ringSees tells who sees whom, n at least 3: each those next to it on both sides, as many
// as a majority takes; where that leaves one missing, also the one across the ring. What
// one sees, sees it.
func ringSees(n int) [][]bool {
	sees := make([][]bool, n)
	for i := range sees {
		sees[i] = make([]bool, n)
	}
	join := func(i, j int) { sees[i%n][j%n], sees[j%n][i%n] = true, true }
	others := n / 2 // of a majority, itself excepted
	for i := range n {
		for distance := range others/2 + 1 {
			join(i, i+distance)
		}
	}
	if others%2 == 1 {
		for i := range n / 2 {
			join(i, i+n/2)
		}
		join(n-1, n-1+n/2) // whom n odd leaves over; with n even they are joined already
	}
	return sees
}

func degrade() *Kind {
	return &Kind{
		Name: "degrade", Hits: HitsLinks,
		Summary:  "changes what `links`, or all links of a node's host (`whom`), do to frames, or adds a stage for frames `from` some hosts `to` others, one way; takes any key of a link",
		Evidence: "delays, losses and rates of frames, measured, beside what they shall be",
		Ways: [][]Parameter{
			{ParameterLinks, ParameterLink}, {ParameterWhom, ParameterLink}, {ParameterFrom, ParameterTo, ParameterLink},
		},
		Takes: []Parameter{ParameterEnds}, Lasts: true,
		Check:   checkDegrade,
		Effects: degrading,
	}
}

func degrading(scene *Scene) Effects {
	lay := scene.Fault.Parameters.Link
	switch {
	case len(scene.Fault.Links) > 0:
		links := scene.links(scene.chosen(), LinkEffect{Lay: lay})
		return Effects{Links: links, Hit: scene.on(scene.allLinksIn(links))}
	case len(scene.Fault.Whom) > 0:
		return Effects{Links: scene.links(scene.ofNodes(), LinkEffect{Lay: lay}), Hit: scene.on(scene.Hosts(scene.Nodes))}
	}
	stage := lay(topologies.Parameters{})
	pairs := pairSet{probing: scene.probing}
	pairs.cross(scene.Hosts(scene.From), scene.Hosts(scene.To), &stage)
	return Effects{Pairs: pairs.effects}
}
