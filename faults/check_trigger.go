package faults

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"quorumlab/node/control"
)

const (
	// minEvery is the least interval at which a fault repeats.
	minEvery = 10 * time.Millisecond
	// maxRate is how many faults a second a schedule may have.
	maxRate = 20
)

const wantTrigger = "exactly one of at, after, on, failpoint and random"

// trigger checks when an entry fires.
func (c *checker) trigger(f Fault, kind *Kind) {
	t := f.Trigger
	var given []string
	for _, one := range []struct {
		key   string
		there bool
	}{{"at", t.At != nil}, {"after", t.After != nil}, {"on", t.On != nil}, {"failpoint", t.Failpoint != nil}, {"random", t.Random != nil}} {
		if one.there {
			given = append(given, one.key)
		}
	}
	switch {
	case len(given) == 0:
		c.say("", "nothing says when it happens", wantTrigger)
		return
	case len(given) > 1:
		c.say(given[1], strings.Join(given, " and ")+" are given", wantTrigger)
		return
	}
	c.repetition(t, given[0])
	switch {
	case t.At != nil:
		c.moment("at", *t.At)
	case t.After != nil:
		c.after(f, *t.After)
	case t.On != nil:
		c.event(*t.On)
	case t.Failpoint != nil:
		c.failpoint(f, kind, *t.Failpoint)
	case t.Random != nil:
		c.moment("random.from", t.Random.From)
		if t.Random.Mean <= 0 {
			c.bad("random.mean", seconds(t.Random.Mean), "a duration above 0, such as 2s")
		}
	}
}

// moment checks a time at which the load should be on.
func (c *checker) moment(key string, at time.Duration) {
	switch load := c.view.Load; {
	case at < 0:
		c.bad(key, seconds(at), "a time from the load's beginning on, such as 10s")
	case load > 0 && at >= load:
		c.bad(key, seconds(at), fmt.Sprintf("a time before the load's end, which is at %s (warm-up included)", seconds(load)))
	}
}

// repetition checks every, times and until.
func (c *checker) repetition(t Trigger, trigger string) {
	repeats := t.Every != 0 || t.Random != nil
	switch {
	case t.Every != 0 && t.At == nil:
		c.say("every", "every is given beside "+trigger, "at, from which on it repeats")
	case t.Every != 0 && t.Every < minEvery:
		c.bad("every", seconds(t.Every), fmt.Sprintf("at least %s", seconds(minEvery)))
	}
	switch {
	case t.Times < 0:
		c.bad("times", fmt.Sprint(t.Times), "at least 1")
	case t.Times > 1 && !repeats && t.On == nil && t.Failpoint == nil:
		c.say("times", fmt.Sprintf("times is %d, and %s happens once", t.Times, trigger), "every beside at, or none")
	}
	if t.Until == 0 {
		return
	}
	start := time.Duration(0)
	switch {
	case t.At != nil:
		start = *t.At
	case t.Random != nil:
		start = t.Random.From
	}
	switch load := c.view.Load; {
	case !repeats && t.On == nil:
		c.say("until", "until is given, and "+trigger+" doesn't repeat", "every beside at, random or on, or none")
	case t.Until <= start:
		c.bad("until", seconds(t.Until), "a time after "+seconds(start)+", when it begins")
	case load > 0 && t.Until > load:
		c.bad("until", seconds(t.Until), fmt.Sprintf("at most %s, the load's end (warm-up included)", seconds(load)))
	}
}

// after checks the fault that another one waits for, and that it doesn't wait for itself.
func (c *checker) after(f Fault, a After) {
	if a.By < 0 || c.view.Load > 0 && a.By >= c.view.Load {
		c.bad("after.by", seconds(a.By), "a duration from 0 to below the load's")
	}
	index, ok := c.index[a.ID]
	if !ok {
		c.bad("after.fault", a.ID, c.wantOther())
		return
	}
	for seen := []int{c.at}; ; {
		if slices.Contains(seen, index) {
			if index == c.at {
				c.say("after.fault", fmt.Sprintf("%s waits for itself, by way of %s", f.ID, a.ID), "a fault that doesn't wait for this one")
			}
			break
		}
		seen = append(seen, index)
		next := c.schedule[index].Trigger.After
		if next == nil {
			break
		}
		if index, ok = c.index[next.ID]; !ok {
			break
		}
	}
	other := c.schedule[c.index[a.ID]]
	kind, ok := Lookup(other.Kind)
	switch {
	case !a.Healed || !ok:
	case !kind.Lasts:
		c.say("after.fault", fmt.Sprintf("%s is a %s, which is over at once and never healed", a.ID, other.Kind), "from: applied, or a fault that lasts")
	case other.For.IsZero() && !c.healed[a.ID]:
		c.say("after.fault", fmt.Sprintf("%s isn't healed before the load's end", a.ID), "a fault with a duration (for), or one that a heal names")
	}
}

// event checks the event that is waited for.
func (c *checker) event(on On) {
	protocol := c.view.Protocol
	if protocol != nil && len(resolveEvent(protocol, on.Event)) == 0 {
		var events []string
		for _, event := range protocol.Events {
			events = append(events, event.Kind)
		}
		c.bad("on.event", on.Event, fmt.Sprintf("something of %s: the events %s; what they mean: %s; the messages %s; or %s", protocol.Name,
			strings.Join(events, ", "), strings.Join(meanings(protocol), ", "), strings.Join(messageKinds(protocol), ", "), control.TraceCommit))
	}
	if on.Event == control.TraceCommit && on.Round != 0 {
		c.bad("on.round", fmt.Sprint(on.Round), "none: commits have a slot only")
	}
	if on.Count < 0 {
		c.bad("on.count", fmt.Sprint(on.Count), "at least 1")
	}
	if on.Delay < 0 || c.view.Load > 0 && on.Delay >= c.view.Load {
		c.bad("on.delay", seconds(on.Delay), "a duration from 0 to below the load's")
	}
}

// failpoint checks a place in nodes' drivers.
func (c *checker) failpoint(f Fault, kind *Kind, point control.Failpoint) {
	if kind.Failpoint == "" {
		c.say("failpoint", fmt.Sprintf("%s has a failpoint", f.Kind), "crash or pause, or another trigger")
		return
	}
	if !slices.Contains(control.Places, point.Place) {
		c.bad("failpoint.place", point.Place, "one of "+strings.Join(control.Places, ", "))
		return
	}
	applies := point.Place == control.BeforeApply || point.Place == control.AfterApply
	sends := point.Place == control.BeforeSend || point.Place == control.AfterSend
	if point.Kind != "" {
		if applies {
			c.bad("failpoint.kind", point.Kind, "none: commands that are applied have a slot only")
		} else if c.view.Protocol != nil && !slices.Contains(messageKinds(c.view.Protocol), point.Kind) {
			c.bad("failpoint.kind", point.Kind, "a kind of message: one of "+strings.Join(messageKinds(c.view.Protocol), ", "))
		}
	}
	if applies && point.Round != 0 {
		c.bad("failpoint.round", fmt.Sprint(point.Round), "none: commands that are applied have a slot only")
	}
	if point.To != "" {
		if _, ok := c.view.nodes[point.To]; !ok {
			c.bad("failpoint.to", point.To, "the name of a node: "+list(append(slices.Clone(c.view.servers), c.view.clients...)))
		} else if !sends {
			c.bad("failpoint.to", point.To, fmt.Sprintf("none, or the place %s or %s", control.BeforeSend, control.AfterSend))
		}
	}
	if point.Count < 0 {
		c.bad("failpoint.count", fmt.Sprint(point.Count), "at least 1")
	}
}

// span checks how long it lasts.
func (c *checker) span(f Fault, kind *Kind) {
	s := f.For
	switch {
	case s.IsZero():
	case !kind.Lasts:
		c.say("for", fmt.Sprintf("%s is over at once, and for is given", f.Kind), "none")
	case s.Mean < 0 || s.Least < 0 || s.Most < 0 || s.Mean == 0 && s.Most == 0:
		c.bad("for", seconds(min(s.Least, s.Most, s.Mean)), "a duration above 0, such as 5s")
	case s.Mean > 0 && (s.Least != 0 || s.Most != 0):
		c.say("for", "for has a mean beside bounds", "a duration, uniform or exponential")
	case s.Mean == 0 && s.Most < s.Least:
		c.bad("for", fmt.Sprintf("from %s to %s", seconds(s.Least), seconds(s.Most)), "the least in front, as in {uniform: [1s, 3s]}")
	}
}

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
