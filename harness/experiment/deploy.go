package experiment

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"quorumlab/node/application"
	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/topologies"
)

// Port is where the first process of a host listens; further ones listen portStep
// above each other. The port above Port is that of the host's echo.
const (
	Port     = 7000
	portStep = 10
	// maxSharing is how many processes a host has ports for.
	maxSharing = 5000
)

// RoleClient is the role of the processes that generate load.
const RoleClient = "client"

// Placement is a process and the host that it runs on.
type Placement struct {
	control.Node
	Host string
}

// Deployment gives every process a host, as Topology.Placement says, and an address
// there. Processes are named by their role and number, such as replica1, and
// identified from 1: in the order of the protocol's roles, the clients last. The
// spares of a role follow its other processes, numbered on: leader3 is the first spare
// beside two leaders. The experiment must have been read by Load or Parse.
func (s *Spec) Deployment() []Placement {
	_, _, arrangement, err := s.places()
	if err != nil {
		panic("experiment: a placement that Load should have refused: " + err.Error())
	}
	return s.deploy(arrangement)
}

func (s *Spec) deploy(a arrangement) []Placement {
	var placements []Placement
	sharing := make([]int, len(a.seats))
	for i, member := range s.members() {
		host := a.of[i]
		address := netip.AddrPortFrom(topologies.Address(host), uint16(Port+portStep*sharing[host]))
		sharing[host]++
		placements = append(placements, Placement{
			Host: a.seats[host].name,
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

// processes counts them.
func (s *Spec) processes() int {
	count := s.Workload.Clients
	for _, role := range s.protocol().Roles {
		count += s.System.Roles[plural(role.Name)] + s.System.Spares[plural(role.Name)]
	}
	return count
}

// PredictedLatency is the latency that the protocol's message pattern and the
// topology's mean propagation delays predict: the mean over the clients of the least
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
	network, arrangement, err := s.network()
	if err != nil {
		panic("experiment: a topology that Load should have refused: " + err.Error())
	}
	table := delayTable{newDistances(network), map[consensus.NodeID]int{}}
	placements := s.deploy(arrangement)
	for i, placement := range placements {
		table.node[placement.ID] = arrangement.of[i]
	}
	var sum time.Duration
	for _, client := range placements {
		if client.Has(RoleClient) {
			config.Self = client.ID
			sum += protocol.PredictLatency(config, client.ID, table.delay)
		}
	}
	return sum / time.Duration(s.Workload.Clients), true
}

// PredictionNote says in a sentence why measured latencies may be above the predicted one:
// what links on the way do besides delaying. It is empty if they do nothing else.
func (s *Spec) PredictionNote() string {
	var hosts []string
	for _, placement := range s.Deployment() {
		hosts = append(hosts, placement.Host)
	}
	slices.Sort(hosts)
	hosts = slices.Compact(hosts)
	if !s.Network().Uncertain(hosts) {
		return ""
	}
	return "links have random delays or losses: the prediction takes mean delays and no loss; expect more"
}
