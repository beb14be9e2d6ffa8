package experiment

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

const sweepKey = "sweep"

// maxTrials bounds a plan: beyond it, something was meant differently.
const maxTrials = 100_000

// Param is the value of one swept field.
type Param struct {
	Path  string
	Value any
}

// Params are the swept values of a point, in the order of the sweep. In JSON
// they are an object in that order.
type Params []Param

// MarshalJSON writes an object with the paths as its keys, in order.
func (p Params) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, param := range p {
		if i > 0 {
			b.WriteByte(',')
		}
		key, err := json.Marshal(param.Path)
		if err != nil {
			return nil, fmt.Errorf("encode the swept path %s: %w", param.Path, err)
		}
		value, err := json.Marshal(param.Value)
		if err != nil {
			return nil, fmt.Errorf("encode the swept value of %s: %w", param.Path, err)
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// Map gives the values by path.
func (p Params) Map() map[string]any {
	m := make(map[string]any, len(p))
	for _, param := range p {
		m[param.Path] = param.Value
	}
	return m
}

// String shows the values on a line, such as "topology.link.delay=20ms".
func (p Params) String() string {
	parts := make([]string, len(p))
	for i, param := range p {
		parts[i] = param.Path + "=" + ValueText(param.Value)
	}
	return strings.Join(parts, " ")
}

// ValueText shows a value of a sweep, as read from YAML or JSON, like YAML on a line, keys
// in alphabetical order: {delay: 10ms, loss: 1%}. Texts have no quotes.
func ValueText(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case map[string]any:
		parts := make([]string, 0, len(v))
		for _, key := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, key+": "+ValueText(v[key]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case []any:
		parts := make([]string, 0, len(v))
		for _, item := range v {
			parts = append(parts, ValueText(item))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	text, err := json.Marshal(value)
	if err != nil {
		panic("experiment: a swept value that has no JSON: " + err.Error())
	}
	return string(text)
}

// axis is a swept field whose values know where they stand.
type axis struct {
	path string
	// numbered is the path with a dot behind it, and no IDs of faults in it.
	numbered string
	at       origin
	values   []*node
}

func (a axis) public() Axis {
	public := Axis{Path: a.path}
	for _, value := range a.values {
		public.Values = append(public.Values, value.plain())
	}
	return public
}

func (l *loader) sweepNoMapping(n *node) error {
	return errorAt(l.file, n.at, Error{Path: sweepKey, Value: n.describe(),
		Want: "a mapping of dotted paths to lists, such as topology.link.delay: [10ms, 20ms]"})
}

// axes reads the sweep.
func (l *loader) axes(sweep entry) ([]axis, error) {
	if sweep.value == nil || sweep.value.kind == kindNull {
		return nil, nil
	}
	if sweep.value.kind != kindMapping {
		return nil, l.sweepNoMapping(sweep.value)
	}
	var axes []axis
	for _, e := range sweep.value.entries {
		a := axis{path: e.key, numbered: l.root.numbered(e.key) + ".", at: e.at, values: e.value.items}
		if err := l.checkAxis(a, e.value); err != nil {
			return nil, err
		}
		for _, other := range axes {
			if strings.HasPrefix(a.numbered, other.numbered) || strings.HasPrefix(other.numbered, a.numbered) {
				return nil, errorAt(l.file, a.at, Error{Path: a.path, Want: "one of the two",
					Message: fmt.Sprintf("%s and %s can't both be swept: one is part of the other", other.path, a.path)})
			}
		}
		axes = append(axes, a)
	}
	return axes, nil
}

// wholeRun are the fields that hold for all points of a run, and what to do
// instead of sweeping them. A run has one manifest, which names one engine.
var wholeRun = map[string]string{
	sweepKey:  "a field of what is measured, such as topology.link.delay",
	"version": "version: 1 for the whole file",
	"name":    "one name a run",
	"seed":    "one seed a run; its trials have seeds of their own, and repeat makes more of them",
	"repeat":  "one number a run, of trials of each point",
	"engine":  "one engine a run, outside the sweep: engine: " + EngineSim + " or another",
}

// neverSwept says what to do instead of sweeping the path; it is empty if that
// may be swept.
func neverSwept(path string) string {
	first, _, _ := strings.Cut(path, ".")
	return wholeRun[first]
}

// checkAxis refuses what can't be swept.
func (l *loader) checkAxis(a axis, list *node) error {
	if want := neverSwept(a.path); want != "" {
		return errorAt(l.file, a.at, Error{Path: join(sweepKey, a.path), Want: want,
			Message: fmt.Sprintf("%s can't be swept: want %s", printable(a.path), want)})
	}
	if err := checkPath(l.file, a.at, a.path); err != nil {
		return err
	}
	want := "a list of values, such as [1, 2]"
	if list.kind != kindList {
		return errorAt(l.file, list.at, Error{Path: join(sweepKey, a.path), Value: list.describe(), Want: want})
	}
	if len(list.items) == 0 {
		return errorAt(l.file, list.at, Error{Path: join(sweepKey, a.path), Value: "an empty list", Want: want})
	}
	seen := map[string]bool{}
	for _, value := range a.values {
		text, err := json.Marshal(value.plain())
		if err != nil {
			return fmt.Errorf("encode a value of the sweep of %s: %w", a.path, err)
		}
		if seen[string(text)] {
			return errorAt(l.file, value.at, Error{Path: join(sweepKey, a.path), Value: value.describe(), Want: "each value once",
				Message: fmt.Sprintf("%s has %s twice: want each value once; repeat says how often a point is tried", join(sweepKey, a.path), value.describe())})
		}
		seen[string(text)] = true
	}
	return nil
}

// points makes every combination, the last axis varying fastest, and checks
// each.
func (l *loader) points(axes []axis, at origin, repeat int) ([]Point, error) {
	count := 1
	for _, a := range axes {
		// Nothing overflows: repeat is at most maxTrials, a file has at most
		// maxTokens values.
		if count *= len(a.values); count*repeat > maxTrials {
			return nil, errorAt(l.file, at, Error{Path: sweepKey, Want: "fewer values or repeats",
				Message: fmt.Sprintf("sweep makes more than %d trials, each point repeated %d times: want fewer values or repeats", maxTrials, repeat)})
		}
	}
	points := make([]Point, 0, count)
	for index := range count {
		root, params, err := l.combine(axes, index)
		if err != nil {
			return nil, err
		}
		spec, err := l.decode(root)
		if err != nil {
			return nil, err
		}
		if err := l.checkPoint(root, spec, index, params).all(); err != nil {
			return nil, err
		}
		points = append(points, Point{Index: index, Params: params, Spec: spec})
	}
	return points, nil
}

// combine puts the index-th combination of values in their places.
func (l *loader) combine(axes []axis, index int) (*node, Params, error) {
	params := make(Params, len(axes))
	chosen := make([]*node, len(axes))
	for i := len(axes) - 1; i >= 0; i-- {
		values := axes[i].values
		chosen[i] = values[index%len(values)]
		index /= len(values)
		params[i] = Param{Path: axes[i].path, Value: chosen[i].plain()}
	}
	root := l.root
	for i, a := range axes {
		value := *chosen[i]
		value.at.swept = true
		changed, obstacle, path := root.with(a.path, &value)
		if obstacle != nil {
			return nil, nil, l.inTheWay(obstacle, path, a.path, "the sweep of "+a.path)
		}
		root = changed
	}
	return root, params, nil
}
