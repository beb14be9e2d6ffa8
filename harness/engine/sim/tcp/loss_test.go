package tcp

import (
	"reflect"
	"slices"
	"testing"
	"time"
)

// loseData loses the n-th to last data frames that are sent from now on.
func (n *network) loseData(numbers ...int) {
	count := 0
	n.fate = func(_ *network, f Frame) []int64 {
		if f.kind == kindData {
			if count++; slices.Contains(numbers, count) {
				return nil
			}
		}
		return []int64{40 * ms}
	}
}

// expect compares the deliveries with the expected times, ms after 1 s, in the
// order of the messages 1, 2 and so on.
func (n *network) expect(afterMS ...int64) {
	n.t.Helper()
	var want []delivery
	for i, after := range afterMS {
		want = append(want, delivery{uint64(i + 1), (1000 + after) * ms})
	}
	if !reflect.DeepEqual(n.delivered, want) {
		n.t.Errorf("delivered %v, want %v", n.delivered, want)
	}
}

func TestWithoutLossAMessageTakesThePathsDelay(t *testing.T) {
	n := newNetwork(t, Default())
	n.connect()
	for i := range 100 {
		n.send(uint64(i+1), 100)
		n.runUntil(n.now + 25*ms)
	}
	n.runUntil(n.now + 1000*ms)
	if len(n.delivered) != 100 {
		t.Fatalf("%d messages delivered, want 100", len(n.delivered))
	}
	for i, d := range n.delivered {
		if want := (1000 + int64(i)*25 + 40) * ms; d.id != uint64(i+1) || d.atNS != want {
			t.Errorf("delivery %d is %v, want message %d at %d", i, d, i+1, want)
		}
	}
	if data := n.data(); len(data) != 100 || len(n.frames) != 200 {
		t.Errorf("%d frames, %d with data; want 100 and as many acknowledgements", len(n.frames), len(data))
	}
	for _, f := range n.frames {
		if want := 66 + 100; f.ToReceiver && f.Bytes != want || !f.ToReceiver && f.Bytes != 66 {
			t.Errorf("a frame of %d bytes, to the receiver: %t", f.Bytes, f.ToReceiver)
		}
	}
	if at, set := n.c.Deadline(); set {
		t.Errorf("a timer runs until %d on an idle connection", at)
	}
}

func TestALostSegmentIsResentWhenTheNextOneIsReported(t *testing.T) {
	n := newNetwork(t, Default())
	n.connect()
	n.loseData(1)
	n.send(1, 100)
	n.runUntil(1050 * ms)
	n.send(2, 100)
	n.runUntil(1100 * ms)
	n.send(3, 100)
	n.runUntil(2000 * ms)
	// Message 2 is reported at 130 ms, 130 ms after the first was sent, which is
	// more than the round trip of 80 and a quarter; the first arrives at 170, and
	// with it those that waited behind it.
	n.expect(170, 170, 170)
	data := n.data()
	if len(data) != 4 || data[3].atNS != 1130*ms || data[3].seq != data[0].seq {
		t.Errorf("data frames %v; want the first again at 1130 ms", data)
	}
	if n.c.current.sender.window != 5 {
		t.Errorf("window %d after a loss, want half of 10", n.c.current.sender.window)
	}
}

func TestAMessageBehindALostOneWaitsForIt(t *testing.T) {
	n := newNetwork(t, Default())
	n.connect()
	n.loseData(2)
	for i := range 4 {
		n.send(uint64(i+1), 100)
		n.runUntil(n.now + 60*ms)
	}
	n.runUntil(2000 * ms)
	n.expect(40, 60+60+80+40, 60+60+80+40, 60+60+80+40)
}

func TestALoneLostSegmentIsResentAfterTheTimeoutOfLinux(t *testing.T) {
	n := newNetwork(t, Default())
	n.connect()
	n.loseData(1)
	n.send(1, 100)
	n.runUntil(4000 * ms)
	// The timeout is 80 + 200 ms, 70 ticks. Sent at tick 250, due at 320; the
	// wheel's second level expires at 328, which is 1312 ms.
	n.expect(312 + 40)
	if s := &n.c.current.sender; s.window != 10 || s.congestion != congestionOpen {
		t.Errorf("window %d, state %d: a probe alone doesn't tell of congestion", s.window, s.congestion)
	}
}

func TestALossAtTheTailOfTwoIsProbedAfterTwoRoundTrips(t *testing.T) {
	n := newNetwork(t, Default())
	n.connect()
	n.loseData(1, 2)
	n.send(1, 100)
	n.runUntil(1002 * ms)
	n.send(2, 100)
	n.runUntil(4000 * ms)
	// 2 * 80 + 8 ms are 42 ticks: sent at tick 250, expired at 293, 1172 ms. The
	// probe is message 2 alone; what it proves has message 1 resent at 1252.
	n.expect(252+40, 252+40)
}

func TestALostProbeIsFollowedByTheTimeout(t *testing.T) {
	n := newNetwork(t, Default())
	n.connect()
	n.loseData(1, 2)
	n.send(1, 100)
	n.runUntil(5000 * ms)
	// The probe goes at 1312 ms (tick 328), the timeout 70 ticks later is due at
	// 398, which the wheel rounds to 400.
	n.expect(600 + 40)
	if s := &n.c.current.sender; s.threshold != 5 {
		t.Errorf("threshold %d after a timeout, want 5", s.threshold)
	}
}

func TestTheTimeoutDoubles(t *testing.T) {
	config := Default()
	config.UserTimeout = 30 * time.Second
	n := newNetwork(t, config)
	n.connect()
	n.loseData(1, 2, 3, 4)
	n.send(1, 100)
	n.runUntil(9000 * ms)
	// After the timeout of the test before, at tick 400: 140 ticks, due at 540,
	// expire at 544; then 280, due at 824, expire at 832.
	n.expect(4*(832-250) + 40)
}

func TestALostAcknowledgementIsMadeUpForByTheNext(t *testing.T) {
	n := newNetwork(t, Default())
	n.connect()
	lost := false
	n.fate = func(_ *network, f Frame) []int64 {
		if f.kind == kindAck && !f.ToReceiver && !lost {
			lost = true
			return nil
		}
		return []int64{40 * ms}
	}
	n.send(1, 100)
	n.runUntil(1050 * ms)
	n.send(2, 100)
	n.runUntil(3000 * ms)
	n.expect(40, 90)
	if data := n.data(); len(data) != 2 {
		t.Errorf("%d data frames, want 2", len(data))
	}
}

func TestALoneLostAcknowledgementCostsAProbeAndNoWindow(t *testing.T) {
	n := newNetwork(t, Default())
	n.connect()
	lost := false
	n.fate = func(_ *network, f Frame) []int64 {
		if f.kind == kindAck && !f.ToReceiver && !lost {
			lost = true
			return nil
		}
		return []int64{40 * ms}
	}
	n.send(1, 100)
	n.runUntil(3000 * ms)
	n.send(2, 100)
	n.runUntil(5000 * ms)
	n.expect(40, 2040)
	if data := n.data(); len(data) != 3 {
		t.Errorf("%d data frames, want message 1 twice and message 2", len(data))
	}
	reported := slices.ContainsFunc(n.frames, func(f sentFrame) bool { return f.duplicate && f.Bytes == 66+4+8 })
	if s := &n.c.current.sender; !reported || s.window != 10 || s.threshold != infinite {
		t.Errorf("duplicate reported: %t; window %d, threshold %d; want them untouched", reported, s.window, s.threshold)
	}
}

func TestReorderingWithinAQuarterOfTheRoundTripResendsNothing(t *testing.T) {
	n := newNetwork(t, Default())
	n.connect()
	count := 0
	n.fate = func(_ *network, f Frame) []int64 {
		if f.kind == kindData {
			if count++; count == 1 {
				return []int64{55 * ms}
			}
		}
		return []int64{40 * ms}
	}
	n.send(1, 100)
	n.runUntil(1002 * ms)
	n.send(2, 100)
	n.runUntil(3000 * ms)
	n.expect(55, 55)
	if data := n.data(); len(data) != 2 {
		t.Errorf("%d data frames, want 2", len(data))
	}
	if s := &n.c.current.sender; s.window < 10 || !s.reorderingSeen {
		t.Errorf("window %d, reordering seen: %t", s.window, s.reorderingSeen)
	}
}

func TestAFalseAlarmIsUndone(t *testing.T) {
	n := newNetwork(t, Default())
	n.connect()
	count := 0
	n.fate = func(_ *network, f Frame) []int64 {
		if f.kind == kindData {
			if count++; count == 1 {
				return []int64{130 * ms}
			}
		}
		return []int64{40 * ms}
	}
	n.send(1, 100)
	n.runUntil(1030 * ms)
	n.send(2, 100)
	n.runUntil(3000 * ms)
	n.expect(130, 130)
	if data := n.data(); len(data) != 3 {
		t.Errorf("%d data frames, want message 1 twice", len(data))
	}
	if s := &n.c.current.sender; s.window < 10 {
		t.Errorf("window %d, want what it was before the false alarm", s.window)
	}
}

func TestADuplicatedFrameIsDeliveredOnce(t *testing.T) {
	n := newNetwork(t, Default())
	n.connect()
	n.fate = func(*network, Frame) []int64 { return []int64{40 * ms, 47 * ms} }
	for i := range 5 {
		n.send(uint64(i+1), 100)
		n.runUntil(n.now + 20*ms)
	}
	n.runUntil(3000 * ms)
	n.expect(40, 60, 80, 100, 120)
}

func TestAfterATimeoutWhatIsLostGoesInOneFrame(t *testing.T) {
	n := newNetwork(t, Default())
	n.connect()
	n.loseData(1, 2, 3, 4, 5) // the fifth is the probe
	for i := range 4 {
		n.send(uint64(i+1), 100)
	}
	n.runUntil(5000 * ms)
	data := n.data()
	last := data[len(data)-1]
	if last.end-last.seq != 400 || len(n.delivered) != 4 {
		t.Errorf("the last data frame is %+v, %d messages delivered; want four messages in one frame", last, len(n.delivered))
	}
}

func TestALossIsNoticedInAStreamOfSmallMessages(t *testing.T) {
	n := newNetwork(t, Default())
	n.connect()
	n.grow(100) // so that it doesn't bind
	n.loseData(1)
	for i := range 40 {
		n.send(uint64(i+1), 100)
		n.runUntil(n.now + 5*ms)
	}
	n.runUntil(3000 * ms)
	// The third report comes at 95 ms; by then three segments sent later have
	// arrived, which is proof without waiting any longer.
	if n.delivered[0].atNS != (1095+40)*ms {
		t.Errorf("the lost message arrives at %d, want 1135 ms", n.delivered[0].atNS/ms)
	}
	if len(n.delivered) != 40 {
		t.Errorf("%d messages delivered, want 40", len(n.delivered))
	}
}
