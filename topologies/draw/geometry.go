package draw

import "math"

// point is in pixels, y downwards.
type point struct{ x, y float64 }

func (p point) plus(q point) point    { return point{p.x + q.x, p.y + q.y} }
func (p point) minus(q point) point   { return point{p.x - q.x, p.y - q.y} }
func (p point) times(f float64) point { return point{p.x * f, p.y * f} }
func (p point) dot(q point) float64   { return p.x*q.x + p.y*q.y }
func (p point) length() float64       { return math.Hypot(p.x, p.y) }
func polar(angle, length float64) point {
	return point{length * math.Cos(angle), length * math.Sin(angle)}
}

// unit has length 1 and the same direction; down if there is none.
func (p point) unit() point {
	if p.length() < 1e-9 {
		return point{0, 1}
	}
	return p.times(1 / p.length())
}

// box is a rectangle, turned by an angle about its middle; or, if it is round, the
// circle in it.
type box struct {
	middle        point
	width, height float64
	angle         float64
	round         bool
}

// axes are the directions of the box's sides.
func (b box) axes() [2]point {
	if b.angle == 0 {
		return [2]point{{1, 0}, {0, 1}}
	}
	return [2]point{polar(b.angle, 1), polar(b.angle+math.Pi/2, 1)}
}

// reach is how far the box extends from its middle in a direction.
func (b box) reach(direction point) float64 {
	axes := b.axes()
	return math.Abs(axes[0].dot(direction))*b.width/2 + math.Abs(axes[1].dot(direction))*b.height/2
}

// overlaps tells whether two boxes come nearer than a gap, by the theorem of the
// separating axis.
func (b box) overlaps(c box, gap float64) bool {
	between := c.middle.minus(b.middle)
	far := (b.width+b.height+c.width+c.height)/2 + max(gap, 0)
	switch {
	case math.Abs(between.x) > far || math.Abs(between.y) > far:
		return false // however they are turned
	case b.round && c.round:
		return between.length() < (b.width+c.width)/2+gap
	case b.round:
		return c.distance(b.middle) < b.width/2+gap
	case c.round:
		return b.distance(c.middle) < c.width/2+gap
	}
	for _, axes := range [][2]point{b.axes(), c.axes()} {
		for _, axis := range axes {
			if math.Abs(between.dot(axis)) >= b.reach(axis)+c.reach(axis)+gap {
				return false
			}
		}
	}
	return true
}

// distance from a point to the box, 0 inside.
func (b box) distance(p point) float64 {
	axes, away := b.axes(), p.minus(b.middle)
	x := math.Max(0, math.Abs(away.dot(axes[0]))-b.width/2)
	y := math.Max(0, math.Abs(away.dot(axes[1]))-b.height/2)
	return math.Hypot(x, y)
}

// crossed tells whether a line from p to q passes through the box.
func (b box) crossed(p, q point) bool {
	far := (b.width + b.height) / 2
	if math.Max(p.x, q.x) < b.middle.x-far || math.Min(p.x, q.x) > b.middle.x+far ||
		math.Max(p.y, q.y) < b.middle.y-far || math.Min(p.y, q.y) > b.middle.y+far {
		return false
	}
	line := box{middle: p.plus(q).times(0.5), width: q.minus(p).length(), angle: math.Atan2(q.y-p.y, q.x-p.x)}
	return b.overlaps(line, 0)
}

// bounds is the upright rectangle around points.
type bounds struct{ left, top, right, bottom float64 }

var nothing = bounds{math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)}

func (b bounds) with(c box) bounds {
	dx, dy := c.reach(point{1, 0}), c.reach(point{0, 1})
	return bounds{math.Min(b.left, c.middle.x-dx), math.Min(b.top, c.middle.y-dy),
		math.Max(b.right, c.middle.x+dx), math.Max(b.bottom, c.middle.y+dy)}
}

// helvetica has the widths of ASCII from the blank on in thousandths of the font's
// size, from Adobe's font metrics for Helvetica; Arial's are the same.
var helvetica = [...]int{
	278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278,
	556, 556, 556, 556, 556, 556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556,
	1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833, 722, 778,
	667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556,
	333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556,
	556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584,
}

// textWidth is about how wide a text is. Sans-serif fonts that may stand in
// for Helvetica are a little wider, up to which there is room.
func textWidth(text string, size float64) float64 {
	sum := 0
	for _, r := range text {
		switch {
		case r >= ' ' && int(r-' ') < len(helvetica):
			sum += helvetica[r-' ']
		case r < 0x1100:
			sum += 600
		default:
			sum += 1000
		}
	}
	return float64(sum) / 1000 * size * 1.08
}
