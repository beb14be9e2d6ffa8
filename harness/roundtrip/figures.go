package roundtrip

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Figure is one figure of a study, as SVG.
type Figure struct {
	// Name is fit for a file's name, such as "cdf-h1".
	Name    string
	Caption string
	SVG     []byte
}

const (
	figureWidth  = 16 * vg.Centimeter
	figureHeight = 8 * vg.Centimeter
	legendGap    = 4 * vg.Millimeter
	// maxLegendRows fit below each other beside a figure.
	maxLegendRows = 16
	// maxPoints bounds what a figure draws of a pair; of more, some are left out evenly.
	maxPoints = 2000
	// Axes of round trips reach from the least to so many interquartile ranges above the
	// third quartile of each pair: however many pairs there are each is seen, and some
	// late round trips don't squeeze the others together.
	axisRanges = 4
	figureEdge = 1.5 * vg.Millimeter
	legendSize = vg.Length(9)
)

// palette is Okabe and Ito's, which colour-blind readers tell apart too.
var palette = []color.Color{
	color.RGBA{0x00, 0x72, 0xb2, 0xff}, color.RGBA{0xe6, 0x9f, 0x00, 0xff}, color.RGBA{0x00, 0x9e, 0x73, 0xff},
	color.RGBA{0xd5, 0x5e, 0x00, 0xff}, color.RGBA{0xcc, 0x79, 0xa7, 0xff}, color.RGBA{0x56, 0xb4, 0xe9, 0xff},
	color.RGBA{0x00, 0x00, 0x00, 0xff},
}

var gridColour = color.Gray{Y: 0xe4}

// dashes tell lines apart in print too, once the colours are used up.
var dashes = [][]vg.Length{nil, {vg.Points(4), vg.Points(2)}, {vg.Points(1), vg.Points(2)}, {vg.Points(6), vg.Points(2), vg.Points(1), vg.Points(2)}}

// Figures are the distribution of all round trips beside the normal one fitted to
// their bulk, then for each machine the cumulative distributions of its round trips to
// each other, and these round trips over time.
func (s *Study) Figures() ([]Figure, error) {
	if len(s.all) == 0 {
		return nil, nil
	}
	figures := []func() (Figure, error){s.density}
	for _, from := range s.sources() {
		figures = append(figures,
			func() (Figure, error) { return s.cumulative(from) },
			func() (Figure, error) { return s.overTime(from) })
	}
	var drawn []Figure
	for _, draw := range figures {
		figure, err := draw()
		if err != nil {
			return nil, fmt.Errorf("drawing a figure of round trips: %w", err)
		}
		drawn = append(drawn, figure)
	}
	return drawn, nil
}

// sources are the machines with answers, in their order.
func (s *Study) sources() []string {
	var sources []string
	for _, p := range s.Pairs {
		if p.Answered > 0 && !slices.Contains(sources, p.From) {
			sources = append(sources, p.From)
		}
	}
	return sources
}

// axis is that of the round trips of pairs, in ms, and the share of them that lies beyond.
func (s *Study) axis(pairs []Pair) (low, high, beyond float64) {
	low = math.Inf(1)
	for _, pair := range pairs {
		low = min(low, *pair.Min)
		third := pair.Percentiles["75"]
		high = max(high, min(*pair.Max, third+axisRanges*(third-pair.Percentiles["25"])))
	}
	margin := 0.05 * (high - low)
	low, high = max(0, low-margin), high+margin
	answered, outside := 0, 0
	for _, pair := range pairs {
		for _, ms := range s.samples[[2]string{pair.From, pair.To}].ms {
			if ms > high {
				outside++
			}
		}
		answered += pair.Answered
	}
	return low, high, float64(outside) / float64(answered)
}

// shown are the pairs of a figure, those from a machine that were answered.
func (s *Study) shown(from string) (pairs []Pair) {
	for _, pair := range s.Pairs {
		if pair.From == from && pair.Answered > 0 {
			pairs = append(pairs, pair)
		}
	}
	return pairs
}

// beyondAxis is what a caption says of round trips that aren't seen.
func beyondAxis(share float64) string {
	if share == 0 {
		return ""
	}
	return fmt.Sprintf(" %.2g%% of them are beyond the axis.", 100*share)
}

func newPlot(x, y string) *plot.Plot {
	p := plot.New()
	p.X.Label.Text, p.Y.Label.Text = x, y
	p.X.LineStyle.Width, p.Y.LineStyle.Width = vg.Points(0.6), vg.Points(0.6)
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = gridColour, gridColour
	p.Add(grid)
	return p
}

// density is a histogram of all round trips, scaled to a probability density, with the
// fit.
func (s *Study) density() (Figure, error) {
	p := newPlot("round trip [ms]", "probability density [1/ms]")
	pairs := slices.DeleteFunc(slices.Clone(s.Pairs), func(pair Pair) bool { return pair.Answered == 0 || !s.counts(pair.From, pair.To) })
	low, high, beyond := s.axis(pairs)
	within, _ := slices.BinarySearch(s.all, high)
	histogram, err := plotter.NewHist(plotter.Values(s.all[:max(within, 1)]), 150)
	if err != nil {
		return Figure{}, err
	}
	histogram.FillColor, histogram.LineStyle.Width = palette[5], 0
	for i := range histogram.Bins { // of all, also those beyond the axis
		bin := &histogram.Bins[i]
		if width := bin.Max - bin.Min; width > 0 {
			bin.Weight /= float64(len(s.all)) * width
		}
		p.Y.Max = max(p.Y.Max, 1.05*bin.Weight)
	}
	p.Add(histogram)
	caption := fmt.Sprintf("All %d round trips between different machines.", len(s.all)) +
		beyondAxis(beyond)
	if n := s.All.Normal; n != nil {
		normal := distuv.Normal{Mu: n.Mean, Sigma: n.Stddev}
		line := plotter.NewFunction(func(x float64) float64 { return n.Share * normal.Prob(x) })
		line.Color, line.Width, line.Samples = palette[3], vg.Points(1.5), 400
		p.Add(line)
		p.Y.Max = max(p.Y.Max, 1.05*n.Share*normal.Prob(n.Mean))
		caption += fmt.Sprintf(" The line is a normal distribution with mean %.3g ms and standard deviation %.3g ms, fitted to the bulk (%.1f%%).",
			n.Mean, n.Stddev, 100*n.Share)
		if n.KS > badFit {
			caption += " The bulk isn't normal."
		}
	}
	p.X.Min, p.X.Max, p.Y.Min = low, high, 0
	return finish(p, nil, "density", caption)
}

// lines draws something for each peer of a machine, and names them in a legend.
func (s *Study) lines(p *plot.Plot, from string, points func(*sample) plotter.XYs, scattered bool) ([]plot.Legend, error) {
	var legends []plot.Legend
	for i, pair := range s.shown(from) {
		xys := points(s.samples[[2]string{pair.From, pair.To}])
		colour, dash := palette[i%len(palette)], dashes[i/len(palette)%len(dashes)]
		if i%maxLegendRows == 0 {
			legend := plot.NewLegend()
			legend.TextStyle.Font.Size = legendSize
			legends = append(legends, legend)
		}
		legend := &legends[len(legends)-1]
		if scattered {
			scatter, err := plotter.NewScatter(xys)
			if err != nil {
				return nil, err
			}
			shape := shapes[i/len(palette)%len(shapes)]
			scatter.GlyphStyle = draw.GlyphStyle{Color: colour, Radius: vg.Points(1), Shape: shape}
			p.Add(scatter)
			inLegend := *scatter
			inLegend.Radius = vg.Points(2.5)
			legend.Add("to "+shortened(pair.To), &inLegend)
			continue
		}
		line, err := plotter.NewLine(xys)
		if err != nil {
			return nil, err
		}
		line.Color, line.Dashes, line.Width = colour, dash, vg.Points(1.2)
		p.Add(line)
		legend.Add("to "+shortened(pair.To), line)
	}
	return legends, nil
}

// shapes of points tell them apart once the colours are used up.
var shapes = []draw.GlyphDrawer{draw.CircleGlyph{}, draw.CrossGlyph{}, draw.TriangleGlyph{}, draw.PlusGlyph{}}

// shortened leaves a legend narrow enough for the figure beside it.
func shortened(name string) string {
	const most = 24
	if runes := []rune(name); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return name
}

func (s *Study) cumulative(from string) (Figure, error) {
	p := newPlot("round trip [ms]", "share of round trips")
	legends, err := s.lines(p, from, func(sample *sample) plotter.XYs {
		sorted := slices.Sorted(slices.Values(sample.ms))
		xys := plotter.XYs{{X: sorted[0], Y: 0}}
		for _, i := range thinned(len(sorted)) {
			xys = append(xys, plotter.XY{X: sorted[i], Y: float64(i+1) / float64(len(sorted))})
		}
		return xys
	}, false)
	if err != nil {
		return Figure{}, err
	}
	low, high, beyond := s.axis(s.shown(from))
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = low, high, 0, 1
	return finish(p, legends, "cdf-"+from, "Cumulative distributions of the round trips from "+from+"."+beyondAxis(beyond))
}

func (s *Study) overTime(from string) (Figure, error) {
	p := newPlot("time since the first probe [s]", "round trip [ms]")
	left := false
	legends, err := s.lines(p, from, func(sample *sample) plotter.XYs {
		var xys plotter.XYs
		indexes := thinned(len(sample.ms))
		left = left || len(indexes) < len(sample.ms)
		for _, i := range indexes {
			xys = append(xys, plotter.XY{X: float64(sample.sentNS[i]-s.beganNS) / 1e9, Y: sample.ms[i]})
		}
		return xys
	}, true)
	if err != nil {
		return Figure{}, err
	}
	low, high, beyond := s.axis(s.shown(from))
	p.Y.Min, p.Y.Max = low, high
	caption := "Round trips from " + from + " over time." + beyondAxis(beyond)
	if left {
		caption += fmt.Sprintf(" Of each pair %d points are drawn, evenly chosen.", maxPoints)
	}
	return finish(p, legends, "time-"+from, caption)
}

// thinned are the indexes of n values that are drawn, the last always.
func thinned(n int) []int {
	count := min(n, maxPoints)
	indexes := make([]int, count)
	for i := range indexes {
		indexes[i] = (i + 1) * n / count
		indexes[i]--
	}
	return indexes
}

// finish draws a figure with its legends beside it, where they hide nothing.
func finish(p *plot.Plot, legends []plot.Legend, name, caption string) (Figure, error) {
	canvas := vgsvg.New(figureWidth, figureHeight)
	canvas.SetColor(color.White)
	canvas.Fill(vg.Rectangle{Max: vg.Point{X: figureWidth, Y: figureHeight}}.Path())
	area := draw.Crop(draw.New(canvas), figureEdge, -figureEdge, figureEdge, -figureEdge)
	p.Draw(draw.Crop(area, 0, -drawLegends(legends, area), 0, 0))
	var svg bytes.Buffer
	if _, err := canvas.WriteTo(&svg); err != nil {
		return Figure{}, err
	}
	return Figure{Name: name, Caption: caption, SVG: svg.Bytes()}, nil
}

// drawLegends draws legends side by side at the right edge, as many as leave half of the
// width to the figure, and returns their width.
func drawLegends(legends []plot.Legend, area draw.Canvas) (width vg.Length) {
	fitting := 0
	for _, legend := range legends {
		needed := width + legend.Rectangle(area).Size().X + legendGap
		if fitting > 0 && needed > area.Size().X/2 {
			break
		}
		fitting, width = fitting+1, needed
	}
	left := -width
	for _, legend := range legends[:fitting] {
		legend.Top, legend.Left = true, true
		column := draw.Crop(area, area.Size().X+left+legendGap, 0, 0, 0)
		legend.Draw(column)
		left += legend.Rectangle(area).Size().X + legendGap
	}
	return width
}
