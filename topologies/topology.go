// Package topologies describes networks: hosts, switches and the links between
// them, the addresses of the hosts, and the paths that frames take. It is pure:
// it builds nothing.
package topologies

import (
	"fmt"
	"net/netip"
	"time"
)

// Jitter distributions.
const (
	JitterUniform = "uniform"
	JitterNormal  = "normal"
)

// Parameters says how one direction of a link treats frames: serialisation at
// RateBPS behind a queue of at most QueueFrames, then a propagation delay with
// jitter; a share of the frames is lost.
type Parameters struct {
	// Delay is the propagation delay, at least 0.
	Delay time.Duration `json:"delay_ns"`
	// Jitter is the standard deviation of the delay (normal) or half the width
	// of its range (uniform). Frames never overtake each other because of it.
	Jitter time.Duration `json:"jitter_ns,omitempty"`
	// JitterDistribution is JitterUniform or JitterNormal.
	JitterDistribution string `json:"jitter_distribution,omitempty"`
	// Loss is the probability, 0 to 1, that a frame is lost.
	Loss float64 `json:"loss,omitempty"`
	// RateBPS is in bits a second; 0 means unlimited.
	RateBPS int64 `json:"rate_bps,omitempty"`
	// QueueFrames bounds the frames waiting for serialisation; a frame that
	// finds the queue full is dropped. 0 means unbounded.
	QueueFrames int `json:"queue_frames,omitempty"`
}

// Host is an end system.
type Host struct {
	Name    string     `json:"name"`
	Address netip.Addr `json:"address"`
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
	Kind     string   `json:"kind"`
	Hosts    []Host   `json:"hosts"`
	Switches []string `json:"switches"`
	Links    []Link   `json:"links"`
}

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
