package sim

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"

	"quorumlab/node/consensus"
	timerset "quorumlab/node/timers"
)

// timedQueue gives a queue the methods of a sequence.
type timedQueue struct{ *queue }

func (q timedQueue) popDue(now int64) (e event, due bool) {
	if q.next() > now {
		return event{}, false
	}
	return q.pop(), true
}

// earliest is when the first of some events is, or never.
func earliest(events []event) int64 {
	if len(events) == 0 {
		return never
	}
	return events[0].at
}

func TestEventsComeInTheOrderOfTimeAndThenOfScheduling(t *testing.T) {
	type events interface {
		empty() bool
		push(event)
		first() *event
		popDue(now int64) (event, bool)
	}
	for _, latest := range []int64{50, 1} { // how far times go back and forth
		for _, q := range []events{timedQueue{&queue{}}, &sequence{}} {
			random := rand.New(rand.NewPCG(1, 1))
			var want []event
			for i := range 20_000 {
				if q.empty() != (len(want) == 0) {
					t.Fatalf("%T: step %d: empty is %v with %d events", q, i, q.empty(), len(want))
				}
				if q, ok := q.(timedQueue); ok && q.next() != earliest(want) {
					t.Fatalf("step %d: next is %d, want %d", i, q.next(), earliest(want))
				}
				switch {
				case random.IntN(5) < 3 || len(want) == 0:
					e := event{at: int64(i)/100 + random.Int64N(latest), order: uint64(i), index: int32(i)}
					q.push(e)
					at, _ := slices.BinarySearchFunc(want, e, func(a, b event) int {
						return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.order, b.order))
					})
					want = slices.Insert(want, at, e)
				case random.IntN(4) == 0:
					if *q.first() != want[0] {
						t.Fatalf("%T: step %d: first is %+v, want %+v", q, i, *q.first(), want[0])
					}
				default:
					if e, due := q.popDue(want[0].at - 1); due {
						t.Fatalf("%T: step %d: popped %+v before its time", q, i, e)
					}
					if got, due := q.popDue(want[0].at); !due || got != want[0] {
						t.Fatalf("%T: step %d: popped %+v, want %+v", q, i, got, want[0])
					}
					want = want[1:]
				}
			}
		}
	}
}

func TestARingKeepsItsOrderWhileItGrows(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 2))
	var r ring[int]
	var want []int
	for i := range 10_000 {
		if random.IntN(100) < 52 {
			*r.push() = i
			want = append(want, i)
		} else if len(want) > 0 {
			if got := r.pop(); got != want[0] {
				t.Fatalf("popped %d, want %d", got, want[0])
			}
			want = want[1:]
		}
		if r.count != len(want) || r.count > 0 && *r.at(r.count - 1) != want[len(want)-1] {
			t.Fatalf("%d entries, want %d", r.count, len(want))
		}
	}
}

func TestTimersFireInOrderAndCanBeMovedAndCancelled(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 3))
	var timers timerset.Set[timerKey]
	type set struct {
		at   int64
		made int
	}
	want := map[timerKey]set{}
	earliest := func() (key timerKey, at int64) {
		at = never
		made := 0
		for k, s := range want {
			if s.at < at || s.at == at && s.made < made {
				key, at, made = k, s.at, s.made
			}
		}
		return key, at
	}
	for i := range 20_000 {
		key := timerKey{timer: consensus.Timer{Kind: uint8(random.IntN(3)), Key: uint64(random.IntN(10))}, client: random.IntN(4) == 0}
		switch random.IntN(4) {
		case 0, 1:
			at := random.Int64N(100)
			timers.Set(key, consensus.Time(at))
			want[key] = set{at, i}
		case 2:
			timers.Cancel(key)
			delete(want, key)
		default:
			first, at := earliest()
			now := random.Int64N(100)
			got, due := timers.Pop(consensus.Time(now), timers.Made())
			if due != (at <= now) || due && got != first {
				t.Fatalf("step %d: popped %+v %v at %d, want %+v due at %d", i, got, due, now, first, at)
			}
			if due {
				delete(want, first)
			}
		}
		if _, at := earliest(); int64(timers.Next()) != at || timers.Len() != len(want) {
			t.Fatalf("step %d: %d timers, the next at %d; want %d, %d", i, timers.Len(), timers.Next(), len(want), at)
		}
	}
	timers.Set(timerKey{client: true}, 5)
	timers.CancelFunc(func(key timerKey) bool { return key.client })
	for timers.Len() > 0 {
		if key, _ := timers.Pop(consensus.Time(never), timers.Made()); key.client {
			t.Errorf("%+v is left of the client's timers", key)
		}
	}
}
