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
	// maxPoints bounds what a figure draws of a pair; of more, some are left out evenly.
	maxPoints = 2000
	// axisQuantile is the share of all round trips that the axes reach to.
	axisQuantile = 0.99
)

// palette is Okabe and Ito's, which colour-blind readers tell apart too.
var palette = []color.Color{
	color.RGBA{0x00, 0x72, 0xb2, 0xff}, color.RGBA{0xe6, 0x9f, 0x00, 0xff}, color.RGBA{0x00, 0x9e, 0x73, 0xff},
	color.RGBA{0xd5, 0x5e, 0x00, 0xff}, color.RGBA{0xcc, 0x79, 0xa7, 0xff}, color.RGBA{0x56, 0xb4, 0xe9, 0xff},
	color.RGBA{0x00, 0x00, 0x00, 0xff},
}

// dashes tell lines apart in print too, once the colours are used up.
var dashes = [][]vg.Length{nil, {vg.Points(4), vg.Points(2)}, {vg.Points(1), vg.Points(2)}}

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

// axisEnd is how far the axes of round trips reach, in ms.
func (s *Study) axisEnd() float64 { return quantile(s.all, axisQuantile) * 1.05 }

func (s *Study) newPlot(x, y string) *plot.Plot {
	p := plot.New()
	p.X.Label.Text, p.Y.Label.Text = x, y
	p.Legend.Top = true
	return p
}

// density is a histogram of all round trips, scaled to a probability density, with the
// fit.
func (s *Study) density() (Figure, error) {
	p := s.newPlot("round trip [ms]", "probability density [1/ms]")
	end := s.axisEnd()
	within, _ := slices.BinarySearch(s.all, end)
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
	}
	p.Add(histogram)
	caption := fmt.Sprintf("All %d round trips; %.1f%% of them are beyond the axis.", len(s.all),
		100*float64(len(s.all)-within)/float64(len(s.all)))
	if n := s.All.Normal; n != nil {
		normal := distuv.Normal{Mu: n.Mean, Sigma: n.Stddev}
		line := plotter.NewFunction(func(x float64) float64 { return n.Share * normal.Prob(x) })
		line.Color, line.Width, line.Samples = palette[3], vg.Points(1.5), 400
		p.Add(line)
		caption += fmt.Sprintf(" The line is a normal distribution with mean %.3g ms and standard deviation %.3g ms, fitted to the bulk (%.1f%%).",
			n.Mean, n.Stddev, 100*n.Share)
	}
	p.X.Min, p.X.Max, p.Y.Min = math.Max(0, s.all[0]*0.95), end, 0
	return s.finish(p, "density", caption)
}

// lines draws something for each peer of a machine.
func (s *Study) lines(p *plot.Plot, from string, points func(*sample) plotter.XYs, scattered bool) error {
	i := 0
	for _, pair := range s.Pairs {
		if pair.From != from || pair.Answered == 0 {
			continue
		}
		xys := points(s.samples[[2]string{pair.From, pair.To}])
		colour, dash := palette[i%len(palette)], dashes[i/len(palette)%len(dashes)]
		i++
		if scattered {
			scatter, err := plotter.NewScatter(xys)
			if err != nil {
				return err
			}
			scatter.GlyphStyle = draw.GlyphStyle{Color: colour, Radius: vg.Points(1), Shape: draw.CircleGlyph{}}
			p.Add(scatter)
			p.Legend.Add("to "+pair.To, scatter)
			continue
		}
		line, err := plotter.NewLine(xys)
		if err != nil {
			return err
		}
		line.Color, line.Dashes, line.Width = colour, dash, vg.Points(1.2)
		p.Add(line)
		p.Legend.Add("to "+pair.To, line)
	}
	return nil
}

func (s *Study) cumulative(from string) (Figure, error) {
	p := s.newPlot("round trip [ms]", "share of round trips")
	p.Legend.Top, p.Legend.Left = false, false
	err := s.lines(p, from, func(sample *sample) plotter.XYs {
		sorted := slices.Sorted(slices.Values(sample.ms))
		var xys plotter.XYs
		for _, i := range thinned(len(sorted)) {
			xys = append(xys, plotter.XY{X: sorted[i], Y: float64(i+1) / float64(len(sorted))})
		}
		return xys
	}, false)
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = math.Max(0, s.all[0]*0.95), s.axisEnd(), 0, 1
	if err != nil {
		return Figure{}, err
	}
	return s.finish(p, "cdf-"+from, "Cumulative distribution of the round trips from "+from+" to each other machine.")
}

func (s *Study) overTime(from string) (Figure, error) {
	p := s.newPlot("time since the first probe [s]", "round trip [ms]")
	left := false
	err := s.lines(p, from, func(sample *sample) plotter.XYs {
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
	p.Y.Min, p.Y.Max = math.Max(0, s.all[0]*0.95), s.axisEnd()
	caption := "Round trips from " + from + " over time."
	if left {
		caption += fmt.Sprintf(" Of each pair %d points are drawn, evenly chosen.", maxPoints)
	}
	return s.finish(p, "time-"+from, caption)
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

func (s *Study) finish(p *plot.Plot, name, caption string) (Figure, error) {
	canvas := vgsvg.New(figureWidth, figureHeight)
	p.Draw(draw.New(canvas))
	var svg bytes.Buffer
	if _, err := canvas.WriteTo(&svg); err != nil {
		return Figure{}, err
	}
	return Figure{Name: name, Caption: caption, SVG: svg.Bytes()}, nil
}
