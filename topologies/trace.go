package topologies

import (
	"math"
	"time"
)

// until is when the next row after one comes.
func (t *Trace) until(row int) time.Duration {
	if row+1 < len(t.Times) {
		return t.Times[row+1]
	}
	return t.Period
}

// mean is that of the delays that frames meet over time, the gap policy applied; where
// frames are lost doesn't count. A gap begins with a row that is far from the next, or
// with the first of several without an answer, and ends with an answer.
func (t *Trace) mean() time.Duration {
	n, first := len(t.Times), 0
	for first < n && t.Excess[first] < 0 {
		first++
	}
	if first == n {
		return 0
	}
	var sum, length float64
	add := func(value, lasts float64) {
		sum += value * lasts
		length += lasts
	}
	for row := first; row < first+n; {
		held := float64(t.Excess[row%n])
		gap := 0.0
		if lasts := t.until(row%n) - t.Times[row%n]; lasts > t.GapAfter {
			gap += float64(lasts)
		} else {
			add(held, float64(lasts))
		}
		for row++; t.Excess[row%n] < 0; row++ {
			gap += float64(t.until(row%n) - t.Times[row%n])
		}
		switch t.Gap {
		case GapHold:
			add(held, gap)
		case GapInterpolate:
			add((held+float64(t.Excess[row%n]))/2, gap)
		}
	}
	if length == 0 {
		return 0
	}
	return time.Duration(math.Round(sum / length))
}

// means are the mean delays of a topology's links, A to B and B to A. Each distribution
// and trace is looked at once, however many links have it.
func (t *Topology) means() [][2]time.Duration {
	measured := map[Parameters]time.Duration{}
	mean := func(p *Parameters) time.Duration {
		if p.Trace == nil && p.JitterTable == nil {
			return p.MeanDelay()
		}
		known, ok := measured[*p]
		if !ok {
			known = p.MeanDelay()
			measured[*p] = known
		}
		return known
	}
	means := make([][2]time.Duration, len(t.Links))
	for i := range t.Links {
		means[i] = [2]time.Duration{mean(&t.Links[i].AToB), mean(&t.Links[i].BToA)}
	}
	return means
}
