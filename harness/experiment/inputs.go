package experiment

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"quorumlab/topologies"
)

// maxInputBytes bounds each file that an experiment names.
const maxInputBytes = 16 << 20

// Input is a file that an experiment names: a trace, a table or a topology.
type Input struct {
	// Path is as the experiment has it, Data the file's bytes.
	Path string
	Data []byte
}

// inputs reads the files that an experiment names, each once. Its methods may be
// called at the same time.
type inputs struct {
	// dir is where relative paths start.
	dir string

	mu     sync.Mutex
	files  []Input
	delays map[Delay]measured
	graphs map[string]parsedGraph
}

// parsedGraph is what a topology's file says where links are like these by default.
type parsedGraph struct {
	defaults topologies.Parameters
	topology *topologies.Topology
}

func newInputs(file string) *inputs {
	return &inputs{dir: filepath.Dir(file), delays: map[Delay]measured{}, graphs: map[string]parsedGraph{}}
}

// all lists the files that were read, in the order of their paths.
func (in *inputs) all() []Input {
	in.mu.Lock()
	defer in.mu.Unlock()
	return slices.SortedFunc(slices.Values(in.files), func(a, b Input) int { return strings.Compare(a.Path, b.Path) })
}

// read gives a file's bytes. The path of the field is for errors.
func (in *inputs) read(field, path string) ([]byte, error) {
	for _, file := range in.files {
		if file.Path == path {
			return file.Data, nil
		}
	}
	at := path
	if !filepath.IsAbs(path) {
		at = filepath.Join(in.dir, path)
	}
	data, err := readInput(at)
	if err != nil {
		return nil, &problem{path: field, message: fmt.Sprintf("%s is %s, which %s", field, printable(path), err), err: err}
	}
	in.files = append(in.files, Input{Path: path, Data: data})
	return data, nil
}

// inputError says why a file can't be read: the end of a sentence about it.
type inputError struct {
	text string
	err  error
}

func (e *inputError) Error() string { return e.text }
func (e *inputError) Unwrap() error { return e.err }

// readInput reads an ordinary file of bounded size.
func readInput(path string) ([]byte, error) {
	info, err := os.Stat(path) // opening a pipe would wait for its writer
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &inputError{"doesn't exist: want a file, its path seen from the experiment's", err}
	case err != nil:
		return nil, &inputError{"can't be read: " + cause(err), err}
	case !info.Mode().IsRegular():
		return nil, &inputError{text: "isn't an ordinary file: want one"}
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, &inputError{"can't be read: " + cause(err), err}
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxInputBytes+1))
	switch {
	case err != nil:
		return nil, &inputError{"can't be read: " + cause(err), err}
	case len(data) > maxInputBytes:
		return nil, &inputError{text: fmt.Sprintf("is larger than %s: want a smaller file", Bytes(maxInputBytes))}
	}
	return data, nil
}

// graph reads a topology's file.
func (in *inputs) graph(path string, defaults topologies.Parameters) (*topologies.Topology, error) {
	const field = "topology.file"
	in.mu.Lock()
	defer in.mu.Unlock()
	if known, ok := in.graphs[path]; ok && known.defaults == defaults {
		return known.topology, nil
	}
	data, err := in.read(field, path)
	if err != nil {
		return nil, err
	}
	t, err := topologies.Parse(path, data, defaults)
	if err != nil {
		return nil, &problem{path: field, message: field + ": " + plainly(err), err: err}
	}
	in.graphs[path] = parsedGraph{defaults, t}
	return t, nil
}

// delay makes a delay of what the experiment says; field is its path.
func (in *inputs) delay(field string, d Delay) (measured, error) {
	if d.Trace == "" && d.Table == "" {
		return measured{least: time.Duration(d.Constant)}, nil
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if known, ok := in.delays[d]; ok {
		return known, nil
	}
	made, err := in.measurements(field, d)
	if err == nil {
		in.delays[d] = made
	}
	return made, err
}

// measurements reads a trace or a table.
func (in *inputs) measurements(field string, d Delay) (m measured, err error) {
	refuse := func(field string, err error) error {
		return &problem{path: field, message: field + ": " + plainly(err), err: err}
	}
	if d.Table != "" {
		field = join(field, "table")
		data, err := in.read(field, d.Table)
		if err != nil {
			return m, err
		}
		if m.least, m.table, err = topologies.ParseTable(d.Table, data); err != nil {
			return m, refuse(field, err)
		}
		return m, nil
	}
	for _, choice := range []struct {
		key, value string
		allowed    []string
	}{
		{"align", d.Align, []string{"", topologies.AlignStart, topologies.AlignRandom}},
		{"gap", d.Gap, []string{"", topologies.GapHold, topologies.GapInterpolate, topologies.GapLose}},
	} {
		if !slices.Contains(choice.allowed, choice.value) {
			return m, &problem{path: join(field, choice.key), value: printable(choice.value), want: "one of " + list(choice.allowed[1:])}
		}
	}
	if d.GapAfter < 0 {
		return m, &problem{path: join(field, "gap_after"), value: d.GapAfter.String(), want: "a duration of at least 0, such as 1s; 0 is five times the median interval of the trace"}
	}
	data, err := in.read(join(field, "trace"), d.Trace)
	if err != nil {
		return m, err
	}
	align, gap := cmp.Or(d.Align, topologies.AlignStart), cmp.Or(d.Gap, topologies.GapHold)
	if m.least, m.trace, err = topologies.ParseTrace(d.Trace, data, align, gap, time.Duration(d.GapAfter)); err != nil {
		return m, refuse(join(field, "trace"), err)
	}
	if gaps := gapsOf(m.trace); gaps > 0 && d.Gap == "" {
		return m, &problem{path: join(field, "gap"), at: []string{join(field, "trace")},
			message: fmt.Sprintf("%s is %s, which has %s: rows without an answer, or more than %s apart", join(field, "trace"), printable(d.Trace), count(gaps, "gap"), Duration(m.trace.GapAfter)),
			want:    "gap: hold, interpolate or lose beside it"}
	}
	return m, nil
}

// gapsOf counts the rows after which there is a gap.
func gapsOf(t *topologies.Trace) int {
	gaps := 0
	for i, at := range t.Times {
		until := t.Period
		if i+1 < len(t.Times) {
			until = t.Times[i+1]
		}
		if t.Excess[i] < 0 || until-at > t.GapAfter {
			gaps++
		}
	}
	return gaps
}
