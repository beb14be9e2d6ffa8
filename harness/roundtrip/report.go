package roundtrip

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"
)

// columns are the percentiles of the first table, as the study of five machines that
// this one repeats has them, tail those of the second.
var (
	columns = []string{"25", "50", "75"}
	tail    = []string{"80", "90", "95", "98", "99", "99.9"}
)

// maxRows is how many pairs a terminal is shown.
const maxRows = 400

// Table writes the study as text: the pairs, the tails of their distributions, and what
// holds of all.
func (s *Study) Table(w io.Writer) error {
	var page bytes.Buffer
	fmt.Fprintf(&page, "round trips by %s, in ms\n\n", s.Protocol)
	pairs := s.Pairs
	if len(pairs) > maxRows {
		pairs = pairs[:maxRows]
	}
	declared := slices.ContainsFunc(pairs, declaredPair)
	table := tabwriter.NewWriter(&page, 0, 0, 2, ' ', tabwriter.AlignRight)
	head := "src\tdst\tmean\ts.d.\tmin\t25th\t50th\t75th\tmax\tlost\t"
	if declared {
		head += "declared\t"
	}
	fmt.Fprintln(table, head)
	for _, p := range pairs {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s%s\t%s\t", harmless(p.From), harmless(p.To), number(p.Mean), number(p.Stddev), number(p.Min),
			p.row(columns), number(p.Max), lost(p))
		if declared {
			fmt.Fprintf(table, "%s\t", number(p.DeclaredMS))
		}
		fmt.Fprintln(table)
	}
	_ = table.Flush()
	fmt.Fprintln(&page)
	fmt.Fprintln(table, "src\tdst\t80th\t90th\t95th\t98th\t99th\t99.9th\t")
	for _, p := range pairs {
		fmt.Fprintf(table, "%s\t%s\t%s\n", harmless(p.From), harmless(p.To), p.row(tail))
	}
	_ = table.Flush()
	if left := len(s.Pairs) - len(pairs); left > 0 {
		fmt.Fprintf(&page, "and %d pairs more, in rtt.csv\n", left)
	}
	fmt.Fprintf(&page, "\nall: %s\n", s.overall())
	_, err := w.Write(page.Bytes())
	return err
}

func declaredPair(p Pair) bool { return p.DeclaredMS != nil }

// badFit is the distance of the distributions from which on a fit describes nothing.
const badFit = 0.1

// overall says what holds of all pairs together.
func (s *Study) overall() string {
	text := ""
	switch n := s.All.Normal; {
	case s.All.Answered == 0:
		text = fmt.Sprintf("none of %d probes was answered", s.All.Sent)
	default:
		text = fmt.Sprintf("%d round trips, mean %s, s.d. %s, min %s, max %s, %s lost", s.All.Answered, number(s.All.Mean),
			number(s.All.Stddev), number(s.All.Min), number(s.All.Max), lost(s.All))
		if n == nil {
			break
		}
		text += fmt.Sprintf("\nnormal distribution fitted to the bulk (%.1f%%): mean %s, s.d. %s", 100*n.Share, number(&n.Mean), number(&n.Stddev))
		if n.KS > badFit {
			text += fmt.Sprintf("; but the bulk isn't normal (greatest distance of the distributions %.2f)", n.KS)
		} else {
			text += fmt.Sprintf(" (greatest distance of the distributions %.3f)", n.KS)
		}
	}
	if s.Sent < s.Planned {
		text += fmt.Sprintf("\nINCOMPLETE: it ended after %d of %d probes", s.Sent, s.Planned)
	}
	return text
}

func (p Pair) row(percentiles []string) string {
	text := ""
	for _, name := range percentiles {
		if value, known := p.Percentiles[name]; known {
			text += number(&value)
		} else {
			text += number(nil)
		}
		text += "\t"
	}
	return text
}

// harmless replaces what isn't printable, as names of machines may come from others.
func harmless(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, name)
}

// number shows a time in ms to a microsecond or to four digits.
func number(ms *float64) string {
	if ms == nil {
		return "-"
	}
	decimals := 3
	if *ms >= 10 {
		decimals = max(1, 3-int(math.Log10(*ms)))
	}
	return strconv.FormatFloat(*ms, 'f', decimals, 64)
}

func lost(p Pair) string {
	if p.LostShare == 0 {
		return "0"
	}
	return strconv.FormatFloat(100*p.LostShare, 'g', 3, 64) + "%"
}

// JSON writes the study without its rows.
func (s *Study) JSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(s)
}

// CSV writes a row for each pair.
func (s *Study) CSV(w io.Writer) error {
	out := csv.NewWriter(w)
	header := []string{"from", "to", "sent", "answered", "mean_ms", "stddev_ms", "min_ms", "max_ms", "declared_ms"}
	for _, percent := range Percentiles {
		header = append(header, "p"+fmt.Sprint(percent)+"_ms")
	}
	_ = out.Write(header) // its error stays, for Error
	for _, p := range s.Pairs {
		record := []string{p.From, p.To, strconv.Itoa(p.Sent), strconv.Itoa(p.Answered),
			exact(p.Mean), exact(p.Stddev), exact(p.Min), exact(p.Max), exact(p.DeclaredMS)}
		for _, percent := range Percentiles {
			if value, known := p.Percentiles[fmt.Sprint(percent)]; known {
				record = append(record, exact(&value))
			} else {
				record = append(record, "")
			}
		}
		_ = out.Write(record)
	}
	out.Flush()
	return out.Error()
}

func exact(ms *float64) string {
	if ms == nil {
		return ""
	}
	return strconv.FormatFloat(*ms, 'g', -1, 64)
}

var page = template.Must(template.New("rtt").Funcs(template.FuncMap{
	"number": number, "lost": lost,
	"percentile": func(p Pair, name string) string {
		if value, known := p.Percentiles[name]; known {
			return number(&value)
		}
		return number(nil)
	},
	"svg": func(f Figure) template.HTML { return template.HTML(f.SVG) }, // drawn by us, of numbers and escaped names
}).Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{.Title}}</title>
<style>
body { font: 15px/1.4 system-ui, sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em; color: #222; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 1em 0; }
th, td { padding: .15em .6em; text-align: right; border-bottom: 1px solid #ddd; }
.overall { white-space: pre-line; }
figure { margin: 2em 0; } figcaption { color: #555; } svg { max-width: 100%; height: auto; }
</style></head><body>
<h1>{{.Title}}</h1>
<p>Round trips by {{.Study.Protocol}}, in milliseconds.</p>
<p class="overall">Between different machines: {{.Overall}}</p>
<table><tr><th>src</th><th>dst</th><th>mean</th><th>s.d.</th><th>min</th><th>25th</th><th>50th</th><th>75th</th><th>max</th>
<th>80th</th><th>90th</th><th>95th</th><th>98th</th><th>99th</th><th>99.9th</th><th>lost</th>{{if .Declared}}<th>declared</th>{{end}}</tr>
{{range $p := .Study.Pairs}}<tr><td>{{.From}}</td><td>{{.To}}</td><td>{{number .Mean}}</td><td>{{number .Stddev}}</td><td>{{number .Min}}</td>
{{- range $name := $.Columns}}<td>{{percentile $p $name}}</td>{{end}}<td>{{number .Max}}</td>
{{- range $name := $.Tail}}<td>{{percentile $p $name}}</td>{{end}}<td>{{lost .}}</td>{{if $.Declared}}<td>{{number .DeclaredMS}}</td>{{end}}</tr>
{{end}}</table>
{{range .Figures}}<figure>{{svg .}}<figcaption>{{.Caption}}</figcaption></figure>
{{end}}</body></html>
`))

// HTML writes a page that needs nothing else: the table and the figures.
func (s *Study) HTML(w io.Writer, title string, figures []Figure) error {
	return page.Execute(w, struct {
		Title, Overall string
		Study          *Study
		Figures        []Figure
		Columns, Tail  []string
		Declared       bool
	}{title, s.overall(), s, figures, columns, tail, slices.ContainsFunc(s.Pairs, declaredPair)})
}
