package tcp

import "slices"

// maxStreams bounds the connections that are remembered at a time, the greater
// part of them attempts to connect that came to nothing.
const maxStreams = 64

// Connection is all that one process sends to another, over one TCP connection
// after the other. It isn't safe for concurrent use. Times are nanoseconds of
// virtual time, not negative, and never go back from one call to the next.
type Connection struct {
	config Config
	wheel  wheel

	queue       ring[message]
	queuedBytes int64
	running     bool
	listening   bool

	// streams are the connections that anything may still come of, oldest first;
	// current is the one that the sender's process writes to, nil if none.
	streams []*stream
	current *stream
	lastID  uint32

	// dialNS is when the sender's process makes its next attempt to connect, and
	// waitNS how long it waits after that.
	dialNS, waitNS int64

	// past are the statistics of streams that are forgotten, and how the latest one
	// stood that isn't current any more. Those up to bornID were of the process's
	// earlier lives.
	past   Statistics
	bornID uint32
}

// New returns a connection whose sender doesn't run yet and whose receiver
// listens. It panics if the configuration makes no sense.
func New(config Config) *Connection {
	config.check()
	return &Connection{
		config:    config,
		wheel:     wheel{tickNS: int64(config.Tick), phaseNS: int64(config.Phase)},
		listening: true,
		dialNS:    never,
	}
}

// Connected tells whether the sender's process has a connection to write to.
func (c *Connection) Connected() bool { return c.current != nil }

// Queued counts the messages that wait for a connection or its send buffer.
func (c *Connection) Queued() int { return c.queue.count }

// Open starts the sender's process, which begins to dial at once. It does nothing
// if the process runs.
func (c *Connection) Open(nowNS int64, out *Output) {
	if c.running {
		return
	}
	c.running = true
	c.past, c.bornID = Statistics{}, c.lastID
	c.waitNS = int64(c.config.MinRedial)
	c.dial(nowNS, out)
}

// Send is Queue and Flush.
func (c *Connection) Send(nowNS int64, message uint64, bytes int, out *Output) {
	c.Queue(message, bytes, out)
	c.Flush(nowNS, out)
}

// Queue queues a message of so many bytes, framed. A sender whose process isn't
// running drops it; a full queue drops its oldest.
func (c *Connection) Queue(id uint64, bytes int, out *Output) {
	if !c.running {
		out.Dropped++
		return
	}
	c.queue.push(message{id: id, bytes: int64(bytes)})
	c.queuedBytes += int64(bytes)
	for c.queue.count > 1 && (c.queue.count > c.config.MaxQueuedMessages || c.queuedBytes > int64(c.config.MaxQueuedBytes)) {
		c.queuedBytes -= c.queue.at(0).bytes
		c.queue.drop(1)
		out.Dropped++
	}
}

// Flush writes what is queued in one piece, as far as the connection takes it.
// Messages that a process sends in one step share segments if they are queued
// one by one and then flushed.
func (c *Connection) Flush(nowNS int64, out *Output) {
	if s := c.current; s != nil && c.queue.count > 0 && !s.blocked() {
		c.queuedBytes = 0
		s.write(nowNS, &c.queue, out)
	}
}

// Deadline tells when Expire is to be called, if no other call comes first.
func (c *Connection) Deadline() (atNS int64, set bool) {
	atNS = c.dialNS
	for _, s := range c.streams {
		atNS = min(atNS, s.deadline())
	}
	return atNS, atNS != never
}

// Expire carries out what is due.
func (c *Connection) Expire(nowNS int64, out *Output) {
	for {
		atNS, set := c.Deadline()
		if !set || atNS > nowNS {
			return
		}
		if c.dialNS <= atNS {
			c.dial(nowNS, out)
			continue
		}
		for _, s := range c.streams {
			if s.deadline() <= atNS {
				c.expire(nowNS, s, out)
				break
			}
		}
	}
}

// expire carries out the earliest timer of a stream.
func (c *Connection) expire(nowNS int64, s *stream, out *Output) {
	switch s.deadline() {
	case s.sender.timerNS:
		s.sender.expire(nowNS, out)
		c.wrote(nowNS, s, out)
	case s.receiver.delayedNS:
		if s.receiver.expire() {
			s.reply(s.receiver.acknowledge(nowNS), out)
		}
	default:
		if f, ok := s.receiver.retry(nowNS); ok {
			s.reply(f, out)
		}
	}
	c.settle(nowNS, s, out)
}

// Receive takes a frame that has arrived where it was going.
func (c *Connection) Receive(nowNS int64, frame Frame, out *Output) {
	i := slices.IndexFunc(c.streams, func(s *stream) bool { return s.id == frame.stream })
	if i < 0 {
		if frame.kind != kindRST {
			refuse(&frame, out)
		}
		return
	}
	s := c.streams[i]
	if frame.ToReceiver {
		c.atReceiver(nowNS, s, &frame, out)
	} else {
		c.atSender(nowNS, s, &frame, out)
	}
	c.settle(nowNS, s, out)
}

// refuse answers a frame that there is no socket for.
func refuse(f *Frame, out *Output) {
	out.Frames = append(out.Frames, Frame{ToReceiver: !f.ToReceiver, Bytes: headerBytes, kind: kindRST, stream: f.stream})
}

func (c *Connection) atReceiver(nowNS int64, s *stream, f *Frame, out *Output) {
	r := &s.receiver
	switch {
	case f.kind == kindRST:
		r.close()
	case f.kind == kindSYN && r.state == receiverClosed && c.listening && !r.opened,
		f.kind == kindSYN && r.state == receiverSYN:
		s.reply(r.answer(nowNS, f), out)
	case r.state == receiverFIN && f.kind == kindAck:
		r.close()
	case r.state == receiverFIN || r.state == receiverClosed:
		refuse(f, out)
	case f.kind == kindSYN:
		s.reply(r.acknowledge(nowNS), out)
	default:
		if r.state == receiverSYN {
			r.open(nowNS)
		}
		if f.kind == kindData {
			c.data(nowNS, s, f, out)
		}
	}
}

// data takes data, which the receiver's process reads at once.
func (c *Connection) data(nowNS int64, s *stream, f *Frame, out *Output) {
	now := s.receiver.receive(nowNS, f)
	if !s.greeted && s.receiver.next >= s.helloEnd {
		s.greeted = true
		c.supersede(s, out)
	}
	s.deliver(out)
	if now {
		s.reply(s.receiver.acknowledge(nowNS), out)
	}
}

// supersede closes the receiver's ends of the connections before this one, as
// its process does when the sender greets it anew.
func (c *Connection) supersede(latest *stream, out *Output) {
	for _, s := range slices.Clone(c.streams) {
		if s.id < latest.id {
			s.receiver.close()
			c.forget(s, out)
		}
	}
}

func (c *Connection) atSender(nowNS int64, s *stream, f *Frame, out *Output) {
	switch {
	case f.kind == kindRST:
		s.sender.close()
	case s.sender.state == senderClosed:
		refuse(f, out)
	case f.kind == kindFIN:
		s.sender.pureAck(nowNS, out)
		s.sender.close()
	case f.kind == kindSYNACK && s.sender.state == senderSYN:
		s.sender.established(nowNS, f, out)
		c.connected(nowNS, s, out)
	case f.kind == kindSYNACK:
		s.sender.pureAck(nowNS, out)
	case s.sender.state == senderOpen:
		s.sender.acknowledged(nowNS, f, out)
		c.wrote(nowNS, s, out)
	}
}

// wrote lets a writer go on for whose data there may be room now.
func (c *Connection) wrote(nowNS int64, s *stream, out *Output) {
	if s != c.current || !s.blocked() || s.sender.state != senderOpen {
		return
	}
	s.flush(nowNS, true, out)
	c.Flush(nowNS, out)
}

// settle notices what has become of a stream.
func (c *Connection) settle(nowNS int64, s *stream, out *Output) {
	if s == c.current && s.sender.state == senderClosed {
		c.lost(nowNS)
	}
	if s != c.current && s.sender.state == senderOpen && s.sender.una == s.sender.accepted {
		s.sender.close() // a dead process's connection that has done its work
	}
	c.forget(s, out)
}

// forget removes a stream that nothing can come of any more, and counts what
// was lost with it.
func (c *Connection) forget(s *stream, out *Output) {
	if !s.done() {
		return
	}
	if i := slices.Index(c.streams, s); i >= 0 {
		out.Dropped += s.messages.count
		if s.opened && s.id > c.bornID {
			c.past.add(&s.sender)
		}
		c.streams = slices.Delete(c.streams, i, i+1)
	}
}

// SenderKilled tells that the sender's process has ended. What it had put into
// its send buffer is still delivered if it can be, for that is the kernel's; the
// rest and the queue are lost. Open starts the process again.
func (c *Connection) SenderKilled(nowNS int64, out *Output) {
	c.running, c.dialNS = false, never
	out.Dropped += c.queue.count
	c.queue.clear()
	c.queuedBytes = 0
	c.current = nil
	for _, s := range slices.Clone(c.streams) {
		if s.sender.state == senderSYN {
			s.sender.close()
		}
		s.truncate(out)
		c.settle(nowNS, s, out)
	}
}

// ReceiverKilled tells that the receiver's process has ended. Its kernel closes
// the connections and refuses others until ReceiverStarted. Messages not yet
// delivered on them are lost.
func (c *Connection) ReceiverKilled(nowNS int64, out *Output) {
	c.listening = false
	for _, s := range slices.Clone(c.streams) {
		switch s.receiver.state {
		case receiverOpen:
			s.receiver.kill(nowNS)
			s.reply(s.receiver.fin(nowNS), out)
		case receiverSYN:
			s.receiver.close()
		}
		c.settle(nowNS, s, out)
	}
}

// ReceiverStarted tells that the receiver's process listens again.
func (c *Connection) ReceiverStarted() { c.listening = true }
