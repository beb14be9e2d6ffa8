package report

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/mattn/go-runewidth"

	"quorumlab/results"
)

// faults writes what broke and what it cost, if anything did.
func (p *page) faults(summary *results.Summary) {
	if !slices.ContainsFunc(summary.Points, func(p results.Point) bool { return len(p.Faults) > 0 }) {
		return
	}
	p.line("")
	rows := newEntryRows(summary)
	p.legend(rows)
	p.faultsSheet(rows)
	if !slices.ContainsFunc(summary.Points, func(p results.Point) bool { return len(p.Recovery) > 0 }) {
		return
	}
	p.line("")
	p.recoverySheet(rows)
	p.line("")
	p.phasesSheet(rows)
}

// maxParamsWidth is how much room swept values may take in each row; wider ones are
// listed once, and rows have the point's number.
const maxParamsWidth = 32

// entryRows lays out tables with a row for each entry of each point's schedule.
type entryRows struct {
	summary *results.Summary
	params  []param
	// numbered is true if points are numbered instead of their values shown.
	numbered bool
}

func newEntryRows(summary *results.Summary) entryRows {
	r := entryRows{summary: summary, params: paramColumns(summary.Points)}
	width := 0
	for _, param := range r.params {
		widest := runewidth.StringWidth(param.name)
		for _, point := range summary.Points {
			widest = max(widest, runewidth.StringWidth(param.value(point)))
		}
		width += widest + 2
	}
	r.numbered = width > maxParamsWidth
	return r
}

// sheet has the columns that say what a row is about.
func (r entryRows) sheet() sheet {
	var columns []sheetColumn
	if r.numbered {
		columns = append(columns, sheetColumn{name: "point"})
	} else {
		for _, param := range r.params {
			columns = append(columns, sheetColumn{name: param.name, left: !param.numeric})
		}
	}
	columns = append(columns, sheetColumn{name: "fault", left: true})
	return sheet{labels: len(columns), columns: columns}
}

// each visits every entry of every point, with the labels of its row.
func (r entryRows) each(visit func(labels []string, point results.Point, entry results.FaultEntry)) {
	for i, point := range r.summary.Points {
		for _, entry := range point.Faults {
			var labels []string
			if r.numbered {
				labels = append(labels, strconv.Itoa(i+1))
			} else {
				for _, param := range r.params {
					labels = append(labels, param.value(point))
				}
			}
			visit(append(labels, entry.ID), point, entry)
		}
	}
}

// at says which point it is, if there are several.
func (r entryRows) at(point results.Point, entry string) string {
	if !r.numbered {
		return entry + atPoint(r.summary, point)
	}
	i := slices.IndexFunc(r.summary.Points, func(p results.Point) bool { return reflect.DeepEqual(p.Params, point.Params) })
	return fmt.Sprintf("%s at point %d", entry, i+1)
}

// legend lists the points that are numbered.
func (p *page) legend(r entryRows) {
	if !r.numbered {
		return
	}
	for i, point := range r.summary.Points {
		p.wrap("", fmt.Sprintf("point %d:%s", i+1, strings.TrimPrefix(atPoint(r.summary, point), " at")))
	}
}

// faultsSheet says what broke, and whether that is proved.
func (p *page) faultsSheet(r entryRows) {
	s := r.sheet()
	var bad []bool
	var notes []string
	r.each(func(labels []string, point results.Point, entry results.FaultEntry) {
		s.rows = append(s.rows, append(labels, entry.Kind, hitCell(entry.Hit), rangeCell(entry.AppliedS),
			activeCell(entry), strconv.Itoa(entry.Occurrences), provedCell(entry)))
		if entry.Missing != "" {
			notes = append(notes, r.at(point, entry.ID)+": "+entry.Missing)
		}
		bad = append(bad, !entry.Optional && (entry.Proved < entry.Occurrences || entry.NeverFired > 0))
	})
	s.columns = append(s.columns, sheetColumn{name: "kind", left: true}, sheetColumn{name: "hit", left: true},
		sheetColumn{name: "applied", unit: "at s"}, sheetColumn{name: "healed", unit: "after s"},
		sheetColumn{name: "fired"}, sheetColumn{name: "proved", left: true})
	s.marked = func(row int) bool { return bad[row] }
	p.sheet(s)
	if timing := r.summary.FaultTiming; timing != nil {
		p.wrap("", fmt.Sprintf("applied %s ms after the requested times at most, %s of %s within 5 ms",
			strconv.FormatFloat(timing.MaxMS, 'f', 2, 64), percent(timing.Within5MS), plural(timing.Faults, "fault")))
	}
	p.someNotes(notes)
}

// mostNotes bounds the notes under a table.
const mostNotes = 6

func (p *page) someNotes(notes []string) {
	for _, note := range notes[:min(len(notes), mostNotes)] {
		p.wrap("", note)
	}
	if more := len(notes) - mostNotes; more > 0 {
		p.wrap("", fmt.Sprintf("... and %s like these, in summary.json", plural(more, "more note")))
	}
}

// percent rounds down, so that 100% means all.
func percent(share float64) string {
	return strconv.FormatFloat(math.Floor(share*1000)/10, 'f', -1, 64) + "%"
}

// maxHitWidth bounds the column of what was hit.
const maxHitWidth = 30

func hitCell(hits []results.Hit) string {
	var parts []string
	for _, hit := range hits {
		part := hit.What
		if len(hits) > 1 {
			part += fmt.Sprintf(" x%d", hit.Times)
		}
		parts = append(parts, part)
	}
	return runewidth.Truncate(harmless(strings.Join(parts, ", ")), maxHitWidth, "...")
}

// rangeCell is one time if all are within a twentieth of a second.
func rangeCell(r *results.Range) string {
	switch {
	case r == nil:
		return unknown
	case r.Max-r.Min < 0.05:
		return strconv.FormatFloat(r.Mean, 'f', 2, 64)
	}
	return strconv.FormatFloat(r.Min, 'f', 1, 64) + " to " + strconv.FormatFloat(r.Max, 'f', 1, 64)
}

func activeCell(entry results.FaultEntry) string {
	if entry.ActiveS == nil && entry.AppliedS != nil {
		return "never"
	}
	return rangeCell(entry.ActiveS)
}

func provedCell(entry results.FaultEntry) string {
	text := "all"
	if entry.Proved < entry.Occurrences {
		text = fmt.Sprintf("%d of %d", entry.Proved, entry.Occurrences)
	}
	if entry.Occurrences == 0 {
		text = unknown
	}
	for _, other := range []struct {
		n    int
		text string
	}{{entry.HitNobody, "hit nobody"}, {entry.Failed, "failed"}, {entry.NeverFired, "never fired"}} {
		if other.n > 0 {
			text += fmt.Sprintf(", %d %s", other.n, other.text)
		}
	}
	return strings.TrimPrefix(text, unknown+", ")
}

// recoveryEstimates are the columns of the table, in its order, with two lines of header.
var recoveryEstimates = []struct {
	name, header, unit string
	of                 func(results.Recovery) *results.Estimate
}{
	{"unavailable", "unavailable", "ms", func(r results.Recovery) *results.Estimate { return r.UnavailableMS }},
	{"detection", "detection", "ms", func(r results.Recovery) *results.Estimate { return r.DetectionMS }},
	{"election", "election", "ms", func(r results.Recovery) *results.Estimate { return r.ElectionMS }},
	{"rounds", "rounds", "", func(r results.Recovery) *results.Estimate { return r.Rounds }},
	{"elections", "elections", "", func(r results.Recovery) *results.Estimate { return r.Elections }},
	{"first commit", "first", "commit ms", func(r results.Recovery) *results.Estimate { return r.FirstCommitMS }},
	{"normal again", "normal", "again ms", func(r results.Recovery) *results.Estimate { return r.BackMS }},
	{"tcp", "tcp", "ms", func(r results.Recovery) *results.Estimate { return r.TCPMS }},
	{"protocol", "protocol", "ms", func(r results.Recovery) *results.Estimate { return r.ProtocolMS }},
	{"timeouts", "timeouts", "", func(r results.Recovery) *results.Estimate { return r.Timeouts }},
}

// recoverySheet says what each entry's faults cost.
func (p *page) recoverySheet(r entryRows) {
	s := r.sheet()
	var notes []string
	r.each(func(labels []string, point results.Point, entry results.FaultEntry) {
		recovery, ok := point.Recovery[entry.ID]
		if !ok {
			return
		}
		if note := recoveryNote(recovery); note != "" {
			notes = append(notes, r.at(point, entry.ID)+": "+note)
		}
		for _, estimate := range recoveryEstimates {
			labels = append(labels, estimateCell(estimate.of(recovery), estimate.unit == ""))
		}
		s.rows = append(s.rows, labels)
	})
	for _, estimate := range recoveryEstimates {
		s.columns = append(s.columns, sheetColumn{name: estimate.header, unit: estimate.unit})
	}
	p.sheet(s)
	p.someNotes(notes)
}

// noneCell stands where there was nothing to measure in any occurrence.
const noneCell = "none"

// estimateCell shows numbers of things with one decimal at most.
func estimateCell(e *results.Estimate, count bool) string {
	switch {
	case e == nil:
		return unknown
	case e.Mean == nil:
		return noneCell
	}
	decimals := decimalsRecovery(*e.Mean)
	if count {
		decimals = min(decimals, 1)
	}
	if e.CI95 == nil {
		text := strconv.FormatFloat(*e.Mean, 'f', decimals, 64)
		if e.LowerBound {
			text = ">=" + text
		}
		return text
	}
	half := (e.CI95[1] - e.CI95[0]) / 2
	if *e.Mean == 0 && half == 0 {
		return "0"
	}
	decimals = min(decimals, decimalsRecovery(half))
	return strconv.FormatFloat(*e.Mean, 'f', decimals, 64) + "+/-" + strconv.FormatFloat(half, 'f', decimals, 64)
}

// decimalsRecovery leaves about three digits: recovery varies more than latency.
func decimalsRecovery(value float64) int {
	switch size := math.Abs(value); {
	case size >= 100, size == 0:
		return 0
	case size >= 10:
		return 1
	}
	return 2
}

// recoveryNote says of which estimates some occurrences are censored or none.
func recoveryNote(recovery results.Recovery) string {
	var cut, absent []string
	for _, estimate := range recoveryEstimates {
		e := estimate.of(recovery)
		if e == nil {
			continue
		}
		if e.Censored > 0 && e.Censored < e.Occurrences {
			cut = append(cut, fmt.Sprintf("%s %d of %d", estimate.name, e.Censored, e.Occurrences))
		} else if e.Censored > 0 {
			cut = append(cut, estimate.name+" all "+strconv.Itoa(e.Censored))
		}
		if e.None > 0 && e.Occurrences > 0 {
			absent = append(absent, fmt.Sprintf("%s in %d of %d", estimate.name, e.Occurrences, e.Occurrences+e.None))
		}
	}
	var parts []string
	if len(cut) > 0 {
		parts = append(parts, "not over when the load ended or the next fault came: "+strings.Join(cut, ", "))
	}
	if len(absent) > 0 {
		parts = append(parts, strings.Join(absent, ", ")+" only")
	}
	return strings.Join(parts, "; ")
}

// phasesSheet compares latencies before, during and after each entry's faults.
func (p *page) phasesSheet(r entryRows) {
	s := r.sheet()
	r.each(func(labels []string, point results.Point, entry results.FaultEntry) {
		if recovery, ok := point.Recovery[entry.ID]; ok {
			s.rows = append(s.rows, append(labels, phaseCell(recovery.Before), phaseCell(recovery.During), phaseCell(recovery.After)))
		}
	})
	for _, name := range []string{"before", "during", "after"} {
		s.columns = append(s.columns, sheetColumn{name: name, unit: "mean / p50 / p99 ms"})
	}
	p.sheet(s)
}

func phaseCell(phase *results.PhaseLatency) string {
	if phase == nil {
		return unknown
	}
	percentile := func(value *float64) string {
		if value == nil {
			return timedOut
		}
		return milliseconds(*value)
	}
	return optional(phase.Mean, milliseconds) + " / " + percentile(phase.P50) + " / " + percentile(phase.P99)
}
