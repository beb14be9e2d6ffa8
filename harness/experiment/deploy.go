package experiment

import (
	"fmt"
	"net/netip"
	"time"

	"quorumlab/node/application"
	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/topologies"
)

// Port is where every process of a lab listens; each has a host of its own.
const Port = 7000

// RoleClient is the role of the processes that generate load.
const RoleClient = "client"

// Placement is a process and the host that it runs on.
type Placement struct {
	control.Node
	Host string
}

// Deployment gives every process a host: h1, h2 and so on in the order of the
// protocol's roles, the clients last. Processes are named by their role and
// number, such as replica1, and identified from 1. The spares of a role follow
// its other processes, numbered on: leader3 is the first spare beside two
// leaders. The experiment must have been read by Load or Parse.
func (s *Spec) Deployment() []Placement {
	var placements []Placement
	for index, member := range s.members() {
		address := netip.AddrPortFrom(topologies.Address(index), Port)
		placements = append(placements, Placement{
			Host: fmt.Sprintf("h%d", index+1),
			Node: control.Node{Member: member, Address: address.String()},
		})
	}
	return placements
}

// members are all processes, in ascending order of ID.
func (s *Spec) members() []consensus.Member {
	var members []consensus.Member
	add := func(role string, count, spares int) {
		for i := range count + spares {
			members = append(members, consensus.Member{
				ID: consensus.NodeID(len(members) + 1), Name: fmt.Sprintf("%s%d", role, i+1),
				Roles: []string{role}, Spare: i >= count,
			})
		}
	}
	for _, role := range s.protocol().Roles {
		add(role.Name, s.System.Roles[plural(role.Name)], s.System.Spares[plural(role.Name)])
	}
	add(RoleClient, s.Workload.Clients, 0)
	return members
}

// config is what the protocol is told of the experiment, but for whose machine
// it is to make.
func (s *Spec) config() (consensus.Config, error) {
	options, err := s.optionsJSON()
	return consensus.Config{Members: s.members(), Options: options, Seed: s.Seed}, err
}

// protocol is the one named, which Load has found.
func (s *Spec) protocol() *consensus.Protocol {
	protocol, ok := consensus.Lookup(s.System.Protocol)
	if !ok {
		panic("experiment: not a registered protocol: " + s.System.Protocol)
	}
	return protocol
}

// application is the one named, which Load has found.
func (s *Spec) application() application.Application {
	found, ok := application.Lookup(s.System.Application)
	if !ok {
		panic("experiment: not a registered application: " + s.System.Application)
	}
	return found
}

// Cluster is the file that the experiment's processes are given; the seed is
// the trial's.
func (s *Spec) Cluster(seed uint64) control.Cluster {
	cluster := control.Cluster{
		Protocol: s.System.Protocol, Options: s.System.Options,
		Application: s.System.Application, Storage: s.System.Storage, Seed: seed,
	}
	for _, placement := range s.Deployment() {
		cluster.Nodes = append(cluster.Nodes, placement.Node)
	}
	return cluster
}

// Network is the topology with a host for each process.
func (s *Spec) Network() *topologies.Topology {
	return topologies.Star(s.hostCount(), s.Topology.Link.parameters())
}

func (s *Spec) hostCount() int {
	count := s.Workload.Clients
	for _, role := range s.protocol().Roles {
		count += s.System.Roles[plural(role.Name)] + s.System.Spares[plural(role.Name)]
	}
	return count
}

// parameters is one direction of the link.
func (l Link) parameters() topologies.Parameters {
	p := topologies.Parameters{
		Delay: time.Duration(l.Delay), Loss: float64(l.Loss),
		RateBPS: int64(l.Rate), QueueFrames: l.Queue,
	}
	if l.Jitter > 0 {
		p.Jitter, p.JitterDistribution = time.Duration(l.Jitter), l.JitterDistribution
	}
	return p
}

// PredictedLatency is the latency that the protocol's message pattern and the
// topology's propagation delays predict: the mean over the clients of the least
// time that a request takes if processes take none. It is false if the protocol
// doesn't predict.
func (s *Spec) PredictedLatency() (time.Duration, bool) {
	protocol := s.protocol()
	if protocol.PredictLatency == nil {
		return 0, false
	}
	config, err := s.config()
	if err != nil {
		panic("experiment: options that Load should have refused: " + err.Error())
	}
	placements := s.Deployment()
	delays := newDelayTable(s.Network(), placements)
	var sum time.Duration
	for _, client := range placements {
		if client.Has(RoleClient) {
			config.Self = client.ID
			sum += protocol.PredictLatency(config, client.ID, delays.between)
		}
	}
	return sum / time.Duration(s.Workload.Clients), true
}

// delayTable answers what the propagation delay from process to process is. It
// finds the paths from a host once they are asked for.
type delayTable struct {
	network *topologies.Topology
	graph   *topologies.Graph
	node    map[consensus.NodeID]int
	from    map[int][]time.Duration
}

func newDelayTable(network *topologies.Topology, placements []Placement) *delayTable {
	graph, err := network.Graph()
	if err != nil {
		panic("experiment: a star with a fault: " + err.Error())
	}
	t := &delayTable{network: network, graph: graph,
		node: map[consensus.NodeID]int{}, from: map[int][]time.Duration{}}
	for _, placement := range placements {
		t.node[placement.ID], _ = graph.Node(placement.Host)
	}
	return t
}

func (t *delayTable) between(from, to consensus.NodeID) time.Duration {
	source := t.node[from]
	delays, ok := t.from[source]
	if !ok {
		for _, path := range t.graph.From(source) {
			delays = append(delays, t.network.Delay(path))
		}
		t.from[source] = delays
	}
	return delays[t.node[to]]
}
