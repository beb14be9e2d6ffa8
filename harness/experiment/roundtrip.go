package experiment

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"quorumlab/node/control"
	"quorumlab/topologies"
)

// standing is what matters of a host for its round trips: hosts that are alike in it
// have the same ones.
type standing struct {
	node     int // where its one link leads, or itself
	out, in  time.Duration
	protocol bool
	serves   bool
	client   bool
}

// talks tells whether processes of two hosts talk to each other: those of the protocol
// all with each other, clients with the role that serves them.
func (a standing) talks(b standing) bool {
	return a.protocol && b.protocol || a.client && b.serves || a.serves && b.client
}

// maxCompared bounds the hosts whose round trips are compared: of more that differ from
// each other, the farthest are taken and a sample of the others.
const maxCompared = 64

// checkRoundTrips refuses a network in which two processes that talk to each other are
// too far apart for TCP. All roles of the protocol are taken to talk to each other.
func (c checker) checkRoundTrips(network *topologies.Topology, a arrangement) error {
	d := newDistances(network)
	if d.allNear() {
		return nil
	}
	standings := c.spec.standings(d, a)
	var worst time.Duration
	var from, to int
	consider := func(x, y int, trip time.Duration) {
		if trip > worst && standings[x].talks(standings[y]) {
			worst, from, to = trip, min(x, y), max(x, y)
		}
	}
	if len(network.Switches) == 0 { // hosts don't forward: there are no other ways
		for i, link := range network.Links {
			x, _ := d.graph.Node(link.A)
			y, _ := d.graph.Node(link.B)
			consider(x, y, d.mean[i][0]+d.mean[i][1])
		}
	} else {
		hosts := d.representatives(standings)
		for i := len(hosts) - 1; i > 0 && worst < control.MaxRoundTrip; i-- {
			for _, y := range hosts[:i] {
				consider(hosts[i], y, d.between(hosts[i], y)+d.between(y, hosts[i]))
			}
		}
	}
	if worst < control.MaxRoundTrip {
		return nil
	}
	return c.problem(&problem{at: c.delayFields(d, from, to), message: fmt.Sprintf("a round trip between %s and %s takes %s",
		c.spec.whoIsOn(a, from), c.spec.whoIsOn(a, to), Duration(worst)),
		want: fmt.Sprintf("less than %v between processes that talk: TCP gives up after that", control.MaxRoundTrip)})
}

// whoIsOn names a host by the first process on it.
func (s *Spec) whoIsOn(a arrangement, host int) string {
	for i, member := range s.members() {
		if a.of[i] == host {
			return member.Name + " on " + a.seats[host].name
		}
	}
	return a.seats[host].name
}

// delayFields are where the greatest delay between two hosts may stand.
func (c checker) delayFields(d *distances, from, to int) []string {
	var farthest topologies.Hop
	for _, way := range [][]topologies.Hop{d.graph.From(from)[to], d.graph.From(to)[from]} {
		for _, hop := range way {
			if d.of(hop) > d.of(farthest) {
				farthest = hop
			}
		}
	}
	var fields []string
	name := d.network.Links[farthest.Link].Name
	for i, rule := range slices.Backward(c.spec.Topology.Links) {
		if rule.Delay != nil && matches(rule.Match, name) {
			return []string{join("topology.links", strconv.Itoa(i)) + ".delay"}
		}
	}
	switch c.spec.Topology.Kind {
	case KindWAN:
		if farthest.Link >= len(d.network.Hosts) {
			fields = []string{"topology.wan.rtt", "topology.wan.one_way", "topology.wan.data"}
		}
	case KindCustom:
		fields = []string{join("topology.custom.links", strconv.Itoa(farthest.Link)) + ".delay"}
	case KindFile:
		fields = []string{"topology.file"}
	}
	for _, field := range append(fields, linkPath+".delay") {
		if _, exact := c.root.find(field); exact {
			return []string{field}
		}
	}
	return []string{"topology.kind"}
}

// allNear is a quick answer: no round trip is longer than all links together, nor, where
// paths are the shortest, than those of its ends to some switch.
func (d *distances) allNear() bool {
	var all time.Duration
	shortest := d.network.Routing != topologies.RoutingHops && len(d.network.Switches) > 0
	for i, link := range d.network.Links {
		all += d.mean[i][0] + d.mean[i][1]
		shortest = shortest && d.mean[i] == [2]time.Duration{link.AToB.Delay, link.BToA.Delay}
	}
	if all < control.MaxRoundTrip || !shortest {
		return all < control.MaxRoundTrip
	}
	for _, center := range []int{0, len(d.network.Switches) / 2} {
		var farthest time.Duration
		for host := range d.network.Hosts {
			farthest = max(farthest, d.roundTrip(center, host))
		}
		if 2*farthest < control.MaxRoundTrip {
			return true
		}
	}
	return false
}

// roundTrip is that between a switch and a host.
func (d *distances) roundTrip(switchNumber, host int) time.Duration {
	node := len(d.network.Hosts) + switchNumber
	return d.between(node, host) + d.backward().between(node, host)
}

// standings describe the hosts that processes run on, by their numbers.
func (s *Spec) standings(d *distances, a arrangement) map[int]standing {
	serves := map[string]bool{}
	for _, role := range s.protocol().Roles {
		serves[role.Name] = role.Serves
	}
	hosts := map[int]standing{}
	for i, member := range s.members() {
		role := member.Roles[0]
		at, known := hosts[a.of[i]]
		if !known {
			at.node = a.of[i]
			if up, ok := d.uplinks[at.node]; ok {
				at.out, at.in = d.of(up), d.of(topologies.Hop{Link: up.Link, Reverse: !up.Reverse})
				at.node = d.graph.To(up)
			}
		}
		at.client = at.client || role == RoleClient
		at.protocol = at.protocol || role != RoleClient
		at.serves = at.serves || serves[role]
		hosts[a.of[i]] = at
	}
	return hosts
}

// representatives are two hosts of each standing, or one if there are no two; at most
// maxCompared in all.
func (d *distances) representatives(all map[int]standing) []int {
	var hosts []int
	seen := map[standing]int{}
	for host := range d.network.Hosts {
		if at, used := all[host]; used && seen[at] < 2 {
			seen[at]++
			hosts = append(hosts, host)
		}
	}
	if len(hosts) <= maxCompared {
		return hosts
	}
	slices.SortStableFunc(hosts, func(a, b int) int { return cmp.Compare(d.roundTrip(0, a), d.roundTrip(0, b)) })
	near := hosts[:len(hosts)-maxCompared/2]
	sample := slices.Clone(hosts[len(near):])
	for i := range maxCompared / 2 {
		sample = append(sample, near[i*(len(near)-1)/(maxCompared/2-1)])
	}
	slices.Sort(sample)
	return sample
}
