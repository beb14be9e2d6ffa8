package tcp

// message is one message in the queue or in a stream.
type message struct {
	id uint64
	// bytes is the framed size of a queued message; end, in a stream, the byte
	// after its last.
	bytes, end int64
}

// stream is one TCP connection, with both of its ends.
type stream struct {
	id       uint32
	sender   sender
	receiver receiver
	// messages are those written and not delivered; taken is the byte after the
	// last of them. What isn't in the send buffer yet is the writer's rest.
	messages ring[message]
	taken    int64
	// helloEnd is the byte after the hello, which greeted tells to have come.
	helloEnd int64
	greeted  bool
	startNS  int64
	// opened is set for ever once the sender's end is connected.
	opened bool
}

// done tells whether nothing more can come of the stream.
func (s *stream) done() bool {
	return s.sender.state == senderClosed && s.receiver.state == receiverClosed
}

// deadline is the earliest timer of either end.
func (s *stream) deadline() int64 {
	return min(s.sender.timerNS, s.receiver.delayedNS, s.receiver.handshakeNS)
}

// blocked tells whether the writer waits for the send buffer.
func (s *stream) blocked() bool { return s.taken > s.sender.accepted }

// write takes the messages of a queue.
func (s *stream) write(nowNS int64, queue *ring[message], out *Output) {
	for i := range queue.count {
		m := queue.at(i)
		s.taken += m.bytes
		s.messages.push(message{id: m.id, end: s.taken})
	}
	queue.clear()
	s.flush(nowNS, false, out)
}

// flush puts the writer's rest into the send buffer and sends what may be sent.
func (s *stream) flush(nowNS int64, waited bool, out *Output) {
	for s.blocked() && s.sender.write(nowNS, s.taken-s.sender.accepted, waited) > 0 {
		s.sender.push(nowNS, false, out)
		waited = false
	}
}

// deliver appends the messages that the receiver has whole.
func (s *stream) deliver(out *Output) {
	n := 0
	for n < s.messages.count && s.messages.at(n).end <= s.receiver.next {
		out.Delivered = append(out.Delivered, s.messages.at(n).id)
		n++
	}
	s.messages.drop(n)
}

// truncate drops the messages that aren't wholly in the send buffer.
func (s *stream) truncate(out *Output) {
	for s.messages.count > 0 && s.messages.at(s.messages.count-1).end > s.sender.accepted {
		s.messages.count--
		out.Dropped++
	}
	s.taken = s.sender.accepted
}

// reply puts a frame of the receiver's end onto the network.
func (s *stream) reply(f Frame, out *Output) {
	f.stream = s.id
	out.Frames = append(out.Frames, f)
}
