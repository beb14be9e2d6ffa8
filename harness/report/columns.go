package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/mattn/go-runewidth"

	"quorumlab/results"
)

// density is how much room a table takes.
type density int

const (
	// units has the unit in every cell.
	units density = iota
	// bounds has the units in the header, and intervals by their bounds.
	bounds
	// terse has intervals as +/- half their width.
	terse
	// dense is terse with less space between, what was offered left out where the
	// share answered stands, and the trials attempted where all are valid.
	dense
)

func (d density) gap() string {
	if d == dense {
		return " "
	}
	return "  "
}

// column is a column of the table.
type column struct {
	name string
	// unit stands under the name, but in the cells where there is room.
	unit string
	cell func(results.Point) string
	// flag marks cells that deserve attention.
	flag func(results.Point) bool
	// left is for columns of words.
	left bool
}

const (
	// unknown stands for what is null.
	unknown = "-"
	// timedOut stands for a percentile that falls among the timeouts.
	timedOut = "timeout"
	// violated stands for a finding that nobody may overlook.
	violated = "VIOLATION"
)

// points writes the table in the roomiest density that fits, which it returns.
func (p *page) points(summary *results.Summary) density {
	if len(summary.Points) == 0 {
		p.line("no points")
		return units
	}
	for _, density := range []density{units, bounds, terse, dense} {
		columns := tableColumns(summary, density)
		widths := columnWidths(columns, summary.Points)
		total := len(density.gap()) * (len(widths) - 1)
		for _, width := range widths {
			total += width
		}
		if total <= p.width {
			p.grid(grid{columns, widths, density.gap()}, summary.Points)
			return density
		}
	}
	p.blocks(tableColumns(summary, units), summary.Points)
	return units
}

func columnWidths(columns []column, points []results.Point) []int {
	widths := make([]int, len(columns))
	for i, column := range columns {
		widths[i] = max(runewidth.StringWidth(harmless(column.name)), runewidth.StringWidth(column.unit))
		for _, point := range points {
			widths[i] = max(widths[i], runewidth.StringWidth(harmless(column.cell(point))))
		}
	}
	return widths
}

// grid is how a table is laid out.
type grid struct {
	columns []column
	widths  []int
	gap     string
}

// grid writes a header and one row a point, flush right so that decimals line
// up; words are flush left.
func (p *page) grid(g grid, points []results.Point) {
	p.row(g, bold, func(c column) (string, bool) { return c.name, true })
	if slices.ContainsFunc(g.columns, func(c column) bool { return c.unit != "" }) {
		p.row(g, "", func(c column) (string, bool) { return c.unit, false })
	}
	for _, point := range points {
		p.row(g, red, func(c column) (string, bool) {
			return c.cell(point), c.flag != nil && c.flag(point)
		})
	}
}

// row writes a line of cells, those that are marked in the color.
func (p *page) row(g grid, color string, cell func(column) (text string, marked bool)) {
	var line strings.Builder
	for i, column := range g.columns {
		text, marked := cell(column)
		text = harmless(text)
		pad := strings.Repeat(" ", max(0, g.widths[i]-runewidth.StringWidth(text)))
		if p.color && marked && color != "" {
			text = color + text + reset
		}
		if i > 0 {
			line.WriteString(g.gap)
		}
		if column.left {
			line.WriteString(text + pad)
		} else {
			line.WriteString(pad + text)
		}
	}
	p.text.WriteString(strings.TrimRight(line.String(), " ") + "\n")
}

// blocks writes each point as lines of names and values, for narrow terminals.
func (p *page) blocks(columns []column, points []results.Point) {
	width := 0
	for _, column := range columns {
		width = max(width, runewidth.StringWidth(harmless(column.name)))
	}
	for i, point := range points {
		if i > 0 {
			p.line("")
		}
		for _, column := range columns {
			p.line(runewidth.FillRight(harmless(column.name), width) + "  " + column.cell(point))
		}
	}
}

// tableColumns chooses the columns that have something to say.
func tableColumns(summary *results.Summary, density density) []column {
	points := summary.Points
	var columns []column
	for _, param := range paramColumns(points) {
		columns = append(columns, column{name: param.name, cell: param.value, left: !param.numeric})
	}
	leaders := slices.ContainsFunc(points, func(p results.Point) bool { return p.FirstLeader != nil })
	loads := slices.ContainsFunc(points, func(p results.Point) bool { return p.Latency != nil })
	if loads || !leaders {
		columns = append(columns, loadColumns(points, density)...)
	}
	if leaders {
		columns = append(columns, column{name: "first leader", unit: "ms", cell: firstLeaderCell(density)})
	}
	if shared, _ := sharedFinding(points); !shared {
		columns = append(columns, column{name: "linearizable", cell: findingCell,
			flag: func(p results.Point) bool { return p.Attempted > 0 && p.Linearizable != results.FindingOK }})
	}
	columns = append(columns, column{name: "trials", cell: trialsCell(summary.Repeat, density),
		flag: func(p results.Point) bool { return p.Trials < summary.Repeat }})
	if density == units {
		for i := range columns {
			columns[i] = unitInCells(columns[i])
		}
	}
	return columns
}

// loadColumns are about the clients' requests.
func loadColumns(points []results.Point, density density) []column {
	columns := []column{
		{name: "mean latency", unit: "ms", cell: latencyCell(density)},
		{name: "p50", unit: "ms", cell: percentileCell(func(l *results.Latency) *float64 { return l.P50 })},
		{name: "p99", unit: "ms", cell: percentileCell(func(l *results.Latency) *float64 { return l.P99 })},
		{name: "predicted", unit: "ms", cell: func(p results.Point) string { return optional(p.PredictedMS, milliseconds) }},
		{name: "throughput", unit: "req/s", cell: throughputCell(density)},
	}
	// Of one point, all whose requests were answered, the share needs no column.
	share := len(points) > 1 || slices.ContainsFunc(points, func(p results.Point) bool { return p.Outcomes.Timeout > 0 })
	// Where room is scarce, the share answered tells what was offered.
	if density != dense || !share {
		columns = append(columns, column{name: "offered", unit: "req/s", cell: offeredCell})
	}
	if share {
		columns = append(columns, column{name: "answered", cell: answeredCell,
			flag: func(p results.Point) bool { return p.Outcomes.Timeout > 0 }})
	}
	if showBallots(points) {
		columns = append(columns, column{name: "ballots", unit: "/slot",
			cell: func(p results.Point) string { return optional(p.BallotsPerDecision, significant) }})
	}
	return columns
}

// unitInCells moves a column's unit from the header behind each cell's first
// number, as in "240.31 ms [240.05, 240.57]".
func unitInCells(c column) column {
	if c.unit == "" {
		return c
	}
	unit, cell := c.unit, c.cell
	switch {
	case unit == "req/s":
		unit = "/s"
	case !strings.HasPrefix(unit, "/"):
		unit = " " + unit
	}
	c.unit = ""
	c.cell = func(p results.Point) string {
		number, rest, _ := strings.Cut(cell(p), " [")
		if number == unknown || number == timedOut {
			return number
		}
		if rest != "" {
			rest = " [" + rest
		}
		return number + unit + rest
	}
	return c
}

// showBallots is true if ballots per decision tell something: how points
// differ, or that leaders duelled.
func showBallots(points []results.Point) bool {
	return slices.ContainsFunc(points, func(p results.Point) bool {
		return p.BallotsPerDecision != nil && (len(points) > 1 || *p.BallotsPerDecision > 0.1)
	})
}

func latencyCell(density density) func(results.Point) string {
	return func(p results.Point) string {
		if p.Latency == nil || p.Latency.Mean == nil {
			return unknown
		}
		return withInterval(*p.Latency.Mean, p.Latency.CI95, decimalsMS, density)
	}
}

func throughputCell(density density) func(results.Point) string {
	return func(p results.Point) string {
		if p.Throughput == nil || p.Throughput.Mean == nil {
			return unknown
		}
		return withInterval(*p.Throughput.Mean, p.Throughput.CI95, decimalsRPS, density)
	}
}

func firstLeaderCell(density density) func(results.Point) string {
	return func(p results.Point) string {
		if p.FirstLeader == nil || p.FirstLeader.Mean == nil {
			return unknown
		}
		return withInterval(*p.FirstLeader.Mean, p.FirstLeader.CI95, decimalsMS, density)
	}
}

// sharedFinding is what the checks of the attempted points' histories found, if
// that is the same everywhere.
func sharedFinding(points []results.Point) (shared bool, finding string) {
	finding = unknown
	for _, point := range points {
		switch found := findingCell(point); {
		case found == unknown, found == finding:
		case finding == unknown:
			finding = found
		default:
			return false, unknown
		}
	}
	return true, finding
}

// findingCell is what the check of the point's histories found.
func findingCell(p results.Point) string {
	switch {
	case p.Attempted == 0:
		return unknown
	case p.Linearizable == results.FindingViolation:
		return violated
	case p.Linearizable == results.FindingNotChecked:
		return "not checked"
	}
	return p.Linearizable
}

func offeredCell(p results.Point) string {
	if p.Throughput == nil {
		return unknown
	}
	return strconv.FormatFloat(math.Round(p.Throughput.Offered*100)/100, 'f', -1, 64)
}

// percentileCell tells a percentile among the timeouts from an unknown one.
func percentileCell(percentile func(*results.Latency) *float64) func(results.Point) string {
	return func(p results.Point) string {
		if p.Latency == nil || p.Latency.Requests == 0 {
			return unknown
		}
		if value := percentile(p.Latency); value != nil {
			return milliseconds(*value)
		}
		return timedOut
	}
}

// answeredCell rounds down, so that 100% means all.
func answeredCell(p results.Point) string {
	answered := p.Outcomes.OK + p.Outcomes.Fail
	requests := answered + p.Outcomes.Timeout
	if requests == 0 {
		return unknown
	}
	if p.Outcomes.Timeout == 0 {
		return "100%"
	}
	return fmt.Sprintf("%.2f%%", math.Floor(1e4*float64(answered)/float64(requests))/100)
}

// trialsCell is the valid trials of those attempted.
func trialsCell(repeat int, density density) func(results.Point) string {
	return func(p results.Point) string {
		switch {
		case p.Attempted == 0:
			return "not run"
		case density == dense && p.Trials == p.Attempted && p.Trials >= repeat:
			return fmt.Sprintf("%d ok", p.Trials)
		}
		text := fmt.Sprintf("%d/%d", p.Trials, p.Attempted)
		switch {
		case p.Trials >= repeat:
			return text + " ok"
		case p.Void == 0:
			return text + " of " + strconv.Itoa(repeat)
		}
		return text + " VOID"
	}
}

// withInterval shows an interval with as many decimals as its mean.
func withInterval(mean float64, interval *[2]float64, decimals func(float64) int, density density) string {
	format := func(v float64) string { return strconv.FormatFloat(v, 'f', decimals(mean), 64) }
	if interval == nil {
		return format(mean)
	}
	half := format((interval[1] - interval[0]) / 2)
	switch density {
	case terse:
		return format(mean) + " +/-" + half
	case dense:
		return format(mean) + "+/-" + half
	}
	return fmt.Sprintf("%s [%s, %s]", format(mean), format(interval[0]), format(interval[1]))
}

func optional(value *float64, format func(float64) string) string {
	if value == nil {
		return unknown
	}
	return format(*value)
}

func milliseconds(ms float64) string { return strconv.FormatFloat(ms, 'f', decimalsMS(ms), 64) }

func perSecond(rate float64) string { return strconv.FormatFloat(rate, 'f', decimalsRPS(rate), 64) }

// decimalsMS leaves about four digits, and no more than single microseconds.
func decimalsMS(ms float64) int {
	switch size := math.Abs(ms); {
	case size < 1:
		return 3
	case size < 1000:
		return 2
	}
	return 1
}

// decimalsRPS leaves about four digits.
func decimalsRPS(rate float64) int {
	switch size := math.Abs(rate); {
	case size < 100:
		return 2
	case size < 1000:
		return 1
	}
	return 0
}

func significant(ratio float64) string {
	if ratio != 0 && math.Abs(ratio) < 0.01 {
		return strconv.FormatFloat(ratio, 'g', 2, 64)
	}
	return strconv.FormatFloat(ratio, 'f', 2, 64)
}
