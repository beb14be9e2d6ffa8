package faults

import "slices"

// on are the processes on some hosts, in the cluster's order.
func (s *Scene) on(hosts []string) []string {
	if s.probing {
		return nil // nobody asks, and there may be many
	}
	is := map[string]bool{}
	for _, host := range hosts {
		is[host] = true
	}
	var nodes []string
	for _, node := range s.World.Cluster.Nodes {
		if host, ok := s.World.Hosts[node.Name]; ok && is[host] {
			nodes = append(nodes, node.Name)
		}
	}
	return nodes
}

// fewer are the processes on all sides with fewer servers than the largest, in the
// cluster's order. Of sides with equally many none is cut off from most servers.
func (s *Scene) fewer(sides [][]string) []string {
	if s.probing {
		return nil
	}
	sideOf := map[string]int{}
	for i, side := range sides {
		for _, host := range side {
			sideOf[host] = i
		}
	}
	servers, most := make([]int, len(sides)), 0
	for _, node := range s.view.servers {
		if i, ok := sideOf[s.World.Hosts[node]]; ok {
			servers[i]++
			most = max(most, servers[i])
		}
	}
	var hosts []string
	for i, side := range sides {
		if servers[i] < most {
			hosts = append(hosts, side...)
		}
	}
	return s.on(hosts)
}

// allLinksIn are the hosts all of whose links are among those of the effects.
func (s *Scene) allLinksIn(effects []LinkEffect) []string {
	among := s.view.linksIn(effects)
	var hosts []string
	for _, host := range s.World.Topology.Hosts {
		links := s.view.linksOf[host.Name]
		if len(links) > 0 && !slices.ContainsFunc(links, func(link int) bool { return !among[link] }) {
			hosts = append(hosts, host.Name)
		}
	}
	return hosts
}

// linksIn are the links that effects are about, in one direction or both.
func (v *view) linksIn(effects []LinkEffect) map[int]bool {
	among := map[int]bool{}
	for _, e := range effects {
		among[v.links[e.Link]] = true
	}
	return among
}

// parts are the hosts that still reach each other without the links of the effects.
func (v *view) parts(effects []LinkEffect) [][]string {
	gone, seen, hosts := v.linksIn(effects), map[string]bool{}, v.areHosts()
	var parts [][]string
	for _, host := range v.Topology.Hosts {
		if !seen[host.Name] {
			parts = append(parts, v.reach(host.Name, gone, hosts, seen))
		}
	}
	return parts
}

// below are the hosts that a switch reaches without the links of the effects.
func (v *view) below(name string, effects []LinkEffect) []string {
	return v.reach(name, v.linksIn(effects), v.areHosts(), map[string]bool{})
}

func (v *view) areHosts() map[string]bool {
	are := map[string]bool{}
	for _, host := range v.Topology.Hosts {
		are[host.Name] = true
	}
	return are
}

// reach are the hosts that a host or a switch reaches without some links, itself
// included. It marks what it has seen. Hosts don't forward.
func (v *view) reach(from string, gone map[int]bool, isHost, seen map[string]bool) []string {
	var hosts []string
	seen[from] = true
	for open := []string{from}; len(open) > 0; open = open[1:] {
		here := open[0]
		if isHost[here] {
			hosts = append(hosts, here)
			if here != from {
				continue
			}
		}
		for _, i := range v.linksOf[here] {
			link := v.Topology.Links[i]
			next := link.A
			if next == here {
				next = link.B
			}
			if !gone[i] && !seen[next] {
				seen[next] = true
				open = append(open, next)
			}
		}
	}
	return hosts
}
