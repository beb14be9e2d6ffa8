package experiment

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"

	"quorumlab/faults"
	"quorumlab/topologies"
)

const (
	// maxFaults bounds a schedule's entries; each may fire often.
	maxFaults = 500
	// maxFaultTime bounds times in schedules, as phases are bounded.
	maxFaultTime = Duration(maxPhase)
	// maxCounted bounds what is counted in schedules.
	maxCounted = 1_000_000
)

// faults checks the schedule: first what its entries say by themselves, then, which is for
// package faults to judge, what comes of it here.
func (c checker) faults() error {
	s := c.spec
	if len(s.Faults) == 0 {
		return nil
	}
	if len(s.Faults) > maxFaults {
		return c.say(fmt.Sprintf("faults has %d entries", len(s.Faults)), fmt.Sprintf("at most %d; every, times and random repeat one", maxFaults), faultsKey)
	}
	seen := map[string]int{}
	for i, id := range s.faultIDs() {
		path := join(faultsKey, strconv.Itoa(i))
		for _, check := range []func(string, Fault) error{c.faultName, c.faultLists, c.faultTimes, c.faultCounts, c.faultTrigger, c.faultLinks} {
			if err := check(path, s.Faults[i]); err != nil {
				return err
			}
		}
		if first, twice := seen[id]; twice {
			return c.say(fmt.Sprintf("%s and %s both have the id %s", join(faultsKey, strconv.Itoa(first)), path, id), "an id of its own for each",
				join(path, idKey), path, join(join(faultsKey, strconv.Itoa(first)), idKey))
		}
		seen[id] = i
	}
	engine := s.Engine
	if engine == EngineAuto {
		engine = "" // CheckOn asks again once it is known
	}
	return c.schedule(engine)
}

// schedule checks what comes of the entries on an engine.
func (c checker) schedule(engine string) error {
	s := c.spec
	schedule, err := s.schedule()
	if err != nil {
		return c.blame(err)
	}
	network, arrangement, err := s.network()
	if err != nil {
		return c.blame(err)
	}
	for _, bad := range faults.Check(schedule, s.world(network, arrangement, s.Seed, engine)) {
		return c.badFault(bad)
	}
	return c.degraded(network)
}

// faultName checks what the entry is called.
func (c checker) faultName(path string, f Fault) error {
	switch {
	case f.Name == "":
		return c.say(join(path, nameKey)+" is missing", "a name of docs/faults.md, such as crash", join(path, nameKey), path)
	case f.ID != "" && !validID.MatchString(f.ID):
		return c.bad(f.ID, "1 to 64 letters, digits, dashes and underscores, a letter first", join(path, idKey))
	}
	return nil
}

// faultLists refuses lists that are there, and empty.
func (c checker) faultLists(path string, _ Fault) error {
	for _, key := range []string{"whom", "from", "to", "links", "messages", "groups", "on.node"} {
		at := join(path, key)
		if e, exact := c.root.find(at); exact && e.value.kind == kindList && len(e.value.items) == 0 {
			return c.bad("an empty list", "at least one in it", at)
		}
	}
	return nil
}

// faultTimes checks the entry's times, where not saying and zero are not the same.
func (c checker) faultTimes(path string, f Fault) error {
	type limited struct {
		key   string
		value *Duration
		zero  bool
	}
	times := []limited{{"at", f.At, true}, {"every", f.Every, false}, {"until", f.Until, false}}
	if f.After != nil {
		times = append(times, limited{"after.by", &f.After.By, true})
	}
	if f.On != nil {
		times = append(times, limited{"on.delay", &f.On.Delay, true})
	}
	if f.Random != nil {
		times = append(times, limited{"random.mean", &f.Random.Mean, false}, limited{"random.from", &f.Random.From, true})
	}
	if span := f.For; span != nil {
		switch {
		case span.Exponential != nil:
			times = append(times, limited{"for.exponential", span.Exponential, false})
		case len(span.Uniform) == 2:
			times = append(times, limited{"for.uniform.0", &span.Uniform[0], true}, limited{"for.uniform.1", &span.Uniform[1], false})
		default:
			times = append(times, limited{"for", &span.Fixed, false})
		}
	}
	for _, t := range times {
		switch at := join(path, t.key); {
		case t.value == nil:
		case t.zero && *t.value < 0:
			return c.bad(*t.value, "a duration of at least 0, such as 10s", at)
		case !t.zero && *t.value <= 0:
			return c.bad(*t.value, "a duration above 0, such as 10s", at)
		case *t.value > maxFaultTime:
			return c.bad(*t.value, "a duration of at most 24h, such as 10s", at)
		}
	}
	if j := f.Jump; j != nil && (*j == 0 || *j < -maxFaultTime || *j > maxFaultTime) {
		return c.bad(*j, "a duration up to 24h, forward, such as 5s, or back, such as -5s", join(path, "jump"))
	}
	return nil
}

// faultCounts checks the entry's numbers, where not saying and zero are not the same.
func (c checker) faultCounts(path string, f Fault) error {
	for _, n := range []struct {
		key   string
		value *int
	}{{"times", f.Times}, {"on.count", value(f.On).Count}, {"on.times", value(f.On).Times}, {"failpoint.count", value(f.Failpoint).Count}} {
		if n.value != nil && (*n.value < 1 || *n.value > maxCounted) {
			return c.bad(*n.value, fmt.Sprintf("from 1 to %d", maxCounted), join(path, n.key))
		}
	}
	for _, n := range []struct {
		key   string
		value *uint64
	}{
		{"on.commits", value(f.On).Commits}, {"on.slot", value(f.On).Slot}, {"on.round", value(f.On).Round},
		{"failpoint.slot", value(f.Failpoint).Slot}, {"failpoint.round", value(f.Failpoint).Round},
	} {
		if n.value != nil && *n.value == 0 {
			return c.bad(*n.value, "at least 1; leave it out for any", join(path, n.key))
		}
	}
	return nil
}

// faultTrigger checks what keys of the triggers say about each other. Which triggers
// there are is not its business.
func (c checker) faultTrigger(path string, f Fault) error {
	if a := f.After; a != nil {
		if err := c.oneOf(join(path, "after.from"), a.From, fromApplied, fromHealed); err != nil {
			return err
		}
	}
	o := f.On
	switch on := join(path, "on"); {
	case o == nil:
	case o.Commits != nil && (o.Event != "" || o.Slot != nil):
		return c.say(on+" has commits beside event or slot", "it alone: commits: 100 is short for event: commit, slot: 100", join(on, "commits"), on)
	case o.Times != nil && f.Times != nil:
		return c.say(fmt.Sprintf("%s and %s are given", join(path, "times"), join(on, "times")), "one of them", join(path, "times"), on)
	}
	return nil
}

// faultLinks checks that only who takes keys of links has some.
func (c checker) faultLinks(path string, f Fault) error {
	rate, delay := join(path, "rate"), join(path, "delay")
	if _, known := faults.Lookup(f.Name); !known {
		return nil // which is said later
	}
	if f.ofLinks() {
		if f.Rate != nil {
			if _, err := ParseBitRate(string(*f.Rate)); err != nil {
				return c.bad(*f.Rate, wantBitRate, rate)
			}
		}
		return nil
	}
	if f.Rate != nil {
		if _, number := f.Rate.clock(); !number {
			return c.bad(*f.Rate, "a number, such as 2 for a clock that runs twice as fast", rate)
		}
		if x, _ := f.Rate.clock(); x == 0 && f.takes(faults.ParameterRate) { // which faults.Fault has for no rate
			return c.bad(*f.Rate, "from 0.01 to 100, and not 1, which is right", rate)
		}
	}
	if f.Link.Delay != nil && (f.Link.Delay.Trace != "" || f.Link.Delay.Table != "") {
		return c.bad("a mapping", wantDuration, delay)
	}
	link := f.Link
	link.Delay = nil
	if !link.given() {
		return nil
	}
	for _, key := range fieldsOf(reflect.TypeFor[Link]()) {
		if !reflect.ValueOf(link).FieldByIndex(key.index).IsZero() {
			at := join(path, key.key)
			return c.say(fmt.Sprintf("%s is given, and %s takes no such thing", at, printable(f.Name)), "keys of links with name: degrade", at, join(path, nameKey))
		}
	}
	return nil
}

// badFault says where in the file a problem of the schedule stands. Values are shown as the
// file has them.
func (c checker) badFault(bad faults.Problem) error {
	path := join(faultsKey, strconv.Itoa(bad.Fault))
	if bad.Key != "" {
		path = join(path, bad.Key)
	}
	found, exact := c.root.find(path)
	e := Error{Path: path, Value: bad.Value, Want: wantOfLink(bad.Want), Message: bad.Message}
	where := found.at
	if exact {
		where = found.value.blame()
	}
	switch {
	case exact && found.value.kind == kindScalar:
		e.Value = found.value.describe()
	case !exact && e.Value == "" && e.Message == "":
		e.Message = path + " is missing"
	}
	if e.Message != "" && e.Want != "" {
		e.Message += ": want " + e.Want
	}
	if c.point != "" && !where.swept { // what stands there is right at other points
		if e.Message == "" {
			e.Message = fmt.Sprintf("%s is %s: want %s", printable(e.Path), e.Value, e.Want)
		}
		e.Message += " (at " + printable(c.point) + ")"
	}
	return errorAt(c.file, where, e)
}

// degraded refuses faults that would give no link parameters that make sense. Those whose
// links are known, package faults has judged.
func (c checker) degraded(network *topologies.Topology) error {
	for i, f := range c.spec.Faults {
		if !f.ofLinks() || len(f.Whom) == 0 {
			continue
		}
		path := join(faultsKey, strconv.Itoa(i))
		l, err := c.spec.layer(path, f.link())
		if err != nil {
			return c.blame(err)
		}
		var refused error
		good := slices.ContainsFunc(network.Links, func(link topologies.Link) bool {
			err := l.degrade(link.AToB).Check()
			if err != nil {
				refused = badLink(err, link.Name, []string{path, linkPath})
			}
			return err == nil
		})
		if !good && refused != nil {
			return c.blame(refused)
		}
	}
	return nil
}
