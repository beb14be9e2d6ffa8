package topologies

import (
	"embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// wanFiles holds one file for each set of regions: lines "# key: value" that say where
// the numbers come from, then a row of the regions' names and a row for each region.
//
//go:embed wandata/*.txt
var wanFiles embed.FS

// WANSet is a set of round-trip times between regions that someone measured.
type WANSet struct {
	Name, Title string
	// Source is who measured, Date when, Measure what exactly.
	Source, Date, Measure string
	// Note is what else one should know.
	Note    string
	Regions []string
	// RTT[i][j] is the round-trip time from region i to region j, as measured by i; 0
	// where i is j.
	RTT [][]time.Duration
}

// WANNames lists the shipped sets in alphabetical order.
func WANNames() []string {
	entries, err := wanFiles.ReadDir("wandata")
	if err != nil {
		panic("topologies: the embedded folder wandata: " + err.Error())
	}
	var names []string
	for _, entry := range entries {
		names = append(names, strings.TrimSuffix(entry.Name(), ".txt"))
	}
	return names
}

// WANData finds a shipped set by its name.
func WANData(name string) (*WANSet, error) {
	if !slices.Contains(WANNames(), name) {
		return nil, fmt.Errorf("topology: no data of a wan named %q: want one of %s", name, strings.Join(WANNames(), ", "))
	}
	data, err := wanFiles.ReadFile("wandata/" + name + ".txt")
	if err != nil {
		panic("topologies: an embedded file: " + err.Error())
	}
	return parseWAN(name, string(data))
}

// Assumption says in a sentence what making one-way delays of the set assumes.
func (w *WANSet) Assumption() string {
	return fmt.Sprintf("The delays between regions are half the round-trip times of %s (%s, %s): that both ways take equally long is an assumption.",
		w.Name, w.Measure, w.When())
}

// When is the date in words: "date not stated" if the source doesn't say it.
func (w *WANSet) When() string {
	if strings.HasPrefix(w.Date, "not stated") {
		return "date " + w.Date
	}
	return w.Date
}

// Select keeps some of the regions, in the order given.
func (w *WANSet) Select(regions ...string) (*WANSet, error) {
	kept := *w
	kept.Regions, kept.RTT = slices.Clone(regions), nil
	for _, from := range regions {
		i := slices.Index(w.Regions, from)
		if i < 0 {
			return nil, fmt.Errorf("topology: %s has no region %q: want one of %s", w.Name, from, strings.Join(w.Regions, ", "))
		}
		var row []time.Duration
		for _, to := range regions {
			if j := slices.Index(w.Regions, to); j >= 0 {
				row = append(row, w.RTT[i][j])
			}
		}
		kept.RTT = append(kept.RTT, row)
	}
	return &kept, nil
}

// Spec describes the network of the set's regions, with half of each round-trip time
// as the delay one way, without hosts and links' other parameters.
func (w *WANSet) Spec() WANSpec {
	return WANSpec{Regions: w.Regions, OneWay: HalfRTT(w.RTT), Notes: []string{w.Assumption()}}
}

func parseWAN(name, data string) (*WANSet, error) {
	w := &WANSet{Name: name}
	fields := map[string]*string{"title": &w.Title, "source": &w.Source, "date": &w.Date, "measure": &w.Measure, "note": &w.Note}
	for i, line := range strings.Split(strings.TrimRight(data, "\n"), "\n") {
		if comment, ok := strings.CutPrefix(line, "# "); ok {
			key, value, _ := strings.Cut(comment, ": ")
			if field := fields[key]; field != nil {
				*field = value
			} else if key != "unit" || value != "ms" {
				return nil, fmt.Errorf("%s:%d: %q: want one of title, source, date, measure, note, or unit: ms", name, i+1, comment)
			}
			continue
		}
		words := strings.Fields(line)
		if w.Regions == nil && len(words) > 1 && words[0] == "region" {
			w.Regions = words[1:]
			continue
		}
		if len(w.RTT) >= len(w.Regions) || len(words) == 0 || words[0] != w.Regions[len(w.RTT)] {
			return nil, fmt.Errorf("%s:%d: want one row for each region, in their order", name, i+1)
		}
		var row []time.Duration
		for _, word := range words[1:] {
			ms, err := strconv.ParseFloat(word, 64)
			if err != nil {
				return nil, fmt.Errorf("%s:%d: %q isn't a number of milliseconds", name, i+1, word)
			}
			row = append(row, time.Duration(ms*1e6+0.5))
		}
		w.RTT = append(w.RTT, row)
	}
	if err := checkMatrix(w.Regions, w.RTT); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return w, nil
}
