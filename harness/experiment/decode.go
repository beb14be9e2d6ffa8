package experiment

import (
	"encoding"
	"errors"
	"reflect"
	"regexp"
	"strconv"
	"strings"
)

// field is a key of a mapping that the format knows.
type field struct {
	key   string
	index int
}

// fieldsOf lists the keys of a struct, as its yaml tags name them.
func fieldsOf(t reflect.Type) []field {
	var fields []field
	for i := range t.NumField() {
		if key := t.Field(i).Tag.Get("yaml"); key != "-" {
			fields = append(fields, field{key, i})
		}
	}
	return fields
}

// The types of the format, each with its keys.
var (
	specType = reflect.TypeFor[Spec]()
	known    = map[reflect.Type][]field{}
	// fieldPaths are the dotted paths of all fields, in the order of Spec.
	fieldPaths []string
)

func init() {
	var visit func(t reflect.Type, path string)
	visit = func(t reflect.Type, path string) {
		known[t] = fieldsOf(t)
		for _, f := range known[t] {
			at := join(path, f.key)
			fieldPaths = append(fieldPaths, at)
			if inner := t.Field(f.index).Type; inner.Kind() == reflect.Struct {
				visit(inner, at)
			}
		}
	}
	visit(specType, "")
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

// fieldsNamed lists the paths that end in the key.
func fieldsNamed(key string) []string {
	var paths []string
	for _, path := range fieldPaths {
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
		case reflect.Interface: // inside a protocol's options
		default:
			return unknownKey(file, at, parent, key, nil)
		}
		parent = join(parent, key)
	}
	return nil
}

func fieldType(t reflect.Type, key string) (reflect.Type, bool) {
	for _, f := range known[t] {
		if f.key == key {
			return t.Field(f.index).Type, true
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
	if text, ok := target.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return d.scalar(n, path, text)
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
	case reflect.Pointer: // nil unless the file has the field
		value := reflect.New(target.Type().Elem())
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
	default:
		panic("experiment: no way to read a field of type " + target.Type().String())
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
		index := -1
		for _, f := range known[t] {
			if f.key == e.key {
				index = f.index
			}
		}
		if index < 0 {
			return unknownKey(d.file, e.at, path, e.key, keysOf(t))
		}
		if err := d.into(e.value, join(path, e.key), target.Field(index)); err != nil {
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
