package link

import (
	"errors"
	"fmt"

	"quorumlab/topologies"
)

// ErrKernelCannot is met where the kernel's bridges and qdiscs can't do what a
// topology declares; the error's text names the link and the parameter. The
// userspace emulator can.
var ErrKernelCannot = errors.New("the kernel can't execute this topology")

// KernelFeatures says which parts the running kernel has. A token bucket (tbf) is
// not among them: one deep enough for timers that are late lets as much through an
// idle link at once, and a shallower one cost 15% of a rate of 200 Mbit/s.
// Netem's rate does neither.
type KernelFeatures struct {
	Bridge bool `json:"bridge"`
	Netem  bool `json:"netem"`
}

// KernelSupports tells whether a kernel with these features can execute the
// topology exactly as the model says: nil, or an ErrKernelCannot. It takes any
// topology without a circle; docs/links.md lists the parameters that it refuses.
// Without netem only links that do nothing remain.
func KernelSupports(t *topologies.Topology, features KernelFeatures) error {
	if !features.Bridge {
		return fmt.Errorf("%w: it has no bridge", ErrKernelCannot)
	}
	for _, link := range t.Links {
		for _, p := range []topologies.Parameters{link.AToB, link.BToA} {
			if err := p.Check(); err != nil {
				return fmt.Errorf("link %s: %w", link.Name, err)
			}
			if reason := kernelRefuses(p, features); reason != "" {
				return fmt.Errorf("%w: link %s: %s", ErrKernelCannot, link.Name, reason)
			}
		}
	}
	return checkTree(t)
}

// checkTree refuses topologies where frames could go more than one way: bridges
// choose their way by destination alone, the model by source and destination.
func checkTree(t *topologies.Topology) error {
	graph, err := t.Graph()
	if err != nil {
		return err
	}
	if graph.Len() != len(t.Links)+1 {
		return fmt.Errorf("%w: its %d links among %d hosts and switches are not a tree", ErrKernelCannot, len(t.Links), graph.Len())
	}
	degree := make([]int, graph.Len())
	for i := range t.Links {
		degree[graph.To(topologies.Hop{Link: i})]++
		degree[graph.To(topologies.Hop{Link: i, Reverse: true})]++
	}
	for host, links := range degree[:len(t.Hosts)] {
		// Hosts don't forward, but a host's bridge would.
		if links != 1 {
			return fmt.Errorf("%w: host %s has %d links, want 1", ErrKernelCannot, t.Hosts[host].Name, links)
		}
	}
	if len(t.Hosts) == 0 {
		return fmt.Errorf("%w: it has no hosts", ErrKernelCannot)
	}
	for node, path := range graph.From(0) {
		if node != 0 && path == nil {
			return fmt.Errorf("%w: it isn't connected", ErrKernelCannot)
		}
	}
	return nil
}

// kernelRefuses names the parameter that the kernel can't express, if any. The
// parameters have passed their Check.
func kernelRefuses(p topologies.Parameters, features KernelFeatures) string {
	switch {
	case p.Down:
		return "down: its frames would have to take other paths, and the bridges' tables are fixed"
	case p.Trace != nil:
		return "trace: netem can't follow one"
	case p.Corrupt > 0:
		return fmt.Sprintf("corrupt %v: netem flips bits of the Ethernet header too, and such a frame is lost without the receiver's checksum, or passes", p.Corrupt)
	case p.ReorderCorrelation > 0:
		return fmt.Sprintf("reorder_correlation %v: netem averages its random numbers, which isn't the two states of the model", p.ReorderCorrelation)
	case p.RateBPS > 0 && p.QueueBytes > 0:
		return fmt.Sprintf("queue_bytes %d: netem counts frames only", p.QueueBytes)
	case p.RateBPS%8 != 0:
		return fmt.Sprintf("rate %d bit/s is not in whole bytes", p.RateBPS)
	case p.RateBPS > 0 && !features.Netem:
		return fmt.Sprintf("rate %d bit/s needs netem, which this kernel lacks", p.RateBPS)
	case lineWorks(p) && !features.Netem:
		return impairment(p) + " needs netem, which this kernel lacks"
	}
	if p.Jitters() {
		if _, err := newNetemJitter(p); err != nil {
			return fmt.Sprintf("jitter %v: %v", p.Jitter, err)
		}
	}
	return tooSmall(p)
}

// impairment names one thing that a direction does besides its rate.
func impairment(p topologies.Parameters) string {
	switch {
	case p.GilbertElliott != nil:
		return "gilbert_elliott"
	case p.Loss > 0:
		return fmt.Sprintf("loss %v", p.Loss)
	case p.JitterTable != nil:
		return "jitter by a table"
	case p.Jitter > 0:
		return fmt.Sprintf("jitter %v", p.Jitter)
	case p.Duplicate > 0:
		return fmt.Sprintf("duplicate %v", p.Duplicate)
	case p.Reorder > 0:
		return fmt.Sprintf("reorder %v", p.Reorder)
	}
	return fmt.Sprintf("delay %v", p.Delay)
}
