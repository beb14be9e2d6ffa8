//go:build linux

package link

import (
	"bytes"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"quorumlab/harness/engine"
	"quorumlab/topologies"
)

func TestEchoTakesAtLeastTheDeclaredDelays(t *testing.T) {
	l := newLab(t, topologies.Star(3, topologies.Parameters{Delay: 5 * time.Millisecond}))
	remote := l.emulate(EmulatorConfig{})
	go echo(l.listenUDP(1))
	client := l.listenUDP(0)
	const probes = 20
	least := time.Hour
	for range probes {
		least = min(least, roundTrip(t, client, l.address(1)))
	}
	if least < 20*time.Millisecond || least > 200*time.Millisecond {
		t.Errorf("the least of %d round trips took %v, want a little over 20 ms", probes, least)
	}
	r := report(t, remote)
	if r.EmulatorDrops != 0 {
		t.Errorf("the emulator dropped frames: %+v", r)
	}
	for _, d := range []engine.DirectionReport{direction(t, r.LinkReport, "h1", "s1"), direction(t, r.LinkReport, "s1", "h2"), direction(t, r.LinkReport, "s1", "h1")} {
		// 64 bytes of payload, 8 of UDP, 20 of IPv4, 14 of Ethernet.
		if d.Frames != probes || d.Bytes != probes*106 {
			t.Errorf("%+v, want %d frames of 106 bytes", d, probes)
		}
	}
	if d := direction(t, r.LinkReport, "s1", "h3"); d.Frames != 0 {
		t.Errorf("%+v, want nothing: no frame was for h3", d)
	}
	var sent uint64
	for _, bucket := range r.Lateness {
		sent += bucket.Frames
	}
	if sent != 2*probes || r.Lateness[len(r.Lateness)-1].UpToNS != 0 {
		t.Errorf("lateness %+v, want %d frames in all and an open last bucket", r.Lateness, 2*probes)
	}
}

// safeCount datagrams fit into the receiving socket's buffer by the kernel's
// default bound, even if nobody reads.
const safeCount = 150

// blast sends numbered datagrams of a size, with a pause after every few.
func blast(t *testing.T, from *net.UDPConn, l *lab, to, count, size int) {
	t.Helper()
	for i := range count {
		if _, err := from.WriteToUDPAddrPort(make([]byte, size), l.address(to)); err != nil {
			t.Fatal(err)
		}
		if i%20 == 19 {
			time.Sleep(time.Millisecond)
		}
	}
}

// drain counts the datagrams that come until none has come for a while.
func drain(c *net.UDPConn) <-chan int {
	counted := make(chan int, 1)
	go func() {
		n, buffer := 0, make([]byte, 2048)
		for {
			_ = c.SetReadDeadline(time.Now().Add(time.Second))
			if _, err := c.Read(buffer); err != nil {
				counted <- n
				return
			}
			n++
		}
	}()
	return counted
}

func TestLossIsCountedExactlyAndFollowsTheSeed(t *testing.T) {
	t.Parallel()
	const seed, count = 42, safeCount
	lossy := topologies.Parameters{Delay: time.Millisecond, Loss: 0.1}
	l := newLab(t, topologies.Star(3, lossy))
	remote := l.emulate(EmulatorConfig{Seed: seed})
	received := drain(l.listenUDP(1))
	blast(t, l.listenUDP(0), l, 1, count, 100)
	got := uint64(<-received)

	r := report(t, remote)
	up, down := direction(t, r.LinkReport, "h1", "s1"), direction(t, r.LinkReport, "s1", "h2")
	if up.Frames+up.LossDrops != count || down.Frames+down.LossDrops != up.Frames || down.Frames != got || r.EmulatorDrops != 0 {
		t.Errorf("sent %d, received %d, counted %+v, %+v, emulator drops %d", count, got, up, down, r.EmulatorDrops)
	}
	// The pure model with the same seed loses as many.
	lose := func(seed uint64, frames int) (lost uint64) {
		m := NewModel(lossy, seed, 0)
		for range frames {
			if _, verdict := transmit(m, 0, 142); verdict == LostByLoss {
				lost++
			}
		}
		return lost
	}
	if want := lose(DirectionSeed(seed, 0, false), count); up.LossDrops != want {
		t.Errorf("h1 to s1 lost %d, the model loses %d", up.LossDrops, want)
	}
	if want := lose(DirectionSeed(seed, 1, true), int(up.Frames)); down.LossDrops != want {
		t.Errorf("s1 to h2 lost %d, the model loses %d", down.LossDrops, want)
	}
}

func TestQueueOverflowIsCounted(t *testing.T) {
	t.Parallel()
	const count, queue = 100, 10
	l := newLab(t, topologies.Star(2, topologies.Parameters{RateBPS: 2_000_000, QueueFrames: queue}))
	remote := l.emulate(EmulatorConfig{})
	received := drain(l.listenUDP(1))
	blast(t, l.listenUDP(0), l, 1, count, 1000)
	got := uint64(<-received)
	r := report(t, remote)
	up, down := direction(t, r.LinkReport, "h1", "s1"), direction(t, r.LinkReport, "s1", "h2")
	if up.Frames+up.QueueDrops != count || up.QueueDrops == 0 || up.Frames < queue+1 {
		t.Errorf("%d frames were sent at once to a queue of %d: %+v", count, queue, up)
	}
	// The second link is as fast as the first: nothing waits there.
	if down.Frames != up.Frames || down.QueueDrops != 0 || got != down.Frames || r.EmulatorDrops != 0 {
		t.Errorf("received %d: %+v, emulator drops %d", got, down, r.EmulatorDrops)
	}
}

// transfer sends bytes over TCP from host 0 to host 1 and returns how long that
// took, from before the first was sent to after the last had come.
func (l *lab) transfer(bytes int) time.Duration {
	l.t.Helper()
	data := make([]byte, bytes)
	generator := rand.NewChaCha8([32]byte{1})
	_, _ = generator.Read(data)
	listener := l.listenTCP(1)
	sum := make(chan [32]byte, 1)
	go func() {
		hash := sha256.New()
		if c, err := listener.Accept(); err == nil {
			_, _ = io.Copy(hash, c)
			_ = c.Close()
		}
		sum <- [32]byte(hash.Sum(nil))
	}()
	c := l.dialTCP(0, 1)
	began := time.Now()
	if _, err := c.Write(data); err != nil {
		l.t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		l.t.Fatal(err)
	}
	if got := <-sum; got != sha256.Sum256(data) {
		l.t.Errorf("%d bytes did not arrive intact", bytes)
	}
	return time.Since(began)
}

func TestTCPArrivesIntactAndNoFasterThanTheRate(t *testing.T) {
	t.Parallel()
	const rate, bytes = 100_000_000, 4 << 20
	l := newLab(t, topologies.Star(2, topologies.Parameters{Delay: time.Millisecond, RateBPS: rate, QueueFrames: 200}))
	remote := l.emulate(EmulatorConfig{})
	took := l.transfer(bytes)
	if least := time.Duration(bytes * 8 * int64(time.Second) / rate); took < least {
		t.Errorf("%d bytes took %v, at the declared rate they take at least %v", bytes, took, least)
	}
	t.Logf("%.1f Mbit/s of payload", bytes*8/took.Seconds()/1e6)
	if r := report(t, remote); r.EmulatorDrops != 0 {
		t.Errorf("the emulator dropped frames: %+v", r)
	}
}

func TestTCPArrivesIntactInFramesOfManySegments(t *testing.T) {
	t.Parallel()
	const bytes = 16 << 20
	l := newLab(t, topologies.Star(2, topologies.Parameters{Delay: 100 * time.Microsecond}))
	remote := l.emulate(EmulatorConfig{})
	took := l.transfer(bytes)
	r := report(t, remote)
	up := direction(t, r.LinkReport, "h1", "s1")
	t.Logf("%.1f Mbit/s of payload in frames of %d bytes", bytes*8/took.Seconds()/1e6, up.Bytes/up.Frames)
	if r.SegmentDrops != 0 || up.Bytes/up.Frames < 1514 {
		t.Errorf("%+v, segment drops %d: want long frames and all of them carried", up, r.SegmentDrops)
	}
}

func TestFramesOfManySegmentsAreCountedWhereTheyMayNotBe(t *testing.T) {
	t.Parallel()
	delayed := topologies.Star(2, topologies.Parameters{Delay: 100 * time.Microsecond})
	l := newLab(t, delayed) // leaves the hosts' segmentation offload on
	limited := topologies.Star(2, topologies.Parameters{RateBPS: 1_000_000_000})
	l.topology = limited
	remote := l.emulate(EmulatorConfig{})
	listener := l.listenTCP(1)
	c := l.dialTCP(0, 1)
	accepted, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	go func() { _, _ = c.Write(make([]byte, 1<<20)) }()
	eventually(t, "segment drops are counted", func() bool {
		r := report(t, remote)
		return r.SegmentDrops > 0 && r.EmulatorDrops >= r.SegmentDrops
	})
}

func TestStraysAreCountedAndHarmNothing(t *testing.T) {
	t.Parallel()
	l := newLab(t, topologies.Star(2, topologies.Parameters{}))
	remote := l.emulate(EmulatorConfig{})
	client := l.listenUDP(0)
	// No host has this address, and no neighbour is known: an ARP request.
	nobody := net.UDPAddrFromAddrPort(l.address(0))
	nobody.IP = net.IPv4(198, 18, 200, 200)
	if _, err := client.WriteToUDP([]byte("x"), nobody); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stray is counted", func() bool { return report(t, remote).Strays > 0 })
	if r := report(t, remote); r.EmulatorDrops != 0 || direction(t, r.LinkReport, "h1", "s1").Frames != 0 {
		t.Errorf("%+v: a stray was taken for traffic", r)
	}
	go echo(l.listenUDP(1))
	roundTrip(t, client, l.address(1))
}

func TestDeadHostsAreSendFailures(t *testing.T) {
	t.Parallel()
	l := newLab(t, topologies.Star(2, topologies.Parameters{}))
	remote := l.emulate(EmulatorConfig{})
	client := l.listenUDP(0)
	l.hosts[1].must(t, "taking eth0 down", func() error { return setDown("eth0") })
	eventually(t, "a send failure is counted", func() bool {
		_, _ = client.WriteToUDPAddrPort([]byte("x"), l.address(1))
		return report(t, remote).SendFailures > 0
	})
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	const count = 1000
	l := newLab(t, topologies.Star(2, topologies.Parameters{Delay: 100 * time.Millisecond}))
	// Room for receiving and for few more frames than safeCount.
	remote := l.emulate(EmulatorConfig{BufferBytes: 64*(1<<16) + 1<<19})
	received := drain(l.listenUDP(1))
	blast(t, l.listenUDP(0), l, 1, count, 100)
	got := uint64(<-received)
	r := report(t, remote)
	if r.MemoryDrops == 0 || got+r.MemoryDrops != count || r.EmulatorDrops != r.MemoryDrops {
		t.Errorf("received %d of %d: %d memory drops, %d emulator drops", got, count, r.MemoryDrops, r.EmulatorDrops)
	}
}

func TestLinesOfSwitchesAddUp(t *testing.T) {
	t.Parallel()
	// h1 - s1 - s2 - h2, each link slow in its own way.
	topology := &topologies.Topology{
		Kind:     "linear",
		Hosts:    []topologies.Host{{Name: "h1", Address: topologies.Address(0)}, {Name: "h2", Address: topologies.Address(1)}},
		Switches: []string{"s1", "s2"},
		Links: []topologies.Link{
			{Name: "h1-s1", A: "h1", B: "s1", AToB: topologies.Parameters{Delay: 2 * time.Millisecond}, BToA: topologies.Parameters{RateBPS: 1_000_000}},
			{Name: "s2-s1", A: "s2", B: "s1", AToB: topologies.Parameters{Delay: time.Millisecond}, BToA: topologies.Parameters{Delay: 3 * time.Millisecond, Jitter: time.Microsecond, JitterDistribution: "uniform"}},
			{Name: "h2-s2", A: "h2", B: "s2", AToB: topologies.Parameters{RateBPS: 500_000}},
		},
	}
	l := newLab(t, topology)
	remote := l.emulate(EmulatorConfig{})
	go echo(l.listenUDP(1))
	client := l.listenUDP(0)
	// 2 + 3 + 0 there, and back 106 bytes at 500 kbit/s, 1 ms, 106 bytes at 1 Mbit/s.
	want := 5*time.Millisecond - time.Microsecond + 1696*time.Microsecond + time.Millisecond + 848*time.Microsecond
	for range 10 {
		if took := roundTrip(t, client, l.address(1)); took < want {
			t.Errorf("a round trip took %v, want at least %v", took, want)
		}
	}
	if r := report(t, remote); r.EmulatorDrops != 0 {
		t.Errorf("the emulator dropped frames: %+v", r)
	}
}

func TestRemoteReportsWhatWentWrong(t *testing.T) {
	t.Parallel()
	if _, err := NewRemote(io.Discard, strings.NewReader("")).WaitReady(); err == nil || !strings.Contains(err.Error(), "unexpected EOF") {
		t.Errorf("an emulator that ended: %v", err)
	}
	if _, err := NewRemote(io.Discard, strings.NewReader("{}\n")).WaitReady(); err == nil {
		t.Error("a line that isn't ready was taken for it")
	}
	var asked bytes.Buffer
	_, err := NewRemote(&asked, strings.NewReader(`{"error":"no such thing"}`+"\n")).Report()
	if err == nil || !strings.Contains(err.Error(), "no such thing") || asked.String() != `{"command":"report"}`+"\n" {
		t.Errorf("asked %q, got %v", asked.String(), err)
	}
}
