package faults

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"quorumlab/node/consensus"
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
		c.flapping(f)
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
	if earliest := c.earliest(f); c.view.Load > 0 && a.By >= 0 && a.By < c.view.Load && earliest >= c.view.Load {
		c.say("after", fmt.Sprintf("%s happens at %s at the earliest, and the load ends at %s (warm-up included)", f.ID, seconds(earliest), seconds(c.view.Load)),
			"shorter times in the faults that it waits for, or a longer load")
		return
	}
	switch {
	case !a.Healed || !ok:
	case !kind.Lasts:
		c.say("after.fault", fmt.Sprintf("%s is a %s, which is over at once and never healed", a.ID, other.Kind), "from: applied, or a fault that lasts")
	case other.For.IsZero() && !c.healed[a.ID]:
		c.say("after.fault", fmt.Sprintf("%s isn't healed before the load's end", a.ID), "a fault with a duration (for), or one that a heal names")
	}
}

// earliest is the earliest time at which an entry can happen, as far as its own times and
// those of the entries that it waits for say.
func (c *checker) earliest(f Fault) time.Duration {
	sum := time.Duration(0)
	for range c.schedule { // more would be a circle, which is said elsewhere
		t := f.Trigger
		switch {
		case t.At != nil:
			return sum + *t.At
		case t.Random != nil:
			return sum + t.Random.From
		case t.On != nil:
			return sum + t.On.Delay
		case t.After == nil:
			return sum
		}
		index, ok := c.index[t.After.ID]
		if !ok {
			return 0
		}
		sum += t.After.By
		f = c.schedule[index]
		if t.After.Healed && !c.healed[f.ID] {
			sum += f.For.Least
		}
	}
	return 0
}

// flapping refuses what takes a link down that is down already, since that shows nothing.
func (c *checker) flapping(f Fault) {
	t := f.Trigger
	if f.Kind != "link_down" && f.Kind != "isolate_subtree" || t.Every < minEvery || t.Times == 1 || f.Optional || c.healed[f.ID] {
		return
	}
	switch {
	case f.For.IsZero():
		c.say("every", fmt.Sprintf("%s is to repeat every %s, and is never over", f.ID, seconds(t.Every)), "for, shorter than every")
	case f.For.Least > t.Every:
		c.say("every", fmt.Sprintf("%s is to repeat every %s, and lasts %s", f.ID, seconds(t.Every), seconds(f.For.Least)), "every longer than for")
	}
}

// event checks the event that is waited for.
func (c *checker) event(on On) {
	protocol := c.view.Protocol
	if protocol != nil {
		c.observable(on, protocol)
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

// observable refuses events that never come: those that the protocol doesn't have, clients'
// messages, which nodes don't report, and elections of a slot, since they have none.
func (c *checker) observable(on On, protocol *consensus.Protocol) {
	unseen := []string{consensus.Request{}.Label().Kind, consensus.Response{}.Label().Kind}
	kinds := resolveEvent(protocol, on.Event)
	if len(kinds) == 0 || slices.Contains(unseen, on.Event) && slices.Equal(kinds, []string{on.Event}) {
		var events []string
		for _, event := range protocol.Events {
			events = append(events, event.Kind)
		}
		messages := without(messageKinds(protocol), unseen)
		want := fmt.Sprintf("something of %s: the events %s; what they mean: %s; the messages %s; or %s", protocol.Name,
			strings.Join(events, ", "), strings.Join(meanings(protocol), ", "), strings.Join(messages, ", "), control.TraceCommit)
		if len(kinds) > 0 {
			c.say("on.event", fmt.Sprintf("on.event is %s, and messages to and from clients aren't reported", on.Event), want)
			return
		}
		c.bad("on.event", on.Event, want)
		return
	}
	election := func(kind string) bool {
		return slices.ContainsFunc(protocol.Events, func(e consensus.EventSpec) bool { return e.Kind == kind && e.Meaning != "" })
	}
	if on.Slot != 0 && !slices.ContainsFunc(kinds, func(kind string) bool { return !election(kind) }) {
		c.say("on.slot", fmt.Sprintf("on.slot is %d, and %s is about leaders, not about a slot", on.Slot, on.Event), "no slot, a message such as "+protocol.Messages[0]+", or "+control.TraceCommit)
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
	persists := point.Place == control.BeforePersist || point.Place == control.AfterPersist
	if persists && storageOf(c.view.World) == control.StorageMemory {
		c.say("failpoint.place", fmt.Sprintf("failpoint.place is %s, and with system.storage %s nothing is persisted", point.Place, control.StorageMemory),
			"system.storage: disk or fsync, or another place")
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

// disk refuses to prepare a disk that nobody will ever find.
func (c *checker) disk(f Fault) {
	if f.Kind == "crash" && slices.Contains(Disks, f.Disk) && f.For.IsZero() && !c.healed[f.ID] {
		c.say("disk", fmt.Sprintf("disk is %s, and the process is never started again to find it", f.Disk), "for beside it, or no disk")
	}
}
