package tcp

// Statistics are what the sender's process learns from its kernel (Linux: TCP_INFO) of
// the connections that it has had since it started. Attempts to connect that came to
// nothing don't count.
type Statistics struct {
	// Opened counts the connections.
	Opened uint64
	// SegmentsSent are those of the sender's end, with or without data, Retransmitted
	// ones and SYNs included; BytesSent is their payload.
	SegmentsSent, Retransmitted, BytesSent uint64
	// SmoothedRTTNS, Window and Threshold, in segments, are those of the latest
	// connection, as they are or were at its end; the threshold is 0 if there is none
	// yet.
	SmoothedRTTNS     int64
	Window, Threshold int
}

// Statistics tells what the present life of the sender's process has seen.
func (c *Connection) Statistics() Statistics {
	sum := c.past
	for _, s := range c.streams {
		if s.opened && s.id > c.bornID {
			sum.add(&s.sender)
		}
	}
	if c.current != nil {
		sum.describe(&c.current.sender)
	}
	return sum
}

// add counts a connection's segments.
func (t *Statistics) add(s *sender) {
	t.SegmentsSent += s.segmentsSent
	t.Retransmitted += s.segmentsResent
	t.BytesSent += s.bytesSent
}

// describe remembers how a connection stands.
func (t *Statistics) describe(s *sender) {
	t.SmoothedRTTNS, t.Window, t.Threshold = s.srtt>>3, s.window, s.threshold
	if s.threshold == infinite {
		t.Threshold = 0
	}
}
