package tcp

import (
	"slices"
	"testing"
)

// loseKind loses the first count frames of a kind.
func (n *network) loseKind(lost kind, count int) {
	n.fate = func(_ *network, f Frame) []int64 {
		if f.kind == lost && count > 0 {
			count--
			return nil
		}
		return []int64{40 * ms}
	}
}

// blackhole loses every frame.
func (n *network) blackhole() { n.fate = func(*network, Frame) []int64 { return nil } }

func (n *network) heal() { n.fate = func(*network, Frame) []int64 { return []int64{40 * ms} } }

func (n *network) ids() (ids []uint64) {
	for _, d := range n.delivered {
		ids = append(ids, d.id)
	}
	return ids
}

func TestWhatWasQueuedWhileDiallingFollowsTheHello(t *testing.T) {
	n := newNetwork(t, Default())
	n.open()
	n.send(1, 100)
	n.send(2, 100)
	n.runUntil(79 * ms)
	if n.c.Connected() || n.c.Queued() != 2 {
		t.Errorf("connected %t with %d queued before the SYN-ACK could come", n.c.Connected(), n.c.Queued())
	}
	n.runUntil(500 * ms)
	if len(n.delivered) != 2 || n.delivered[0] != (delivery{1, 120 * ms}) || n.delivered[1] != (delivery{2, 120 * ms}) {
		t.Errorf("delivered %v, want both at 120 ms: three times the path", n.delivered)
	}
	i := slices.IndexFunc(n.frames, func(f sentFrame) bool { return f.kind == kindData })
	if hello, batch := n.frames[i], n.frames[i+1]; hello.Bytes != 66+21 || batch.Bytes != 66+200 {
		t.Errorf("the first data frames have %d and %d bytes, want the hello alone and both messages in one", hello.Bytes, batch.Bytes)
	}
}

func TestALostSYNDelaysItsOwnAttemptOnly(t *testing.T) {
	for _, lost := range []kind{kindSYN, kindSYNACK} {
		n := newNetwork(t, Default())
		n.loseKind(lost, 3)
		n.open()
		n.send(1, 100)
		n.runUntil(2000 * ms)
		// Attempts are made at 0, 10, 30 and 70 ms.
		if len(n.delivered) != 1 || n.delivered[0].atNS != (70+120)*ms {
			t.Errorf("kind %d: delivered %v, want the message at 190 ms", lost, n.delivered)
		}
		if len(n.c.streams) != 1 {
			t.Errorf("kind %d: %d streams are remembered, want 1", lost, len(n.c.streams))
		}
	}
}

func TestTheSYNIsSentAgainAfterASecond(t *testing.T) {
	config := Default()
	config.MinRedial, config.MaxRedial = 10_000*1e6, 10_000*1e6
	config.UserTimeout = 5_000 * 1e6
	n := newNetwork(t, config)
	n.loseKind(kindSYN, 2)
	n.open()
	n.runUntil(3000 * ms)
	// 250 ticks, due at tick 250, expire at 256; then due at 506, expire at 512.
	var syns []int64
	for _, f := range n.frames {
		if f.kind == kindSYN {
			syns = append(syns, f.atNS/ms)
		}
	}
	if !slices.Equal(syns, []int64{0, 1024, 2048}) || !n.c.Connected() {
		t.Errorf("SYNs at %v ms, connected: %t; want 0, 1024 and 2048", syns, n.c.Connected())
	}
}

func TestTheSYNACKIsSentAgainAfterASecond(t *testing.T) {
	config := Default()
	config.MinRedial, config.MaxRedial = 10_000*1e6, 10_000*1e6
	config.UserTimeout = 5_000 * 1e6
	n := newNetwork(t, config)
	syns, acks := 0, 0
	n.fate = func(_ *network, f Frame) []int64 {
		switch {
		case f.kind == kindSYN:
			if syns++; syns > 1 {
				return nil
			}
		case f.kind == kindSYNACK:
			if acks++; acks == 1 {
				return nil
			}
		}
		return []int64{40 * ms}
	}
	n.open()
	n.runUntil(1200 * ms)
	if !n.c.Connected() || syns != 2 || acks != 2 {
		t.Errorf("connected: %t after %d SYNs and %d SYN-ACKs", n.c.Connected(), syns, acks)
	}
}

func TestTheUserTimeoutEndsAConnectionAndLaterMessagesGoOnTheNext(t *testing.T) {
	n := newNetwork(t, Default())
	n.connect()
	n.send(1, 100)
	n.runUntil(1500 * ms)
	n.blackhole()
	n.send(2, 100) // tick 375
	n.runUntil(1600 * ms)
	n.send(3, 100)
	// The probe goes at 1772 ms and the first timeout is at 2080, tick 520. The
	// second follows 140 ticks later, at tick 664; the third would 280 later, but
	// the second since the first retransmission ends 106 ticks later, at tick 776.
	n.runUntil(3103 * ms)
	if !n.c.Connected() {
		t.Fatal("the connection is given up too early")
	}
	n.runUntil(3104 * ms)
	if n.c.Connected() {
		t.Fatal("the connection isn't given up")
	}
	n.send(4, 100)
	n.runUntil(4000 * ms)
	n.send(5, 100)
	n.heal()
	n.runUntil(6000 * ms)
	if !slices.Equal(n.ids(), []uint64{1, 4, 5}) || n.dropped != 2 {
		t.Errorf("delivered %v, %d dropped; want 1, 4 and 5, two lost with the connection", n.ids(), n.dropped)
	}
	if last := n.delivered[2].atNS; last > 4000*ms+(200+120)*ms {
		t.Errorf("the last arrives at %d ms, want it within an attempt's time after the network is back", last/ms)
	}
	if len(n.c.streams) != 1 {
		t.Errorf("%d streams are remembered, want 1", len(n.c.streams))
	}
}

func TestAnOutageShorterThanTheUserTimeoutLosesNothing(t *testing.T) {
	n := newNetwork(t, Default())
	n.connect()
	n.blackhole()
	for i := range 20 {
		n.send(uint64(i+1), 100)
		n.runUntil(n.now + 25*ms)
	}
	n.heal()
	n.runUntil(4000 * ms)
	if len(n.delivered) != 20 || n.dropped != 0 {
		t.Errorf("%d delivered, %d dropped; want all 20", len(n.delivered), n.dropped)
	}
}

func TestNobodyListensForALongTime(t *testing.T) {
	n := newNetwork(t, Default())
	n.c.ReceiverKilled(0, &n.out)
	n.open()
	for i := range 10 {
		n.send(uint64(i+1), 100)
		n.runUntil(n.now + 1000*ms)
	}
	syns := 0
	for _, f := range n.frames {
		if f.kind == kindSYN {
			syns++
		}
	}
	// Attempts at 0, 10, 30, 70, 150, 310 ms, then every 200; all are refused.
	if want := 6 + (10_000-310)/200; syns != want || len(n.c.streams) > 2 {
		t.Errorf("%d attempts in 10 s, %d remembered; want %d, at most 2", syns, len(n.c.streams), want)
	}
	n.c.ReceiverStarted()
	n.runUntil(11_000 * ms)
	if len(n.delivered) != 10 {
		t.Errorf("%d delivered, want the 10 that waited", len(n.delivered))
	}
}

func TestADialThatNobodyAnswersIsBounded(t *testing.T) {
	n := newNetwork(t, Default())
	n.fate = func(_ *network, f Frame) []int64 {
		if f.ToReceiver {
			return []int64{40 * ms}
		}
		return nil
	}
	n.open()
	n.runUntil(100_000 * ms)
	if len(n.c.streams) > maxStreams || n.c.Connected() {
		t.Errorf("%d streams are remembered, connected: %t", len(n.c.streams), n.c.Connected())
	}
	n.heal()
	n.send(1, 100)
	n.runUntil(101_000 * ms)
	if len(n.delivered) != 1 || len(n.c.streams) != 1 {
		t.Errorf("%d delivered, %d streams remembered, want 1 and 1", len(n.delivered), len(n.c.streams))
	}
}

func TestAKilledReceiverEndsTheConnection(t *testing.T) {
	for _, lost := range []int{0, 1} { // with the FIN, and without
		n := newNetwork(t, Default())
		n.connect()
		n.loseKind(kindFIN, lost)
		n.send(1, 100)
		n.runUntil(1020 * ms)
		n.c.ReceiverKilled(n.now, &n.out)
		n.apply()
		n.runUntil(1120 * ms)
		if n.c.Connected() {
			t.Errorf("%d lost: the sender hasn't heard of it, by FIN or by RST", lost)
		}
		n.runUntil(2000 * ms)
		n.send(2, 100)
		n.c.ReceiverStarted()
		n.runUntil(3000 * ms)
		if !slices.Equal(n.ids(), []uint64{2}) || n.dropped != 1 || len(n.c.streams) != 1 {
			t.Errorf("%d lost: delivered %v, %d dropped, %d streams; want message 2 alone", lost, n.ids(), n.dropped, len(n.c.streams))
		}
	}
}

func TestAnIdleSenderHearsOfAKilledReceiverEvenIfTheFINIsLost(t *testing.T) {
	n := newNetwork(t, Default())
	n.connect()
	n.loseKind(kindFIN, 2)
	n.c.ReceiverKilled(n.now, &n.out)
	n.c.ReceiverStarted()
	n.apply()
	n.runUntil(4000 * ms)
	if !n.c.Connected() || len(n.c.streams) != 1 || n.c.current.id == 1 {
		t.Errorf("connected: %t over connection %d of %d; want a new one", n.c.Connected(), n.c.current.id, len(n.c.streams))
	}
}

func TestWhatAKilledSenderHadWrittenStillArrives(t *testing.T) {
	n := newNetwork(t, Default())
	n.connect()
	n.loseData(1)
	n.send(1, 100)
	n.runUntil(1050 * ms)
	n.send(2, 100)
	n.c.SenderKilled(n.now, &n.out)
	n.apply()
	n.send(3, 100) // nobody there to send it
	n.runUntil(2000 * ms)
	n.expect(170, 170)
	if n.dropped != 1 || n.c.Connected() {
		t.Errorf("%d dropped, connected: %t", n.dropped, n.c.Connected())
	}
	n.open()
	n.send(4, 100)
	n.runUntil(3000 * ms)
	if !slices.Equal(n.ids(), []uint64{1, 2, 4}) || len(n.c.streams) != 1 {
		t.Errorf("delivered %v over %d streams, want 1, 2 and 4", n.ids(), len(n.c.streams))
	}
}

func TestAKilledSenderLosesItsQueue(t *testing.T) {
	n := newNetwork(t, Default())
	n.open()
	n.send(1, 100)
	n.send(2, 100)
	n.c.SenderKilled(n.now, &n.out)
	n.apply()
	n.runUntil(5000 * ms)
	at, set := n.c.Deadline()
	if n.dropped != 2 || len(n.delivered) != 0 || len(n.c.streams) != 0 || set {
		t.Errorf("%d dropped, %d delivered, %d streams, deadline %d %t; want two dropped and peace", n.dropped, len(n.delivered), len(n.c.streams), at, set)
	}
}

func TestAFullQueueDropsItsOldest(t *testing.T) {
	config := Default()
	config.MaxQueuedMessages, config.MaxQueuedBytes = 3, 1000
	n := newNetwork(t, config)
	n.open()
	for i := range 5 {
		n.send(uint64(i+1), 100)
	}
	n.send(6, 850) // too much beside two of a hundred
	n.send(7, 5000)
	if n.dropped != 6 || n.c.Queued() != 1 {
		t.Errorf("%d dropped, %d queued; the newest always fits", n.dropped, n.c.Queued())
	}
	n.runUntil(1000 * ms)
	if !slices.Equal(n.ids(), []uint64{7}) {
		t.Errorf("delivered %v, want 7", n.ids())
	}
}

func TestAnOldConnectionsFramesAreRefused(t *testing.T) {
	n := newNetwork(t, Default())
	n.connect()
	n.c.Receive(n.now, Frame{ToReceiver: true, kind: kindData, stream: 77, end: 10}, &n.out)
	if len(n.out.Frames) != 1 || n.out.Frames[0].kind != kindRST || n.out.Frames[0].Bytes != 54 || n.out.Frames[0].ToReceiver {
		t.Errorf("answered %v, want an RST", n.out.Frames)
	}
	n.out.Reset()
	n.c.Receive(n.now, Frame{kind: kindRST, stream: 77}, &n.out)
	if len(n.out.Frames) != 0 || !n.c.Connected() {
		t.Errorf("an RST is answered by %v", n.out.Frames)
	}
}

func TestImpossibleConfigurationsPanic(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	config := Default()
	config.Tick = 0
	New(config)
}
