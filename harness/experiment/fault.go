package experiment

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"

	"quorumlab/faults"
)

// Fault is an entry of the schedule: what breaks, whom it hits, when and for how long.
// docs/faults.md has the catalogue and says which kind takes which parameters. What is
// nil or empty wasn't said.
type Fault struct {
	// ID names the entry; empty means the name and its number among those of the name.
	ID string `yaml:"id" json:"id,omitempty"`
	// Name is that of the catalogue.
	Name string `yaml:"name" json:"name,omitempty"`
	// Whom are selectors of nodes, and so are From and To, but that From are ends of
	// links where Links are given.
	Whom []string `yaml:"whom" json:"whom,omitempty"`
	// At is since the load's beginning, warm-up included; one of At, After, On, Failpoint
	// and Random is given.
	At        *Duration  `yaml:"at" json:"at,omitempty"`
	After     *After     `yaml:"after" json:"after,omitempty"`
	On        *On        `yaml:"on" json:"on,omitempty"`
	Failpoint *Failpoint `yaml:"failpoint" json:"failpoint,omitempty"`
	Random    *Random    `yaml:"random" json:"random,omitempty"`
	// Every, Times and Until repeat it and bound that.
	Every *Duration `yaml:"every" json:"every,omitempty"`
	Times *int      `yaml:"times" json:"times,omitempty"`
	Until *Duration `yaml:"until" json:"until,omitempty"`
	// For is how long it lasts.
	For *Span `yaml:"for" json:"for,omitempty"`
	// Optional has the trial count even if the fault never fires or hits nobody.
	Optional bool `yaml:"optional" json:"optional,omitempty"`

	Disk     string       `yaml:"disk" json:"disk,omitempty"`
	Share    *Probability `yaml:"share" json:"share,omitempty"`
	Messages []string     `yaml:"messages" json:"messages,omitempty"`
	From     []string     `yaml:"from" json:"from,omitempty"`
	To       []string     `yaml:"to" json:"to,omitempty"`
	// Rate takes the place of that of Link.
	Rate   *Pace      `yaml:"rate" json:"rate,omitempty"`
	Jump   *Duration  `yaml:"jump" json:"jump,omitempty"`
	Links  []string   `yaml:"links" json:"links,omitempty"`
	Groups [][]string `yaml:"groups" json:"groups,omitempty"`
	Switch string     `yaml:"switch" json:"switch,omitempty"`
	// Change is one of the configuration, as the protocol has it.
	Change any    `yaml:"change" json:"change,omitempty"`
	Role   string `yaml:"role" json:"role,omitempty"`
	// Fault is the ID of the one that heal heals.
	Fault string `yaml:"fault" json:"fault,omitempty"`
	// Link is what links are like meanwhile; Delay is that of slow_sync too.
	Link `yaml:",inline"`
}

// After fires a fault when another was applied, or healed, for the first time.
type After struct {
	// Fault is the other's ID.
	Fault string `yaml:"fault" json:"fault,omitempty"`
	// From is fromApplied or fromHealed.
	From string `yaml:"from" json:"from,omitempty"`
	// By is how much later.
	By Duration `yaml:"by" json:"by"`
}

func (a *After) prepare() { a.From = fromApplied }

// Values of After.From.
const (
	fromApplied = "applied"
	fromHealed  = "healed"
)

// On fires a fault when something has happened in the protocol.
type On struct {
	// Event is a kind of event or of message, a meaning that all protocols share, or
	// commit.
	Event string `yaml:"event" json:"event,omitempty"`
	// Commits is short for the event commit with this slot.
	Commits *uint64 `yaml:"commits" json:"commits,omitempty"`
	Slot    *uint64 `yaml:"slot" json:"slot,omitempty"`
	Round   *uint64 `yaml:"round" json:"round,omitempty"`
	// Node are selectors of those where it happens.
	Node []string `yaml:"node" json:"node,omitempty"`
	// Count is how often it has to happen, Delay how long after that the fault fires,
	// Times how often it does.
	Count *int     `yaml:"count" json:"count,omitempty"`
	Delay Duration `yaml:"delay" json:"delay,omitempty"`
	Times *int     `yaml:"times" json:"times,omitempty"`
}

// Failpoint is a place in a node's driver; see control.Failpoint.
type Failpoint struct {
	Place string  `yaml:"place" json:"place,omitempty"`
	Kind  string  `yaml:"kind" json:"kind,omitempty"`
	Slot  *uint64 `yaml:"slot" json:"slot,omitempty"`
	Round *uint64 `yaml:"round" json:"round,omitempty"`
	To    string  `yaml:"to" json:"to,omitempty"`
	Count *int    `yaml:"count" json:"count,omitempty"`
}

// Random fires a fault at the times of a Poisson process.
type Random struct {
	// Mean is the mean time from one to the next, From when it begins.
	Mean Duration `yaml:"mean" json:"mean"`
	From Duration `yaml:"from" json:"from,omitempty"`
}

// Span is how long a fault lasts: a fixed time, or a random one.
type Span struct {
	// Fixed holds where nothing else is given.
	Fixed Duration `yaml:"-" json:"-"`
	// Uniform are the least and the most, Exponential the mean.
	Uniform     []Duration `yaml:"uniform" json:"uniform,omitempty"`
	Exponential *Duration  `yaml:"exponential" json:"exponential,omitempty"`
}

func (s *Span) short(text string) (err error) {
	s.Fixed, err = ParseDuration(text)
	return err
}

func (*Span) want() string {
	return "a duration, such as 5s, {uniform: [1s, 3s]} or {exponential: 2s}"
}

func (s *Span) incomplete() string {
	switch {
	case s.Uniform == nil && s.Exponential == nil:
		return "has neither uniform nor exponential: want one of them, or a duration such as 5s"
	case s.Uniform != nil && s.Exponential != nil:
		return "has both uniform and exponential: want one of them"
	case s.Uniform != nil && len(s.Uniform) != 2:
		return "has " + count(len(s.Uniform), "duration") + " in uniform: want the least and the most, such as [1s, 3s]"
	case s.Uniform != nil && s.Uniform[0] > s.Uniform[1]:
		return "has more in front in uniform: want the least and then the most, such as [1s, 3s]"
	}
	return ""
}

// MarshalJSON writes the fixed time as the scalar that it is.
func (s Span) MarshalJSON() ([]byte, error) {
	if s.Uniform == nil && s.Exponential == nil {
		return json.Marshal(s.Fixed)
	}
	type mapping Span
	return json.Marshal(mapping(s))
}

// Pace is what two kinds of faults call a rate: a clock's, which is a number ("2"), and a
// link's, in bits a second ("10mbit").
type Pace string

// UnmarshalText reads a number, or what ParseBitRate reads.
func (p *Pace) UnmarshalText(text []byte) error {
	if _, err := ParseBitRate(string(text)); err != nil && !anyNumber.Match(text) {
		return &wantError{string(text), "a number, such as 2, for a clock; bits a second, such as 10mbit, for links"}
	}
	*p = Pace(text)
	return nil
}

// clock is a clock's rate, false if it is none.
func (p Pace) clock() (float64, bool) {
	rate, err := strconv.ParseFloat(string(p), 64)
	return rate, err == nil && anyNumber.MatchString(string(p))
}

// validID is what a fault's id looks like: it can be a key of a path.
var validID = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,63}$`)

const (
	faultsKey = "faults"
	idKey     = "id"
	nameKey   = "name"
)

// takes tells whether the entry's kind, if there is one of its name, has such a parameter.
func (f Fault) takes(parameter faults.Parameter) bool {
	kind, ok := faults.Lookup(f.Name)
	return ok && slices.Contains(kind.Parameters(), parameter)
}

// ofLinks tells whether the entry's delay and rate are those of links.
func (f Fault) ofLinks() bool { return f.takes(faults.ParameterLink) }

// faultIDs are the IDs of the entries, given or by default.
func (s *Spec) faultIDs() []string {
	ids, number := make([]string, len(s.Faults)), map[string]int{}
	for i, fault := range s.Faults {
		number[fault.Name]++
		if ids[i] = fault.ID; fault.ID == "" {
			ids[i] = fault.Name + strconv.Itoa(number[fault.Name])
		}
	}
	return ids
}
