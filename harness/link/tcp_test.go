//go:build linux

package link

import (
	"encoding/binary"
	"errors"
	"math"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"quorumlab/topologies"
)

// A loss of 0.05% one way over a round trip of 40 ms lets TCP carry what Mathis and
// others' formula says (The Macroscopic Behavior of the TCP Congestion Avoidance
// Algorithm, 1997): MSS / RTT x 1.22 / sqrt(loss). Were loss decided for frames of
// many segments, it would be twenty times as much.
func TestLossSlowsBulkTCPDownAsMuchAsTheFormulaSays(t *testing.T) {
	if testing.Short() {
		t.Skip("a minute of bulk transfer")
	}
	const (
		length = 60 * time.Second
		loss   = 0.0005
		rtt    = 40 * time.Millisecond
		bytes  = 1448 // of 1500, the headers of IP and of TCP with timestamps
	)
	topology := topologies.Star(2, topologies.Parameters{Delay: rtt / 4})
	topology.Links[0].AToB.Loss = loss
	l := newLab(t, topology)
	remote := l.emulate(EmulatorConfig{Seed: 5})
	received := make(chan int64, 1)
	listener := l.listenTCP(1)
	go func() {
		c, err := listener.Accept()
		if err != nil {
			received <- 0
			return
		}
		defer c.Close()
		var total int64
		buffer := make([]byte, 1<<16)
		for {
			n, err := c.Read(buffer)
			if total += int64(n); err != nil {
				received <- total
				return
			}
		}
	}()
	connection := l.dialTCP(0, 1)
	useReno(t, connection)
	began := time.Now()
	_ = connection.SetWriteDeadline(began.Add(length))
	for chunk := make([]byte, 1<<16); ; {
		if _, err := connection.Write(chunk); err != nil {
			break
		}
	}
	took := time.Since(began)
	_ = connection.SetLinger(0) // what is still in the sender's buffer doesn't count
	_ = connection.Close()
	measured := float64(<-received) * 8 / took.Seconds()
	predicted := bytes * 8 / rtt.Seconds() * 1.22 / math.Sqrt(loss)
	r := report(t, remote)
	forth := direction(t, r.LinkReport, "h1", "s1")
	t.Logf("%.1f Mbit/s in %v, the formula says %.1f; %d of %d frames were lost, %d by the emulator",
		measured/1e6, took.Round(time.Second), predicted/1e6, forth.LossDrops, forth.Frames, r.EmulatorDrops)
	if measured < predicted/2 || measured > predicted*2 {
		t.Errorf("%.1f Mbit/s, want %.1f within a factor of 2", measured/1e6, predicted/1e6)
	}
}

// useReno sets the congestion control that the formula is about.
func useReno(t *testing.T, connection *net.TCPConn) {
	t.Helper()
	raw, err := connection.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		set = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, "reno")
	})
	if err = errors.Join(err, set); err != nil {
		t.Fatalf("choosing reno: %v", err)
	}
}

// Two flows of 8 Mbit/s over one link of 10 Mbit/s: the link is full, its queue is full
// and makes every frame wait for 40 others, and what it drops it drops of both, as the
// model does that is offered the same frames.
func TestTwoFlowsShareALinksRateAndQueueAsTheModelSays(t *testing.T) {
	const (
		frameBytes = 1000
		queue      = 40
		frames     = 2000 // a flow
		interval   = time.Millisecond
		delay      = 5 * time.Millisecond
	)
	shared := topologies.Parameters{Delay: delay, RateBPS: 10_000_000, QueueFrames: queue}
	topology := topologies.Star(3, topologies.Parameters{})
	topology.Links[2].BToA = shared // from the switch to h3
	l := newLab(t, topology)
	remote := l.emulate(EmulatorConfig{})
	counts, waits := l.twoFlows(frames, frameBytes, interval)

	r := report(t, remote)
	model := NewModel(shared, 1, 0)
	want := 0
	for i := range int64(frames) {
		for range 2 {
			if _, verdict := transmit(model, i*int64(interval), frameBytes); verdict == Delivered {
				want++
			}
		}
	}
	got := counts[0] + counts[1]
	t.Logf("%d and %d frames arrived, the model says %d in all; median delay %v; %d dropped",
		counts[0], counts[1], want, waits[len(waits)/2], direction(t, r.LinkReport, "s1", "h3").QueueDrops)
	if dropped := direction(t, r.LinkReport, "s1", "h3").QueueDrops; uint64(2*frames-got) != dropped+r.EmulatorDrops {
		t.Errorf("%d of %d frames are missing, %d were dropped by the queue, %d by the emulator", 2*frames-got, 2*frames, dropped, r.EmulatorDrops)
	}
	// A sender that is held up for a while by a busy machine lets the queue run
	// empty, which costs a few frames.
	if math.Abs(float64(got-want)) > 0.03*float64(want) {
		t.Errorf("%d frames arrived, the model says %d", got, want)
	}
	if least := min(counts[0], counts[1]); least < got/4 {
		t.Errorf("the flows got %d and %d frames", counts[0], counts[1])
	}
	full := delay + time.Duration((queue+1)*frameBytes*8)*time.Second/10_000_000
	if median := waits[len(waits)/2]; median < full*9/10 || median > full*11/10 {
		t.Errorf("the median delay is %v; a full queue makes it %v", median, full)
	}
}

// twoFlows sends from h1 and h2 to h3; it returns each flow's frames that arrived, and
// the delays of all, in order.
func (l *lab) twoFlows(frames, frameBytes int, interval time.Duration) (counts [2]int, delays []time.Duration) {
	receiver := l.listenUDP(2)
	base := time.Now()
	var senders sync.WaitGroup
	for flow := range 2 {
		socket := l.listenUDP(flow)
		senders.Go(func() {
			message := make([]byte, frameBytes-ethernetBytes-ipv4Bytes-8)
			message[0] = byte(flow)
			for i := range frames {
				time.Sleep(time.Until(base.Add(time.Duration(i) * interval)))
				binary.NativeEndian.PutUint64(message[1:], uint64(time.Since(base)))
				if _, err := socket.WriteToUDPAddrPort(message, l.address(2)); err != nil {
					l.t.Errorf("flow %d: %v", flow, err)
					return
				}
			}
		})
	}
	go func() {
		senders.Wait()
		_ = receiver.SetReadDeadline(time.Now().Add(time.Second))
	}()
	buffer := make([]byte, 2048)
	for {
		n, err := receiver.Read(buffer)
		if err != nil {
			break
		}
		if n > 9 {
			counts[buffer[0]&1]++
			delays = append(delays, time.Since(base)-time.Duration(binary.NativeEndian.Uint64(buffer[1:])))
		}
	}
	slices.Sort(delays)
	return counts, delays
}
