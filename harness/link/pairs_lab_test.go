//go:build linux

package link

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"quorumlab/harness/engine"
	"quorumlab/topologies"
)

// pairExecutor has pairs of hosts do what links do for others: everything between a
// sender and the last host.
type pairExecutor struct{ *Remote }

// newPairExecutor moves a conformance lab's parameters from its links to its pairs.
func newPairExecutor(l *lab) pairExecutor {
	var changes []engine.PairChange
	for i, link := range l.topology.Links {
		if link.A != "sink" {
			changes = append(changes, engine.PairChange{From: link.A, To: "sink", Parameters: &link.AToB})
		}
		l.topology.Links[i].AToB = topologies.Parameters{}
	}
	remote := l.emulate(EmulatorConfig{Seed: uint64(os.Getpid())})
	if err := remote.SetPairs(changes); err != nil {
		l.t.Fatal(err)
	}
	return pairExecutor{remote}
}

func (e pairExecutor) SetLink(link string, aToB, _ topologies.Parameters) error {
	from, _, _ := strings.Cut(link, "-")
	return e.SetPairs([]engine.PairChange{{From: from, To: "sink", Parameters: &aToB}})
}

// counts are those of the pairs under the names of their links.
func (e pairExecutor) counts() (engine.LinkReport, error) {
	r, err := e.Report()
	r.Directions = nil
	for _, pair := range r.Pairs {
		pair.Link, pair.To = pair.From+"-s1", "s1"
		r.Directions = append(r.Directions, pair)
	}
	return r.LinkReport, err
}

// pairCases are those of one flow that show each kind of impairment.
func pairCases() []conformanceCase {
	wanted := []string{"delay 20 ms", "jitter uniform 10 ms, overtaking", "loss 10%", "duplicate 10%", "corrupt 10%", "down", "rate 1 Mbit/s, queue 5 frames"}
	all := conformanceCases()
	cases := slices.Clone(all[:conformanceControls])
	for _, c := range all[conformanceControls:] {
		if slices.Contains(wanted, c.name) {
			cases = append(cases, c)
		}
	}
	return cases
}

func TestAPairsStageDoesWhatTheModelSays(t *testing.T) {
	needNamespaces(t)
	rows := newConformanceLab(t, pairCases(), func(l *lab) conformanceExecutor { return newPairExecutor(l) }).rows("emulator's pairs")
	t.Logf("\n%s", conformanceTable(rows))
}

// pairReport finds a pair in a report.
func pairReport(t *testing.T, r EmulatorReport, name string) engine.DirectionReport {
	t.Helper()
	i := slices.IndexFunc(r.Pairs, func(d engine.DirectionReport) bool { return d.Link == name })
	if i < 0 {
		t.Fatalf("no pair %s among %+v", name, r.Pairs)
	}
	return r.Pairs[i]
}

func setPairs(t *testing.T, remote *Remote, changes ...engine.PairChange) {
	t.Helper()
	if err := remote.SetPairs(changes); err != nil {
		t.Fatal(err)
	}
}

func TestPairsAreCutAndHealedAtOneMomentAndOthersAreLeftAlone(t *testing.T) {
	t.Parallel()
	l := newLab(t, topologies.Star(3, topologies.Parameters{Delay: time.Millisecond}))
	remote := l.emulate(EmulatorConfig{})
	sockets := []*net.UDPConn{l.listenUDP(0), l.listenUDP(1), l.listenUDP(2)}
	down := &topologies.Parameters{Down: true}
	setPairs(t, remote,
		engine.PairChange{From: "h2", To: "h1", Parameters: down},
		engine.PairChange{From: "h1", To: "h2", Parameters: down},
		engine.PairChange{From: "h3", To: "h1", Parameters: down},
		engine.PairChange{From: "h1", To: "h2"}, // heals it again
	)
	for from := range sockets {
		for to := range sockets {
			if from != to {
				blast(t, sockets[from], l, to, 5, 100)
			}
		}
	}
	var received []<-chan int
	for _, socket := range sockets {
		received = append(received, drain(socket))
	}
	for host, want := range []int{0, 10, 10} {
		if got := <-received[host]; got != want {
			t.Errorf("h%d got %d datagrams, want %d", host+1, got, want)
		}
	}
	r := report(t, remote)
	var names []string
	for _, pair := range r.Pairs {
		names = append(names, pair.Link)
	}
	if want := []string{"h1>h2", "h2>h1", "h3>h1"}; !slices.Equal(names, want) {
		t.Errorf("pairs %v, want %v", names, want)
	}
	for name, want := range map[string]uint64{"h1>h2": 0, "h2>h1": 5, "h3>h1": 5} {
		if got := pairReport(t, r, name); got.DownDrops != want || got.Frames != 0 {
			t.Errorf("%+v, want %d drops", got, want)
		}
	}
	setPairs(t, remote, engine.PairChange{From: "h2", To: "h1"}, engine.PairChange{From: "h3", To: "h1"})
	_ = sockets[0].SetReadDeadline(time.Time{})
	go echo(sockets[0])
	roundTrip(t, sockets[1], l.address(0))
	roundTrip(t, sockets[2], l.address(0))
	if later := report(t, remote); !slices.Equal(later.Pairs, r.Pairs) || later.EmulatorDrops != 0 {
		t.Errorf("healed, %+v became %+v; the emulator dropped %d", r.Pairs, later.Pairs, later.EmulatorDrops)
	}
}

// TestChangesUnderLoadLoseAndReorderNothing sends numbered datagrams while the way's
// stage and links change.
func TestChangesUnderLoadLoseAndReorderNothing(t *testing.T) {
	t.Parallel()
	const count = 2000
	l := newLab(t, topologies.Star(2, topologies.Parameters{Delay: time.Millisecond}))
	remote := l.emulate(EmulatorConfig{})
	to, from := l.listenUDP(1), l.listenUDP(0)
	arrived := make(chan error, 1)
	go func() {
		buffer := make([]byte, 64)
		for want := range uint32(count) {
			_ = to.SetReadDeadline(time.Now().Add(10 * time.Second))
			if _, err := to.Read(buffer); err != nil {
				arrived <- fmt.Errorf("after %d datagrams: %w", want, err)
				return
			}
			if got := binary.BigEndian.Uint32(buffer); got != want {
				arrived <- fmt.Errorf("number %d came in the place of %d", got, want)
				return
			}
		}
		arrived <- nil
	}()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		message := make([]byte, 64)
		for i := range uint32(count) {
			binary.BigEndian.PutUint32(message, i)
			_, _ = from.WriteToUDPAddrPort(message, l.address(1))
			if i%10 == 9 {
				time.Sleep(time.Millisecond)
			}
		}
	}()
	delays := []*topologies.Parameters{{Delay: 20 * time.Millisecond}, {Delay: time.Millisecond}, nil, {Delay: 5 * time.Millisecond, Jitter: time.Millisecond, JitterDistribution: topologies.JitterUniform}, {}, nil}
	changes := 0
	for under := true; under; changes++ {
		setPairs(t, remote, engine.PairChange{From: "h1", To: "h2", Parameters: delays[changes%len(delays)]})
		if changes%3 == 0 {
			p := topologies.Parameters{Delay: time.Duration(changes%4) * time.Millisecond}
			if err := remote.SetLink("h1-s1", p, p); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case <-sent:
			under = false
		case <-time.After(2 * time.Millisecond):
		}
	}
	if err := <-arrived; err != nil {
		t.Error(err)
	}
	if r := report(t, remote); r.EmulatorDrops != 0 || pairReport(t, r, "h1>h2").Frames == 0 || changes < 20 {
		t.Errorf("after %d changes: %+v", changes, r)
	}
}

func TestPairsThatMakeNoSenseAreRefusedAndNothingIsChanged(t *testing.T) {
	t.Parallel()
	l := newLab(t, topologies.Star(2, topologies.Parameters{}))
	remote := l.emulate(EmulatorConfig{})
	good := engine.PairChange{From: "h1", To: "h2", Parameters: &topologies.Parameters{Down: true}}
	for _, c := range []struct {
		bad  engine.PairChange
		want string
	}{
		{engine.PairChange{From: "h9", To: "h2"}, `"h9"`},
		{engine.PairChange{From: "h1", To: "s1"}, `"s1"`},
		{engine.PairChange{From: "h1", To: "h1"}, "itself"},
		{engine.PairChange{From: "h2", To: "h1", Parameters: &topologies.Parameters{Loss: 2}}, "loss is 2"},
	} {
		if err := remote.SetPairs([]engine.PairChange{good, c.bad}); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "2 pairs") {
			t.Errorf("%+v: %v", c.bad, err)
		}
	}
	if r := report(t, remote); len(r.Pairs) != 0 {
		t.Errorf("after all that was refused: %+v", r.Pairs)
	}
	go echo(l.listenUDP(1))
	roundTrip(t, l.listenUDP(0), l.address(1))
}

func TestSegmentsPassACutButNoStageThatTreatsEachFrame(t *testing.T) {
	for _, c := range []struct {
		p              topologies.Parameters
		down, segments uint64
	}{{topologies.Parameters{Down: true}, 1, 0}, {topologies.Parameters{Delay: time.Millisecond}, 0, 0}, {topologies.Parameters{Loss: 0.5}, 0, 1}} {
		o := newOffline(t, topologies.Star(2, topologies.Parameters{}))
		o.setPair(0, 0, 1, &c.p)
		f := o.e.pool.get()
		f.bytes, f.way, f.segments = 94, o.e.paths[1], true
		o.e.advance(f, 0)
		if got := o.firstStage(); got.downDrops != c.down || o.e.counters.segmentDrops != c.segments {
			t.Errorf("%+v: counted %+v, %d because of segments", c.p, got, o.e.counters.segmentDrops)
		}
	}
}

// emulatorMemory is how much memory the emulator's process holds, in bytes.
func (l *lab) emulatorMemory() int64 {
	l.t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", l.emulatorPID))
	if err != nil {
		l.t.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(data))[1], 10, 64)
	if err != nil {
		l.t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// emulatorDescriptors counts the files that the emulator's process has open.
func (l *lab) emulatorDescriptors() int {
	l.t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", l.emulatorPID))
	if err != nil {
		l.t.Fatal(err)
	}
	return len(entries)
}

// TestMemoryStaysFlatHoweverOftenLinksAndPairsChange makes changes of partitions and of
// links that frames go around, which together allocate far more than may be held.
func TestMemoryStaysFlatHoweverOftenLinksAndPairsChange(t *testing.T) {
	t.Parallel()
	topology := topologies.Star(10, topologies.Parameters{Delay: time.Millisecond})
	l := newLab(t, topology)
	remote := l.emulate(EmulatorConfig{})
	down, slow := &topologies.Parameters{Down: true}, &topologies.Parameters{Delay: time.Millisecond}
	change := func(parameters *topologies.Parameters) (changes []engine.PairChange) {
		for from := range 5 {
			for to := range 5 {
				changes = append(changes, engine.PairChange{From: fmt.Sprintf("h%d", from+1), To: fmt.Sprintf("h%d", to+6), Parameters: parameters})
			}
		}
		return changes
	}
	go echo(l.listenUDP(9))
	client := l.listenUDP(0)
	rounds := func(count int) {
		for range count {
			setPairs(t, remote, change(down)...)
			if err := remote.SetLink("h1-s1", *down, *down); err != nil {
				t.Fatal(err)
			}
			setPairs(t, remote, change(slow)...)
			setPairs(t, remote, change(nil)...)
			if err := remote.SetLink("h1-s1", *slow, *slow); err != nil {
				t.Fatal(err)
			}
		}
		roundTrip(t, client, l.address(9))
	}
	rounds(1)
	files := l.emulatorDescriptors()
	rounds(150)
	before := l.emulatorMemory()
	rounds(900)
	// It may hold that much garbage, and as much again while that is collected.
	if grown := l.emulatorMemory() - before; grown > 2*garbageBytes {
		t.Errorf("the emulator's memory grew by %d MB, to %d MB", grown>>20, (before+grown)>>20)
	}
	if now := l.emulatorDescriptors(); now != files {
		t.Errorf("%d files are open, before %d", now, files)
	}
	if r := report(t, remote); r.EmulatorDrops != 0 || len(r.Pairs) != 25 {
		t.Errorf("%d pairs, the emulator dropped %d", len(r.Pairs), r.EmulatorDrops)
	}
}
