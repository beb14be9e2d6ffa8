package ping

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

// answered takes the answer to a probe.
type answered func(at time.Time, peer, round int)

// header tells a measurement's own probes from others: a nonce, the peer, the round.
func header(packet []byte, nonce uint64, peer, round int) {
	binary.BigEndian.PutUint64(packet, nonce)
	binary.BigEndian.PutUint32(packet[8:], uint32(peer))
	binary.BigEndian.PutUint32(packet[12:], uint32(round))
}

// parse reads a header; false if it isn't this measurement's.
func parse(packet []byte, nonce uint64) (peer, round int, ok bool) {
	if len(packet) < HeaderBytes || binary.BigEndian.Uint64(packet) != nonce {
		return 0, 0, false
	}
	return int(binary.BigEndian.Uint32(packet[8:])), int(binary.BigEndian.Uint32(packet[12:])), true
}

// udp sends datagrams from one socket.
type udp struct {
	conn    *net.UDPConn
	peers   []netip.AddrPort
	nonce   uint64
	packet  []byte
	hearing sync.WaitGroup
}

func newUDP(peers []netip.AddrPort, bytes int, take answered) (*udp, error) {
	packets, err := net.ListenPacket("udp4", ":0")
	if err != nil {
		return nil, err
	}
	u := &udp{conn: packets.(*net.UDPConn), peers: peers, nonce: rand.Uint64(), packet: make([]byte, bytes)}
	u.hearing.Go(func() { u.hear(take) })
	return u, nil
}

func (u *udp) send(peer, round int) error {
	header(u.packet, u.nonce, peer, round)
	_, err := u.conn.WriteToUDPAddrPort(u.packet, u.peers[peer])
	return err
}

func (u *udp) hear(take answered) {
	buffer := make([]byte, 1<<16)
	for {
		n, _, err := u.conn.ReadFromUDPAddrPort(buffer)
		at := time.Now()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error about an earlier probe
		}
		// A machine with several addresses may answer from another: the nonce is what tells.
		if peer, round, ok := parse(buffer[:n], u.nonce); ok && peer < len(u.peers) {
			take(at, peer, round)
		}
	}
}

func (u *udp) close() {
	u.conn.Close()
	u.hearing.Wait()
}
