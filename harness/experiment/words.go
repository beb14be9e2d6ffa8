package experiment

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"quorumlab/faults"
	"quorumlab/node/control"
)

// ScheduleLines say the schedule in words, a line for each entry: its ID, what breaks,
// whom it hits, when and for how long.
func (s *Spec) ScheduleLines() []string {
	var lines []string
	for i, id := range s.faultIDs() {
		lines = append(lines, id+": "+s.Faults[i].words(time.Duration(s.Phases.Warmup+s.Phases.Measure)))
	}
	return lines
}

// words describe the entry in a schedule for a load that lasts so long.
func (f Fault) words(load time.Duration) string {
	what := f.Name
	if with := f.with(); len(with) > 0 {
		what += " " + ValueText(with)
	}
	if len(f.Whom) > 0 {
		what += " of " + strings.Join(f.Whom, ", ")
	}
	parts := []string{what, f.when()}
	if times := f.repeats(); times != "" {
		parts = append(parts, times)
	}
	if long := f.long(load); long != "" {
		parts = append(parts, long)
	}
	if f.Optional {
		parts = append(parts, "optional")
	}
	return strings.Join(parts, ", ")
}

// with are the parameters as the file has them, lists of one as the one.
func (f Fault) with() map[string]any {
	only := Fault{
		Disk: f.Disk, Share: f.Share, Messages: f.Messages, From: f.From, To: f.To, Rate: f.Rate, Jump: f.Jump, Links: f.Links,
		Groups: f.Groups, Switch: f.Switch, Change: f.Change, Role: f.Role, Fault: f.Fault, Link: f.Link,
	}
	var with map[string]any
	text, err := json.Marshal(only)
	if err == nil {
		err = json.Unmarshal(text, &with)
	}
	if err != nil {
		panic("experiment: a fault that was read from YAML has no JSON: " + err.Error())
	}
	for key, value := range with {
		if list, ok := value.([]any); ok && len(list) == 1 {
			with[key] = list[0]
		}
	}
	return with
}

// when says what fires it.
func (f Fault) when() string {
	switch {
	case f.At != nil:
		return "at " + f.At.String()
	case f.After != nil:
		return delayed(f.After.By, fmt.Sprintf("%s was %s", f.After.Fault, f.After.From))
	case f.On != nil:
		return f.On.words()
	case f.Failpoint != nil:
		p := f.Failpoint
		what := p.Place
		if p.Kind != "" {
			what += " of " + p.Kind
		}
		return "at the failpoint " + ordinal(value(p.Count)) + what + conditions(p.Slot, p.Round, "to", p.To)
	case f.Random != nil:
		return fmt.Sprintf("at random times, %s apart in the mean, from %s on", f.Random.Mean, f.Random.From)
	}
	return "never"
}

// words say what is waited for.
func (o *On) words() string {
	event, slot := o.Event, o.Slot
	if o.Commits != nil {
		event, slot = control.TraceCommit, o.Commits
	}
	text := ordinal(value(o.Count)) + event + conditions(slot, o.Round, "at", strings.Join(o.Node, ", "))
	if o.Delay == 0 {
		return "on " + text
	}
	return delayed(o.Delay, text)
}

// delayed says that something comes so long after another thing.
func delayed(by Duration, thing string) string {
	if by == 0 {
		return "once " + thing
	}
	return by.String() + " after " + thing
}

// ordinal is empty for the first.
func ordinal(count int) string {
	if count <= 1 {
		return ""
	}
	suffix := "th"
	if count/10%10 != 1 {
		switch count % 10 {
		case 1:
			suffix = "st"
		case 2:
			suffix = "nd"
		case 3:
			suffix = "rd"
		}
	}
	return fmt.Sprintf("%d%s ", count, suffix)
}

// conditions say what an event has to be like, in brackets.
func conditions(slot, round *uint64, preposition, node string) string {
	var parts []string
	if slot != nil {
		parts = append(parts, fmt.Sprintf("slot %d", *slot))
	}
	if round != nil {
		parts = append(parts, fmt.Sprintf("round %d", *round))
	}
	if node != "" {
		parts = append(parts, preposition+" "+node)
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// repeats says how often it fires, if not once or without end.
func (f Fault) repeats() string {
	var parts []string
	if f.Every != nil {
		parts = append(parts, "again every "+f.Every.String())
	}
	times := f.Times
	if times == nil && f.On != nil {
		times = f.On.Times
	}
	if times != nil {
		parts = append(parts, "at most "+count(*times, "time"))
	}
	if f.Until != nil {
		parts = append(parts, "until "+f.Until.String())
	}
	return strings.Join(parts, ", ")
}

// long says how long it lasts; nothing of what doesn't last.
func (f Fault) long(load time.Duration) string {
	switch s := f.For; {
	case s == nil:
	case s.Exponential != nil:
		return "for " + s.Exponential.String() + " in the mean"
	case s.Uniform != nil:
		return "for " + s.Uniform[0].String() + " to " + s.Uniform[1].String()
	default:
		return "for " + s.Fixed.String()
	}
	switch kind, known := faults.Lookup(f.Name); {
	case !known || !kind.Lasts:
		return ""
	case kind.Final:
		return "for good"
	}
	return "until the load's end at " + Duration(load).String()
}
