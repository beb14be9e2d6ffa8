//go:build linux

package link

import (
	"errors"
	"fmt"
	"math"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"quorumlab/harness/engine"
	"quorumlab/topologies"
)

// Kernel is a topology executed by the kernel. Every host and switch is a bridge,
// every link a veth pair between two bridges, all inside the fabric's namespace.
// So each direction is shaped in mid-path, where the sender's TCP doesn't see what
// becomes of its frames.
//
// A direction is shaped at its sending end: a rate and its queue by a netem whose
// limit is the queue, then delay and loss by another netem that nothing fills; so
// queue drops and losses are counted apart, and lost frames have taken their
// serialisation. A direction that needs both passes a bridge in the middle of the
// link.
type Kernel struct {
	topology   *topologies.Topology
	handle     *netlink.Handle
	directions []kernelDirection
	// devices are all that are plugged into bridges. What they drop themselves,
	// because the far end is down or its backlog full, no qdisc counts.
	devices []int
}

// kernelDirection names the devices, by index, that shape one direction.
type kernelDirection struct {
	rate int // 0 if there is no rate
	line int // 0 if there is neither delay nor loss
	// last is the device that frames leave the link by.
	last int
}

// BuildKernel builds the links in the calling thread's network namespace, where the
// ports' interfaces are up and not yet part of a bridge. The features are
// ProbeKernel's. It fails with ErrKernelCannot where KernelSupports does. What it
// built vanishes with the namespace. The hosts need each other's true addresses as
// permanent neighbours; Blueprint.Seed has no effect on the kernel's generators.
func BuildKernel(t *topologies.Topology, ports []Port, features KernelFeatures) (*Kernel, error) {
	if err := KernelSupports(t, features); err != nil {
		return nil, err
	}
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("building kernel links: opening netlink: %w", err)
	}
	b := &kernelBuilder{
		Kernel: &Kernel{topology: t, handle: handle, directions: make([]kernelDirection, 2*len(t.Links))},
		ends:   make([][2]netlink.Link, len(t.Links)),
		want:   map[int]*netlink.Netem{},
	}
	if err := b.build(ports); err != nil {
		handle.Close()
		return nil, fmt.Errorf("building kernel links: %w", err)
	}
	return b.Kernel, nil
}

// Close lets go of the namespace; it removes nothing.
func (k *Kernel) Close() { k.handle.Close() }

// Report counts what the links have done, from any thread. Frames and Bytes
// count what left each direction for the far end. EmulatorDrops counts what devices
// dropped outside the qdiscs.
func (k *Kernel) Report() (engine.LinkReport, error) {
	report := engine.LinkReport{Directions: namedDirections(k.topology)}
	qdiscs, err := k.handle.QdiscList(nil)
	if err != nil {
		return report, fmt.Errorf("reading the qdiscs' counters: %w", err)
	}
	devices, err := k.handle.LinkList()
	if err != nil {
		return report, fmt.Errorf("reading the devices' counters: %w", err)
	}
	drops := map[int]uint64{}
	for _, qdisc := range qdiscs {
		attributes := qdisc.Attrs()
		if attributes.Parent == netlink.HANDLE_ROOT && attributes.Statistics != nil && attributes.Statistics.Queue != nil {
			drops[attributes.LinkIndex] = uint64(attributes.Statistics.Queue.Drops)
		}
	}
	statistics := map[int]*netlink.LinkStatistics{}
	for _, device := range devices {
		if s := device.Attrs().Statistics; s != nil {
			statistics[device.Attrs().Index] = s
		}
	}
	for i, d := range k.directions {
		s, ok := statistics[d.last]
		if !ok {
			return report, fmt.Errorf("reading the devices' counters: device %d is gone", d.last)
		}
		named := &report.Directions[i]
		named.Frames, named.Bytes = s.TxPackets, s.TxBytes
		named.QueueDrops, named.LossDrops = drops[d.rate], drops[d.line]
	}
	for _, device := range k.devices {
		if s, ok := statistics[device]; ok {
			report.EmulatorDrops += s.TxDropped
		}
	}
	return report, nil
}

// kernelBuilder holds what is needed only while building.
type kernelBuilder struct {
	*Kernel
	bridges []netlink.Link
	// ends are the devices of each link at A's and at B's bridge.
	ends [][2]netlink.Link
	// want are the root qdiscs that were set, by device.
	want map[int]*netlink.Netem
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
	return b.readBack()
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
	if !needsTwoStages(link.AToB) && !needsTwoStages(link.BToA) {
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

func needsTwoStages(p topologies.Parameters) bool {
	return p.RateBPS > 0 && (p.Delay > 0 || p.Loss > 0)
}

// shape sets the qdiscs of one direction: the rate at its first device, delay and
// loss at its last.
func (b *kernelBuilder) shape(direction int, p topologies.Parameters, first, last netlink.Link) error {
	d := &b.directions[direction]
	d.last = last.Attrs().Index
	if p.RateBPS > 0 {
		d.rate = first.Attrs().Index
		if err := b.addRate(d.rate, p); err != nil {
			return fmt.Errorf("limiting the rate of %s: %w", first.Attrs().Name, err)
		}
	}
	if p.Delay == 0 && p.Loss == 0 {
		return nil
	}
	d.line = d.last
	err := b.addNetem(netemQdisc(d.line, netemOptions{
		// Rounded up: no frame may come early.
		delayTicks: uint32((p.Delay + nanosecondsPerTick - 1) / nanosecondsPerTick),
		lossTicks:  netemLossTicks(p.Loss),
		// Delay x rate frames are on the way; the default of 1000 would drop them.
		limit: unlimited,
	}))
	if err != nil {
		return fmt.Errorf("delaying %s: %w", last.Attrs().Name, err)
	}
	return nil
}

// addRate limits a device's rate. Netem keeps the frame in serialisation in its
// queue; the model counts only those behind it.
func (b *kernelBuilder) addRate(device int, p topologies.Parameters) error {
	limit := uint32(unlimited)
	if p.QueueFrames > 0 {
		limit = uint32(p.QueueFrames) + 1
	}
	return b.addNetem(netemQdisc(device, netemOptions{rateBPS: p.RateBPS, limit: limit}))
}

func (b *kernelBuilder) addNetem(qdisc *netlink.Netem) error {
	if err := b.handle.QdiscAdd(qdisc); err != nil {
		return fmt.Errorf("adding netem: %w", err)
	}
	b.want[qdisc.LinkIndex] = qdisc
	return nil
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

// readBack compares the qdiscs with what was set.
func (b *kernelBuilder) readBack() error {
	qdiscs, err := b.handle.QdiscList(nil)
	if err != nil {
		return fmt.Errorf("reading the qdiscs back: %w", err)
	}
	missing := len(b.want)
	for _, got := range qdiscs {
		want, ours := b.want[got.Attrs().LinkIndex]
		if !ours || got.Attrs().Parent != netlink.HANDLE_ROOT {
			continue
		}
		missing--
		if !sameNetem(want, got) {
			return fmt.Errorf("the qdisc of device %d is %v, want %v", want.LinkIndex, got, want)
		}
	}
	if missing != 0 {
		return fmt.Errorf("%d qdiscs that were set are missing", missing)
	}
	return nil
}

func sameNetem(want *netlink.Netem, qdisc netlink.Qdisc) bool {
	got, ok := qdisc.(*netlink.Netem)
	return ok && got.Latency == want.Latency && got.Loss == want.Loss && got.Limit == want.Limit &&
		got.Rate64 == want.Rate64 && got.Jitter == 0 && got.Duplicate == 0 && got.CorruptProb == 0 && got.ReorderProb == 0
}

// unlimited is a queue that nothing fills.
const unlimited = math.MaxInt32

// rootHandle is the handle of every qdisc that we add.
var rootHandle = netlink.MakeHandle(1, 0)

// nanosecondsPerTick is the unit of the kernel's packet schedulers.
const nanosecondsPerTick = 64

// netemOptions are what we use netem for.
type netemOptions struct {
	delayTicks, lossTicks uint32
	rateBPS               int64
	// limit is the greatest number of frames inside.
	limit uint32
}

func netemQdisc(device int, options netemOptions) *netlink.Netem {
	return &netlink.Netem{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: device, Handle: rootHandle, Parent: netlink.HANDLE_ROOT},
		Latency:    options.delayTicks,
		Loss:       options.lossTicks,
		Limit:      options.limit,
		Rate64:     uint64(options.rateBPS / 8),
	}
}
