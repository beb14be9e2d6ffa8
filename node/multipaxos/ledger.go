package multipaxos

import (
	"cmp"
	"maps"
	"slices"

	"quorumlab/node/consensus"
)

// ledger remembers which commands have been decided, for as long as their
// clients may await them.
type ledger map[consensus.ClientID]*account

// account holds the commands from the lowest sequence number that isn't known to
// be finished, its ring's first, on.
type account struct {
	decided ring[bool]
}

func (l ledger) add(command consensus.Command) {
	if command.Client == 0 {
		return
	}
	a := l.of(command.Client)
	a.decided.forget(command.FirstUnanswered)
	if entry := a.decided.reach(command.Sequence); entry != nil {
		*entry = true
	}
}

// finish notes what a client says to be finished with.
func (l ledger) finish(command consensus.Command) {
	l.of(command.Client).decided.forget(command.FirstUnanswered)
}

func (l ledger) of(client consensus.ClientID) *account {
	a := l[client]
	if a == nil {
		a = &account{decided: newRing[bool](1)}
		l[client] = a
	}
	return a
}

// has tells whether the command was decided, or can't be awaited any more.
func (l ledger) has(command consensus.Command) bool {
	a := l[command.Client]
	if a == nil {
		return false
	}
	if command.Sequence < a.decided.first {
		return true
	}
	entry := a.decided.at(command.Sequence)
	return entry != nil && *entry
}

// sortedKeys lists a map's keys in ascending order, so that what a machine does
// never depends on the order of a map.
func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	return slices.Sorted(maps.Keys(m))
}
