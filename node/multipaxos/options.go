package multipaxos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"quorumlab/node/consensus"
)

// Options are what an experiment may say of the protocol. In files durations
// are strings with a unit, such as "250ms".
type Options struct {
	// Window is WINDOW: slot_in stays below slot_out + Window.
	Window uint64
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

// BackoffOptions choose a backoff strategy.
type BackoffOptions struct {
	Strategy string
	// Max bounds a random backoff.
	Max time.Duration
	// Initial, Factor and Cap are of an exponential one.
	Initial time.Duration
	Factor  float64
	Cap     time.Duration
}

// DefaultOptions are those of an experiment that says nothing.
func DefaultOptions() Options {
	return Options{
		Window: 10_000, Watch: true,
		PingInterval: 100 * time.Millisecond, PingTimeout: 500 * time.Millisecond,
		Backoff: BackoffOptions{Strategy: BackoffNone},
		Resend:  time.Second,
	}
}

// ParseOptions reads options from JSON on top of the defaults. The error is a
// *consensus.OptionError.
func ParseOptions(data json.RawMessage) (Options, error) {
	o := DefaultOptions()
	err := readObject("", data, map[string]field{
		"window": func(path string, raw json.RawMessage) error {
			if json.Unmarshal(raw, &o.Window) != nil || o.Window < 1 || o.Window > 1<<20 {
				return refuse(path, raw, "a whole number from 1 to 1048576")
			}
			return nil
		},
		"watch": func(path string, raw json.RawMessage) error {
			if json.Unmarshal(raw, &o.Watch) != nil {
				return refuse(path, raw, "true or false")
			}
			return nil
		},
		"ping_interval": duration(&o.PingInterval),
		"ping_timeout":  duration(&o.PingTimeout),
		"resend":        duration(&o.Resend),
		"backoff": func(path string, raw json.RawMessage) error {
			return readBackoff(path, raw, &o.Backoff)
		},
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

func readBackoff(path string, data json.RawMessage, b *BackoffOptions) error {
	*b = BackoffOptions{Strategy: BackoffNone, Max: 250 * time.Millisecond,
		Initial: 250 * time.Millisecond, Factor: 2, Cap: 30 * time.Second}
	given := map[string]bool{}
	note := func(name string, read field) field {
		return func(path string, raw json.RawMessage) error {
			given[name] = true
			return read(path, raw)
		}
	}
	err := readObject(path, data, map[string]field{
		"strategy": func(path string, raw json.RawMessage) error {
			if json.Unmarshal(raw, &b.Strategy) != nil || !slices.Contains([]string{BackoffNone, BackoffRandom, BackoffExponential}, b.Strategy) {
				return refuse(path, raw, "none, random or exponential")
			}
			return nil
		},
		"max":     note("max", duration(&b.Max)),
		"initial": note("initial", duration(&b.Initial)),
		"cap":     note("cap", duration(&b.Cap)),
		"factor": note("factor", func(path string, raw json.RawMessage) error {
			if json.Unmarshal(raw, &b.Factor) != nil || b.Factor < 1 || b.Factor > 1000 {
				return refuse(path, raw, "a number from 1 to 1000")
			}
			return nil
		}),
	})
	if err != nil {
		return err
	}
	uses := map[string][]string{BackoffRandom: {"max"}, BackoffExponential: {"initial", "factor", "cap"}}[b.Strategy]
	for _, name := range sortedKeys(given) {
		if !slices.Contains(uses, name) {
			return &consensus.OptionError{Path: path + "." + name, Value: "given",
				Want: "nothing: the strategy " + b.Strategy + " doesn't use it"}
		}
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

func duration(d *time.Duration) field {
	return func(path string, raw json.RawMessage) error {
		var text string
		if json.Unmarshal(raw, &text) == nil {
			if parsed, err := time.ParseDuration(text); err == nil && parsed > 0 && parsed <= time.Hour {
				*d = parsed
				return nil
			}
		}
		return refuse(path, raw, "a duration above 0 and up to 1h, such as 250ms")
	}
}

func refuse(path string, raw json.RawMessage, want string) error {
	return &consensus.OptionError{Path: path, Value: string(raw), Want: want}
}
