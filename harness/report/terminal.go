package report

import (
	"cmp"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// IsTerminal tells whether w is a terminal that can do more than append lines.
func IsTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd())) && os.Getenv("TERM") != "dumb"
}

// TerminalOptions are right for w: a terminal's width, and color unless the
// environment has NO_COLOR (https://no-color.org), and Unicode if the locale has
// it; DefaultWidth, no color and ASCII for anything else.
func TerminalOptions(w io.Writer) Options {
	options := Options{Width: DefaultWidth}
	if !IsTerminal(w) {
		return options
	}
	options.Color = os.Getenv("NO_COLOR") == ""
	options.Unicode = utf8Locale(os.Getenv)
	if width, _, err := term.GetSize(int(w.(*os.File).Fd())); err == nil && width > 0 {
		options.Width = width
	}
	return options
}

// utf8Locale tells whether the locale's characters are UTF-8: by the first of the
// variables that is set, as POSIX has it.
func utf8Locale(getenv func(string) string) bool {
	locale := strings.ToLower(cmp.Or(getenv("LC_ALL"), getenv("LC_CTYPE"), getenv("LANG")))
	return strings.Contains(locale, "utf-8") || strings.Contains(locale, "utf8")
}
