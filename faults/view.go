package faults

import (
	"path"
	"slices"

	"quorumlab/node/consensus"
	"quorumlab/node/control"
)

// roleClient is the role of the processes that generate load.
const roleClient = "client"

// plural is what sets of processes are called after a role.
func plural(role string) string { return role + "s" }

// view is a world made ready to be asked about.
type view struct {
	World
	// servers and clients are the names of the processes, in the cluster's order.
	servers, clients []string
	nodes            map[string]control.Node
	// links indexes the topology's links by name; linksOf has those of a host or switch.
	// Those of monitors are in neither.
	links   map[string]int
	linksOf map[string][]int
}

func newView(world World) *view {
	v := &view{World: world, nodes: map[string]control.Node{}, links: map[string]int{}, linksOf: map[string][]int{}}
	for _, node := range world.Cluster.Nodes {
		v.nodes[node.Name] = node
		if node.Has(roleClient) {
			v.clients = append(v.clients, node.Name)
		} else {
			v.servers = append(v.servers, node.Name)
		}
	}
	if world.Topology == nil {
		return v
	}
	monitors := map[string]bool{}
	for _, host := range world.Topology.Hosts {
		monitors[host.Name] = host.Monitor
	}
	for i, link := range world.Topology.Links {
		if monitors[link.A] || monitors[link.B] {
			continue
		}
		v.links[link.Name] = i
		v.linksOf[link.A] = append(v.linksOf[link.A], i)
		v.linksOf[link.B] = append(v.linksOf[link.B], i)
	}
	return v
}

// roles lists the protocol's roles that are so.
func (v *view) roles(so func(consensus.RoleSpec) bool) []string {
	var names []string
	if v.Protocol == nil {
		return nil
	}
	for _, role := range v.Protocol.Roles {
		if so(role) {
			names = append(names, role.Name)
		}
	}
	return names
}

func leads(role consensus.RoleSpec) bool       { return role.Leads }
func votes(role consensus.RoleSpec) bool       { return role.Votes }
func serves(role consensus.RoleSpec) bool      { return role.Serves }
func replaceable(role consensus.RoleSpec) bool { return role.Replaceable }
func anyRole(consensus.RoleSpec) bool          { return true }

// hosts are those of the nodes, each once, in the nodes' order.
func (v *view) hosts(nodes []string) []string {
	var hosts []string
	for _, node := range nodes {
		if host, ok := v.Hosts[node]; ok && !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// isRegion tells whether any host has a link to a switch of that name.
func (v *view) isRegion(name string) bool {
	return v.Topology != nil && slices.Contains(v.Topology.Switches, name) && len(v.inRegion(name)) > 0
}

// inRegion are the servers whose hosts have a link to the switch.
func (v *view) inRegion(name string) []string {
	var inside []string
	for _, node := range v.servers {
		for _, link := range v.linksOf[v.Hosts[node]] {
			if l := v.Topology.Links[link]; l.A == name || l.B == name {
				inside = append(inside, node)
				break
			}
		}
	}
	return inside
}

// regions lists the switches that region(NAME) can name.
func (v *view) regions() []string {
	var names []string
	if v.Topology != nil {
		for _, name := range v.Topology.Switches {
			if v.isRegion(name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// matching are the links that fit one of the patterns, in the topology's order.
func (v *view) matching(patterns []string) []int {
	var found []int
	if v.Topology == nil {
		return nil
	}
	for i, link := range v.Topology.Links {
		if at, ok := v.links[link.Name]; ok && at == i && matches(patterns, link.Name) {
			found = append(found, i)
		}
	}
	return found
}

// matches tells whether a name fits one of the patterns.
func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		ok, _ := path.Match(pattern, name)
		return ok
	})
}

// uplink is the link from a switch towards the root, the topology's first switch. It is
// false if the switch is the root, or if the root can be reached without that link too,
// or not at all.
func (v *view) uplink(name string) (link int, ok bool) {
	if v.Topology == nil || len(v.Topology.Switches) == 0 || name == v.Topology.Switches[0] {
		return 0, false
	}
	link, ok = v.towardsRoot(name, -1)
	if !ok {
		return 0, false
	}
	_, another := v.towardsRoot(name, link)
	return link, !another
}

// towardsRoot is the first link of a shortest path from a switch to the root that does
// without one link. Hosts don't forward.
func (v *view) towardsRoot(name string, without int) (first int, ok bool) {
	type step struct {
		at    string
		first int
	}
	seen := map[string]bool{name: true}
	for open := []step{{name, -1}}; len(open) > 0; open = open[1:] {
		here := open[0]
		for _, i := range v.linksOf[here.at] {
			link := v.Topology.Links[i]
			next := link.A
			if next == here.at {
				next = link.B
			}
			if i == without || seen[next] || !slices.Contains(v.Topology.Switches, next) {
				continue
			}
			first := here.first
			if first < 0 {
				first = i
			}
			if next == v.Topology.Switches[0] {
				return first, true
			}
			seen[next] = true
			open = append(open, step{next, first})
		}
	}
	return 0, false
}

// config is what the protocol is told of the cluster.
func (v *view) config() (consensus.Config, error) {
	config := consensus.Config{Seed: v.Cluster.Seed}
	for _, node := range v.Cluster.Nodes {
		config.Members = append(config.Members, node.Member)
	}
	if len(config.Members) > 0 {
		config.Self = config.Members[0].ID
	}
	options, err := optionsJSON(v.Cluster.Options)
	config.Options = options
	return config, err
}
