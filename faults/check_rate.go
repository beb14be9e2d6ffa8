package faults

import (
	"container/heap"
	"fmt"
	"time"
)

// rates refuses schedules of too many faults a second.
func (c *checker) rates() {
	sum, most, fastest := 0.0, 0.0, 0
	for i, f := range c.schedule {
		rate := c.rate(f.Trigger)
		sum += rate
		if rate > most {
			most, fastest = rate, i
		}
	}
	if sum <= maxRate {
		c.bursts()
		return
	}
	key := "every"
	if c.schedule[fastest].Trigger.Random != nil {
		key = "random.mean"
	}
	c.at = fastest
	c.say(key, fmt.Sprintf("the schedule has about %.4g faults a second, %.4g of them by this entry", sum, most), fmt.Sprintf("at most %d a second in all", maxRate))
}

// rate is how many times a second an entry fires while it repeats, as far as its times say;
// a short burst is spread over a second.
func (c *checker) rate(t Trigger) float64 {
	step, start := t.Every, time.Duration(0)
	switch {
	case t.Random != nil:
		step, start = t.Random.Mean, t.Random.From
	case t.At != nil:
		start = *t.At
	}
	if step <= 0 {
		return 0
	}
	window := t.Until
	if window == 0 {
		window = c.view.Load
	}
	if window -= start; window <= 0 {
		window = 24 * time.Hour // it isn't known yet
	}
	count := window.Seconds() / step.Seconds()
	if t.Times > 0 {
		count = min(count, float64(t.Times))
	}
	return count / max(1, min(window.Seconds(), count*step.Seconds()))
}

// bursts refuses more than maxRate faults within any second, of those whose times are
// known.
func (c *checker) bursts() {
	const most = 1_000_000 // whose times are looked at
	if !c.mayBurst() {
		return
	}
	due := &dueTimes{}
	for i, f := range c.schedule {
		if f.Trigger.At != nil {
			heap.Push(due, dueTime{at: *f.Trigger.At, entry: i})
		}
	}
	var recent [maxRate]time.Duration // the times of the last ones, round and round
	for n := 0; due.Len() > 0 && n < most; n++ {
		next := (*due)[0]
		if n >= maxRate && next.at-recent[n%maxRate] < time.Second {
			c.at = next.entry
			c.say("at", fmt.Sprintf("%d faults are due between %s and %s", maxRate+1, seconds(recent[n%maxRate]), seconds(next.at)),
				fmt.Sprintf("at most %d a second in all", maxRate))
			return
		}
		recent[n%maxRate] = next.at
		if later, again := c.again(next); again {
			(*due)[0] = later
			heap.Fix(due, 0)
		} else {
			heap.Pop(due)
		}
	}
}

// mayBurst tells whether so many faults could fall into one second at all.
func (c *checker) mayBurst() bool {
	n := time.Duration(0)
	for _, f := range c.schedule {
		switch t := f.Trigger; {
		case t.At == nil:
		case t.Every < minEvery: // which doesn't repeat, or is refused
			n++
		default:
			n += (time.Second + t.Every - 1) / t.Every
		}
	}
	return n > maxRate
}

// again is when an entry is due for the next time, if it is.
func (c *checker) again(last dueTime) (dueTime, bool) {
	t := c.schedule[last.entry].Trigger
	next := dueTime{at: last.at + t.Every, entry: last.entry, times: last.times + 1}
	end := t.Until
	if end == 0 {
		end = c.view.Load
	}
	return next, t.Every >= minEvery && (t.Times <= 0 || next.times < t.Times) && (end <= 0 || next.at < end)
}

// dueTime is one time of an entry; times is how often it was due before.
type dueTime struct {
	at           time.Duration
	entry, times int
}

// dueTimes is a heap.
type dueTimes []dueTime

func (d dueTimes) Len() int { return len(d) }
func (d dueTimes) Less(i, j int) bool {
	return d[i].at < d[j].at || d[i].at == d[j].at && d[i].entry < d[j].entry
}
func (d dueTimes) Swap(i, j int) { d[i], d[j] = d[j], d[i] }
func (d *dueTimes) Push(x any)   { *d = append(*d, x.(dueTime)) }
func (d *dueTimes) Pop() any {
	last := (*d)[len(*d)-1]
	*d = (*d)[:len(*d)-1]
	return last
}
