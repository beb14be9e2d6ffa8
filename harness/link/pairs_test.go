//go:build linux

package link

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"quorumlab/topologies"
)

// setPair changes the stage of a pair at a time; nil takes it away.
func (o *offline) setPair(nowNS int64, from, to int, p *topologies.Parameters) {
	o.t.Helper()
	o.runUntil(nowNS)
	o.e.retire(nowNS)
	pair := from*len(o.e.ports) + to
	change := stageChange{pair: pair, parameters: p}
	change.stage = slices.IndexFunc(o.e.stages, func(s stage) bool { return s.pair == pair })
	if change.stage < 0 {
		if p == nil {
			return
		}
		change.stage = len(o.e.stages)
		hosts := o.e.topology.Hosts
		change.model = NewModel(*p, PairSeed(o.e.seed, hosts[from].Name, hosts[to].Name), o.e.startNS)
	}
	o.e.changePairsAt(nowNS, []stageChange{change})
}

// come sends a frame as one that comes to its host's port at a time.
func (o *offline) come(from, to int, nowNS int64) uint32 {
	o.t.Helper()
	o.runUntil(nowNS)
	o.e.retire(nowNS)
	o.e.ports[from].arrivedNS = max(o.e.ports[from].arrivedNS, nowNS)
	return o.send(from, to, o.e.ports[from].arrivedNS)
}

// stageOf is the counters of the first stage.
func (o *offline) firstStage() directionCounters {
	return o.e.counters.directions[2*len(o.e.topology.Links)]
}

func TestAStageIsForItsPairAndOneWay(t *testing.T) {
	o := newOffline(t, topologies.Star(3, delay(time.Millisecond)))
	o.setPair(0, 0, 1, &topologies.Parameters{Delay: 10 * time.Millisecond})
	there, back, other, toOther := o.come(0, 1, 0), o.come(1, 0, 0), o.come(2, 1, 0), o.come(0, 2, 0)
	o.runUntil(100 * ms)
	want := []arrivedFrame{{back, 2 * ms, false}, {other, 2 * ms, false}, {toOther, 2 * ms, false}, {there, 12 * ms, false}}
	if !slices.Equal(o.arrived, want) {
		t.Errorf("arrived %v, want %v", o.arrived, want)
	}
	if got := o.firstStage(); got != (directionCounters{frames: 1, bytes: 94}) {
		t.Errorf("the stage counted %+v", got)
	}
}

func TestACutPairsFramesComeToNoLink(t *testing.T) {
	o := newOffline(t, topologies.Star(2, delay(time.Millisecond)))
	onTheWay := o.come(0, 1, 0)
	o.setPair(ms/2, 0, 1, &topologies.Parameters{Down: true})
	o.come(0, 1, ms/2)
	o.come(0, 1, ms)
	back := o.come(1, 0, ms)
	o.setPair(5*ms, 0, 1, nil)
	healed := o.come(0, 1, 5*ms)
	o.runUntil(100 * ms)
	want := []arrivedFrame{{onTheWay, 2 * ms, false}, {back, 3 * ms, false}, {healed, 7 * ms, false}}
	if !slices.Equal(o.arrived, want) {
		t.Errorf("arrived %v, want %v", o.arrived, want)
	}
	if got := o.firstStage(); got != (directionCounters{downDrops: 2}) {
		t.Errorf("the stage counted %+v", got)
	}
	if got := o.e.counters.directions[0]; got.frames != 2 || got.downDrops != 0 {
		t.Errorf("the first link counted %+v", got)
	}
}

func TestAStagesChangeKeepsWhatItHoldsAndTheOrder(t *testing.T) {
	slow, fast := delay(10*time.Millisecond), delay(time.Millisecond)
	for _, c := range []struct {
		name string
		to   *topologies.Parameters
		// When frames that come at 5, 9 and 20 ms arrive, after one that came at 0.
		want [3]int64
	}{
		{"longer", &topologies.Parameters{Delay: 30 * time.Millisecond}, [3]int64{35, 39, 50}},
		{"shorter", &fast, [3]int64{10, 10, 21}},
		{"taken away", nil, [3]int64{10, 10, 20}},
		{"cut", &topologies.Parameters{Down: true}, [3]int64{-1, -1, -1}},
	} {
		o := newOffline(t, topologies.Star(2, topologies.Parameters{}))
		o.setPair(0, 0, 1, &slow)
		want := []arrivedFrame{{o.come(0, 1, 0), 10 * ms, false}}
		o.setPair(5*ms, 0, 1, c.to)
		for i, at := range []int64{5, 9, 20} {
			if number := o.come(0, 1, at*ms); c.want[i] >= 0 {
				want = append(want, arrivedFrame{number, c.want[i] * ms, false})
			}
		}
		o.runUntil(100 * ms)
		if !slices.Equal(o.arrived, want) {
			t.Errorf("%s: arrived %v, want %v", c.name, o.arrived, want)
		}
		if c.to == nil {
			// The last frame came after it held nothing.
			if got := o.firstStage(); got.frames != 3 || len(o.e.paths[1]) != 2 || o.e.ending != 0 {
				t.Errorf("%s: it counted %+v; the path is %v, %d stages are ending", c.name, got, o.e.paths[1], o.e.ending)
			}
		}
	}
}

func TestAFrameThatIsReadLateDoesNotOvertakeWhatAStageHeld(t *testing.T) {
	for _, c := range []struct {
		link topologies.Parameters
		// pending is true if what the stage held is due only with an event of its own.
		pending bool
		late    int64
	}{
		{delay(time.Millisecond), false, 12},
		{topologies.Parameters{RateBPS: 94 * 8 * 1000}, true, 13}, // 1 ms a frame
	} {
		o := newOffline(t, topologies.Star(2, c.link))
		slow := delay(10 * time.Millisecond)
		o.setPair(0, 0, 1, &slow)
		held := o.come(0, 1, 0)
		o.setPair(5*ms, 0, 1, nil)
		// The loop is late: what is due at 10 ms isn't done.
		o.e.retire(10*ms + ms/2)
		if gone := o.e.ending == 0; gone == c.pending {
			t.Fatalf("%+v: it is %v that the stage is gone, though what it held is pending: %v", c.link, gone, c.pending)
		}
		o.runUntil(10*ms + 1)
		o.e.retire(10*ms + ms/2)
		if o.e.ending != 0 {
			t.Fatal("the stage isn't gone, though it holds nothing")
		}
		late := o.come(0, 1, 9*ms)
		o.runUntil(100 * ms)
		if want := []arrivedFrame{{held, 12 * ms, false}, {late, c.late * ms, false}}; !slices.Equal(o.arrived, want) {
			t.Errorf("arrived %v, want %v", o.arrived, want)
		}
	}
}

func TestAStageThatHoldsNothingIsGoneAtOnce(t *testing.T) {
	o := newOffline(t, topologies.Star(2, topologies.Parameters{}))
	slow := delay(time.Second)
	o.setPair(0, 0, 1, &slow)
	o.setPair(5*ms, 0, 1, nil)
	if o.e.ending != 0 || len(o.e.paths[1]) != 2 {
		t.Errorf("%d stages are ending, the path is %v", o.e.ending, o.e.paths[1])
	}
	number := o.come(0, 1, 5*ms)
	o.runUntil(ms * 100)
	if want := []arrivedFrame{{number, 5 * ms, false}}; !slices.Equal(o.arrived, want) {
		t.Errorf("arrived %v, want %v", o.arrived, want)
	}
}

func TestAStageStandsBeforeOtherPathsToo(t *testing.T) {
	topology := chainTopology()
	topology.Links = append(topology.Links, topologies.Link{
		Name: "around", A: "s1", B: "s2", AToB: delay(50 * time.Millisecond), BToA: delay(50 * time.Millisecond),
	})
	o := newOffline(t, topology)
	stays, ends := delay(5*time.Millisecond), delay(100*time.Millisecond)
	o.setPair(0, 0, 1, &stays)
	o.setPair(0, 1, 0, &ends)
	held := o.come(1, 0, 0)
	o.setPair(ms, 1, 0, nil)
	down := topologies.Parameters{Delay: 10 * time.Millisecond, Down: true}
	o.change(2*ms, 1, down, down)
	there, behind := o.come(0, 1, 2*ms), o.come(1, 0, 2*ms)
	o.change(200*ms, 1, delay(10*time.Millisecond), delay(10*time.Millisecond))
	again, back := o.come(0, 1, 200*ms), o.come(1, 0, 200*ms)
	o.runUntil(1000 * ms)
	want := []arrivedFrame{
		{there, 77 * ms, false}, // 2 + 5, then 10 + 50 + 10
		{held, 170 * ms, false}, // its way is that of before, whose link was down as it came to it
		{behind, 170 * ms, false},
		{back, 230 * ms, false},
		{again, 235 * ms, false},
	}
	want = slices.DeleteFunc(want, func(a arrivedFrame) bool { return a.number == held })
	if !slices.Equal(o.arrived, want) {
		t.Errorf("arrived %v, want %v", o.arrived, want)
	}
	if got := o.e.counters.directions[3]; got.downDrops != 1 {
		t.Errorf("the link that went down counted %+v", got)
	}
}

func TestHostsWithoutAWayHaveNoneByAStage(t *testing.T) {
	topology := topologies.Star(2, delay(time.Millisecond))
	topology.Links = topology.Links[:1]
	o := newOffline(t, topology)
	for _, p := range []*topologies.Parameters{{}, {Down: true}, nil} {
		o.setPair(0, 0, 1, p)
		if way := o.e.paths[1]; len(way) != 0 {
			t.Errorf("%+v: a path %v without a link", p, way)
		}
	}
}

func TestAStageDoesWhatTheModelOfItsSeedSays(t *testing.T) {
	generator := rand.New(rand.NewPCG(5, 6))
	for range 100 {
		p := randomParameters(generator)
		o := newOffline(t, topologies.Star(2, delay(time.Millisecond)))
		o.setPair(0, 0, 1, &p)
		model := NewModel(p, PairSeed(3, "h1", "h2"), 0)
		var want []arrivedFrame
		for i := range int64(100) {
			nowNS := i * generator.Int64N(5000)
			o.runUntil(nowNS)
			number := o.send(0, 1, nowNS)
			fate := model.Transmit(nowNS, 94)
			for _, a := range fate.Arrivals[:fate.Count] {
				want = append(want, arrivedFrame{number, a.AtNS + 2*ms, a.Corrupted})
			}
		}
		o.runUntil(200 * int64(time.Hour))
		byTime := func(a, b arrivedFrame) int {
			return cmp.Or(cmp.Compare(a.atNS, b.atNS), cmp.Compare(a.number, b.number))
		}
		slices.SortStableFunc(want, byTime)
		slices.SortStableFunc(o.arrived, byTime)
		if !slices.Equal(o.arrived, want) {
			t.Fatalf("%+v: arrived %v, want %v", p, o.arrived, want)
		}
	}
}

func TestPairsAndLinksDrawApart(t *testing.T) {
	seen := map[uint64]string{}
	add := func(name string, seed uint64) {
		if other, taken := seen[seed]; taken {
			t.Errorf("%s and %s have the same seed", name, other)
		}
		seen[seed] = name
	}
	for _, seed := range []uint64{0, 1, 2} {
		for link := range 20 {
			add("a link", DirectionSeed(seed, link, false))
			add("a link's way back", DirectionSeed(seed, link, true))
		}
		for _, from := range []string{"h1", "h2", "h12", "@s1"} {
			for _, to := range []string{"h1", "h2", "h21", "@s2"} {
				add(from+" to "+to, PairSeed(seed, from, to))
			}
		}
	}
	if got := PairSeed(1, "h1", "h2"); got != 0xb56dfc3dc58ba779 {
		t.Errorf("the seed of a pair is %#x: what happened by chance in former runs can't be repeated", got)
	}
}

// TestChangesUnderWayLoseNothingAndKeepTheOrder changes stages and links at random while
// frames go all ways.
func TestChangesUnderWayLoseNothingAndKeepTheOrder(t *testing.T) {
	for seed := range uint64(200) {
		stagesRun(t, seed, true)
	}
}

func TestFoldingMakesNoDifferenceToPairs(t *testing.T) {
	for seed := range uint64(150) {
		folded, stepped := stagesRun(t, seed, true), stagesRun(t, seed, false)
		if !slices.Equal(folded.arrived, stepped.arrived) {
			t.Fatalf("seed %d: folded %v, stepped %v", seed, folded.arrived, stepped.arrived)
		}
		// Whether an ending stage counts one frame more depends on when it is looked at.
		links := 2 * len(folded.e.topology.Links)
		if got, want := folded.e.counters.directions[:links], stepped.e.counters.directions[:links]; !slices.Equal(got, want) {
			t.Fatalf("seed %d: folded %+v, stepped %+v", seed, got, want)
		}
	}
}

// stagesRun returns what arrived, by time and then by number.
func stagesRun(t *testing.T, seed uint64, fold bool) *offline {
	generator := rand.New(rand.NewPCG(seed, 2))
	o := newOffline(t, topologies.Star(3, delay(time.Microsecond)))
	if !fold {
		for i := range o.e.taps {
			o.e.taps[i] = &capture{ring: newByteRing(0)}
			o.e.taps[i].state.Store(captureUnread)
		}
	}
	random := func() topologies.Parameters {
		p := delay(time.Duration(generator.Int64N(40_000)))
		if generator.IntN(3) == 0 {
			p = inOrder(randomParameters(generator))
			p.Reorder, p.ReorderCorrelation, p.ReorderGap, p.Duplicate = 0, 0, 0, 0
		}
		return p
	}
	now, pairOf := int64(0), map[uint32]int{}
	for range 300 {
		now += generator.Int64N(4000)
		from := generator.IntN(3)
		to := (from + 1 + generator.IntN(2)) % 3
		switch generator.IntN(20) {
		case 0:
			p := random()
			p.Down = false
			o.change(now, generator.IntN(3), p, p)
		case 1, 2:
			p := random()
			o.setPair(now, from, to, &p)
		case 3, 4:
			o.setPair(now, from, to, nil)
		}
		pairOf[o.come(from, to, now)] = 3*from + to
	}
	for from := range 3 {
		for to := range 3 {
			o.setPair(now, from, to, nil)
		}
	}
	end := now + 100*int64(time.Hour)
	o.runUntil(end)
	o.e.retire(end)
	o.checkOrder(seed, pairOf)
	o.checkAccounts(seed)
	slices.SortStableFunc(o.arrived, func(a, b arrivedFrame) int {
		return cmp.Or(cmp.Compare(a.atNS, b.atNS), cmp.Compare(a.number, b.number))
	})
	return o
}

// checkOrder: frames of a pair arrive in the order in which they were sent.
func (o *offline) checkOrder(seed uint64, pairOf map[uint32]int) {
	o.t.Helper()
	latest := map[int]uint32{}
	for _, a := range o.arrived {
		pair := pairOf[a.number]
		if a.number <= latest[pair] {
			o.t.Fatalf("seed %d: of pair %d frame %d arrived after frame %d", seed, pair, a.number, latest[pair])
		}
		latest[pair] = a.number
	}
}

// checkAccounts: every frame arrived or was counted as dropped, and neither frames nor
// stages are left.
func (o *offline) checkAccounts(seed uint64) {
	o.t.Helper()
	gone := uint64(len(o.arrived))
	for _, d := range o.e.counters.directions {
		gone += d.lossDrops + d.queueDrops + d.downDrops
	}
	if gone != uint64(o.frames) {
		o.t.Fatalf("seed %d: %d of %d frames arrived or were dropped: %+v", seed, gone, o.frames, o.e.counters.directions)
	}
	free := 0
	for f := o.e.pool.free; f != nil; f = f.next {
		free++
	}
	if o.e.events.len() != 0 || free%smallFrames != 0 {
		o.t.Fatalf("seed %d: %d events are left, %d frames are free", seed, o.e.events.len(), free)
	}
	for pair, way := range o.e.paths {
		if slices.ContainsFunc(way, func(d uint32) bool { return d >= uint32(2*len(o.e.topology.Links)) }) || o.e.ending != 0 {
			o.t.Fatalf("seed %d: the path of pair %d is %v, %d stages are ending", seed, pair, way, o.e.ending)
		}
	}
}
