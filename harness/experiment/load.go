package experiment

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
)

// Overrides are what the command line changes of an experiment file, and what
// the reader has to know of the world.
type Overrides struct {
	// Set has elements "dotted.path=value", the value in YAML. They apply in
	// order. "sweep.dotted.path=[...]" replaces or adds a swept field.
	Set []string
	// Seed, Repeat and Engine replace the fields of that name unless nil or
	// empty.
	Seed   *uint64
	Repeat *int
	Engine string
	// Limits says how many hosts an engine takes, and whether it knows the
	// engine. It is asked for "auto" too; not known then means no limit. Nil
	// knows every engine and sets no limit.
	Limits func(engine string) (maxHosts int, known bool)
	// Engines are the names to suggest for an unknown engine.
	Engines []string
}

// Source is an experiment that has been read and found good, all of it.
type Source struct {
	// File is the path as given, Data the file's bytes.
	File string
	Data []byte
	// Inputs are the files that the experiment names, in the order of their paths.
	Inputs []Input
	// Overrides are those applied, as on the command line: "--set a.b=c".
	Overrides []string
	// Spec has the defaults filled in and the sweep listed, but not applied.
	Spec *Spec
	// Points are all combinations of the swept values, the last swept field
	// varying fastest; one point without parameters if nothing is swept.
	Points []Point

	// loader and axes are what it was read with.
	loader *loader
	axes   []axis
}

// Point is one combination of swept values.
type Point struct {
	// Index counts from 0.
	Index int
	// Params are the swept values, in the order of the sweep.
	Params Params
	// Spec has the values in their places; its Sweep is empty.
	Spec *Spec
}

// Load reads an experiment file, or a file of Coracle as the experiment that it
// means. Whatever is wrong with the file or the
// overrides, the error is one *Error that says where.
func Load(path string, overrides Overrides) (*Source, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, data, overrides)
}

func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, openError(path, err)
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.IsDir() {
		return nil, errorAt(path, origin{}, Error{Message: "is a directory: want an experiment file"})
	}
	data, err := io.ReadAll(io.LimitReader(file, maxFileBytes+1))
	if err != nil {
		return nil, errorAt(path, origin{}, Error{Message: "cannot be read: " + cause(err), Err: err})
	}
	return data, nil
}

func openError(path string, err error) error {
	message := "cannot be opened: " + cause(err)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		message = "no such file: want an experiment file; bench init writes one"
	case errors.Is(err, fs.ErrPermission):
		message = "permission denied: want an experiment file that you may read"
	}
	return errorAt(path, origin{}, Error{Message: message, Err: err})
}

// cause is the system's message without the path, which stands before it.
func cause(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}

// Parse reads an experiment, or a file of Coracle, from memory; name is what
// errors call the file, and its base is the experiment's name by default.
func Parse(name string, data []byte, overrides Overrides) (*Source, error) {
	l := &loader{file: name, overrides: overrides, inputs: newInputs(name), goodTopologies: map[string]bool{}}
	source, err := l.load(data)
	if err != nil && l.coracle != nil {
		err = l.coracle.rename(err)
	}
	return source, err
}

// load reads the experiment and makes its points.
func (l *loader) load(data []byte) (*Source, error) {
	root, err := l.tree(data)
	if err != nil {
		return nil, err
	}
	source := &Source{File: l.file, Data: data, Overrides: l.applied}
	sweep, _ := root.entry(sweepKey)
	l.root = root.without(sweepKey)
	if source.Spec, err = l.decode(l.root); err != nil {
		return nil, err
	}
	if err := l.check(l.root, source.Spec).run(); err != nil {
		return nil, err
	}
	axes, err := l.axes(sweep)
	if err != nil {
		return nil, err
	}
	for _, a := range axes {
		source.Spec.Sweep = append(source.Spec.Sweep, a.public())
	}
	if source.Points, err = l.points(axes, sweep.at, source.Spec.Repeat); err != nil {
		return nil, err
	}
	if err := l.checkSections(source); err != nil {
		return nil, err
	}
	source.Inputs = l.inputs.all()
	source.loader, source.axes = l, axes
	return source, nil
}

// CheckOn refuses, with an *Error as Load's, an experiment whose schedule an engine can't
// carry out: for where the experiment says auto, and it turns out which that is.
func (s *Source) CheckOn(engine string) error {
	for _, point := range s.Points {
		if len(point.Spec.Faults) == 0 || point.Spec.Engine != EngineAuto {
			continue
		}
		root, params, err := s.loader.combine(s.axes, point.Index)
		if err != nil {
			return err
		}
		if err := s.loader.checkPoint(root, point.Spec, point.Index, params).schedule(engine); err != nil {
			return err
		}
	}
	return nil
}

// checkSections refuses sections that would be in vain: those of a kind of topology that
// no point has, unless the command line chose another. Those that have a default are
// left alone.
func (l *loader) checkSections(source *Source) error {
	kinds := map[string]bool{}
	for _, point := range source.Points {
		kinds[point.Spec.Topology.Kind] = true
	}
	kind, exact := l.root.find("topology.kind")
	if exact && kind.value.at.flag != "" {
		return nil
	}
	topology := source.Spec.Topology
	given := map[string]bool{
		KindWAN:    !reflect.ValueOf(topology.WAN).IsZero(),
		KindCustom: !reflect.ValueOf(topology.Custom).IsZero(),
		KindFile:   topology.File != "",
	}
	for _, section := range []string{KindWAN, KindCustom, KindFile} {
		path := join("topology", section)
		if e, exact := l.root.find(path); exact && given[section] && !kinds[section] {
			return errorAt(l.file, e.at, Error{Path: path, Want: "topology.kind: " + section,
				Message: fmt.Sprintf("%s is given, and topology.kind is %s: want topology.kind: %s", path, source.Spec.Topology.Kind, section)})
		}
	}
	return nil
}

// loader reads one experiment.
type loader struct {
	file      string
	overrides Overrides
	// applied are the overrides as on the command line.
	applied []string
	// root is the experiment without its sweep, overrides applied.
	root *node
	// coracle is what the experiment was made from, if it was.
	coracle *coracle
	// inputs are the files that it names.
	inputs *inputs
	// goodTopologies are those of points that have been checked.
	goodTopologies map[string]bool
}

// tree parses the file and applies the overrides.
func (l *loader) tree(data []byte) (*node, error) {
	if text := strings.TrimSpace(string(data)); strings.HasPrefix(text, "<") && len(data) <= maxFileBytes {
		return nil, errorAt(l.file, origin{}, Error{Message: "looks like HTML or XML: want an experiment in YAML"})
	}
	root, err := (&reader{file: l.file}).read(data)
	if err != nil {
		return nil, err
	}
	if root.kind == kindNull {
		return nil, errorAt(l.file, origin{}, Error{Message: "is empty: want an experiment; bench init writes one"})
	}
	if root.kind != kindMapping {
		return nil, (decoder{l.file}).object(root, "", reflect.ValueOf(Spec{}))
	}
	if isCoracle(root) {
		l.coracle = &coracle{decoder: decoder{l.file}, root: root, names: map[string]string{}}
		if root, err = l.coracle.experiment(); err != nil {
			return nil, err
		}
	}
	if err := l.checkVersion(root); err != nil {
		return nil, err
	}
	return l.override(root)
}

// override applies the overrides, the special ones last.
func (l *loader) override(root *node) (changed *node, err error) {
	for _, set := range l.overrides.Set {
		path, text, ok := strings.Cut(set, "=")
		flag := "--set " + set
		if !ok || path == "" {
			return nil, errorAt(l.file, origin{flag: flag}, Error{Value: set,
				Message: "has no path=value: want one, such as topology.link.delay=20ms"})
		}
		if root, err = l.set(root, path, text, flag); err != nil {
			return nil, err
		}
	}
	if l.overrides.Seed != nil {
		text := strconv.FormatUint(*l.overrides.Seed, 10)
		if root, err = l.set(root, "seed", text, "--seed "+text); err != nil {
			return nil, err
		}
	}
	if l.overrides.Repeat != nil {
		text := strconv.Itoa(*l.overrides.Repeat)
		if root, err = l.set(root, "repeat", text, "--repeat "+text); err != nil {
			return nil, err
		}
	}
	if engine := l.overrides.Engine; engine != "" {
		return l.put(root, "engine", "--engine "+engine,
			&node{kind: kindScalar, at: origin{flag: "--engine " + engine}, text: engine, value: engine})
	}
	return root, nil
}

// checkVersion comes before all else: a file of another version may have any
// keys.
func (l *loader) checkVersion(root *node) error {
	version, ok := root.entry("version")
	switch {
	case !ok:
		return errorAt(l.file, root.at, Error{Path: "version", Want: "version: 1",
			Message: "version is missing: want version: 1"})
	case !isNumber(version.value):
		return decoder{l.file}.bad(version.value, "version", "the number 1")
	case version.value.value != uint64(1):
		return errorAt(l.file, version.value.at, Error{Path: "version", Value: version.value.describe(), Want: "1",
			Message: fmt.Sprintf("version is %s: not supported by this version of bench; want 1", version.value.describe())})
	}
	return nil
}

// set applies one override whose value is YAML.
func (l *loader) set(root *node, path, text, flag string) (*node, error) {
	value, err := (&reader{file: l.file, flag: flag, path: path}).read([]byte(text))
	if err != nil {
		return nil, err
	}
	return l.put(root, path, flag, value)
}

// put applies one override.
func (l *loader) put(root *node, path, flag string, value *node) (*node, error) {
	at := origin{flag: flag}
	l.applied = append(l.applied, flag)
	if axis, ok := strings.CutPrefix(path, sweepKey+"."); ok {
		sweep, exists := root.entry(sweepKey)
		if !exists {
			sweep.value = &node{kind: kindNull, at: at}
		}
		if sweep.value.kind != kindMapping && sweep.value.kind != kindNull {
			return nil, l.sweepNoMapping(sweep.value)
		}
		changed := sweep.value.without(axis)
		changed.kind = kindMapping
		changed.entries = append(changed.entries, entry{key: axis, at: at, value: value})
		path, value = sweepKey, changed
	} else if path != sweepKey {
		if err := checkPath(l.file, at, path); err != nil {
			return nil, err
		}
		if err := l.refuseSwept(root, path, at); err != nil {
			return nil, err
		}
	}
	changed, obstacle, obstaclePath := root.with(path, value)
	if obstacle != nil {
		return nil, l.inTheWay(obstacle, obstaclePath, path, flag)
	}
	return changed, nil
}

// refuseSwept refuses to override a field that the sweep would override again.
// What may not be swept is left to the sweep's reader, which says where it
// stands.
func (l *loader) refuseSwept(root *node, path string, at origin) error {
	sweep, ok := root.entry(sweepKey)
	if !ok {
		return nil
	}
	set := root.numbered(path)
	for _, e := range sweep.value.entries {
		swept := root.numbered(e.key)
		if neverSwept(e.key) == "" && (set == swept || strings.HasPrefix(set, swept+".")) {
			return errorAt(l.file, at, Error{Path: path, Want: "sweep." + e.key,
				Message: fmt.Sprintf("%s is swept by the file: want --set 'sweep.%s=[...]'", path, e.key)})
		}
	}
	return nil
}

// decode makes a Spec of nodes, the defaults filled in.
func (l *loader) decode(root *node) (*Spec, error) {
	spec := defaults(l.file)
	spec.inputs = l.inputs
	if err := (decoder{l.file}).into(root, "", specValue(spec)); err != nil {
		return nil, err
	}
	spec.fillRoles()
	return spec, nil
}

// defaultName makes a name of the file's.
func defaultName(file string) string {
	base := filepath.Base(file)
	name := strings.TrimLeft(strings.TrimSuffix(base, filepath.Ext(base)), ".")
	name = strings.TrimSpace(strings.Map(func(r rune) rune {
		if strings.ContainsRune(forbiddenInNames, r) || isBinary(r) || r == '\uFFFD' {
			return '-'
		}
		return r
	}, name))
	if BadName(name) {
		return "experiment"
	}
	return name
}
