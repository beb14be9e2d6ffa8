// Package link executes the links of a topology. It has three parts: the pure
// link model (Model), which says when a frame arrives or that it is lost; the
// userspace emulator (RunEmulator), which carries real frames between network
// interfaces as the model says, on any kernel and without root; and the kernel
// executor (BuildKernel), which makes the kernel's bridges and qdiscs do the same
// where they can. It promises that frames of one direction never overtake each
// other, that no frame arrives before its declared time, and that every frame
// that wasn't delivered is counted with its cause. The model is there on every
// operating system, the executors of real frames are on Linux only.
package link

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"quorumlab/topologies"
)

// Verdict says what becomes of a frame.
type Verdict uint8

// Verdicts.
const (
	// Delivered frames arrive at the far end.
	Delivered Verdict = iota
	// LostByLoss frames vanish on the way, after their serialisation.
	LostByLoss
	// LostByQueue frames found the queue full.
	LostByQueue
	// LostByDown frames met a link that is down.
	LostByDown
)

// String names the verdict.
func (v Verdict) String() string {
	switch v {
	case Delivered:
		return "delivered"
	case LostByLoss:
		return "lost by loss"
	case LostByQueue:
		return "lost by queue"
	case LostByDown:
		return "lost by a link that is down"
	}
	return fmt.Sprintf("verdict %d", uint8(v))
}

// maxBacklogNS bounds even an unbounded queue: a frame that would wait longer for its
// serialisation is dropped.
const maxBacklogNS = int64(24 * time.Hour)

// Arrival is a frame that comes out of the far end of a link.
type Arrival struct {
	// AtNS is when its last bit arrives.
	AtNS int64
	// Corrupted is true if a bit of it was flipped: the receiver's checksum refuses it.
	Corrupted bool
}

// Fate is what becomes of a frame.
type Fate struct {
	// Verdict is Delivered if anything arrives.
	Verdict Verdict
	// Count is how many of Arrivals there are: one, or two of a frame that was
	// duplicated; none unless the verdict is Delivered.
	Count    int
	Arrivals [2]Arrival
}

// Model is one direction of a link, a pure function of its parameters, its
// generator's state, and the frames' sizes and times:
//
//   - a frame waits until those before it have been serialised, then is
//     serialised at the rate: bytes*8/RateBPS, the fractions of nanoseconds of
//     back-to-back frames carried over, so that a busy period is exact however
//     many frames it has;
//   - a frame that finds QueueFrames frames waiting, not counting the one in
//     serialisation, is dropped;
//   - a frame that was serialised is lost with probability Loss;
//   - else it arrives Delay + jitter later, but not before the frame before it.
//     Delay + jitter is truncated at 0.
//
// A Model is not safe for concurrent use.
type Model struct {
	parameters topologies.Parameters
	delayNS    int64
	jitterNS   int64
	normal     bool
	delayOnly  bool

	pcg    rand.PCG
	random *rand.Rand

	// nowNS is the latest time that Transmit was told.
	nowNS int64
	// busyUntilNS is when the last accepted frame's serialisation ends; in
	// remainder, of RateBPS, is the fraction of a nanosecond on top.
	busyUntilNS int64
	remainder   int64
	// waiting holds when the serialisation of each queued frame starts.
	waiting timeRing
	// deliveredNS is the latest arrival so far.
	deliveredNS int64
}

// NewModel makes the model of one direction of a network that starts at startNS, from
// which on traces run. Parameters must have passed their Check; others panic. Equal parameters, seeds and calls give equal results on every
// machine.
func NewModel(p topologies.Parameters, seed uint64, startNS int64) *Model {
	if err := p.Check(); err != nil {
		panic("link: NewModel with parameters that Check refuses: " + err.Error())
	}
	m := &Model{
		parameters:  p,
		delayNS:     p.Delay.Nanoseconds(),
		jitterNS:    p.Jitter.Nanoseconds(),
		normal:      p.JitterDistribution == topologies.JitterNormal,
		delayOnly:   p.DelayOnly(),
		deliveredNS: math.MinInt64,
		nowNS:       math.MinInt64,
		busyUntilNS: math.MinInt64,
	}
	m.pcg.Seed(seed, 0x6c696e6b) // "link"
	m.random = rand.New(&m.pcg)
	return m
}

// DirectionSeed derives the seed of one direction's model from that of a whole
// network, so that every executor draws alike. It is a step of SplitMix64, which
// spreads neighbouring seeds.
func DirectionSeed(seed uint64, link int, reverse bool) uint64 {
	z := seed + 0x9e3779b97f4a7c15*(2*uint64(link)+1)
	if reverse {
		z += 0x9e3779b97f4a7c15
	}
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// DelayOnly is true if the direction does nothing but delay each frame by the
// same time. Such a model has no state: Transmit may be called in any order of
// times, and frames may hold several segments.
func (m *Model) DelayOnly() bool { return m.delayOnly }

// Transmit puts a frame of so many bytes (Ethernet header included) onto the
// link at nowNS and tells what becomes of it. Times count from any epoch. Calls come in
// the order of their times: an earlier time than that of the call before counts
// as equal to it. It allocates nothing but a longer queue.
func (m *Model) Transmit(nowNS int64, bytes int) Fate {
	if m.delayOnly {
		return delivered(nowNS + m.delayNS)
	}
	m.nowNS = max(m.nowNS, nowNS)
	sentNS := m.nowNS
	if m.parameters.RateBPS > 0 {
		var accepted bool
		if sentNS, accepted = m.serialise(bytes); !accepted {
			return Fate{Verdict: LostByQueue}
		}
	}
	if m.parameters.Loss > 0 && m.random.Float64() < m.parameters.Loss {
		return Fate{Verdict: LostByLoss}
	}
	m.deliveredNS = max(m.deliveredNS, sentNS+m.propagation())
	return delivered(m.deliveredNS)
}

// delivered is the fate of a frame that arrives once, unharmed.
func delivered(atNS int64) Fate {
	return Fate{Count: 1, Arrivals: [2]Arrival{{AtNS: atNS}}}
}

// Update changes what the direction does with frames that come from nowNS on. What is
// on the way, or in the queue, keeps its time, and stays ahead of what follows unless
// frames may overtake each other. Parameters must have passed their Check; others panic.
func (m *Model) Update(nowNS int64, p topologies.Parameters) {
	panic("link: Update isn't there yet")
}

// serialise tells when a frame that comes at m.nowNS has left the sender.
func (m *Model) serialise(bytes int) (sentNS int64, accepted bool) {
	startNS := m.busyUntilNS
	if startNS < m.nowNS {
		startNS, m.remainder = m.nowNS, 0
	}
	if startNS-m.nowNS > maxBacklogNS {
		return 0, false
	}
	if limit := m.parameters.QueueFrames; limit > 0 {
		m.waiting.dropUntil(m.nowNS)
		if m.waiting.count >= limit {
			return 0, false
		}
		if startNS > m.nowNS {
			m.waiting.push(startNS)
		}
	}
	// A frame of 64 KiB makes 5.2e14 here, far from overflow.
	work := int64(bytes)*8_000_000_000 + m.remainder
	m.busyUntilNS = startNS + work/m.parameters.RateBPS
	m.remainder = work % m.parameters.RateBPS
	return m.busyUntilNS, true
}

// propagation draws the delay of one frame.
func (m *Model) propagation() int64 {
	if m.jitterNS == 0 {
		return m.delayNS
	}
	if m.normal {
		return max(0, m.delayNS+int64(math.Round(m.random.NormFloat64()*float64(m.jitterNS))))
	}
	return max(0, m.delayNS-m.jitterNS+m.random.Int64N(2*m.jitterNS+1))
}

// timeRing is a first-in first-out queue of ascending times. It grows by
// doubling, and only while more wait than ever before.
type timeRing struct {
	times []int64 // its length is 0 or a power of two
	head  int
	count int
}

func (r *timeRing) push(timeNS int64) {
	if r.count == len(r.times) {
		grown := make([]int64, max(16, 2*len(r.times)))
		for i := range r.count {
			grown[i] = r.times[(r.head+i)&(len(r.times)-1)]
		}
		r.times, r.head = grown, 0
	}
	r.times[(r.head+r.count)&(len(r.times)-1)] = timeNS
	r.count++
}

// dropUntil removes the times that aren't after nowNS.
func (r *timeRing) dropUntil(nowNS int64) {
	for r.count > 0 && r.times[r.head] <= nowNS {
		r.head = (r.head + 1) & (len(r.times) - 1)
		r.count--
	}
}
