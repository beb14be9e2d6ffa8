//go:build linux

package link

import (
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
)

// maxComingUp is how long interfaces may take until the kernel lets frames through.
const maxComingUp = 10 * time.Second

// AwaitUp waits until every veth device of a handle's network namespace carries
// frames. The kernel activates a device only some time after the call that brings it
// up, on a busy machine seconds after; until then its queue and its bridge drop every
// frame. Both ends of a pair must have been brought up. It fails after 10 s, naming a
// device.
func AwaitUp(handle *netlink.Handle) error {
	for deadline := time.Now().Add(maxComingUp); ; time.Sleep(time.Millisecond) {
		links, err := handle.LinkList()
		if err != nil {
			return fmt.Errorf("listing interfaces: %w", err)
		}
		waiting := ""
		for _, link := range links {
			if link.Type() == "veth" && link.Attrs().OperState != netlink.OperUp {
				waiting = fmt.Sprintf("%s is %s", link.Attrs().Name, link.Attrs().OperState)
				break
			}
		}
		if waiting == "" {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waiting for interfaces to come up: after %v %s", maxComingUp, waiting)
		}
	}
}
