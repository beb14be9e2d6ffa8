package tcp

import "math"

// never is when a timer that isn't set expires.
const never = math.MaxInt64

// Levels of the kernel's timer wheel: each has 64 buckets and is eight times as
// coarse as the one before.
const (
	levelShift  = 3
	levelTicks  = 63 // timers of so many ticks or more belong to the next level
	levels      = 9
	timeoutTick = 1 // what "as soon as possible" means
)

// wheel tells when the kernel's timers expire. TCP's are set in whole ticks; a
// wheel's bucket expires only once every timer in it is due.
type wheel struct{ tickNS, phaseNS int64 }

// ticks rounds a duration up.
func (w wheel) ticks(ns int64) int64 { return (ns + w.tickNS - 1) / w.tickNS }

// expiry is when a timer set at nowNS for so many ticks expires.
func (w wheel) expiry(nowNS, ticks int64) int64 {
	shift := 0
	for level := 0; level < levels-1 && ticks >= levelTicks<<shift; level++ {
		shift += levelShift
	}
	due := (nowNS+w.phaseNS)/w.tickNS + ticks
	return (due>>shift+1)<<shift*w.tickNS - w.phaseNS
}
