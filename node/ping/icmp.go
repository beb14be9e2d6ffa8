package ping

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
)

// protocolICMP is ICMP's number in IPv4 headers.
const protocolICMP = 1

// ErrICMPForbidden is met where the kernel doesn't permit ICMP probes.
var ErrICMPForbidden = errors.New("the kernel doesn't permit this user's ICMP probes (root, CAP_NET_RAW or net.ipv4.ping_group_range would)")

// echoes sends ICMP echo requests.
type echoes struct {
	conn    *icmp.PacketConn
	peers   []netip.AddrPort
	raw     bool
	id      int
	nonce   uint64
	body    []byte
	hearing sync.WaitGroup
}

func newICMP(peers []netip.AddrPort, bytes int, take answered) (*echoes, error) {
	e := &echoes{peers: peers, id: int(rand.Uint32() & 0xffff), nonce: rand.Uint64(), body: make([]byte, bytes)}
	// A ping socket needs the least; where its group is closed, root has raw ones.
	conn, err := icmp.ListenPacket("udp4", "0.0.0.0")
	if err != nil {
		conn, err = icmp.ListenPacket("ip4:icmp", "0.0.0.0")
		e.raw = true
	}
	if errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("%w: %w", ErrICMPForbidden, err)
	}
	if err != nil {
		return nil, err
	}
	e.conn = conn
	e.hearing.Go(func() { e.hear(take) })
	return e, nil
}

func (e *echoes) send(peer, round int) error {
	header(e.body, e.nonce, peer, round)
	message := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: e.id, Seq: round & 0xffff, Data: e.body}}
	packet, err := message.Marshal(nil)
	if err != nil {
		return err
	}
	var to net.Addr = &net.UDPAddr{IP: e.peers[peer].Addr().AsSlice()}
	if e.raw {
		to = &net.IPAddr{IP: e.peers[peer].Addr().AsSlice()}
	}
	_, err = e.conn.WriteTo(packet, to)
	return err
}

func (e *echoes) hear(take answered) {
	buffer := make([]byte, 1<<16)
	for {
		n, _, err := e.conn.ReadFrom(buffer)
		at := time.Now()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		message, err := icmp.ParseMessage(protocolICMP, buffer[:n])
		if err != nil || message.Type != ipv4.ICMPTypeEchoReply {
			continue // raw sockets hear requests and everybody's answers too
		}
		if body, ok := message.Body.(*icmp.Echo); ok {
			if peer, round, ok := parse(body.Data, e.nonce); ok && peer < len(e.peers) {
				take(at, peer, round)
			}
		}
	}
}

func (e *echoes) close() {
	e.conn.Close()
	e.hearing.Wait()
}
