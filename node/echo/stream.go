//go:build linux

package echo

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"quorumlab/node/control"
	"quorumlab/node/driver/clock"
)

// The datagrams of a stream: the stream's nonce, the sequence number from 0, when it
// was sent, and bytes that follow from the sequence number, so that a flipped bit is
// seen.
const (
	nonceAt, sequenceAt, stampAt, paddingAt = 0, 8, 12, 20

	// headerBytes are those of UDP, IP and Ethernet.
	headerBytes = 8 + 20 + 14
	// bufferBytes is what the sockets of streams ask for.
	bufferBytes = 8 << 20
	// maxReceivers bounds the streams that an echo process listens for at once.
	maxReceivers = 1000
)

// Streams are the one-way streams that an echo process sends and receives: frames are
// stamped as they leave and, by the kernel, as they come, on the clock that all hosts
// of a machine share. Rows go to files in one folder.
type Streams struct {
	dir string

	mu        sync.Mutex
	receivers map[string]*receiver
	closed    bool
}

// NewStreams keeps the rows of its streams in an existing folder; without one ("") it
// refuses every stream.
func NewStreams(dir string) *Streams { return &Streams{dir: dir, receivers: map[string]*receiver{}} }

// Close ends the streams that are still being received; their rows are lost.
func (s *Streams) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, r := range s.receivers {
		r.close()
	}
	s.receivers = nil
}

// check refuses streams that have no folder or no proper name.
func (s *Streams) check(stream string) error {
	if s.dir == "" {
		return errors.New("this echo process was given no folder for streams")
	}
	return checkName(stream)
}

// Receive listens for a stream on a port of its own.
func (s *Streams) Receive(order control.Receive) (control.Receiving, error) {
	if err := s.check(order.Stream); err != nil {
		return control.Receiving{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return control.Receiving{}, errors.New("receive: the echo process is ending")
	case s.receivers[order.Stream] != nil:
		return control.Receiving{}, fmt.Errorf("receive: the stream %s is being received already", order.Stream)
	case len(s.receivers) >= maxReceivers:
		return control.Receiving{}, fmt.Errorf("receive: %d streams are being received, which is all", maxReceivers)
	}
	r, err := newReceiver(order.Stream)
	if err != nil {
		return control.Receiving{}, fmt.Errorf("receive: %w", err)
	}
	s.receivers[order.Stream] = r
	go r.run()
	return control.Receiving{Port: r.conn.LocalAddr().(*net.UDPAddr).Port}, nil
}

// Finish waits for the rest of a stream, stops listening, and writes the rows.
func (s *Streams) Finish(ctx context.Context, order control.Finish) (control.Received, error) {
	s.mu.Lock()
	r := s.receivers[order.Stream]
	delete(s.receivers, order.Stream)
	s.mu.Unlock()
	if r == nil {
		return control.Received{}, fmt.Errorf("finish: no stream %s is being received", order.Stream)
	}
	r.await(ctx, order.Count, time.Duration(order.WaitNS))
	r.close()
	<-r.done
	if err := writeRows(filepath.Join(s.dir, order.Stream+ReceivedSuffix), r.rows); err != nil {
		return control.Received{}, fmt.Errorf("finish: %w", err)
	}
	return control.Received{
		Frames: len(r.rows), Distinct: len(r.seen), Damaged: r.damaged, Overflowed: overflows() - r.overflowed,
	}, nil
}

// Send sends a stream and returns once the last frame is on its way.
func (s *Streams) Send(ctx context.Context, order control.Send) (control.Sent, error) {
	if err := errors.Join(s.check(order.Stream), checkSend(order)); err != nil {
		return control.Sent{}, err
	}
	address, err := netip.ParseAddrPort(order.Address)
	if err != nil || !address.Addr().Is4() {
		return control.Sent{}, fmt.Errorf("send: the address is %q, want an IPv4 address and a port", order.Address)
	}
	socket, err := openSocket()
	if err != nil {
		return control.Sent{}, fmt.Errorf("send: %w", err)
	}
	defer socket.Close()
	raw, err := socket.SyscallConn()
	if err != nil {
		return control.Sent{}, fmt.Errorf("send: %w", err)
	}
	sender := &sender{raw: raw, to: &unix.SockaddrInet4{Port: int(address.Port()), Addr: address.Addr().As4()}, order: order}
	sender.packet = make([]byte, order.FrameBytes-headerBytes)
	rows, err := sender.run(ctx)
	if err != nil {
		return control.Sent{}, fmt.Errorf("send: %w", err)
	}
	if err := writeRows(filepath.Join(s.dir, order.Stream+SentSuffix), rows); err != nil {
		return control.Sent{}, fmt.Errorf("send: %w", err)
	}
	return control.Sent{Frames: len(rows), Refused: sender.refused}, nil
}

// openSocket makes a socket with room for bursts, as much as this user may have.
func openSocket() (*net.UDPConn, error) {
	packets, err := net.ListenPacket("udp4", ":0")
	if err != nil {
		return nil, err
	}
	conn := packets.(*net.UDPConn)
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		for _, option := range [][2]int{{unix.SO_RCVBUFFORCE, unix.SO_RCVBUF}, {unix.SO_SNDBUFFORCE, unix.SO_SNDBUF}} {
			if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, option[0], bufferBytes) != nil {
				_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, option[1], bufferBytes)
			}
		}
		if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS_NEW, 1); err != nil {
			failed = fmt.Errorf("asking for the kernel's receive stamps: %w", err)
		}
	})
	if err = errors.Join(err, failed); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// sender is one order to send at work.
type sender struct {
	raw     syscall.RawConn
	to      *unix.SockaddrInet4
	order   control.Send
	packet  []byte
	refused int
}

// run sends the frames on a thread of its own; one that is late is followed at once
// by those that are due meanwhile.
func (s *sender) run(ctx context.Context) ([]row, error) {
	pacer, err := clock.NewPacer()
	if err != nil {
		return nil, err
	}
	defer pacer.Close()
	rows := make([]row, 0, s.order.Count)
	binary.BigEndian.PutUint64(s.packet[nonceAt:], nonceOf(s.order.Stream))
	start := clock.Now()
	for i := range s.order.Count {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if s.order.IntervalNS > 0 {
			pacer.SleepUntil(start.Add(time.Duration(int64(i) * s.order.IntervalNS)))
		}
		binary.BigEndian.PutUint32(s.packet[sequenceAt:], uint32(i))
		pad(s.packet, uint32(i))
		sentNS, err := s.send()
		if err != nil {
			s.refused++
			continue
		}
		rows = append(rows, row{sequence: uint32(i), sentNS: sentNS})
	}
	return rows, nil
}

// send stamps the packet each time that it tries to send it.
func (s *sender) send() (sentNS int64, err error) {
	ended := s.raw.Write(func(fd uintptr) bool {
		for {
			sentNS = int64(clock.Now())
			binary.BigEndian.PutUint64(s.packet[stampAt:], uint64(sentNS))
			err = unix.Sendto(int(fd), s.packet, unix.MSG_DONTWAIT, s.to)
			if err != unix.EINTR {
				return err != unix.EAGAIN
			}
		}
	})
	return sentNS, errors.Join(err, ended)
}

// receiver is one stream that is listened for.
type receiver struct {
	conn  *net.UDPConn
	nonce uint64
	done  chan struct{}

	mu sync.Mutex
	// wanted is how many different frames are awaited, 0 for any number; complete is
	// closed once they have come.
	wanted   int
	complete chan struct{}

	// What came; to be read by others once done is closed.
	rows    []row
	seen    map[uint32]bool
	damaged int
	// overflowed is what the host's sockets had no room for before the stream.
	overflowed uint64
}

func newReceiver(stream string) (*receiver, error) {
	conn, err := openSocket()
	if err != nil {
		return nil, err
	}
	return &receiver{
		overflowed: overflows(), conn: conn, nonce: nonceOf(stream), done: make(chan struct{}), complete: make(chan struct{}), seen: map[uint32]bool{},
	}, nil
}

// close ends run; it may be called twice.
func (r *receiver) close() { r.conn.Close() }

// await waits until count different frames have come, but no longer than limit. It is
// called once.
func (r *receiver) await(ctx context.Context, count int, limit time.Duration) {
	r.mu.Lock()
	r.wanted = count
	enough := count > 0 && len(r.seen) >= count
	r.mu.Unlock()
	if enough {
		return
	}
	select {
	case <-r.complete:
	case <-r.done:
	case <-ctx.Done():
	case <-time.After(limit):
	}
}

func (r *receiver) run() {
	defer close(r.done)
	buffer, control := make([]byte, maxProbe), make([]byte, 256)
	for {
		n, controlBytes, _, _, err := r.conn.ReadMsgUDPAddrPort(buffer, control)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			r.take(buffer[:n], control[:controlBytes])
		}
	}
}

// take notes a datagram that came.
func (r *receiver) take(packet, control []byte) {
	stamp := receiveStamp(control)
	if len(packet) < paddingAt || binary.BigEndian.Uint64(packet[nonceAt:]) != r.nonce {
		return
	}
	sequence := binary.BigEndian.Uint32(packet[sequenceAt:])
	r.mu.Lock()
	defer r.mu.Unlock()
	if !padded(packet, sequence) {
		r.damaged++
		return
	}
	r.rows = append(r.rows, row{sequence, int64(binary.BigEndian.Uint64(packet[stampAt:])), stamp})
	if r.seen[sequence] {
		return
	}
	r.seen[sequence] = true
	if len(r.seen) == r.wanted {
		close(r.complete)
	}
}

// receiveStamp reads the kernel's stamp, on CLOCK_MONOTONIC. Without one it is the time
// of reading.
func receiveStamp(control []byte) int64 {
	for len(control) > 0 {
		header, data, rest, err := unix.ParseOneSocketControlMessage(control)
		if err != nil {
			break
		}
		if header.Level == unix.SOL_SOCKET && header.Type == unix.SO_TIMESTAMPNS_NEW && len(data) >= 16 {
			realtimeNS := int64(binary.NativeEndian.Uint64(data))*1e9 + int64(binary.NativeEndian.Uint64(data[8:]))
			return realtimeNS - realtimeOffsetNS()
		}
		control = rest
	}
	return int64(clock.Now())
}

// overflows is how many datagrams this host's sockets had no room for so far. A socket's
// own count of drops has those with wrong checksums too.
func overflows() uint64 {
	data, err := os.ReadFile("/proc/self/net/snmp")
	if err != nil {
		return 0
	}
	var names []string
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != "Udp:" {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		if i := slices.Index(names, "RcvbufErrors"); i >= 0 && i < len(fields) {
			count, _ := strconv.ParseUint(fields[i], 10, 64)
			return count
		}
	}
	return 0
}

// realtimeOffsetNS is how far CLOCK_REALTIME, which the kernel stamps with, is ahead of
// CLOCK_MONOTONIC. Both are read in a row until that took next to no time.
func realtimeOffsetNS() int64 {
	var offset int64
	best := int64(time.Hour)
	for i := 0; i < 10 && best > 2000; i++ {
		before := int64(clock.Now())
		realtime := time.Now().UnixNano()
		if took := int64(clock.Now()) - before; took < best {
			best, offset = took, realtime-before-took/2
		}
	}
	return offset
}

// nonceOf tells the datagrams of a stream from strays.
func nonceOf(stream string) uint64 {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(stream))
	return hash.Sum64()
}

func pad(packet []byte, sequence uint32) {
	for i := paddingAt; i < len(packet); i++ {
		packet[i] = byte(uint32(i) + sequence)
	}
}

func padded(packet []byte, sequence uint32) bool {
	for i := paddingAt; i < len(packet); i++ {
		if packet[i] != byte(uint32(i)+sequence) {
			return false
		}
	}
	return true
}

// row is a frame that was sent or received.
type row struct {
	sequence uint32
	sentNS   int64
	// receivedNS is 0 for the sender.
	receivedNS int64
}

// writeRows writes a file of rows: sequence, sent_ns and, if the rows have it,
// received_ns.
func writeRows(path string, rows []row) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(file)
	var line []byte
	for _, r := range rows {
		line = strconv.AppendUint(line[:0], uint64(r.sequence), 10)
		line = strconv.AppendInt(append(line, ','), r.sentNS, 10)
		if r.receivedNS != 0 {
			line = strconv.AppendInt(append(line, ','), r.receivedNS, 10)
		}
		_, _ = w.Write(append(line, '\n')) // Flush tells
	}
	return errors.Join(w.Flush(), file.Close())
}
