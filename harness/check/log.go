package check

import (
	"cmp"
	"slices"

	"quorumlab/node/consensus"
)

// place is an answered operation in the log.
type place struct {
	*operation
	// object is nil for a nop.
	object *object
}

// disorder is two operations whose places in the log can't both be right.
type disorder struct {
	// first has the earlier place, or the same.
	first, second place
}

func newDisorder(first, second place) *disorder {
	// The objects' operations will be sorted, so these are copied.
	a, b := *first.operation, *second.operation
	first.operation, second.operation = &a, &b
	return &disorder{first: first, second: second}
}

// logOrder looks for two operations at one place, and for an operation that was
// answered before another with an earlier place was even called: the log's
// prefix was applied by then, and can't have held a command not yet sent. It
// takes the places of all keys and nops together.
func (r *recording) logOrder() *disorder {
	places := r.places()
	slices.SortFunc(places, func(a, b place) int {
		return cmp.Or(byPlace(*a.operation, *b.operation), cmp.Compare(a.sequence, b.sequence))
	})
	var latest place // the one called last of those before
	for i, p := range places {
		if i > 0 && places[i-1].slot == p.slot && places[i-1].index == p.index {
			return newDisorder(places[i-1], p)
		}
		if i > 0 && p.done < latest.call {
			return newDisorder(latest, p)
		}
		if i == 0 || p.call > latest.call {
			latest = p
		}
	}
	return nil
}

// places lists the operations that took a place in the log.
func (r *recording) places() []place {
	places := make([]place, 0, r.answers+len(r.nops))
	add := func(operations []operation, object *object) {
		for i := range operations {
			if o := &operations[i]; o.slot > 0 && o.index != consensus.IndexRead {
				places = append(places, place{operation: o, object: object})
			}
		}
	}
	add(r.nops, nil)
	for _, object := range r.objects {
		add(object.answered, object)
	}
	return places
}
