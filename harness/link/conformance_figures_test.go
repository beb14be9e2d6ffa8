package link

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"quorumlab/topologies"
)

// sentFrame is a frame of a case's traffic, in the order of sending.
type sentFrame struct {
	atNS  int64
	bytes int
	flow  int
}

// receivedFrame is a frame that came out of a link, in the order of arrival. It names the
// sent frame by its place.
type receivedFrame struct {
	frame int
	atNS  int64
}

// traffic draws what a case sends: whether its flows send at each tick. The times are
// the ticks'.
func (c conformanceCase) traffic(ticks int, seed uint64) []sentFrame {
	random := rand.New(rand.NewPCG(seed, 1))
	var sent []sentFrame
	for tick := range ticks {
		for flow := range c.flows {
			if random.Float64() < c.chance {
				sent = append(sent, sentFrame{int64(tick) * int64(conformanceTick), c.sizes[len(sent)%len(c.sizes)], flow})
			}
		}
	}
	return sent
}

// predict runs the model over what was sent.
func predict(p topologies.Parameters, sent []sentFrame, seed uint64) []receivedFrame {
	model := NewModel(p, seed, 0)
	var arrived []receivedFrame
	for i, frame := range sent {
		fate := model.Transmit(frame.atNS, frame.bytes)
		for _, arrival := range fate.Arrivals[:fate.Count] {
			if !arrival.Corrupted { // else the receiver refuses it
				arrived = append(arrived, receivedFrame{i, arrival.AtNS})
			}
		}
	}
	slices.SortStableFunc(arrived, func(a, b receivedFrame) int { return int(a.atNS - b.atNS) })
	return arrived
}

// figures are what is compared.
type figures struct {
	meanDelayNS float64
	// lost is the share of frames of which nothing arrived, lostAfterLost that among
	// those right after such a frame, doubled that of frames that came twice.
	lost, lostAfterLost, doubled float64
	// overtaken is the share of arrivals after one of a frame that was sent later,
	// atOnce that of arrivals within half the delay, where frames are let go at once.
	overtaken, atOnce float64
	// rateBPS is that of the arrivals; only a saturated link's means anything.
	rateBPS float64
	// delaysNS are sorted.
	delaysNS []float64
}

// measure works out the figures of what was sent and arrived.
func measure(p topologies.Parameters, sent []sentFrame, arrived []receivedFrame) figures {
	var f figures
	copies := make([]int, len(sent))
	latest, overtaken, atOnce, bytes := -1, 0, 0, 0
	for i, a := range arrived {
		copies[a.frame]++
		delay := float64(a.atNS - sent[a.frame].atNS)
		f.delaysNS = append(f.delaysNS, delay)
		f.meanDelayNS += delay / float64(len(arrived))
		if a.frame < latest {
			overtaken++
		}
		latest = max(latest, a.frame)
		if p.Reorder > 0 && delay < float64(p.Delay)/2 {
			atOnce++
		}
		if i > 0 {
			bytes += sent[a.frame].bytes
		}
	}
	slices.Sort(f.delaysNS)
	f.overtaken, f.atOnce = share(overtaken, len(arrived)), share(atOnce, len(arrived))
	if n := len(arrived); n > 1 {
		f.rateBPS = float64(bytes) * 8e9 / float64(max(1, arrived[n-1].atNS-arrived[0].atNS))
	}
	lost, doubled, afterLost, lostAfterLost := 0, 0, 0, 0
	for i, n := range copies {
		if n == 0 {
			lost++
		}
		if n > 1 {
			doubled++
		}
		if i > 0 && copies[i-1] == 0 {
			afterLost++
			if n == 0 {
				lostAfterLost++
			}
		}
	}
	f.lost, f.doubled, f.lostAfterLost = share(lost, len(sent)), share(doubled, len(sent)), share(lostAfterLost, afterLost)
	return f
}

func share(part, of int) float64 { return float64(part) / float64(max(of, 1)) }

// excess is the greatest amount by which the distribution of a is above that of b
// moved to the right: sup over x of F_a(x) - F_b(x + by), one side of the Kolmogorov-Smirnov
// distance. Both are sorted.
func excess(a, b []float64, by float64) float64 {
	most, j := 0.0, 0
	for i := range a {
		if i+1 < len(a) && a[i+1] == a[i] {
			continue
		}
		for j < len(b) && b[j] <= a[i]+by {
			j++
		}
		most = max(most, share(i+1, len(a))-share(j, len(b)))
	}
	return most
}

// spread is a figure of many predictions: what to expect of one more.
type spread struct{ mean, deviation float64 }

func spreadOf(values []float64) spread {
	var s spread
	for _, v := range values {
		s.mean += v / float64(len(values))
	}
	for _, v := range values {
		s.deviation += (v - s.mean) * (v - s.mean) / float64(len(values)-1)
	}
	s.deviation = math.Sqrt(s.deviation)
	return s
}

const (
	// conformancePredictions is how often the model predicts what a link does, each time
	// with other random numbers.
	conformancePredictions = 100
	// A figure that is this many standard deviations off happens once in ten
	// million: 1e-6 with the deviation itself uncertain by a tenth.
	conformanceDeviations = 5.5
	// conformancePool is how many of the predicted delays stand for all.
	conformancePool = 10_000
	// The Kolmogorov-Smirnov statistic's tail is longer: P(D > mean + 7 deviations) is
	// 1e-6.
	conformanceKSDeviations = 7
)

// expectation is what a case's traffic should meet.
type expectation struct {
	meanDelayNS, lost, lostAfterLost, doubled, overtaken, atOnce, rateBPS spread
	// delaysNS are those of all predictions, sorted; early and late are the excesses of
	// single predictions over them.
	delaysNS    []float64
	early, late spread
}

// expect predicts a case again and again.
func expect(p topologies.Parameters, sent []sentFrame) expectation {
	all := make([]figures, conformancePredictions)
	var e expectation
	for i := range all {
		all[i] = measure(p, sent, predict(p, sent, uint64(i+1)))
		e.delaysNS = append(e.delaysNS, all[i].delaysNS...)
	}
	slices.Sort(e.delaysNS)
	e.delaysNS = thinned(e.delaysNS, conformancePool)
	of := func(value func(figures) float64) spread {
		values := make([]float64, len(all))
		for i, f := range all {
			values[i] = value(f)
		}
		return spreadOf(values)
	}
	e.meanDelayNS = of(func(f figures) float64 { return f.meanDelayNS })
	e.lost = of(func(f figures) float64 { return f.lost })
	e.lostAfterLost = of(func(f figures) float64 { return f.lostAfterLost })
	e.doubled = of(func(f figures) float64 { return f.doubled })
	e.overtaken = of(func(f figures) float64 { return f.overtaken })
	e.atOnce = of(func(f figures) float64 { return f.atOnce })
	e.rateBPS = of(func(f figures) float64 { return f.rateBPS })
	e.early = of(func(f figures) float64 { return excess(f.delaysNS, e.delaysNS, 0) })
	e.late = of(func(f figures) float64 { return excess(e.delaysNS, f.delaysNS, 0) })
	return e
}

// thinned is a sample of so many sorted values, evenly spread.
func thinned(sorted []float64, count int) []float64 {
	if len(sorted) <= count {
		return sorted
	}
	values := make([]float64, count)
	for i := range values {
		values[i] = sorted[(2*i+1)*len(sorted)/(2*count)]
	}
	return values
}

// lateness is how late a machine is, seen by the controls.
type lateness struct {
	// over is the share of a link's frames that may be later than lateNS.
	over float64
}

const (
	// earlyNS is what clocks are allowed; no frame may come earlier than declared.
	earlyNS = 50_000
	// lateNS is what is in time. Of other links' frames twice the share that is late of
	// the controls may be later, and 5%.
	lateNS    = 2_000_000
	allowLate = 2
	// controlLate is the share of a control's frames that may be late: a wrong delay makes
	// all late, a busy machine hardly ever.
	controlLate = 0.9
)

// latenessOf is that of the worst control.
func latenessOf(cases []conformanceCase, controls []figures) lateness {
	worst := 0.0
	for i, control := range controls {
		late := 0
		for _, delay := range control.delaysNS {
			if delay > float64(cases[i].parameters.Delay)+lateNS {
				late++
			}
		}
		worst = max(worst, share(late, len(control.delaysNS)))
	}
	return lateness{min(1, allowLate*worst+0.05)}
}

// verdict compares figures with what was expected. It names what is off.
func (e expectation) verdict(c conformanceCase, got figures, sent int, machine lateness) []string {
	var off []string
	check := func(name string, want spread, got, tolerance float64) {
		if allowed := conformanceDeviations*want.deviation + tolerance; math.Abs(got-want.mean) > allowed {
			off = append(off, fmt.Sprintf("%s is %.4g, want %.4g ± %.2g", name, got, want.mean, allowed))
		}
	}
	// Whether a frame meets a full queue, or another ahead of it, may hang by a
	// microsecond: then sending times alone don't tell.
	frame := 1.5 / float64(max(sent, 1))
	edge := frame
	if c.parameters.RateBPS > 0 {
		edge += 0.02 + machine.over/4
	}
	check("lost", e.lost, got.lost, edge)
	check("lost after lost", e.lostAfterLost, got.lostAfterLost, edge/max(e.lost.mean, 0.01))
	check("doubled", e.doubled, got.doubled, edge)
	check("let go at once", e.atOnce, got.atOnce, frame+machine.over)
	if e.overtaken.mean == 0 && got.overtaken > 0 || e.overtaken.mean > 0 && got.overtaken == 0 {
		off = append(off, fmt.Sprintf("overtaken is %.4g, want %.4g", got.overtaken, e.overtaken.mean))
	}
	check("overtaken", e.overtaken, got.overtaken, frame+machine.over/4)
	if c.saturated {
		check("rate", e.rateBPS, got.rateBPS, (0.02+machine.over/4)*e.rateBPS.mean)
	}
	if early := excess(got.delaysNS, e.delaysNS, earlyNS+edgeNS(c)); early > e.early.mean+conformanceKSDeviations*e.early.deviation+edge {
		off = append(off, fmt.Sprintf("%.3g of the frames are earlier than declared", early))
	}
	if late := excess(e.delaysNS, got.delaysNS, lateNS); len(e.delaysNS) > 0 && late > e.late.mean+conformanceKSDeviations*e.late.deviation+machine.over {
		off = append(off, fmt.Sprintf("%.3g of the frames are later than declared by more than %v", late, time.Duration(lateNS)))
	}
	return off
}

// edgeNS is how far one drop more or less moves the frames behind it.
func edgeNS(c conformanceCase) float64 {
	if c.parameters.RateBPS == 0 || c.parameters.QueueFrames == 0 && c.parameters.QueueBytes == 0 {
		return 0
	}
	return float64(slices.Max(c.sizes)) * 8e9 / float64(c.parameters.RateBPS)
}

// conformanceRow is a line of the table of errors.
type conformanceRow struct {
	name, executor string
	sent           int
	got            figures
	want           expectation
	jitters        bool
	saturated      bool
	verdict        string
}

// conformanceTable prints the errors of every case by every executor.
func conformanceTable(rows []conformanceRow) string {
	var text strings.Builder
	line := func(fields ...any) {
		fmt.Fprintf(&text, "%-47s %-17s %6v %9v %7v %7v %13v %13v %7v  %v\n", fields...)
	}
	line("link", "executor", "frames", "delay", "KS", "lost", "expected", "doubled", "rate", "verdict")
	line("", "", "", "error us", "", "%", "%", "%", "error %", "")
	for _, r := range rows {
		if r.sent == 0 {
			line(r.name, r.executor, "-", "-", "-", "-", "-", "-", "-", r.verdict)
			continue
		}
		delay, ks, rate := "-", "-", "-"
		if len(r.got.delaysNS) > 0 {
			delay = fmt.Sprintf("%+.0f", (r.got.meanDelayNS-r.want.meanDelayNS.mean)/1e3)
		}
		if r.jitters {
			ks = fmt.Sprintf("%.3f", max(excess(r.got.delaysNS, r.want.delaysNS, 0), excess(r.want.delaysNS, r.got.delaysNS, 0)))
		}
		if r.saturated {
			rate = fmt.Sprintf("%+.2f", 100*(r.got.rateBPS/r.want.rateBPS.mean-1))
		}
		line(r.name, r.executor, r.sent, delay, ks, fmt.Sprintf("%.2f", 100*r.got.lost), r.want.lost.percent(),
			fmt.Sprintf("%.1f of %.1f", 100*r.got.doubled, 100*r.want.doubled.mean), rate, r.verdict)
	}
	return text.String()
}

// percent is a share with the interval in which it must be.
func (s spread) percent() string {
	return fmt.Sprintf("%.2f ± %.2f", 100*s.mean, 100*conformanceDeviations*s.deviation)
}
