package timers

import (
	"math/rand/v2"
	"testing"

	"quorumlab/node/consensus"
)

// The heap against a plain map, over many random operations.
func TestTimersAgreeWithAPlainMap(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	type plain struct {
		at   consensus.Time
		made int
	}
	model := map[consensus.Timer]plain{}
	var timers Set[consensus.Timer]
	for i := range 20_000 {
		timer := consensus.Timer{Kind: uint8(random.IntN(2)), Key: random.Uint64N(20)}
		switch random.IntN(4) {
		case 0, 1:
			at := consensus.Time(random.IntN(50))
			timers.Set(timer, at)
			model[timer] = plain{at, i}
		case 2:
			timers.Cancel(timer)
			delete(model, timer)
		case 3:
			now := consensus.Time(random.IntN(50))
			var want *consensus.Timer
			for other, p := range model {
				if p.at > now {
					continue
				}
				if want == nil || p.at < model[*want].at || p.at == model[*want].at && p.made < model[*want].made {
					want = &other
				}
			}
			got, due := timers.Pop(now, timers.Made())
			if due != (want != nil) || due && got != *want {
				t.Fatalf("operation %d: popped %v, %v, want %v", i, got, due, want)
			}
			if due {
				delete(model, got)
			}
		}
		if len(timers.heap) != len(model) || len(timers.index) != len(model) {
			t.Fatalf("operation %d: %d timers, %d in the index, want %d", i, len(timers.heap), len(timers.index), len(model))
		}
	}
}

// What is set after a moment isn't popped on its account.
func TestTimersThatWereSetLaterWait(t *testing.T) {
	var timers Set[int]
	timers.Set(1, 10)
	made := timers.Made()
	timers.Set(2, 5)
	if key, due := timers.Pop(20, made); due {
		t.Errorf("popped %d, which was set later", key)
	}
	if key, due := timers.Pop(20, timers.Made()); !due || key != 2 {
		t.Errorf("popped %d, %v, want 2", key, due)
	}
}
