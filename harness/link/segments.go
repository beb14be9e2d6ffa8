//go:build linux

package link

import (
	"fmt"

	"github.com/vishvananda/netlink"

	"quorumlab/topologies"
)

// NeedsSegments is true if some link must treat each segment on its own, because it
// does more than delay each by the same time. Then LimitSegments must be called for
// every host's interface before the host sends: a lost frame that holds 45 segments is
// 45 lost segments. So it must where links will be changed to such ones later; and for
// a capture to show the segments that a real link would carry.
func NeedsSegments(t *topologies.Topology) bool {
	for _, link := range t.Links {
		if !link.AToB.DelayOnly() || !link.BToA.DelayOnly() {
			return true
		}
	}
	return false
}

// LimitSegments makes an interface of the calling thread's network namespace
// hand out one segment a frame. It is for the host's end of its veth pair, and
// works without root inside a user namespace.
func LimitSegments(interfaceName string) error {
	device, err := netlink.LinkByName(interfaceName)
	if err != nil {
		return fmt.Errorf("turning segmentation offload off: finding interface %s: %w", interfaceName, err)
	}
	if err := netlink.LinkSetGSOMaxSegs(device, 1); err != nil {
		return fmt.Errorf("turning segmentation offload off on interface %s: %w", interfaceName, err)
	}
	return nil
}
