package experiment

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Error says what is wrong with an experiment file or an override of it, where,
// and what would be right. Reading a bad experiment gives exactly one.
type Error struct {
	// File is the path as it was given.
	File string
	// Line and Column count from 1, Column in characters; both are 0 if the
	// error is about the file as a whole.
	Line, Column int
	// Flag is the command-line override to blame instead of the file, such as
	// "--set topology.link.delay=-5ms".
	Flag string
	// Path is the dotted path of the field, empty if there is none.
	Path string
	// Value is the bad value as written, Want what would be right.
	Value, Want string
	// Message is what is wrong where "Path is Value: want Want" doesn't say it.
	Message string
	// Err is the cause, if another package reported it.
	Err error
}

// Error is one line: where, what, and what would be right.
func (e *Error) Error() string {
	where := e.File
	switch {
	case e.Flag != "":
		where = e.Flag
	case e.Line > 0:
		where = fmt.Sprintf("%s:%d:%d", e.File, e.Line, e.Column)
	}
	text := e.Message
	if text == "" {
		text = fmt.Sprintf("%s is %s: want %s", printable(e.Path), e.Value, e.Want)
	}
	return oneLine.Replace(where + ": " + text)
}

var oneLine = strings.NewReplacer("\r", `\r`, "\n", `\n`, "\t", `\t`)

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// origin is where a value or a key stands.
type origin struct {
	line, column int
	// flag is the override that it comes from, if any.
	flag string
	// swept is true for a value that a sweep has put in its place.
	swept bool
}

// errorAt makes an error about what stands there.
func errorAt(file string, at origin, e Error) *Error {
	e.File = file
	e.Flag = at.flag
	if at.flag == "" {
		e.Line, e.Column = at.line, at.column
	}
	return &e
}

// unknownKey says that a key doesn't exist, and which was meant: a similar one
// of its siblings, the one field elsewhere that has this name, or any sibling.
func unknownKey(file string, at origin, parent, key string, siblings []string) *Error {
	path := join(parent, key)
	want := "no key here"
	if len(siblings) > 0 {
		want = "want one of " + strings.Join(siblings, ", ")
	}
	if meant := nearest(key, siblings); meant != "" {
		want = "did you mean " + join(parent, meant) + "?"
	} else if elsewhere := fieldsNamed(key); len(elsewhere) == 1 {
		want = "did you mean " + elsewhere[0] + "?"
	}
	return errorAt(file, at, Error{
		Path: path, Want: want, Message: "unknown key " + printable(path) + ": " + want,
	})
}

// join puts a key behind a dotted path.
func join(parent, key string) string {
	if parent == "" {
		return key
	}
	return parent + "." + key
}

// printable shows a text in an error: as it is if that is clear, else quoted,
// and never at great length.
func printable(text string) string {
	const longest = 80
	if runes := []rune(text); len(runes) > longest {
		text = string(runes[:longest]) + "..."
	}
	odd := func(r rune) bool { return !unicode.IsPrint(r) }
	if text == "" || strings.TrimSpace(text) != text || strings.ContainsFunc(text, odd) {
		return fmt.Sprintf("%q", text)
	}
	return text
}

// nearest finds the candidate that a mistyped word most likely stands for, or
// none: at most a third of the letters may be wrong.
func nearest(word string, candidates []string) string {
	best, least := "", max(1, len(word)/3)+1
	for _, candidate := range slices.Sorted(slices.Values(candidates)) {
		if d := editDistance(word, candidate); d < least {
			best, least = candidate, d
		}
	}
	return best
}

// editDistance counts the letters to insert, remove or change, and the
// neighbours to swap, to make b of a.
func editDistance(a, b string) int {
	const longest = 64 // no key of ours comes near; keeps hostile ones cheap
	if len(a) > longest || len(b) > longest {
		return longest
	}
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := last[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(change, last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
