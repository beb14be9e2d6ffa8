package calibrate

import (
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"time"

	"quorumlab/harness/link"
	"quorumlab/topologies"
)

const (
	// countDraws is how often the model draws counts, as long as these are no more than
	// drawnFrames; but leastDraws. delayDraws is how often it draws delays.
	countDraws  = 1000
	leastDraws  = 200
	drawnFrames = 10_000_000
	delayDraws  = 100
	// maxPool bounds the delays that a distribution is made of.
	maxPool = 200_000
)

// fitNS allows for the time between a frame's stamp and its entering the link.
const fitNS = 2_000_000

// player has the model carry records.
type player struct {
	declared topologies.Parameters
	models   func(seed uint64, startNS int64) *link.Model
	// If begun is true, a trace was at its first row somewhere from earliestNS to latestNS;
	// else it may be anywhere in it.
	begun                bool
	earliestNS, latestNS int64
	// Unless empty, beginsNS are those of these times that fit what was seen; each may be off
	// by fitNS.
	beginsNS []int64
}

// newPlayer is for networks whose start isn't known.
func newPlayer(p topologies.Parameters) *player {
	return &player{declared: p, models: link.Models(aligned(p, topologies.AlignRandom))}
}

// aligned has the parameters' trace, if there is one, begin that way.
func aligned(p topologies.Parameters, align string) topologies.Parameters {
	if p.Trace != nil {
		trace := *p.Trace
		trace.Align = align
		p.Trace = &trace
	}
	return p
}

// play has the model carry the frames of a record. Its generator, when the network started,
// and the state in which a link of some age would be, come from the seed.
func (l *player) play(of *record, seed uint64) *record {
	random := rand.New(rand.NewPCG(seed, 0x616765)) // "age"
	startNS := of.sentNS[0]
	if len(l.beginsNS) > 0 {
		startNS = l.beginsNS[random.IntN(len(l.beginsNS))] + random.Int64N(2*fitNS+1) - fitNS
	} else if l.begun {
		startNS = l.earliestNS + random.Int64N(l.latestNS-l.earliestNS+1)
	}
	m := l.models(seed, startNS)
	before := ageOf(l.declared)
	if before > 0 {
		before = random.IntN(before)
	}
	for i := range before {
		m.Transmit(of.sentNS[0]-int64(before-i)*of.intervalNS, of.bytes)
	}
	return carry(m, of)
}

// ageOf is after how many frames the Gilbert-Elliott model has forgotten its beginning.
func ageOf(p topologies.Parameters) int {
	if p.GilbertElliott == nil {
		return 0
	}
	change := p.GilbertElliott.GoodToBad + p.GilbertElliott.BadToGood
	return int(min(3/max(change, 1e-6), 20_000))
}

// carry puts a record's frames onto a model.
func carry(m *link.Model, of *record) *record {
	r := *of
	r.arrivals, r.damaged, r.overflowed = make([]arrival, 0, len(of.sentNS)), 0, 0
	for i, at := range of.sentNS {
		fate := m.Transmit(at, of.bytes)
		for _, a := range fate.Arrivals[:fate.Count] {
			if !a.Corrupted && a.AtNS <= of.cutNS {
				r.arrivals = append(r.arrivals, arrival{i, a.AtNS})
			}
		}
	}
	inOrder(r.arrivals)
	return &r
}

// draw plays the record many times, on all processors, and returns what a function says
// of each outcome.
func draw[T any](from *player, of *record, draws int, say func(*record) T) []T {
	said := make([]T, draws)
	var working sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for worker := range workers {
		working.Go(func() {
			for i := worker; i < draws; i += workers {
				said[i] = say(from.play(of, link.DirectionSeed(uint64(i), 0, false)))
			}
		})
	}
	working.Wait()
	return said
}

// counts are what a record's counts would be, drawn from the model.
type counts struct {
	missing, doubled, overtaking spread
	// runLength is the mean length of the runs of missing frames, runs how many there are;
	// followed is the share of the overtaking frames that are followed.
	runLength, runs, followed spread
}

// drawCounts draws what counts the model gives.
func drawCounts(p topologies.Parameters, of *record, lag int) counts {
	draws := min(max(drawnFrames/len(of.sentNS), leastDraws), countDraws)
	return countsOf(draw(newPlayer(p), of, draws, func(r *record) observation { return count(r, lag) }))
}

func countsOf(drawn []observation) counts {
	var missing, doubled, overtaking, runLength, runs, followed []float64
	for _, o := range drawn {
		missing = append(missing, float64(o.missing))
		doubled = append(doubled, float64(o.doubled))
		overtaking = append(overtaking, float64(o.overtaking))
		runs = append(runs, float64(o.runs))
		if o.runs > 0 {
			runLength = append(runLength, float64(o.missing)/float64(o.runs))
		}
		if o.overtaking > 0 {
			followed = append(followed, float64(o.followed)/float64(o.overtaking))
		}
	}
	return counts{
		missing: spreadOf(missing), doubled: spreadOf(doubled), overtaking: spreadOf(overtaking),
		runLength: spreadOf(runLength), runs: spreadOf(runs), followed: spreadOf(followed),
	}
}

// delays are what a record's delays would be.
type delays struct {
	// pool is their distribution, sorted, in nanoseconds, serialisation included.
	pool []float64
	// middle is the quantile that stands for a record's delay: middleOf.
	middle spread
	// dependence is by how much a record's distribution is farther from the pool's than
	// that of as many independent values: frames that queue up behind a late one are late
	// together.
	dependence float64
}

// delaysOf sums up the delays that were drawn; one draw is enough of those that have
// nothing random.
func delaysOf(drawn []observation, p topologies.Parameters) delays {
	d := delays{dependence: 1}
	var middles []float64
	total := 0
	for _, o := range drawn {
		total += len(o.delaysNS)
		if len(o.delaysNS) > 0 {
			middles = append(middles, middleOf(o.delaysNS, p))
		}
	}
	every := 1 + total/maxPool
	for i, o := range drawn {
		for k := i % every; k < len(o.delaysNS); k += every {
			d.pool = append(d.pool, o.delaysNS[k])
		}
	}
	slices.Sort(d.pool)
	if d.middle = spreadOf(middles); len(middles) > 0 && d.middle.draws < 3 {
		d.middle.mean = middles[0]
	}
	if len(drawn) == 1 {
		return d
	}
	var sum float64
	for _, o := range drawn {
		sum += distance(o.delaysNS, d.pool, 0, 0) * math.Sqrt(float64(len(o.delaysNS)))
	}
	d.dependence = max(1, sum/float64(len(drawn))/meanDistance)
	return d
}

// middleOf is the median of sorted delays, of which there is at least one; where frames
// may skip the delay, that of the others.
func middleOf(sorted []float64, p topologies.Parameters) float64 {
	if p.Reorder == 0 {
		return median(sorted)
	}
	skipping := p.Reorder / (1 + p.Reorder*float64(max(p.ReorderGap-1, 0)))
	return sorted[int(float64(len(sorted)-1)*(1+skipping)/2)]
}

// patience is how long after the last frame the others may still be on the way.
func patience(p topologies.Parameters, of *record) time.Duration {
	unhurried := *of
	unhurried.cutNS = math.MaxInt64
	last := of.sentNS[len(of.sentNS)-1]
	latest := slices.Max(draw(newPlayer(p), &unhurried, 20, func(r *record) int64 {
		if len(r.arrivals) == 0 {
			return last
		}
		return r.arrivals[len(r.arrivals)-1].atNS
	}))
	return time.Duration(max(latest-last, 0))*3/2 + slack
}

// slack allows for the machine, on top of what the model needs.
const slack = 200 * time.Millisecond

// nominal is the record of frames that are sent exactly as asked for.
func nominal(o order) *record {
	r := &record{bytes: o.bytes, intervalNS: int64(o.interval), cutNS: math.MaxInt64}
	for i := range o.frames {
		r.sentNS = append(r.sentNS, int64(i)*int64(o.interval))
	}
	return r
}
