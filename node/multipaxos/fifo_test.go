package multipaxos

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// A queue does what a slice would do, at whatever place in its memory it stands,
// and its memory stays in proportion to what it held at most.
func TestAQueueIsASliceThatReusesItsMemory(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var q fifo[int]
	var model []int
	for i := range 100_000 {
		switch r := random.IntN(100); {
		case r < 50 && len(model) < 100:
			q.push(i)
			model = append(model, i)
		case r == 99:
			odd := func(item int) bool { return item%2 == 1 }
			q.drop(odd)
			model = slices.DeleteFunc(model, odd)
		case len(model) > 0:
			if first := q.first(); first != model[0] || q.pop() != first {
				t.Fatalf("step %d: the first is %d, want %d", i, first, model[0])
			}
			model = model[1:]
		}
		if q.len() != len(model) || !slices.Equal(q.items[q.head:], model) {
			t.Fatalf("step %d: %v, want %v", i, q.items[q.head:], model)
		}
	}
	if cap(q.items) > 400 {
		t.Errorf("a queue of at most 100 items takes room for %d", cap(q.items))
	}
}
