package link

import (
	"errors"
	"fmt"
	"math"
	"time"

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

// Limits of what the kernel executor takes on.
const (
	// maxNetemDelay is netem's 32-bit count of 64 ns ticks.
	maxNetemDelay = 270 * time.Second
	// maxNetemLossError is the greatest relative error of a loss that netem's
	// 32-bit probability may have.
	maxNetemLossError = 0.001
)

// KernelSupports tells whether a kernel with these features can execute the
// topology exactly as the model says: nil, or an ErrKernelCannot. It takes any
// topology without a circle. Netem's jitter reorders frames, so jitter is refused;
// without netem only links that do nothing remain.
func KernelSupports(t *topologies.Topology, features KernelFeatures) error {
	if !features.Bridge {
		return fmt.Errorf("%w: it has no bridge", ErrKernelCannot)
	}
	if err := checkTree(t); err != nil {
		return err
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
	return nil
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

// kernelRefuses names the parameter that the kernel can't express, if any.
func kernelRefuses(p topologies.Parameters, features KernelFeatures) string {
	switch {
	case p.Jitter > 0:
		return fmt.Sprintf("jitter %v: netem would let frames overtake each other", p.Jitter)
	case p.Delay > 0 && !features.Netem:
		return fmt.Sprintf("delay %v needs netem, which this kernel lacks", p.Delay)
	case p.Loss > 0 && !features.Netem:
		return fmt.Sprintf("loss %v needs netem, which this kernel lacks", p.Loss)
	case p.Delay > maxNetemDelay:
		return fmt.Sprintf("delay %v is above netem's greatest, %v", p.Delay, maxNetemDelay)
	case p.Delay%time.Microsecond != 0:
		return fmt.Sprintf("delay %v is not in whole microseconds", p.Delay)
	case p.Loss > 0 && netemLossError(p.Loss) > maxNetemLossError:
		return fmt.Sprintf("loss %v is too small for netem's 32-bit probability", p.Loss)
	case p.RateBPS%8 != 0:
		return fmt.Sprintf("rate %d bit/s is not in whole bytes", p.RateBPS)
	case p.RateBPS > 0 && !features.Netem:
		return fmt.Sprintf("rate %d bit/s needs netem, which this kernel lacks", p.RateBPS)
	}
	return ""
}

// netemLossTicks is a loss in netem's unit: shares of 2^32-1.
func netemLossTicks(loss float64) uint32 {
	return uint32(math.Round(loss * math.MaxUint32))
}

// netemLossError is the relative error of netem's nearest loss.
func netemLossError(loss float64) float64 {
	return math.Abs(float64(netemLossTicks(loss))/math.MaxUint32-loss) / loss
}
