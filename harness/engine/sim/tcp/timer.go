package tcp

func (s *sender) arm(nowNS int64, kind timerKind, ticks int64) {
	s.timer, s.timerNS = kind, s.expiry(nowNS, min(ticks, s.ticks(maxRTONS)))
}

// rearm sets the retransmission timeout anew (Linux: tcp_rearm_rto).
func (s *sender) rearm(nowNS int64) {
	if s.out() == 0 {
		s.timer, s.timerNS = timerNone, never
		return
	}
	rto := s.rto
	if s.timer == timerReorder || s.timer == timerProbe {
		rto = max(s.ticks(s.untilTimeout(nowNS)), 1)
	}
	s.arm(nowNS, timerRTO, rto)
}

// untilTimeout is how long it is until the first segment times out.
func (s *sender) untilTimeout(nowNS int64) int64 {
	return s.segments.at(0).sentNS + s.rto*s.tickNS - nowNS
}

// scheduleProbe sets the timer of the tail loss probe (RFC 8985, section 7.2;
// Linux: tcp_schedule_loss_probe) if there is to be one.
func (s *sender) scheduleProbe(nowNS int64, acknowledged bool) bool {
	if s.out() == 0 || s.congestion != congestionOpen && s.congestion != congestionCWR {
		return false
	}
	timeout := s.ticks(initialRTONS)
	if s.srtt > 0 {
		if s.out() == 1 {
			timeout = s.ticks(s.srtt>>2 + minVarianceNS)
		} else {
			timeout = s.ticks(s.srtt>>2 + probeMarginTicks*s.tickNS)
		}
	}
	until := s.rto * s.tickNS
	if !acknowledged {
		until = s.untilTimeout(nowNS)
	}
	if until > 0 {
		timeout = min(timeout, s.ticks(until))
	}
	s.arm(nowNS, timerProbe, timeout)
	return true
}

// expire is called when the timer expires.
func (s *sender) expire(nowNS int64, out *Output) {
	kind := s.timer
	switch {
	case s.state == senderSYN:
		s.expireSYN(nowNS, out)
	case kind == timerReorder:
		s.expireReorder(nowNS, out)
	case kind == timerProbe:
		s.sendProbe(nowNS, out)
	default:
		s.timer, s.timerNS = timerNone, never
		s.expireRTO(nowNS, out)
	}
}

// expireSYN sends the SYN again or gives up.
func (s *sender) expireSYN(nowNS int64, out *Output) {
	if s.timedOut(nowNS) {
		s.close()
		return
	}
	s.timeouts++
	s.totalResent++
	s.segmentsResent++
	s.sendSYN(nowNS, out)
	if s.timeouts > synLinearTries {
		s.rto *= 2
	}
	s.arm(nowNS, timerRTO, s.withinUserTimeout(nowNS))
}

// timedOut tells whether a connection is to be given up.
func (s *sender) timedOut(nowNS int64) bool {
	return s.timeouts > 0 && (nowNS/nanosecondsMS-s.resentMS)*nanosecondsMS >= s.userTimeoutNS
}

// withinUserTimeout is the retransmission timeout, or what is left of the user
// timeout.
func (s *sender) withinUserTimeout(nowNS int64) int64 {
	left := s.userTimeoutNS - (nowNS/nanosecondsMS-s.resentMS)*nanosecondsMS
	if left <= 0 {
		return timeoutTick
	}
	return min(s.rto, s.ticks(left))
}

// expireRTO retransmits the first segment after a timeout (Linux:
// tcp_retransmit_timer).
func (s *sender) expireRTO(nowNS int64, out *Output) {
	if s.out() == 0 {
		return
	}
	if s.timedOut(nowNS) {
		s.close()
		return
	}
	s.enterLoss(nowNS)
	s.timeouts++
	s.recover(nowNS, 0, out)
	s.rto = min(2*s.rto, s.ticks(maxRTONS))
	s.arm(nowNS, timerRTO, s.withinUserTimeout(nowNS))
}

// sendProbe sends new data, or the last segment again, to learn of a loss at the
// tail (RFC 8985, section 7.3; Linux: tcp_send_loss_probe).
func (s *sender) sendProbe(nowNS int64, out *Output) {
	if s.probeHigh == none && s.out() > 0 {
		s.probeResent = s.next == s.accepted
		if s.probeResent {
			s.resend(nowNS, s.out()-1, out)
		} else {
			s.push(nowNS, true, out)
		}
		s.probeHigh = s.next
		s.timer = timerNone // so that the timeout counts from now
	}
	s.rearm(nowNS)
}
