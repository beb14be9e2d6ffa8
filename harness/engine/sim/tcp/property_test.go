package tcp

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// consistent checks a sender's counts against its segments.
func (n *network) consistent() {
	for _, st := range n.c.streams {
		s := &st.sender
		sacked, lost, resent := 0, 0, 0
		end := s.una
		for i := range s.segments.count {
			g := s.segments.at(i)
			if i > 0 && g.seq != end || g.end <= g.seq {
				n.t.Fatalf("at %d: segment %d is %+v after %d", n.now, i, *g, end)
			}
			end = g.end
			if g.sacked {
				sacked++
			}
			if g.lost {
				lost++
			}
			if g.resent {
				resent++
			}
			if g.sacked && g.lost {
				n.t.Fatalf("at %d: a segment is lost that was reported: %+v", n.now, *g)
			}
		}
		if sacked != s.sackedOut || lost != s.lostOut || resent != s.resentOut {
			n.t.Fatalf("at %d: counted %d %d %d, segments %d %d %d", n.now, s.sackedOut, s.lostOut, s.resentOut, sacked, lost, resent)
		}
		if s.state == senderOpen && (s.window < 1 || s.una > s.next || s.next > s.accepted || s.accepted > st.taken) {
			n.t.Fatalf("at %d: window %d, una %d, next %d, accepted %d, taken %d", n.now, s.window, s.una, s.next, s.accepted, st.taken)
		}
		if s.state == senderOpen && s.segments.count > 0 && s.timer == timerNone {
			n.t.Fatalf("at %d: data in flight and no timer", n.now)
		}
		if s.state == senderOpen && s.segments.count > 0 && end != s.next {
			n.t.Fatalf("at %d: segments end at %d, next is %d", n.now, end, s.next)
		}
	}
}

func TestWhileAConnectionLivesEverythingArrivesOnceAndInOrder(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		config := Default()
		config.UserTimeout = time.Hour // it lives
		config.MSS = rapid.SampledFrom([]int{1448, 536, 100}).Draw(r, "mss")
		config.Phase = time.Duration(rapid.Int64Range(0, 40*ms).Draw(r, "phase"))
		n := newNetwork(t, config)
		n.connect()
		loss := rapid.Float64Range(0, 0.4).Draw(r, "loss")
		duplication := rapid.Float64Range(0, 0.3).Draw(r, "duplication")
		jitter := rapid.Int64Range(1, 60*ms).Draw(r, "jitter")
		path := rapid.Int64Range(0, 60*ms).Draw(r, "path")
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "seed"), 1))
		n.fate = func(_ *network, f Frame) (delays []int64) {
			n.consistent()
			if random.Float64() >= loss {
				delays = append(delays, path+random.Int64N(jitter))
			}
			if random.Float64() < duplication {
				delays = append(delays, path+random.Int64N(jitter))
			}
			return delays
		}
		count := rapid.IntRange(1, 120).Draw(r, "messages")
		size := rapid.SampledFrom([]int{20, 500, 3000, 20_000}).Draw(r, "size")
		gap := rapid.Int64Range(0, 100*ms).Draw(r, "gap")
		for i := range count {
			n.send(uint64(i+1), 1+random.IntN(size))
			n.runUntil(n.now + random.Int64N(gap+1))
		}
		n.runUntil(n.now + 30*1000*ms)
		loss = 0 // timeouts have grown up to two minutes
		n.runUntil(n.now + 600*1000*ms)
		if len(n.delivered) != count || n.dropped != 0 {
			t.Fatalf("%d of %d delivered, %d dropped", len(n.delivered), count, n.dropped)
		}
		for i, d := range n.delivered {
			if d.id != uint64(i+1) {
				t.Fatalf("delivery %d is message %d", i+1, d.id)
			}
		}
	})
}

func TestWhateverDiesWhatArrivesIsInOrderAndNothingIsLeft(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		n := newNetwork(t, Default())
		loss := rapid.Float64Range(0, 0.6).Draw(r, "loss")
		duplication := rapid.Float64Range(0, 0.5).Draw(r, "duplication")
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "seed"), 2))
		n.fate = func(*network, Frame) (delays []int64) {
			n.consistent()
			if random.Float64() >= loss {
				delays = append(delays, 10*ms+random.Int64N(20*ms))
			}
			if random.Float64() < duplication {
				delays = append(delays, 10*ms+random.Int64N(200*ms))
			}
			return delays
		}
		n.open()
		sent := uint64(0)
		for range rapid.IntRange(1, 150).Draw(r, "steps") {
			switch random.IntN(30) {
			case 0:
				n.c.SenderKilled(n.now, &n.out)
			case 1:
				n.c.ReceiverKilled(n.now, &n.out)
			case 2, 3:
				n.c.ReceiverStarted()
			case 4, 5:
				n.c.Open(n.now, &n.out)
			default:
				sent++
				n.c.Send(n.now, sent, 1+random.IntN(4000), &n.out)
			}
			n.apply()
			n.runUntil(n.now + random.Int64N(200*ms))
		}
		n.c.ReceiverStarted()
		n.open()
		loss = 0
		n.runUntil(n.now + 600*1000*ms)
		if !slices.IsSortedFunc(n.delivered, func(a, b delivery) int { return int(a.id) - int(b.id) }) {
			t.Fatalf("delivered %v", n.ids())
		}
		if ids := slices.Compact(n.ids()); len(ids) != len(n.delivered) {
			t.Fatalf("delivered twice: %v", n.ids())
		}
		if uint64(len(n.delivered)+n.dropped) != sent {
			t.Fatalf("%d delivered and %d dropped of %d", len(n.delivered), n.dropped, sent)
		}
		if !n.c.Connected() || len(n.c.streams) != 1 || n.c.current.messages.count != 0 {
			t.Fatalf("connected: %t, %d streams", n.c.Connected(), len(n.c.streams))
		}
	})
}

func TestEqualCallsGiveEqualOutputs(t *testing.T) {
	run := func() ([]sentFrame, []delivery) {
		random := rand.New(rand.NewPCG(7, 7))
		n := newNetwork(t, Default())
		n.fate = func(*network, Frame) []int64 {
			if random.Float64() < 0.05 {
				return nil
			}
			return []int64{random.Int64N(50 * ms)}
		}
		n.open()
		for i := range 2000 {
			n.send(uint64(i), random.IntN(3000))
			n.runUntil(n.now + random.Int64N(20*ms))
		}
		return n.frames, n.delivered
	}
	frames, delivered := run()
	again, deliveredAgain := run()
	if !slices.Equal(frames, again) || !slices.Equal(delivered, deliveredAgain) {
		t.Error("two equal runs differ")
	}
}
