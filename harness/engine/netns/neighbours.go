//go:build linux

package netns

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// neighbour is a host as another one must know it.
type neighbour struct {
	address netip.Addr
	mac     net.HardwareAddr
}

// addNeighbours makes the neighbours of a device of the calling thread's namespace
// permanent. However many there are it takes two system calls: the kernel reads all
// messages of a datagram, and says of each only if it refused it, but for the last.
func addNeighbours(device int, neighbours []neighbour) error {
	if len(neighbours) == 0 {
		return nil
	}
	socket, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("opening netlink: %w", err)
	}
	defer unix.Close(socket)
	for len(neighbours) > 0 {
		batch := neighbours[:min(len(neighbours), maxBatch)]
		neighbours = neighbours[len(batch):]
		if err := retry(func() error {
			return unix.Sendto(socket, neighbourMessages(device, batch), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		}); err != nil {
			return fmt.Errorf("adding neighbours: %w", err)
		}
		if err := awaitAcknowledgement(socket, batch); err != nil {
			return err
		}
	}
	return nil
}

// maxBatch keeps a datagram far below what a socket may send at once.
const maxBatch = 1000

// neighbourMessages asks for an acknowledgement of the last message only. The sequence
// numbers are those of the neighbours, from 1.
func neighbourMessages(device int, neighbours []neighbour) []byte {
	var datagram []byte
	for i, n := range neighbours {
		flags := unix.NLM_F_CREATE | unix.NLM_F_REPLACE
		if i == len(neighbours)-1 {
			flags |= unix.NLM_F_ACK
		}
		message := nl.NewNetlinkRequest(unix.RTM_NEWNEIGH, flags)
		message.Seq = uint32(i + 1)
		message.AddData(&netlink.Ndmsg{Family: unix.AF_INET, Index: uint32(device), State: netlink.NUD_PERMANENT})
		message.AddData(nl.NewRtAttr(unix.NDA_DST, n.address.AsSlice()))
		message.AddData(nl.NewRtAttr(unix.NDA_LLADDR, n.mac))
		datagram = append(datagram, message.Serialize()...)
	}
	return datagram
}

// awaitAcknowledgement reads until the last message is acknowledged, or one refused.
func awaitAcknowledgement(socket int, batch []neighbour) error {
	buffer := make([]byte, 64<<10)
	for {
		var length int
		err := retry(func() (err error) {
			length, _, err = unix.Recvfrom(socket, buffer, 0)
			return err
		})
		if err != nil {
			return fmt.Errorf("adding neighbours: awaiting the kernel's answer: %w", err)
		}
		answers, err := syscall.ParseNetlinkMessage(buffer[:length])
		if err != nil {
			return fmt.Errorf("adding neighbours: reading the kernel's answer: %w", err)
		}
		for _, answer := range answers {
			if answer.Header.Type != unix.NLMSG_ERROR || len(answer.Data) < 4 {
				continue
			}
			about := int(answer.Header.Seq) - 1
			if errno := -int32(binary.NativeEndian.Uint32(answer.Data)); errno != 0 {
				return fmt.Errorf("adding the neighbour %s: %w", batch[about].address, syscall.Errno(errno))
			}
			if about == len(batch)-1 {
				return nil
			}
		}
	}
}

// retry repeats a system call that a signal interrupted.
func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
