package topologies

import (
	"fmt"
	"math"
	"time"
)

// Jitter distributions: how the delay of a frame differs from Parameters.Delay.
const (
	// JitterUniform is Delay ± Jitter, each value as likely.
	JitterUniform = "uniform"
	// JitterNormal has the mean Delay and the standard deviation Jitter.
	JitterNormal = "normal"
	// JitterExponential adds an exponentially distributed time of mean Jitter.
	JitterExponential = "exponential"
	// JitterPareto adds a Lomax (Pareto type II) distributed time of mean Jitter and
	// shape JitterShape.
	JitterPareto = "pareto"
	// JitterTable adds a time drawn from JitterTable.
	JitterTable = "table"
)

// JitterDistributions lists them all.
var JitterDistributions = []string{JitterUniform, JitterNormal, JitterExponential, JitterPareto, JitterTable}

// DefaultJitterShape is the shape of a Pareto jitter that isn't said: its variance
// is finite, its third moment isn't.
const DefaultJitterShape = 3.0

// Parameters says how one direction of a link treats frames. A frame passes, in
// this order:
//
//   - the queue: a frame that has to wait is dropped (tail drop) if QueueFrames frames wait
//     already, or if the bytes that wait and its own are more than QueueBytes; the frame in
//     serialisation doesn't count;
//   - serialisation at RateBPS;
//   - duplication: with probability Duplicate there are two frames from here on;
//   - loss: Loss, correlated or not, or GilbertElliott. As in netem, a frame that is
//     duplicated and lost at once leaves one copy. A duplicate may be lost too;
//   - corruption: with probability Corrupt one bit beyond the Ethernet header is
//     flipped, so that the receiver's checksum refuses the frame;
//   - propagation: Delay, with jitter or along a Trace, unless the frame is one that
//     Reorder lets go at once.
//
// The zero value carries every frame at once.
type Parameters struct {
	// Down carries nothing, and paths avoid it.
	Down bool `json:"down,omitempty"`

	// Delay is the propagation delay, at least 0; with an exponential, Pareto or
	// table jitter and with a trace it is the least.
	Delay time.Duration `json:"delay_ns"`
	// Trace replays measured delays; there is no jitter beside it.
	Trace *Trace `json:"trace,omitempty"`
	// Jitter is the scale of the distribution, which see; 0 for none, and with
	// JitterTable, which has its own.
	Jitter             time.Duration `json:"jitter_ns,omitempty"`
	JitterDistribution string        `json:"jitter_distribution,omitempty"`
	// JitterShape is the Pareto shape, above 1; 0 means DefaultJitterShape.
	JitterShape float64 `json:"jitter_shape,omitempty"`
	// JitterTable is the distribution JitterTable.
	JitterTable *Table `json:"jitter_table,omitempty"`
	// JitterReorders lets frames overtake each other because of jitter or a trace;
	// else a frame that would arrive before the one ahead arrives with it.
	JitterReorders bool `json:"jitter_reorders,omitempty"`

	// Loss is the probability, 0 to 1, that a frame is lost.
	Loss float64 `json:"loss,omitempty"`
	// LossCorrelation, 0 to below 1, makes losses cluster: after a lost frame the
	// probability is Loss + LossCorrelation (1 - Loss), after another
	// Loss (1 - LossCorrelation), so that Loss stays the long-run share.
	LossCorrelation float64 `json:"loss_correlation,omitempty"`
	// GilbertElliott takes the place of Loss.
	GilbertElliott *GilbertElliott `json:"gilbert_elliott,omitempty"`

	// Duplicate is the probability that a frame is doubled.
	Duplicate float64 `json:"duplicate,omitempty"`
	// Corrupt is the probability that a bit of a frame is flipped.
	Corrupt float64 `json:"corrupt,omitempty"`

	// Reorder is the probability that a frame skips the propagation delay. Of
	// ReorderGap frames in a row at most the last can be one (0 and 1: each).
	Reorder    float64 `json:"reorder,omitempty"`
	ReorderGap int     `json:"reorder_gap,omitempty"`
	// ReorderCorrelation is to Reorder what LossCorrelation is to Loss.
	ReorderCorrelation float64 `json:"reorder_correlation,omitempty"`

	// RateBPS is in bits a second; 0 means unlimited.
	RateBPS int64 `json:"rate_bps,omitempty"`
	// QueueFrames bounds the frames waiting for serialisation, QueueBytes their
	// bytes, Ethernet headers included; 0 means unbounded.
	QueueFrames int   `json:"queue_frames,omitempty"`
	QueueBytes  int64 `json:"queue_bytes,omitempty"`
}

// GilbertElliott is the loss model of two states (Gilbert, "Capacity of a
// Burst-Noise Channel", 1960; Elliott, 1963). A frame is lost with its state's
// probability; then the state may change. It begins in the good state.
type GilbertElliott struct {
	// GoodToBad and BadToGood are the probabilities of a change at each frame, p and r
	// of the literature.
	GoodToBad float64 `json:"good_to_bad"`
	BadToGood float64 `json:"bad_to_good"`
	// LossGood and LossBad are 1-k and 1-h of the literature.
	LossGood float64 `json:"loss_good"`
	LossBad  float64 `json:"loss_bad"`
}

// Loss is the long-run share of lost frames.
func (g GilbertElliott) Loss() float64 {
	if g.GoodToBad == 0 {
		return g.LossGood // it never leaves the state in which it begins
	}
	if g.LossGood == g.LossBad {
		return g.LossBad
	}
	bad := g.GoodToBad / (g.GoodToBad + g.BadToGood)
	return bad*g.LossBad + (1-bad)*g.LossGood
}

// Table is a distribution of delays.
type Table struct {
	// Name says where it comes from, such as a file.
	Name string `json:"name,omitempty"`
	// Excess are equally likely values, ascending, at least 0, over Parameters.Delay.
	Excess []time.Duration `json:"excess_ns"`
}

// Gap policies of a trace: what frames meet between two rows that are farther apart
// than Trace.GapAfter, or where the trace says that there was no answer.
const (
	// GapHold keeps the delay of the row before.
	GapHold = "hold"
	// GapInterpolate goes in a straight line from the row before to the next.
	GapInterpolate = "interpolate"
	// GapLose loses the frames.
	GapLose = "lose"
)

// Trace alignments.
const (
	// AlignStart replays from the first row on when the network starts.
	AlignStart = "start"
	// AlignRandom begins at a time of the trace drawn from the seed.
	AlignRandom = "random"
)

// Trace is a series of delays measured in time. Between rows the delay is that of
// the row before, so that the autocorrelation is kept; at its end it begins again,
// one typical interval after its last row.
type Trace struct {
	Name string `json:"name,omitempty"`
	// Times are those of the rows, ascending from 0; Excess has each row's delay
	// over Parameters.Delay, or a negative number where there was no answer.
	Times  []time.Duration `json:"times_ns"`
	Excess []time.Duration `json:"excess_ns"`
	// Align is AlignStart or AlignRandom, Gap one of the gap policies.
	Align string `json:"align"`
	Gap   string `json:"gap"`
	// GapAfter is the interval above which there is a gap, above 0.
	GapAfter time.Duration `json:"gap_after_ns"`
	// Period is after how long it begins again, above the last of Times.
	Period time.Duration `json:"period_ns"`
}

// Jitters tells whether frames' delays differ.
func (p Parameters) Jitters() bool {
	return p.Jitter > 0 || p.JitterTable != nil || p.Trace != nil
}

// LossShare is the long-run share of frames that are lost other than by a full queue: MeanLoss,
// and the share of a trace's time in which its gap policy loses frames. Of a long trace
// it takes a while.
func (p Parameters) LossShare() float64 {
	loss := p.MeanLoss()
	if p.Trace == nil || p.Trace.Gap != GapLose {
		return loss
	}
	_, lost := p.Trace.average()
	return lost + (1-lost)*loss
}

// Lossy tells whether frames can be lost other than by a full queue.
func (p Parameters) Lossy() bool { return p.MeanLoss() > 0 || p.Trace != nil && p.Trace.Gap == GapLose }

// MeanLoss is the long-run share of frames that are lost other than by a full
// queue or a gap of a trace.
func (p Parameters) MeanLoss() float64 {
	switch {
	case p.Down:
		return 1
	case p.GilbertElliott != nil:
		return p.GilbertElliott.Loss()
	}
	return p.Loss
}

// DelayOnly tells whether the direction does nothing but delay each frame by the
// same time.
func (p Parameters) DelayOnly() bool {
	return !p.Down && !p.Jitters() && p.MeanLoss() == 0 && p.Duplicate == 0 &&
		p.Corrupt == 0 && p.Reorder == 0 && p.RateBPS == 0
}

// ReorderShare is the long-run share of frames that skip the propagation delay. After one
// that does, ReorderGap-1 frames can't; of those that follow, the first that does is on
// average the (1/Reorder)-th, whatever ReorderCorrelation is: a hit is likelier then, and
// a miss lasts longer.
func (p Parameters) ReorderShare() float64 {
	if p.Reorder == 0 {
		return 0
	}
	return 1 / (float64(max(p.ReorderGap, 1)-1) + 1/p.Reorder)
}

// MeanPropagation is the mean propagation delay of all frames, those that Reorder lets go
// at once too, apart from what staying in order adds.
func (p Parameters) MeanPropagation() time.Duration {
	return time.Duration(math.Round(float64(p.MeanDelay()) * (1 - p.ReorderShare())))
}

// MeanDelay is MeanPropagation of the frames that aren't let go at once.
func (p Parameters) MeanDelay() time.Duration {
	switch {
	case p.Trace != nil:
		return p.Delay + p.Trace.mean()
	case p.JitterTable != nil:
		return p.Delay + mean(p.JitterTable.Excess)
	case p.Jitter == 0:
		return p.Delay
	case p.JitterDistribution == JitterExponential, p.JitterDistribution == JitterPareto:
		return p.Delay + p.Jitter
	}
	return truncatedMean(p)
}

// truncatedMean is the mean of a uniform or normal delay of which what is below 0 is
// taken as 0.
func truncatedMean(p Parameters) time.Duration {
	delay, jitter := float64(p.Delay), float64(p.Jitter)
	mean := delay
	switch ratio := delay / jitter; {
	case p.JitterDistribution == JitterNormal:
		below := math.Erfc(ratio/math.Sqrt2) / 2
		density := math.Exp(-ratio*ratio/2) / math.Sqrt(2*math.Pi)
		mean = delay*(1-below) + jitter*density
	case ratio < 1:
		mean = (delay + jitter) * (delay + jitter) / (4 * jitter)
	}
	return time.Duration(math.Round(mean))
}

func mean(times []time.Duration) time.Duration {
	sum := 0.0
	for _, t := range times {
		sum += float64(t)
	}
	return time.Duration(math.Round(sum / float64(max(len(times), 1))))
}

// Bounds of what Check accepts. They keep all sums of nanoseconds far from
// overflow.
const (
	MaxDelay = time.Hour
	// MinRateBPS and MaxRateBPS bound a rate that isn't 0.
	MinRateBPS = 1000
	MaxRateBPS = 1_000_000_000_000
	// MaxQueueFrames and MaxQueueBytes bound a queue that isn't unbounded.
	MaxQueueFrames = 1_000_000_000
	MaxQueueBytes  = 1_000_000_000_000
	// MaxReorderGap bounds ReorderGap.
	MaxReorderGap = 1_000_000
	// MaxRows bounds the rows of a table or a trace.
	MaxRows = 1_000_000
)

// ParameterError says which field of Parameters makes no sense.
type ParameterError struct {
	// Field is the key of an experiment's link, such as "loss_correlation".
	Field string
	// Value is the bad value, Want what would be right.
	Value, Want string
}

// Error names the field, its value and what would be right.
func (e *ParameterError) Error() string {
	return fmt.Sprintf("%s is %s: want %s", e.Field, e.Value, e.Want)
}

// Check tells why parameters make no sense: nil, or a *ParameterError about the first
// field that is wrong.
func (p Parameters) Check() error {
	for _, check := range []func(Parameters) *ParameterError{
		checkDelay, checkJitter, checkProbabilities, checkLoss, checkReorder, checkRate,
	} {
		if err := check(p); err != nil {
			return err
		}
	}
	return nil
}

func wrong(field string, value any, want string) *ParameterError {
	return &ParameterError{Field: field, Value: fmt.Sprint(value), Want: want}
}

func checkDelay(p Parameters) *ParameterError {
	if p.Delay < 0 || p.Delay > MaxDelay {
		return wrong("delay", p.Delay, fmt.Sprintf("a duration from 0 to %v, such as 20ms", MaxDelay))
	}
	if p.Trace == nil {
		return nil
	}
	t := p.Trace
	switch {
	case p.Jitter != 0 || p.JitterTable != nil:
		return wrong("jitter", p.Jitter, "none beside a trace")
	case len(t.Times) == 0 || len(t.Times) != len(t.Excess) || len(t.Times) > MaxRows:
		return wrong("trace", fmt.Sprintf("%d times and %d delays", len(t.Times), len(t.Excess)),
			fmt.Sprintf("1 to %d rows of both", MaxRows))
	case t.Align != AlignStart && t.Align != AlignRandom:
		return wrong("align", t.Align, AlignStart+" or "+AlignRandom)
	case t.Gap != GapHold && t.Gap != GapInterpolate && t.Gap != GapLose:
		return wrong("gap", t.Gap, GapHold+", "+GapInterpolate+" or "+GapLose)
	case t.GapAfter <= 0:
		return wrong("gap_after", t.GapAfter, "a duration above 0")
	case t.Times[0] != 0 || t.Period <= t.Times[len(t.Times)-1] || t.Period > 1000*24*time.Hour:
		return wrong("trace", fmt.Sprintf("rows from %v to %v, period %v", t.Times[0], t.Times[len(t.Times)-1], t.Period),
			"rows from 0 on and a period above the last, at most 1000 days")
	}
	answered := false
	for i, excess := range t.Excess {
		if i > 0 && t.Times[i] <= t.Times[i-1] {
			return wrong("trace", t.Times[i], "times that ascend")
		}
		if excess > MaxDelay {
			return wrong("trace", excess, fmt.Sprintf("delays of at most %v", MaxDelay))
		}
		answered = answered || excess >= 0
	}
	if !answered {
		return wrong("trace", "without a delay", "at least one row with an answer")
	}
	return nil
}

func checkJitter(p Parameters) *ParameterError {
	switch {
	case p.Jitter < 0 || p.Jitter > MaxDelay:
		return wrong("jitter", p.Jitter, fmt.Sprintf("a duration from 0 to %v, such as 2ms", MaxDelay))
	case p.JitterShape != 0 && !(p.JitterShape > 1 && p.JitterShape <= 1000):
		return wrong("jitter_shape", p.JitterShape, "a number above 1 and at most 1000, such as 3")
	case p.JitterTable != nil:
		return checkTable(p)
	case p.JitterDistribution == JitterTable:
		return wrong("jitter_distribution", JitterTable, "a table of measurements beside it")
	case p.Jitter == 0 && p.JitterDistribution == "":
		return nil
	}
	switch p.JitterDistribution {
	case JitterUniform, JitterNormal, JitterExponential, JitterPareto:
		return nil
	}
	return wrong("jitter_distribution", fmt.Sprintf("%q", p.JitterDistribution), "uniform, normal, exponential, pareto or table")
}

func checkTable(p Parameters) *ParameterError {
	table := p.JitterTable.Excess
	if p.JitterDistribution != JitterTable || p.Jitter != 0 {
		return wrong("jitter", p.Jitter, "none beside a table of measurements")
	}
	if len(table) == 0 || len(table) > MaxRows {
		return wrong("table", fmt.Sprintf("%d values", len(table)), fmt.Sprintf("1 to %d values", MaxRows))
	}
	for i, excess := range table {
		if excess < 0 || excess > MaxDelay || i > 0 && excess < table[i-1] {
			return wrong("table", excess, fmt.Sprintf("ascending delays from 0 to %v", MaxDelay))
		}
	}
	return nil
}

// isShare tells whether x is a probability; not a number isn't.
func isShare(x float64) bool { return x >= 0 && x <= 1 }

func checkProbabilities(p Parameters) *ParameterError {
	for _, probability := range []struct {
		field string
		value float64
	}{{"loss", p.Loss}, {"duplicate", p.Duplicate}, {"corrupt", p.Corrupt}, {"reorder", p.Reorder}} {
		if !isShare(probability.value) {
			return wrong(probability.field, probability.value, "a probability from 0 to 1, such as 0.1%")
		}
	}
	for _, correlation := range []struct {
		field string
		value float64
		of    float64
	}{{"loss_correlation", p.LossCorrelation, p.Loss}, {"reorder_correlation", p.ReorderCorrelation, p.Reorder}} {
		if !(correlation.value >= 0 && correlation.value < 1) {
			return wrong(correlation.field, correlation.value, "from 0 to below 1, such as 25%")
		}
		if correlation.value > 0 && correlation.of == 0 {
			return wrong(correlation.field, correlation.value, "0 where there is nothing to correlate")
		}
	}
	return nil
}

func checkLoss(p Parameters) *ParameterError {
	g := p.GilbertElliott
	if g == nil {
		return nil
	}
	if p.Loss != 0 || p.LossCorrelation != 0 {
		return wrong("loss", p.Loss, "none beside gilbert_elliott")
	}
	for _, probability := range []struct {
		field string
		value float64
	}{{"good_to_bad", g.GoodToBad}, {"bad_to_good", g.BadToGood}, {"loss_good", g.LossGood}, {"loss_bad", g.LossBad}} {
		if !isShare(probability.value) {
			return wrong("gilbert_elliott."+probability.field, probability.value, "a probability from 0 to 1, such as 1%")
		}
	}
	return nil
}

func checkReorder(p Parameters) *ParameterError {
	switch {
	case p.ReorderGap < 0 || p.ReorderGap > MaxReorderGap:
		return wrong("reorder_gap", p.ReorderGap, fmt.Sprintf("from 0 (each frame) to %d frames", MaxReorderGap))
	case p.ReorderGap > 0 && p.Reorder == 0:
		return wrong("reorder_gap", p.ReorderGap, "0 where reorder is 0")
	}
	return nil
}

func checkRate(p Parameters) *ParameterError {
	switch {
	case p.RateBPS != 0 && (p.RateBPS < MinRateBPS || p.RateBPS > MaxRateBPS):
		return wrong("rate", fmt.Sprintf("%d bit/s", p.RateBPS), "from 1kbit to 1tbit, such as 1gbit, or unlimited")
	case p.QueueFrames < 0 || p.QueueFrames > MaxQueueFrames:
		return wrong("queue", p.QueueFrames, fmt.Sprintf("from 0 (unbounded) to %d frames", MaxQueueFrames))
	case p.QueueBytes < 0 || p.QueueBytes > MaxQueueBytes:
		return wrong("queue_bytes", p.QueueBytes, fmt.Sprintf("from 0 (unbounded) to %d bytes", int64(MaxQueueBytes)))
	}
	return nil
}
