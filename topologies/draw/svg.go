package draw

import (
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

const (
	margin     = 14.0
	titleSize  = 14.0
	legendSize = 11.0
	legendRow  = 20.0
	// denseLinks is how many links are drawn thinner.
	denseLinks = 60
	// leastWidth leaves room for a legend below small drawings.
	leastWidth = 340.0
)

// SVG draws for a paper: vectors and text in a sans-serif font, nothing from
// elsewhere. Hosts are coloured by the roles of their processes and have the
// roles' letters, so that they can be told apart in black and white. What a link does
// stands at the link, each direction by itself where they differ; what most have
// stands in the legend only.
func SVG(w io.Writer, p Picture) error {
	n, err := newNetwork(p)
	if err != nil {
		return err
	}
	c := &canvas{scene: newScene(n)}
	c.draw()
	_, err = io.WriteString(w, c.b.String())
	return err
}

// canvas writes a scene.
type canvas struct {
	*scene
	b strings.Builder
}

// content is the rectangle around all that isn't title or legend.
func (s *scene) content() bounds {
	around := nothing
	for _, shape := range s.shapes {
		around = around.with(shape)
	}
	for _, labels := range [][]*label{s.labels, s.linkLabels} {
		for _, l := range labels {
			if l != nil {
				around = around.with(l.box)
			}
		}
	}
	for _, corners := range s.layout.bend {
		for _, corner := range corners {
			around = around.with(box{middle: corner, width: 2, height: 2})
		}
	}
	if len(s.shapes) == 0 {
		around = bounds{0, 0, leastWidth, 0}
	}
	return around
}

// view is the whole drawing's rectangle, and the legend laid out in it.
func (s *scene) view() (view bounds, legend []entry) {
	view = s.content()
	if missing := leastWidth - (view.right - view.left); missing > 0 {
		view.left, view.right = view.left-missing/2, view.right+missing/2
	}
	legend = s.legendEntries(view)
	for _, e := range legend {
		view.bottom = max(view.bottom, e.at.y+legendRow/2)
		view.right = max(view.right, e.at.x+e.width)
	}
	if s.Title != "" {
		view.top -= 2 * titleSize
		view.right = max(view.right, view.left+textWidth(s.Title, titleSize))
	}
	return bounds{view.left - margin, view.top - margin, view.right + margin, view.bottom + margin}, legend
}

// entry is one of a legend: a role, or a text.
type entry struct {
	role  *role
	text  string
	at    point // of its left end, in the middle of the row
	width float64
}

// legendEntries are laid out in rows below a rectangle.
func (s *scene) legendEntries(around bounds) []entry {
	var entries []entry
	at := point{around.left, around.bottom + 1.5*legendRow}
	for i := range s.roles {
		e := entry{role: &s.roles[i], text: s.roles[i].name}
		e.width = 2*hostRadius + textWidth(e.text, legendSize) + 20
		if at.x+e.width > around.right && at.x > around.left {
			at = point{around.left, at.y + legendRow}
		}
		e.at = at
		at.x += e.width
		entries = append(entries, e)
	}
	if len(s.roles) > 0 {
		at.y += legendRow + 4
	}
	for _, text := range notEmpty(s.legend(s.common), s.unlabelled) {
		entries = append(entries, entry{text: text, at: point{around.left, at.y}, width: textWidth(text, legendSize) + 6})
		at.y += legendRow
	}
	return entries
}

func (c *canvas) draw() {
	view, legend := c.view()
	width, height := view.right-view.left, view.bottom-view.top
	c.printf("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%s\" height=\"%s\" viewBox=\"%s %s %s %s\" font-family=\"Helvetica, Arial, 'Liberation Sans', sans-serif\">\n",
		px(width), px(height), px(view.left), px(view.top), px(width), px(height))
	c.printf("<rect x=\"%s\" y=\"%s\" width=\"%s\" height=\"%s\" fill=\"#FFFFFF\"/>\n", px(view.left), px(view.top), px(width), px(height))
	if c.Title != "" {
		c.printf("<title>%s</title>\n", escaped(c.Title))
		c.text(point{view.left + margin, view.top + margin + titleSize/2}, c.Title, titleSize, -1, "#000000", " font-weight=\"bold\"")
	}
	for i := range c.links {
		c.link(i)
	}
	for _, l := range c.linkLabels {
		c.label(l)
	}
	for i, node := range c.nodes {
		if node.isSwitch {
			c.switchBox(i)
		} else {
			c.host(c.layout.at[i], node.roles)
			c.label(c.labels[i])
		}
	}
	for _, e := range legend {
		c.legendEntry(e)
	}
	c.b.WriteString("</svg>\n")
}

func (c *canvas) printf(format string, arguments ...any) {
	fmt.Fprintf(&c.b, format, arguments...)
}

// px writes a length to a tenth.
func px(x float64) string {
	s := strconv.FormatFloat(x, 'f', 1, 64)
	if s = strings.TrimSuffix(s, ".0"); s == "-0" {
		return "0"
	}
	return s
}

// escaped is text for XML; what XML can't hold becomes the replacement character.
func escaped(text string) string {
	var b strings.Builder
	if err := xml.EscapeText(&b, []byte(text)); err != nil {
		panic("draw: a strings.Builder that can't be written: " + err.Error())
	}
	return b.String()
}

// text writes a line whose middle is at a height; align as in label.
func (c *canvas) text(at point, text string, size float64, align int, ink, more string) {
	anchor := map[int]string{-1: "start", 0: "middle", 1: "end"}[align]
	c.printf("<text x=\"%s\" y=\"%s\" font-size=\"%s\" text-anchor=\"%s\" fill=\"%s\"%s>%s</text>\n",
		px(at.x), px(at.y+0.36*size), px(size), anchor, ink, more, escaped(text))
}

func (c *canvas) link(i int) {
	var points []string
	for _, p := range c.line(i) {
		points = append(points, px(p.x)+","+px(p.y))
	}
	stroke, dash := "1.3", ""
	if len(c.links) > denseLinks {
		stroke = "0.7"
	}
	if c.links[i].AToB.Down && c.links[i].BToA.Down {
		dash = ` stroke-dasharray="5 4"`
	}
	c.printf("<polyline points=\"%s\" fill=\"none\" stroke=\"#555555\" stroke-width=\"%s\"%s/>\n", strings.Join(points, " "), stroke, dash)
}

// label writes lines of text in their box; those of links hide what is behind them.
func (c *canvas) label(l *label) {
	b := l.box
	turn := ""
	if degrees := b.angle * 180 / math.Pi; math.Abs(degrees) > 0.05 {
		turn = fmt.Sprintf(" transform=\"rotate(%s %s %s)\"", px(degrees), px(b.middle.x), px(b.middle.y))
	}
	corner := b.middle.minus(point{b.width / 2, b.height / 2})
	white := func(top, width, height float64) {
		c.printf("<rect x=\"%s\" y=\"%s\" width=\"%s\" height=\"%s\" fill=\"#FFFFFF\"%s/>\n", px(b.middle.x-width/2), px(top), px(width), px(height), turn)
	}
	if l.size == linkSize && !l.beside {
		white(corner.y, b.width, b.height)
	}
	x := b.middle.x + float64(l.align)*b.width/2
	for i, line := range l.lines {
		y := corner.y + b.height*(float64(i)+0.5)/float64(len(l.lines))
		if l.beside {
			white(y-linkSize/2, linkTextWidth(line), linkSize)
		}
		more := turn
		if l.size == nodeSize && i == 0 && len(l.lines) > 1 {
			more += ` font-weight="bold"`
		}
		c.text(point{x, y}, line, l.size, l.align, "#000000", more)
	}
}

func (c *canvas) switchBox(i int) {
	b := c.shapes[i]
	c.printf("<rect x=\"%s\" y=\"%s\" width=\"%s\" height=\"%s\" rx=\"4\" fill=\"#333333\"/>\n",
		px(b.middle.x-b.width/2), px(b.middle.y-b.height/2), px(b.width), px(b.height))
	c.text(b.middle, c.nodes[i].name, nodeSize, 0, "#FFFFFF", "")
}

// host draws a circle in the colour of its role, or with a sector for each.
func (c *canvas) host(at point, roles []int) {
	fill := "#FFFFFF"
	if len(roles) == 1 {
		fill = c.roles[roles[0]].fill
	}
	c.printf("<circle cx=\"%s\" cy=\"%s\" r=\"%s\" fill=\"%s\" stroke=\"#000000\" stroke-width=\"1\"/>\n", px(at.x), px(at.y), px(hostRadius), fill)
	if len(roles) == 1 {
		c.letter(at, c.roles[roles[0]], 10)
		return
	}
	for i, number := range roles {
		from := -math.Pi/2 + 2*math.Pi*float64(i)/float64(len(roles))
		to := from + 2*math.Pi/float64(len(roles))
		start, end := at.plus(polar(from, hostRadius)), at.plus(polar(to, hostRadius))
		c.printf("<path d=\"M%s %sL%s %sA%s %s 0 0 1 %s %sZ\" fill=\"%s\" stroke=\"#000000\" stroke-width=\"0.6\"/>\n",
			px(at.x), px(at.y), px(start.x), px(start.y), px(hostRadius), px(hostRadius), px(end.x), px(end.y), c.roles[number].fill)
		if len(roles) <= 4 {
			c.letter(at.plus(polar((from+to)/2, 0.58*hostRadius)), c.roles[number], 7)
		}
	}
}

func (c *canvas) letter(at point, r role, size float64) {
	if len(r.letter) > 2 {
		size *= 0.7
	}
	c.text(at, r.letter, size, 0, r.ink, "")
}

func (c *canvas) legendEntry(e entry) {
	at := e.at
	if e.role != nil {
		at.x += hostRadius
		c.printf("<circle cx=\"%s\" cy=\"%s\" r=\"%s\" fill=\"%s\" stroke=\"#000000\" stroke-width=\"1\"/>\n", px(at.x), px(at.y), px(hostRadius-2), e.role.fill)
		c.letter(at, *e.role, 9)
		at.x += hostRadius + 4
	}
	c.text(at, e.text, legendSize, -1, "#000000", "")
}
