package harness

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"quorumlab/faults"
	"quorumlab/harness/engine"
	"quorumlab/topologies"
)

const (
	// trainInterval is how long a proof waits before it sends another train.
	trainInterval = 100 * time.Millisecond
	// cutFrames are sent to prove a cut, frameInterval apart, delayFrames to prove a delay,
	// shareFrames to prove a loss and the like, rateFrames back to back to prove a rate.
	cutFrames     = 3
	delayFrames   = 5
	shareFrames   = 25
	rateFrames    = 10
	frameInterval = 5 * time.Millisecond
	// lostAfter is how much later than twice its time a frame counts as lost.
	lostAfter = 50 * time.Millisecond
	// A delay may be off by delayTolerance or delayShare of it, a rate by rateShare.
	delayTolerance = time.Millisecond
	delayShare     = 0.05
	rateShare      = 0.2
	// fastestRate is the largest one that trains of this size can tell from none.
	fastestRate = 200_000_000
	// farApart is how far apart frames must have come for it to be seen that they no longer
	// do, on a machine that is busy.
	farApart = 500 * time.Microsecond
	// A share counts as changed if it is changeSigmas standard deviations from what it was
	// before, and as what it shall be within fitSigmas.
	changeSigmas = 3
	fitSigmas    = 5
)

// cut looks whether frames get from one host to another, by sending probes, and by what
// the pair's stage says to have dropped. Probes that come too late, when the fault is being
// healed, are answered, and prove nothing.
func (p *proof) cut() look {
	return func(ctx context.Context) (bool, string, error) {
		before, err := p.net.since(ctx, p.order.carried)
		if err != nil {
			return false, "", err
		}
		answered, err := p.probe(ctx, p.From, p.To)
		if err != nil {
			return false, "", err
		}
		after, err := p.net.since(ctx, time.Now())
		if err != nil {
			return false, "", err
		}
		text := fmt.Sprintf("%d of %d probes were answered", answered, cutFrames)
		if p.heal && answered == 0 { // the way back may be cut off yet
			usual, _ := p.net.state().stages(p.From, p.To)
			delay, _, _ := delayOf(usual, probeBytes)
			came, err := p.send(ctx, train{from: p.From, to: p.To, frames: cutFrames, interval: frameInterval,
				bytes: probeBytes, patience: 2*delay + lostAfter}, nil)
			return len(came.delays) > 0, fmt.Sprintf("%s; %d of %d frames arrived", text, len(came.delays), came.sent), err
		}
		if p.heal {
			return true, text, nil
		}
		name := pairName(p.From, p.To)
		dropped := directionSince(pairCounters(after, name), pairCounters(before, name)).DownDrops
		return answered == 0 && dropped >= cutFrames, fmt.Sprintf("%s, and %d frames dropped on that way", text, dropped), nil
	}
}

// pairCounters are those of a pair's stage, zero if there is none.
func pairCounters(report engine.LinkReport, name string) engine.DirectionReport {
	for _, d := range report.Pairs {
		if d.Link == name {
			return d
		}
	}
	return engine.DirectionReport{}
}

// treatment is what is looked for in one direction of a link, or in a pair's stage.
type treatment struct {
	*proof
	// before and now are what the stage did before the order, and shall do.
	before, now topologies.Parameters
	// Frames are sent between these hosts, over what is usual, and the stage.
	sender, receiver string
	baseline         *engine.DirectionReport
	// pooled sums what the trains have shown.
	pooled came
}

// treated looks whether a direction of a link, or a pair's stage, treats frames as it
// shall.
func (p *proof) treated() look {
	t := &treatment{proof: p, now: p.Parameters}
	if p.Kind == faults.ExpectPair {
		t.sender, t.receiver = p.From, p.To
		t.before = p.order.baseline.pairs[pairName(p.From, p.To)]
		return t.look
	}
	t.before = p.order.baseline.direction(p.Link, p.From)
	return func(ctx context.Context) (bool, string, error) {
		sender, receiver, ok := p.order.baseline.probers(p.Link, p.From, p.t.echoes, p.net.state().pairs)
		if !ok {
			return false, "no two hosts with an echo process, and not cut off from each other, have this link between them", nil
		}
		if sender != t.sender || receiver != t.receiver {
			t.sender, t.receiver, t.pooled = sender, receiver, came{}
		}
		return t.look(ctx)
	}
}

func (t *treatment) look(ctx context.Context) (bool, string, error) {
	if t.baseline == nil {
		report, err := t.net.since(ctx, t.order.carried)
		if err != nil {
			return false, "", err
		}
		d := t.counters(report)
		t.baseline = &d
	}
	order := train{from: t.sender, to: t.receiver, frames: delayFrames, interval: frameInterval, bytes: probeBytes}
	switch {
	case t.now.Down || t.before.Down:
		order.frames = cutFrames
	case t.random():
		order.frames = shareFrames
	}
	usual, open := t.net.state().stages(t.sender, t.receiver)
	delay, _, _ := delayOf(usual, probeBytes)
	order.patience = 2*delay + lostAfter
	var report engine.LinkReport
	late := false
	came, err := t.send(ctx, order, func() (err error) {
		report, err = t.net.since(ctx, time.Now())
		late = t.over()
		return err
	})
	if err != nil {
		return false, "", err
	}
	if late {
		return false, "the fault was healed before the last frame was sent", nil
	}
	if t.now.Down || t.before.Down {
		ok, text := t.carries(came, report)
		return ok, text, nil
	}
	if !open {
		return false, "another fault keeps frames from the way that they are measured on", nil
	}
	t.pool(came)
	found, texts := t.delay(came)
	ok, more := t.shares(report)
	found, texts = found && ok, append(texts, more...)
	if ok, text, err := t.rate(ctx); err != nil {
		return false, "", err
	} else if text != "" {
		found, texts = found && ok, append(texts, text)
	}
	if len(texts) == 0 {
		texts = []string{fmt.Sprintf("%d of %d frames arrived", len(came.delays), came.sent)}
		found = len(came.delays) > 0
	}
	return found, strings.Join(texts, "; "), nil
}

// carries judges whether a direction carries frames, where it shall again, or none, where it
// is down: those that were sent then have met it or gone another way.
func (t *treatment) carries(c came, report engine.LinkReport) (bool, string) {
	now := directionSince(t.counters(report), *t.baseline)
	text := fmt.Sprintf("the direction has carried %d frames and dropped %d since; of %d sent from %s to %s, %d arrived",
		now.Frames, now.DownDrops, c.sent, t.sender, t.receiver, len(c.delays))
	if t.now.Down {
		return now.Frames == 0 && c.sent > 0 && (now.DownDrops > 0 || len(c.delays) > 0), text
	}
	return now.Frames > 0 && len(c.delays) > 0, text
}

// random tells whether anything about the frames is left to chance, before or now.
func (t *treatment) random() bool {
	for _, p := range []topologies.Parameters{t.before, t.now} {
		if p.Lossy() || p.Duplicate > 0 || p.Corrupt > 0 || p.Reorder > 0 || p.Jitters() {
			return true
		}
	}
	return false
}

func (t *treatment) pool(c came) {
	t.pooled.sent += c.sent
	t.pooled.delays = append(t.pooled.delays, c.delays...)
	t.pooled.doubled += c.doubled
	t.pooled.overtaking += c.overtaking
}

// counters are those of the stage.
func (t *treatment) counters(report engine.LinkReport) engine.DirectionReport {
	if t.Kind == faults.ExpectPair {
		return pairCounters(report, pairName(t.From, t.To))
	}
	for _, d := range report.Directions {
		if d.Link == t.Link && d.From == t.From {
			return d
		}
	}
	return engine.DirectionReport{}
}

// delay judges a train's delays where they are to change: the least one, or the median of
// those that differ.
func (t *treatment) delay(c came) (bool, []string) {
	changes := t.before.MeanDelay() != t.now.MeanDelay() || t.before.RateBPS != t.now.RateBPS
	jitters := t.before.Jitters() != t.now.Jitters() || t.before.Jitter != t.now.Jitter
	if !changes && !jitters {
		return true, nil
	}
	if len(c.delays) < 2 {
		return false, []string{fmt.Sprintf("%d of %d frames arrived", len(c.delays), c.sent)}
	}
	stages, _ := t.net.state().stages(t.sender, t.receiver)
	want, fixed, limited := delayOf(stages, probeBytes)
	change := t.now.MeanDelay() - t.before.MeanDelay()
	if t.now.RateBPS > 0 {
		change += time.Duration(probeBytes * 8 * int64(time.Second) / t.now.RateBPS)
	}
	if t.before.RateBPS > 0 {
		change -= time.Duration(probeBytes * 8 * int64(time.Second) / t.before.RateBPS)
	}
	delays := slices.Sorted(slices.Values(c.delays))
	measured, what := delays[0], "least"
	if !fixed {
		measured, what = delays[len(delays)/2], "median"
	}
	tolerance := max(delayTolerance, time.Duration(delayShare*float64(want)))
	if !fixed {
		tolerance += spreadOf(stages)
	}
	text := fmt.Sprintf("the %s delay of %d frames from %s to %s was %.2f ms (%.2f ms is wanted, %.2f ms was before)", what,
		len(delays), t.sender, t.receiver, ms(measured), ms(want), ms(want-change))
	off := (measured - want).Abs()
	found := off <= tolerance || limited && measured > want // behind what queues there
	if change.Abs() > tolerance/4 {
		found = found && off < (measured-(want-change)).Abs() || limited && measured > want && change > 0
	}
	if jitters && t.now.Jitters() {
		spread := delays[len(delays)-1] - delays[0]
		text += fmt.Sprintf(", they spread over %.2f ms", ms(spread))
		found = found && spread > max(t.now.Jitter/4, delayTolerance/4)
	}
	return found, []string{text}
}

func ms(d time.Duration) float64 { return float64(d) / 1e6 }

// spreadOf is about how far the median of some frames may be from the mean.
func spreadOf(stages []topologies.Parameters) time.Duration {
	var spread time.Duration
	for _, p := range stages {
		switch {
		case p.JitterTable != nil || p.Trace != nil:
			spread += p.MeanDelay() - p.Delay
		case p.Reorder > 0:
			spread += p.Delay
		}
		spread += 2 * p.Jitter
	}
	return spread
}

// shares judges what happens to some of the frames, by the counters of whoever executes
// the links or, where there are none, by the trains.
func (t *treatment) shares(report engine.LinkReport) (bool, []string) {
	now := directionSince(t.counters(report), *t.baseline)
	offered := now.Frames - now.Duplicates + now.LossDrops + now.QueueDrops + now.DownDrops
	pooled := t.pooled
	kernel := t.evidenceExecutor() == engine.LinksKernel
	all := true
	var texts []string
	for _, share := range []struct {
		what         string
		before, want float64
		count        uint64
		seen         int
	}{
		{"lost", t.before.MeanLoss(), t.now.MeanLoss(), now.LossDrops, pooled.lost()},
		{"doubled", t.before.Duplicate, t.now.Duplicate, now.Duplicates, pooled.doubled},
		{"corrupted", t.before.Corrupt, t.now.Corrupt, now.Corrupted, pooled.lost()},
		{"let ahead", t.before.ReorderShare(), t.now.ReorderShare(), now.Reordered, pooled.overtaking},
	} {
		if share.before == share.want {
			continue
		}
		count, of := float64(share.count), float64(offered)
		if kernel {
			count, of = float64(share.seen), float64(pooled.sent)
		}
		texts = append(texts, fmt.Sprintf("%.0f of %.0f frames were %s (%.3g%% is wanted, %.3g%% was before)", count, of, share.what, 100*share.want, 100*share.before))
		all = all && changed(count, of, share.before, share.want, t.heal)
	}
	return all, texts
}

// changed tells whether a count of so many fits a share, and no longer the one before; of
// a healing the former is enough.
func changed(count, of, before, want float64, healed bool) bool {
	if of == 0 {
		return false
	}
	if math.Abs(count-of*want) > fitSigmas*math.Sqrt(of*want*(1-want))+1 {
		return false
	}
	if healed {
		return true
	}
	away := count - of*before
	if want < before {
		away = -away
	}
	return away > 0 && away >= changeSigmas*math.Sqrt(of*before*(1-before))
}

// rate judges a changed rate by how far apart full frames come that were sent back to
// back: as far as the rate wants and, where frames came further apart before, no longer so.
func (t *treatment) rate(ctx context.Context) (bool, string, error) {
	if t.before.RateBPS == t.now.RateBPS {
		return true, "", nil
	}
	stages, _ := t.net.state().stages(t.sender, t.receiver)
	least, most := spacings(t.before, t.now, stages)
	if least == 0 && most == 0 {
		return true, fmt.Sprintf("its rate of %s is above what can be told from none here", topologies.FormatRate(t.now.RateBPS)), nil
	}
	delay, _, _ := delayOf(stages, trainBytes)
	frames := rateFrames
	if queue := t.now.QueueFrames; queue > 0 {
		frames = min(frames, max(queue, 2))
	}
	came, err := t.send(ctx, train{from: t.sender, to: t.receiver, frames: frames, bytes: trainBytes,
		patience: 2*delay + time.Duration(frames)*max(least, most) + lostAfter}, nil)
	if err != nil {
		return false, "", err
	}
	if len(came.delays) < 2 {
		return false, fmt.Sprintf("%d of %d frames of a train arrived", len(came.delays), came.sent), nil
	}
	text := fmt.Sprintf("full frames came %.3f ms apart (%.3f ms is wanted", ms(came.spacing), ms(least))
	if most > 0 {
		text += fmt.Sprintf(", %.3f ms was before", ms(most))
	}
	// What else the link carries comes in between.
	found := float64(came.spacing) >= (1-rateShare)*float64(least)
	return found && (most == 0 || float64(came.spacing) < (1-rateShare)*float64(most)), text + ")", nil
}

// spacings are how far apart full frames come at least, over these stages, and how far
// apart they came before if that was further; 0 is unknown: too close to be told from
// nothing, or alike.
func spacings(before, now topologies.Parameters, stages []topologies.Parameters) (least, was time.Duration) {
	apart := func(rate int64) time.Duration {
		if rate == 0 || rate > fastestRate {
			return 0
		}
		return time.Duration(trainBytes * 8 * int64(time.Second) / rate)
	}
	slowest := apart(now.RateBPS)
	for _, p := range stages {
		slowest = max(slowest, apart(p.RateBPS))
	}
	if least = slowest; apart(now.RateBPS) == 0 {
		least = 0
	}
	if was = apart(before.RateBPS); was < farApart || float64(slowest) > (1-2*rateShare)*float64(was) {
		was = 0
	}
	return least, was
}

// evidenceExecutor is who executes the links.
func (b *breaker) evidenceExecutor() string { return b.t.evidence.Executor }
