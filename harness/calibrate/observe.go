package calibrate

import (
	"cmp"
	"math"
	"slices"
)

// record is one stream, train or burst: what was sent onto a direction, and what came.
// The i-th frame, in the order in which they were sent, has the number i. Times are
// those of one clock.
type record struct {
	// bytes is the size of each frame.
	bytes int
	// intervalNS is what was asked for.
	intervalNS int64
	sentNS     []int64
	// arrivals come in their order; what came later than cutNS isn't among them.
	arrivals []arrival
	cutNS    int64
	// damaged frames came with other bytes than were sent; overflowed ones found no room
	// at the receiver.
	damaged, overflowed int
}

type arrival struct {
	frame int
	atNS  int64
}

// observation is what a record shows, be it of a link or of the model.
type observation struct {
	frames int
	// delaysNS are those of the frames that came, sorted; of two copies the first counts.
	delaysNS []float64
	// missing frames never came, in runs of one or more that were sent in a row.
	missing, runs int
	// doubled frames came twice or more.
	doubled int
	// overtaking frames came before one that was sent earlier; followed ones of them are
	// those that a further one was sent behind, lag frames later.
	overtaking, followed int
}

// observe sums up a record; lag is that of followed.
func observe(r *record, lag int) observation {
	o := count(r, lag)
	seen := make([]bool, len(r.sentNS))
	o.delaysNS = make([]float64, 0, len(r.arrivals))
	for _, a := range r.arrivals {
		if !seen[a.frame] {
			seen[a.frame] = true
			o.delaysNS = append(o.delaysNS, float64(a.atNS-r.sentNS[a.frame]))
		}
	}
	slices.Sort(o.delaysNS)
	return o
}

// count is observe without the delays.
func count(r *record, lag int) observation {
	o := observation{frames: len(r.sentNS)}
	came := make([]uint8, len(r.sentNS)) // how often, up to twice
	order := make([]int, 0, len(r.arrivals))
	inOrder := true
	for _, a := range r.arrivals {
		switch came[a.frame]++; came[a.frame] {
		case 1:
			inOrder = inOrder && (len(order) == 0 || order[len(order)-1] < a.frame)
			order = append(order, a.frame)
		case 2:
			o.doubled++
		case 3:
			came[a.frame] = 2
		}
	}
	for i, times := range came {
		if times == 0 {
			o.missing++
			if i == 0 || came[i-1] > 0 {
				o.runs++
			}
		}
	}
	if !inOrder {
		o.countOvertaking(order, max(lag, 1))
	}
	return o
}

// countOvertaking goes through the frames backwards in the order in which they came: a
// frame overtook if one with a lower number came later.
func (o *observation) countOvertaking(order []int, lag int) {
	overtook := make([]bool, o.frames)
	least := math.MaxInt
	for _, frame := range slices.Backward(order) {
		overtook[frame] = frame > least
		least = min(least, frame)
	}
	for i, it := range overtook {
		if !it {
			continue
		}
		o.overtaking++
		if i+lag < len(overtook) && overtook[i+lag] {
			o.followed++
		}
	}
}

// inOrder sorts arrivals by their times; those of the same time stay in their order.
func inOrder(arrivals []arrival) {
	compare := func(a, b arrival) int { return cmp.Compare(a.atNS, b.atNS) }
	if !slices.IsSortedFunc(arrivals, compare) {
		slices.SortStableFunc(arrivals, compare)
	}
}
