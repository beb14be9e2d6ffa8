package faults

import (
	"math/rand/v2"
	"slices"
)

// Scene is what a kind makes its effects of: a fault that fires, and whom it hits.
type Scene struct {
	Fault Fault
	World World
	// Nodes, From, To and Groups are what the selectors of that name have picked, each
	// node once, in the cluster's order.
	Nodes, From, To []string
	Groups          [][]string
	// Random is the occurrence's own generator.
	Random *rand.Rand

	view    *view
	members *membership
	// probing: only whether there is any effect is asked, so that one pair of hosts will do.
	// Large clusters have hundreds of thousands.
	probing bool
}

// Hosts are those of the nodes, each once, in the nodes' order.
func (s *Scene) Hosts(nodes []string) []string { return s.view.hosts(nodes) }

// OtherHosts are those of servers, the given ones excepted, in the cluster's order.
func (s *Scene) OtherHosts(hosts []string) []string {
	return without(s.view.hosts(s.view.servers), hosts)
}

// LinksOf names the links of a host, in the topology's order.
func (s *Scene) LinksOf(host string) []string {
	var names []string
	for _, link := range s.view.linksOf[host] {
		names = append(names, s.World.Topology.Links[link].Name)
	}
	return names
}

func without(names, taken []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return slices.Contains(taken, name) })
}

// cast resolves selectors: at a moment of a trial, or, with leaders and up nil, as far as
// that is known before.
type cast struct {
	members *membership
	// leaders says who leads, up whether a process is neither ended nor down.
	leaders func() []string
	up      func(node string) bool
	random  *rand.Rand
	// reachable, unless nil, restricts random picks.
	reachable func(node string) bool
	// candidates has the leader stand for all that could lead while nobody does.
	candidates bool
}

// resolve is the union of the selectors, in the cluster's order.
func (c *cast) resolve(selectors []Selector) []string {
	chosen := map[string]bool{}
	for _, selector := range selectors {
		for _, node := range c.one(selector) {
			chosen[node] = true
		}
	}
	var nodes []string
	for _, node := range c.members.view.Cluster.Nodes {
		if chosen[node.Name] {
			nodes = append(nodes, node.Name)
		}
	}
	return nodes
}

func (c *cast) one(selector Selector) []string {
	set := c.set(selector)
	n := len(set)
	switch selector.Pick {
	case PickRandom:
		if c.reachable != nil {
			set = slices.DeleteFunc(slices.Clone(set), func(node string) bool { return !c.reachable(node) })
		}
		return pick(set, selector.Count, c.random)
	case PickMajority:
		return pick(set, n/2+1, c.random)
	case PickMinority:
		alive := set
		if c.up != nil {
			alive = slices.DeleteFunc(slices.Clone(set), func(node string) bool { return !c.up(node) })
		}
		return pick(alive, (n-1)/2-(n-len(alive)), c.random)
	}
	return set
}

func (c *cast) set(selector Selector) []string {
	v := c.members.view
	switch selector.Set {
	case SetAll:
		return v.servers
	case SetVoters:
		return c.members.voters()
	case SetRegion:
		return v.inRegion(selector.Region)
	case SetLeader:
		for _, leader := range c.leaders() {
			if _, ok := v.nodes[leader]; ok {
				return []string{leader}
			}
		}
		if c.candidates {
			return c.members.of(v.roles(leads)...)
		}
		return nil
	case SetFollowers:
		return without(c.members.of(v.roles(leads)...), c.leaders())
	}
	if _, ok := v.nodes[selector.Set]; ok {
		return []string{selector.Set}
	}
	for _, role := range append(v.roles(anyRole), roleClient) {
		if selector.Set == plural(role) {
			return c.members.of(role)
		}
	}
	return nil
}

// asksLeaders tells whether who leads decides whom a selector means.
func asksLeaders(selectors []Selector) bool {
	return slices.ContainsFunc(selectors, func(s Selector) bool { return s.Set == SetLeader || s.Set == SetFollowers })
}
