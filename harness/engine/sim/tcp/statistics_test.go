package tcp

import "testing"

func TestFramesThatTheNetworkDoublesAreNotSentAgain(t *testing.T) {
	// A second copy that comes at once, and one that comes after 3 round trips.
	for _, second := range []int64{40 * ms, 280 * ms} {
		n := newNetwork(t, Default())
		n.fate = func(*network, Frame) []int64 { return []int64{40 * ms, second} }
		n.connect()
		for i := range 200 {
			n.send(uint64(i+1), 5000)
			n.runUntil(n.now + 20*ms)
		}
		n.runUntil(n.now + 5000*ms)
		if got := n.c.Statistics(); got.Retransmitted != 0 || len(n.delivered) != 200 || got.Opened != 1 {
			t.Errorf("second copies after %d ms: %d messages, %+v; want 200 and nothing sent again", second/ms, len(n.delivered), got)
		}
	}
}

func TestStatisticsCountWhatTheSendersKernelSent(t *testing.T) {
	n := newNetwork(t, Default())
	n.connect() // SYN, acknowledgement and a hello of 21 bytes
	if got := n.c.Statistics(); got.Opened != 1 || got.SegmentsSent != 3 || got.BytesSent != 21 || got.Retransmitted != 0 ||
		got.Window != 10 || got.Threshold != 0 || got.SmoothedRTTNS < 75*ms || got.SmoothedRTTNS > 85*ms {
		t.Errorf("after the hello: %+v", got)
	}
	n.loseData(2)
	for i := range 3 {
		n.send(uint64(i+1), 1000)
		n.runUntil(n.now + 100*ms)
	}
	n.runUntil(n.now + 1000*ms)
	if got := n.c.Statistics(); got.SegmentsSent != 7 || got.Retransmitted != 1 || got.BytesSent != 21+4000 {
		t.Errorf("after three segments of which one was sent twice: %+v", got)
	}
	// The connection breaks, and another takes its place.
	n.blackhole()
	n.send(4, 1000)
	n.runUntil(n.now + 3000*ms)
	broken := n.c.Statistics()
	if n.c.Connected() || broken.Opened != 1 || broken.SegmentsSent <= 8 || broken.SmoothedRTTNS == 0 || broken.Threshold == 0 {
		t.Errorf("broken: %+v", broken)
	}
	n.heal()
	n.runUntil(n.now + 5000*ms)
	if got := n.c.Statistics(); !n.c.Connected() || got.Opened != 2 || got.SegmentsSent < broken.SegmentsSent+3 || got.Threshold != 0 {
		t.Errorf("connected again: %+v after %+v", got, broken)
	}
	// Another life begins with nothing.
	n.c.SenderKilled(n.now, &n.out)
	n.apply()
	n.c.Open(n.now, &n.out)
	n.apply()
	n.runUntil(n.now + 1000*ms)
	if got := n.c.Statistics(); got.Opened != 1 || got.SegmentsSent != 3 {
		t.Errorf("after a restart: %+v", got)
	}
}
