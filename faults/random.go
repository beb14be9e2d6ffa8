package faults

import (
	"math/rand/v2"
	"time"
)

// What random numbers are drawn for: each has a generator of its own, so that one
// fault's draws depend neither on another's nor on its own other draws.
const (
	drawTargets = iota + 1
	drawSpan
	drawArrivals
	drawPlaces
	drawSample
	drawMessages
)

// generator follows from the trial's seed, the fault's index in the schedule, the number of
// its occurrence and what the numbers are for.
func generator(seed uint64, fault, occurrence, purpose int) *rand.Rand {
	root := mix(mix(seed) + uint64(fault))
	return rand.New(rand.NewPCG(root, mix(mix(root+uint64(occurrence))+uint64(purpose))))
}

// mix is the output function of SplitMix64 (Steele, Lea and Flood, "Fast Splittable
// Pseudorandom Number Generators", OOPSLA 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// pick draws k of the names and keeps their order; all of them if there aren't so many.
func pick(names []string, k int, random *rand.Rand) []string {
	if k <= 0 {
		return nil
	}
	if k >= len(names) {
		return names
	}
	taken := make([]bool, len(names))
	for _, i := range random.Perm(len(names))[:k] {
		taken[i] = true
	}
	picked := make([]string, 0, k)
	for i, name := range names {
		if taken[i] {
			picked = append(picked, name)
		}
	}
	return picked
}

// shuffled is a copy of the names in a drawn order.
func shuffled(names []string, random *rand.Rand) []string {
	drawn := make([]string, len(names))
	for i, j := range random.Perm(len(names)) {
		drawn[i] = names[j]
	}
	return drawn
}

// leastSpan is the shortest duration that is drawn: what is over at once can't be proved.
const leastSpan = time.Millisecond

// IsZero tells whether nothing was said.
func (s Span) IsZero() bool { return s == Span{} }

// draw is a duration, at least leastSpan unless less was said.
func (s Span) draw(random *rand.Rand) time.Duration {
	if s.Mean > 0 {
		return max(leastSpan, exponential(s.Mean, random))
	}
	if s.Most > s.Least {
		return s.Least + time.Duration(random.Int64N(int64(s.Most-s.Least)+1))
	}
	return s.Least
}

// exponential is at most 100 times the mean, so that sums don't overflow.
func exponential(mean time.Duration, random *rand.Rand) time.Duration {
	return time.Duration(min(random.ExpFloat64(), 100) * float64(mean))
}
