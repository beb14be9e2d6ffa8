package faults

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"quorumlab/node/consensus"
)

// checker looks for what is wrong with a schedule.
type checker struct {
	schedule []Fault
	view     *view
	members  *membership
	// index has the entries by their IDs, the first of each; healed those that a heal names.
	index  map[string]int
	healed map[string]bool
	// changing is true if the schedule changes the configuration, so that who has which
	// role isn't known beforehand.
	changing bool
	// at is the entry that is looked at.
	at       int
	problems []Problem
}

// Check says what is wrong with a schedule, as far as that is known by then: entry by
// entry, and then what is wrong with all together.
func Check(schedule []Fault, world World) []Problem {
	c := &checker{schedule: schedule, view: newView(world), index: map[string]int{}, healed: map[string]bool{}}
	c.members = newMembership(c.view)
	for i, f := range schedule {
		if _, ok := c.index[f.ID]; !ok {
			c.index[f.ID] = i
		}
		if f.Fault != "" {
			c.healed[f.Fault] = true
		}
		c.changing = c.changing || len(f.Change) > 0 || f.Kind == "add_server" || f.Kind == "remove_server"
	}
	for i, f := range schedule {
		c.at = i
		c.entry(f)
	}
	c.rates()
	c.membershipInOrder()
	return c.problems
}

// bad notes a value that is wrong.
func (c *checker) bad(key, value, want string) {
	c.problems = append(c.problems, Problem{Fault: c.at, Key: key, Value: value, Want: want})
}

// say notes what is wrong in a sentence of its own.
func (c *checker) say(key, message, want string) {
	c.problems = append(c.problems, Problem{Fault: c.at, Key: key, Message: message, Want: want})
}

func (c *checker) entry(f Fault) {
	if first := c.index[f.ID]; first != c.at {
		c.bad("id", f.ID, fmt.Sprintf("an id of its own: entry %d of faults has it too", first+1))
	}
	kind, ok := Lookup(f.Kind)
	if !ok {
		c.bad("name", f.Kind, "one of "+strings.Join(Names(), ", "))
		return
	}
	if !kind.Applies(c.view.Engine) && c.view.Engine != "" {
		c.bad("name", f.Kind, fmt.Sprintf("a fault that engine %s can do; this one is for %s", c.view.Engine, list(kind.Engines)))
	}
	if storage := storageOf(c.view.World); len(kind.Storages) > 0 && !slices.Contains(kind.Storages, storage) {
		c.say("name", fmt.Sprintf("%s needs a disk, and system.storage is %s", f.Kind, storage), "system.storage: "+strings.Join(kind.Storages, " or "))
	}
	before := len(c.problems)
	c.parameters(f, kind)
	c.whom(f, kind)
	c.messages(f)
	c.links(f)
	c.trigger(f, kind)
	c.span(f, kind)
	c.disk(f)
	if f.Fault != "" {
		c.heals(f)
	}
	if len(c.problems) > before {
		return // what follows takes all of that for right
	}
	if kind.Check != nil {
		if c.healed[f.ID] && f.For.IsZero() {
			f.For = Span{Mean: time.Hour} // it is healed one day
		}
		for _, problem := range kind.Check(f, c.view.World) {
			problem.Fault = c.at
			c.problems = append(c.problems, problem)
		}
	}
	if len(c.problems) == before {
		c.effects(f, kind)
	}
}

// given lists the parameters that are there.
func (f *Fault) given() []Parameter {
	var given []Parameter
	for _, p := range []struct {
		parameter Parameter
		there     bool
	}{
		{ParameterWhom, len(f.Whom) > 0}, {ParameterDisk, f.Disk != ""}, {ParameterShare, f.Share != nil},
		{ParameterMessages, len(f.Messages) > 0}, {ParameterFrom, len(f.From) > 0}, {ParameterTo, len(f.To) > 0},
		{ParameterDelay, f.Delay != 0}, {ParameterRate, f.Rate != 0}, {ParameterJump, f.Jump != 0},
		{ParameterLinks, len(f.Links) > 0}, {ParameterEnds, len(f.LinksFrom) > 0}, {ParameterGroups, len(f.Groups) > 0},
		{ParameterSwitch, f.Switch != ""}, {ParameterLink, f.Link != nil}, {ParameterChange, len(f.Change) > 0},
		{ParameterRole, f.Role != ""}, {ParameterFault, f.Fault != ""},
	} {
		if p.there {
			given = append(given, p.parameter)
		}
	}
	return given
}

// parameters refuses those that the kind doesn't take, too few, and too many at once.
func (c *checker) parameters(f Fault, kind *Kind) {
	given := f.given()
	for _, p := range given {
		if !kind.takes(p) {
			c.say(p.Key(), fmt.Sprintf("%s takes no %s", kind.Name, names([]Parameter{p}, "")), "only "+names(kind.Parameters(), ", "))
			return
		}
	}
	if len(f.LinksFrom) > 0 && len(f.Links) == 0 {
		c.say("from", "from names ends of links, and there are no links", "links beside it")
		return
	}
	if f.Trigger.Failpoint != nil && len(f.Whom) == 0 {
		given = append(given, ParameterWhom) // all, then
	}
	var complete []Parameter
	for _, way := range kind.Ways {
		if slices.ContainsFunc(way, func(p Parameter) bool { return !slices.Contains(given, p) }) {
			continue
		}
		further := slices.DeleteFunc(slices.Clone(given), func(p Parameter) bool {
			return slices.Contains(way, p) || slices.Contains(kind.Takes, p)
		})
		if len(further) == 0 {
			return
		}
		complete = append(complete, further[0])
	}
	if len(complete) > 0 {
		c.say(complete[0].Key(), fmt.Sprintf("%s has %s", kind.Name, names(given, ", ")), "only one of: "+kind.ways())
		return
	}
	c.say("", fmt.Sprintf("%s has %s", kind.Name, or(names(given, ", "), "nothing that it needs")), kind.ways())
}

// ways says what must be given.
func (k *Kind) ways() string {
	var ways []string
	for _, way := range k.Ways {
		ways = append(ways, names(way, " and "))
	}
	return strings.Join(ways, ", or ")
}

func names(parameters []Parameter, between string) string {
	var words []string
	for _, p := range parameters {
		word := p.Key()
		if p == ParameterLink {
			word = "keys of a link such as delay"
		}
		if !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	return strings.Join(words, between)
}

func or(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

// messages checks the kinds of messages that are ignored.
func (c *checker) messages(f Fault) {
	if c.view.Protocol == nil {
		return
	}
	known := messageKinds(c.view.Protocol)
	for i, kind := range f.Messages {
		if !slices.Contains(known, kind) {
			c.bad(item("messages", i, len(f.Messages)), kind, "a kind of message: one of "+strings.Join(known, ", "))
		}
	}
}

// links checks patterns of links and of their ends.
func (c *checker) links(f Fault) {
	if c.view.Topology == nil {
		return
	}
	var linkNames, ends []string
	for _, link := range c.view.Topology.Links {
		if _, ok := c.view.links[link.Name]; ok {
			linkNames = append(linkNames, link.Name)
		}
	}
	for i, pattern := range f.Links {
		found := c.view.matching([]string{pattern})
		if len(found) == 0 {
			c.bad(item("links", i, len(f.Links)), pattern, "the name of a link, or a pattern that matches one: "+list(linkNames))
		}
		for _, link := range found {
			ends = append(ends, c.view.Topology.Links[link].A, c.view.Topology.Links[link].B)
		}
	}
	for i, pattern := range f.LinksFrom {
		if len(ends) > 0 && !slices.ContainsFunc(ends, func(end string) bool { return matches([]string{pattern}, end) }) {
			slices.Sort(ends)
			c.bad(item("from", i, len(f.LinksFrom)), pattern, "an end of one of these links: "+list(slices.Compact(ends)))
		}
	}
}

// item is the key of an entry of a list; one that is alone may have been written without
// a list.
func item(key string, i, of int) string {
	if of == 1 {
		return key
	}
	return fmt.Sprintf("%s.%d", key, i)
}

// heals checks what a heal heals.
func (c *checker) heals(f Fault) {
	index, ok := c.index[f.Fault]
	if !ok || index == c.at {
		c.bad("fault", f.Fault, c.wantOther())
		return
	}
	other := c.schedule[index]
	kind, ok := Lookup(other.Kind)
	switch {
	case ok && !kind.Lasts:
		c.say("fault", fmt.Sprintf("%s is a %s, which is over at once and can't be healed", f.Fault, other.Kind), "the id of a fault that lasts")
	case f.Trigger.At != nil && f.Trigger.Every == 0:
		c.healsInTime(f.Fault, *f.Trigger.At, other)
	}
}

// healsInTime refuses to heal once, at a time, what can't have happened by then, or is over.
func (c *checker) healsInTime(id string, at time.Duration, other Fault) {
	t := other.Trigger
	switch {
	case t.At != nil && at <= *t.At:
		c.say("at", fmt.Sprintf("%s is to be healed at %s, and happens at %s", id, seconds(at), seconds(*t.At)), "a later time")
	case t.Random != nil && at <= t.Random.From:
		c.say("at", fmt.Sprintf("%s is to be healed at %s, and happens after %s", id, seconds(at), seconds(t.Random.From)), "a later time")
	case t.At != nil && other.For.Most > 0 && other.For.Mean == 0:
		last := *t.At // when it happens for the last time before then
		if t.Every > 0 {
			times := int64((at - last) / t.Every)
			if t.Times > 0 {
				times = min(times, int64(t.Times)-1)
			}
			if t.Until > last {
				times = min(times, int64((t.Until-last)/t.Every))
			}
			last += time.Duration(times) * t.Every
		}
		if over := last + other.For.Most; at >= over {
			c.say("at", fmt.Sprintf("%s is to be healed at %s, and is over at %s", id, seconds(at), seconds(over)), "an earlier time, or no for of its own")
		}
	}
}

// wantOther names the other entries.
func (c *checker) wantOther() string {
	var ids []string
	for i, f := range c.schedule {
		if i != c.at {
			ids = append(ids, f.ID)
		}
	}
	if len(ids) == 0 {
		return "the id of another fault, and there is none"
	}
	return "the id of another fault: " + list(ids)
}

// effects looks whether anything would happen at all, where that doesn't hang by who leads
// then, by chance or by other faults.
func (c *checker) effects(f Fault, kind *Kind) {
	if kind.Hits == HitsCluster && c.changing && f.Kind != "reconfigure" && c.changes() > 1 || c.view.Topology == nil || len(f.Fault) > 0 || f.Trigger.Failpoint != nil {
		return
	}
	scene := &Scene{Fault: f, World: c.view.World, Random: generator(0, 0, 0, drawTargets), view: c.view, members: c.members, probing: true}
	known := true
	resolve := func(texts []string) []string {
		nodes, ok := c.static(mustSelectors(texts))
		known = known && ok
		return nodes
	}
	if len(f.Whom) == 0 && kind.Whom != "" {
		scene.Fault.Whom = []string{kind.Whom}
	}
	scene.Nodes, scene.From, scene.To = resolve(scene.Fault.Whom), resolve(f.From), resolve(f.To)
	for _, group := range f.Groups {
		scene.Groups = append(scene.Groups, resolve(group))
	}
	if !known {
		c.oneHost(f, kind)
		return
	}
	if effects := kind.Effects(scene); effects.none() {
		c.say("", fmt.Sprintf("%s would hit nobody: there is nothing to change", kind.Name), nothingToChange(kind))
	}
}

// changes counts the entries that change the configuration.
func (c *checker) changes() int {
	n := 0
	for _, f := range c.schedule {
		if kind, ok := Lookup(f.Kind); ok && kind.Hits == HitsCluster && f.Fault == "" {
			n++
		}
	}
	return n
}

func nothingToChange(kind *Kind) string {
	switch kind.Name {
	case "majorities_ring":
		return "processes on at least 3 hosts"
	case "bridge":
		return "other servers on at least 2 hosts"
	case "add_server":
		return "a process that has a role which a configuration gives, and isn't in it"
	case "remove_server":
		return "a process that is in the configuration, and isn't the last with its role"
	}
	return "processes on different hosts"
}

// checkServer checks what add_server and remove_server name.
func checkServer(fault Fault, world World) []Problem {
	if problems := checkChangeable(world); problems != nil {
		return problems
	}
	v := newView(world)
	roles := v.roles(replaceable)
	if fault.Role != "" && !slices.Contains(roles, fault.Role) {
		return []Problem{{Key: "role", Value: fault.Role, Want: "one that a configuration gives to processes: " + list(roles)}}
	}
	for i, text := range fault.Whom {
		node, ok := v.nodes[text]
		if !ok {
			continue
		}
		has := func(role string) bool { return node.Has(role) && (fault.Role == "" || role == fault.Role) }
		if !slices.ContainsFunc(roles, has) {
			return []Problem{{Key: item("whom", i, len(fault.Whom)), Value: text, Want: "a process with the role " + or(fault.Role, strings.Join(roles, " or "))}}
		}
	}
	return nil
}

// meanings are those that any of the protocol's events has.
func meanings(protocol *consensus.Protocol) []string {
	var found []string
	for _, meaning := range consensus.Meanings {
		if slices.ContainsFunc(protocol.Events, func(e consensus.EventSpec) bool { return e.Meaning == meaning }) {
			found = append(found, meaning)
		}
	}
	return found
}
