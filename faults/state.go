package faults

import (
	"slices"
	"time"

	"quorumlab/node/control"
	"quorumlab/topologies"
)

// occurrence is a fault that fired, or a failpoint that is armed.
type occurrence struct {
	index, number int
	entry         *entry
	cause, leader string
	effects       Effects
	// byNode and so on index effects by what they hit.
	byNode map[string]int
	byLink map[string][]int
	byPair map[[2]string]int

	// armed are the nodes whose failpoint is armed on its behalf; hit is true once it
	// fired. late is who came to it last when it was disarmed.
	armed []string
	hit   bool
	late  string
	// active is true until it is healed, healing from then on.
	active, healing bool
	// heals are those that it heals, if it is of such a kind.
	heals   []*occurrence
	expects []*expected

	requested, applied, healRequested, healed *time.Duration
	evidence                                  []observed
	failed                                    string
}

// index makes the effects easy to find.
func (o *occurrence) indexed() {
	o.byNode, o.byLink, o.byPair = map[string]int{}, map[string][]int{}, map[[2]string]int{}
	for i, e := range o.effects.Nodes {
		o.byNode[e.Node] = i
	}
	for i, e := range o.effects.Links {
		o.byLink[e.Link] = append(o.byLink[e.Link], i)
	}
	for i, e := range o.effects.Pairs {
		o.byPair[[2]string{e.From, e.To}] = i
	}
}

// network tells whether it hits links or pairs.
func (o *occurrence) network() bool { return len(o.effects.Links)+len(o.effects.Pairs) > 0 }

// node is the state that all active effects, but those of one occurrence, make of a node.
func (d *Director) node(name string, without *occurrence) NodeState {
	state := NodeState{Node: name, CPUShare: 1}
	for _, o := range d.active {
		if i, ok := o.byNode[name]; ok && o != without {
			o.effects.Nodes[i].Apply(&state)
		}
	}
	for _, e := range d.entries {
		if o := e.armed; o != nil && slices.Contains(o.armed, name) {
			state.Injection.Failpoints = append(state.Injection.Failpoints, e.failpoint(o))
		}
	}
	return state
}

// link is likewise what a direction of a link is like.
func (d *Director) link(name, from string, without *occurrence) topologies.Parameters {
	link := d.view.Topology.Links[d.view.links[name]]
	p := link.AToB
	if from == link.B {
		p = link.BToA
	}
	for _, o := range d.active {
		if o == without {
			continue
		}
		for _, i := range o.byLink[name] {
			if e := o.effects.Links[i]; e.changes(from) {
				p = e.apply(p)
			}
		}
	}
	return p
}

// linkState is both directions of a link.
func (d *Director) linkState(name string) LinkState {
	link := d.view.Topology.Links[d.view.links[name]]
	return LinkState{Link: name, AToB: d.link(name, link.A, nil), BToA: d.link(name, link.B, nil)}
}

// pair is likewise what frames from one host to another pass; nil if nothing.
func (d *Director) pair(from, to string, without *occurrence) *topologies.Parameters {
	var p *topologies.Parameters
	for _, o := range d.active {
		i, ok := o.byPair[[2]string{from, to}]
		if !ok || o == without || p != nil && p.Down {
			continue
		}
		p = o.effects.Pairs[i].Parameters
	}
	return p
}

// stalled tells whether a node hangs at a failpoint.
func (d *Director) stalled(node string) bool {
	for _, o := range d.active {
		if _, ok := o.byNode[node]; ok && o.entry.stalls() {
			return true
		}
	}
	return false
}

// up tells whether a node's process lives, or is about to.
func (d *Director) up(node string) bool { return !d.ended[node] && !d.node(node, nil).Down }

// unstall forgets that a process hung, since it is gone. One that is started again must
// not hang there again.
func (d *Director) unstall(node string) {
	for _, o := range d.active {
		if i, ok := o.byNode[node]; ok && o.entry.stalls() {
			o.effects.Nodes[i].Apply = func(*NodeState) {}
			delete(o.byNode, node)
		}
	}
}

// endsByItself tells whether a fault makes a node's process end by itself.
func (d *Director) endsByItself(node string) bool {
	return slices.ContainsFunc(d.active, func(o *occurrence) bool {
		i, ok := o.byNode[node]
		return ok && o.effects.Nodes[i].Ends
	})
}

// order has the whole states of all that an occurrence touches, and of further nodes.
func (d *Director) order(o *occurrence, heals bool, at time.Duration, nodes ...string) Order {
	order := Order{Occurrence: o.index, Heal: heals, Requested: at}
	for _, e := range o.effects.Nodes {
		nodes = append(nodes, e.Node)
	}
	slices.Sort(nodes)
	for _, node := range slices.Compact(nodes) {
		order.Nodes = append(order.Nodes, d.node(node, nil))
	}
	var links []string
	for _, e := range o.effects.Links {
		links = append(links, e.Link)
	}
	slices.Sort(links)
	for _, link := range slices.Compact(links) {
		order.Links = append(order.Links, d.linkState(link))
	}
	var pairs [][2]string
	for _, e := range o.effects.Pairs {
		pairs = append(pairs, [2]string{e.From, e.To})
	}
	slices.SortFunc(pairs, func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
	for _, pair := range pairs {
		order.Pairs = append(order.Pairs, PairState{From: pair[0], To: pair[1], Parameters: d.pair(pair[0], pair[1], nil)})
	}
	return order
}

// failpoint is the entry's as a node is told: whatever the kind does, the node stands still
// there until the director has decided whether it is the one that is hit.
func (e *entry) failpoint(o *occurrence) control.Failpoint {
	point := *e.fault.Trigger.Failpoint
	point.ID, point.Action = o.pointID(), control.ActionStall
	return point
}

// stalls tells whether the entry leaves processes hanging at a failpoint.
func (e *entry) stalls() bool {
	return e.fault.Trigger.Failpoint != nil && e.kind.Failpoint == control.ActionStall
}
