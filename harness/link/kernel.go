//go:build linux

package link

import (
	"fmt"
	"sync"

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
// limit is the queue, then all else by another netem that nothing fills; so
// queue drops and losses are counted apart, and lost frames have taken their
// serialisation. A direction that needs both passes a bridge in the middle of the
// link.
//
// Its methods may be called from any thread, and at once.
type Kernel struct {
	topology   *topologies.Topology
	features   KernelFeatures
	handle     *netlink.Handle
	directions []kernelDirection
	// devices are all that are plugged into bridges. What they drop themselves,
	// because the far end is down or its backlog full, no qdisc counts.
	devices []int
	// segments is true if the hosts send one segment a frame.
	segments bool

	qdiscs *qdiscSocket
	// lock guards the rest.
	lock sync.Mutex
	// set are the root qdiscs that were set, by device.
	set map[int]netemOptions
}

// kernelDirection names the devices, by index, that shape one direction.
type kernelDirection struct {
	// rate is the device of the rate, line that of all else; 0 if there is none. The
	// device has a qdisc once one was needed.
	rate, line int
	// last is the device that frames leave the link by.
	last int
}

// BuildKernel builds the links in the calling thread's network namespace, where the
// ports' interfaces are up and not yet part of a bridge. The features are
// ProbeKernel's. If changing is set, every link is made ready for whatever
// SetLink may ask for; else a link takes on only what its two devices can express.
// It fails with ErrKernelCannot where KernelSupports does. What it
// built vanishes with the namespace. The hosts need each other's true addresses as
// permanent neighbours; Blueprint.Seed has no effect on the kernel's generators.
func BuildKernel(t *topologies.Topology, ports []Port, features KernelFeatures, changing bool) (*Kernel, error) {
	if err := KernelSupports(t, features); err != nil {
		return nil, err
	}
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("building kernel links: opening netlink: %w", err)
	}
	qdiscs, err := openQdiscSocket()
	if err != nil {
		handle.Close()
		return nil, fmt.Errorf("building kernel links: %w", err)
	}
	b := &kernelBuilder{
		Kernel: &Kernel{
			topology: t, features: features, handle: handle, directions: make([]kernelDirection, 2*len(t.Links)),
			segments: changing || NeedsSegments(t),
			qdiscs:   qdiscs,
			set:      map[int]netemOptions{},
		},
		ends:     make([][2]netlink.Link, len(t.Links)),
		changing: changing,
	}
	if err := b.build(ports); err != nil {
		b.Close()
		return nil, fmt.Errorf("building kernel links: %w", err)
	}
	return b.Kernel, nil
}

// Close lets go of the namespace; it removes nothing. No other call may follow.
func (k *Kernel) Close() {
	k.handle.Close()
	k.qdiscs.close()
}

// Report counts what the links have done. Frames and Bytes count what left each
// direction for the far end, duplicates included. LossDrops are frames of which
// nothing arrived. Duplicates stays 0: netem doesn't count them. Reordered counts what
// netem let go at once. EmulatorDrops counts what devices dropped outside the qdiscs.
func (k *Kernel) Report() (engine.LinkReport, error) {
	report := engine.LinkReport{Directions: namedDirections(k.topology)}
	counted, err := k.qdiscs.netems()
	if err != nil {
		return report, err
	}
	devices, err := k.handle.LinkList()
	if err != nil {
		return report, fmt.Errorf("reading the devices' counters: %w", err)
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
		named.QueueDrops = uint64(counted[d.rate].dropped)
		named.LossDrops, named.Reordered = uint64(counted[d.line].dropped), uint64(counted[d.line].letGo)
	}
	for _, device := range k.devices {
		if s, ok := statistics[device]; ok {
			report.EmulatorDrops += s.TxDropped
		}
	}
	return report, nil
}
