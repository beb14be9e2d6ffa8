package multipaxos

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"quorumlab/node/consensus"
	"quorumlab/node/quorum"
)

// Options are what an experiment may say of the protocol. In files durations
// are strings with a unit, such as "250ms".
type Options struct {
	// Window is WINDOW: slot_in stays below slot_out + Window.
	Window uint64
	// Pipeline is how many proposals of its own a replica awaits at a time; 0
	// if the window alone bounds them.
	Pipeline uint64
	// Batch says how replicas gather commands into one proposal.
	Batch BatchOptions
	// Quorums say which acceptors elect and which decide.
	Quorums QuorumOptions
	// Reads is ReadsSlot or ReadsConfirm.
	Reads string
	// Retain is how many slots leaders and acceptors keep behind the most
	// advanced replica for the others; one that is farther behind is sent a
	// snapshot.
	Retain uint64
	// Watch makes passive leaders ping the active one and scout only once it
	// is silent. Without it, each leader competes for ballots from the start, as
	// in the dissertation.
	Watch bool
	// PingInterval and PingTimeout say how often a watched leader is pinged,
	// and after how long without an answer it counts as silent.
	PingInterval, PingTimeout time.Duration
	// Backoff applies to pre-empted leaders that don't watch.
	Backoff BackoffOptions
	// Resend is how long a machine awaits an answer before it asks again.
	Resend time.Duration
}

// How commands that only read are answered.
const (
	// ReadsSlot gives a read a slot, like any command.
	ReadsSlot = "slot"
	// ReadsConfirm gives it none: the leader has its ballot confirmed by a quorum
	// of acceptors instead.
	ReadsConfirm = "confirm"
)

// BatchOptions say how commands are gathered into one proposal.
type BatchOptions struct {
	// Size is the most commands in a batch.
	Size int
	// Delay is the longest that a command waits for a batch to fill; 0 if it
	// never waits on purpose.
	Delay time.Duration
}

// QuorumOptions choose a quorum system and how its quorums are asked.
type QuorumOptions struct {
	// Kind is QuorumMajority, QuorumFlexible or QuorumGrid.
	Kind string
	// Phase1 and Phase2 are the sizes of flexible quorums. One of them may be 0:
	// then it is the least that intersects with the other.
	Phase1, Phase2 int
	// Rows and Columns are of a grid, whose acceptors stand in ascending order,
	// row by row: a row elects, a column decides.
	Rows, Columns int
	// Choice is ChoiceAll or ChoiceRandom.
	Choice string
}

// Kinds of quorums.
const (
	QuorumMajority = "majority"
	QuorumFlexible = "flexible"
	QuorumGrid     = "grid"
)

// Whom a leader asks.
const (
	// ChoiceAll asks all acceptors at once.
	ChoiceAll = "all"
	// ChoiceRandom asks a quorum drawn at random, and all once an answer is
	// overdue.
	ChoiceRandom = "random"
)

// BackoffOptions choose a backoff strategy.
type BackoffOptions struct {
	Strategy string
	// Max bounds a random backoff.
	Max time.Duration
	// Initial and Cap bound an exponential, AIMD or decorrelated one.
	Initial, Cap time.Duration
	// Factor multiplies the extent of an exponential one at each pre-emption.
	Factor float64
	// Step is added to the extent of an AIMD one at each pre-emption; Decrease,
	// between 0 and 1, multiplies it on adoption.
	Step     time.Duration
	Decrease float64
}

// DefaultOptions are those of an experiment that says nothing.
func DefaultOptions() Options {
	return Options{
		Window: 10_000, Batch: BatchOptions{Size: 1}, Retain: 10_000, Reads: ReadsSlot,
		Quorums: QuorumOptions{Kind: QuorumMajority, Choice: ChoiceAll},
		Watch:   true, PingInterval: 100 * time.Millisecond, PingTimeout: 500 * time.Millisecond,
		Backoff: BackoffOptions{Strategy: BackoffNone},
		Resend:  time.Second,
	}
}

// ParseOptions reads options from JSON on top of the defaults. The error is a
// *consensus.OptionError.
func ParseOptions(data json.RawMessage) (Options, error) {
	o := DefaultOptions()
	err := readObject("", data, map[string]field{
		"window":        whole(&o.Window, 1, 1<<20),
		"pipeline":      whole(&o.Pipeline, 0, 1<<20),
		"retain":        whole(&o.Retain, 0, 1<<20),
		"reads":         oneOf(&o.Reads, ReadsSlot, ReadsConfirm),
		"watch":         yesOrNo(&o.Watch),
		"ping_interval": duration(&o.PingInterval, 1),
		"ping_timeout":  duration(&o.PingTimeout, 1),
		"resend":        duration(&o.Resend, 1),
		"batch":         o.Batch.read,
		"quorums":       o.Quorums.read,
		"backoff":       o.Backoff.read,
	})
	switch {
	case err != nil:
		return o, err
	case o.PingTimeout < o.PingInterval:
		return o, &consensus.OptionError{Path: "ping_timeout", Value: o.PingTimeout,
			Want: fmt.Sprintf("at least ping_interval, which is %v", o.PingInterval)}
	case o.Watch && o.Backoff.Strategy != BackoffNone:
		return o, &consensus.OptionError{Path: "backoff.strategy", Value: o.Backoff.Strategy,
			Want: "watch: false beside it, since leaders that watch each other don't back off"}
	}
	return o, nil
}

func (b *BatchOptions) read(path string, data json.RawMessage) error {
	return readObject(path, data, map[string]field{
		"size":  whole(&b.Size, 1, 10_000),
		"delay": duration(&b.Delay, 0),
	})
}

func (q *QuorumOptions) read(path string, data json.RawMessage) error {
	err := readVariant(path, data, "kind", &q.Kind, []variant{
		{QuorumMajority, []string{"choice"}},
		{QuorumFlexible, []string{"choice", "phase1", "phase2"}},
		{QuorumGrid, []string{"choice", "rows", "columns"}},
	}, map[string]field{
		"phase1":  whole(&q.Phase1, 1, 10_000),
		"phase2":  whole(&q.Phase2, 1, 10_000),
		"rows":    whole(&q.Rows, 1, 10_000),
		"columns": whole(&q.Columns, 1, 10_000),
		"choice":  oneOf(&q.Choice, ChoiceAll, ChoiceRandom),
	})
	if err != nil {
		return err
	}
	missing := func(name, want string) error {
		return &consensus.OptionError{Path: path + "." + name, Value: "missing", Want: want}
	}
	switch {
	case q.Kind == QuorumFlexible && q.Phase1+q.Phase2 == 0:
		return missing("phase2", "the size of the quorums of phase 2, or of phase1, or of both")
	case q.Kind == QuorumGrid && q.Rows == 0:
		return missing("rows", "the number of rows")
	case q.Kind == QuorumGrid && q.Columns == 0:
		return missing("columns", "the number of columns")
	}
	return nil
}

// System is the quorum system of n acceptors, n at least 1. It fails with a
// *consensus.OptionError if an option doesn't fit n or quorums would miss each
// other.
func (q QuorumOptions) System(n int) (quorum.System, error) {
	switch q.Kind {
	case QuorumFlexible:
		return q.flexible(n)
	case QuorumGrid:
		if q.Rows*q.Columns != n {
			return quorum.System{}, &consensus.OptionError{Path: "quorums.rows", Value: q.Rows,
				Want: fmt.Sprintf("rows x columns to be the number of acceptors, which is %d; columns is %d", n, q.Columns)}
		}
		return quorum.NewGrid(q.Rows, q.Columns)
	}
	return quorum.NewMajority(n), nil
}

func (q QuorumOptions) flexible(n int) (quorum.System, error) {
	refuse := func(name string, value int, want string) (quorum.System, error) {
		return quorum.System{}, &consensus.OptionError{Path: "quorums." + name, Value: value, Want: want}
	}
	most := fmt.Sprintf("at most the number of acceptors, which is %d", n)
	switch {
	case q.Phase1 > n:
		return refuse("phase1", q.Phase1, most)
	case q.Phase2 > n:
		return refuse("phase2", q.Phase2, most)
	}
	phase1, phase2 := q.Phase1, q.Phase2
	if phase1 == 0 {
		phase1 = n + 1 - phase2
	}
	if phase2 == 0 {
		phase2 = n + 1 - phase1
	}
	system, err := quorum.NewFlexible(n, phase1, phase2)
	if disjoint := (*quorum.DisjointError)(nil); errors.As(err, &disjoint) {
		return refuse("phase1", phase1, fmt.Sprintf("at least %d beside phase2: %d, since %v", n+1-phase2, phase2, err))
	}
	return system, err
}

// checkConfig refuses options that don't fit the acceptors of the first
// configuration. The error is a *consensus.OptionError.
func checkConfig(config consensus.Config) error {
	options, err := ParseOptions(config.Options)
	if err != nil {
		return err
	}
	_, err = options.Quorums.System(len(config.WithRole(RoleAcceptor)))
	return err
}

func (b *BackoffOptions) read(path string, data json.RawMessage) error {
	*b = BackoffOptions{Strategy: BackoffNone, Max: 250 * time.Millisecond,
		Initial: 250 * time.Millisecond, Factor: 2, Cap: 30 * time.Second,
		Step: 250 * time.Millisecond, Decrease: 0.5}
	err := readVariant(path, data, "strategy", &b.Strategy, []variant{
		{BackoffNone, nil},
		{BackoffRandom, []string{"max"}},
		{BackoffExponential, []string{"initial", "factor", "cap"}},
		{BackoffAIMD, []string{"initial", "step", "decrease", "cap"}},
		{BackoffDecorrelated, []string{"initial", "cap"}},
	}, map[string]field{
		"max":      duration(&b.Max, 1),
		"initial":  duration(&b.Initial, 1),
		"cap":      duration(&b.Cap, 1),
		"step":     duration(&b.Step, 1),
		"factor":   number(&b.Factor, "a number from 1 to 1000", func(f float64) bool { return f >= 1 && f <= 1000 }),
		"decrease": number(&b.Decrease, "a number above 0 and below 1", func(f float64) bool { return f > 0 && f < 1 }),
	})
	if err != nil {
		return err
	}
	if b.Cap < b.Initial {
		return &consensus.OptionError{Path: path + ".cap", Value: b.Cap,
			Want: fmt.Sprintf("at least initial, which is %v", b.Initial)}
	}
	return nil
}

// field reads one option.
type field func(path string, raw json.RawMessage) error

// readObject reads a JSON object whose keys are all known.
func readObject(path string, data json.RawMessage, fields map[string]field) error {
	if len(data) == 0 || bytes.Equal(data, []byte("null")) {
		return nil
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil {
		return refuse(path, data, fmt.Sprintf("a map with some of the keys %v", sortedKeys(fields)))
	}
	for _, key := range sortedKeys(object) {
		at := key
		if path != "" {
			at = path + "." + key
		}
		read, known := fields[key]
		if !known {
			return &consensus.OptionError{Path: at, Value: "unknown",
				Want: fmt.Sprintf("one of %v", sortedKeys(fields))}
		}
		if bytes.Equal(object[key], []byte("null")) {
			return &consensus.OptionError{Path: at, Value: "empty", Want: "a value, or the key left out"}
		}
		if err := read(at, object[key]); err != nil {
			return err
		}
	}
	return nil
}

// variant is one value of an option that decides which others are used.
type variant struct {
	name string
	uses []string
}

// readVariant reads an object whose option selector names one of the variants;
// options that it doesn't use are refused.
func readVariant(path string, data json.RawMessage, selector string, value *string, variants []variant, fields map[string]field) error {
	var names []string
	for _, v := range variants {
		names = append(names, v.name)
	}
	given := map[string]bool{}
	all := map[string]field{selector: oneOf(value, names...)}
	for name, read := range fields {
		all[name] = func(path string, raw json.RawMessage) error {
			given[name] = true
			return read(path, raw)
		}
	}
	if err := readObject(path, data, all); err != nil {
		return err
	}
	uses := variants[slices.Index(names, *value)].uses
	for _, name := range sortedKeys(given) {
		if !slices.Contains(uses, name) {
			return &consensus.OptionError{Path: path + "." + name, Value: "given",
				Want: fmt.Sprintf("nothing: the %s %s doesn't use it", selector, *value)}
		}
	}
	return nil
}

func whole[T int | uint64](value *T, least, most T) field {
	return func(path string, raw json.RawMessage) error {
		var read T
		if json.Unmarshal(raw, &read) != nil || read < least || read > most {
			return refuse(path, raw, fmt.Sprintf("a whole number from %d to %d", least, most))
		}
		*value = read
		return nil
	}
}

func number(value *float64, want string, good func(float64) bool) field {
	return func(path string, raw json.RawMessage) error {
		var read float64
		if json.Unmarshal(raw, &read) != nil || !good(read) {
			return refuse(path, raw, want)
		}
		*value = read
		return nil
	}
}

func yesOrNo(value *bool) field {
	return func(path string, raw json.RawMessage) error {
		if json.Unmarshal(raw, value) != nil {
			return refuse(path, raw, "true or false")
		}
		return nil
	}
}

func oneOf(value *string, names ...string) field {
	return func(path string, raw json.RawMessage) error {
		var read string
		if json.Unmarshal(raw, &read) != nil || !slices.Contains(names, read) {
			last := len(names) - 1
			return refuse(path, raw, strings.Join(names[:last], ", ")+" or "+names[last])
		}
		*value = read
		return nil
	}
}

func duration(value *time.Duration, least time.Duration) field {
	return func(path string, raw json.RawMessage) error {
		var text string
		if json.Unmarshal(raw, &text) == nil {
			if parsed, err := time.ParseDuration(text); err == nil && parsed >= least && parsed <= time.Hour {
				*value = parsed
				return nil
			}
		}
		if least > 0 {
			return refuse(path, raw, "a duration above 0 and up to 1h, such as 250ms")
		}
		return refuse(path, raw, "a duration from 0 to 1h, such as 5ms")
	}
}

func refuse(path string, raw json.RawMessage, want string) error {
	return &consensus.OptionError{Path: path, Value: string(raw), Want: want}
}
