package topologies

import (
	"math"
	"strings"
	"time"
)

// isPing tells whether a file's first row is output of ping (iputils).
func isPing(row string) bool {
	return strings.HasPrefix(row, "PING ") || strings.Contains(row, "bytes from ")
}

// pingLine reads one line of ping:
//
//	[1700000000.123456] 64 bytes from 198.18.0.2: icmp_seq=1 ttl=64 time=12.3 ms
//	[1700000001.123456] no answer yet for icmp_seq=2
//	[1700000002.123456] From 198.18.0.9 icmp_seq=3 Destination Host Unreachable
//
// The times in brackets are there with -D, the second line with -O. Others don't count.
func (r *sampleReader) pingLine(line int, row string) error {
	stamp, rest, stamped := strings.Cut(row, "] ")
	stamped = stamped && strings.HasPrefix(stamp, "[")
	if !stamped {
		rest = row
	}
	s := sample{line: line}
	switch {
	case strings.HasSuffix(row, "(DUP!)"):
		return nil
	case strings.Contains(rest, "bytes from "):
		text, ok := pingTime(rest)
		if !ok {
			return nil // an answer too short to hold a time
		}
		delay, err := parseDecimal(text, time.Millisecond)
		if err != nil || delay < 0 || delay > 2*int64(MaxDelay) {
			return r.errorAt(line, "the time is %.40q: want a number of milliseconds", text)
		}
		s.delay, s.answered = time.Duration(math.Round(float64(delay)/2)), true
	case strings.HasPrefix(rest, "no answer yet for icmp_seq="), strings.HasPrefix(rest, "From ") && strings.Contains(rest, "icmp_seq="):
	default:
		return nil
	}
	if r.timed {
		if !stamped {
			return r.errorAt(line, "no time in brackets: want the output of ping -D")
		}
		at, err := parseDecimal(stamp[1:], time.Second)
		if err != nil {
			return r.errorAt(line, "the time is %.40q: want a number of seconds", stamp[1:])
		}
		s.atNS = at
	}
	r.samples = append(r.samples, s)
	return nil
}

// pingTime finds the milliseconds after "time=" or "time<".
func pingTime(answer string) (string, bool) {
	for _, before := range []string{"time=", "time<"} {
		if _, after, ok := strings.Cut(answer, before); ok {
			text, unit, _ := strings.Cut(after, " ")
			return strings.TrimSuffix(text, "ms"), unit == "" || strings.HasPrefix(unit, "ms")
		}
	}
	return "", false
}
