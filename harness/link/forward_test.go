//go:build linux

package link

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"quorumlab/topologies"
)

// offline is an emulator without a socket, whose time is what the test says.
type offline struct {
	e *emulator
	t testing.TB
	// arrived are the frames that reached their hosts.
	arrived []arrivedFrame
	frames  uint32
}

type arrivedFrame struct {
	number    uint32
	atNS      int64
	corrupted bool
}

func newOffline(t testing.TB, topology *topologies.Topology) *offline {
	t.Helper()
	config := EmulatorConfig{Topology: topology, Seed: 3}
	for i, host := range topology.Hosts {
		config.Ports = append(config.Ports, Port{Host: host.Name, Interface: string(rune('0' + i)), MAC: fmt.Sprintf("02:00:00:00:00:%02x", i)})
	}
	fabric, err := newFabric(config, 0, resolveAny)
	if err != nil {
		t.Fatal(err)
	}
	e := &emulator{
		fabric: fabric, pool: framePool{budgetBytes: 64 << 20}, places: rand.New(rand.NewPCG(1, 1)),
		counters: counters{directions: make([]directionCounters, len(fabric.models))}, taps: make([]*capture, len(fabric.models)),
	}
	return &offline{e: e, t: t}
}

// send puts a frame of 100 bytes onto its way at a time, and returns its number.
func (o *offline) send(from, to int, nowNS int64) uint32 {
	o.t.Helper()
	f := o.e.pool.get()
	if f == nil {
		o.t.Fatal("no memory for a frame")
	}
	o.frames++
	f.bytes, f.to, f.way = 100, int32(to), o.e.paths[from*len(o.e.ports)+to]
	clear(f.small)
	copy(f.small[virtioBytes:], udpPacket(80, uint64(o.frames)))
	f.bytes = 80 + ethernetBytes
	binary.BigEndian.PutUint32(f.small[virtioBytes:], o.frames)
	o.e.advance(f, nowNS)
	return o.frames
}

// runUntil handles the events before a time.
func (o *offline) runUntil(nowNS int64) {
	for o.e.events.len() > 0 && o.e.events.nextNS() < nowNS {
		next := o.e.events.pop()
		f := next.frame
		if f.capture != nil {
			f.capture.left(f, next.timeNS)
			f.capture = nil
		}
		if int(f.hop) < len(f.way) {
			o.e.advance(f, next.timeNS)
			continue
		}
		if accepted(f.ethernet()) == f.corrupted {
			o.t.Errorf("corrupted is %v, the frame's checksums say otherwise", f.corrupted)
		}
		o.arrived = append(o.arrived, arrivedFrame{binary.BigEndian.Uint32(f.small[virtioBytes:]), next.timeNS, f.corrupted})
		o.e.pool.put(f)
	}
}

// change changes a link at a time, and finds the paths anew.
func (o *offline) change(nowNS int64, link int, aToB, bToA topologies.Parameters) {
	o.t.Helper()
	o.runUntil(nowNS)
	changed := *o.e.topology
	changed.Links = slices.Clone(changed.Links)
	changed.Links[link].AToB, changed.Links[link].BToA = aToB, bToA
	paths, err := findPaths(&changed)
	if err != nil {
		o.t.Fatal(err)
	}
	o.e.topology = &changed
	o.e.changeAt(nowNS, link, aToB, bToA, paths)
}

const ms = int64(time.Millisecond)

func delay(d time.Duration) topologies.Parameters { return topologies.Parameters{Delay: d} }

// chain is h1 - s1 - s2 - h2, each link of 10 ms.
func chainTopology() *topologies.Topology {
	t := &topologies.Topology{
		Hosts:    []topologies.Host{{Name: "h1", Address: topologies.Address(0)}, {Name: "h2", Address: topologies.Address(1)}},
		Switches: []string{"s1", "s2"},
	}
	for _, ends := range [][2]string{{"h1", "s1"}, {"s1", "s2"}, {"s2", "h2"}} {
		t.Links = append(t.Links, topologies.Link{
			Name: ends[0] + "-" + ends[1], A: ends[0], B: ends[1], AToB: delay(10 * time.Millisecond), BToA: delay(10 * time.Millisecond),
		})
	}
	return t
}

func TestAChangeHoldsForFramesThatComeToTheLinkLater(t *testing.T) {
	o := newOffline(t, chainTopology())
	onIt := o.send(0, 1, 0)      // is on the second link, until 20 ms, as it changes
	before := o.send(0, 1, 5*ms) // comes to the second link just as it changes
	o.change(15*ms, 1, delay(0), delay(0))
	after := o.send(0, 1, 15*ms)
	o.runUntil(100 * ms)
	want := []arrivedFrame{
		{onIt, 30 * ms, false},   // keeps its time
		{before, 30 * ms, false}, // is held up by the one ahead
		{after, 35 * ms, false},
	}
	if !slices.Equal(o.arrived, want) {
		t.Errorf("arrived %v, want %v", o.arrived, want)
	}
	for i, d := range o.e.counters.directions {
		if want := uint64(3 * (1 - i%2)); d.frames != want || d.bytes != want*94 {
			t.Errorf("direction %d counted %d frames, %d bytes; want %d of 94", i, d.frames, d.bytes, want)
		}
	}
}

func TestALinkThatGoesDownDropsWhatComesToItAndKeepsWhatIsOnIt(t *testing.T) {
	o := newOffline(t, chainTopology())
	onIt := o.send(0, 1, 0)
	o.send(0, 1, 8*ms) // still on the first link
	down := topologies.Parameters{Delay: 10 * time.Millisecond, Down: true}
	o.change(15*ms, 1, down, down)
	o.send(0, 1, 16*ms) // no other way
	o.runUntil(100 * ms)
	o.change(100*ms, 1, delay(10*time.Millisecond), delay(10*time.Millisecond))
	later := o.send(0, 1, 100*ms)
	o.runUntil(200 * ms)
	if want := []arrivedFrame{{onIt, 30 * ms, false}, {later, 130 * ms, false}}; !slices.Equal(o.arrived, want) {
		t.Errorf("arrived %v, want %v", o.arrived, want)
	}
	want := []directionCounters{{frames: 4, bytes: 4 * 94}, {}, {frames: 2, bytes: 2 * 94, downDrops: 2}, {}, {frames: 2, bytes: 2 * 94}, {}}
	if !slices.Equal(o.e.counters.directions, want) {
		t.Errorf("counted %+v, want %+v", o.e.counters.directions, want)
	}
}

func TestFramesGoAroundALinkThatIsDown(t *testing.T) {
	topology := chainTopology()
	topology.Switches = append(topology.Switches, "s3")
	topology.Links = append(topology.Links,
		topologies.Link{Name: "s1-s3", A: "s1", B: "s3", AToB: delay(50 * time.Millisecond), BToA: delay(50 * time.Millisecond)},
		topologies.Link{Name: "s3-s2", A: "s3", B: "s2", AToB: delay(50 * time.Millisecond), BToA: delay(50 * time.Millisecond)})
	o := newOffline(t, topology)
	straight := o.send(0, 1, 0)
	o.send(0, 1, 10*ms) // on its way to the link as it goes down: it keeps its way
	down := topologies.Parameters{Delay: 10 * time.Millisecond, Down: true}
	o.change(15*ms, 1, down, delay(10*time.Millisecond))
	around := o.send(0, 1, 15*ms)
	back := o.send(1, 0, 15*ms) // only one direction is down
	o.change(20*ms, 1, delay(10*time.Millisecond), delay(10*time.Millisecond))
	again := o.send(0, 1, 20*ms)
	o.runUntil(500 * ms)
	want := []arrivedFrame{
		{straight, 30 * ms, false}, {back, 45 * ms, false}, {again, 50 * ms, false}, {around, 135 * ms, false},
	}
	// The second frame came to the link at 20 ms, when it was up again.
	want = slices.Insert(want, 1, arrivedFrame{straight + 1, 40 * ms, false})
	if !slices.Equal(o.arrived, want) {
		t.Errorf("arrived %v, want %v", o.arrived, want)
	}
}

func TestAnUnreachableHostsFramesAreCountedWhereTheLinkIsDown(t *testing.T) {
	topology := topologies.Star(2, delay(time.Millisecond))
	topology.Links[1].AToB.Down, topology.Links[1].BToA.Down = true, true
	o := newOffline(t, topology)
	o.send(0, 1, 0)
	o.send(1, 0, 0)
	o.runUntil(ms * 100)
	want := []directionCounters{{frames: 1, bytes: 94}, {}, {downDrops: 1}, {downDrops: 1}}
	if len(o.arrived) != 0 || !slices.Equal(o.e.counters.directions, want) {
		t.Errorf("%d arrived, counted %+v, want %+v", len(o.arrived), o.e.counters.directions, want)
	}
}

// TestAFrameWithoutAWayGoesAsFarAsItCan: a link that went down before, and that others
// go around, doesn't hide the one that leaves no way.
func TestAFrameWithoutAWayGoesAsFarAsItCan(t *testing.T) {
	for _, routing := range []string{topologies.RoutingDelay, topologies.RoutingHops} {
		topology := chainTopology()
		topology.Routing = routing
		topology.Switches = append(topology.Switches, "s3")
		for _, ends := range [][2]string{{"s1", "s3"}, {"s3", "s2"}} {
			topology.Links = append(topology.Links, topologies.Link{
				Name: ends[0] + "-" + ends[1], A: ends[0], B: ends[1], AToB: delay(50 * time.Millisecond), BToA: delay(50 * time.Millisecond),
			})
		}
		topology.Links[1].AToB.Down = true // s1 to s2
		topology.Links[2].AToB.Down = true // s2 to h2
		o := newOffline(t, topology)
		o.send(0, 1, 0)
		o.runUntil(1000 * ms)
		passed := directionCounters{frames: 1, bytes: 94}
		want := []directionCounters{passed, {}, {}, {}, {downDrops: 1}, {}, passed, {}, passed, {}}
		if len(o.arrived) != 0 || !slices.Equal(o.e.counters.directions, want) {
			t.Errorf("routing by %s: %d arrived, counted %+v, want %+v", routing, len(o.arrived), o.e.counters.directions, want)
		}
	}
}

// TestFoldingMakesNoDifference: an emulator that takes each hop by an event of its own
// does the same, whatever changes meanwhile.
func TestFoldingMakesNoDifference(t *testing.T) {
	seeds := []uint64{1258, 2095} // once found frames that overtook others that came to a node with them
	for seed := range uint64(60) {
		seeds = append(seeds, seed)
	}
	for _, seed := range seeds {
		folded, stepped := foldingRun(t, seed, true), foldingRun(t, seed, false)
		if !slices.Equal(folded.arrived, stepped.arrived) {
			t.Fatalf("seed %d: folded %v, stepped %v", seed, folded.arrived, stepped.arrived)
		}
		if !slices.Equal(folded.e.counters.directions, stepped.e.counters.directions) {
			t.Fatalf("seed %d: folded %+v, stepped %+v", seed, folded.e.counters.directions, stepped.e.counters.directions)
		}
	}
}

// foldingRun sends frames both ways along a chain whose links change. Frames that arrive
// at the same time are listed by their numbers.
func foldingRun(t *testing.T, seed uint64, fold bool) *offline {
	generator := rand.New(rand.NewPCG(seed, 1))
	o := newOffline(t, chainTopology())
	if !fold {
		// A tap on every link that records nothing.
		for i := range o.e.taps {
			o.e.taps[i] = &capture{ring: newByteRing(0)}
			o.e.taps[i].state.Store(captureUnread)
		}
	}
	now := int64(0)
	for range 400 {
		now += generator.Int64N(4000)
		if generator.IntN(15) == 0 {
			p := delay(time.Duration(generator.Int64N(40_000)))
			if generator.IntN(3) == 0 {
				p = randomParameters(generator)
				p.Down = false
			}
			o.change(now, generator.IntN(3), p, p)
		}
		o.runUntil(now)
		from := generator.IntN(2)
		o.send(from, 1-from, now)
	}
	o.runUntil(now + 100*int64(time.Hour))
	slices.SortStableFunc(o.arrived, func(a, b arrivedFrame) int {
		return cmp.Or(cmp.Compare(a.atNS, b.atNS), cmp.Compare(a.number, b.number))
	})
	return o
}

func TestFramesOfManySegmentsAreDroppedByALinkThatIsDownAsAnyOther(t *testing.T) {
	for _, c := range []struct {
		p              topologies.Parameters
		down, segments uint64
	}{{topologies.Parameters{Down: true}, 1, 0}, {topologies.Parameters{Loss: 0.5}, 0, 1}} {
		o := newOffline(t, oneWay(c.p))
		f := o.e.pool.get()
		f.bytes, f.way, f.segments = 94, o.e.paths[1], true
		o.e.advance(f, 0)
		if got := o.e.counters.directions[0].downDrops; got != c.down || o.e.counters.segmentDrops != c.segments {
			t.Errorf("%+v: %d drops because it is down, %d because of segments", c.p, got, o.e.counters.segmentDrops)
		}
	}
}

func TestDuplicatesHaveBuffersOfTheirOwn(t *testing.T) {
	o := newOffline(t, topologies.Star(2, topologies.Parameters{Duplicate: 1, Corrupt: 0.5}))
	const frames = 50
	for i := range int64(frames) {
		o.send(0, 1, i*ms)
	}
	o.runUntil(1000 * ms)
	copies, corrupted := map[uint32]int{}, map[uint32]int{}
	for _, a := range o.arrived {
		copies[a.number]++
		if a.corrupted {
			corrupted[a.number]++
		}
	}
	mixed := 0
	for number := uint32(1); number <= frames; number++ {
		if copies[number] != 4 { // doubled by each of two links
			t.Errorf("frame %d arrived %d times, want 4", number, copies[number])
		}
		if n := corrupted[number]; n > 0 && n < 4 {
			mixed++
		}
	}
	if mixed == 0 {
		t.Error("of no frame are some copies corrupted and others not")
	}
	d := o.e.counters.directions
	if d[0].frames != 2*frames || d[0].duplicates != frames || d[3].frames != 4*frames || d[3].duplicates != 2*frames || d[0].corrupted == 0 {
		t.Errorf("counted %+v", d)
	}
}

func TestADuplicateWithoutMemoryIsAMemoryDrop(t *testing.T) {
	topology := topologies.Star(2, topologies.Parameters{})
	topology.Links[1].BToA.Duplicate = 1
	o := newOffline(t, topology)
	o.e.pool.budgetBytes = smallFrames * (smallBytes + frameOverheads)
	var held []*frame
	for range smallFrames - 1 {
		held = append(held, o.e.pool.get())
	}
	o.send(0, 1, 0)
	o.runUntil(ms)
	if o.e.counters.memoryDrops != 1 || len(o.arrived) != 1 {
		t.Errorf("%d memory drops, %d frames arrived, want one of each", o.e.counters.memoryDrops, len(o.arrived))
	}
	o.e.pool.put(held[0])
	o.send(0, 1, ms)
	o.runUntil(2 * ms)
	if o.e.counters.memoryDrops != 1 || len(o.arrived) != 3 {
		t.Errorf("%d memory drops, %d frames arrived, want 1 and 3", o.e.counters.memoryDrops, len(o.arrived))
	}
}
