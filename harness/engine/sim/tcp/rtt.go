package tcp

// sampleRTT updates the estimates from a measurement (RFC 6298; Linux:
// tcp_ack_update_rtt). first is the round trip of the first segment that an
// acknowledgement covers, latest that of the last.
func (s *sender) sampleRTT(nowNS, first, latest int64) {
	if latest <= s.minRTTNS || nowNS-s.minRTTAtNS > minRTTWindowNS {
		s.minRTTNS, s.minRTTAtNS = latest, nowNS
	}
	s.estimate(first)
	s.rto = min(s.ticks(s.srtt>>3+s.variance), s.ticks(maxRTONS))
}

// estimate is Linux's tcp_rtt_estimator: smoother than RFC 6298 where round
// trips get shorter, and the variance falls at most once a round trip.
func (s *sender) estimate(measured int64) {
	if s.srtt == 0 {
		s.srtt = measured << 3
		s.deviation = measured << 1
		s.variance = max(s.deviation, minVarianceNS)
		s.deviationMax = s.variance
		s.rttSeq = s.next
		return
	}
	m := measured - s.srtt>>3
	s.srtt = max(s.srtt+m, 1)
	if m < 0 {
		if m = -m - s.deviation>>2; m > 0 {
			m >>= 3
		}
	} else {
		m -= s.deviation >> 2
	}
	s.deviation += m
	if s.deviation > s.deviationMax {
		s.deviationMax = s.deviation
		s.variance = max(s.variance, s.deviationMax)
	}
	if s.una > s.rttSeq {
		if s.deviationMax < s.variance {
			s.variance -= (s.variance - s.deviationMax) >> 2
		}
		s.rttSeq = s.next
		s.deviationMax = minVarianceNS
	}
}
