package link

import (
	"fmt"
	"math"

	"quorumlab/topologies"
)

// netemOptions are one netem qdisc, in the kernel's units.
type netemOptions struct {
	// delayNS is the delay; a frame's jitter is spreadNS * entry / 8192 on top, of
	// an entry of the table that the kernel draws. It never draws with spreadNS 0.
	delayNS  int64
	spreadNS int64
	table    []int16
	// loss, duplicate and reorder are shares of 2^32, less one, as the kernel compares
	// "<="; 0 is never.
	loss, duplicate, reorder uint32
	// gap is 0 if nothing is reordered.
	gap uint32
	// states replaces loss if it isn't nil.
	states *netemStates
	// bytesPerSecond is the rate; 0 lets frames overtake each other.
	bytesPerSecond uint64
	// limit is the greatest number of frames inside.
	limit uint32
}

// netemStates is the kernel's Gilbert-Elliott model, in the kernel's order, as shares of
// 2^32. Like the model it draws a frame's loss by the state in which the frame finds it.
// It compares all with "<" but keptBad, the share that the bad state lets through (h of
// the literature), with "<=".
type netemStates struct {
	goodToBad, badToGood, keptBad, lossGood uint32
}

const (
	// unlimited is a queue that nothing fills.
	unlimited = math.MaxInt32
	// orderedRate is a rate at which a frame takes no time. A netem with a rate lets no
	// frame go before the one ahead, which is just what the model does: the frame is
	// sent at the later of its own time and that of the latest inside.
	orderedRate = 1 << 62
)

// rateStage is the netem of a rate and its queue. Netem keeps the frame in
// serialisation in its queue; the model counts only those behind it.
func rateStage(p topologies.Parameters) netemOptions {
	if p.RateBPS == 0 {
		return netemOptions{bytesPerSecond: orderedRate, limit: unlimited}
	}
	options := netemOptions{bytesPerSecond: uint64(p.RateBPS / 8), limit: unlimited}
	if p.QueueFrames > 0 {
		options.limit = uint32(p.QueueFrames) + 1
	}
	return options
}

// lineStage is the netem of all but the rate. Nothing fills it: delay x rate frames
// are on the way, and netem's default of 1000 would drop them.
func lineStage(p topologies.Parameters) (netemOptions, error) {
	options := netemOptions{
		delayNS:   p.Delay.Nanoseconds(),
		loss:      atMost(p.Loss),
		duplicate: atMost(p.Duplicate),
		limit:     unlimited,
	}
	if !p.JitterReorders || !p.Jitters() {
		options.bytesPerSecond = orderedRate
	}
	switch {
	case p.GilbertElliott != nil:
		g := p.GilbertElliott
		options.states = &netemStates{below(g.GoodToBad), below(g.BadToGood), atMost(1 - g.LossBad), below(g.LossGood)}
	case p.LossCorrelation > 0:
		// In the bad state the frame before was lost.
		fresh := 1 - p.LossCorrelation
		options.loss = 0
		options.states = &netemStates{below(p.Loss * fresh), below((1 - p.Loss) * fresh), atMost(0), 0}
	}
	if p.Reorder > 0 {
		options.reorder = atMost(p.Reorder)
		options.gap = uint32(max(p.ReorderGap, 1))
	}
	if p.Jitters() {
		jitter, err := newNetemJitter(p)
		if err != nil {
			return options, err
		}
		options.delayNS += jitter.centreNS
		options.spreadNS, options.table = jitter.spreadNS, jitter.table
	}
	return options, nil
}

// lineWorks tells whether a direction does anything besides its rate.
func lineWorks(p topologies.Parameters) bool {
	p.RateBPS, p.QueueFrames, p.QueueBytes, p.JitterReorders = 0, 0, 0, false
	return p.Delay > 0 || !p.DelayOnly()
}

// atMost is a probability for where the kernel compares a random number with
// "<=": of 2^32 numbers one more than the result.
func atMost(probability float64) uint32 {
	return uint32(max(0, math.Round(probability*(1<<32))-1))
}

// below is a probability for where the kernel compares with "<".
func below(probability float64) uint32 {
	return uint32(min(math.MaxUint32, math.Round(probability*(1<<32))))
}

// maxProbabilityError is the greatest relative error that the kernel's 32-bit
// probabilities may have.
const maxProbabilityError = 0.001

// tooSmall names a probability that 32 bits express badly, if any.
func tooSmall(p topologies.Parameters) string {
	type probability struct {
		field string
		value float64
	}
	all := []probability{
		{"loss", p.Loss}, {"duplicate", p.Duplicate}, {"reorder", p.Reorder},
		{"loss with its correlation", p.Loss * (1 - p.LossCorrelation)},
	}
	if p.LossCorrelation > 0 {
		all = append(all, probability{"the end of correlated losses", (1 - p.Loss) * (1 - p.LossCorrelation)})
	}
	if g := p.GilbertElliott; g != nil {
		all = append(all, probability{"gilbert_elliott.good_to_bad", g.GoodToBad}, probability{"gilbert_elliott.bad_to_good", g.BadToGood},
			probability{"gilbert_elliott.loss_good", g.LossGood}, probability{"gilbert_elliott.loss_bad", g.LossBad},
			probability{"gilbert_elliott.loss_bad's opposite", 1 - g.LossBad})
	}
	for _, one := range all {
		if one.value == 0 {
			continue
		}
		if nearest := math.Round(one.value*(1<<32)) / (1 << 32); math.Abs(nearest-one.value) > maxProbabilityError*one.value {
			return fmt.Sprintf("%s %v is too small for netem's 32-bit probability", one.field, one.value)
		}
	}
	return ""
}

// differences names the parameters in which two netems differ, "" if none. The
// kernel doesn't tell tables, so they aren't compared.
func (o netemOptions) differences(got netemOptions) string {
	var states, gotStates netemStates
	if o.states != nil {
		states = *o.states
	}
	if got.states != nil {
		gotStates = *got.states
	}
	text := ""
	for _, one := range []struct {
		name      string
		want, got any
	}{
		{"delay (ns)", o.delayNS, got.delayNS},
		{"jitter (ns)", o.spreadNS, got.spreadNS},
		{"loss (of 2^32)", o.loss, got.loss},
		{"loss by states", o.states != nil, got.states != nil},
		{"states (of 2^32)", states, gotStates},
		{"duplicate (of 2^32)", o.duplicate, got.duplicate},
		{"reorder (of 2^32)", o.reorder, got.reorder},
		{"reorder_gap (frames)", o.gap, got.gap},
		{"rate (bytes/s)", o.bytesPerSecond, got.bytesPerSecond},
		{"queue (frames)", o.limit, got.limit},
	} {
		if one.want != one.got {
			if text != "" {
				text += ", "
			}
			text += fmt.Sprintf("%s is %v, want %v", one.name, one.got, one.want)
		}
	}
	return text
}
