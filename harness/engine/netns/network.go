//go:build linux

package netns

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"quorumlab/harness/link"
	"quorumlab/topologies"
)

const (
	// hostInterface is the one interface of every host besides lo.
	hostInterface = "eth0"
	mtuBytes      = 1500
	// maxBuilders is how many threads build hosts. Most of the work is done
	// under one lock of the kernel's.
	maxBuilders = 8
)

// gateway is the next hop that the emulator's hosts send everything to. Nobody
// has the address, which is outside of the hosts' range; its neighbour entry
// is permanent.
var gateway = netip.MustParseAddr("169.254.0.1")

// buildRequest asks an init to build the network of a lab.
type buildRequest struct {
	// Topology has links only if the kernel executes them.
	Topology          *topologies.Topology `json:"topology"`
	CongestionControl string               `json:"congestion_control"`
	// Segments makes hosts send single segments.
	Segments bool `json:"segments,omitempty"`
	// Changing says that the links' parameters will change.
	Changing bool `json:"changing,omitempty"`
	// Kernel is set if the kernel executes the links.
	Kernel *link.KernelFeatures `json:"kernel,omitempty"`
}

// network is what an init has built.
type network struct {
	// hosts are the hosts' namespaces by name. The fabric that they are all
	// plugged into is the init's own namespace.
	hosts map[string]int
	// kernel is nil if the emulator executes the links.
	kernel *link.Kernel
}

// ports says where each host is plugged in. It follows from the topology
// alone, so that the controller and the init agree.
func ports(t *topologies.Topology) []link.Port {
	ports := make([]link.Port, len(t.Hosts))
	for i, host := range t.Hosts {
		ports[i] = link.Port{Host: host.Name, Interface: fmt.Sprintf("port%d", i), MAC: hostMAC(i).String()}
	}
	return ports
}

// hostMAC is the locally administered Ethernet address of a host's own end.
func hostMAC(i int) net.HardwareAddr {
	return net.HardwareAddr{0x02, 0x71, 0x6c, 0x01, byte(i >> 8), byte(i)}
}

// portMAC is that of the fabric's end.
func portMAC(i int) net.HardwareAddr {
	return net.HardwareAddr{0x02, 0x71, 0x6c, 0x02, byte(i >> 8), byte(i)}
}

// build makes the hosts' namespaces and plugs them into the fabric.
func build(q buildRequest) (*network, error) {
	if err := disableIPv6(); err != nil {
		return nil, err
	}
	namespaces := make([]int, len(q.Topology.Hosts))
	var workers errgroup.Group
	count := min(runtime.NumCPU(), maxBuilders, len(namespaces))
	for first := range count {
		workers.Go(func() error {
			fabric, err := netlink.NewHandle(unix.NETLINK_ROUTE)
			if err != nil {
				return fmt.Errorf("opening netlink in the fabric: %w", err)
			}
			defer fabric.Close()
			return onOwnThread(func() error {
				for i := first; i < len(namespaces); i += count {
					if namespaces[i], err = buildHost(q, fabric, i); err != nil {
						return fmt.Errorf("building host %s: %w", q.Topology.Hosts[i].Name, err)
					}
				}
				return nil
			})
		})
	}
	if err := workers.Wait(); err != nil {
		return nil, err
	}
	if err := nameHosts(q.Topology); err != nil {
		// Only who walks in misses names. The lab's log says so.
		fmt.Fprintln(os.Stderr, "lab init:", err)
	}
	n := &network{hosts: map[string]int{}}
	for i, host := range q.Topology.Hosts {
		n.hosts[host.Name] = namespaces[i]
	}
	if q.Kernel == nil {
		return n, awaitUp()
	}
	kernel, err := link.BuildKernel(q.Topology, ports(q.Topology), *q.Kernel, q.Changing)
	n.kernel = kernel
	return n, err
}

// awaitUp waits until the fabric's ports carry frames. The kernel activates a pair's
// host end first.
func awaitUp() error {
	fabric, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("opening netlink in the fabric: %w", err)
	}
	defer fabric.Close()
	return link.AwaitUp(fabric)
}

// buildHost takes the calling thread to a new namespace and makes that a host.
func buildHost(q buildRequest, fabric *netlink.Handle, i int) (namespace int, err error) {
	if namespace, err = enterNewNamespace(); err != nil {
		return -1, err
	}
	if err := disableIPv6(); err != nil {
		return -1, err
	}
	if err := setCongestionControl(q.CongestionControl); err != nil {
		return -1, err
	}
	if err := plugHost(fabric, namespace, i); err != nil {
		return -1, err
	}
	host, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return -1, fmt.Errorf("opening netlink: %w", err)
	}
	defer host.Close()
	if err := addressHost(q, host, i); err != nil {
		return -1, err
	}
	if q.Segments {
		return namespace, link.LimitSegments(hostInterface)
	}
	return namespace, nil
}

// plugHost makes a veth pair from the fabric to a host.
func plugHost(fabric *netlink.Handle, namespace, i int) error {
	attributes := netlink.NewLinkAttrs()
	attributes.Name = fmt.Sprintf("port%d", i)
	attributes.MTU = mtuBytes
	attributes.HardwareAddr = portMAC(i)
	// The default is one queue for each processor, which is memory for nothing.
	attributes.NumTxQueues, attributes.NumRxQueues = 1, 1
	pair := netlink.NewVeth(attributes)
	pair.PeerName = hostInterface
	pair.PeerHardwareAddr = hostMAC(i)
	pair.PeerNamespace = netlink.NsFd(namespace)
	if err := fabric.LinkAdd(pair); err != nil {
		return fmt.Errorf("making a veth pair: %w", err)
	}
	if err := fabric.LinkSetUp(pair); err != nil {
		return fmt.Errorf("bringing up the fabric's end: %w", err)
	}
	return nil
}

// addressHost brings a host's interfaces up and tells it where the others are.
func addressHost(q buildRequest, host *netlink.Handle, i int) error {
	loopback, err := host.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("finding lo: %w", err)
	}
	if err := host.LinkSetUp(loopback); err != nil {
		return fmt.Errorf("bringing up lo: %w", err)
	}
	eth, err := host.LinkByName(hostInterface)
	if err != nil {
		return fmt.Errorf("finding %s: %w", hostInterface, err)
	}
	// On the kernel's links all hosts are on one Ethernet.
	bits := topologies.Prefix.Bits()
	if q.Kernel == nil {
		bits = 32
	}
	address := ipNet(netip.PrefixFrom(q.Topology.Hosts[i].Address, bits))
	// No broadcast address: it would be another entry of the routing table.
	if err := host.AddrAdd(eth, &netlink.Addr{IPNet: address, Broadcast: net.IPv4zero}); err != nil {
		return fmt.Errorf("giving %s the address %s: %w", hostInterface, address, err)
	}
	if err := host.LinkSetUp(eth); err != nil {
		return fmt.Errorf("bringing up %s: %w", hostInterface, err)
	}
	if q.Kernel == nil {
		return routeByGateway(host, eth.Attrs().Index)
	}
	return addNeighbours(eth.Attrs().Index, othersOf(q.Topology, i))
}

// othersOf are the neighbours of a host on one Ethernet.
func othersOf(t *topologies.Topology, i int) []neighbour {
	others := make([]neighbour, 0, len(t.Hosts))
	for j, other := range t.Hosts {
		if j != i {
			others = append(others, neighbour{other.Address, hostMAC(j)})
		}
	}
	return others
}

// routeByGateway sends everything to the emulator: one route and one neighbour
// however many hosts there are, and no ARP.
func routeByGateway(host *netlink.Handle, device int) error {
	if err := addNeighbours(device, []neighbour{{gateway, link.GatewayMAC}}); err != nil {
		return err
	}
	err := host.RouteAdd(&netlink.Route{
		LinkIndex: device,
		Dst:       ipNet(topologies.Prefix),
		Gw:        gateway.AsSlice(),
		Flags:     int(netlink.FLAG_ONLINK),
	})
	if err != nil {
		return fmt.Errorf("adding the route to %s: %w", topologies.Prefix, err)
	}
	return nil
}

func ipNet(prefix netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), 32)}
}

// probed is what works in a lab made here.
type probed struct {
	Kernel link.KernelFeatures `json:"kernel"`
	// KernelError says why nothing is known about the kernel's links.
	KernelError string `json:"kernel_error,omitempty"`
	// UserspaceError says why the emulator's socket can't be had.
	UserspaceError string `json:"userspace_error,omitempty"`
}

// probe tries both link executors in a namespace that it throws away.
func probe() *probed {
	p := &probed{}
	namespace := -1
	err := onOwnThread(func() (err error) {
		if namespace, err = enterNewNamespace(); err != nil {
			return err
		}
		if err := probeSocket(); err != nil {
			p.UserspaceError = err.Error()
		}
		p.Kernel, err = link.ProbeKernel(context.Background())
		return err
	})
	if err != nil {
		p.KernelError = err.Error()
	}
	if namespace >= 0 {
		unix.Close(namespace)
	}
	return p
}

// probeSocket opens a socket as the emulator does.
func probeSocket() error {
	socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening a packet socket: %w", err)
	}
	defer unix.Close(socket)
	for name, option := range map[string]int{"PACKET_VNET_HDR": unix.PACKET_VNET_HDR, "PACKET_IGNORE_OUTGOING": unix.PACKET_IGNORE_OUTGOING} {
		if err := unix.SetsockoptInt(socket, unix.SOL_PACKET, option, 1); err != nil {
			return fmt.Errorf("setting %s on a packet socket: %w", name, err)
		}
	}
	return nil
}
