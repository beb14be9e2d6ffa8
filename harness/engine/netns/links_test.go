//go:build linux

package netns

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"quorumlab/harness/engine"
	"quorumlab/harness/link"
	"quorumlab/topologies"
)

func init() { parts["pinger"] = nodePinger }

// nodePinger sends a numbered datagram to an echo for each line that it reads, and
// prints the number and the round trip's nanoseconds of each answer.
func nodePinger(arguments []string) error {
	connection, err := net.Dial("udp", arguments[0])
	if err != nil {
		return err
	}
	go func() {
		buffer := make([]byte, 100)
		for {
			n, err := connection.Read(buffer)
			if err != nil {
				continue // an echo that doesn't listen yet
			}
			number, sent, _ := strings.Cut(string(buffer[:n]), " ")
			at, _ := strconv.ParseInt(sent, 10, 64)
			fmt.Println(number, time.Now().UnixNano()-at)
		}
	}()
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if _, err := fmt.Fprintf(connection, "%s %d", lines.Text(), time.Now().UnixNano()); err != nil {
			return err
		}
	}
	return lines.Err()
}

// pinger is a nodePinger on h1 that sends to an echo on h2.
type pinger struct {
	t       *testing.T
	process engine.Process
	lines   *bufio.Scanner
	sent    int
}

func newPinger(t *testing.T, l engine.Lab) *pinger {
	t.Helper()
	echo := start(t, l, "h2", "echo", "198.18.0.2:7000")
	line(t, echo)
	p := &pinger{t: t, process: start(t, l, "h1", "pinger", "198.18.0.2:7000")}
	p.lines = bufio.NewScanner(p.process.Stdout())
	// Should an answer never come, the wait for it ends so.
	timer := time.AfterFunc(30*time.Second, func() { p.process.Signal(os.Kill) })
	t.Cleanup(func() { timer.Stop() })
	if !p.lines.Scan() || p.lines.Text() != "ready" {
		t.Fatalf("the pinger said %q", p.lines.Text())
	}
	return p
}

func (p *pinger) send() (number int) {
	p.t.Helper()
	p.sent++
	if _, err := fmt.Fprintln(p.process.Stdin(), p.sent); err != nil {
		p.t.Fatal(err)
	}
	return p.sent
}

// receive is the next answer.
func (p *pinger) receive() (number int, rtt time.Duration) {
	p.t.Helper()
	if !p.lines.Scan() {
		p.t.Fatalf("the pinger ended: %v", p.lines.Err())
	}
	var ns int64
	if _, err := fmt.Sscan(p.lines.Text(), &number, &ns); err != nil {
		p.t.Fatal(err)
	}
	return number, time.Duration(ns)
}

// rtt is the round trip of one datagram, the only one under way.
func (p *pinger) rtt() time.Duration {
	p.t.Helper()
	number := p.send()
	for {
		if got, rtt := p.receive(); got == number {
			return rtt
		}
	}
}

func buildChanging(t *testing.T, topology *topologies.Topology, links string) *lab {
	t.Helper()
	b := blueprint(1, topologies.Parameters{})
	b.Topology, b.Links, b.Changing = topology, links, true
	l, err := netnsEngine{}.Build(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.(*lab)
}

func TestAChangedLinkTakesLaterFramesOnly(t *testing.T) {
	const slow = 400 * time.Millisecond
	l := buildChanging(t, topologies.Star(2, topologies.Parameters{}), engine.LinksAuto)
	p := newPinger(t, l)
	set := func(delay time.Duration) {
		t.Helper()
		if err := l.SetLink(t.Context(), "h1-s1", topologies.Parameters{Delay: delay}, topologies.Parameters{}); err != nil {
			t.Fatal(err)
		}
	}
	if rtt := p.rtt(); rtt >= slow {
		t.Errorf("before: a round trip of %v", rtt)
	}
	set(slow)
	if rtt := p.rtt(); rtt < slow {
		t.Errorf("slow: a round trip of %v", rtt)
	}
	under := p.send()
	time.Sleep(20 * time.Millisecond) // it is on the link by now
	set(0)
	number, rtt := p.receive()
	if number != under || rtt < slow {
		t.Errorf("number %d of %d, under way while the link changed, took %v, want at least %v", number, under, rtt, slow)
	}
	if rtt := p.rtt(); rtt >= slow {
		t.Errorf("after: a round trip of %v", rtt)
	}
}

// ring joins three switches; h1 and h2 are on neighbouring ones.
func ring(near, far time.Duration) *topologies.Topology {
	link := func(name, a, b string, delay time.Duration) topologies.Link {
		p := topologies.Parameters{Delay: delay}
		return topologies.Link{Name: name, A: a, B: b, AToB: p, BToA: p}
	}
	return &topologies.Topology{
		Kind: "custom", Switches: []string{"s1", "s2", "s3"},
		Hosts: []topologies.Host{{Name: "h1", Address: topologies.Address(0)}, {Name: "h2", Address: topologies.Address(1)}},
		Links: []topologies.Link{
			link("h1-s1", "h1", "s1", 0), link("h2-s2", "h2", "s2", 0),
			link("s1-s2", "s1", "s2", near), link("s2-s3", "s2", "s3", far), link("s1-s3", "s1", "s3", far),
		},
	}
}

func TestALinkThatGoesDownInARingLeavesTheOtherWay(t *testing.T) {
	const far = 100 * time.Millisecond
	l := buildChanging(t, ring(time.Millisecond, far), engine.LinksUserspace)
	p := newPinger(t, l)
	up, down := topologies.Parameters{Delay: time.Millisecond}, topologies.Parameters{Delay: time.Millisecond, Down: true}
	for _, test := range []struct {
		aToB, bToA topologies.Parameters
		least      time.Duration
	}{
		{up, up, 2 * time.Millisecond},
		{down, down, 4 * far},
		{up, down, 2 * far},
		{up, up, 2 * time.Millisecond},
	} {
		if err := l.SetLink(t.Context(), "s1-s2", test.aToB, test.bToA); err != nil {
			t.Fatal(err)
		}
		if rtt := p.rtt(); rtt < test.least || rtt >= test.least+2*far {
			t.Errorf("down %v and %v: a round trip of %v, want %v", test.aToB.Down, test.bToA.Down, rtt, test.least)
		}
	}
}

func TestAChangeThatCannotBeIsRefused(t *testing.T) {
	design := blueprint(2, topologies.Parameters{Delay: time.Millisecond})
	design.Links = engine.LinksUserspace // the kernel's can't go down
	built, err := netnsEngine{}.Build(t.Context(), design)
	if err != nil {
		t.Fatal(err)
	}
	fixed := built.(*lab)
	defer fixed.Close()
	changing := buildChanging(t, topologies.Star(2, topologies.Parameters{Delay: time.Millisecond}), engine.LinksAuto)
	good := topologies.Parameters{Delay: 2 * time.Millisecond}
	if err := fixed.SetLink(t.Context(), "h1-s1", topologies.Parameters{Down: true}, good); err != nil {
		t.Errorf("a link down, other delays: %v", err)
	}
	for name, test := range map[string]struct {
		lab  *lab
		link string
		p    topologies.Parameters
		want string
		is   error
	}{
		"no such link":    {changing, "h9-s1", good, `"h9-s1"`, ErrNoLink},
		"nonsense":        {changing, "h1-s1", topologies.Parameters{Loss: 2}, "loss is 2", nil},
		"loss, not built": {fixed, "h1-s1", topologies.Parameters{Loss: 0.5}, "Changing", engine.ErrUnsupported},
	} {
		err := test.lab.SetLink(t.Context(), test.link, good, test.p)
		if err == nil || !strings.Contains(err.Error(), test.want) || test.is != nil && !errors.Is(err, test.is) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := changing.SetLink(t.Context(), "h1-s1", topologies.Parameters{Loss: 1}, good); err != nil {
		t.Errorf("loss where it was expected: %v", err)
	}
}

func TestALinkIsCapturedAgainOnceACaptureHasEnded(t *testing.T) {
	b := blueprint(2, topologies.Parameters{Delay: time.Millisecond})
	b.Links = engine.LinksUserspace
	built, err := netnsEngine{}.Build(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	defer built.Close()
	l := built.(*lab)
	p := newPinger(t, l)
	capture := func() (*os.File, error) {
		file, err := os.Create(filepath.Join(t.TempDir(), "capture"))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close() // the emulator has its own
		return file, l.Capture(t.Context(), "h1-s1", file)
	}
	size := func(file *os.File) int64 {
		info, err := os.Stat(file.Name())
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	for range 2 {
		file, err := capture()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := capture(); err == nil {
			t.Error("two captures of one link at a time")
		}
		p.rtt()
		if err := l.EndCapture(t.Context(), "h1-s1"); err != nil {
			t.Fatal(err)
		}
		complete := size(file)
		p.rtt()
		if complete < 4*60 || size(file) != complete {
			t.Errorf("at its end the capture had %d bytes, later %d", complete, size(file))
		}
	}
	// What nobody reads is no capture any more.
	read, write := pipe(t)
	if err := l.Capture(t.Context(), "h1-s1", write); err != nil {
		t.Fatal(err)
	}
	read.Close()
	write.Close()
	p.rtt()
	if err := l.EndCapture(t.Context(), "h1-s1"); err != nil {
		t.Errorf("ending a capture that nobody reads: %v", err)
	}
	if _, err := capture(); err != nil {
		t.Errorf("a capture after one that nobody read: %v", err)
	}
	report, err := l.Report(t.Context())
	if err != nil || report.Directions[0].CaptureMissed != 0 {
		t.Errorf("report %+v, %v", report.Directions[0], err)
	}
	if _, open := l.Capture(t.Context(), "h9-s1", write), l.EndCapture(t.Context(), "h9-s1"); !errors.Is(open, ErrNoLink) {
		t.Errorf("a link that isn't there: %v", open)
	}
}

func TestWhatTheKernelsLinksCannotDoIsUnsupported(t *testing.T) {
	b := blueprint(2, topologies.Parameters{})
	b.Links, b.Changing = engine.LinksKernel, true
	l, err := netnsEngine{}.Build(t.Context(), b)
	if errors.Is(err, link.ErrKernelCannot) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	trace := topologies.Parameters{Trace: &topologies.Trace{
		Times: []time.Duration{0}, Excess: []time.Duration{time.Millisecond}, Period: time.Second,
		Align: topologies.AlignStart, Gap: topologies.GapHold, GapAfter: time.Second,
	}}
	for what, err := range map[string]error{
		"a trace":         l.SetLink(t.Context(), "h1-s1", trace, topologies.Parameters{}),
		"a capture":       l.Capture(t.Context(), "h1-s1", os.Stderr),
		"a capture's end": l.EndCapture(t.Context(), "h1-s1"),
	} {
		if !errors.Is(err, engine.ErrUnsupported) || !strings.Contains(err.Error(), "h1-s1") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
