package report

import (
	"io"

	"github.com/mattn/go-runewidth"

	"quorumlab/harness/engine"
)

// Doctor writes what works on this machine, one line an engine or link
// executor, and under each that doesn't what would mend it.
func Doctor(w io.Writer, rows []engine.Readiness, options Options) error {
	if options.Width <= 0 {
		options.Width = DefaultWidth
	}
	page := &page{width: options.Width, color: options.Color}
	width := 0
	for _, row := range rows {
		width = max(width, runewidth.StringWidth(harmless(row.Name)))
	}
	for _, row := range rows {
		page.readiness(row, width)
	}
	_, err := w.Write(page.text.Bytes())
	return err
}

func (p *page) readiness(row engine.Readiness, width int) {
	color, state := green, "works"
	if !row.OK {
		color, state = red, "doesn't work"
	}
	p.colored(color, runewidth.FillRight(harmless(row.Name), width)+"  "+state)
	p.wrap("    ", row.Reason)
	if row.OK || len(row.Mend) == 0 {
		return
	}
	p.line("    to mend it, one of:")
	for _, line := range row.Mend {
		// Commands stay on one line, to be copied.
		p.line("      " + line)
	}
}
