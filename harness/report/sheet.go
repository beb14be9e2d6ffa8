package report

import (
	"slices"
	"strings"

	"github.com/mattn/go-runewidth"
)

// sheet is a small table of texts. The first columns, labels of them, say what a row is
// about.
type sheet struct {
	labels  int
	columns []sheetColumn
	rows    [][]string
	// marked, if not nil, tells the rows that deserve attention.
	marked func(row int) bool
}

// sheetColumn is a column: flush left for words, flush right for numbers.
type sheetColumn struct {
	name, unit string
	left       bool
}

// maxSheetRows bounds the rows that are shown; summary.json has them all.
const maxSheetRows = 60

// sheet writes a table without the columns that say nothing. One that doesn't fit the
// width is cut between its columns, and the labels repeated; at last it is written as one
// block a row.
func (p *page) sheet(s sheet) {
	s.leaveOut()
	widths := make([]int, len(s.columns))
	labels := -2
	for i, column := range s.columns {
		widths[i] = max(runewidth.StringWidth(harmless(column.name)), runewidth.StringWidth(column.unit))
		for _, row := range s.rows {
			widths[i] = max(widths[i], runewidth.StringWidth(harmless(row[i])))
		}
		if i < s.labels {
			labels += 2 + widths[i]
		}
	}
	left := len(s.rows) - maxSheetRows
	s.rows = s.rows[:min(len(s.rows), maxSheetRows)]
	if most := slices.Max(append(widths[s.labels:], 0)); labels+2+most > p.width {
		p.sheetBlocks(s.columns, s.rows)
	} else {
		p.sheetParts(s, widths, labels)
	}
	if left > 0 {
		p.line("... and " + plural(left, "row") + " more, in summary.json")
	}
}

// sheetParts writes as many columns beside the labels as fit, then the next ones.
func (p *page) sheetParts(s sheet, widths []int, labels int) {
	for next := s.labels; next < len(s.columns); {
		chosen := make([]int, 0, len(s.columns))
		for i := range s.labels {
			chosen = append(chosen, i)
		}
		if next > s.labels {
			p.line("")
		}
		for width := labels; next < len(s.columns) && width+2+widths[next] <= p.width; next++ {
			width += 2 + widths[next]
			chosen = append(chosen, next)
		}
		p.sheetRows(s, widths, chosen)
	}
}

// leaveOut removes columns in which every row has the same nothing.
func (s *sheet) leaveOut() {
	for i := len(s.columns) - 1; i >= 0; i-- {
		if i < s.labels || slices.ContainsFunc(s.rows, func(row []string) bool { return row[i] != unknown && row[i] != "" }) {
			continue
		}
		s.columns = slices.Delete(s.columns, i, i+1)
		for r := range s.rows {
			s.rows[r] = slices.Delete(s.rows[r], i, i+1)
		}
	}
}

// sheetRows writes the chosen columns.
func (p *page) sheetRows(s sheet, widths, chosen []int) {
	line := func(color string, cells func(int) string) {
		var text strings.Builder
		for n, i := range chosen {
			cell := harmless(cells(i))
			pad := strings.Repeat(" ", max(0, widths[i]-runewidth.StringWidth(cell)))
			if n > 0 {
				text.WriteString("  ")
			}
			if s.columns[i].left {
				text.WriteString(cell + pad)
			} else {
				text.WriteString(pad + cell)
			}
		}
		if color == "" {
			p.line(text.String())
			return
		}
		p.colored(color, strings.TrimRight(text.String(), " "))
	}
	line(bold, func(i int) string { return s.columns[i].name })
	if slices.ContainsFunc(chosen, func(i int) bool { return s.columns[i].unit != "" }) {
		line("", func(i int) string { return s.columns[i].unit })
	}
	for r, row := range s.rows {
		color := ""
		if s.marked != nil && s.marked(r) {
			color = red
		}
		line(color, func(i int) string { return row[i] })
	}
}

func (p *page) sheetBlocks(columns []sheetColumn, rows [][]string) {
	width := 0
	names := make([]string, len(columns))
	for i, column := range columns {
		names[i] = harmless(column.name)
		if column.unit != "" {
			names[i] += " (" + column.unit + ")"
		}
		width = max(width, runewidth.StringWidth(names[i]))
	}
	for r, row := range rows {
		if r > 0 {
			p.line("")
		}
		for i := range columns {
			p.line(runewidth.FillRight(names[i], width) + "  " + row[i])
		}
	}
}
