// Package topologies describes networks: hosts, switches and the links between
// them, the addresses of the hosts, and the paths that frames take. It makes them by
// kind (Star, Linear, Tree, Mesh, WAN, Custom) or of files (Parse), reads measured
// delays (ParseTrace, ParseTable), and says what a topology predicts (Paths) and what is
// doubtful about it (Warnings). It is pure: it builds nothing, and equal input gives
// equal results.
package topologies

import (
	"fmt"
	"net/netip"
)

// Host is an end system.
type Host struct {
	Name    string     `json:"name"`
	Address netip.Addr `json:"address"`
	// Monitor is true for a host that WithMonitors added.
	Monitor bool `json:"monitor,omitempty"`
}

// Link joins two nodes of the graph (hosts or switches), each direction on its
// own.
type Link struct {
	Name string     `json:"name"`
	A    string     `json:"a"`
	B    string     `json:"b"`
	AToB Parameters `json:"a_to_b"`
	BToA Parameters `json:"b_to_a"`
}

// Topology is a network. Its slices' order is part of it: results depend on
// nothing else.
type Topology struct {
	Kind string `json:"kind"`
	// Routing says which of several paths frames take: RoutingDelay (also if it is
	// empty) or RoutingHops.
	Routing  string   `json:"routing,omitempty"`
	Hosts    []Host   `json:"hosts"`
	Switches []string `json:"switches"`
	Links    []Link   `json:"links"`
	// Notes are sentences on what was assumed when it was made.
	Notes []string `json:"notes,omitempty"`
}

// Routings.
const (
	// RoutingDelay takes the path of least delay, of equals that of fewer hops.
	RoutingDelay = "delay"
	// RoutingHops takes the path of fewest hops, of equals that of least delay: where
	// links stand for whole networks, such as between the regions of a cloud, the
	// measured way is the direct one even if a detour would be shorter.
	RoutingHops = "hops"
)

// Prefix is the range that lab addresses come from, reserved for benchmarks of
// network devices (RFC 2544). They exist only inside a lab's namespaces.
var Prefix = netip.MustParsePrefix("198.18.0.0/15")

// Address gives the index-th host of a lab, counted from 0, its address.
func Address(index int) netip.Addr {
	base := Prefix.Addr().As4()
	offset := uint32(index) + 1
	return netip.AddrFrom4([4]byte{base[0], base[1] + byte(offset>>16), byte(offset >> 8), byte(offset)})
}

// Star joins n hosts, h1 to hn, to the one switch s1, each by a link of its
// own (h1-s1 and so on), alike in both directions.
func Star(n int, link Parameters) *Topology {
	t := &Topology{Kind: "star", Switches: []string{"s1"}}
	for i := range n {
		name := fmt.Sprintf("h%d", i+1)
		t.Hosts = append(t.Hosts, Host{Name: name, Address: Address(i)})
		t.Links = append(t.Links, Link{Name: name + "-s1", A: name, B: "s1", AToB: link, BToA: link})
	}
	return t
}
