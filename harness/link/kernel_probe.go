//go:build linux

package link

import (
	"context"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Names of the devices that ProbeKernel makes and removes.
const (
	probeBridge = "qlprobeb"
	probeVeth   = "qlprobe0"
	probePeer   = "qlprobe1"
)

// ProbeKernel finds out which parts the kernel has by using each on devices
// of the calling thread's network namespace, which must be a throw-away one where the
// thread has CAP_NET_ADMIN. It removes what it made. An error means that nothing is
// known, not that something lacks.
func ProbeKernel(ctx context.Context) (features KernelFeatures, err error) {
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: probeVeth}, PeerName: probePeer}
	if err := netlink.LinkAdd(veth); err != nil {
		return features, fmt.Errorf("probing the kernel: creating a veth pair: %w", err)
	}
	defer func() { err = errors.Join(err, removeLink(veth)) }()

	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: probeBridge}}
	if features.Bridge, err = exists(netlink.LinkAdd(bridge)); err != nil {
		return features, fmt.Errorf("probing the kernel: creating a bridge: %w", err)
	}
	if features.Bridge {
		defer func() { err = errors.Join(err, removeLink(bridge)) }()
	}
	if err := ctx.Err(); err != nil {
		return features, fmt.Errorf("probing the kernel: %w", err)
	}
	if features.Netem, err = probeNetem(veth.Index); err != nil {
		return features, fmt.Errorf("probing the kernel: %w", err)
	}
	return features, nil
}

// probeNetem tries all that we use of netem at a device, which then keeps it.
func probeNetem(device int) (bool, error) {
	qdiscs, err := openQdiscSocket()
	if err != nil {
		return false, err
	}
	defer qdiscs.close()
	// One nanosecond is beyond kernels before 4.15, which ignore the attributes of 64
	// bits and let jitter break a rate's order.
	want := netemOptions{
		delayNS: 1, spreadNS: 1, table: []int16{0}, duplicate: 1, reorder: 1, gap: 1,
		states: &netemStates{1, 2, 3, 4}, bytesPerSecond: orderedRate, limit: 1,
	}
	if there, err := exists(qdiscs.setNetem(device, want, false)); !there || err != nil {
		return false, err
	}
	got, err := qdiscs.netems()
	return err == nil && want.differences(got[device].options) == "", err
}

// exists tells a missing part of the kernel from a failure.
func exists(err error) (bool, error) {
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EOPNOTSUPP):
		return false, nil
	}
	return false, err
}

func removeLink(device netlink.Link) error {
	if err := netlink.LinkDel(device); err != nil {
		return fmt.Errorf("probing the kernel: removing %s: %w", device.Attrs().Name, err)
	}
	return nil
}
