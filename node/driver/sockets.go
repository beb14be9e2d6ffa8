package driver

import (
	"cmp"
	"net"
	"slices"

	"quorumlab/node/consensus"
	"quorumlab/node/control"
)

// PeerSocket sums the connections that a process has dialled to one peer.
type PeerSocket struct {
	Peer consensus.NodeID
	// Socket has everything but the names.
	control.Socket
}

// Sockets tells what TCP did for each peer so far, in the order of their IDs. Where the
// kernel doesn't tell, only the connections are counted.
func (t *Transport) Sockets() []PeerSocket {
	var sockets []PeerSocket
	for id, p := range t.peers {
		sockets = append(sockets, PeerSocket{id, p.socket()})
	}
	slices.SortFunc(sockets, func(a, b PeerSocket) int { return cmp.Compare(a.Peer, b.Peer) })
	return sockets
}

// socket sums the peer's connections: those that ended and the live one.
func (p *peer) socket() control.Socket {
	p.mu.Lock()
	defer p.mu.Unlock()
	total := p.ended
	if p.link != nil {
		addSocket(&total, p.link.conn)
	}
	return total
}

// begin makes a connection the peer's link, unless it has ended meanwhile.
func (p *peer) begin(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lastEnded == l.conn {
		return false
	}
	p.link = l
	return true
}

// current is the live connection; nil if there is none.
func (p *peer) current() *link {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.link
}

// acknowledged tells whether the other side has acknowledged all that was queued for a
// connection; lost is true if it isn't the peer's any more.
func (p *peer) acknowledged(l *link) (all, lost bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l == nil || p.link != l {
		return false, true
	}
	if l.busy || p.queue.messages() > 0 {
		return false, false
	}
	bytes, ok := unacknowledgedBytes(l.raw)
	return ok && bytes == 0, !ok
}

// end closes a connection, once its numbers are safe: the kernel forgets them.
func (p *peer) end(conn *net.TCPConn) {
	p.mu.Lock()
	p.link, p.lastEnded = nil, conn
	addSocket(&p.ended, conn)
	p.mu.Unlock()
	_ = conn.Close()
}

// addSocket adds what one connection has done.
func addSocket(total *control.Socket, conn *net.TCPConn) {
	total.Opened++
	one, ok := socketInfo(conn)
	if !ok {
		return
	}
	total.SegmentsSent += one.SegmentsSent
	total.Retransmitted += one.Retransmitted
	total.BytesSent += one.BytesSent
	total.SmoothedRTTNS, total.CongestionWindow = one.SmoothedRTTNS, one.CongestionWindow
	total.SlowStartThreshold = one.SlowStartThreshold
}
