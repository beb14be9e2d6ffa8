package report

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"quorumlab/results"
)

// param is a swept field as a column.
type param struct {
	name    string
	value   func(results.Point) string
	numeric bool
}

// paramColumns names the swept fields by the last segment of their paths, or as
// many as tell them apart, and shows their values compactly. The field that
// varies slowest comes first.
func paramColumns(points []results.Point) []param {
	paths := map[string]bool{}
	for _, point := range points {
		for path := range point.Params {
			paths[path] = true
		}
	}
	sorted := slices.Sorted(maps.Keys(paths))
	slices.SortStableFunc(sorted, func(a, b string) int { return cmp.Compare(changes(points, a), changes(points, b)) })
	params := make([]param, 0, len(sorted))
	for i, name := range shortNames(sorted) {
		path := sorted[i]
		show := Value
		if !distinct(points, path, Value) {
			show = fullValue
		}
		numeric := !slices.ContainsFunc(points, func(p results.Point) bool {
			var number float64
			return json.Unmarshal(p.Params[path], &number) != nil
		})
		params = append(params, param{
			name:    name,
			value:   func(p results.Point) string { return show(p.Params[path]) },
			numeric: numeric,
		})
	}
	return params
}

// changes counts how often a field differs from one point to the next.
func changes(points []results.Point, path string) int {
	changes := 0
	for i := 1; i < len(points); i++ {
		if !bytes.Equal(points[i].Params[path], points[i-1].Params[path]) {
			changes++
		}
	}
	return changes
}

// shortNames cuts dotted paths to as few of their last segments as tell each
// from all the others.
func shortNames(paths []string) []string {
	names := make([]string, len(paths))
	for i, path := range paths {
		segments := strings.Split(path, ".")
		for n := 1; n <= len(segments); n++ {
			names[i] = strings.Join(segments[len(segments)-n:], ".")
			taken := slices.ContainsFunc(paths, func(other string) bool {
				return other != path && (other == names[i] || strings.HasSuffix(other, "."+names[i]))
			})
			if !taken {
				break
			}
		}
	}
	return names
}

// distinct tells whether different values of a field look different.
func distinct(points []results.Point, path string, show func(json.RawMessage) string) bool {
	seen := map[string]string{}
	for _, point := range points {
		full, text := fullValue(point.Params[path]), show(point.Params[path])
		if before, ok := seen[text]; ok && before != full {
			return false
		}
		seen[text] = full
	}
	return true
}

// Value shows the value of a swept field, an object by its values alone, words
// before quantities: {"max": "250ms", "strategy": "random"} is "random 250ms".
func Value(raw json.RawMessage) string {
	var object map[string]any
	if json.Unmarshal(raw, &object) != nil || object == nil {
		return fullValue(raw)
	}
	var words, quantities []string
	for _, key := range slices.Sorted(maps.Keys(object)) {
		switch value := object[key].(type) {
		case string:
			if value == "" || value[0] >= '0' && value[0] <= '9' {
				quantities = append(quantities, value)
			} else {
				words = append(words, value)
			}
		case bool:
			// "true" alone would tell nothing.
			words = append(words, fmt.Sprintf("%s=%t", key, value))
		default:
			quantities = append(quantities, encoded(value))
		}
	}
	return strings.Join(append(words, quantities...), " ")
}

// fullValue shows an object as "max=250ms,strategy=random", a string without
// quotes, anything else as JSON.
func fullValue(raw json.RawMessage) string {
	if len(raw) == 0 {
		return unknown
	}
	var text string
	if json.Unmarshal(raw, &text) == nil && raw[0] == '"' {
		return text
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(raw, &object) == nil && object != nil {
		var fields []string
		for _, key := range slices.Sorted(maps.Keys(object)) {
			fields = append(fields, key+"="+fullValue(object[key]))
		}
		return strings.Join(fields, ",")
	}
	var compact bytes.Buffer
	if json.Compact(&compact, raw) != nil {
		return string(raw)
	}
	return compact.String()
}

func encoded(value any) string {
	data, err := json.Marshal(value)
	if err != nil {
		panic("report: decoded JSON that can't be encoded: " + err.Error())
	}
	return string(data)
}
