package report

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"quorumlab/harness/experiment"
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
		numeric := !slices.ContainsFunc(points, func(p results.Point) bool {
			var number float64
			return json.Unmarshal(p.Params[path], &number) != nil
		})
		params = append(params, param{
			name:    name,
			value:   func(p results.Point) string { return Value(p.Params[path]) },
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

// Value shows the value of a swept field as experiment.ValueText does; "-" if there is
// none.
func Value(raw json.RawMessage) string {
	if len(raw) == 0 {
		return unknown
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber() // as it was written
	var value any
	if decoder.Decode(&value) != nil {
		return string(raw)
	}
	return experiment.ValueText(value)
}
