package sim

import (
	"time"

	"quorumlab/harness/engine/sim/tcp"
	"quorumlab/harness/link"
	"quorumlab/node/consensus"
	"quorumlab/node/wire"
)

// maxEagerConnections bounds the connections that are dialled when the processes
// start, as real nodes do. In larger clusters those that package tcp models are
// dialled when there is a first message for them.
const maxEagerConnections = 100_000

// maxUndelivered bounds the messages that are kept of one path: more than its
// queue and its connection's buffer can hold.
const maxUndelivered = 1 << 18

// modelled is a path's connection where frames can be lost.
type modelled struct {
	*tcp.Connection
	// messages are those that weren't delivered yet, and some that never will be;
	// their numbers ascend by 1 from first.
	messages ring[waitingMessage]
	first    uint64
	// expireAt is when the eventExpire that counts is, or never.
	expireAt int64
	// touched is true while messages are queued that must be flushed.
	touched bool
}

// tcpConfig is what real nodes do. In real runs the kernel's ticks aren't in
// phase with the load, so that the phase is drawn.
func tcpConfig(protocol string, seed uint64) tcp.Config {
	config := tcp.Default()
	config.MSS = segmentBytes
	hello := wire.Hello{Protocol: protocol, Sender: 1, Version: wire.Version}
	config.HelloBytes = len(wire.AppendHello(nil, hello))
	config.Phase = time.Duration(link.DirectionSeed(seed, 1<<30, false) % uint64(time.Hour))
	return config
}

// openConnections dials all connections of a process that package tcp models,
// unless they are too many.
func (s *trial) openConnections(p *process) {
	if len(s.processes)*len(s.processes) > maxEagerConnections || s.network.exclusive {
		return
	}
	for _, other := range s.processes {
		if p != other {
			s.path(p, other.index)
		}
	}
}

// openModelled makes a path's connection and dials.
func (s *trial) openModelled(p *path) {
	p.handed = true
	p.modelled = &modelled{Connection: tcp.New(s.network.config), first: 1, expireAt: never}
	if !p.to.alive {
		p.modelled.ReceiverKilled(s.now, &s.segments)
	}
	p.modelled.Open(s.now, &s.segments)
	s.carry(p)
}

// handOver hands a message to the host once the process is done with the step.
func (s *trial) handOver(p *path, leave int64, size int32, message consensus.Message) {
	slot := s.network.take(frame{message: message, path: p.index, size: size})
	s.enqueue(&p.from.egress, eventEgress, p.from.index, leave, slot)
}

// egress lets go what a process has handed to its host by now. Messages that
// leave together share segments.
func (s *trial) egress(p *process, e event) {
	s.depart(s.dequeue(&p.egress, e))
	for p.egress.count > 0 && p.egress.at(0).at == s.now {
		next := s.queue.first()
		if next.kind != eventEgress || next.index != p.index {
			break // something else happens between the two
		}
		s.depart(s.dequeue(&p.egress, s.queue.pop()))
	}
	for i, path := range s.touched {
		path.modelled.touched = false
		path.modelled.Flush(s.now, &s.segments)
		s.carry(path)
		s.touched[i] = nil
	}
	s.touched = s.touched[:0]
}

// depart queues one message, or sends it if it is a datagram.
func (s *trial) depart(slot int32) {
	f := &s.network.slab[slot]
	p := s.network.paths[f.path]
	m := p.modelled
	if m == nil {
		p.number++
		f.number = p.number
		s.emit(p, slot, s.now)
		return
	}
	if m.messages.count == maxUndelivered {
		m.messages.pop()
		m.first++
	}
	number := m.first + uint64(m.messages.count)
	*m.messages.push() = waitingMessage{size: f.size, message: f.message}
	m.Queue(number, int(f.size), &s.segments)
	s.network.release(slot)
	if !m.touched {
		m.touched = true
		s.touched = append(s.touched, p)
	}
}

// carry puts the frames that package tcp gave onto the network, delivers the
// messages that are whole, and sees to the path's next timer.
func (s *trial) carry(p *path) {
	n := s.network
	for _, f := range s.segments.Frames {
		s.launch(p, n.take(frame{path: p.index, modelled: n.keep(f) + 1}), !f.ToReceiver, s.now)
	}
	// What a delivery leads to may be another connection's output.
	delivered := s.segments.Delivered
	s.segments.Reset()
	s.segments.Delivered, s.delivered = s.delivered, nil
	for _, number := range delivered {
		for p.modelled.first < number {
			p.modelled.messages.pop()
			p.modelled.first++
		}
		m := p.modelled.messages.pop()
		p.modelled.first++
		s.deliver(p.to, delivery{kind: deliverMessage, from: p.from.index, size: m.size, message: m.message})
	}
	if cap(delivered) > 0 {
		s.delivered = delivered[:0]
	}
	if at, set := p.modelled.Deadline(); set && at < p.modelled.expireAt {
		p.modelled.expireAt = max(at, s.now)
		s.schedule(p.modelled.expireAt, eventExpire, p.index)
	}
}

// keep gives a frame of package tcp a place.
func (n *network) keep(f tcp.Frame) int32 {
	if last := len(n.spare) - 1; last >= 0 {
		place := n.spare[last]
		n.spare = n.spare[:last]
		n.segments[place] = f
		return place
	}
	n.segments = append(n.segments, f)
	return int32(len(n.segments) - 1)
}

// arriveModelled hands a frame to the end of the connection that it is for.
func (s *trial) arriveModelled(p *path, slot int32) {
	segment := s.network.segments[s.network.slab[slot].modelled-1]
	s.network.release(slot)
	p.modelled.Receive(s.now, segment, &s.segments)
	s.carry(p)
}

// expireModelled is the event of a connection's earliest timer.
func (s *trial) expireModelled(p *path) {
	if p.modelled.expireAt != s.now {
		return // an earlier one took its place
	}
	p.modelled.expireAt = never
	p.modelled.Expire(s.now, &s.segments)
	s.carry(p)
}
