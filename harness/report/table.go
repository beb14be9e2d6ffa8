// Package report shows results to people: the table of a finished run, the
// progress of a running one, what works on this machine. It derives everything
// from what it is given, computes no statistics of its own, and writes plain
// ASCII apart from names that aren't, and plots on terminals that know more. Names and reasons can't smuggle control
// sequences into the terminal.
package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/mattn/go-runewidth"

	"quorumlab/results"
)

// Options say what the terminal can do; see TerminalOptions.
type Options struct {
	// Width is in columns; 0 means DefaultWidth.
	Width int
	// Color allows ANSI colors, Unicode characters beyond ASCII.
	Color   bool
	Unicode bool
}

// DefaultWidth is for output that isn't a terminal, in columns.
const DefaultWidth = 100

// Table writes a run's results: a headline, a table with one row a point, what broke and
// what that cost, what to know about it, and whether the run counts. A table that doesn't fit the
// width is written more tersely, at last as one block a point. FolderPath is
// where the data are.
func Table(w io.Writer, summary *results.Summary, folderPath string, options Options) error {
	if options.Width <= 0 {
		options.Width = DefaultWidth
	}
	page := &page{width: options.Width, color: options.Color}
	page.wrap("", headline(summary))
	page.line("")
	density := page.points(summary)
	page.faults(summary)
	if notes := notes(summary, density, folderPath); len(notes) > 0 {
		page.line("")
		for _, note := range notes {
			page.wrap("", note)
		}
	}
	page.line("")
	page.verdict(summary, folderPath)
	_, err := w.Write(page.text.Bytes())
	return err
}

// JSON writes the summary as summary.json has it.
func JSON(w io.Writer, summary *results.Summary) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(summary)
}

func headline(summary *results.Summary) string {
	attempted := 0
	for _, point := range summary.Points {
		attempted += point.Attempted
	}
	engine := summary.Engine + " engine"
	if summary.Simulated {
		engine += " (" + results.LabelSimulated + ": virtual time, no real network)"
	}
	parts := []string{engine}
	if summary.Links != "" {
		parts = append(parts, summary.Links+" links")
	}
	trials := plural(attempted, "trial")
	if planned := summary.Repeat * len(summary.Points); attempted < planned {
		trials = fmt.Sprintf("%d of %s", attempted, plural(planned, "trial"))
	}
	if len(summary.Points) > 1 {
		trials += fmt.Sprintf(" at %d points", len(summary.Points))
	}
	parts = append(parts, trials, fmt.Sprintf("seed %d", summary.Seed))
	return summary.Experiment + ": " + strings.Join(parts, ", ")
}

// notes are what a reader must know to read the table rightly.
func notes(summary *results.Summary, density density, folderPath string) []string {
	var notes []string
	single, several, limited := false, false, false
	for _, point := range summary.Points {
		single = single || point.Trials == 1
		several = several || point.Trials > 1
		limited = limited || point.ClientLimited
		notes = append(notes, violations(summary, point, folderPath)...)
	}
	if several {
		sign := "[low, high]"
		if density == terse || density == dense {
			sign = "+/-"
		}
		if sign != "+/-" && slices.ContainsFunc(summary.Points, func(p results.Point) bool { return len(p.Recovery) > 0 }) {
			sign += ", +/-"
		}
		notes = append(notes, sign+": 95% confidence interval of the mean over trials, by Student's t")
	}
	if single {
		notes = append(notes, "one trial: no confidence interval")
	}
	if limited {
		notes = append(notes, "the client was the bottleneck: throughput is a lower bound")
	}
	if note := historyNote(summary); note != "" {
		notes = append(notes, note)
	}
	if note := linksNote(summary); note != "" {
		notes = append(notes, note)
	}
	if note := transportNote(summary); note != "" {
		notes = append(notes, note)
	}
	if note := capturedNote(summary); note != "" {
		notes = append(notes, note)
	}
	if summary.Simulated && summary.EngineReason != "" && summary.EngineReason != "asked for" {
		notes = append(notes, results.LabelSimulated+" because "+summary.EngineReason)
	}
	return notes
}

// violations say what was violated at a point, and where to look.
func violations(summary *results.Summary, point results.Point, folderPath string) []string {
	var notes []string
	if point.Agreement == results.FindingViolation {
		notes = append(notes, "AGREEMENT VIOLATED"+atPoint(summary, point)+": replicas have decided differently or have different states")
	}
	if point.Linearizable == results.FindingViolation {
		notes = append(notes, "NOT LINEARIZABLE"+atPoint(summary, point))
	}
	if len(notes) > 0 && len(point.Violations) > 0 {
		see := "see " + filepath.Join(folderPath, filepath.FromSlash(point.Violations[0]))
		if more := len(point.Violations) - 1; more > 0 {
			see += fmt.Sprintf(" (and %d more, listed in summary.json)", more)
		}
		notes = append(notes, see)
	}
	return notes
}

// historyNote is the finding about the points' histories if they share one; if
// they don't, the table has a column of it.
func historyNote(summary *results.Summary) string {
	shared, finding := sharedFinding(summary.Points)
	if !shared || finding == unknown {
		return ""
	}
	operations := 0
	for _, point := range summary.Points {
		operations += point.CheckedOperations
	}
	note := "linearizable: " + finding
	if operations > 0 {
		note += ", " + plural(operations, "operation")
		if finding == results.FindingOK || finding == violated {
			note += " checked"
		}
	}
	return note
}

func atPoint(summary *results.Summary, point results.Point) string {
	var where []string
	for _, param := range paramColumns(summary.Points) {
		where = append(where, param.name+"="+param.value(point))
	}
	if len(where) == 0 {
		return ""
	}
	return " at " + strings.Join(where, ", ")
}

// linksNote says how well the links kept to their declaration.
func linksNote(summary *results.Summary) string {
	var worst *float64
	var late, dropped uint64
	for _, point := range summary.Points {
		if p99 := point.Links.RTTErrorMSP99; p99 != nil && (worst == nil || *p99 > *worst) {
			worst = p99
		}
		late += point.Links.LateFrames
		dropped += point.Links.DroppedByEmulator
	}
	var parts []string
	if worst != nil {
		parts = append(parts, "round trips within "+milliseconds(*worst)+" ms of the declared ones (99%)")
	}
	if late > 0 {
		parts = append(parts, plural(late, "frame")+" over 1 ms late")
	}
	if dropped > 0 {
		parts = append(parts, plural(dropped, "frame")+" lost by the emulator itself")
	}
	if len(parts) == 0 {
		return ""
	}
	return "links: " + strings.Join(parts, ", ")
}

// transportNote tells frames that links lost from messages that were lost: TCP sends
// the former again, so that they are late, not lost. It is empty if neither happened.
func transportNote(summary *results.Summary) string {
	var sum results.Transport
	for _, point := range summary.Points {
		if t := point.Transport; t != nil {
			sum.CongestionControl, sum.SlowStartAfterIdle = t.CongestionControl, t.SlowStartAfterIdle
			sum.Retransmitted += t.Retransmitted
			sum.FramesLost += t.FramesLost
			sum.MessagesLost += t.MessagesLost
		}
	}
	if sum.FramesLost+sum.Retransmitted+sum.MessagesLost == 0 {
		return ""
	}
	note := fmt.Sprintf("loss: links lost %s, TCP sent %s again", plural(sum.FramesLost, "frame"), plural(sum.Retransmitted, "segment"))
	if sum.CongestionControl != "" {
		note += " (" + sum.CongestionControl
		if sum.SlowStartAfterIdle {
			note += ", slow start after idle"
		}
		note += ")"
	}
	return note + ", nodes lost " + plural(sum.MessagesLost, "message")
}

// capturedNote labels a run whose frames were captured.
func capturedNote(summary *results.Summary) string {
	for _, point := range summary.Points {
		if point.Captured {
			return "CAPTURED: frames were written to files meanwhile, which takes time; compare with a run without capture"
		}
	}
	return ""
}

// page is the text written so far.
type page struct {
	text  bytes.Buffer
	width int
	color bool
}

// ANSI sequences.
const (
	bold  = "\x1b[1m"
	red   = "\x1b[1;31m"
	green = "\x1b[32m"
	reset = "\x1b[0m"
)

// line writes a line and makes it harmless.
func (p *page) line(text string) {
	p.text.WriteString(strings.TrimRight(harmless(text), " "))
	p.text.WriteByte('\n')
}

// colored writes a line in a color.
func (p *page) colored(color, text string) {
	if !p.color {
		p.line(text)
		return
	}
	p.text.WriteString(color + harmless(text) + reset + "\n")
}

// wrap writes words in lines that fit, the later ones indented by two more than
// the first. A word that is longer than a line stays whole.
func (p *page) wrap(indent, text string) {
	line := indent
	empty := true
	for _, word := range strings.Fields(harmless(text)) {
		if !empty && runewidth.StringWidth(line)+1+runewidth.StringWidth(word) > p.width {
			p.line(line)
			line, empty = indent+"  ", true
		}
		if !empty {
			line += " "
		}
		line += word
		empty = false
	}
	p.line(line)
}

func (p *page) verdict(summary *results.Summary, folderPath string) {
	if summary.Valid {
		p.colored(green, "valid")
		p.line(folderPath)
		return
	}
	p.colored(red, "VOID")
	for _, reason := range summary.VoidReasons {
		p.wrap("  ", reason)
	}
	if summary.Mend != "" {
		p.wrap("", "to mend it: "+summary.Mend)
	}
	p.line("what was measured is kept in " + folderPath)
}

// harmless replaces what isn't printable.
func harmless(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t', r == '\r':
			return ' '
		case unicode.IsPrint(r):
			return r
		}
		return '?'
	}, text)
}

func plural[N int | uint64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
