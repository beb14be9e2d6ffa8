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
// frames are lost doesn't count.
func (t *Trace) mean() time.Duration {
	mean, _ := t.average()
	return mean
}

// average is mean, and the share of the time in which frames are lost. A gap begins with
// a row that is far from the next, or with the first of several without an answer, and
// ends with an answer.
func (t *Trace) average() (mean time.Duration, lost float64) {
	n, first := len(t.Times), 0
	for first < n && t.Excess[first] < 0 {
		first++
	}
	if first == n {
		return 0, 0
	}
	var sum, length, gaps float64
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
		case GapLose:
			gaps += gap
		}
	}
	if length == 0 {
		return 0, 1
	}
	return time.Duration(math.Round(sum / length)), gaps / (gaps + length)
}

// means is what a direction does to frames in the long run.
type means struct {
	delay time.Duration
	loss  float64
}

// means are those of a topology's links, A to B and B to A. Each distribution and trace
// is looked at once, however many links have it.
func (t *Topology) means() [][2]means {
	measured := map[Parameters]means{}
	mean := func(p *Parameters) means {
		if p.Trace == nil && p.JitterTable == nil {
			return means{p.MeanPropagation(), p.LossShare()}
		}
		known, ok := measured[*p]
		if !ok {
			known = means{p.MeanPropagation(), p.LossShare()}
			measured[*p] = known
		}
		return known
	}
	all := make([][2]means, len(t.Links))
	for i := range t.Links {
		all[i] = [2]means{mean(&t.Links[i].AToB), mean(&t.Links[i].BToA)}
	}
	return all
}
