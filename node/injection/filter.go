// Package injection decides what goes wrong inside a process: which messages are ignored,
// what the machine takes the time for, where the driver stops, which events are reported.
// It is pure, so that the real driver and the simulator do the same. All of it belongs to
// one goroutine, and a nil Filter, Failpoints or Subscriptions decides nothing.
//
//	Filter         control.Ignore        asked before a message from another process is
//	                                     handed to the machine
//	Clock          Injection.ClockRate   between real time and the machine's
//	Failpoints     control.Failpoint     asked at each of control.Places
//	Subscriptions  control.Subscription  asked for each event, message sent, and commit
//
// Each has a method Set, which takes a whole new state in place of the one before. What is
// the same in both goes on where it stood: a generator isn't seeded again, a count isn't
// begun again, a failpoint that was reached isn't reached twice. So setting a state
// twice changes nothing.
//
// Labels of the drivers' own messages: consensus.Request is "request", consensus.Response
// is "response".
package injection

import (
	"math/rand/v2"
	"slices"

	"quorumlab/node/consensus"
	"quorumlab/node/control"
)

// ignoreStream keeps the draws apart from others of the same seed.
const ignoreStream = 0x69676e6f7265

// Filter ignores messages.
type Filter struct {
	name                func(consensus.NodeID) string
	rules               []rule
	considered, ignored uint64
}

type rule struct {
	control.Ignore
	draws *rand.Rand
}

// NewFilter makes a filter; name gives a process's name.
func NewFilter(rules []control.Ignore, name func(consensus.NodeID) string) *Filter {
	f := &Filter{name: name}
	f.Set(rules)
	return f
}

// Set puts rules in the place of those before.
func (f *Filter) Set(rules []control.Ignore) {
	f.rules = succeed(f.rules, rules, func(old *rule, ignore control.Ignore) bool {
		return old.Share == ignore.Share && old.Seed == ignore.Seed &&
			slices.Equal(old.Kinds, ignore.Kinds) && slices.Equal(old.From, ignore.From)
	}, func(ignore control.Ignore) rule {
		return rule{ignore, rand.New(rand.NewPCG(ignore.Seed, ignoreStream))}
	})
}

// Ignores decides about a message from another process; it is to be asked once for
// each. Every rule that is about it draws, and one that hits is enough.
func (f *Filter) Ignores(from consensus.NodeID, label consensus.Label) bool {
	if f == nil {
		return false
	}
	considered, ignored := false, false
	for i := range f.rules {
		r := &f.rules[i]
		if len(r.Kinds) > 0 && !slices.Contains(r.Kinds, label.Kind) || len(r.From) > 0 && !slices.Contains(r.From, f.name(from)) {
			continue
		}
		considered = true
		ignored = r.draws.Float64() < r.Share || ignored
	}
	if considered {
		f.considered++
	}
	if ignored {
		f.ignored++
	}
	return ignored
}

// Active is false if nothing is ignored.
func (f *Filter) Active() bool { return f != nil && len(f.rules) > 0 }

// Counts is how many messages any rule was about so far, and how many were ignored.
func (f *Filter) Counts() (considered, ignored uint64) {
	if f == nil {
		return 0, 0
	}
	return f.considered, f.ignored
}

// succeed makes the states that follow others. What is wanted as before keeps its old
// state, each old one once; the rest is made.
func succeed[S, W any](old []S, wanted []W, same func(*S, W) bool, make func(W) S) []S {
	old = slices.Clone(old)
	var states []S
	for _, w := range wanted {
		i := slices.IndexFunc(old, func(s S) bool { return same(&s, w) })
		if i < 0 {
			states = append(states, make(w))
			continue
		}
		states = append(states, old[i])
		old = slices.Delete(old, i, i+1)
	}
	return states
}
