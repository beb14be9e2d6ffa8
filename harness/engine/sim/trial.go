package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"quorumlab/harness/engine"
	"quorumlab/harness/engine/sim/tcp"
	"quorumlab/node/application"
	"quorumlab/node/client"
	"quorumlab/node/consensus"
	"quorumlab/node/control"
)

// trial is a simulation under way. All of it belongs to one goroutine.
type trial struct {
	ctx         context.Context
	simulation  engine.Simulation
	protocol    *consensus.Protocol
	options     json.RawMessage
	members     []consensus.Member
	application application.Application
	costs       costs
	network     *network
	// processes are in ascending order of ID; near has the index of those with
	// small IDs, or none, and far that of the others.
	processes []*process
	near      []int32
	far       map[consensus.NodeID]int32
	targets   []consensus.NodeID

	queue queue
	now   int64
	// order counts what was scheduled, looks the times that the context might have
	// been looked at.
	order, looks uint64
	trace        trace
	// out and posted are those of the step in hand.
	out    consensus.Outbox
	posted []outgoing
	// latest is the latest message that was posted, with its size, or unsized.
	latest waitingMessage
	// responses is the memory that responses are taken from.
	responses []consensus.Response
	// segments is the output of package tcp, delivered a spare buffer of it,
	// touched the paths with messages to flush.
	segments  tcp.Output
	delivered []uint64
	touched   []*path

	life
	// faulting is the schedule of faults under way, nil in a trial without any.
	faulting *faulting
	// over ends the loop; err is why, unless all went well.
	over bool
	err  error
}

// costs are engine.Costs made ready.
type costs struct {
	message, send, sync int64
	// perByte is in 1/1024 ns: whole numbers give the same on every machine.
	perByte int64
}

func (c *costs) bytes(count int32) int64 { return int64(count) * c.perByte >> 10 }

func newCosts(c engine.Costs) (costs, error) {
	if c.PerMessage < 0 || c.PerSend < 0 || c.Sync < 0 || !(c.PerByteNS >= 0 && c.PerByteNS < 1e6) {
		return costs{}, fmt.Errorf("costs are %+v, want none below 0, and less than 1e6 ns a byte", c)
	}
	return costs{
		message: int64(c.PerMessage), send: int64(c.PerSend), sync: int64(c.Sync),
		perByte: int64(math.Round(c.PerByteNS * 1024)),
	}, nil
}

// newTrial checks a simulation and makes all that it needs.
func newTrial(ctx context.Context, simulation engine.Simulation) (*trial, error) {
	s := &trial{ctx: ctx, simulation: simulation, far: map[consensus.NodeID]int32{}}
	var err error
	if s.costs, err = newCosts(simulation.Costs); err != nil {
		return nil, err
	}
	if err := s.findProtocol(); err != nil {
		return nil, err
	}
	if hosts := len(simulation.Topology.Hosts); hosts > maxHosts {
		return nil, fmt.Errorf("the topology has %d hosts, want at most %d", hosts, maxHosts)
	}
	if s.network, err = newNetwork(simulation.Topology, simulation.Transport, simulation.Seed, breaksNetwork(&simulation)); err != nil {
		return nil, err
	}
	s.network.config = tcpConfig(s.protocol.Name, simulation.Seed)
	if err := s.addProcesses(); err != nil {
		return nil, err
	}
	if err := s.checkLoads(); err != nil {
		return nil, err
	}
	return s, s.planFaults()
}

func (s *trial) findProtocol() error {
	cluster := &s.simulation.Cluster
	var known bool
	if s.protocol, known = consensus.Lookup(cluster.Protocol); !known {
		return fmt.Errorf("protocol is %q, want one of %s", cluster.Protocol, strings.Join(consensus.Names(), ", "))
	}
	if cluster.Options != nil {
		options, err := json.Marshal(cluster.Options)
		if err != nil {
			return fmt.Errorf("options of %s: %w", s.protocol.Name, err)
		}
		s.options = options
	}
	if s.protocol.CheckOptions != nil {
		if err := s.protocol.CheckOptions(s.options); err != nil {
			return fmt.Errorf("%s: %w", s.protocol.Name, err)
		}
	}
	var err error
	s.application, err = application.Find(cluster.Application)
	return err
}

// nearIDs bounds the IDs that are looked up by index.
const nearIDs = 1 << 16

func (s *trial) addProcesses() error {
	nodes := slices.Clone(s.simulation.Cluster.Nodes)
	if len(nodes) == 0 {
		return errors.New("the cluster has no nodes")
	}
	slices.SortStableFunc(nodes, func(a, b control.Node) int { return int(int64(a.ID) - int64(b.ID)) })
	hosts, used := map[string]int{}, map[int]int{}
	for i, host := range s.simulation.Topology.Hosts {
		hosts[host.Name] = i
	}
	for i, node := range nodes {
		host, known := hosts[s.simulation.Hosts[node.Name]]
		if !known {
			return fmt.Errorf("the host of %s is %q, want one of the topology's", node.Name, s.simulation.Hosts[node.Name])
		}
		if node.ID == 0 || i > 0 && node.ID == nodes[i-1].ID {
			return fmt.Errorf("the ID of %s is %v, want one of its own, at least 1", node.Name, node.ID)
		}
		storage, err := newStorage(s.simulation.Cluster.Storage)
		if err != nil {
			return err
		}
		p := &process{index: int32(i), host: host, node: node, storage: storage, timerAt: never}
		for _, role := range node.Roles {
			p.participates = p.participates || role != roleClient
		}
		p.serves = slices.ContainsFunc(s.protocol.Roles, func(spec consensus.RoleSpec) bool {
			return spec.Serves && node.Has(spec.Name)
		})
		p.respond = func(response consensus.Response) { s.answer(p, &response) }
		p.client.record = s.recorder(p)
		used[host]++
		s.addID(node.ID, p.index)
		s.processes = append(s.processes, p)
		s.members = append(s.members, node.Member)
		if p.serves {
			s.targets = append(s.targets, node.ID)
		}
	}
	for _, p := range s.processes {
		p.sharesHost = used[p.host] > 1
	}
	return nil
}

func (s *trial) addID(id consensus.NodeID, index int32) {
	if id >= nearIDs {
		s.far[id] = index
		return
	}
	for int(id) >= len(s.near) {
		s.near = append(s.near, none)
	}
	s.near[id] = index
}

func (s *trial) byID(id consensus.NodeID) (index int32, known bool) {
	if int64(id) < int64(len(s.near)) {
		index = s.near[id]
		return index, index != none
	}
	index, known = s.far[id]
	return index, known
}

func (s *trial) byName(name string) (*process, bool) {
	i := slices.IndexFunc(s.processes, func(p *process) bool { return p.node.Name == name })
	if i < 0 {
		return nil, false
	}
	return s.processes[i], true
}

func (s *trial) checkLoads() error {
	clients := 0
	for _, p := range s.processes {
		load, given := s.simulation.Loads[p.node.Name]
		if !given {
			continue
		}
		clients++
		if !p.has(roleClient) {
			return fmt.Errorf("%s has a load but not the role %s", p.node.Name, roleClient)
		}
		if err := client.CheckLoad(load); err != nil {
			return fmt.Errorf("the load of %s: %w", p.node.Name, err)
		}
	}
	if clients != len(s.simulation.Loads) {
		return fmt.Errorf("%d loads are for nodes that the cluster doesn't have", len(s.simulation.Loads)-clients)
	}
	return nil
}

// lookEvery is how often the context is looked at.
const lookEvery = 4096

// look ends the trial if its context has ended.
func (s *trial) look() {
	if s.looks++; s.looks%lookEvery == 0 && s.ctx.Err() != nil {
		s.fail(context.Cause(s.ctx))
	}
}

// fail ends the trial with its first error.
func (s *trial) fail(err error) {
	if s.err == nil {
		s.err = err
	}
	s.over = true
}

func (s *trial) schedule(at int64, kind eventKind, index int32) {
	s.order++
	s.queue.push(event{at: at, order: s.order, kind: kind, index: index})
}

// run lives through the trial.
func (s *trial) run() error {
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	s.begin()
	for !s.over {
		s.look()
		e := s.queue.pop() // there is the end of the phase at least
		s.now = e.at
		s.happen(e)
	}
	return s.err
}

// happen carries out an event.
func (s *trial) happen(e event) {
	switch e.kind {
	case eventDirection:
		s.directionEvent(e.index)
	case eventArrival:
		s.arrive(s.dequeue(&s.network.paths[e.index].lane, e))
	case eventFrame:
		s.arrive(e.index)
	case eventWake:
		s.woken(s.processes[e.index])
	case eventTimer:
		s.timerEvent(s.processes[e.index])
	case eventEgress:
		s.egress(s.processes[e.index], e)
	case eventSync:
		s.synced(s.processes[e.index])
	case eventOpen:
		s.opened(s.network.paths[e.index])
	case eventExpire:
		s.expireModelled(s.network.paths[e.index])
	case eventStart:
		s.started(s.processes[e.index])
	case eventPhase:
		s.phaseOver()
	case eventLive:
		s.live()
	case eventFaults:
		s.advanceFaults()
	case eventNotice:
		s.noticed()
	case eventPoll:
		s.pollEvidence()
	case eventHalted:
		s.halted(s.processes[e.index])
	case eventGoOn:
		s.goOn(s.processes[e.index])
	}
}
