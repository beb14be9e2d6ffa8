package tcp

// markLost marks a segment as lost, or its retransmission (Linux:
// tcp_mark_skb_lost).
func (s *sender) markLost(g *segment) {
	switch {
	case g.sacked:
	case !g.lost:
		g.lost = true
		s.lostOut++
		s.lost++
	case g.resent:
		g.resent = false
		s.resentOut--
		s.lost++
	}
}

// advanceRACK remembers the latest sent of the segments delivered (RFC 8985,
// section 6.2, step 2; Linux: tcp_rack_advance).
func (s *sender) advanceRACK(nowNS int64, g *segment) {
	rtt := nowNS - g.sentNS
	if rtt < s.minRTTNS && g.everResent {
		return // it is the original that was delivered
	}
	s.rackAdvanced = true
	s.rackRTT = rtt
	if g.sentNS > s.rackNS || g.sentNS == s.rackNS && g.end > s.rackEnd {
		s.rackNS, s.rackEnd = g.sentNS, g.end
	}
}

// reorderWindow is how much later than others a segment may arrive (RFC 8985,
// section 6.2, step 4; Linux: tcp_rack_reo_wnd).
func (s *sender) reorderWindow() int64 {
	if !s.reorderingSeen && (s.congestion >= congestionRecovery || s.sackedOut >= s.reordering) {
		return 0
	}
	return min(s.minRTTNS>>2*int64(s.rackSteps), s.srtt>>3)
}

// overdue is how long a segment may still take to be acknowledged before it
// counts as lost.
func (s *sender) overdue(nowNS int64, g *segment, window int64) int64 {
	return s.rackRTT + window - (nowNS - g.sentNS)
}

// detectLoss marks as lost what was sent long enough before something that was
// delivered (RFC 8985, section 6.2, step 5; Linux: tcp_rack_detect_loss). It
// returns how long to wait for the rest of what was sent before.
func (s *sender) detectLoss(nowNS int64) (wait int64) {
	window := s.reorderWindow()
	for i := range s.out() {
		g := s.segments.at(i)
		if g.sacked || g.lost && !g.resent {
			continue
		}
		if g.sentNS > s.rackNS || g.sentNS == s.rackNS && g.end >= s.rackEnd {
			continue
		}
		if left := s.overdue(nowNS, g, window); left <= 0 {
			s.markLost(g)
		} else {
			wait = max(wait, left)
		}
	}
	return wait
}

// findLoss detects losses after an acknowledgement (Linux:
// tcp_identify_packet_loss).
func (s *sender) findLoss(e *ackEvent) {
	if s.out() == 0 || !s.rackAdvanced {
		return
	}
	resent := s.resentOut
	s.rackAdvanced = false
	if wait := s.detectLoss(e.nowNS); wait > 0 {
		s.arm(e.nowNS, timerReorder, min(s.ticks(wait+probeMarginTicks*s.tickNS), s.rto))
		e.rearm = false
	}
	e.lostAgain = e.lostAgain || s.resentOut < resent
}

// expireReorder is called when what may have been reordered has had its time
// (Linux: tcp_rack_reo_timeout).
func (s *sender) expireReorder(nowNS int64, out *Output) {
	inFlight, lost := s.inFlight(), s.lost
	s.detectLoss(nowNS)
	if s.inFlight() != inFlight {
		if s.congestion != congestionRecovery {
			s.enterRecovery()
			s.reduceWindow(1, s.lost-lost, false)
		}
		s.resendLost(nowNS, out)
	}
	if s.timer != timerRTO {
		s.rearm(nowNS)
	}
}

// adaptReordering widens the reordering window after needless retransmissions, and
// narrows it again after 16 recoveries without (RFC 8985, section 6.2, step 4;
// Linux: tcp_rack_update_reo_wnd).
func (s *sender) adaptReordering(e *ackEvent) {
	if e.prior <= 0 {
		return
	}
	if e.prior < s.rackDelivered {
		s.rackDuplicate = false
	}
	if s.rackDuplicate {
		s.rackSteps = min(s.rackSteps+1, 255)
		s.rackDuplicate = false
		s.rackDelivered = s.delivered
		s.rackPersist = reorderPersist
	} else if s.rackPersist == 0 {
		s.rackSteps = 1
	}
}

// beginUndo remembers where a reduction began, so that it can be undone.
func (s *sender) beginUndo() {
	s.undoFrom = s.una
	s.undoResent = s.resentOut
	if s.probeHigh != none && s.probeResent {
		s.undoResent++
	}
	if s.undoResent == 0 {
		s.undoResent = none
	}
}

// anyResent tells whether a retransmission may be in flight (Linux:
// tcp_any_retrans_done).
func (s *sender) anyResent() bool {
	return s.resentOut > 0 || s.out() > 0 && s.segments.at(0).everResent
}

func (s *sender) enterRecovery() {
	if !s.anyResent() {
		s.resentMS = none
	}
	s.priorThresh = 0
	s.beginUndo()
	if !s.reducing() {
		s.priorThresh = s.currentThreshold()
		s.beginReduction()
	}
	s.congestion = congestionRecovery
}

// enterLoss reacts to a retransmission timeout (Linux: tcp_enter_loss).
func (s *sender) enterLoss(nowNS int64) {
	fresh := s.congestion < congestionRecovery
	for i := range s.out() {
		g := s.segments.at(i)
		if i == 0 || s.overdue(nowNS, g, 0) <= 0 {
			s.markLost(g)
		}
	}
	if s.congestion <= congestionDisorder || s.high <= s.una || s.congestion == congestionLoss && s.timeouts == 0 {
		s.priorThresh = s.currentThreshold()
		s.priorWindow = s.window
		s.threshold = s.renoThreshold()
		s.beginUndo()
	}
	s.window = s.inFlight() + 1
	s.windowCount = 0
	s.windowNS = nowNS
	if s.congestion <= congestionDisorder && s.sackedOut >= initialReordering {
		s.reordering = min(s.reordering, initialReordering)
	}
	s.congestion = congestionLoss
	s.high = s.next
	s.probeHigh = none
	s.spuriousCheck = fresh || s.timeouts > 0
}

// alert moves the congestion machine after an acknowledgement that is more than
// the usual (Linux: tcp_fastretrans_alert).
func (s *sender) alert(e *ackEvent) {
	if s.congestion == congestionOpen {
		s.resentMS = none
	} else if s.una >= s.high {
		s.passRecoveryPoint(e)
	}
	switch s.congestion {
	case congestionRecovery:
		if e.advanced && s.undoPartial(e) {
			return
		}
		if s.undoDuplicate(e) {
			s.tryOpen()
		}
		s.findLoss(e)
		if s.congestion != congestionRecovery {
			if s.lostOut == 0 {
				return
			}
			s.enterRecovery()
		}
	case congestionLoss:
		s.processLoss(e)
		s.findLoss(e)
		if s.congestion != congestionOpen && !e.lostAgain {
			return
		}
		if !s.alertUsual(e) {
			return
		}
	default:
		if !s.alertUsual(e) {
			return
		}
	}
	e.resend = resendLost
}

// alertUsual begins a recovery if something is lost.
func (s *sender) alertUsual(e *ackEvent) (recovering bool) {
	if s.congestion <= congestionDisorder {
		s.undoDuplicate(e)
	}
	s.findLoss(e)
	if s.lostOut == 0 {
		s.tryOpen()
		return false
	}
	s.enterRecovery()
	return true
}

// passRecoveryPoint ends a reduction once all that was sent before it is
// acknowledged.
func (s *sender) passRecoveryPoint(e *ackEvent) {
	switch s.congestion {
	case congestionCWR:
		if s.una != s.high {
			s.endReduction(e.nowNS)
			s.congestion = congestionOpen
		}
	case congestionRecovery:
		s.undoRecovery(e)
		s.endReduction(e.nowNS)
	}
}

// keepOpen leaves the state that has nothing to do any more.
func (s *sender) keepOpen() {
	state := congestionOpen
	if s.sackedOut+s.lostOut > 0 || s.anyResent() {
		state = congestionDisorder
	}
	if s.congestion != state {
		s.congestion = state
		s.high = s.next
	}
}

func (s *sender) tryOpen() {
	if !s.anyResent() {
		s.resentMS = none
	}
	if s.congestion != congestionCWR {
		s.keepOpen()
	}
}

// delayed tells whether nothing was retransmitted, or the data acknowledged is
// the original's (the Eifel algorithm, RFC 3522; Linux: tcp_packet_delayed).
func (s *sender) delayed(e *ackEvent) bool {
	return s.resentMS == none || e.frame.echoMS < s.resentMS
}

func (s *sender) mayUndo(e *ackEvent) bool {
	return s.undoFrom != none && (s.undoResent == 0 || s.delayed(e))
}

// undoRecovery ends a recovery, or takes it back if it was a false alarm.
func (s *sender) undoRecovery(e *ackEvent) {
	if s.mayUndo(e) {
		s.undoReduction(e.nowNS, false)
	} else if s.rackPersist > 0 {
		s.rackPersist--
	}
	s.congestion = congestionOpen
}

// undoDuplicate takes a reduction back once D-SACKs have told that every
// retransmission was needless.
func (s *sender) undoDuplicate(e *ackEvent) bool {
	if s.undoFrom == none || s.undoResent != 0 {
		return false
	}
	s.rackPersist = min(reorderPersist, s.rackPersist+1)
	s.undoReduction(e.nowNS, false)
	return true
}

// undoPartial looks at an acknowledgement within a recovery (Linux:
// tcp_try_undo_partial). It returns true if nothing else is to be done.
func (s *sender) undoPartial(e *ackEvent) bool {
	if s.undoFrom == none || !s.delayed(e) {
		return false
	}
	s.noteReordering(e.una)
	if s.resentOut > 0 {
		return true
	}
	if !s.anyResent() {
		s.resentMS = none
	}
	s.undoReduction(e.nowNS, true)
	s.keepOpen()
	return false
}

// undoLoss takes back a timeout that was a false alarm (Linux: tcp_try_undo_loss).
func (s *sender) undoLoss(e *ackEvent, proven bool) bool {
	if !proven && !s.mayUndo(e) {
		return false
	}
	s.undoReduction(e.nowNS, true)
	s.timeouts = 0
	s.congestion = congestionOpen
	return true
}

// processLoss looks at an acknowledgement after a timeout (F-RTO, RFC 5682,
// section 3.1; Linux: tcp_process_loss).
func (s *sender) processLoss(e *ackEvent) {
	recovered := s.una >= s.high
	if e.advanced && s.undoLoss(e, false) {
		return
	}
	if s.spuriousCheck {
		if e.original && s.undoLoss(e, true) {
			return
		}
		if s.next > s.high {
			if e.reported || !e.advanced && !e.duplicate {
				s.spuriousCheck = false // the loss was real
			}
		} else if e.advanced && !recovered {
			s.high = s.next
			if s.accepted > s.next {
				e.resend = resendNew
				return
			}
			s.spuriousCheck = false
		}
	}
	if recovered {
		s.undoRecovery(e)
		return
	}
	e.resend = resendLost
}
