package tcp

import "sort"

// Constants of Linux: TCP_INIT_CWND, TCP_TIMEOUT_MIN, sysctl_tcp_reordering,
// TCP_RACK_RECOVERY_THRESH, and the window of sysctl_tcp_min_rtt_wlen.
const (
	initialWindow     = 10
	probeMarginTicks  = 2
	initialReordering = 3
	maxReordering     = 300
	reorderPersist    = 16
	minRTTWindowNS    = 300_000 * nanosecondsMS
	infinite          = 1 << 30
	none              = -1
)

// Memory of a send buffer, in bytes (Linux: tcp_sndbuf_expand, tcp_wmem): what
// it grows by for each segment of the window, its limit, and what a segment takes
// up besides its payload on 64-bit machines.
const (
	bufferPerSegment = 2 * 2304
	maxBuffer        = 4 << 20
	segmentOverhead  = 832
)

type senderState uint8

const (
	senderClosed senderState = iota
	senderSYN                // has sent a SYN
	senderOpen
)

// congestion is the state of Linux's congestion machine (tcp_fastretrans_alert).
type congestion uint8

const (
	congestionOpen congestion = iota
	congestionDisorder
	congestionCWR
	congestionRecovery
	congestionLoss
)

// timerKind is what the one retransmission timer is set for.
type timerKind uint8

const (
	timerNone timerKind = iota
	timerRTO
	timerProbe
	timerReorder
)

// segment is data in flight. Windows count segments, however small.
type segment struct {
	seq, end int64
	sentNS   int64
	// delivered is how many segments had been delivered when it was sent.
	delivered int64
	push      bool
	sacked    bool
	lost      bool
	// resent is set while a retransmission is in flight, everResent for ever.
	resent, everResent bool
}

// sender is the end of a connection at the process that messages come from.
type sender struct {
	wheel
	mss           int64
	userTimeoutNS int64
	state         senderState
	stream        uint32
	echoMS        int64
	// What was sent, for Statistics.
	segmentsSent, segmentsResent, bytesSent uint64

	// una is the first byte not acknowledged, next the first never sent, accepted
	// the end of what is in the send buffer.
	una, next, accepted int64
	segments            ring[segment]
	// writes are where the writes end whose last byte hasn't been sent.
	writes      ring[int64]
	bufferBytes int64

	// sackedOut, lostOut and resentOut count the segments so marked; sackedEnd is
	// the end of the highest one reported by SACK.
	sackedOut, lostOut, resentOut int
	sackedEnd                     int64
	// delivered, lost, totalResent and duplicates count segments, and reports of
	// needless ones, over the connection's life.
	delivered, lost, totalResent, duplicates int64

	// timer says what expires at timerNS. rto is the retransmission timeout in
	// ticks, timeouts how many there were since una moved.
	timer    timerKind
	timerNS  int64
	rto      int64
	timeouts int
	// resentMS is when the first retransmission of a recovery went (or the SYN), or
	// none.
	resentMS   int64
	lastSendNS int64

	// Round trips in nanoseconds: srtt is scaled by 8, the others by 4.
	srtt, deviation, deviationMax, variance int64
	rttSeq                                  int64
	minRTTNS, minRTTAtNS                    int64

	// high is the recovery point: what was sent before the last reduction began.
	congestion congestion
	high       int64
	// window and threshold are Reno's, in segments; windowCount is the progress
	// towards the next segment. limited, maxOut and usageSeq tell how much of the
	// window the last round trip used, windowUsed the time since windowNS.
	window, windowCount, threshold int
	limited                        bool
	maxOut, windowUsed             int
	usageSeq, windowNS             int64
	// reduceDone and reduceSent are what was delivered and sent since a reduction
	// began, when the window was priorWindow.
	reduceDone, reduceSent int
	// A reduction that began at undoFrom, unless none, is undone once undoResent
	// is 0, back to priorWindow and priorThresh. spuriousCheck is set while F-RTO
	// examines a timeout.
	priorWindow, priorThresh int
	undoFrom                 int64
	undoResent               int
	spuriousCheck            bool

	// probeHigh is the end of the data when a tail loss probe was sent, or none;
	// probeResent is set if the probe was a retransmission.
	probeHigh   int64
	probeResent bool
	// reordering is the distance of the farthest reordering seen, in segments.
	reordering     int
	reorderingSeen bool
	// rackNS and rackEnd are those of the latest sent segment that was delivered,
	// rackRTT its round trip; rackAdvanced is set if they are news. rackSteps are
	// the quarters of the least round trip in the reordering window, kept for
	// rackPersist recoveries; rackDuplicate and rackDelivered drive them.
	rackNS, rackEnd, rackRTT    int64
	rackAdvanced, rackDuplicate bool
	rackSteps, rackPersist      int
	rackDelivered               int64
}

func newSender(w wheel, mss int, userTimeoutNS int64, stream uint32) sender {
	return sender{
		wheel: w, mss: int64(mss), userTimeoutNS: userTimeoutNS, stream: stream,
		timerNS: never, resentMS: none, rto: w.ticks(initialRTONS),
		window: initialWindow, threshold: infinite, undoFrom: none,
		probeHigh: none, reordering: initialReordering, rackNS: none, rackSteps: 1, minRTTNS: never,
		bufferBytes: bufferPerSegment * initialWindow,
	}
}

func (s *sender) out() int      { return s.segments.count }
func (s *sender) inFlight() int { return s.out() - s.sackedOut - s.lostOut + s.resentOut }

// highestSacked is tcp_highest_sack_seq.
func (s *sender) highestSacked() int64 {
	if s.sackedOut == 0 {
		return s.una
	}
	return s.sackedEnd
}

// connect sends the SYN.
func (s *sender) connect(nowNS int64, out *Output) {
	s.state = senderSYN
	s.resentMS = nowNS / nanosecondsMS
	s.sendSYN(nowNS, out)
	s.arm(nowNS, timerRTO, s.rto)
}

func (s *sender) sendSYN(nowNS int64, out *Output) {
	s.lastSendNS = nowNS
	s.segmentsSent++
	out.Frames = append(out.Frames, Frame{
		ToReceiver: true, Bytes: synBytes, kind: kindSYN, stream: s.stream, stampMS: nowNS / nanosecondsMS,
	})
}

// established completes the handshake with the receiver's SYN-ACK.
func (s *sender) established(nowNS int64, f *Frame, out *Output) {
	s.state = senderOpen
	s.timer, s.timerNS = timerNone, never
	s.timeouts, s.resentMS = 0, none
	s.echoMS = f.stampMS
	rtt := nowNS - s.lastSendNS
	if s.totalResent > 0 {
		rtt = max(nowNS/nanosecondsMS-f.echoMS, 1) * nanosecondsMS
	}
	if s.totalResent > 1 {
		s.window = 1
	}
	s.totalResent = 0
	s.sampleRTT(nowNS, rtt, rtt)
	s.windowNS = nowNS
	s.pureAck(nowNS, out)
}

// pureAck acknowledges what the receiver sent besides acknowledgements.
func (s *sender) pureAck(nowNS int64, out *Output) {
	s.segmentsSent++
	out.Frames = append(out.Frames, Frame{
		ToReceiver: true, Bytes: dataBytes, kind: kindAck, stream: s.stream,
		stampMS: nowNS / nanosecondsMS, echoMS: s.echoMS,
	})
}

func (s *sender) close() {
	s.state = senderClosed
	s.timer, s.timerNS = timerNone, never
	s.segments.clear()
	s.writes.clear()
	s.sackedOut, s.lostOut, s.resentOut = 0, 0, 0
}

// bufferRoom tells whether the send buffer takes more (Linux:
// sk_stream_memory_free). A writer that had to wait goes on once a third of it
// is free.
func (s *sender) bufferRoom(waited bool) bool {
	unsent := s.accepted - s.next
	used := s.accepted - s.una + segmentOverhead*(int64(s.out())+(unsent+s.mss-1)/s.mss)
	if waited {
		if s.inFlight() < s.window {
			s.bufferBytes = max(s.bufferBytes, min(bufferPerSegment*int64(max(s.window, initialWindow, s.reordering+1)), maxBuffer))
		}
		return s.bufferBytes-used >= used/2
	}
	return used < s.bufferBytes
}

// write puts up to so many bytes into the send buffer and returns how many it
// took. waited tells that the writer has found it full before.
func (s *sender) write(nowNS, bytes int64, waited bool) (written int64) {
	for written < bytes && s.bufferRoom(waited && written == 0) {
		step := min(bytes-written, s.mss)
		if s.next == s.accepted {
			s.restartWindow(nowNS)
		}
		s.accepted += step
		written += step
	}
	if written > 0 {
		s.writes.push(s.accepted)
	}
	return written
}

// push sends new data as the congestion window allows (Linux: tcp_write_xmit).
// A probe is one segment whatever the window.
func (s *sender) push(nowNS int64, probe bool, out *Output) {
	sent := 0
	for s.next < s.accepted && (probe || s.inFlight() < s.window) {
		end := min(s.next+s.mss, s.accepted)
		s.segments.push(segment{seq: s.next, end: end, push: s.writeEnds(end), delivered: s.delivered})
		s.next = end
		s.transmit(nowNS, s.segments.at(s.out()-1), out)
		if s.out() == 1 || s.timer == timerProbe {
			s.rearm(nowNS)
		}
		sent++
		if probe {
			break
		}
	}
	limited := s.inFlight() >= s.window
	if sent > 0 || limited {
		s.validateWindow(nowNS, limited)
	}
	if sent > 0 {
		if s.reducing() {
			s.reduceSent += sent
		}
		if !probe {
			s.scheduleProbe(nowNS, false)
		}
	}
}

// writeEnds tells whether a write ends between what was sent and the end of the
// next segment, which then is to be pushed.
func (s *sender) writeEnds(end int64) bool {
	ended := 0
	for ended < s.writes.count && *s.writes.at(ended) <= end {
		ended++
	}
	s.writes.drop(ended)
	return ended > 0
}

// transmit sends a segment, again or for the first time.
func (s *sender) transmit(nowNS int64, g *segment, out *Output) {
	g.sentNS = nowNS
	s.lastSendNS = nowNS
	s.segmentsSent++
	s.bytesSent += uint64(g.end - g.seq)
	out.Frames = append(out.Frames, Frame{
		ToReceiver: true, Bytes: dataBytes + int(g.end-g.seq), kind: kindData, push: g.push, stream: s.stream,
		seq: g.seq, end: g.end, stampMS: nowNS / nanosecondsMS, echoMS: s.echoMS,
	})
}

// resend retransmits the i-th segment together with those after it that fit
// the frame (Linux: __tcp_retransmit_skb, tcp_retrans_try_collapse).
func (s *sender) resend(nowNS int64, i int, out *Output) {
	g := s.segments.at(i)
	g.seq = max(g.seq, s.una)
	for i+1 < s.out() && !g.sacked {
		following := *s.segments.at(i + 1)
		if following.sacked || following.end-g.seq > s.mss {
			break
		}
		if following.resent {
			s.resentOut--
		}
		if following.lost {
			s.lostOut--
		}
		g.end, g.push = following.end, g.push || following.push
		g.everResent = g.everResent || following.everResent
		s.segments.remove(i + 1)
	}
	s.totalResent++
	s.segmentsResent++
	g.delivered = s.delivered
	s.transmit(nowNS, g, out)
	g.everResent = true
}

// recover retransmits the i-th segment as part of a recovery (Linux:
// tcp_retransmit_skb).
func (s *sender) recover(nowNS int64, i int, out *Output) {
	s.resend(nowNS, i, out)
	// After a timeout was taken back, a retransmission may still be in flight.
	if g := s.segments.at(i); !g.resent {
		g.resent = true
		s.resentOut++
	}
	if s.resentMS == none {
		s.resentMS = nowNS / nanosecondsMS
	}
	s.undoResent = max(s.undoResent, 0) + 1
}

// resendLost retransmits what is marked lost, as the window allows (Linux:
// tcp_xmit_retransmit_queue).
func (s *sender) resendLost(nowNS int64, out *Output) {
	head := false
	for i := 0; i < s.out() && s.resentOut < s.lostOut && s.inFlight() < s.window; i++ {
		g := s.segments.at(i)
		if !g.lost || g.sacked || g.resent {
			continue
		}
		s.recover(nowNS, i, out)
		if s.reducing() {
			s.reduceSent++
		}
		head = head || (i == 0 && s.timer != timerReorder)
	}
	if head {
		s.arm(nowNS, timerRTO, s.rto)
	}
}

// find is the index of the first segment that doesn't begin before seq.
func (s *sender) find(seq int64) int {
	return sort.Search(s.out(), func(i int) bool { return s.segments.at(i).seq >= seq })
}
