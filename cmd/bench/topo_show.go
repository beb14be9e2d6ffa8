package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"quorumlab/harness/report"
	"quorumlab/topologies"
	"quorumlab/topologies/draw"
)

// show writes in the form that the flags ask for.
func (f *topoFlags) show(w io.Writer, points []shownPoint) error {
	if f.asJSON {
		return f.showJSON(w, points)
	}
	if !f.dot && !f.svg {
		return f.showText(w, points)
	}
	if len(points) > 1 {
		return usageError{fmt.Errorf("the sweep has %d networks: want one of them with --point, from 1 on", len(points))}
	}
	if f.dot {
		return draw.DOT(w, points[0].picture(f.title))
	}
	return draw.SVG(w, points[0].picture(f.title))
}

// maxPathsJSON bounds the paths of a document unless they are asked for.
const maxPathsJSON = 10_000

func (f *topoFlags) showJSON(w io.Writer, points []shownPoint) error {
	for i := range points {
		p := &points[i]
		routes, err := draw.Routes(p.picture(""), f.paths == draw.TableAll)
		if err != nil {
			return err
		}
		p.Paths = []draw.Route{}
		for route := range routes {
			if len(p.Paths) == maxPathsJSON && f.paths == draw.TableSummary {
				p.Paths, p.PathsLeftOut = []draw.Route{}, true
				break
			}
			p.Paths = append(p.Paths, route)
		}
		if p.Warnings == nil {
			p.Warnings = []string{}
		}
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(map[string]any{"points": points})
}

func (f *topoFlags) showText(w io.Writer, points []shownPoint) error {
	width := report.TerminalOptions(w).Width
	for i, p := range points {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if err := f.showPoint(w, p, width); err != nil {
			return err
		}
	}
	return nil
}

func (f *topoFlags) showPoint(w io.Writer, p shownPoint, width int) error {
	fmt.Fprintf(w, "%s\n%s\n\n", wrap(p.heading(), width), counts(p.Topology))
	picture := p.picture("")
	if err := draw.Text(w, picture, width); err != nil {
		return err
	}
	var table bytes.Buffer
	if err := draw.Table(&table, picture, f.paths, width); err != nil {
		fmt.Fprintf(w, "\nno paths: %v\n", err)
	} else if table.Len() > 0 {
		fmt.Fprintf(w, "\npaths, one way; propagation only\n%s", table.Bytes())
	}
	if p.PredictedNS != nil {
		fmt.Fprintf(w, "\npredicted latency: %s (the protocol's messages and these delays, nothing else)\n", draw.Time(time.Duration(*p.PredictedNS)))
		if p.PredictionNote != "" {
			fmt.Fprintln(w, wrap(p.PredictionNote, width))
		}
	}
	for i, warning := range p.Warnings {
		if i == 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintln(w, wrap("warning: "+warning, width))
	}
	return nil
}

// wrap breaks a text into lines of a width, the second and later ones indented.
func wrap(text string, width int) string {
	var b strings.Builder
	column := 0
	for i, word := range strings.Fields(text) {
		length := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case column+1+length > width:
			b.WriteString("\n  ")
			column = 2
		default:
			b.WriteString(" ")
			column++
		}
		b.WriteString(word)
		column += length
	}
	return b.String()
}

// heading says which point of what is shown.
func (p shownPoint) heading() string {
	text := p.About
	if len(p.Params) > 0 {
		text += fmt.Sprintf(", point %d: %s", p.Number, p.Params)
	}
	if len(p.sameAs) > 0 {
		var same []string
		for _, number := range p.sameAs {
			same = append(same, fmt.Sprint(number))
		}
		text += " (and points " + strings.Join(same, ", ") + ", whose networks are the same)"
	}
	return text
}

// counts says what a topology consists of.
func counts(t *topologies.Topology) string {
	return fmt.Sprintf("%s: %s, %s, %s", t.Kind, counted(len(t.Hosts), "host", "hosts"),
		counted(len(t.Switches), "switch", "switches"), counted(len(t.Links), "link", "links"))
}

func counted(n int, noun, nouns string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %s", n, nouns)
}
