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

// faults writes what broke and what it cost, if anything did.
func (p *page) faults(summary *results.Summary) {
	if !slices.ContainsFunc(summary.Points, func(p results.Point) bool { return len(p.Faults) > 0 }) {
		return
	}
	p.line("")
	p.faultsSheet(summary)
	if !slices.ContainsFunc(summary.Points, func(p results.Point) bool { return len(p.Recovery) > 0 }) {
		return
	}
	p.line("")
	p.recoverySheet(summary)
	p.line("")
	p.phasesSheet(summary)
}

// eachEntry visits every entry of every point's schedule, with what tells it from others.
func eachEntry(summary *results.Summary, visit func(labels []string, point results.Point, entry results.FaultEntry)) []sheetColumn {
	params := paramColumns(summary.Points)
	columns := make([]sheetColumn, 0, len(params)+1)
	for _, param := range params {
		columns = append(columns, sheetColumn{name: param.name, left: !param.numeric})
	}
	columns = append(columns, sheetColumn{name: "fault", left: true})
	for _, point := range summary.Points {
		for _, entry := range point.Faults {
			labels := make([]string, 0, len(columns))
			for _, param := range params {
				labels = append(labels, param.value(point))
			}
			visit(append(labels, entry.ID), point, entry)
		}
	}
	return columns
}

// faultsSheet says what broke, and whether that is proved.
func (p *page) faultsSheet(summary *results.Summary) {
	var s sheet
	var bad []bool
	s.columns = eachEntry(summary, func(labels []string, _ results.Point, entry results.FaultEntry) {
		s.rows = append(s.rows, append(labels, entry.Kind, hitCell(entry.Hit), rangeCell(entry.AppliedS),
			activeCell(entry), strconv.Itoa(entry.Occurrences), provedCell(entry)))
		bad = append(bad, !entry.Optional && (entry.Proved < entry.Occurrences || entry.NeverFired > 0))
	})
	s.labels = len(s.columns)
	s.columns = append(s.columns, sheetColumn{name: "kind", left: true}, sheetColumn{name: "hit", left: true},
		sheetColumn{name: "applied", unit: "at s"}, sheetColumn{name: "healed", unit: "after s"},
		sheetColumn{name: "fired"}, sheetColumn{name: "proved", left: true})
	s.marked = func(row int) bool { return bad[row] }
	p.sheet(s)
	if timing := summary.FaultTiming; timing != nil {
		p.wrap("", fmt.Sprintf("applied %s ms after the requested times at most, %s of %s within 5 ms",
			strconv.FormatFloat(timing.MaxMS, 'f', 2, 64), percent(timing.Within5MS), plural(timing.Faults, "fault")))
	}
	for _, point := range summary.Points {
		for _, entry := range point.Faults {
			if entry.Missing != "" {
				p.wrap("", entry.ID+atPoint(summary, point)+": "+entry.Missing)
			}
		}
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
	{"first commit", "first", "commit ms", func(r results.Recovery) *results.Estimate { return r.FirstCommitMS }},
	{"normal again", "normal", "again ms", func(r results.Recovery) *results.Estimate { return r.BackMS }},
	{"tcp", "tcp", "ms", func(r results.Recovery) *results.Estimate { return r.TCPMS }},
	{"protocol", "protocol", "ms", func(r results.Recovery) *results.Estimate { return r.ProtocolMS }},
	{"timeouts", "timeouts", "", func(r results.Recovery) *results.Estimate { return r.Timeouts }},
}

// recoverySheet says what each entry's faults cost.
func (p *page) recoverySheet(summary *results.Summary) {
	var s sheet
	var notes []string
	s.columns = eachEntry(summary, func(labels []string, point results.Point, entry results.FaultEntry) {
		recovery, ok := point.Recovery[entry.ID]
		if !ok {
			return
		}
		if note := recoveryNote(recovery); note != "" {
			notes = append(notes, entry.ID+atPoint(summary, point)+": "+note)
		}
		for _, estimate := range recoveryEstimates {
			labels = append(labels, estimateCell(estimate.of(recovery)))
		}
		s.rows = append(s.rows, labels)
	})
	s.labels = len(s.columns)
	for _, estimate := range recoveryEstimates {
		s.columns = append(s.columns, sheetColumn{name: estimate.header, unit: estimate.unit})
	}
	p.sheet(s)
	for _, note := range notes {
		p.wrap("", note)
	}
}

// noneCell stands where there was nothing to measure in any occurrence.
const noneCell = "none"

func estimateCell(e *results.Estimate) string {
	switch {
	case e == nil:
		return unknown
	case e.Mean == nil:
		return noneCell
	}
	decimals := decimalsRecovery(*e.Mean)
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
func (p *page) phasesSheet(summary *results.Summary) {
	var s sheet
	s.columns = eachEntry(summary, func(labels []string, point results.Point, entry results.FaultEntry) {
		if recovery, ok := point.Recovery[entry.ID]; ok {
			s.rows = append(s.rows, append(labels, phaseCell(recovery.Before), phaseCell(recovery.During), phaseCell(recovery.After)))
		}
	})
	s.labels = len(s.columns)
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
