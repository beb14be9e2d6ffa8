package tcp

// reducing tells whether the window is on its way down to the threshold.
func (s *sender) reducing() bool {
	return s.congestion == congestionCWR || s.congestion == congestionRecovery
}

func (s *sender) slowStart() bool { return s.window < s.threshold }

// currentThreshold is the threshold that remembers the window of now (Linux:
// tcp_current_ssthresh).
func (s *sender) currentThreshold() int {
	if s.reducing() {
		return s.threshold
	}
	return max(s.threshold, s.window>>1+s.window>>2)
}

// windowLimited tells whether it is the window that holds data back (Linux:
// tcp_is_cwnd_limited); else it doesn't grow.
func (s *sender) windowLimited() bool {
	return s.limited || s.slowStart() && s.window < 2*s.maxOut
}

// validateWindow keeps track of how much of the window is used, and shrinks one
// that wasn't filled for a timeout (RFC 2861; Linux: tcp_cwnd_validate).
func (s *sender) validateWindow(nowNS int64, limited bool) {
	if s.una >= s.usageSeq || limited || !s.limited && s.out() > s.maxOut {
		s.limited, s.maxOut, s.usageSeq = limited, s.out(), s.next
	}
	if s.windowLimited() {
		s.windowUsed, s.windowNS = 0, nowNS
		return
	}
	s.windowUsed = max(s.windowUsed, s.out())
	if nowNS-s.windowNS < s.rto*s.tickNS {
		return
	}
	if s.congestion == congestionOpen {
		if used := max(s.windowUsed, initialWindow); used < s.window {
			s.threshold = s.currentThreshold()
			s.window = (s.window + used) >> 1
		}
		s.windowUsed = 0
	}
	s.windowNS = nowNS
}

// restartWindow halves the window for each timeout that passed idly (RFC 2861;
// Linux: tcp_slow_start_after_idle_check).
func (s *sender) restartWindow(nowNS int64) {
	rto := s.rto * s.tickNS
	idle := nowNS - s.lastSendNS
	if s.out() > 0 || idle <= rto {
		return
	}
	s.threshold = s.currentThreshold()
	least := min(initialWindow, s.window)
	for idle -= rto; idle > 0 && s.window > least; idle -= rto {
		s.window >>= 1
	}
	s.window = max(s.window, least)
	s.windowNS, s.windowUsed = nowNS, 0
}

// growWindow is Reno's reaction to so many segments acknowledged (RFC 5681,
// section 3.1; Linux: tcp_reno_cong_avoid).
func (s *sender) growWindow(nowNS int64, acknowledged int) {
	s.windowNS = nowNS
	if !s.windowLimited() {
		return
	}
	if s.slowStart() {
		grown := min(s.window+acknowledged, s.threshold)
		acknowledged -= grown - s.window
		s.window = grown
		if acknowledged == 0 {
			return
		}
	}
	if s.windowCount >= s.window {
		s.windowCount = 0
		s.window++
	}
	s.windowCount += acknowledged
	if s.windowCount >= s.window {
		steps := s.windowCount / s.window
		s.windowCount -= steps * s.window
		s.window += steps
	}
}

// beginReduction remembers the window that is to be reduced by half.
func (s *sender) beginReduction() {
	s.high = s.next
	s.probeHigh = none
	s.windowCount = 0
	s.priorWindow = s.window
	s.reduceDone, s.reduceSent = 0, 0
	s.threshold = s.renoThreshold()
}

func (s *sender) renoThreshold() int { return max(s.window>>1, 2) }

// reduceWindow spreads a reduction over a round trip (RFC 6937; Linux:
// tcp_cwnd_reduction).
func (s *sender) reduceWindow(delivered int, lost int64, advanced bool) {
	if delivered <= 0 {
		return
	}
	s.reduceDone += delivered
	room := s.threshold - s.inFlight()
	allowed := 0
	if room < 0 {
		allowed = (s.threshold*s.reduceDone+s.priorWindow-1)/s.priorWindow - s.reduceSent
	} else {
		allowed = max(s.reduceDone-s.reduceSent, delivered)
		if advanced && lost == 0 {
			allowed++
		}
		allowed = min(room, allowed)
	}
	if s.reduceSent == 0 {
		allowed = max(allowed, 1)
	}
	s.window = s.inFlight() + max(allowed, 0)
}

// endReduction sets the window to the threshold, unless the reduction was undone.
func (s *sender) endReduction(nowNS int64) {
	if s.threshold < infinite && (s.congestion == congestionCWR || s.undoFrom != none) {
		s.window = s.threshold
		s.windowNS = nowNS
	}
}

// undoReduction takes back a reduction that there was no reason for (Linux:
// tcp_undo_cwnd_reduction).
func (s *sender) undoReduction(nowNS int64, unmark bool) {
	if unmark {
		for i := range s.out() {
			s.segments.at(i).lost = false
		}
		s.lostOut = 0
	}
	if s.priorThresh > 0 {
		s.window = max(s.window, s.priorWindow)
		s.threshold = max(s.threshold, s.priorThresh)
	}
	s.windowNS = nowNS
	s.undoFrom = none
	s.rackAdvanced = true
}
