//go:build linux

package link

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"quorumlab/topologies"
)

// kernelBuilder holds what is needed only while building.
type kernelBuilder struct {
	*Kernel
	bridges []netlink.Link
	// ends are the devices of each link at A's and at B's bridge.
	ends [][2]netlink.Link
	// changing is true if the links will be changed.
	changing bool
}

func (b *kernelBuilder) build(ports []Port) error {
	graph, err := b.topology.Graph()
	if err != nil {
		return err
	}
	for node := range graph.Len() {
		bridge, err := b.addBridge(fmt.Sprintf("qb%d", node))
		if err != nil {
			return err
		}
		b.bridges = append(b.bridges, bridge)
	}
	addresses, err := b.plugPorts(graph, ports)
	if err != nil {
		return err
	}
	for i := range b.topology.Links {
		if err := b.addLink(graph, i); err != nil {
			return fmt.Errorf("link %s: %w", b.topology.Links[i].Name, err)
		}
	}
	for node := len(b.topology.Hosts); node < graph.Len(); node++ {
		if err := b.addForwarding(graph, node, addresses); err != nil {
			return fmt.Errorf("switch %s: %w", b.topology.Switches[node-len(b.topology.Hosts)], err)
		}
	}
	if err := b.readBack(); err != nil {
		return err
	}
	return AwaitUp(b.handle)
}

func (b *kernelBuilder) addBridge(name string) (netlink.Link, error) {
	snooping := false
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}, MulticastSnooping: &snooping}
	if err := b.handle.LinkAdd(bridge); err != nil {
		return nil, fmt.Errorf("creating bridge %s: %w", name, err)
	}
	if err := b.handle.LinkSetUp(bridge); err != nil {
		return nil, fmt.Errorf("bringing bridge %s up: %w", name, err)
	}
	return bridge, nil
}

// plugPorts makes each port part of its host's bridge and returns the hosts'
// Ethernet addresses in the topology's order.
func (b *kernelBuilder) plugPorts(graph *topologies.Graph, ports []Port) ([]net.HardwareAddr, error) {
	addresses := make([]net.HardwareAddr, len(b.topology.Hosts))
	for _, port := range ports {
		node, ok := graph.Node(port.Host)
		if !ok || node >= len(addresses) || addresses[node] != nil {
			return nil, fmt.Errorf("port %s: %q is no host, or has two ports", port.Interface, port.Host)
		}
		mac, err := net.ParseMAC(port.MAC)
		if err != nil || len(mac) != 6 {
			return nil, fmt.Errorf("port %s: %q is no Ethernet address", port.Interface, port.MAC)
		}
		device, err := b.handle.LinkByName(port.Interface)
		if err != nil {
			return nil, fmt.Errorf("finding port %s: %w", port.Interface, err)
		}
		if err := b.plug(device, b.bridges[node], true); err != nil {
			return nil, err
		}
		addresses[node] = mac
	}
	for node, address := range addresses {
		if address == nil {
			return nil, fmt.Errorf("host %s has no port", b.topology.Hosts[node].Name)
		}
	}
	return addresses, nil
}

// plug makes a device part of a bridge. Bridges of two devices flood and so are mere
// wires; switches forward by fixed tables. Neither learns.
func (b *kernelBuilder) plug(device, bridge netlink.Link, flood bool) error {
	name := device.Attrs().Name
	if err := b.handle.LinkSetMaster(device, bridge); err != nil {
		return fmt.Errorf("plugging %s into %s: %w", name, bridge.Attrs().Name, err)
	}
	if err := b.handle.LinkSetLearning(device, false); err != nil {
		return fmt.Errorf("turning learning off on %s: %w", name, err)
	}
	if err := b.handle.LinkSetFlood(device, flood); err != nil {
		return fmt.Errorf("setting flooding on %s: %w", name, err)
	}
	if err := b.handle.LinkSetUp(device); err != nil {
		return fmt.Errorf("bringing %s up: %w", name, err)
	}
	b.devices = append(b.devices, device.Attrs().Index)
	return nil
}

// addPair makes a veth pair, its ends plugged into two nodes' bridges.
func (b *kernelBuilder) addPair(near, far string, nearBridge, farBridge netlink.Link) (nearEnd, farEnd netlink.Link, err error) {
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: near}, PeerName: far}
	if err := b.handle.LinkAdd(veth); err != nil {
		return nil, nil, fmt.Errorf("creating veth pair %s, %s: %w", near, far, err)
	}
	if farEnd, err = b.handle.LinkByName(far); err != nil {
		return nil, nil, fmt.Errorf("finding %s: %w", far, err)
	}
	for _, end := range []struct{ device, bridge netlink.Link }{{veth, nearBridge}, {farEnd, farBridge}} {
		if err := b.plug(end.device, end.bridge, !b.isSwitch(end.bridge)); err != nil {
			return nil, nil, err
		}
	}
	return veth, farEnd, nil
}

func (b *kernelBuilder) isSwitch(bridge netlink.Link) bool {
	for _, node := range b.bridges[len(b.topology.Hosts):] {
		if node.Attrs().Index == bridge.Attrs().Index {
			return true
		}
	}
	return false
}

// addLink joins the bridges of link i's two nodes and shapes both directions.
func (b *kernelBuilder) addLink(graph *topologies.Graph, i int) error {
	link := b.topology.Links[i]
	bridgeA := b.bridges[graph.To(topologies.Hop{Link: i, Reverse: true})]
	bridgeB := b.bridges[graph.To(topologies.Hop{Link: i})]
	nameA, nameB := fmt.Sprintf("ql%da", i), fmt.Sprintf("ql%db", i)
	if !b.changing && !needsTwoStages(link.AToB) && !needsTwoStages(link.BToA) {
		a, z, err := b.addPair(nameA, nameB, bridgeA, bridgeB)
		if err != nil {
			return err
		}
		b.ends[i] = [2]netlink.Link{a, z}
		return errors.Join(b.shape(2*i, link.AToB, a, a), b.shape(2*i+1, link.BToA, z, z))
	}
	middle, err := b.addBridge(fmt.Sprintf("qm%d", i))
	if err != nil {
		return err
	}
	a, middleA, err := b.addPair(nameA, fmt.Sprintf("ql%dc", i), bridgeA, middle)
	if err != nil {
		return err
	}
	z, middleB, err := b.addPair(nameB, fmt.Sprintf("ql%dd", i), bridgeB, middle)
	if err != nil {
		return err
	}
	b.ends[i] = [2]netlink.Link{a, z}
	return errors.Join(b.shape(2*i, link.AToB, a, middleB), b.shape(2*i+1, link.BToA, z, middleA))
}

// needsTwoStages tells whether a rate and something else have to be told apart.
func needsTwoStages(p topologies.Parameters) bool { return p.RateBPS > 0 && lineWorks(p) }

// shape sets the qdiscs of one direction, from its first device to its last, which
// may be one.
func (b *kernelBuilder) shape(direction int, p topologies.Parameters, first, last netlink.Link) error {
	d := &b.directions[direction]
	d.last = last.Attrs().Index
	switch {
	case first != last:
		d.rate, d.line = first.Attrs().Index, d.last
	case p.RateBPS > 0:
		d.rate = d.last
	default:
		d.line = d.last
	}
	rate, line, err := d.stages(p)
	if err != nil {
		return err
	}
	return b.apply(append(rate, line...))
}

// addForwarding fixes by which device a switch reaches each host.
func (b *kernelBuilder) addForwarding(graph *topologies.Graph, node int, addresses []net.HardwareAddr) error {
	paths := graph.From(node)
	for host, address := range addresses {
		hop := paths[host][0]
		end := b.ends[hop.Link][0]
		if hop.Reverse {
			end = b.ends[hop.Link][1]
		}
		err := b.handle.NeighSet(&netlink.Neigh{
			LinkIndex: end.Attrs().Index, Family: unix.AF_BRIDGE,
			State: netlink.NUD_NOARP, Flags: netlink.NTF_MASTER, HardwareAddr: address,
		})
		if err != nil {
			return fmt.Errorf("forwarding %v by %s: %w", address, end.Attrs().Name, err)
		}
	}
	return nil
}
