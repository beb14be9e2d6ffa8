package tcp

// dial makes an attempt to connect and sets the time of the next one, which comes
// whether or not the ones before it have failed by then.
func (c *Connection) dial(nowNS int64, out *Output) {
	if len(c.streams) >= maxStreams {
		c.abandon(out)
	}
	c.lastID++
	s := &stream{
		id:       c.lastID,
		sender:   newSender(c.wheel, c.config.MSS, int64(c.config.UserTimeout), c.lastID),
		receiver: newReceiver(c.wheel),
		startNS:  nowNS,
		helloEnd: int64(c.config.HelloBytes),
		taken:    int64(c.config.HelloBytes),
	}
	c.streams = append(c.streams, s)
	s.sender.connect(nowNS, out)
	c.giveUp(nowNS, out)
	c.dialNS = nowNS + c.waitNS
	c.waitNS = min(2*c.waitNS, int64(c.config.MaxRedial))
}

// giveUp ends the attempts that have taken too long.
func (c *Connection) giveUp(nowNS int64, out *Output) {
	for i := len(c.streams) - 1; i >= 0; i-- {
		if s := c.streams[i]; s.sender.state == senderSYN && nowNS-s.startNS >= int64(c.config.DialTimeout) {
			s.sender.close()
			c.forget(s, out)
		}
	}
}

// abandon forgets the oldest stream that isn't written to, of those without
// messages if there are such.
func (c *Connection) abandon(out *Output) {
	oldest := c.streams[0]
	for _, s := range c.streams {
		if s.messages.count == 0 {
			oldest = s
			break
		}
	}
	oldest.sender.close()
	oldest.receiver.close()
	c.forget(oldest, out)
}

// connected is called when an attempt succeeds: the others are given up, and the
// hello is sent, then what is queued.
func (c *Connection) connected(nowNS int64, s *stream, out *Output) {
	c.dialNS = never
	c.current = s
	c.past.Opened++
	s.opened = true
	s.startNS = nowNS
	for i := len(c.streams) - 1; i >= 0; i-- {
		if other := c.streams[i]; other.sender.state == senderSYN {
			other.sender.close()
			c.forget(other, out)
		}
	}
	s.flush(nowNS, false, out)
	c.Flush(nowNS, out)
}

// lost is called when the current connection has died. The process waits a while
// and dials again.
func (c *Connection) lost(nowNS int64) {
	if nowNS-c.current.startNS > int64(c.config.StableAfter) {
		c.waitNS = int64(c.config.MinRedial)
	}
	c.past.describe(&c.current.sender)
	c.current = nil
	c.dialNS = nowNS + c.waitNS
	c.waitNS = min(2*c.waitNS, int64(c.config.MaxRedial))
}
