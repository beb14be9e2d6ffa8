//go:build linux

package link

import (
	"encoding/binary"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"quorumlab/topologies"
)

// oneWay is a star of two whose first link has these parameters from h1 to s1.
func oneWay(p topologies.Parameters) *topologies.Topology {
	t := topologies.Star(2, topologies.Parameters{})
	t.Links[0].AToB = p
	return t
}

// numbered sends datagrams that hold their numbers from host 0 to host 1.
func (l *lab) numbered(from *net.UDPConn, first, count int) {
	l.t.Helper()
	for i := range count {
		message := make([]byte, 64)
		binary.BigEndian.PutUint32(message, uint32(first+i))
		if _, err := from.WriteToUDPAddrPort(message, l.address(1)); err != nil {
			l.t.Fatal(err)
		}
	}
}

// numbers lists the datagrams that come until none has come for a while.
func numbers(c *net.UDPConn) <-chan []int {
	listed := make(chan []int, 1)
	go func() {
		var got []int
		buffer := make([]byte, 2048)
		for {
			_ = c.SetReadDeadline(time.Now().Add(3 * time.Second))
			n, err := c.Read(buffer)
			if err != nil {
				listed <- got
				return
			}
			number := int(binary.BigEndian.Uint32(buffer))
			if n != 64 || slices.ContainsFunc(buffer[4:n], func(b byte) bool { return b != 0 }) {
				number = -1
			}
			got = append(got, number)
		}
	}()
	return listed
}

func TestCorruptedDatagramsAreNeverSeen(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		unsummed int
	}{{"with checksums", 0}, {"without checksums", 1}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, oneWay(topologies.Parameters{Corrupt: 0.4}))
			remote := l.emulate(EmulatorConfig{Seed: 8})
			received := numbers(l.listenUDP(1))
			client := l.listenUDP(0)
			raw, err := client.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			_ = raw.Control(func(descriptor uintptr) {
				err = unix.SetsockoptInt(int(descriptor), unix.SOL_SOCKET, unix.SO_NO_CHECK, c.unsummed)
			})
			if err != nil {
				t.Fatal(err)
			}
			l.numbered(client, 0, safeCount)
			got := <-received
			r := report(t, remote)
			up, down := direction(t, r.LinkReport, "h1", "s1"), direction(t, r.LinkReport, "s1", "h2")
			if up.Corrupted == 0 || up.Frames != safeCount || down.Frames != safeCount || r.EmulatorDrops != 0 {
				t.Errorf("counted %+v, %+v", up, down)
			}
			if len(got)+int(up.Corrupted) != safeCount || slices.Contains(got, -1) {
				t.Errorf("of %d datagrams %d were corrupted, %d arrived: %v", safeCount, up.Corrupted, len(got), got)
			}
		})
	}
}

func TestTCPArrivesIntactWhateverIsDoneToFrames(t *testing.T) {
	t.Parallel()
	p := topologies.Parameters{
		Delay: time.Millisecond, Jitter: 200 * time.Microsecond, JitterDistribution: topologies.JitterExponential, JitterReorders: true,
		Duplicate: 0.02, Corrupt: 0.005, Reorder: 0.02, ReorderGap: 5,
		GilbertElliott: &topologies.GilbertElliott{GoodToBad: 0.002, BadToGood: 0.5, LossBad: 0.5},
		RateBPS:        200_000_000, QueueBytes: 1 << 20,
	}
	l := newLab(t, topologies.Star(2, p))
	remote := l.emulate(EmulatorConfig{Seed: 4})
	l.transfer(1 << 20)
	r := report(t, remote)
	d := direction(t, r.LinkReport, "h1", "s1")
	if d.Corrupted == 0 || d.Duplicates == 0 || d.Reordered == 0 || d.LossDrops == 0 || r.EmulatorDrops != 0 {
		t.Errorf("counted %+v, emulator drops %v", d, r.EmulatorDropCauses)
	}
}

func TestEachDatagramOfADuplicatingLinkArrivesTwice(t *testing.T) {
	t.Parallel()
	l := newLab(t, oneWay(topologies.Parameters{Duplicate: 1}))
	remote := l.emulate(EmulatorConfig{})
	received := numbers(l.listenUDP(1))
	const count = safeCount / 2
	l.numbered(l.listenUDP(0), 0, count)
	var want []int
	for i := range count {
		want = append(want, i, i)
	}
	if got := <-received; !slices.Equal(got, want) {
		t.Errorf("received %v", got)
	}
	r := report(t, remote)
	up, down := direction(t, r.LinkReport, "h1", "s1"), direction(t, r.LinkReport, "s1", "h2")
	if up.Frames != 2*count || up.Duplicates != count || down.Frames != 2*count || down.Duplicates != 0 {
		t.Errorf("counted %+v, %+v", up, down)
	}
}

func TestEveryFifthDatagramComesFirst(t *testing.T) {
	t.Parallel()
	l := newLab(t, oneWay(topologies.Parameters{Delay: time.Second, Reorder: 1, ReorderGap: 5}))
	remote := l.emulate(EmulatorConfig{})
	received := numbers(l.listenUDP(1))
	const count = 50
	l.numbered(l.listenUDP(0), 0, count)
	var first, then []int
	for i := range count {
		if i%5 == 4 {
			first = append(first, i)
		} else {
			then = append(then, i)
		}
	}
	if got := <-received; !slices.Equal(got, append(first, then...)) {
		t.Errorf("received %v", got)
	}
	if d := direction(t, report(t, remote).LinkReport, "h1", "s1"); d.Reordered != count/5 || d.Frames != count {
		t.Errorf("counted %+v", d)
	}
}

func TestALinkChangesWhileFramesAreOnIt(t *testing.T) {
	t.Parallel()
	slow := topologies.Parameters{Delay: 500 * time.Millisecond}
	l := newLab(t, oneWay(slow))
	remote := l.emulate(EmulatorConfig{})
	server, client := l.listenUDP(1), l.listenUDP(0)
	began := time.Now()
	l.numbered(client, 0, 20)
	for _, p := range []topologies.Parameters{{Delay: time.Millisecond}, {Delay: 2 * time.Millisecond}, {RateBPS: 1_000_000_000}, {}} {
		if err := remote.SetLink("h1-s1", p, topologies.Parameters{}); err != nil {
			t.Fatal(err)
		}
		l.numbered(client, 0, 1)
	}
	l.numbered(client, 20, 20)
	_ = server.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := server.Read(make([]byte, 64)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 500*time.Millisecond {
		t.Errorf("a frame that was on the link as it changed took %v", took)
	}
	// What comes later stays behind.
	var want []int
	for i := 1; i < 20; i++ {
		want = append(want, i)
	}
	want = append(want, 0, 0, 0, 0)
	for i := 20; i < 40; i++ {
		want = append(want, i)
	}
	if got := <-numbers(server); !slices.Equal(got, want) {
		t.Errorf("received %v, want %v", got, want)
	}
	if d := direction(t, report(t, remote).LinkReport, "h1", "s1"); d.Frames != 44 {
		t.Errorf("counted %+v", d)
	}
}

func TestFramesTakeAnotherWayWhileALinkIsDown(t *testing.T) {
	t.Parallel()
	// h1 - s1 - s2 - h2, and a detour by s3.
	topology := &topologies.Topology{
		Hosts:    []topologies.Host{{Name: "h1", Address: topologies.Address(0)}, {Name: "h2", Address: topologies.Address(1)}},
		Switches: []string{"s1", "s2", "s3"},
	}
	for _, ends := range [][2]string{{"h1", "s1"}, {"s1", "s2"}, {"s2", "h2"}, {"s1", "s3"}, {"s3", "s2"}} {
		topology.Links = append(topology.Links, topologies.Link{Name: ends[0] + "-" + ends[1], A: ends[0], B: ends[1]})
	}
	l := newLab(t, topology)
	remote := l.emulate(EmulatorConfig{})
	client := l.listenUDP(0)
	go echo(l.listenUDP(1))
	down := topologies.Parameters{Down: true}
	roundTrip(t, client, l.address(1))
	if err := remote.SetLink("s1-s2", down, down); err != nil {
		t.Fatal(err)
	}
	roundTrip(t, client, l.address(1))
	if err := remote.SetLink("s1-s3", down, topologies.Parameters{}); err != nil {
		t.Fatal(err)
	}
	l.numbered(client, 0, 3) // no way there is left
	if err := remote.SetLink("s1-s2", topologies.Parameters{}, down); err != nil {
		t.Fatal(err)
	}
	roundTrip(t, client, l.address(1)) // there straight, back by the detour
	r := report(t, remote).LinkReport
	for _, c := range []struct {
		from, to     string
		frames, down uint64
	}{{"s1", "s2", 2, 3}, {"s2", "s1", 1, 0}, {"s1", "s3", 1, 0}, {"s3", "s1", 2, 0}, {"s2", "h2", 3, 0}, {"h1", "s1", 6, 0}} {
		if d := direction(t, r, c.from, c.to); d.Frames != c.frames || d.DownDrops != c.down {
			t.Errorf("%+v, want %d frames, %d drops", d, c.frames, c.down)
		}
	}
}

func TestWhatMakesNoSenseIsRefusedAndChangesNothing(t *testing.T) {
	t.Parallel()
	l := newLab(t, topologies.Star(2, topologies.Parameters{Delay: time.Millisecond}))
	remote := l.emulate(EmulatorConfig{})
	good := topologies.Parameters{}
	for _, c := range []struct {
		want string
		err  error
	}{
		{`no link "h9-s1"`, remote.SetLink("h9-s1", good, good)},
		{"loss is 2", remote.SetLink("h1-s1", good, topologies.Parameters{Loss: 2})},
		{"delay is -1ns", remote.SetLink("h1-s1", topologies.Parameters{Delay: -1}, good)},
		{`no link "h9-s1"`, remote.Capture("h9-s1", os.DevNull)},
		{"no such file", remote.Capture("h1-s1", t.TempDir()+"/none")},
		{"without a path", remote.Capture("h1-s1", "")},
		{`no link ""`, remote.EndCapture("")},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("%v, want an error with %q", c.err, c.want)
		}
	}
	if err := remote.EndCapture("h1-s1"); err != nil {
		t.Errorf("ending what wasn't begun: %v", err)
	}
	go echo(l.listenUDP(1))
	if took := roundTrip(t, l.listenUDP(0), l.address(1)); took < 4*time.Millisecond {
		t.Errorf("a round trip took %v, less than declared", took)
	}
}

func TestACaptureShowsTheDelayOfALink(t *testing.T) {
	t.Parallel()
	l := newLab(t, topologies.Star(2, topologies.Parameters{Delay: 20 * time.Millisecond}))
	remote := l.emulate(EmulatorConfig{})
	go echo(l.listenUDP(1))
	client := l.listenUDP(0)
	roundTrip(t, client, l.address(1))
	path := emptyFile(t)
	if err := remote.Capture("h1-s1", path); err != nil {
		t.Fatal(err)
	}
	if err := remote.Capture("h1-s1", path); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("a link was captured twice at a time: %v", err)
	}
	began := time.Now()
	roundTrip(t, client, l.address(1))
	l.transfer(100_000)
	ended := time.Now()
	if err := remote.EndCapture("h1-s1"); err != nil {
		t.Fatal(err)
	}
	roundTrip(t, client, l.address(1)) // not captured any more
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := readCapture(file)
	if err != nil {
		t.Fatal(err)
	}
	r := report(t, remote)
	up, down := direction(t, r.LinkReport, "h1", "s1"), direction(t, r.LinkReport, "s1", "h1")
	if up.CaptureMissed+down.CaptureMissed != 0 {
		t.Errorf("missed %d and %d", up.CaptureMissed, down.CaptureMissed)
	}
	// All but the first and the last round trip entered; acknowledgements may still
	// have been on the link.
	entries := map[string]int64{}
	exits := 0
	for _, p := range s.packets {
		if !accepted(p.data) {
			t.Errorf("a frame with wrong checksums: %x", p.data)
		}
		if p.timeNS < began.UnixNano()-1e9 || p.timeNS > ended.UnixNano()+1e9 {
			t.Errorf("a frame at %d, the capture lasted from %v to %v", p.timeNS, began, ended)
		}
		if p.flags == flagOutbound {
			entries[string(p.data)] = p.timeNS
			continue
		}
		exits++
		if took := p.timeNS - entries[string(p.data)]; took != int64(20*time.Millisecond) {
			t.Errorf("a frame took %d ns, want 20 ms", took)
		}
	}
	if want := up.Frames + down.Frames - 4; uint64(len(entries)) > want || len(entries) < 10 || exits < 4 {
		t.Errorf("captured %d entries and %d exits, of %d frames", len(entries), exits, want)
	}
	if !slices.Equal(s.interfaces, []string{"h1-s1 at h1", "h1-s1 at s1"}) {
		t.Errorf("interfaces %q", s.interfaces)
	}
	// It may be captured anew, and the emulator's end ends that.
	if err := remote.Capture("h1-s1", path); err != nil {
		t.Fatal(err)
	}
}
