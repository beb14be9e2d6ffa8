package report

import (
	"io"
	"os"

	"golang.org/x/term"
)

// IsTerminal tells whether w is a terminal that can do more than append lines.
func IsTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd())) && os.Getenv("TERM") != "dumb"
}

// TerminalOptions are right for w: a terminal's width, and color unless the
// environment has NO_COLOR (https://no-color.org); DefaultWidth and no color
// for anything else.
func TerminalOptions(w io.Writer) Options {
	options := Options{Width: DefaultWidth}
	if !IsTerminal(w) {
		return options
	}
	options.Color = os.Getenv("NO_COLOR") == ""
	if width, _, err := term.GetSize(int(w.(*os.File).Fd())); err == nil && width > 0 {
		options.Width = width
	}
	return options
}
