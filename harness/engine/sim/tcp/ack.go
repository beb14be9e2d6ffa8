package tcp

// ackEvent is what an acknowledgement turns out to mean. The flags are those of
// Linux's tcp_ack.
type ackEvent struct {
	nowNS  int64
	frame  *Frame
	una    int64 // before it
	sacked int64 // the highest byte reported before it
	// advanced: una moved. covered: segments left the queue. reported: SACK told
	// news. duplicate, duplicateProbe: D-SACK told of a needless retransmission,
	// of a needless probe. original: data never sent twice was delivered from
	// below the recovery point. lostAgain: a retransmission was lost.
	advanced, covered, reported, duplicate, duplicateProbe, original, lostAgain bool
	// rearm: the timer is to be set anew.
	rearm bool
	// firstNS and latestNS are when the earliest and the latest segment that SACK
	// reports now were sent, if they were sent once; reordered is the lowest byte
	// that was delivered after later ones.
	firstNS, latestNS, reordered int64
	// prior is what was delivered when the latest of the segments was sent;
	// priorNS is when that was.
	prior, priorNS int64
	resend         resendKind
}

// resendKind is what to send after an acknowledgement in a recovery.
type resendKind uint8

const (
	resendNothing resendKind = iota
	resendLost
	resendNew
)

// acknowledged takes an acknowledgement (Linux: tcp_ack, tcp_data_snd_check).
func (s *sender) acknowledged(nowNS int64, f *Frame, out *Output) {
	if f.ack > s.next {
		return // can't be ours
	}
	e := ackEvent{
		nowNS: nowNS, frame: f, una: s.una, sacked: s.highestSacked(), firstNS: none, latestNS: none,
		reordered: s.next, prior: none, priorNS: none,
	}
	delivered, lost := s.delivered, s.lost
	if f.ack < s.una {
		if f.blocks > 0 {
			s.tag(&e)
			s.alert(&e)
			s.sendAfter(&e, out)
		}
		s.push(nowNS, false, out)
		return
	}
	if f.ack > s.una {
		e.advanced = true
		s.timeouts = 0
		s.una = f.ack
	}
	if f.blocks > 0 {
		s.tag(&e)
	}
	if s.out() == 0 {
		if e.duplicate {
			s.alert(&e)
		}
		s.endProbe(&e)
	} else {
		s.clean(&e)
		s.adaptReordering(&e)
		s.endProbe(&e)
		if !e.advanced || e.reported || e.duplicate || s.congestion != congestionOpen {
			s.alert(&e)
		}
		if e.rearm && !s.scheduleProbe(nowNS, true) {
			s.rearm(nowNS)
		}
		if s.reducing() {
			s.reduceWindow(int(s.delivered-delivered), s.lost-lost, e.advanced)
		} else if e.covered || s.reordering > initialReordering && e.reported {
			s.growWindow(nowNS, int(s.delivered-delivered))
		}
		s.sendAfter(&e, out)
	}
	s.push(nowNS, false, out)
}

// sendAfter retransmits, or sends new data, as the recovery demands (Linux:
// tcp_xmit_recovery).
func (s *sender) sendAfter(e *ackEvent, out *Output) {
	if e.resend == resendNothing {
		return
	}
	if e.resend == resendNew {
		s.push(e.nowNS, false, out)
		if s.next > s.high {
			return
		}
		s.spuriousCheck = false
	}
	s.resendLost(e.nowNS, out)
}

// clean removes what is acknowledged from the queue and measures the round trip
// (Linux: tcp_clean_rtx_queue).
func (s *sender) clean(e *ackEvent) {
	first, latest := int64(none), int64(none)
	resent := false
	count := 0
	reordered := s.next
	for ; count < s.out(); count++ {
		g := s.segments.at(count)
		if g.end > s.una {
			break
		}
		if g.everResent {
			resent = true
		} else if !g.sacked {
			latest = g.sentNS
			if first == none {
				first = latest
			}
			reordered = min(reordered, g.seq)
			e.original = e.original || g.end <= s.high
		}
		s.forget(e, g)
	}
	s.segments.drop(count)
	e.covered = count > 0
	s.measure(e, first, latest, resent)
	if e.covered {
		e.rearm = true
		if reordered < e.sacked {
			s.noteReordering(reordered)
		}
	}
}

// forget takes a segment that is acknowledged out of the counts.
func (s *sender) forget(e *ackEvent, g *segment) {
	if g.resent {
		s.resentOut--
	}
	if g.lost {
		s.lostOut--
	}
	if g.sacked {
		s.sackedOut--
	} else {
		s.delivered++
		needless := g.everResent && e.frame.echoMS < g.sentNS/nanosecondsMS
		if !needless {
			s.advanceRACK(e.nowNS, g)
		}
	}
	e.sample(g)
}

// sample remembers the latest sent of the segments delivered.
func (e *ackEvent) sample(g *segment) {
	if g.sentNS >= e.priorNS {
		e.prior, e.priorNS = g.delivered, g.sentNS
	}
}

// measure takes the round trip from what an acknowledgement covers: segments sent
// once if there are such, else SACK, else the timestamps.
func (s *sender) measure(e *ackEvent, first, latest int64, resent bool) {
	roundTrip, last := int64(none), int64(none)
	if first != none && !resent {
		roundTrip, last = e.nowNS-first, e.nowNS-latest
	}
	sackRoundTrip := int64(none)
	if e.firstNS != none {
		sackRoundTrip, last = e.nowNS-e.firstNS, e.nowNS-e.latestNS
		if roundTrip == none {
			roundTrip = sackRoundTrip
		}
	}
	if roundTrip == none && e.covered {
		roundTrip = max(e.nowNS/nanosecondsMS-e.frame.echoMS, 1) * nanosecondsMS
		last = roundTrip
	}
	if roundTrip == none {
		return
	}
	s.sampleRTT(e.nowNS, roundTrip, last)
	if !e.covered && sackRoundTrip != none && s.out() > 0 && sackRoundTrip > e.nowNS-s.segments.at(0).sentNS {
		e.rearm = true
	}
}

// tag marks the segments that SACK blocks report (RFC 2018; Linux:
// tcp_sacktag_write_queue).
func (s *sender) tag(e *ackEvent) {
	if s.sackedOut == 0 {
		s.sackedEnd = s.una
	}
	f := e.frame
	for i := range int(f.blocks) {
		b := f.sack[i]
		duplicate := i == 0 && f.duplicate && s.countDuplicate(e, b)
		if b.end > s.next || b.start <= s.una && !duplicate {
			continue
		}
		for j := s.find(b.start); j < s.out(); j++ {
			g := s.segments.at(j)
			if g.end > b.end {
				break
			}
			s.tagSegment(e, g, duplicate)
		}
	}
	if s.congestion != congestionLoss || s.undoFrom != none {
		s.noteReordering(e.reordered)
	}
}

// countDuplicate takes a D-SACK (RFC 2883; Linux: tcp_check_dsack), and tells
// whether it may be believed.
func (s *sender) countDuplicate(e *ackEvent, b block) bool {
	segments := max((b.end-b.start+s.mss-1)/s.mss, 1)
	if segments == 1 && s.probeHigh == b.end {
		e.duplicateProbe = true
	}
	s.duplicates += segments
	if s.duplicates > s.totalResent {
		return false
	}
	s.rackDuplicate = s.rackDuplicate || s.reorderingSeen && !e.duplicateProbe
	e.duplicate = true
	s.delivered += segments
	if s.undoFrom != none && s.undoResent > 0 && b.end <= e.una && b.end > s.undoFrom {
		s.undoResent = max(0, s.undoResent-int(segments))
	}
	return true
}

// tagSegment marks a segment that a block covers (Linux: tcp_sacktag_one).
func (s *sender) tagSegment(e *ackEvent, g *segment, duplicate bool) {
	if duplicate && g.everResent {
		if s.undoFrom != none && s.undoResent > 0 && g.end > s.undoFrom {
			s.undoResent--
		}
		if g.sacked {
			e.reordered = min(e.reordered, g.seq)
		}
	}
	if g.end <= s.una {
		return
	}
	if !g.sacked {
		s.advanceRACK(e.nowNS, g)
		if g.resent {
			if g.lost {
				g.lost, g.resent = false, false
				s.lostOut--
				s.resentOut--
			}
		} else {
			s.tagOriginal(e, g)
		}
		g.sacked = true
		s.sackedOut++
		s.delivered++
		s.sackedEnd = max(s.sackedEnd, g.end)
		e.reported = true
		e.sample(g)
	}
	if duplicate && g.resent {
		g.resent = false
		s.resentOut--
	}
}

// tagOriginal is for a segment that isn't being retransmitted.
func (s *sender) tagOriginal(e *ackEvent, g *segment) {
	if !g.everResent {
		if g.seq < s.highestSacked() {
			e.reordered = min(e.reordered, g.seq)
		}
		e.original = e.original || g.end <= s.high
		if e.firstNS == none {
			e.firstNS = g.sentNS
		}
		e.latestNS = g.sentNS
	}
	if g.lost {
		g.lost = false
		s.lostOut--
	}
}

// noteReordering is called when data at low arrived after higher data (Linux:
// tcp_check_sack_reordering).
func (s *sender) noteReordering(low int64) {
	high := s.highestSacked()
	if low >= high {
		return
	}
	if distance := high - low; distance > int64(s.reordering)*s.mss {
		s.reordering = int(min((distance+s.mss-1)/s.mss, maxReordering))
	}
	s.reorderingSeen = true
}

// endProbe ends the episode of a tail loss probe (RFC 8985, section 7.4.2; Linux:
// tcp_process_tlp_ack).
func (s *sender) endProbe(e *ackEvent) {
	if s.probeHigh == none || e.frame.ack < s.probeHigh {
		return
	}
	switch {
	case !s.probeResent, e.duplicateProbe:
		s.probeHigh = none
	case e.frame.ack > s.probeHigh:
		// The probe repaired a loss that nobody else noticed.
		s.beginReduction()
		s.congestion = congestionCWR
		s.endReduction(e.nowNS)
		s.keepOpen()
	case !e.advanced && !e.covered && !e.reported:
		s.probeHigh = none
	}
}
