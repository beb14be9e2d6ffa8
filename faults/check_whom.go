package faults

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"quorumlab/topologies"
)

// whom checks all selectors of an entry.
func (c *checker) whom(f Fault, kind *Kind) {
	clients := kind.Hits == HitsLinks || kind.Hits == HitsPairs
	c.selectors("whom", f.Whom, clients)
	c.selectors("from", f.From, true)
	c.selectors("to", f.To, true)
	for i, group := range f.Groups {
		key := fmt.Sprintf("groups.%d", i)
		if len(group) == 0 {
			c.bad(key, "an empty list", "selectors of the nodes of the group")
		}
		c.selectors(key, group, true)
	}
	if on := f.Trigger.On; on != nil {
		c.selectors("on.node", on.Nodes, false)
	}
	if len(f.Groups) == 1 {
		c.say("groups", "there is one group", "at least two, such as [[leader], [followers]]")
	}
	c.overlaps(f)
}

// selectors checks some; clients tells whether they may be hit.
func (c *checker) selectors(key string, texts []string, clients bool) {
	for i, text := range texts {
		at := item(key, i, len(texts))
		selector, err := ParseSelector(text)
		if err != nil {
			c.bad(at, fmt.Sprintf("%q", text), wantSelector)
			continue
		}
		if !c.known(at, text, selector) {
			continue
		}
		set, known := c.static([]Selector{{Set: selector.Set, Region: selector.Region}})
		if !clients && slices.ContainsFunc(set, func(node string) bool { return slices.Contains(c.view.clients, node) }) {
			c.bad(at, text, "processes other than clients, which only faults of the network can hit")
			continue
		}
		n := len(set)
		switch selector.Set {
		case SetLeader:
			n, known = 1, true
		case SetFollowers:
			n, known = len(c.members.of(c.view.roles(leads)...))-1, true
		}
		if known && !(c.changing && n > 0) {
			c.size(at, text, selector, n)
		}
	}
}

// known refuses sets that the cluster doesn't have.
func (c *checker) known(at, text string, selector Selector) bool {
	v := c.view
	var roles []string
	for _, role := range append(v.roles(anyRole), roleClient) {
		roles = append(roles, plural(role))
	}
	switch set := selector.Set; {
	case set == SetAll, set == SetVoters:
	case set == SetLeader, set == SetFollowers:
		if len(v.roles(leads)) == 0 && v.Protocol != nil {
			c.bad(at, text, fmt.Sprintf("another selector: %s has no role that leads", v.Protocol.Name))
			return false
		}
	case set == SetRegion:
		if !v.isRegion(selector.Region) {
			regions := v.regions()
			if len(regions) == 0 {
				c.bad(at, text, "another selector: no switch of the topology has hosts")
			} else {
				c.bad(at, text, "region(NAME) of a region, or a switch, that has hosts: "+list(regions))
			}
			return false
		}
	default:
		_, isNode := v.nodes[set]
		if !isNode && !slices.Contains(roles, set) {
			want := wantSelector
			if slices.Contains(roles, plural(set)) {
				want = "the role in the plural: " + plural(set)
			} else if len(v.servers) > 0 {
				want = fmt.Sprintf("leader, followers, voters, all, one of %s, a node such as %s, or region(NAME)", strings.Join(roles, ", "), v.servers[0])
			}
			c.bad(at, text, want)
			return false
		}
	}
	return true
}

// size refuses selectors that match nobody, or pick more than there are.
func (c *checker) size(at, text string, selector Selector, n int) {
	switch {
	case n == 0:
		c.say(at, fmt.Sprintf("%s matches nobody", text), "a selector that matches some process")
	case selector.Pick == PickRandom && selector.Count > n:
		c.say(at, fmt.Sprintf("%s picks %d of %d", text, selector.Count, n), fmt.Sprintf("at most random(%d)", n))
	case selector.Pick == PickMinority && n < 3:
		c.say(at, fmt.Sprintf("%s matches nobody: a minority of %d is 0", text, n), "at least 3 processes, or another selector")
	}
}

// static resolves selectors as far as that is known before the trial: false if who leads, or
// a draw, decides.
func (c *checker) static(selectors []Selector) (nodes []string, known bool) {
	all := &cast{members: c.members}
	known = true
	var plain []Selector
	for _, s := range selectors {
		switch {
		case s.Pick != "", s.Set == SetLeader, s.Set == SetFollowers:
			known = false
		default:
			plain = append(plain, s)
		}
	}
	return all.resolve(plain), known
}

// overlaps refuses groups of a partition that share a host.
func (c *checker) overlaps(f Fault) {
	var taken [][]string
	for i, group := range f.Groups {
		var selectors []Selector
		for _, text := range group {
			if selector, err := ParseSelector(text); err == nil {
				selectors = append(selectors, selector)
			}
		}
		nodes, _ := c.static(selectors)
		hosts := c.view.hosts(nodes)
		for j, others := range taken {
			for _, host := range hosts {
				if slices.Contains(others, host) {
					c.say(fmt.Sprintf("groups.%d", i), fmt.Sprintf("the groups %d and %d both have host %s (%s)", j+1, i+1, host, list(c.on(host))), "each host in one group")
					return
				}
			}
		}
		taken = append(taken, hosts)
	}
	c.surelyOverlaps(f)
}

// surelyOverlaps refuses groups of which one has all hosts that another one's leader,
// followers or pick can be on, whoever that will be.
func (c *checker) surelyOverlaps(f Fault) {
	if c.changing {
		return
	}
	for i, group := range f.Groups {
		for _, text := range group {
			selector, err := ParseSelector(text)
			if err != nil {
				continue
			}
			if _, known := c.static([]Selector{selector}); known {
				continue
			}
			hosts := c.view.hosts(c.most([]string{text}))
			for j, other := range f.Groups {
				same := selector.Pick == "" && slices.Contains(other, text)
				if j == i || len(hosts) == 0 || !same && len(without(hosts, c.view.hosts(c.least(other)))) > 0 {
					continue
				}
				c.say(fmt.Sprintf("groups.%d", max(i, j)), fmt.Sprintf("the groups %d and %d overlap: group %d has %s, whoever that is", min(i, j)+1, max(i, j)+1, j+1, text),
					"each host in one group, such as [[leader], [followers]]")
				return
			}
		}
	}
}

// least are the nodes that selectors are known to mean beforehand.
func (c *checker) least(texts []string) []string {
	nodes, _ := c.static(c.parsed(texts))
	return nodes
}

// most are all nodes that selectors may mean.
func (c *checker) most(texts []string) []string {
	selectors := c.parsed(texts)
	members := c.members
	if c.changing { // spares may be called upon
		world := c.view.World
		world.Cluster.Nodes = slices.Clone(world.Cluster.Nodes)
		for i := range world.Cluster.Nodes {
			world.Cluster.Nodes[i].Spare = false
		}
		members = newMembership(newView(world))
	}
	all := &cast{members: members, leaders: func() []string { return nil }}
	for i := range selectors {
		selectors[i].Pick = ""
		if selectors[i].Set == SetLeader {
			selectors[i].Set = SetFollowers // of nobody, that is all who can lead
		}
	}
	return all.resolve(selectors)
}

// parsed leaves out what is no selector, which is said elsewhere.
func (c *checker) parsed(texts []string) []Selector {
	var selectors []Selector
	for _, text := range texts {
		if selector, err := ParseSelector(text); err == nil {
			selectors = append(selectors, selector)
		}
	}
	return selectors
}

// oneHost refuses to divide processes that share one host, whoever they will be.
func (c *checker) oneHost(f Fault, kind *Kind) {
	var from, to []string
	switch {
	case kind.Name == "cut" || kind.Name == "degrade" && len(f.To) > 0:
		from, to = c.most(f.From), c.most(f.To)
	case kind.Name == "partition" && len(f.Groups) > 0:
		from = c.most(slices.Concat(f.Groups...))
		to = from
	case kind.Name == "partition":
		from, to = c.view.servers, c.view.servers
	default:
		return
	}
	for _, a := range c.view.hosts(from) {
		if len(without(c.view.hosts(to), []string{a})) > 0 {
			return
		}
	}
	c.say("", fmt.Sprintf("%s would hit nobody: all of these processes share a host", kind.Name), nothingToChange(kind))
}

// membershipInOrder refuses to remove the last process of a role, once the changes before
// are carried out. It is known if each happens once, at a time, and names whom.
func (c *checker) membershipInOrder() {
	var order []int
	for i, f := range c.schedule {
		if kind, ok := Lookup(f.Kind); !ok || kind.Hits != HitsCluster || f.Fault != "" {
			continue
		}
		_, known := c.static(c.parsed(f.Whom))
		if !known || f.Trigger.At == nil || f.Trigger.Every != 0 {
			return
		}
		order = append(order, i)
	}
	if len(order) < 2 || len(c.problems) > 0 {
		return // one alone has been looked at
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(*c.schedule[i].Trigger.At, *c.schedule[j].Trigger.At) })
	members := newMembership(c.view)
	for _, i := range order {
		f := c.schedule[i]
		change := f.Change
		if f.Kind != "reconfigure" {
			nodes := (&cast{members: members}).resolve(c.parsed(f.Whom))
			change = members.change(nodes, f.Role, f.Kind == "add_server")
			in := func(node string) bool { return slices.Contains(members.of(c.view.roles(replaceable)...), node) }
			if change == nil && f.Kind == "remove_server" && slices.ContainsFunc(nodes, in) {
				kind, _ := Lookup(f.Kind)
				c.at = i
				c.say("whom", fmt.Sprintf("%s would be removed, the last with its role by then", strings.Join(nodes, ", ")), nothingToChange(kind))
				return
			}
		}
		members.adopt(change)
	}
}

// on are the processes on a host.
func (c *checker) on(host string) []string {
	var nodes []string
	for _, node := range c.view.Cluster.Nodes {
		if c.view.Hosts[node.Name] == host {
			nodes = append(nodes, node.Name)
		}
	}
	return nodes
}

// checkSubtree checks the switch of isolate_subtree.
func checkSubtree(fault Fault, world World) []Problem {
	v := newView(world)
	if v.Topology == nil {
		return nil
	}
	switches := v.Topology.Switches
	bad := func(want string) []Problem { return []Problem{{Key: "switch", Value: fault.Switch, Want: want}} }
	if len(switches) < 2 {
		return bad("a topology with several switches")
	}
	root, others := switches[0], switches[1:]
	if !slices.Contains(switches, fault.Switch) {
		return bad("one of " + list(others))
	}
	if fault.Switch == root {
		return bad(fmt.Sprintf("another switch than %s, the root: %s", root, list(others)))
	}
	if _, reached := v.towardsRoot(fault.Switch, -1); !reached {
		return bad("a switch from which links lead to " + root)
	}
	if _, ok := v.uplink(fault.Switch); !ok {
		return bad("a switch with one way to " + root + "; from this one several lead there, so that there is no subtree")
	}
	return nil
}

// checkDegrade checks what links would be like, where it is known which.
func checkDegrade(fault Fault, world World) []Problem {
	v := newView(world)
	scene := &Scene{Fault: fault, World: world, view: v, members: newMembership(v)}
	for _, text := range fault.Whom {
		if _, ok := v.nodes[text]; ok {
			scene.Nodes = append(scene.Nodes, text)
		}
	}
	if v.Topology == nil {
		return nil
	}
	lay := fault.Parameters.Link
	if len(fault.Links)+len(fault.Whom) == 0 {
		return wrongLink(lay(topologies.Parameters{}), "frames between hosts")
	}
	for _, e := range degrading(scene).Links {
		link := v.Topology.Links[v.links[e.Link]]
		for _, direction := range []struct {
			end string
			p   topologies.Parameters
		}{{link.A, link.AToB}, {link.B, link.BToA}} {
			if e.changes(direction.end) {
				if problems := wrongLink(e.apply(direction.p), "link "+link.Name); problems != nil {
					return problems
				}
			}
		}
	}
	return nil
}

func wrongLink(p topologies.Parameters, what string) []Problem {
	err := p.Check()
	if err == nil {
		return nil
	}
	var bad *topologies.ParameterError
	if errors.As(err, &bad) {
		return []Problem{{Key: bad.Field, Value: bad.Value, Want: bad.Want}}
	}
	return []Problem{{Message: what + ": " + err.Error()}}
}
