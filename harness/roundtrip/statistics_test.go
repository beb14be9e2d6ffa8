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

func unknown(string, string) (float64, bool) { return 0, false }

// The expected numbers are numpy's: mean, std(ddof=1), percentile.
func TestStatisticsOfAPairAgainstKnownAnswers(t *testing.T) {
	key := [2]string{"1", "2"}
	values := []float64{1.7, 2.9, 3.6, 4.3, 1004.7, 3.1, 0, 3.9, 5.5, 2.2}
	study, err := Summarise(rows(map[[2]string][]float64{key: values}, key), []string{"1", "2"}, "udp",
		func(from, to string) (float64, bool) { return 3.5, from == "1" })
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
	study, err := Summarise(rows(map[[2]string][]float64{key: values}, key), []string{"a", "b"}, "udp", unknown)
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
	if study, err = Summarise(rows(map[[2]string][]float64{key: constant}, key), []string{"a", "b"}, "udp", unknown); err != nil || study.All.Normal != nil {
		t.Errorf("a fit to values that are all the same: %+v, %v", study.All.Normal, err)
	}
}

func TestAPairWithoutAnAnswerHasNoNumbers(t *testing.T) {
	key := [2]string{"a", "b"}
	study, err := Summarise(rows(map[[2]string][]float64{key: {0, 0}}, key), []string{"a", "b"}, "icmp", unknown)
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
	if _, err := Summarise(rows(map[[2]string][]float64{key: {1}}, key), []string{"a", "b"}, "udp", unknown); err == nil {
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
	study, err := Summarise(rows(pairs, forth, back), []string{"<eu>&", "us"}, "tcp", unknown)
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
