//go:build linux

package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// batch is how many frames a system call receives or sends at most.
const batch = 64

const (
	// wantedBufferBytes is asked of the kernel for both directions.
	wantedBufferBytes = 32 << 20
	// sendPatienceMS is how long a full send buffer may hold up the loop.
	sendPatienceMS = 1
)

// socket is the one packet socket of the emulator. It hears all interfaces of its
// namespace; the socket address names the port.
type socket struct {
	descriptor  int
	bufferBytes int
	receiving   [batch]slot
	received    [batch]unix.Mmsghdr
	sending     [batch]slot
	sent        [batch]unix.Mmsghdr
}

// slot is what a message header points at. All of it lives in the socket, which
// never moves.
type slot struct {
	frame    *frame
	large    []byte // when receiving, where a long frame goes on
	deadline int64  // when sending
	address  unix.RawSockaddrLinklayer
	vectors  [2]unix.Iovec
	control  [64]byte
}

// openSocket makes the packet socket, with receive slots from the pool.
func openSocket(pool *framePool) (*socket, error) {
	// Protocol 0 keeps it deaf until all options are set.
	descriptor, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("link emulator: opening a packet socket: %w", err)
	}
	s := &socket{descriptor: descriptor}
	if err := s.configure(); err != nil {
		s.close()
		return nil, err
	}
	for i := range batch {
		s.receiving[i].frame, s.receiving[i].large = pool.get(), pool.getLarge()
		if s.receiving[i].frame == nil || s.receiving[i].large == nil {
			s.close()
			return nil, errors.New("link emulator: buffer_bytes is too small to receive anything")
		}
		s.prepareReceive(i)
		s.prepareSend(i)
	}
	return s, nil
}

func (s *socket) close() { _ = unix.Close(s.descriptor) }

func (s *socket) configure() error {
	for _, option := range []struct {
		name             string
		level, id, value int
	}{
		{"PACKET_VNET_HDR", unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1},
		{"PACKET_IGNORE_OUTGOING", unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1},
		// The ports have no qdisc; and older kernels' placeholder for one on an
		// interface whose far end is down drops without counting.
		{"PACKET_QDISC_BYPASS", unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1},
		{"SO_TIMESTAMPNS", unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1},
	} {
		if err := unix.SetsockoptInt(s.descriptor, option.level, option.id, option.value); err != nil {
			return fmt.Errorf("link emulator: setting %s on the packet socket: %w", option.name, err)
		}
	}
	// Root may go beyond the sysctl's bound; others get what it allows.
	for _, option := range [][2]int{{unix.SO_RCVBUFFORCE, unix.SO_RCVBUF}, {unix.SO_SNDBUFFORCE, unix.SO_SNDBUF}} {
		if unix.SetsockoptInt(s.descriptor, unix.SOL_SOCKET, option[0], wantedBufferBytes) == nil {
			continue
		}
		if err := unix.SetsockoptInt(s.descriptor, unix.SOL_SOCKET, option[1], wantedBufferBytes); err != nil {
			return fmt.Errorf("link emulator: sizing the packet socket's buffers: %w", err)
		}
	}
	granted, err := unix.GetsockoptInt(s.descriptor, unix.SOL_SOCKET, unix.SO_RCVBUF)
	if err != nil {
		return fmt.Errorf("link emulator: reading the receive buffer's size: %w", err)
	}
	s.bufferBytes = granted
	if err := unix.Bind(s.descriptor, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL)}); err != nil {
		return fmt.Errorf("link emulator: binding the packet socket: %w", err)
	}
	return nil
}

// networkOrder stores a number such that its bytes in memory are big-endian.
func networkOrder(value uint16) uint16 {
	var bytes [2]byte
	binary.BigEndian.PutUint16(bytes[:], value)
	return binary.NativeEndian.Uint16(bytes[:])
}

// prepareReceive points message i at its slot's buffers.
func (s *socket) prepareReceive(i int) {
	slot, header := &s.receiving[i], &s.received[i].Hdr
	slot.vectors[0].Base = &slot.frame.small[0]
	slot.vectors[0].SetLen(smallBytes)
	slot.vectors[1].Base = &slot.large[0]
	slot.vectors[1].SetLen(largeBytes)
	header.Iov = &slot.vectors[0]
	header.SetIovlen(2)
	header.Name = (*byte)(unsafe.Pointer(&slot.address))
	header.Namelen = unix.SizeofSockaddrLinklayer
	header.Control = &slot.control[0]
	header.SetControllen(len(slot.control))
}

func (s *socket) prepareSend(i int) {
	slot, header := &s.sending[i], &s.sent[i].Hdr
	slot.address.Family = unix.AF_PACKET
	slot.address.Protocol = networkOrder(unix.ETH_P_IP)
	slot.address.Halen = 6
	header.Name = (*byte)(unsafe.Pointer(&slot.address))
	header.Namelen = unix.SizeofSockaddrLinklayer
	header.Iov = &slot.vectors[0]
}

// receive reads up to a batch of frames into the receive slots, without waiting.
func (s *socket) receive() (int, error) {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(s.descriptor),
			uintptr(unsafe.Pointer(&s.received[0])), batch, unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		case unix.EAGAIN, unix.ENETDOWN:
			// ENETDOWN tells of an interface that went; others go on.
			return 0, nil
		default:
			return 0, fmt.Errorf("link emulator: receiving frames: %w", errno)
		}
	}
}

// arrival is what the kernel says of a received frame besides its bytes.
type arrival struct {
	interfaceIndex int32
	// bytes is the length of the Ethernet frame; negative if the virtio header
	// is incomplete.
	bytes int
	// stampNS is the kernel's receive time, by CLOCK_REALTIME; 0 if unknown.
	stampNS   int64
	truncated bool
}

// arrival describes the message in receive slot i.
func (s *socket) arrival(i int) arrival {
	header := &s.received[i]
	return arrival{
		interfaceIndex: s.receiving[i].address.Ifindex,
		bytes:          int(header.Len) - virtioBytes,
		stampNS:        receiveStamp(s.receiving[i].control[:header.Hdr.Controllen]),
		truncated:      header.Hdr.Flags&unix.MSG_TRUNC != 0,
	}
}

// receiveStamp finds the SO_TIMESTAMPNS control message.
func receiveStamp(control []byte) int64 {
	const head = unix.SizeofCmsghdr
	if len(control) < head+int(unsafe.Sizeof(unix.Timespec{})) {
		return 0
	}
	message := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
	if message.Level != unix.SOL_SOCKET || message.Type != unix.SO_TIMESTAMPNS {
		return 0
	}
	return (*unix.Timespec)(unsafe.Pointer(&control[head])).Nano()
}

// take hands out the frame in receive slot i and fills the slot anew. It returns
// nil, and the slot keeps its buffers, if the pool is exhausted.
func (s *socket) take(i, bytes int, pool *framePool) *frame {
	slot := &s.receiving[i]
	replacement := pool.get()
	if replacement == nil {
		return nil
	}
	if bytes+virtioBytes > smallBytes {
		large := pool.getLarge()
		if large == nil {
			pool.put(replacement)
			return nil
		}
		slot.frame.large, slot.large = slot.large, large
	}
	taken := slot.frame
	taken.bytes = bytes
	slot.frame = replacement
	return taken
}

// queue puts a frame into send slot i.
func (s *socket) queue(i int, f *frame, interfaceIndex int32, deadlineNS int64) {
	slot := &s.sending[i]
	slot.frame, slot.deadline = f, deadlineNS
	slot.address.Ifindex = interfaceIndex
	total := virtioBytes + f.bytes
	slot.vectors[0].Base = &f.small[0]
	slot.vectors[0].SetLen(min(total, smallBytes))
	vectors := 1
	if total > smallBytes {
		slot.vectors[1].Base = &f.large[0]
		slot.vectors[1].SetLen(total - smallBytes)
		vectors = 2
	}
	s.sent[i].Hdr.SetIovlen(vectors)
}

// send sends the frames in slots from up to, not including, until. It returns how many it
// sent, and if that isn't all, why the next one failed.
func (s *socket) send(from, until int) (int, unix.Errno) {
	waited := false
	for {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(s.descriptor),
			uintptr(unsafe.Pointer(&s.sent[from])), uintptr(until-from), unix.MSG_DONTWAIT, 0, 0)
		switch {
		case errno == 0:
			return int(n), 0
		case errno == unix.EINTR:
		case errno == unix.EAGAIN && !waited:
			waited = true
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(s.descriptor), Events: unix.POLLOUT}}, sendPatienceMS)
		default:
			return 0, errno
		}
	}
}

// overflows counts the frames that found the receive buffer full since the last
// call.
func (s *socket) overflows() uint64 {
	statistics, err := unix.GetsockoptTpacketStats(s.descriptor, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		panic("link emulator: PACKET_STATISTICS failed on our own packet socket: " + err.Error())
	}
	return uint64(statistics.Drops)
}
