package measure

import (
	"cmp"
	"math"
	"slices"
	"sort"
)

const (
	// leastBaseline is how many answered requests say what is normal.
	leastBaseline = 5
	// lateFactor times the 99th percentile of what is normal is late.
	lateFactor = 2
	// backShare is how far above the normal mean latency is still normal.
	backShare = 0.05
	// leastWindow and mostWindow bound the requests whose mean is compared with the normal
	// one.
	leastWindow, mostWindow = 5, 1000
)

// baseline is what a trial's latency was before anything broke.
type baseline struct {
	// latencies are those of the answered requests, ascending; timeouts others.
	latenciesNS []int64
	timeouts    int
	meanNS      float64
	// typicalNS is the median. lateNS is the bound beyond which a request is late.
	typicalNS, lateNS int64
	// window is of how many requests the mean keeps within backShare of the normal mean
	// nearly always (two standard errors).
	window int
}

// newBaseline takes the requests that were due in the measured phase before its first
// fault; if those are too few, all before the load's first fault. Faults that are applied
// in the warm-up and last are part of what is normal then. It is nil if there are too few
// of those as well.
func newBaseline(t *brokenTrial) *baseline {
	first, firstMeasured := t.endNS, t.endNS
	for _, fault := range t.faults {
		if fault.AppliedNS == nil {
			continue
		}
		appliedNS := t.startNS + *fault.AppliedNS
		first = min(first, appliedNS)
		if appliedNS >= t.measureNS {
			firstMeasured = min(firstMeasured, appliedNS)
		}
	}
	if b := t.baselineOf(t.measureNS, firstMeasured); b != nil {
		return b
	}
	return t.baselineOf(t.startNS, first)
}

// baselineOf describes the requests due between two times that were answered by the
// second, or were overtaken by one that was.
func (t *brokenTrial) baselineOf(fromNS, toNS int64) *baseline {
	b := &baseline{}
	overtakenNS := int64(math.MinInt64)
	for _, r := range t.requests {
		if r.doneNS <= toNS {
			overtakenNS = max(overtakenNS, r.dueNS)
		}
	}
	for _, r := range t.requests {
		switch {
		case r.dueNS < fromNS || r.dueNS >= toNS:
		case r.doneNS <= toNS:
			b.latenciesNS = append(b.latenciesNS, r.doneNS-r.dueNS)
		case !r.answered() && r.dueNS < overtakenNS:
			b.timeouts++
		}
	}
	if len(b.latenciesNS) < leastBaseline {
		return nil
	}
	slices.Sort(b.latenciesNS)
	var sum, squares float64
	for _, ns := range b.latenciesNS {
		sum += float64(ns)
	}
	n := float64(len(b.latenciesNS))
	b.meanNS = sum / n
	for _, ns := range b.latenciesNS {
		squares += (float64(ns) - b.meanNS) * (float64(ns) - b.meanNS)
	}
	b.typicalNS, _ = Percentile(b.latenciesNS, 0, 500)
	p99, _ := Percentile(b.latenciesNS, 0, 990)
	b.lateNS = lateFactor * p99
	b.window = leastWindow
	if b.meanNS > 0 {
		errors := 2 * math.Sqrt(squares/(n-1)) / (backShare * b.meanNS)
		b.window = int(min(max(math.Ceil(errors*errors), leastWindow), mostWindow))
	}
	return b
}

// client is one client's requests in the order in which they were due, and its answers in
// the order in which they came.
type client struct {
	requests []request
	answers  []answer
}

// answer came at doneNS; no request answered by then was due later than latestDueNS.
type answer struct {
	doneNS, latestDueNS int64
}

func (c *client) arrange() {
	sortByDue(c.requests)
	for _, r := range c.requests {
		if r.answered() {
			c.answers = append(c.answers, answer{r.doneNS, r.dueNS})
		}
	}
	slices.SortStableFunc(c.answers, func(a, b answer) int { return cmp.Compare(a.doneNS, b.doneNS) })
	for i := 1; i < len(c.answers); i++ {
		c.answers[i].latestDueNS = max(c.answers[i].latestDueNS, c.answers[i-1].latestDueNS)
	}
}

// outage is a time without answers although requests were late.
type outage struct {
	fromNS, toNS int64
	// open is true if it had not ended when the watch did.
	open bool
}

func (o outage) lengthNS() int64 { return o.toNS - o.fromNS }

// longestOutage is the longest between two times for the client that it hit worst, and
// whether some client's was open at the end. Its length is 0 if nobody had one.
func (t *brokenTrial) longestOutage(fromNS, toNS int64) (longest outage, open bool) {
	longest = outage{fromNS: fromNS, toNS: fromNS}
	for _, c := range t.clients {
		for _, o := range c.outages(t.normal, fromNS, toNS) {
			open = open || o.open
			if o.lengthNS() > longest.lengthNS() {
				longest = o
			}
		}
	}
	return longest, open
}

// outages are the times between two answers in which a request was late that no later
// one had overtaken. Each begins when the first such request would have been answered,
// had all been normal, and ends with an answer, whichever request that is for.
func (c *client) outages(normal *baseline, fromNS, toNS int64) []outage {
	next := sort.Search(len(c.answers), func(i int) bool { return c.answers[i].doneNS > fromNS })
	var outages []outage
	for ; ; next++ {
		beganNS, overtakenNS := fromNS, int64(math.MinInt64)
		if next > 0 {
			beganNS = max(fromNS, c.answers[next-1].doneNS)
			overtakenNS = c.answers[next-1].latestDueNS
		}
		o := outage{toNS: toNS, open: true}
		if next < len(c.answers) && c.answers[next].doneNS <= toNS {
			o.toNS, o.open = c.answers[next].doneNS, false
		}
		i := sort.Search(len(c.requests), func(i int) bool { return c.requests[i].dueNS > overtakenNS })
		if i < len(c.requests) && c.requests[i].dueNS+normal.lateNS < o.toNS {
			o.fromNS = max(beganNS, c.requests[i].dueNS+normal.typicalNS)
			outages = append(outages, o)
		}
		if o.open {
			return outages
		}
	}
}

// backToNormal is how long after fromNS the mean latency of a window of requests that are
// due one after the other is no more than backShare above the normal mean: the time until
// the first of them was due, 0 if that is so from the first request on. Only requests
// that could be answered normally by toNS are looked at.
func (t *brokenTrial) backToNormal(fromNS, toNS int64) observation {
	normal := t.normal
	begin := sort.Search(len(t.requests), func(i int) bool { return t.requests[i].dueNS >= fromNS })
	end := sort.Search(len(t.requests), func(i int) bool { return t.requests[i].dueNS >= toNS-normal.lateNS })
	limitNS := normal.meanNS * (1 + backShare) * float64(normal.window)
	var sumNS float64
	unanswered := 0
	add := func(r request, sign int) {
		if r.answered() {
			sumNS += float64(sign) * float64(r.doneNS-r.dueNS)
		} else {
			unanswered += sign
		}
	}
	testedNS := fromNS
	for i := begin; i < end; i++ {
		add(t.requests[i], 1)
		first := i - normal.window + 1
		if first < begin {
			continue
		}
		testedNS = t.requests[first].dueNS
		if unanswered == 0 && sumNS <= limitNS {
			if first == begin {
				return took(0)
			}
			return took(testedNS - fromNS)
		}
		add(t.requests[first], -1)
	}
	return longerThan(testedNS - fromNS)
}
