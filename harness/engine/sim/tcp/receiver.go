package tcp

import "slices"

// Constants of Linux: TCP_DELACK_MIN, TCP_DELACK_MAX, TCP_MAX_QUICKACKS,
// TCP_MSS_DEFAULT, a receive window that doesn't bind, sysctl_tcp_synack_retries,
// the retries of orphans, TCP_TIMEOUT_INIT, TCP_RTO_MIN, TCP_RTO_MAX, and
// sysctl_tcp_syn_linear_timeouts.
const (
	delayedMinNS   = 40 * nanosecondsMS
	delayedMaxNS   = 200 * nanosecondsMS
	maxQuickAcks   = 16
	guessedMSS     = 536
	receiveWindow  = 6 << 20
	synAckRetries  = 5
	finRetries     = 8
	initialRTONS   = 1000 * nanosecondsMS
	minVarianceNS  = 200 * nanosecondsMS
	maxRTONS       = 120_000 * nanosecondsMS
	synLinearTries = 4
)

type receiverState uint8

const (
	receiverClosed receiverState = iota
	receiverSYN                  // has answered a SYN
	receiverOpen
	receiverFIN // its process is dead, which the sender may not know yet
)

// receiver is the end of a connection at the process that messages go to. The
// process reads whatever comes at once.
type receiver struct {
	wheel
	state receiverState
	// next is the first byte not received, acked what the last acknowledgement
	// said of it.
	next, acked int64
	// early are the ranges received beyond next, the latest first.
	early []block
	// duplicate is to be reported once; empty if there is none.
	duplicate block
	// stampMS is the timestamp to echo.
	stampMS int64

	// segment is the guess of the sender's full segment, last the size of the last
	// smaller one.
	segment, last int64
	// quick counts acknowledgements that are sent at once; delay is for how long
	// others wait.
	quick   int
	delayNS int64
	// waiting is set if something is to be acknowledged; pushed if the process's
	// reading acknowledges it; now if it must be at once.
	waiting, pushed, now bool
	arrivedNS            int64
	rtoNS                int64

	// dueNS is what the delayed acknowledgement's timer was set for; it expires
	// at delayedNS. handshakeNS is the timer of SYN-ACK and FIN.
	dueNS, delayedNS, handshakeNS int64
	synAckNS                      int64
	tries                         int
	// opened is set for ever once the handshake is complete.
	opened bool
}

func newReceiver(w wheel) receiver {
	return receiver{wheel: w, segment: guessedMSS, rtoNS: initialRTONS, delayedNS: never, handshakeNS: never}
}

// answer answers a SYN.
func (r *receiver) answer(nowNS int64, f *Frame) Frame {
	if r.state == receiverClosed {
		r.state, r.synAckNS = receiverSYN, nowNS
		r.handshakeNS = r.expiry(nowNS, r.ticks(initialRTONS))
	}
	r.stampMS = f.stampMS
	return Frame{Bytes: synBytes, kind: kindSYNACK, stampMS: nowNS / nanosecondsMS, echoMS: r.stampMS}
}

// open completes the handshake.
func (r *receiver) open(nowNS int64) {
	r.state, r.handshakeNS, r.opened = receiverOpen, never, true
	if r.tries == 0 {
		rtt := nowNS - r.synAckNS
		r.rtoNS = rtt + max(2*rtt, minVarianceNS)
	}
	r.tries = 0
}

// close forgets all; frames that come are refused from now on.
func (r *receiver) close() {
	r.state = receiverClosed
	r.delayedNS, r.handshakeNS = never, never
	r.early = nil
}

// kill closes the socket, as the kernel does for a dead process.
func (r *receiver) kill(nowNS int64) {
	r.state, r.tries = receiverFIN, 0
	r.delayedNS = never
	r.handshakeNS = r.expiry(nowNS, r.ticks(r.rtoNS))
}

// retry is called when the timer of the handshake expires. It returns what to
// send again, unless the receiver has given up and is closed.
func (r *receiver) retry(nowNS int64) (again Frame, ok bool) {
	limit, interval := synAckRetries, int64(initialRTONS)
	if r.state == receiverFIN {
		limit, interval = finRetries, r.rtoNS
	}
	if r.tries >= limit {
		r.close()
		return Frame{}, false
	}
	r.tries++
	r.handshakeNS = r.expiry(nowNS, r.ticks(min(interval<<r.tries, maxRTONS)))
	if r.state == receiverFIN {
		return r.fin(nowNS), true
	}
	return Frame{Bytes: synBytes, kind: kindSYNACK, stampMS: nowNS / nanosecondsMS, echoMS: r.stampMS}, true
}

func (r *receiver) fin(nowNS int64) Frame {
	return Frame{Bytes: dataBytes, kind: kindFIN, ack: r.next, stampMS: nowNS / nanosecondsMS, echoMS: r.stampMS}
}

// receive takes a segment with data (Linux: tcp_data_queue) and tells whether an
// acknowledgement is to be sent now.
func (r *receiver) receive(nowNS int64, f *Frame) bool {
	if f.seq <= r.acked && f.stampMS >= r.stampMS {
		r.stampMS = f.stampMS
	}
	r.waiting = true
	switch {
	case f.end <= r.next: // a retransmission too many
		r.duplicate = block{f.seq, f.end}
		r.quicken(maxQuickAcks)
		r.delayNS = delayedMinNS
	case f.seq > r.next:
		r.keep(block{f.seq, f.end})
	default:
		if f.seq < r.next {
			r.duplicate = block{f.seq, r.next}
		}
		r.next = f.end
		r.arrived(nowNS, f)
		if len(r.early) > 0 {
			r.advance()
			r.now = r.now || len(r.early) == 0
		}
	}
	// Out-of-order data is acknowledged at once, as is what the process's read
	// shows to be the end of what was written (Linux: tcp_cleanup_rbuf).
	if r.next-r.acked > r.segment || r.quick > 0 || r.now || r.pushed || len(r.early) > 0 {
		return true
	}
	return r.postpone(nowNS)
}

// quicken has the next acknowledgements sent at once.
func (r *receiver) quicken(limit int) {
	count := int(receiveWindow / (2 * r.segment))
	r.quick = max(r.quick, min(max(count, 2), limit))
}

// arrived adapts the delay of acknowledgements to data in order (Linux:
// tcp_event_data_recv).
func (r *receiver) arrived(nowNS int64, f *Frame) {
	r.measure(f)
	gap := nowNS - r.arrivedNS
	r.arrivedNS = nowNS
	switch {
	case r.delayNS == 0:
		r.quicken(maxQuickAcks)
		r.delayNS = delayedMinNS
	case gap <= delayedMinNS/2:
		r.delayNS = r.delayNS/2 + delayedMinNS/2
	case gap < r.delayNS:
		r.delayNS = min(r.delayNS/2+gap, r.rtoNS)
	case gap > r.rtoNS:
		r.quicken(maxQuickAcks)
	}
}

// measure guesses the sender's segment size (Linux: tcp_measure_rcv_mss).
func (r *receiver) measure(f *Frame) {
	size, last := f.end-f.seq, r.last
	r.last = 0
	if size >= r.segment {
		r.segment = size
		r.pushed = r.pushed || f.push
		return
	}
	if size+stampBytes >= guessedMSS {
		if size == last {
			r.segment = size
			return
		}
		r.last = size
	}
	r.pushed = true
}

// keep stores a range beyond next.
func (r *receiver) keep(b block) {
	whole := b
	for i := 0; i < len(r.early); {
		e := r.early[i]
		if b.start >= e.start && b.end <= e.end {
			r.duplicate = b
		}
		if e.start <= whole.end && whole.start <= e.end {
			whole = block{min(whole.start, e.start), max(whole.end, e.end)}
			r.early = slices.Delete(r.early, i, i+1)
			continue
		}
		i++
	}
	r.early = slices.Insert(r.early, 0, whole)
}

// advance moves next over the ranges that it has reached.
func (r *receiver) advance() {
	for i := 0; i < len(r.early); {
		e := r.early[i]
		if e.start > r.next {
			i++
			continue
		}
		r.next = max(r.next, e.end)
		r.early = slices.Delete(r.early, i, i+1)
		i = 0
	}
}

// postpone sets the timer of the delayed acknowledgement (Linux:
// tcp_send_delayed_ack), or tells that it is as good as due.
func (r *receiver) postpone(nowNS int64) (due bool) {
	delay := min(r.delayNS, delayedMaxNS)
	timeout := nowNS + delay
	if r.delayedNS != never {
		if r.dueNS <= nowNS+delay/4 {
			return true
		}
		timeout = min(timeout, r.dueNS)
	}
	r.dueNS = timeout
	r.delayedNS = r.expiry(nowNS, r.ticks(timeout-nowNS))
	return false
}

// expire tells whether the delayed acknowledgement is to be sent.
func (r *receiver) expire() bool {
	r.delayedNS = never
	if r.waiting {
		r.delayNS = min(2*r.delayNS, r.rtoNS)
	}
	return r.waiting
}

// acknowledge makes an acknowledgement.
func (r *receiver) acknowledge(nowNS int64) Frame {
	f := Frame{Bytes: dataBytes, kind: kindAck, ack: r.next, stampMS: nowNS / nanosecondsMS, echoMS: r.stampMS}
	if r.duplicate != (block{}) {
		f.duplicate, f.sack[0], f.blocks = true, r.duplicate, 1
		r.duplicate = block{}
	}
	for i := 0; i < len(r.early) && int(f.blocks) < maxBlocks; i++ {
		f.sack[f.blocks] = r.early[i]
		f.blocks++
	}
	if f.blocks > 0 {
		f.Bytes += sackBytes + blockBytes*int(f.blocks)
	}
	r.acked = r.next
	if r.quick > 0 && r.waiting {
		if r.quick--; r.quick == 0 {
			r.delayNS = delayedMinNS
		}
	}
	r.waiting, r.pushed, r.now = false, false, false
	r.delayedNS = never
	return f
}
