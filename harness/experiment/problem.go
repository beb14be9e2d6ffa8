package experiment

import (
	"fmt"
	"strings"
)

// problem says what is wrong with a spec's topology, and which fields may be to blame.
// The checker, which knows where they stand in the file, makes an Error of it.
type problem struct {
	// path is the field to name. If it is empty it is the first of at that the file
	// has, or else the first.
	path string
	// at are the fields to point at, the likeliest first; without any it is path.
	at []string
	// value is what the field is if the file doesn't say it, want what would be right.
	value, want string
	// message replaces "path is value"; a comma and what is wanted follow it.
	message string
	err     error
}

// Error is the problem without its place.
func (p *problem) Error() string {
	text := p.message
	if text == "" {
		text = fmt.Sprintf("%s is %s", p.path, p.value)
	}
	if p.want == "" {
		return text
	}
	return text + ": want " + p.want
}

func (p *problem) Unwrap() error { return p.err }

// problem says where in the file a problem is.
func (c checker) problem(p *problem) error {
	fields := p.at
	if len(fields) == 0 {
		fields = []string{p.path}
	}
	blamed := fields[0]
	for _, field := range fields {
		if _, exact := c.root.find(field); exact {
			blamed = field
			break
		}
	}
	e := Error{Path: p.path, Value: p.value, Want: p.want, Message: p.message, Err: p.err}
	if e.Path == "" {
		e.Path = blamed
	}
	at, exact := c.root.find(blamed)
	if exact && at.value.kind == kindScalar {
		e.Value = at.value.describe()
	}
	if p.message != "" && p.want != "" {
		e.Message += ": want " + p.want
	}
	where := at.value.blame()
	if !exact {
		where = at.at
	}
	return errorAt(c.file, where, e)
}

// plainly is the text of an error of package topologies without that it is about one.
func plainly(err error) string {
	return strings.TrimPrefix(err.Error(), "topology: ")
}
