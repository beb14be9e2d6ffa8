package roundtrip

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"quorumlab/results"
)

// rows makes a study's rows: round trips in milliseconds, 0 for one that is lost.
func rows(pairs map[[2]string][]float64, order ...[2]string) func(func(results.RTTRow, error) bool) {
	return func(yield func(results.RTTRow, error) bool) {
		for _, key := range order {
			for i, ms := range pairs[key] {
				row := results.RTTRow{From: key[0], To: key[1], Round: i, SentNS: 1e18 + int64(i)*1e8, RTTNS: int64(ms * 1e6)}
				if !yield(row, nil) {
					return
				}
			}
		}
	}
}

// planOf is the plan of a study of machines.
func planOf(protocol string, machines ...string) *results.RTTPlan {
	return &results.RTTPlan{Protocol: protocol, Machines: machines, Count: 1}
}

// The expected numbers are numpy's: mean, std(ddof=1), percentile.
func TestStatisticsOfAPairAgainstKnownAnswers(t *testing.T) {
	key := [2]string{"1", "2"}
	values := []float64{1.7, 2.9, 3.6, 4.3, 1004.7, 3.1, 0, 3.9, 5.5, 2.2}
	study, err := Summarise(rows(map[[2]string][]float64{key: values}, key), &results.RTTPlan{
		Protocol: "udp", Machines: []string{"1", "2"}, Count: 10, DeclaredNS: map[string]map[string]int64{"1": {"2": 3.5e6}}})
	if err != nil {
		t.Fatal(err)
	}
	p := study.Pairs[0]
	if p.Sent != 10 || p.Answered != 9 || p.LostShare != 0.1 || *p.DeclaredMS != 3.5 || p.Normal != nil {
		t.Errorf("%+v", p)
	}
	for name, c := range map[string]struct{ got, want float64 }{
		"mean": {*p.Mean, 114.65555555555557}, "s.d.": {*p.Stddev, 333.7681}, "min": {*p.Min, 1.7}, "max": {*p.Max, 1004.7},
		"25th": {p.Percentiles["25"], 2.9}, "50th": {p.Percentiles["50"], 3.6}, "75th": {p.Percentiles["75"], 4.3},
		"90th": {p.Percentiles["90"], 205.34}, "99th": {p.Percentiles["99"], 924.764},
	} {
		if math.Abs(c.got-c.want) > 1e-4*math.Max(1, c.want) {
			t.Errorf("%s is %v, want %v", name, c.got, c.want)
		}
	}
}

// A sixth of the round trips is far off, as in the study of five machines; the fit is of
// the rest.
func TestTheFitIsOfTheBulk(t *testing.T) {
	key := [2]string{"a", "b"}
	random := rand.New(rand.NewPCG(1, 2))
	var values []float64
	for i := range 20000 {
		if i%6 == 0 {
			values = append(values, 40+60*random.Float64())
		} else {
			values = append(values, 10+random.NormFloat64())
		}
	}
	study, err := Summarise(rows(map[[2]string][]float64{key: values}, key), planOf("udp", "a", "b"))
	if err != nil {
		t.Fatal(err)
	}
	n := study.All.Normal
	if n == nil || math.Abs(n.Mean-10) > 0.03 || math.Abs(n.Stddev-1) > 0.02 || math.Abs(n.Share-5.0/6*0.9973) > 0.002 || n.KS > 0.02 {
		t.Errorf("the fit is %+v, want mean 10, s.d. 1", n)
	}
	constant := make([]float64, 50)
	for i := range constant {
		constant[i] = 5
	}
	if study, err = Summarise(rows(map[[2]string][]float64{key: constant}, key), planOf("udp", "a", "b")); err != nil || study.All.Normal != nil {
		t.Errorf("a fit to values that are all the same: %+v, %v", study.All.Normal, err)
	}
}

func TestAPairWithoutAnAnswerHasNoNumbers(t *testing.T) {
	key := [2]string{"a", "b"}
	study, err := Summarise(rows(map[[2]string][]float64{key: {0, 0}}, key), planOf("icmp", "a", "b"))
	if err != nil {
		t.Fatal(err)
	}
	var text, data, page bytes.Buffer
	if err := study.Table(&text); err != nil {
		t.Fatal(err)
	}
	if err := study.JSON(&data); err != nil {
		t.Fatal(err)
	}
	figures, err := study.Figures()
	if err != nil || len(figures) != 0 {
		t.Errorf("%d figures of nothing, %v", len(figures), err)
	}
	if err := study.HTML(&page, "nothing", figures); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "none of 2 probes was answered") || strings.Contains(text.String(), "NaN") {
		t.Errorf("the table is\n%s", text.String())
	}
	var parsed Study
	if err := json.Unmarshal(data.Bytes(), &parsed); err != nil || parsed.Pairs[0].Mean != nil || parsed.Pairs[0].LostShare != 1 {
		t.Errorf("the JSON is %s, %v", data.String(), err)
	}
}

func TestRowsAboutOtherMachinesAreRefused(t *testing.T) {
	key := [2]string{"a", "c"}
	if _, err := Summarise(rows(map[[2]string][]float64{key: {1}}, key), planOf("udp", "a", "b")); err == nil {
		t.Error("no error")
	}
}

// Figures are well-formed, whatever the machines are called.
func TestFiguresAreWellFormedSVG(t *testing.T) {
	forth, back := [2]string{"<eu>&", "us"}, [2]string{"us", "<eu>&"}
	random := rand.New(rand.NewPCG(3, 4))
	pairs := map[[2]string][]float64{}
	for range 5000 {
		pairs[forth] = append(pairs[forth], 80+random.NormFloat64())
		pairs[back] = append(pairs[back], 81+random.ExpFloat64())
	}
	study, err := Summarise(rows(pairs, forth, back), planOf("tcp", "<eu>&", "us"))
	if err != nil {
		t.Fatal(err)
	}
	figures, err := study.Figures()
	if err != nil || len(figures) != 5 {
		t.Fatalf("%d figures, %v; want the density, and two for each machine", len(figures), err)
	}
	for _, figure := range figures {
		decoder := xml.NewDecoder(bytes.NewReader(figure.SVG))
		for err = nil; err == nil; {
			_, err = decoder.Token()
		}
		if err != io.EOF || len(figure.SVG) < 1000 || len(figure.SVG) > 2<<20 || figure.Caption == "" {
			t.Errorf("%s: %d bytes, %v", figure.Name, len(figure.SVG), err)
		}
	}
	var page bytes.Buffer
	if err := study.HTML(&page, "study", figures); err != nil || strings.Contains(page.String(), "<eu>") || strings.Count(page.String(), "<svg") != 5 {
		t.Errorf("the page has %d figures or an unescaped name, %v", strings.Count(page.String(), "<svg"), err)
	}
}

func TestFewOfManyPointsAreDrawnTheLastAlways(t *testing.T) {
	for _, n := range []int{0, 1, maxPoints, maxPoints + 1, 100_003} {
		indexes := thinned(n)
		if len(indexes) != min(n, maxPoints) || n > 0 && indexes[len(indexes)-1] != n-1 {
			t.Errorf("of %d points %d are drawn", n, len(indexes))
		}
		for i := 1; i < len(indexes); i++ {
			if indexes[i] <= indexes[i-1] {
				t.Fatalf("of %d points number %d is drawn after %d", n, indexes[i], indexes[i-1])
			}
		}
	}
}

// Round trips of a machine to itself don't cross the network: they stand in their rows,
// not in what is said of all, unless there is nothing else.
func TestPairsOfOneMachineStandBesideAll(t *testing.T) {
	self, other := [2]string{"a", "a"}, [2]string{"a", "b"}
	pairs := map[[2]string][]float64{self: {0.05, 0.05, 0}, other: {40, 42}}
	plan := planOf("udp", "a", "b")
	plan.Self = true
	study, err := Summarise(rows(pairs, self, other), plan)
	if err != nil || len(study.Pairs) != 2 || *study.All.Mean != 41 || *study.All.Min != 40 || study.All.Sent != 2 || study.Sent != 5 {
		t.Fatalf("%v, %+v", err, study)
	}
	alone, err := Summarise(rows(pairs, self), planOf("udp", "a"))
	if err != nil || alone.All.Mean == nil || *alone.All.Mean != 0.05 {
		t.Errorf("one machine: %v, %+v", err, alone.All)
	}
}

func TestAStudyThatEndedEarlySaysSo(t *testing.T) {
	key := [2]string{"a", "b"}
	plan := planOf("udp", "a", "b")
	plan.Count = 4
	for have, want := range map[int]bool{3: true, 8: false} {
		study, err := Summarise(rows(map[[2]string][]float64{key: make([]float64, have)}, key), plan)
		if err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		if err := study.Table(&text); err != nil || strings.Contains(text.String(), "INCOMPLETE: it ended after 3 of 8 probes") != want {
			t.Errorf("with %d probes, %v:\n%s", have, err, &text)
		}
	}
}

// Round trips in two clusters aren't normal, and nothing says that they are.
func TestAFitThatDescribesNothingIsCalledThat(t *testing.T) {
	near, far := [2]string{"a", "b"}, [2]string{"b", "a"}
	random := rand.New(rand.NewPCG(5, 6))
	pairs := map[[2]string][]float64{}
	for range 1000 {
		pairs[near] = append(pairs[near], 10+random.NormFloat64())
		pairs[far] = append(pairs[far], 30+random.NormFloat64())
	}
	study, err := Summarise(rows(pairs, near, far), planOf("udp", "a", "b"))
	if err != nil || !strings.Contains(study.overall(), "the bulk isn't normal") {
		t.Errorf("%v, %s", err, study.overall())
	}
	if study, err = Summarise(rows(pairs, near), planOf("udp", "a", "b")); err != nil || strings.Contains(study.overall(), "isn't normal") {
		t.Errorf("of one cluster: %v, %s", err, study.overall())
	}
}

// Names that come from others can't send the terminal control sequences.
func TestNamesInTheTableAreHarmless(t *testing.T) {
	key := [2]string{"a\x1b[31m\tb", "c\nd"}
	study, err := Summarise(rows(map[[2]string][]float64{key: {1}}, key), planOf("udp", key[0], key[1]))
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := study.Table(&text); err != nil || strings.Contains(text.String(), "\x1b") || !strings.Contains(text.String(), "a?[31m?b  c?d") {
		t.Errorf("%v, %q", err, text.String())
	}
}

// A pair far beyond the others is within the axes; a few late round trips aren't.
func TestAxesShowEveryPairButNotEveryLateRoundTrip(t *testing.T) {
	machines := []string{"far"}
	pairs := map[[2]string][]float64{}
	var order [][2]string
	random := rand.New(rand.NewPCG(7, 8))
	for i := range 200 { // the far pair has less than 1% of all
		name := string(rune('A'+i/26)) + string(rune('a'+i%26))
		machines = append(machines, name)
		order = append(order, [2]string{"far", name})
		middle := 4.0
		if i == 77 {
			middle = 90
		}
		for range 50 {
			pairs[order[i]] = append(pairs[order[i]], middle+random.Float64())
		}
		pairs[order[i]][7] = 1000
	}
	study, err := Summarise(rows(pairs, order...), planOf("udp", machines...))
	if err != nil {
		t.Fatal(err)
	}
	if low, high, beyond := study.axis(study.Pairs); low > 4 || high < 91 || high > 500 || math.Abs(beyond-0.02) > 1e-9 {
		t.Errorf("the axis is %v to %v, %v beyond", low, high, beyond)
	}
}
