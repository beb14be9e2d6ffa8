// Package echo measures round trips: every host of a lab answers UDP probes and
// can send some to the others. It promises that a round trip is never reported
// shorter than it was.
package echo

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"quorumlab/node/control"
)

// maxProbe is the largest datagram that is echoed.
const maxProbe = 2048

// Serve answers every datagram that comes to the address with itself until the
// context ends. Ready is called once it listens.
func Serve(ctx context.Context, address string, ready func()) error {
	packets, err := net.ListenPacket("udp4", address)
	if err != nil {
		return fmt.Errorf("listening for probes: %w", err)
	}
	conn := packets.(*net.UDPConn)
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	defer conn.Close()
	own := uint16(conn.LocalAddr().(*net.UDPAddr).Port)
	ready()
	buffer := make([]byte, maxProbe)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buffer)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			continue // an ICMP error about an earlier answer
		}
		// No prober sends from the port of an echo process; two of these would return a
		// datagram with a forged sender to each other for ever.
		if from.Port() == own {
			continue
		}
		// An answer that can't be sent is a lost one.
		_, _ = conn.WriteToUDPAddrPort(buffer[:n], from)
	}
}

// probeBytes is the size of a probe: a nonce, the peer's index, the round.
const probeBytes = 16

// FrameBytes is the size of a probe on a link: with the headers of UDP, IP and
// Ethernet.
const FrameBytes = probeBytes + 8 + 20 + 14

// Probe measures round trips to the peers: in each round one probe to each, all
// of it spread over an interval. Probes that aren't answered in time are missing
// from the result.
func Probe(ctx context.Context, order control.Probe) (control.Probed, error) {
	p, err := newProber(order)
	if err != nil {
		return control.Probed{}, err
	}
	defer p.conn.Close()
	defer context.AfterFunc(ctx, func() { p.conn.Close() })()
	var receiving sync.WaitGroup
	receiving.Go(p.receive)
	for round := range order.Count {
		if round > 0 {
			p.pause(ctx, time.Duration(order.IntervalNS)/time.Duration(len(p.peers)+1))
		}
		p.round(ctx, round)
	}
	select {
	case <-p.complete:
	case <-ctx.Done():
	case <-time.After(time.Duration(order.TimeoutNS)):
	}
	p.conn.Close()
	receiving.Wait()
	if ctx.Err() != nil {
		return control.Probed{}, context.Cause(ctx)
	}
	return control.Probed{RTTs: p.rtts, Sent: order.Count}, nil
}

// prober is one order at work.
type prober struct {
	order control.Probe
	conn  *net.UDPConn
	peers []netip.AddrPort
	nonce uint64

	mu   sync.Mutex
	sent map[[2]uint32]time.Time
	rtts map[string][]int64
	left int
	// complete is closed once every probe is answered.
	complete chan struct{}
}

func newProber(order control.Probe) (*prober, error) {
	if order.Count < 1 || order.Count > 1e6 || order.IntervalNS < 0 || order.TimeoutNS <= 0 {
		return nil, fmt.Errorf("probe: count %d, interval_ns %d, timeout_ns %d: want a count from 1 to 1000000, an interval of at least 0, a timeout above 0",
			order.Count, order.IntervalNS, order.TimeoutNS)
	}
	p := &prober{
		order: order, nonce: rand.Uint64(), sent: map[[2]uint32]time.Time{}, rtts: map[string][]int64{},
		left: order.Count * len(order.Peers), complete: make(chan struct{}),
	}
	for _, peer := range order.Peers {
		address, err := netip.ParseAddrPort(peer.Address)
		if err != nil {
			return nil, fmt.Errorf("probe: the address of %s: %w", peer.Name, err)
		}
		p.peers = append(p.peers, address)
	}
	packets, err := net.ListenPacket("udp4", ":0")
	if err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	p.conn = packets.(*net.UDPConn)
	if p.left == 0 {
		close(p.complete)
	}
	return p, nil
}

func (p *prober) pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// round sends a probe to each peer, spread over the interval so that they don't
// queue behind each other.
func (p *prober) round(ctx context.Context, round int) {
	packet := make([]byte, probeBytes)
	gap := time.Duration(p.order.IntervalNS) / time.Duration(len(p.peers)+1)
	for i, peer := range p.peers {
		if i > 0 {
			p.pause(ctx, gap)
		}
		binary.BigEndian.PutUint64(packet, p.nonce)
		binary.BigEndian.PutUint32(packet[8:], uint32(i))
		binary.BigEndian.PutUint32(packet[12:], uint32(round))
		p.mu.Lock()
		p.sent[[2]uint32{uint32(i), uint32(round)}] = time.Now()
		p.mu.Unlock()
		// A probe that can't be sent is one without an answer.
		_, _ = p.conn.WriteToUDPAddrPort(packet, peer)
	}
}

func (p *prober) receive() {
	buffer := make([]byte, maxProbe)
	for {
		n, _, err := p.conn.ReadFromUDPAddrPort(buffer)
		now := time.Now()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil && n == probeBytes && binary.BigEndian.Uint64(buffer) == p.nonce {
			p.take(now, binary.BigEndian.Uint32(buffer[8:]), binary.BigEndian.Uint32(buffer[12:]))
		}
	}
}

// take notes an answer; a duplicate doesn't count.
func (p *prober) take(now time.Time, peer, round uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := [2]uint32{peer, round}
	sent, known := p.sent[key]
	if !known {
		return
	}
	delete(p.sent, key)
	name := p.order.Peers[peer].Name
	p.rtts[name] = append(p.rtts[name], int64(now.Sub(sent)))
	if p.left--; p.left == 0 {
		close(p.complete)
	}
}
