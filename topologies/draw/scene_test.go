package draw

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func sceneOf(t *testing.T, p Picture) *scene {
	t.Helper()
	n, err := newNetwork(p)
	if err != nil {
		t.Fatal(err)
	}
	return newScene(n)
}

// checkScene proves by geometry that nothing overlaps and all is inside the view.
func checkScene(t *testing.T, s *scene) {
	t.Helper()
	type thing struct {
		what string
		box  box
	}
	var things []thing
	for i, shape := range s.shapes {
		things = append(things, thing{"node " + s.nodes[i].name, shape})
		if l := s.labels[i]; l != nil {
			things = append(things, thing{"label of " + s.nodes[i].name, l.box})
		}
	}
	for _, l := range s.linkLabels {
		things = append(things, thing{"link label " + strings.Join(l.lines, "/"), l.box})
	}
	view, legend := s.view()
	for _, e := range legend {
		middle := e.at.plus(point{e.width / 2, 0})
		things = append(things, thing{"legend " + e.text, box{middle: middle, width: e.width, height: legendRow - 2}})
	}
	for i, a := range things {
		around := nothing.with(a.box)
		if around.left < view.left || around.top < view.top || around.right > view.right || around.bottom > view.bottom {
			t.Errorf("%s is outside the view: %v in %v", a.what, around, view)
		}
		for _, b := range things[:i] {
			if a.box.overlaps(b.box, -1e-6) {
				t.Errorf("%s overlaps %s", a.what, b.what)
			}
		}
	}
	for _, l := range append(s.labels, s.linkLabels...) {
		for _, line := range linesOf(l) {
			if textWidth(line, l.size) > l.box.width {
				t.Errorf("%q is wider than its box", line)
			}
		}
	}
}

func linesOf(l *label) []string {
	if l == nil {
		return nil
	}
	return l.lines
}

func TestNothingOverlapsAndAllIsInsideTheView(t *testing.T) {
	for name, p := range pictures() {
		t.Run(name, func(t *testing.T) { checkScene(t, sceneOf(t, p)) })
	}
}

func TestTheGeometryTestNoticesOverlaps(t *testing.T) {
	a := box{middle: point{0, 0}, width: 20, height: 10}
	for _, c := range []struct {
		b    box
		want bool
	}{
		{box{middle: point{19, 0}, width: 20, height: 10}, true},
		{box{middle: point{21, 0}, width: 20, height: 10}, false},
		{box{middle: point{0, 14}, width: 20, height: 20, angle: 0.78}, true},
		{box{middle: point{0, 21}, width: 20, height: 20, angle: 0.78}, false},
		{box{middle: point{15, 9}, width: 10, height: 10, round: true}, false}, // its square would
		{box{middle: point{13, 7}, width: 10, height: 10, round: true}, true},
	} {
		if got := a.overlaps(c.b, 0); got != c.want {
			t.Errorf("%+v: overlaps is %v", c.b, got)
		}
		if got := c.b.overlaps(a, 0); got != c.want {
			t.Errorf("%+v: overlaps isn't symmetric", c.b)
		}
	}
}

// Graphs that nobody would draw by hand still give drawings without overlaps.
func TestRandomGraphsAreDrawnWithoutOverlaps(t *testing.T) {
	for seed := range uint64(25) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			m := begin("custom")
			switches := 1 + random.IntN(8)
			for i := range switches {
				m = m.switches(fmt.Sprintf("switch-%d", i+1))
				if i > 0 {
					m = m.link(m.Switches[random.IntN(i)], m.Switches[i], ms(float64(1+random.IntN(3))))
				}
			}
			for i := range switches {
				for j := range i - 1 {
					if random.IntN(5) == 0 && !joined(m, m.Switches[i], m.Switches[j]) {
						m = m.asymmetric(m.Switches[i], m.Switches[j], ms(3), withRate(ms(5), 1e6))
					}
				}
			}
			var names []string
			for i := range 1 + random.IntN(20) {
				m = m.hosts(1).link(fmt.Sprintf("h%d", i+1), m.Switches[random.IntN(switches)], ms(1))
				names = append(names, []string{"server", "client", "leader"}[random.IntN(3)])
			}
			p := Picture{Topology: m.Topology, Processes: roles(names...)}
			checkScene(t, sceneOf(t, p))
			checkXML(t, p)
		})
	}
}

func joined(m made, a, b string) bool {
	for _, l := range m.Links {
		if l.A == a && l.B == b || l.A == b && l.B == a {
			return true
		}
	}
	return false
}

func checkXML(t *testing.T, p Picture) {
	t.Helper()
	var b bytes.Buffer
	if err := SVG(&b, p); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "NaN") || strings.Contains(b.String(), "Inf") {
		t.Error("a coordinate isn't a number")
	}
	decoder := xml.NewDecoder(&b)
	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestSmallAndOddTopologiesAreDrawn(t *testing.T) {
	for name, m := range map[string]made{
		"nothing":        begin("custom"),
		"one host":       begin("custom").hosts(1),
		"two hosts":      begin("mesh").hosts(2).link("h1", "h2", ms(1)),
		"one switch":     begin("custom").switches("s1"),
		"a lone pair":    starOf(2, ms(1)),
		"two islands":    begin("file").switches("a", "b", "c", "d").link("a", "b", ms(1)).link("c", "d", ms(1)),
		"markup":         begin("<&>").switches(`<a> & "b"`, "c\x01").link(`<a> & "b"`, "c\x01", ms(1)),
		"two-homed host": begin("custom").hosts(2).switches("s1", "s2").link("h1", "s1", ms(1)).link("h1", "s2", ms(2)).link("h2", "s2", ms(1)).link("s1", "s2", ms(1)),
	} {
		t.Run(name, func(t *testing.T) {
			p := Picture{Topology: m.Topology, Title: `<"&">`}
			checkScene(t, sceneOf(t, p))
			checkXML(t, p)
			for _, form := range []func(io.Writer, Picture) error{forms["txt"], forms["dot"]} {
				if err := form(io.Discard, p); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestMonitorsAreNotDrawn(t *testing.T) {
	star := starOf(3, ms(1)).Topology
	for name, form := range forms {
		var without, with bytes.Buffer
		if err := form(&without, Picture{Topology: star}); err != nil {
			t.Fatal(err)
		}
		if err := form(&with, Picture{Topology: star.WithMonitors()}); err != nil {
			t.Fatal(err)
		}
		if without.String() != with.String() {
			t.Errorf("%s: a monitor changes the drawing:\n%s", name, with.String())
		}
	}
}

func TestATopologyThatJoinsWhatDoesNotExistIsRefused(t *testing.T) {
	bad := begin("custom").hosts(1).link("h1", "s9", ms(1))
	for name, form := range forms {
		if err := form(io.Discard, Picture{Topology: bad.Topology}); err == nil || !strings.Contains(err.Error(), "s9") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A drawing of a thousand hosts is no joy to read, but it must not take minutes.
func TestAThousandHostsAreDrawnInSeconds(t *testing.T) {
	m := starOf(1000, ms(1))
	big := begin("custom")
	for i := range 500 {
		name := fmt.Sprintf("s%d", i+1)
		big = big.switches(name).hosts(1).link(fmt.Sprintf("h%d", i+1), name, ms(1))
		if i > 0 {
			big = big.link(name, fmt.Sprintf("s%d", i/3+1), ms(float64(i%7)))
		}
		if i > 9 {
			big = big.link(name, fmt.Sprintf("s%d", i-9), ms(5))
		}
	}
	start := time.Now()
	for _, p := range []Picture{{Topology: m.Topology}, {Topology: big.Topology}} {
		if err := SVG(io.Discard, p); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(start); took > time.Minute {
		t.Errorf("took %v", took)
	}
}
