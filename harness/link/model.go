// Package link executes the links of a topology. It has three parts: the pure
// link model (Model), which says when a frame arrives or that it is lost; the
// userspace emulator (RunEmulator), which carries real frames between network
// interfaces as the model says, on any kernel and without root, and can write what it
// carries to files; and the kernel
// executor (BuildKernel), which makes the kernel's bridges and qdiscs do the same
// where they can. It promises that frames of one direction never overtake each
// other unless its parameters let them, that no frame arrives before its declared time,
// and that every frame that wasn't delivered is counted with its cause. The model is
// there on every operating system, the executors of real frames are on Linux only.
package link

import (
	"fmt"
	"hash/fnv"
	"io"
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
	// Reordered is true if it skipped the propagation delay.
	Reordered bool
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
//   - a link that is down loses the frame;
//   - a frame waits until those before it have been serialised, then is
//     serialised at the rate: bytes*8/RateBPS, the fractions of nanoseconds of
//     back-to-back frames carried over, so that a busy period is exact however
//     many frames it has;
//   - a frame that has to wait is dropped if it finds QueueFrames frames waiting, not
//     counting the one in serialisation, or if their bytes and its own are above
//     QueueBytes;
//   - a frame that was serialised within a gap of a trace that loses is lost;
//   - a frame is duplicated with probability Duplicate;
//   - it is lost with the probability that holds for it. If it was duplicated the
//     duplicate goes on in its place: one frame, as without either. Else a
//     duplicate may be lost by itself;
//   - each copy is corrupted with probability Corrupt;
//   - each copy that isn't within a reorder gap skips the propagation delay with the
//     probability that holds for it. All others count for the gap;
//   - else it arrives Delay + jitter, or what the trace says, later, but, unless jitter
//     may reorder, not before any frame that was put onto the link before. Delay +
//     jitter is truncated at 0, and what jitter adds at a day.
//
// It draws random numbers in this order, and only those of impairments that it has:
// where a randomly aligned trace begins, once; then for each frame that was serialised
// whether it is duplicated, whether it is lost (and, by Gilbert and Elliott, whether the
// state changes); for each copy whether it is corrupted, whether it is reordered,
// and its jitter. The draws for a second copy, loss included, follow those for the first.
//
// A Model is not safe for concurrent use.
type Model struct {
	parameters topologies.Parameters
	startNS    int64
	delayNS    int64
	// delayOnly is the parameters' DelayOnly, down their Down; inOrder is true if
	// frames don't overtake each other but by being reordered.
	delayOnly, down, inOrder bool
	// steady is true if all frames that leave the sender arrive after the same delay.
	steady bool
	// catchingUp is true while frames may have to wait for those that a former,
	// longer delay holds up.
	catchingUp bool

	pcg    rand.PCG
	random *rand.Rand

	// nowNS is the latest time that Transmit was told while not delayOnly, or Update.
	nowNS int64
	// busyUntilNS is when the last accepted frame's serialisation ends; in
	// remainder, of RateBPS, is the fraction of a nanosecond on top.
	busyUntilNS int64
	remainder   int64
	// waiting holds the frames that wait for their serialisation.
	waiting waitingQueue

	// losses and reorders decide frame by frame; bad is the state of Gilbert and
	// Elliott's model; sinceReordered counts the frames since the last reordered one.
	losses, reorders chain
	bad              bool
	sinceReordered   int64

	jitter jitter
	trace  *replay
	// deliveredNS is the latest arrival so far of those that may not be overtaken. While
	// delayOnly it is that of before: no frame arrives sooner.
	deliveredNS int64
}

// NewModel makes the model of one direction of a network that starts at startNS, from
// which on traces run. Parameters must have passed their Check; others panic. Equal
// parameters, seeds and calls give equal results on every machine. (Where a processor
// computes a logarithm or a power otherwise, a jitter of other than uniform distribution
// may come out a nanosecond longer or shorter.)
func NewModel(p topologies.Parameters, seed uint64, startNS int64) *Model {
	return Models(p)(seed, startNS)
}

// Models is NewModel for many models of the same parameters, which it checks once: long
// traces and tables take their time.
func Models(p topologies.Parameters) func(seed uint64, startNS int64) *Model {
	if err := p.Check(); err != nil {
		panic("link: NewModel with parameters that Check refuses: " + err.Error())
	}
	return func(seed uint64, startNS int64) *Model { return newModel(p, seed, startNS) }
}

// generator tells the models' random numbers from others of the same seed.
const generator = 0x6c696e6b // "link"

func newModel(p topologies.Parameters, seed uint64, startNS int64) *Model {
	m := &Model{
		startNS:     startNS,
		deliveredNS: math.MinInt64,
		nowNS:       math.MinInt64,
		busyUntilNS: math.MinInt64,
	}
	m.pcg.Seed(seed, generator)
	m.random = rand.New(&m.pcg)
	m.adopt(p)
	return m
}

// adopt makes the parameters those of the model.
func (m *Model) adopt(p topologies.Parameters) {
	before := m.parameters
	m.parameters = p
	m.delayNS = p.Delay.Nanoseconds()
	m.delayOnly, m.down = p.DelayOnly(), p.Down
	m.inOrder = !p.JitterReorders || !p.Jitters()
	without := p
	without.RateBPS = 0
	m.steady = without.DelayOnly()
	m.losses = m.losses.with(p.Loss, p.LossCorrelation)
	m.reorders = m.reorders.with(p.Reorder, p.ReorderCorrelation)
	if p.Reorder == 0 {
		m.sinceReordered = 0
	}
	if p.GilbertElliott == nil {
		m.bad = false
	}
	if p.RateBPS != before.RateBPS {
		m.remainder = 0
	}
	m.jitter = newJitter(p)
	switch {
	case p.Trace == nil:
		m.trace = nil
	case m.trace == nil || !sameTrace(before.Trace, p.Trace):
		m.trace = newReplay(p.Trace, m.startNS, m.random)
	default:
		m.trace.trace = p.Trace
	}
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

// PairSeed is DirectionSeed for the stage that frames from one host to another pass
// before the first link of their path.
func PairSeed(seed uint64, from, to string) uint64 {
	// FNV-1a of the names tells pairs apart from each other and from links.
	names := fnv.New64a()
	_, _ = io.WriteString(names, from+">"+to)
	z := seed ^ names.Sum64()
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// DelayOnly is true if the direction does nothing but delay each frame by the
// same time. Then Transmit may be called in any order of times. After an Update to a
// shorter delay it is false until a frame came that can't overtake any before it.
func (m *Model) DelayOnly() bool { return m.delayOnly && !m.catchingUp }

// foldable is true if it makes no difference when, and in which order, Transmit is asked
// about frames: those that arrive at the same time have come at the same time.
func (m *Model) foldable() bool { return m.delayOnly && m.deliveredNS == math.MinInt64 }

// forget lets go of a former delay if frames that come from nowNS on can't overtake any
// before them.
func (m *Model) forget(nowNS int64) {
	if m.delayOnly && nowNS+m.delayNS >= m.deliveredNS {
		m.deliveredNS, m.catchingUp = math.MinInt64, false
	}
}

// CarriesSegments is true if frames may hold several segments: the direction treats
// all alike.
func (m *Model) CarriesSegments() bool { return m.delayOnly || m.down }

// Transmit puts a frame of so many bytes (Ethernet header included) onto the
// link at nowNS and tells what becomes of it. Times count from any epoch. Calls come in
// the order of their times: an earlier time than that of the call before counts
// as equal to it. It allocates nothing but a longer queue.
func (m *Model) Transmit(nowNS int64, bytes int) Fate {
	if m.delayOnly {
		atNS := nowNS + m.delayNS
		if atNS < m.deliveredNS {
			return delivered(m.deliveredNS)
		}
		m.catchingUp = false
		return delivered(atNS)
	}
	if m.down {
		return Fate{Verdict: LostByDown}
	}
	m.nowNS = max(m.nowNS, nowNS)
	sentNS := m.nowNS
	if m.parameters.RateBPS > 0 || m.busyUntilNS > sentNS {
		var accepted bool
		if sentNS, accepted = m.serialise(bytes); !accepted {
			return Fate{Verdict: LostByQueue}
		}
	}
	if m.steady {
		m.deliveredNS = max(m.deliveredNS, sentNS+m.delayNS)
		return delivered(m.deliveredNS)
	}
	return m.cross(sentNS)
}

// cross tells what becomes of a frame that has left the sender.
func (m *Model) cross(sentNS int64) Fate {
	delayNS := m.delayNS
	if m.trace != nil {
		excessNS, lost := m.trace.at(sentNS)
		if lost {
			return Fate{Verdict: LostByLoss}
		}
		delayNS += excessNS
	}
	duplicate := m.parameters.Duplicate > 0 && m.random.Float64() < m.parameters.Duplicate
	if m.loses() {
		if !duplicate {
			return Fate{Verdict: LostByLoss}
		}
		duplicate = false // it goes on in the lost one's place
	}
	fate := Fate{Count: 1}
	m.propagate(&fate.Arrivals[0], sentNS, delayNS)
	if duplicate && !m.loses() {
		m.propagate(&fate.Arrivals[1], sentNS, delayNS)
		fate.Count = 2
	}
	return fate
}

// propagate takes one copy of a frame to the far end.
func (m *Model) propagate(arrival *Arrival, sentNS, delayNS int64) {
	if m.parameters.Corrupt > 0 {
		arrival.Corrupted = m.random.Float64() < m.parameters.Corrupt
	}
	if m.parameters.Reorder > 0 {
		if m.sinceReordered >= int64(m.parameters.ReorderGap)-1 && m.reorders.draw(m.random) {
			m.sinceReordered = 0
			arrival.AtNS, arrival.Reordered = sentNS, true
			return
		}
		m.sinceReordered++
	}
	atNS := sentNS + m.jitter.draw(m.random, delayNS)
	if m.inOrder {
		atNS = max(atNS, m.deliveredNS)
		m.deliveredNS = atNS
	} else {
		// What was free to be overtaken holds nobody up after a change either.
		m.deliveredNS = max(m.deliveredNS, sentNS)
	}
	arrival.AtNS = atNS
}

// delivered is the fate of a frame that arrives once, unharmed.
func delivered(atNS int64) Fate {
	return Fate{Count: 1, Arrivals: [2]Arrival{{AtNS: atNS}}}
}

// Update changes what the direction does with frames that come from nowNS on. What is
// on the way, or in the queue, keeps its time, and stays ahead of what follows unless
// frames may overtake each other, before the change or after it. The queue, the states of correlated losses and of
// Gilbert and Elliott's model, and a trace that stays the same go on where they are; a
// new trace runs as if it had from the network's start. Parameters must have passed
// their Check; others panic.
//
// A direction that only delays may not have been asked about each frame: the last one
// may have come just now.
func (m *Model) Update(nowNS int64, p topologies.Parameters) {
	if err := p.Check(); err != nil {
		panic("link: Update with parameters that Check refuses: " + err.Error())
	}
	m.update(nowNS, nowNS+m.delayNS, p)
}

// update is Update with checked parameters, of a model whose frames will all have arrived
// by arrivedNS if it only delays.
func (m *Model) update(nowNS, arrivedNS int64, p topologies.Parameters) {
	if m.delayOnly {
		m.deliveredNS = max(m.deliveredNS, arrivedNS)
	}
	m.adopt(p)
	m.catchingUp = m.delayOnly && nowNS+m.delayNS < m.deliveredNS
	m.nowNS = max(m.nowNS, nowNS)
}
