package report

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/mattn/go-runewidth"

	"quorumlab/results"
)

const (
	// traceRows is the plot's height, in lines, without axes and faults.
	traceRows = 11
	// leastTraceColumns is the least width of the plot itself.
	leastTraceColumns = 20
	// leastMargin and mostMargin bound the room for labels at the left.
	leastMargin, mostMargin = 7, 16
	// mostFaultRows bounds the lines of faults; the last one has all that are left.
	mostFaultRows = 4
	// logFrom is how far above the median the longest latency must be for a logarithmic
	// axis: half of the requests would be at the bottom of a linear one.
	logFrom = 20
)

// Trace plots a trial's latencies against time, with its faults below the axis and
// timeouts at the top, in at most 20 lines. It is drawn with Braille characters where the
// options allow them.
func Trace(w io.Writer, trace *results.Trace, options Options) error {
	if options.Width <= 0 {
		options.Width = DefaultWidth
	}
	page := &page{width: options.Width, color: options.Color}
	newPlot(trace, options).write(page, trace)
	_, err := w.Write(page.text.Bytes())
	return err
}

// plot is a raster of dots; several make a character.
type plot struct {
	dots    dots
	columns int
	margin  int
	lengthS float64
	scale   scale
	// raster has a character's dots as bits.
	raster   [traceRows][]byte
	timeouts []bool
	bars     []bar
}

// dots is how many a character has across and down, how they are drawn, and what the
// axes are made of.
type dots struct {
	across, down int
	draw         func(bits byte) rune
	vertical     string
	corner       string
	tick         string
	horizontal   string
	timeout      string
	block        string
}

// braille has the dots of U+2800 in the order in which Unicode numbers them.
var braille = dots{across: 2, down: 4, vertical: "│", corner: "└", tick: "┴", horizontal: "─", timeout: "×", block: "█",
	draw: func(bits byte) rune {
		if bits == 0 {
			return ' '
		}
		order := [8]byte{0x01, 0x08, 0x02, 0x10, 0x04, 0x20, 0x40, 0x80} // row by row
		pattern := rune(0x2800)
		for i, bit := range order {
			if bits&(1<<i) != 0 {
				pattern |= rune(bit)
			}
		}
		return pattern
	}}

// plain has an upper and a lower dot.
var plain = dots{across: 1, down: 2, vertical: "|", corner: "+", tick: "+", horizontal: "-", timeout: "x", block: "#",
	draw: func(bits byte) rune { return rune(" '.:"[bits]) }}

// bar is a line of faults.
type bar struct {
	label  string
	active []bool
	// lasts is true if one was never healed.
	lasts bool
}

func newPlot(trace *results.Trace, options Options) *plot {
	p := &plot{dots: plain, lengthS: max(trace.LengthS, 1e-9), scale: newScale(trace), margin: leastMargin}
	if options.Unicode {
		p.dots = braille
	}
	for _, label := range faultLabels(trace) {
		p.margin = min(max(p.margin, runewidth.StringWidth(label)), mostMargin)
	}
	p.columns = max(options.Width-p.margin-2, leastTraceColumns)
	for i := range p.raster {
		p.raster[i] = make([]byte, p.columns)
	}
	p.timeouts = make([]bool, p.columns)
	for _, request := range trace.Requests {
		p.mark(request)
	}
	for _, label := range faultLabels(trace) {
		p.bars = append(p.bars, bar{label: label, active: make([]bool, p.columns)})
	}
	for _, fault := range trace.Faults {
		p.markFault(fault)
	}
	return p
}

// faultLabels are the entries that were applied, each once, and what stands for those that
// there is no room for.
func faultLabels(trace *results.Trace) []string {
	var labels []string
	for _, fault := range trace.Faults {
		if id := harmless(fault.ID); !slices.Contains(labels, id) {
			labels = append(labels, id)
		}
	}
	if len(labels) > mostFaultRows {
		labels = append(labels[:mostFaultRows-1], fmt.Sprintf("%d others", len(labels)-mostFaultRows+1))
	}
	return labels
}

func (p *plot) mark(request results.TraceRequest) {
	x := p.across(request.DueS, p.columns*p.dots.across)
	if request.Outcome == results.OutcomeTimeout {
		p.timeouts[x/p.dots.across] = true
		return
	}
	lines := traceRows * p.dots.down
	y := min(max(int((1-p.scale.share(request.LatencyMS))*float64(lines)), 0), lines-1)
	p.raster[y/p.dots.down][x/p.dots.across] |= 1 << (y%p.dots.down*p.dots.across + x%p.dots.across)
}

// across places a time in so many columns.
func (p *plot) across(atS float64, columns int) int {
	return min(max(int(atS/p.lengthS*float64(columns)), 0), columns-1)
}

func (p *plot) markFault(fault results.TraceFault) {
	row := slices.IndexFunc(p.bars, func(b bar) bool { return b.label == harmless(fault.ID) })
	if row < 0 {
		row = len(p.bars) - 1
	}
	b := &p.bars[row]
	for x := p.across(fault.FromS, p.columns); x <= p.across(fault.ToS, p.columns); x++ {
		b.active[x] = true
	}
	b.lasts = b.lasts || !fault.Healed
}

func (p *plot) write(page *page, trace *results.Trace) {
	title := fmt.Sprintf("trial %d: latency against time", trace.Trial)
	if trace.Simulated {
		title += ", " + results.LabelSimulated
	}
	if !trace.Valid {
		title += " (VOID)"
	}
	page.colored(bold, title)
	if slices.Contains(p.timeouts, true) {
		page.line(p.label("timeout") + " " + p.dots.vertical + p.cells(p.timeouts, p.dots.timeout))
	}
	labels := p.scale.labels()
	for r, row := range p.raster {
		var line strings.Builder
		for _, bits := range row {
			line.WriteRune(p.dots.draw(bits))
		}
		page.line(p.label(labels[r]) + " " + p.dots.vertical + line.String())
	}
	axis, ticks := p.axis()
	page.line(strings.Repeat(" ", p.margin+1) + axis)
	page.line(strings.Repeat(" ", p.margin+1) + ticks)
	for _, bar := range p.bars {
		cells := p.cells(bar.active, p.dots.block)
		if bar.lasts {
			cells = strings.TrimSuffix(cells, p.dots.block) + ">"
		}
		text := runewidth.FillLeft(runewidth.Truncate(bar.label, p.margin, ""), p.margin) + "  " + cells
		page.colored(red, strings.TrimRight(text, " "))
	}
}

func (p *plot) label(text string) string { return runewidth.FillLeft(text, p.margin) }

func (p *plot) cells(marks []bool, mark string) string {
	var line strings.Builder
	for _, marked := range marks {
		if marked {
			line.WriteString(mark)
		} else {
			line.WriteByte(' ')
		}
	}
	return line.String()
}

// tickColumns is the least distance between two labels of the axis of time.
const tickColumns = 10

// axis is the line below the plot, and the times below that.
func (p *plot) axis() (line, times string) {
	stepS := niceAbove(p.lengthS*tickColumns/float64(p.columns), 1, 2, 5)
	axis := slices.Repeat([]string{p.dots.horizontal}, p.columns)
	labels := []byte(strings.Repeat(" ", p.columns+1))
	for i := 0; float64(i)*stepS <= p.lengthS; i++ {
		x := p.across(float64(i)*stepS, p.columns)
		axis[x] = p.dots.tick
		text := strconv.FormatFloat(float64(i)*stepS, 'g', 6, 64)
		if i == 0 {
			text = "0 s"
		}
		if x+1+len(text) <= len(labels) {
			copy(labels[x+1:], text)
		}
	}
	return p.dots.corner + strings.Join(axis, ""), string(labels)
}

// niceAbove is the least of the factors times a power of ten that isn't below the value.
func niceAbove(value float64, factors ...float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(value)))
	for _, factor := range factors {
		if factor*power >= value*(1-1e-9) {
			return factor * power
		}
	}
	return 10 * power
}

// scale is the axis of latencies, in milliseconds.
type scale struct {
	logarithmic bool
	low, high   float64
}

func newScale(trace *results.Trace) scale {
	var latencies []float64
	for _, request := range trace.Requests {
		if request.Outcome != results.OutcomeTimeout {
			latencies = append(latencies, request.LatencyMS)
		}
	}
	slices.Sort(latencies)
	if len(latencies) == 0 || latencies[len(latencies)-1] <= 0 {
		return scale{high: 1}
	}
	least, most := latencies[0], latencies[len(latencies)-1]
	if least > 0 && most > logFrom*latencies[len(latencies)/2] {
		return scale{
			logarithmic: true, low: math.Pow(10, math.Floor(math.Log10(least))), high: math.Pow(10, math.Ceil(math.Log10(most))),
		}
	}
	return scale{high: niceAbove(most, 1, 2, 3, 4, 6, 8)}
}

// share is how far up the axis a latency is, 0 to 1.
func (s scale) share(ms float64) float64 {
	if s.logarithmic {
		return math.Log(ms/s.low) / math.Log(s.high/s.low)
	}
	return ms / s.high
}

// labels are those of the plot's lines, from the top.
func (s scale) labels() [traceRows]string {
	ticks := []float64{0, s.high / 2, s.high}
	if s.logarithmic {
		ticks = nil
		for i := 0; ; i++ {
			tick := s.low * math.Pow(10, float64(i))
			if tick > s.high*1.001 {
				break
			}
			ticks = append(ticks, tick)
		}
	}
	var labels [traceRows]string
	for _, tick := range ticks {
		row := int(math.Round((1 - s.share(tick)) * (traceRows - 1)))
		labels[min(max(row, 0), traceRows-1)] = shortTime(tick)
	}
	return labels
}

// shortTime is a time on an axis.
func shortTime(ms float64) string {
	switch {
	case ms >= 1000:
		return strconv.FormatFloat(ms/1000, 'g', 6, 64) + " s"
	case ms > 0 && ms < 0.999:
		return strconv.FormatFloat(ms*1000, 'g', 6, 64) + " us"
	}
	return strconv.FormatFloat(ms, 'g', 6, 64) + " ms"
}
