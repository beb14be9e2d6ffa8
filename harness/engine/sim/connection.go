package sim

import (
	"time"

	"quorumlab/node/consensus"
)

// The real node's redialling: while there is no connection, attempts begin
// minRedial apart at first and maxRedial in the end; what is sent meanwhile
// waits, a limited amount, of which the oldest goes first.
const (
	minRedial         = int64(10 * time.Millisecond)
	maxRedial         = int64(200 * time.Millisecond)
	maxQueuedMessages = 1 << 16
	maxQueuedBytes    = 16 << 20
)

// connection is the TCP connection that a path's messages go by where links are
// steady: where none on the way and on the way back loses, doubles, corrupts or reorders
// frames, has jitter or a trace, or a rate with a queue of fewer than
// unboundedQueueFrames or of so many bytes, or ever changes. A process dials all its peers
// when it starts, so that the connection to a peer that lives is established one
// round trip later, and again and again one that doesn't listen yet or any more.
// (Over datagrams a connection is open for ever.)
type connection struct {
	// epoch tells the path's connections apart.
	epoch uint32
	open  bool
	// openAt is when the connection will be established, or never.
	openAt int64
	// lostUntil is when the sender learns that its peer was killed. What it
	// sends before then is lost.
	lostUntil int64
	// dialled is when dialling began; redial is true if a connection was lost
	// then, which costs a pause before the first attempt.
	dialled int64
	redial  bool
	// waiting are the messages sent while there is no connection.
	waiting      ring[waitingMessage]
	waitingBytes int
}

type waitingMessage struct {
	size    int32
	message consensus.Message
}

// sendTCP sends by the path's connection, or has the message wait for one.
func (s *trial) sendTCP(p *path, leave int64, size int32, message consensus.Message) {
	switch {
	case p.open:
		s.transmit(p, leave, size, message)
	case leave < p.lostUntil:
		s.trace.event(leave, markLoss, p.to.index, uint64(p.index))
	default:
		*p.waiting.push() = waitingMessage{size, message}
		p.waitingBytes += int(size)
		for p.waiting.count > 1 && (p.waiting.count > maxQueuedMessages || p.waitingBytes > maxQueuedBytes) {
			p.waitingBytes -= int(p.waiting.pop().size)
			p.from.dropped++
		}
	}
}

// dial has a connection established that isn't: now, if that lies in the past,
// or later, or once the peer is started again.
func (s *trial) dial(p *path) {
	p.openAt = never
	if !p.to.alive || !p.from.alive {
		return
	}
	// An attempt succeeds if its first frame finds the peer listening.
	attempt := nextAttempt(p.dialled, p.redial, p.to.startedAt-p.delayNS)
	p.openAt = attempt + p.delayNS + p.backNS
	if p.openAt <= s.now {
		s.established(p)
		return
	}
	s.schedule(p.openAt, eventOpen, p.index)
}

// nextAttempt is the first attempt at or after a time, of dialling that began
// at another.
func nextAttempt(dialled int64, redial bool, notBefore int64) int64 {
	attempt, wait := dialled, minRedial
	if redial {
		attempt, wait = dialled+minRedial, 2*minRedial
	}
	for attempt < notBefore {
		if wait >= maxRedial {
			rounds := (notBefore - attempt + maxRedial - 1) / maxRedial
			return attempt + rounds*maxRedial
		}
		attempt += wait
		wait = min(2*wait, maxRedial)
	}
	return attempt
}

// opened is the event of a connection's establishment.
func (s *trial) opened(p *path) {
	if p.open || p.openAt != s.now {
		return // meanwhile one of the two was killed
	}
	s.established(p)
}

// established makes a connection carry messages, those that waited first. They
// leave once the core is done with the step in hand, which may have sent some of
// them, and whose other messages are on their way to the host's link already.
func (s *trial) established(p *path) {
	p.open, p.openAt = true, never
	leave := max(s.now, p.from.freeAt)
	for p.waiting.count > 0 {
		m := p.waiting.pop()
		p.waitingBytes -= int(m.size)
		s.transmit(p, leave, m.size, m.message)
	}
}

// breakConnections ends those of a killed process. What is under way to it is
// lost, what waits for being sent by it too; what it has sent still arrives.
func (s *trial) breakConnections(killed *process) {
	for _, p := range killed.incoming {
		if p.modelled != nil {
			p.modelled.ReceiverKilled(s.now, &s.segments)
			s.carry(p)
			continue
		}
		p.epoch++
		if p.open {
			p.open, p.redial = false, true
			p.lostUntil = s.now + p.backNS
			p.dialled = p.lostUntil
		}
		p.openAt = never
	}
	for _, p := range killed.outgoing {
		if p.modelled != nil {
			p.modelled.SenderKilled(s.now, &s.segments)
			s.carry(p)
			continue
		}
		p.open, p.openAt = false, never
		p.waiting.clear()
		p.waitingBytes = 0
	}
}

// connect dials for and to a process that has just started.
func (s *trial) connect(started *process) {
	for _, p := range started.outgoing {
		if p.modelled != nil {
			p.modelled.Open(s.now, &s.segments)
			s.carry(p)
			continue
		}
		p.dialled, p.redial, p.lostUntil = s.now, false, 0
		s.dial(p)
	}
	s.openConnections(started)
	for _, p := range started.incoming {
		if p.modelled != nil {
			p.modelled.ReceiverStarted()
		} else if !p.open {
			s.dial(p)
		}
	}
}
