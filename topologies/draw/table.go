package draw

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"
)

// Which routes Table shows.
const (
	// TableSummary has one row for each pair of hosts that run processes; if these
	// are more than maxTableRows, one for each pair of roles, with the least and the
	// greatest value.
	TableSummary = "auto"
	// TableProcesses has a row for each such pair, however many.
	TableProcesses = "processes"
	// TableAll has a row for each pair of hosts.
	TableAll = "all"
)

// Tables lists them.
var Tables = []string{TableSummary, TableProcesses, TableAll}

const (
	maxTableRows = 30
	// maxSources is from how many hosts paths are followed for a summary.
	maxSources = 300
	// maxWay is how many nodes of a way are shown.
	maxWay = 4
)

// Table writes what paths predict: times and loss one way, and the round trip. Columns in
// which nothing happens are left out; the way too if the table would be wider than
// so many columns.
func Table(w io.Writer, p Picture, which string, width int) error {
	r, err := newRouter(p, which == TableAll)
	if err != nil {
		return err
	}
	var groups []*group
	note, summed := "", false
	if pairs := len(r.hosts) * (len(r.hosts) - 1); which == TableSummary && pairs > maxTableRows {
		summed = true
		sources := r.sample(maxSources)
		if groups = grouped(r.from(sources)); len(sources) < len(r.hosts) {
			note = fmt.Sprintf("(paths from %d of the %d hosts, to all)\n", len(sources), len(r.hosts))
		}
	} else {
		for route := range r.from(r.hosts) {
			g := newGroup(host(route.From, route.FromProcesses), host(route.To, route.ToProcesses))
			g.add(route)
			groups = append(groups, g)
		}
	}
	if len(groups) == 0 {
		return nil
	}
	_, err = io.WriteString(w, tabulate(groups, summed, width)+note)
	return err
}

// host is a host and its processes.
func host(name string, processes []Process) string {
	return strings.Join(append([]string{name}, compact(processes)...), " ")
}

// group are routes that share a row.
type group struct {
	from, to string
	count    int
	// cut counts those without a path.
	cut                        int
	way                        string
	hops, delay, deviation     extent
	loss, rate, inFlight, trip extent
}

func newGroup(from, to string) *group {
	g := &group{from: from, to: to}
	for _, e := range []*extent{&g.hops, &g.delay, &g.deviation, &g.loss, &g.rate, &g.inFlight, &g.trip} {
		*e = extent{math.Inf(1), math.Inf(-1)}
	}
	return g
}

// extent is from the least to the greatest value.
type extent struct{ least, most float64 }

func (e *extent) add(value float64) {
	e.least, e.most = math.Min(e.least, value), math.Max(e.most, value)
}

// write shows an extent; nothing if there is no value.
func (e extent) write(format func(float64) string) string {
	if e.least > e.most {
		return "-"
	}
	least, most := format(e.least), format(e.most)
	if least == most {
		return least
	}
	number, unit, _ := strings.Cut(least, " ")
	if _, other, _ := strings.Cut(most, " "); unit == other {
		least = number
	}
	return least + "–" + most
}

func (g *group) add(r Route) {
	g.count++
	if r.Way == nil {
		g.cut++
		g.way = "no path"
		return
	}
	between := r.Way[1 : len(r.Way)-1]
	switch {
	case len(between) == 0:
		g.way = "direct"
	case len(between) > maxWay:
		g.way = strings.Join(between[:2], " ") + " … " + between[len(between)-1]
	default:
		g.way = strings.Join(between, " ")
	}
	deviation := math.Inf(1)
	if r.DeviationNS != nil {
		deviation = float64(*r.DeviationNS)
	}
	rate, inFlight := float64(r.RateBPS), float64(r.BandwidthDelayBytes)
	if r.RateBPS == 0 {
		rate, inFlight = math.Inf(1), math.Inf(1)
	}
	g.hops.add(float64(r.Hops))
	g.delay.add(float64(r.MeanDelayNS))
	g.deviation.add(deviation)
	g.loss.add(r.Loss)
	g.rate.add(rate)
	if r.RTTNS > 0 || r.MeanDelayNS == 0 { // else there is no way back
		g.inFlight.add(inFlight)
		g.trip.add(float64(r.RTTNS))
	}
}

// grouped are rows for pairs of roles, in the order in which these come first; a
// single one if all routes are alike.
func grouped(routes func(yield func(Route) bool)) []*group {
	var groups []*group
	index := map[[2]string]*group{}
	every := newGroup("any host", "any other")
	for route := range routes {
		key := [2]string{rolesOf(route.FromProcesses), rolesOf(route.ToProcesses)}
		g := index[key]
		if g == nil {
			g = newGroup(key[0], key[1])
			index[key] = g
			groups = append(groups, g)
		}
		g.add(route)
		every.add(route)
	}
	same := every.cut == 0
	for _, e := range []extent{every.hops, every.delay, every.deviation, every.loss, every.rate, every.inFlight, every.trip} {
		same = same && e.least == e.most
	}
	if same {
		return []*group{every}
	}
	return groups
}

// rolesOf are the roles of a host's processes.
func rolesOf(processes []Process) string {
	var names []string
	seen := map[string]bool{}
	for _, process := range processes {
		if !seen[process.Role] {
			names = append(names, process.Role)
			seen[process.Role] = true
		}
	}
	if names == nil {
		return "host"
	}
	return strings.Join(names, "+")
}

// column of a table; left is for words.
type column struct {
	name string
	left bool
	cell func(g *group) string
	// matters tells whether the column says anything about a row; nil if always.
	matters func(g *group) bool
}

func columnsOf(many bool) []column {
	times := func(ns float64) string {
		if math.IsInf(ns, 1) {
			return "∞"
		}
		return Time(time.Duration(ns))
	}
	unlimited := func(format func(float64) string) func(float64) string {
		return func(x float64) string {
			if math.IsInf(x, 1) {
				return "unlimited"
			}
			return format(x)
		}
	}
	way := column{"via", true, func(g *group) string { return g.way }, nil}
	if many {
		way = column{"pairs", false, func(g *group) string {
			if g.cut > 0 {
				return fmt.Sprintf("%d (%d cut)", g.count, g.cut)
			}
			return fmt.Sprint(g.count)
		}, nil}
	}
	return []column{
		{"from", true, func(g *group) string { return g.from }, nil},
		{"to", true, func(g *group) string { return g.to }, nil},
		way,
		{"hops", false, func(g *group) string { return g.hops.write(number) }, nil},
		{"delay", false, func(g *group) string { return g.delay.write(times) }, nil},
		{"s.d.", false, func(g *group) string { return g.deviation.write(times) }, func(g *group) bool { return g.deviation.most > 0 }},
		{"loss", false, func(g *group) string { return g.loss.write(Share) }, func(g *group) bool { return g.loss.most > 0 }},
		{"RTT", false, func(g *group) string { return g.trip.write(times) }, nil},
		{"rate", false, func(g *group) string { return g.rate.write(unlimited(Rate)) }, func(g *group) bool { return !math.IsInf(g.rate.least, 1) }},
		{"rate x RTT", false, func(g *group) string { return g.inFlight.write(unlimited(Bytes)) }, func(g *group) bool { return !math.IsInf(g.inFlight.least, 1) }},
	}
}

// tabulate aligns the columns that matter.
func tabulate(groups []*group, many bool, width int) string {
	var kept []column
	var widths []int
	for _, c := range columnsOf(many) {
		wide, matters := runewidth.StringWidth(c.name), c.matters == nil
		for _, g := range groups {
			wide = max(wide, runewidth.StringWidth(c.cell(g)))
			matters = matters || c.matters(g)
		}
		if matters {
			kept, widths = append(kept, c), append(widths, wide)
		}
	}
	total := -2
	for _, wide := range widths {
		total += wide + 2
	}
	const way = 2
	if total > width && !many {
		kept, widths = append(kept[:way], kept[way+1:]...), append(widths[:way], widths[way+1:]...)
	}
	var b strings.Builder
	line := func(cell func(c column) string) {
		var cells []string
		for i, c := range kept {
			if c.left {
				cells = append(cells, runewidth.FillRight(cell(c), widths[i]))
			} else {
				cells = append(cells, runewidth.FillLeft(cell(c), widths[i]))
			}
		}
		b.WriteString(strings.TrimRight(strings.Join(cells, "  "), " ") + "\n")
	}
	line(func(c column) string { return c.name })
	for _, g := range groups {
		line(func(c column) string { return c.cell(g) })
	}
	return b.String()
}
