//go:build linux

package link

import (
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/vishvananda/netlink"

	"quorumlab/topologies"
)

// fabric is a checked configuration, made ready for forwarding.
type fabric struct {
	topology *topologies.Topology
	// seed and startNS are the network's, for models that are made later.
	seed    uint64
	startNS int64
	// ports has one entry a host, in the topology's order.
	ports []fabricPort
	// byInterface finds a port by its interface's index, byAddress by the host's
	// IPv4 address.
	byInterface map[int32]int32
	byAddress   map[uint32]int32
	// models has two entries a link, A to B first, then one for each stage of a pair.
	models []*Model
	// paths is what findPaths found, with the pairs' stages.
	paths [][]uint32
}

type fabricPort struct {
	interfaceIndex int32
	mac            [6]byte
	// arrivedNS is when the latest frame came.
	arrivedNS int64
}

// newFabric checks a configuration and resolves its interfaces by resolve. The network
// starts at startNS.
func newFabric(config EmulatorConfig, startNS int64, resolve func(interfaceName string) (index int, err error)) (*fabric, error) {
	if config.Topology == nil {
		return nil, fmt.Errorf("link emulator: the configuration has no topology")
	}
	if config.BufferBytes < 0 {
		return nil, fmt.Errorf("link emulator: buffer_bytes is %d, want 0 (the default) or more", config.BufferBytes)
	}
	f := &fabric{
		topology: config.Topology, seed: config.Seed, startNS: startNS,
		byInterface: map[int32]int32{}, byAddress: map[uint32]int32{},
	}
	if err := f.addModels(); err != nil {
		return nil, err
	}
	if err := f.addPorts(config.Ports, resolve); err != nil {
		return nil, err
	}
	var err error
	f.paths, err = findPaths(f.topology)
	return f, err
}

// addModels checks parameters once, however many links have them.
func (f *fabric) addModels() error {
	checked := map[topologies.Parameters]func(seed uint64, startNS int64) *Model{}
	for i := range f.topology.Links {
		for direction, p := range bothWays(&f.topology.Links[i]) {
			models := checked[*p]
			if models == nil {
				if err := p.Check(); err != nil {
					return fmt.Errorf("link emulator: link %s: %w", f.topology.Links[i].Name, err)
				}
				models = Models(*p)
				checked[*p] = models
			}
			f.models = append(f.models, models(DirectionSeed(f.seed, i, direction == 1), f.startNS))
		}
	}
	return nil
}

func (f *fabric) addPorts(ports []Port, resolve func(string) (int, error)) error {
	byHost := map[string]Port{}
	for _, port := range ports {
		if _, taken := byHost[port.Host]; taken {
			return fmt.Errorf("link emulator: host %s has two ports", port.Host)
		}
		byHost[port.Host] = port
	}
	if len(ports) != len(f.topology.Hosts) {
		return fmt.Errorf("link emulator: %d ports for %d hosts, want one each", len(ports), len(f.topology.Hosts))
	}
	for i, host := range f.topology.Hosts {
		port, ok := byHost[host.Name]
		if !ok {
			return fmt.Errorf("link emulator: host %s has no port", host.Name)
		}
		mac, err := net.ParseMAC(port.MAC)
		if err != nil || len(mac) != 6 {
			return fmt.Errorf("link emulator: host %s: %q is no Ethernet address", host.Name, port.MAC)
		}
		index, err := resolve(port.Interface)
		if err != nil {
			return fmt.Errorf("link emulator: host %s: interface %s: %w", host.Name, port.Interface, err)
		}
		if !host.Address.Is4() {
			return fmt.Errorf("link emulator: host %s: address %v is not IPv4", host.Name, host.Address)
		}
		octets := host.Address.As4()
		address := binary.BigEndian.Uint32(octets[:])
		if _, taken := f.byAddress[address]; taken {
			return fmt.Errorf("link emulator: host %s: address %v stands twice", host.Name, host.Address)
		}
		if _, taken := f.byInterface[int32(index)]; taken {
			return fmt.Errorf("link emulator: host %s: interface %s stands twice", host.Name, port.Interface)
		}
		f.byAddress[address], f.byInterface[int32(index)] = int32(i), int32(i)
		f.ports = append(f.ports, fabricPort{interfaceIndex: int32(index), mac: [6]byte(mac)})
	}
	return nil
}

// findPaths finds, for source * hosts + destination, the directions to traverse; none
// if there is no way. Where links that are down bar every way, it is the one with the
// fewest of them: the first of these drops the frames, and they are counted there.
func findPaths(t *topologies.Topology) ([][]uint32, error) {
	graph, err := t.Graph()
	if err != nil {
		return nil, fmt.Errorf("link emulator: %w", err)
	}
	raised, err := raise(t).Graph()
	if err != nil {
		return nil, fmt.Errorf("link emulator: %w", err)
	}
	hosts := len(t.Hosts)
	paths := make([][]uint32, hosts*hosts)
	for source := range hosts {
		var barred [][]topologies.Hop
		for destination, path := range graph.From(source)[:hosts] {
			if path == nil && source != destination {
				if barred == nil {
					barred = raised.From(source)
				}
				path = barred[destination]
			}
			directions := make([]uint32, 0, len(path))
			for _, hop := range path {
				directions = append(directions, directionIndex(hop))
			}
			paths[source*hosts+destination] = directions
		}
	}
	return paths, nil
}

// Delays that stand for what counts more than delays: a hop, where paths have the fewest,
// and a direction that is down.
const (
	hopDelay  = time.Duration(1 << 41)
	downDelay = time.Duration(1 << 51)
)

// raise is the topology with no link down. Paths in it have as few as they can of those
// that were, then are what they are anyway.
func raise(t *topologies.Topology) *topologies.Topology {
	up := *t
	up.Routing = topologies.RoutingDelay
	up.Links = slices.Clone(t.Links)
	for i := range up.Links {
		for _, p := range bothWays(&up.Links[i]) {
			if t.Routing == topologies.RoutingHops {
				p.Delay += hopDelay
			}
			if p.Down {
				p.Down = false
				p.Delay += downDelay
			}
		}
	}
	return &up
}

// directionIndex numbers directions as LinkReport.Directions does.
func directionIndex(hop topologies.Hop) uint32 {
	if hop.Reverse {
		return uint32(2*hop.Link + 1)
	}
	return uint32(2 * hop.Link)
}

// interfaceIndex resolves an interface that must be up.
func interfaceIndex(name string) (int, error) {
	device, err := netlink.LinkByName(name)
	if err != nil {
		return 0, err
	}
	if device.Attrs().Flags&net.FlagUp == 0 {
		return 0, fmt.Errorf("it is down")
	}
	return device.Attrs().Index, nil
}
