package experiment

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// field is a key of a mapping that the format knows. Its index leads through
// embedded structs.
type field struct {
	key   string
	index []int
}

// inlined is the yaml tag of a struct whose keys stand among those of the one that
// embeds it.
const inlined = ",inline"

// fieldsOf lists the keys of a struct, as its yaml tags name them. Its own keys hide those
// of the same name that it embeds, as fields do in Go.
func fieldsOf(t reflect.Type) []field {
	var fields, embedded []field
	for i := range t.NumField() {
		switch key := t.Field(i).Tag.Get("yaml"); key {
		case "-", "": // the latter are unexported
		case inlined:
			for _, f := range fieldsOf(t.Field(i).Type) {
				embedded = append(embedded, field{f.key, append([]int{i}, f.index...)})
			}
		default:
			fields = append(fields, field{key, []int{i}})
		}
	}
	for _, f := range embedded {
		if !slices.ContainsFunc(fields, func(own field) bool { return own.key == f.key }) {
			fields = append(fields, f)
		}
	}
	return fields
}

// shorthand is a mapping that may be written as a scalar too.
type shorthand interface {
	// short reads the scalar; the error is a *wantError.
	short(text string) error
	// want describes both forms.
	want() string
	// incomplete says what is wrong with the keys of the mapping together; empty if
	// nothing is.
	incomplete() string
}

// prepared is a mapping, not there unless it is given, whose keys have defaults.
type prepared interface{ prepare() }

// The types of the format, each with its keys.
var (
	specType = reflect.TypeFor[Spec]()
	known    = map[reflect.Type][]field{}
	// fieldPaths are the dotted paths of all fields, in the order of Spec; those of
	// links, which stand in several places, once.
	fieldPaths []string
)

func init() {
	var visit func(t reflect.Type, path string)
	visit = func(t reflect.Type, path string) {
		if known[t] != nil {
			return
		}
		known[t] = fieldsOf(t)
		for _, f := range known[t] {
			at := join(path, f.key)
			if len(f.index) > 1 {
				continue
			}
			fieldPaths = append(fieldPaths, at)
			if inner := elementOf(t.FieldByIndex(f.index).Type); inner.Kind() == reflect.Struct {
				visit(inner, at)
			}
		}
	}
	visit(specType, "")
}

// elementOf is what pointers point to and lists consist of.
func elementOf(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	return t
}

func keysOf(t reflect.Type) []string {
	var keys []string
	for _, f := range known[t] {
		keys = append(keys, f.key)
	}
	if t == specType {
		keys = append(keys, sweepKey)
	}
	return keys
}

// fieldsNamed lists the paths that end in the key, but for those in the schedule of
// faults, which stand for nothing outside of its entries.
func fieldsNamed(key string) []string {
	var paths []string
	for _, path := range fieldPaths {
		if strings.HasPrefix(path, faultsKey+".") {
			continue
		}
		if path == key || strings.HasSuffix(path, "."+key) {
			paths = append(paths, path)
		}
	}
	return paths
}

// checkPath refuses a dotted path that no experiment can have. Keys of roles,
// options and mix are left to the check of the resulting experiment.
func checkPath(file string, at origin, path string) error {
	t, parent := specType, ""
	for _, key := range strings.Split(path, ".") {
		switch t.Kind() {
		case reflect.Struct:
			inner, ok := fieldType(t, key)
			if !ok {
				return unknownKey(file, at, parent, key, keysOf(t))
			}
			t = inner
		case reflect.Map:
			if key == "" {
				return unknownKey(file, at, parent, key, nil)
			}
			t = t.Elem()
		case reflect.Slice:
			if _, ok := indexIn(key, maxTokens); !ok && !hasIDs(t, key) {
				return errorAt(file, at, Error{Path: join(parent, key), Want: "a number from 0 on",
					Message: fmt.Sprintf("unknown key %s: %s is a list: want a number from 0 on", printable(join(parent, key)), parent)})
			}
			t = t.Elem()
		case reflect.Interface: // inside a protocol's options
		default:
			return unknownKey(file, at, parent, key, nil)
		}
		parent = join(parent, key)
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
	}
	return nil
}

// hasIDs tells whether the items of a list may be named by an id such as this one.
func hasIDs(list reflect.Type, id string) bool {
	return list.Elem() == reflect.TypeFor[Fault]() && validID.MatchString(id)
}

func fieldType(t reflect.Type, key string) (reflect.Type, bool) {
	for _, f := range known[t] {
		if f.key == key {
			return t.FieldByIndex(f.index).Type, true
		}
	}
	return nil, false
}

// decoder fills a Spec from nodes, refusing what the Spec doesn't have.
type decoder struct{ file string }

func (d decoder) bad(n *node, path, want string) error {
	return errorAt(d.file, n.at, Error{Path: path, Value: n.describe(), Want: want})
}

var wholeNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)

// into decodes a node. An empty mapping key, such as "options:" with all below
// it commented out, leaves the default.
func (d decoder) into(n *node, path string, target reflect.Value) error {
	switch special := target.Addr().Interface().(type) {
	case encoding.TextUnmarshaler:
		return d.scalar(n, path, special)
	case shorthand:
		return d.short(n, path, special, target)
	}
	switch target.Kind() {
	case reflect.Struct:
		return d.object(n, path, target)
	case reflect.Map:
		return d.table(n, path, target)
	case reflect.Interface:
		if value := n.plain(); value != nil {
			target.Set(reflect.ValueOf(value))
		}
		return nil
	case reflect.Slice:
		return d.list(n, path, target)
	case reflect.Pointer: // nil unless the file has the field
		value := reflect.New(target.Type().Elem())
		if _, short := value.Interface().(shorthand); n.kind == kindNull && value.Elem().Kind() == reflect.Struct && !short {
			return nil
		}
		if p, ok := value.Interface().(prepared); ok {
			p.prepare()
		}
		if err := d.into(n, path, value.Elem()); err != nil {
			return err
		}
		target.Set(value)
	case reflect.Bool:
		b, ok := n.value.(bool)
		if n.kind != kindScalar || !ok {
			return d.bad(n, path, "true or false")
		}
		target.SetBool(b)
	case reflect.String:
		if n.kind != kindScalar {
			return d.bad(n, path, "a text")
		}
		target.SetString(n.text)
	case reflect.Int, reflect.Uint64, reflect.Float64:
		return d.number(n, path, target)
	default:
		panic("experiment: no way to read a field of type " + target.Type().String())
	}
	return nil
}

// number decodes a bare number.
func (d decoder) number(n *node, path string, target reflect.Value) error {
	switch target.Kind() {
	case reflect.Int:
		i, err := strconv.ParseInt(n.text, 10, 0)
		if !isNumber(n) || !wholeNumber.MatchString(n.text) || err != nil {
			return d.bad(n, path, "a whole number")
		}
		target.SetInt(i)
	case reflect.Uint64:
		u, err := strconv.ParseUint(n.text, 10, 64)
		if !isNumber(n) || !wholeNumber.MatchString(n.text) || err != nil {
			return d.bad(n, path, "a whole number from 0 to 18446744073709551615")
		}
		target.SetUint(u)
	case reflect.Float64:
		f, err := strconv.ParseFloat(n.text, 64)
		if !isNumber(n) || err != nil {
			return d.bad(n, path, "a number")
		}
		target.SetFloat(f)
	}
	return nil
}

// isNumber tells numbers from texts that look like one, such as "5" in quotes.
func isNumber(n *node) bool {
	return n.kind == kindScalar && !n.quoted && anyNumber.MatchString(n.text)
}

// scalar reads a value with a unit.
func (d decoder) scalar(n *node, path string, target encoding.TextUnmarshaler) error {
	var want *wantError
	err := target.UnmarshalText([]byte(n.text))
	if n.kind != kindScalar {
		err = target.UnmarshalText(nil) // what it would want
	}
	if errors.As(err, &want) {
		return d.bad(n, path, want.want)
	}
	return err
}

// short reads what is a scalar or a mapping.
func (d decoder) short(n *node, path string, target shorthand, fields reflect.Value) error {
	switch n.kind {
	case kindMapping:
		if err := d.object(n, path, fields); err != nil {
			return err
		}
		if complaint := target.incomplete(); complaint != "" {
			return errorAt(d.file, n.at, Error{Path: path, Want: target.want(), Message: path + " " + complaint})
		}
		return nil
	case kindScalar:
		var want *wantError
		if err := target.short(n.text); errors.As(err, &want) {
			return d.bad(n, path, want.want)
		}
		return nil
	}
	return d.bad(n, path, target.want())
}

// list decodes a list. One text may stand for a list of texts.
func (d decoder) list(n *node, path string, target reflect.Value) error {
	texts := target.Type().Elem().Kind() == reflect.String
	switch {
	case n.kind == kindNull:
		return nil
	case n.kind == kindScalar && texts:
		n = &node{kind: kindList, at: n.at, items: []*node{n}}
	case n.kind != kindList && texts:
		return d.bad(n, path, "a text or a list of texts")
	case n.kind != kindList:
		return d.bad(n, path, "a list")
	}
	list := reflect.MakeSlice(target.Type(), len(n.items), len(n.items))
	for i, item := range n.items {
		if err := d.into(item, join(path, strconv.Itoa(i)), list.Index(i)); err != nil {
			return err
		}
	}
	target.Set(list)
	return nil
}

func (d decoder) object(n *node, path string, target reflect.Value) error {
	t := target.Type()
	if n.kind == kindNull {
		return nil
	}
	if n.kind != kindMapping {
		want := "a mapping with some of the keys " + strings.Join(keysOf(t), ", ")
		if path == "" {
			return errorAt(d.file, n.at, Error{Value: n.describe(), Want: want,
				Message: "is " + n.describe() + ", not an experiment: want " + want})
		}
		return d.bad(n, path, want)
	}
	for _, e := range n.entries {
		var index []int
		for _, f := range known[t] {
			if f.key == e.key {
				index = f.index
			}
		}
		if index == nil {
			return unknownKey(d.file, e.at, path, e.key, keysOf(t))
		}
		if err := d.into(e.value, join(path, e.key), target.FieldByIndex(index)); err != nil {
			return err
		}
	}
	return nil
}

// table decodes a mapping with keys of its own, replacing the default.
func (d decoder) table(n *node, path string, target reflect.Value) error {
	if n.kind == kindNull {
		return nil
	}
	if n.kind != kindMapping {
		return d.bad(n, path, "a mapping of key: value")
	}
	table := reflect.MakeMapWithSize(target.Type(), len(n.entries))
	for _, e := range n.entries {
		value := reflect.New(target.Type().Elem()).Elem()
		if err := d.into(e.value, join(path, e.key), value); err != nil {
			return err
		}
		table.SetMapIndex(reflect.ValueOf(e.key), value)
	}
	target.Set(table)
	return nil
}
