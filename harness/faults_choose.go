package harness

import (
	"fmt"
	"slices"

	"quorumlab/faults"
	"quorumlab/harness/experiment"
	"quorumlab/harness/link"
	"quorumlab/topologies"
)

// framesBreak tells whether any fault changes more about frames than a delay that links
// have.
func framesBreak(schedule []faults.Fault, topology *topologies.Topology) bool {
	return slices.ContainsFunc(schedule, func(f faults.Fault) bool {
		if f.Link == nil {
			return false
		}
		if ofPairs(f) {
			return !f.Link(topologies.Parameters{}).DelayOnly()
		}
		return slices.ContainsFunc(topology.Links, func(l topologies.Link) bool {
			return !onlyDelays(l.AToB, f.Link(l.AToB)) || !onlyDelays(l.BToA, f.Link(l.BToA))
		})
	})
}

// onlyDelays tells whether nothing but the delay of a direction changes that has one.
func onlyDelays(before, after topologies.Parameters) bool {
	if before.Delay > 0 {
		after.Delay = before.Delay
	}
	return after == before
}

// ofPairs tells whether a fault that changes parameters is about pairs of hosts, not links.
func ofPairs(f faults.Fault) bool { return len(f.From) > 0 || len(f.To) > 0 }

// laidOver is the topology with a fault's parameters laid over all links.
func laidOver(f faults.Fault, topology *topologies.Topology) *topologies.Topology {
	laid := *topology
	laid.Links = slices.Clone(topology.Links)
	for i := range laid.Links {
		laid.Links[i].AToB, laid.Links[i].BToA = f.Link(laid.Links[i].AToB), f.Link(laid.Links[i].BToA)
	}
	return &laid
}

// needsEmulator says which fault only the userspace emulator can carry out, and why; empty
// if there is none.
func needsEmulator(source *experiment.Source) string {
	for _, point := range source.Points {
		topology := point.Spec.Network()
		for _, f := range point.Spec.Schedule() {
			if reason := onlyEmulator(f, topology); reason != "" {
				return fmt.Sprintf("fault %s %s", f.ID, reason)
			}
		}
	}
	return ""
}

func onlyEmulator(f faults.Fault, topology *topologies.Topology) string {
	kind, ok := faults.Lookup(f.Kind)
	switch {
	case !ok || kind.Hits != faults.HitsLinks && kind.Hits != faults.HitsPairs:
		return ""
	case f.Link == nil && kind.Hits == faults.HitsLinks:
		return "takes links down, which only the emulator can"
	case f.Link == nil || ofPairs(f):
		return "is about pairs of hosts, which only the emulator tells apart"
	}
	laid := laidOver(f, topology)
	if err := link.KernelSupports(laid, link.KernelFeatures{Bridge: true, Netem: true}); err != nil {
		return fmt.Sprintf("changes links to what only the emulator can do (%v)", err)
	}
	return ""
}
