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

type account struct {
	// finished is the lowest sequence number that isn't known to be finished.
	finished uint64
	decided  map[uint64]struct{}
}

func (l ledger) add(command consensus.Command) {
	if command.Client == 0 {
		return
	}
	a := l.of(command.Client)
	if command.Sequence >= a.finished {
		a.decided[command.Sequence] = struct{}{}
	}
	a.finish(command.FirstUnanswered)
}

// finish notes what a client says to be finished with.
func (l ledger) finish(command consensus.Command) {
	l.of(command.Client).finish(command.FirstUnanswered)
}

func (l ledger) of(client consensus.ClientID) *account {
	a := l[client]
	if a == nil {
		a = &account{finished: 1, decided: map[uint64]struct{}{}}
		l[client] = a
	}
	return a
}

func (a *account) finish(upTo uint64) {
	consensus.Forget(a.decided, a.finished, upTo)
	a.finished = max(a.finished, upTo)
}

// has tells whether the command was decided, or can't be awaited any more.
func (l ledger) has(command consensus.Command) bool {
	a := l[command.Client]
	if a == nil {
		return false
	}
	_, decided := a.decided[command.Sequence]
	return decided || command.Sequence < a.finished
}

// sortedKeys lists a map's keys in ascending order, so that what a machine does
// never depends on the order of a map.
func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	return slices.Sorted(maps.Keys(m))
}
