package calibrate

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode"

	"quorumlab/results"
)

// Result is what a calibration found.
type Result struct {
	Experiment string `json:"experiment"`
	Engine     string `json:"engine"`
	// Links is the executor, LinksReason why it was chosen.
	Links       string `json:"links"`
	LinksReason string `json:"links_reason"`
	Seed        uint64 `json:"seed"`
	// Pass is true if nothing failed and the calibration wasn't interrupted.
	Pass bool `json:"pass"`
	// Complete is false if the calibration was interrupted, or failed; Phase is how far it
	// came then.
	Complete bool   `json:"complete"`
	Phase    string `json:"phase,omitempty"`
	// Checks have a row for each parameter of each direction.
	Checks []results.LinkCheck `json:"checks"`
}

// Count counts the rows with that finding.
func (r *Result) Count(finding string) int {
	count := 0
	for _, c := range r.Checks {
		if c.Finding == finding {
			count++
		}
	}
	return count
}

// Describe says in words what is wrong with a link.
func Describe(c results.LinkCheck) string {
	text := fmt.Sprintf("link %s from %s to %s: %s is %s, declared %s (%s to %s would do)", c.Link, c.From, c.To, what(c),
		number(c.Measured, c.Unit, true), number(c.Declared, c.Unit, true), number(c.Low, c.Unit, true), number(c.High, c.Unit, true))
	if c.Reason != "" {
		text += ": " + c.Reason
	}
	return text
}

// what names a row's parameter in words.
func what(c results.LinkCheck) string {
	switch {
	case c.Parameter == "jitter":
		return "the distance of the delays' distribution"
	case c.Parameter == "duplicate":
		return "the duplication"
	case c.Parameter == "corrupt":
		return "the corruption"
	case c.Parameter == "reorder":
		return "the share of reordered frames"
	case c.Parameter == "burst":
		return "the mean number of frames lost in a row"
	case c.Parameter == "trace":
		return "the share of frames off the trace"
	case c.Parameter == "reorder_correlation":
		return "the share of reordered frames that the next one follows"
	}
	return "the " + c.Parameter
}

// number shows a value of a row; shares as percentages.
func number(value float64, unit string, withUnit bool) string {
	space := ""
	if withUnit && unit != "" {
		space = " " + unit
	}
	switch {
	case math.IsInf(value, 0):
		return "any"
	case unit == "share":
		return strconv.FormatFloat(100*value, 'g', 3, 64) + "%"
	case unit == "ms":
		return strconv.FormatFloat(value, 'f', 3, 64) + space
	case unit == "bit/s":
		return rate(value)
	case unit == "bytes":
		return strconv.FormatFloat(value, 'f', 0, 64) + space
	case unit == "frames":
		return strconv.FormatFloat(value, 'g', 4, 64) + space
	}
	return strconv.FormatFloat(value, 'f', 2, 64) + space
}

func rate(bps float64) string {
	for _, scale := range []struct {
		of   float64
		name string
	}{{1e9, "gbit"}, {1e6, "mbit"}, {1e3, "kbit"}} {
		if bps >= scale.of {
			return strconv.FormatFloat(bps/scale.of, 'f', 3, 64) + scale.name
		}
	}
	return strconv.FormatFloat(bps, 'f', 0, 64) + "bit"
}

// off is how far the measured value is from the declared one.
func off(c results.LinkCheck) string {
	difference := c.Measured - c.Declared
	if math.Abs(difference) < 1e-9*math.Abs(c.Declared) {
		difference = 0 // but for rounding
	}
	text := number(math.Abs(difference), c.Unit, false)
	if difference < 0 {
		return "-" + text
	}
	return "+" + text
}

// Table writes the rows, those that failed marked, and what they come to.
func Table(w io.Writer, r *Result) error {
	rows := [][]string{{"link", "direction", "parameter", "declared", "measured", "allowed", "off by", "frames", "finding"}}
	var notes notes
	for _, c := range r.Checks {
		row := []string{c.Link, c.From + " > " + c.To, c.Parameter,
			number(c.Declared, c.Unit, true), number(c.Measured, c.Unit, true),
			number(c.Low, c.Unit, false) + " to " + number(c.High, c.Unit, false), off(c), strconv.Itoa(c.Frames), c.Finding}
		switch c.Finding {
		case results.LinkNotTested:
			row[3], row[4], row[5], row[6], row[8] = "-", "-", "-", "-", "not tested"
		case results.LinkFail:
			row[8] = "FAIL"
		}
		rows = append(rows, row)
		notes.add(c)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%s: engine %s, ", r.Experiment, r.Engine)
	if r.Links != "" {
		fmt.Fprintf(&text, "%s links (%s), ", r.Links, r.LinksReason)
	}
	fmt.Fprintf(&text, "seed %d\n", r.Seed)
	if !r.Complete {
		fmt.Fprintf(&text, "INCOMPLETE: the calibration ended while %s\n", r.Phase)
	}
	text.WriteString("\n")
	if len(r.Checks) > 0 {
		writeRows(&text, rows)
	}
	notes.write(&text)
	fmt.Fprintf(&text, "\n%s\n", r.verdict())
	_, err := io.WriteString(w, harmless(text.String()))
	return err
}

// notes are the rows' reasons, each of them once.
type notes struct {
	order []string
	rows  map[string][]results.LinkCheck
}

func (n *notes) add(c results.LinkCheck) {
	if c.Reason == "" {
		return
	}
	key := c.Parameter + ": " + c.Reason
	if n.rows == nil {
		n.rows = map[string][]results.LinkCheck{}
	}
	if n.rows[key] == nil {
		n.order = append(n.order, key)
	}
	n.rows[key] = append(n.rows[key], c)
}

func (n *notes) write(text *strings.Builder) {
	for i, key := range n.order {
		if i == 0 {
			text.WriteString("\n")
		}
		first := n.rows[key][0]
		fmt.Fprintf(text, "%s %s > %s", first.Link, first.From, first.To)
		if more := len(n.rows[key]) - 1; more > 0 {
			fmt.Fprintf(text, " and %d more", more)
		}
		fmt.Fprintf(text, ", %s\n", key)
	}
}

func (r *Result) verdict() string {
	failed, untested := r.Count(results.LinkFail), r.Count(results.LinkNotTested)
	text := fmt.Sprintf("%d of %d checks pass", r.Count(results.LinkPass), len(r.Checks))
	if untested > 0 {
		text += fmt.Sprintf(", %d not tested", untested)
	}
	switch {
	case failed > 0 && r.Complete:
		return text + fmt.Sprintf(", %d FAIL: the links aren't as declared", failed)
	case failed > 0:
		return text + fmt.Sprintf(", %d FAIL: the links aren't as declared; INCOMPLETE: the calibration wasn't finished", failed)
	case !r.Complete:
		return text + "; INCOMPLETE: the calibration wasn't finished"
	case untested > 0:
		return text + ": what was tested is as declared"
	}
	return text + ": the links are as declared"
}

// writeRows writes columns, numbers flush right.
func writeRows(text *strings.Builder, rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	for _, row := range rows {
		line := ""
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-len([]rune(cell)))
			if i < 3 || i == len(row)-1 {
				line += cell + pad + "  "
			} else {
				line += pad + cell + "  "
			}
		}
		text.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

// harmless replaces what could do something to a terminal.
func harmless(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, text)
}
