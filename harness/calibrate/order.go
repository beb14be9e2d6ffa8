package calibrate

import (
	"math"
	"time"

	"quorumlab/node/echo"
	"quorumlab/topologies"
)

// Kinds of what is sent.
const (
	// kindStream is single frames, far enough apart not to wait for each other.
	kindStream = "stream"
	// kindTrain is full-size frames, faster than the declared rate carries them.
	kindTrain = "train"
	// kindBurst is more frames than the queue holds.
	kindBurst = "burst"
	// kindBurstBytes is more bytes than the queue holds.
	kindBurstBytes = "burst-bytes"
)

// order is what to send onto a direction.
type order struct {
	kind     string
	frames   int
	interval time.Duration
	bytes    int
}

const (
	// streamRate bounds the frames a second of all streams together: few enough for
	// any machine that labs are worth building on.
	streamRate = 5000
	// together is how many directions have their streams at once.
	together = 64
	// steadyFrames are sent onto a direction that does nothing at random, jitterFrames
	// onto one with jitter, at least randomFrames and at most mostFrames onto one
	// that does something to single frames, so that it does it about eventFrames times.
	steadyFrames = 100
	jitterFrames = 2000
	// leastJittered are sent even if they are then too close to be late by themselves.
	leastJittered = 400
	randomFrames  = 500
	mostFrames    = 20_000
	eventFrames   = 200
	// leastInterval separates the frames of a stream.
	leastInterval = 200 * time.Microsecond
	// smallBytes is the size of a stream's frames where there is a rate, fullBytes where
	// there is none: a rate that nobody declared shows as their delay, if it makes more than
	// lateBy (below 24 Mbit/s).
	smallBytes = 128
	fullBytes  = echo.MaxFrameBytes
)

// serialisation is how long a frame occupies a link of the rate.
func serialisation(bytes int, rateBPS int64) time.Duration {
	if rateBPS == 0 {
		return 0
	}
	return time.Duration(int64(bytes) * 8 * int64(time.Second) / rateBPS)
}

// wantedFrames is how many frames tell whether a direction is as declared.
func wantedFrames(p topologies.Parameters) int {
	wanted := steadyFrames
	if p.Jitters() {
		wanted = jitterFrames
	}
	if p.Down {
		return steadyFrames
	}
	corrupt, reorder := p.Corrupt, p.Reorder/float64(max(p.ReorderGap, 1))
	for _, probability := range []float64{eventsOfLoss(p), p.Duplicate, corrupt, reorder} {
		if probability > 0 {
			wanted = max(wanted, int(min(max(eventFrames/probability, randomFrames), mostFrames)))
		}
	}
	return wanted
}

// eventsOfLoss is how often losses, or runs of them, begin.
func eventsOfLoss(p topologies.Parameters) float64 {
	g := p.GilbertElliott
	if g == nil {
		return p.Loss * (1 - p.LossCorrelation)
	}
	if change := g.GoodToBad + g.BadToGood; change > 0 {
		return max(g.GoodToBad*g.BadToGood/change, g.LossGood)
	}
	return g.LossGood
}

// scale is about how much delays differ by jitter.
func scale(p topologies.Parameters) time.Duration {
	if t := p.JitterTable; t != nil {
		return (t.Excess[len(t.Excess)*9/10] - t.Excess[len(t.Excess)/10]) / 2
	}
	return p.Jitter
}

// spaced puts an interval right for frames that have to overtake each other, where they
// may, or to be late independently of each other, as far as the window allows, where
// they mayn't.
func spaced(p topologies.Parameters, interval, window time.Duration) time.Duration {
	if p.Reorder > 0 {
		interval = min(interval, p.Delay/4)
	}
	switch jitter := scale(p); {
	case jitter > 0 && p.JitterReorders:
		interval = min(interval, jitter/2)
	case jitter > 0 && p.Reorder == 0:
		interval = max(interval, min(jitter, window/leastJittered))
	}
	return interval
}

// planStreams says what to send onto directions that have their streams at the same
// time, which shall take no longer than window.
func planStreams(declared []topologies.Parameters, window time.Duration) []order {
	total := 0
	for _, p := range declared {
		total += wantedFrames(p)
	}
	lasts := min(max(time.Duration(total)*time.Second/streamRate, 300*time.Millisecond), window)
	share := min(1, lasts.Seconds()*streamRate/float64(max(total, 1)))
	orders := make([]order, len(declared))
	for i, p := range declared {
		o := order{kind: kindStream, bytes: fullBytes}
		if p.RateBPS > 0 {
			o.bytes = smallBytes
		}
		o.frames = max(20, int(share*float64(wantedFrames(p))))
		o.interval = lasts / time.Duration(o.frames)
		o.interval = max(spaced(p, o.interval, window), leastInterval, 2*serialisation(o.bytes, p.RateBPS))
		o.frames = max(5, min(o.frames, int(window/o.interval)))
		orders[i] = o
	}
	return orders
}

const (
	// A train lasts about trainTime at the declared rate, up to longestTrain if jitter
	// blurs it, and has leastTrain to mostTrain frames. Its frames are sent trainPace times as fast as that rate.
	trainTime    = 100 * time.Millisecond
	longestTrain = 2 * time.Second
	leastTrain   = 12
	mostTrain    = 4000
	trainPace    = 1.4
	// A burst's frames are sent burstPace times as fast as the link carries them, but
	// not closer than burstInterval, if larger frames can help it.
	burstPace     = 3
	burstInterval = 50 * time.Microsecond
	// A queue that needs more than maxBurstFrames or maxBurstBytes isn't tested.
	maxBurstFrames = 20_000
	maxBurstBytes  = 64 << 20
)

// trainLasts is how long a train has to last that its rate, by least squares, has a
// standard error of 0.3% at most because of jitter.
func trainLasts(p topologies.Parameters) time.Duration {
	each := serialisation(fullBytes, p.RateBPS).Seconds()
	seconds := math.Pow(scale(p).Seconds()*math.Sqrt(12*each)/0.003, 2.0/3)
	return min(max(trainTime, time.Duration(seconds*1e9)), longestTrain)
}

// planTrain is what measures the rate, which must be declared.
func planTrain(p topologies.Parameters, lasts time.Duration) order {
	each := serialisation(fullBytes, p.RateBPS)
	frames := int(min(max(lasts/max(each, 1), leastTrain), mostTrain))
	return order{kind: kindTrain, frames: frames, interval: max(1, time.Duration(float64(each)/trainPace)), bytes: fullBytes}
}

// planBurst is what measures the queue in frames or in bytes; a reason, if it can't be.
func planBurst(p topologies.Parameters, kind string) (o order, reason string) {
	o = order{kind: kind, bytes: fullBytes}
	if kind == kindBurst {
		// The smaller the frames, the shorter it takes, as far as they can be sent fast
		// enough.
		fast := int(float64(p.RateBPS) / 8 * burstPace * burstInterval.Seconds())
		o.bytes = min(max(fast, 100), fullBytes)
	}
	// capacity is by frames and by bytes.
	byFrames, byBytes := math.Inf(1), math.Inf(1)
	if p.QueueFrames > 0 {
		byFrames = float64(p.QueueFrames)
	}
	if p.QueueBytes > 0 {
		byBytes = float64(p.QueueBytes) / float64(o.bytes)
	}
	switch {
	case p.RateBPS == 0:
		return o, "without a rate nothing waits"
	case kind == kindBurst && byBytes <= byFrames:
		return o, "the queue is full by bytes first"
	case kind == kindBurstBytes && byFrames <= byBytes:
		return o, "the queue is full by frames first"
	}
	frames := (min(byFrames, byBytes)+1)*1.3*burstPace/(burstPace-1) + 20
	if frames > maxBurstFrames || frames*float64(o.bytes) > maxBurstBytes {
		return o, "it is too large to be filled"
	}
	o.frames = int(frames)
	o.interval = serialisation(o.bytes, p.RateBPS) / burstPace
	return o, ""
}

// lasts is how long it takes until a train or a burst has arrived.
func (o order) lasts(p topologies.Parameters) time.Duration {
	return p.MeanDelay() + time.Duration(o.frames)*max(o.interval, serialisation(o.bytes, p.RateBPS))
}
