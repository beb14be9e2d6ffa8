package tcp

import (
	"slices"
	"testing"
)

func TestALargeMessageFollowsTheWindow(t *testing.T) {
	n := newNetwork(t, Default())
	n.connect()
	n.send(1, 100*1448)
	n.runUntil(5000 * ms)
	// The window is 10, then 20, 40 segments: the last 30 leave after three round
	// trips.
	n.expect(3*80 + 40)
	if data := n.data(); len(data) != 100 || data[0].Bytes != 66+1448 {
		t.Errorf("%d frames, the first of %d bytes; want 100 of 1514", len(data), data[0].Bytes)
	}
}

func TestManyLossesOfABurstAreRecoveredInOneRoundTrip(t *testing.T) {
	n := newNetwork(t, Default())
	n.connect()
	n.grow(40)
	n.c.current.sender.bufferBytes = maxBuffer
	n.loseData(3, 4, 17)
	n.send(1, 40*1448)
	n.runUntil(5000 * ms)
	n.expect(80 + 80 - 40 + 80 - 40 - 40)
	if s := &n.c.current.sender; s.threshold != 21 {
		t.Errorf("threshold %d after a recovery, want half of 42, to which the first acknowledgements had opened the window", s.threshold)
	}
}

func TestTheWindowRestartsAfterAnIdleTime(t *testing.T) {
	n := newNetwork(t, Default())
	n.connect()
	n.grow(80)
	n.send(1, 100)
	n.runUntil(1270 * ms)
	n.send(2, 100)
	s := &n.c.current.sender
	if s.window != 80 {
		t.Errorf("window %d just after a timeout's time, want 80", s.window)
	}
	n.runUntil(n.now + 3*280*ms)
	n.send(3, 100)
	if s.window > 20 || s.window < 10 || s.threshold != infinite {
		t.Errorf("window %d, threshold %d after an idle time; want it halved down towards 10", s.window, s.threshold)
	}
}

func TestTheSendBufferIsBounded(t *testing.T) {
	n := newNetwork(t, Default())
	n.connect()
	n.blackhole()
	for i := range 1000 {
		n.send(uint64(i+1), 1000)
		n.runUntil(n.now + ms/10)
	}
	s := &n.c.current.sender
	if held := s.accepted - s.una; held > bufferPerSegment*initialWindow || held < bufferPerSegment*initialWindow/2 {
		t.Errorf("the send buffer holds %d bytes, want somewhat less than %d", held, bufferPerSegment*initialWindow)
	}
	if n.c.Queued() < 900 {
		t.Errorf("%d messages queued, want what the send buffer has no room for", n.c.Queued())
	}
	n.heal()
	n.runUntil(6000 * ms)
	if len(n.delivered) != 1000 || n.dropped != 0 {
		t.Errorf("%d delivered, %d dropped, want all", len(n.delivered), n.dropped)
	}
}

func TestMessagesFlushedTogetherShareAFrame(t *testing.T) {
	n := newNetwork(t, Default())
	n.connect()
	for i := range 3 {
		n.c.Queue(uint64(i+1), 100, &n.out)
	}
	n.c.Flush(n.now, &n.out)
	n.apply()
	n.runUntil(2000 * ms)
	n.expect(40, 40, 40)
	if data := n.data(); len(data) != 1 || data[0].Bytes != 66+300 {
		t.Errorf("data frames %v, want one of 366 bytes", data)
	}
}

func TestAFullSegmentAloneIsAcknowledgedLate(t *testing.T) {
	r := newReceiver(wheel{tickNS: 4 * ms})
	r.state, r.delayNS, r.quick, r.segment = receiverOpen, delayedMinNS, 0, 1448
	first := Frame{end: 1448}
	if r.receive(100*ms, &first) || r.delayedNS != 144*ms {
		t.Errorf("acknowledged at once or at %d, want at 144 ms, 11 ticks later", r.delayedNS)
	}
	second := Frame{seq: 1448, end: 2896}
	if !r.receive(101*ms, &second) {
		t.Error("the second full segment isn't acknowledged at once")
	}
	r.acknowledge(101 * ms)
	last := Frame{seq: 2896, end: 3000, push: true}
	if !r.receive(102*ms, &last) || r.delayedNS != never {
		t.Error("a small segment isn't acknowledged once it is read")
	}
}

func TestUpToThreeRangesAreReportedTheLatestFirst(t *testing.T) {
	r := newReceiver(wheel{tickNS: 4 * ms})
	r.state = receiverOpen
	for _, b := range []block{{100, 200}, {300, 400}, {500, 600}, {700, 800}, {200, 300}} {
		r.receive(0, &Frame{seq: b.start, end: b.end})
	}
	f := r.acknowledge(0)
	want := [maxBlocks]block{{100, 400}, {700, 800}, {500, 600}}
	if f.sack != want || f.blocks != 3 || f.Bytes != 66+4+24 || f.ack != 0 {
		t.Errorf("acknowledged %+v, want %v", f, want)
	}
	r.receive(0, &Frame{seq: 0, end: 100})
	if f := r.acknowledge(0); f.ack != 400 || f.blocks != 2 {
		t.Errorf("with the first hole filled: %+v, want 400 acknowledged", f)
	}
}

func TestNothingIsAllocatedForAMessage(t *testing.T) {
	c := New(Default())
	var out Output
	now := int64(0)
	settle := func() {
		for len(out.Frames) > 0 {
			f := out.Frames[0]
			out.Frames = slices.Delete(out.Frames, 0, 1)
			now += ms
			c.Receive(now, f, &out)
		}
		out.Reset()
	}
	c.Open(now, &out)
	settle()
	if allocated := testing.AllocsPerRun(1000, func() {
		c.Send(now, 1, 100, &out)
		settle()
	}); allocated != 0 {
		t.Errorf("%v allocations a message, want 0", allocated)
	}
}
