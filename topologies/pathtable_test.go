package topologies

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// find is the path between two hosts.
func find(t testing.TB, topology *Topology, from, to string) Path {
	t.Helper()
	paths, err := topology.PathsFrom(from)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(paths, func(p Path) bool { return p.To == to })
	if i < 0 {
		t.Fatalf("no path from %s to %s", from, to)
	}
	return paths[i]
}

func TestAPathPredictsWhatItsLinksDoTogether(t *testing.T) {
	access := Parameters{Delay: 5 * ms, RateBPS: 100_000_000, QueueFrames: 100}
	narrow := Parameters{Delay: 10 * ms, Jitter: 4 * ms, JitterDistribution: JitterExponential, Loss: 0.1, RateBPS: 10_000_000, QueueFrames: 50, QueueBytes: 30_000}
	back := Parameters{Delay: 30 * ms, Loss: 0.5}
	topology := custom(t, []string{"h1", "h2"}, []string{"s1", "s2"},
		joined("h1", "s1", access), Link{Name: "long", A: "s2", B: "s1", AToB: back, BToA: narrow}, joined("h2", "s2", access))
	topology.Links[2].BToA.Loss = 0.2
	path := find(t, topology.WithMonitors(), "h1", "h2")
	if !slices.Equal(path.Nodes, []string{"h1", "s1", "s2", "h2"}) || len(path.Hops) != 3 {
		t.Errorf("nodes %v, hops %v", path.Nodes, path.Hops)
	}
	if path.Delay != 20*ms || path.MeanDelay != 24*ms || !path.Jitters || path.RTT != 64*ms {
		t.Errorf("delay %v, mean %v, jitters %v, round trip %v", path.Delay, path.MeanDelay, path.Jitters, path.RTT)
	}
	if math.Abs(path.Loss-(1-0.9*0.8)) > 1e-12 {
		t.Errorf("loss %v", path.Loss)
	}
	if path.RateBPS != 10_000_000 || path.Bottleneck != (Hop{Link: 1, Reverse: true}) || path.QueueFrames != 50 || path.QueueBytes != 30_000 {
		t.Errorf("bottleneck %v at %d, queue %d frames, %d bytes", path.Bottleneck, path.RateBPS, path.QueueFrames, path.QueueBytes)
	}
	if path.BandwidthDelayBytes != 80_000 { // 10 Mbit/s for 64 ms
		t.Errorf("bandwidth-delay product %d", path.BandwidthDelayBytes)
	}
	if path = find(t, topology, "h2", "h1"); path.Delay != 40*ms || path.RTT != 64*ms || path.Jitters || path.RateBPS != 100_000_000 {
		t.Errorf("back: %+v", path)
	}
}

func TestTheBottleneckIsTheFirstOfEqualRates(t *testing.T) {
	link := Parameters{RateBPS: 1_000_000}
	if path := find(t, Star(2, link), "h2", "h1"); path.Bottleneck != (Hop{Link: 1}) {
		t.Errorf("bottleneck %v", path.Bottleneck)
	}
}

func TestAPathThatIsNotThereHasNoHops(t *testing.T) {
	topology := Star(3, delayed(ms))
	topology.Links[1].BToA.Down = true // to h2
	if path := find(t, topology, "h1", "h2"); path.Hops != nil || path.From != "h1" || path.RTT != 0 {
		t.Errorf("%+v", path)
	}
	if path := find(t, topology, "h2", "h1"); len(path.Hops) != 2 || path.RTT != 0 || path.Delay != 2*ms {
		t.Errorf("%+v", path)
	}
}

func TestLosingEverythingIsALossOfOne(t *testing.T) {
	if path := find(t, Star(2, Parameters{Loss: 1}), "h1", "h2"); path.Loss != 1 {
		t.Errorf("loss %v", path.Loss)
	}
}

func TestPathsListsEachOrderedPairOfHosts(t *testing.T) {
	paths, err := Star(3, Parameters{}).WithMonitors().Paths()
	if err != nil {
		t.Fatal(err)
	}
	var pairs []string
	for _, path := range paths {
		pairs = append(pairs, path.From+path.To)
	}
	if want := []string{"h1h2", "h1h3", "h2h1", "h2h3", "h3h1", "h3h2"}; !slices.Equal(pairs, want) {
		t.Errorf("%v, want %v", pairs, want)
	}
	_, err = Star(3, Parameters{}).PathsFrom("s1")
	wantError(t, err, `"s1"`)
	_, err = (&Topology{Switches: []string{"a", "a"}}).Paths()
	wantError(t, err, "twice")
}

func TestARoundTripIsTheWayThereAndTheWayBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		topology := randomTopology(t, false)
		paths, err := topology.Paths()
		if err != nil {
			t.Fatal(err)
		}
		delay := map[[2]string]time.Duration{}
		for _, path := range paths {
			if path.Hops != nil {
				delay[[2]string{path.From, path.To}] = path.MeanDelay
			}
		}
		for _, path := range paths {
			there, ok := delay[[2]string{path.From, path.To}]
			back, okBack := delay[[2]string{path.To, path.From}]
			want := there + back
			if !ok || !okBack {
				want = 0
			}
			if path.RTT != want {
				t.Fatalf("from %s to %s: round trip %v, want %v", path.From, path.To, path.RTT, want)
			}
		}
	})
}

func TestThePathsOfFiveHundredHostsTakeSeconds(t *testing.T) {
	if testing.Short() {
		t.Skip("it makes half a million paths")
	}
	tree := made(t)(Tree(500, 2, 0, delayed(ms)))
	mesh := made(t)(Mesh(500, delayed(ms)))
	for _, topology := range []*Topology{tree, mesh} {
		begun := time.Now()
		paths, err := topology.Paths()
		if err != nil || len(paths) != 500*499 {
			t.Fatalf("%d paths, %v", len(paths), err)
		}
		took := time.Since(begun)
		t.Logf("%s of 500 hosts: %v", topology.Kind, took)
		if took > time.Minute { // far above the goal: the machine may be busy, the race detector on
			t.Errorf("%s: %v", topology.Kind, took)
		}
	}
}

func BenchmarkPathsOf500Hosts(b *testing.B) {
	tree := made(b)(Tree(500, 2, 0, delayed(ms)))
	for b.Loop() {
		if _, err := tree.Paths(); err != nil {
			b.Fatal(err)
		}
	}
}

func TestMeanDelayIsTheMeanOfWhatFramesMeet(t *testing.T) {
	table := &Table{Excess: []time.Duration{0, ms, 5 * ms}}
	for _, test := range []struct {
		p    Parameters
		want time.Duration
	}{
		{Parameters{Delay: 5 * ms}, 5 * ms},
		{Parameters{Delay: 5 * ms, JitterDistribution: JitterNormal}, 5 * ms},
		{Parameters{Delay: 5 * ms, Jitter: ms, JitterDistribution: JitterUniform}, 5 * ms},
		{Parameters{Delay: 5 * ms, Jitter: ms, JitterDistribution: JitterExponential}, 6 * ms},
		{Parameters{Delay: 5 * ms, Jitter: ms, JitterDistribution: JitterPareto}, 6 * ms},
		{Parameters{Delay: 5 * ms, JitterTable: table, JitterDistribution: JitterTable}, 7 * ms},
		{Parameters{Delay: 100 * ms, Jitter: ms, JitterDistribution: JitterNormal}, 100 * ms},
		// Of -2 to 4 ms a third is cut off at 0: 4²/12.
		{Parameters{Delay: ms, Jitter: 3 * ms, JitterDistribution: JitterUniform}, 1333333},
		// Half of a normal distribution: sigma / sqrt(2 pi).
		{Parameters{Jitter: ms, JitterDistribution: JitterNormal}, 398942},
		{Parameters{Delay: ms, Jitter: ms, JitterDistribution: JitterNormal}, 1083315},
	} {
		if got := test.p.MeanDelay(); got != test.want {
			t.Errorf("%+v: %v, want %v", test.p, got, test.want)
		}
	}
}

func TestTheMeanOfATraceIsOverTimeAndItsGapPolicy(t *testing.T) {
	// 10 ms for 1 s; 30 ms for 1 s; no answer for 2 s; 50 ms, then far from the end.
	trace := Trace{
		Times:  []time.Duration{0, time.Second, 2 * time.Second, 3 * time.Second, 4 * time.Second},
		Excess: []time.Duration{10 * ms, 30 * ms, -1, -1, 50 * ms},
		Align:  AlignStart, GapAfter: 2 * time.Second, Period: 8 * time.Second,
	}
	lost := map[string]float64{GapLose: 0.75}
	for gap, want := range map[string]time.Duration{
		GapHold:        (10 + 30 + 2*30 + 4*50) * ms / 8,
		GapInterpolate: (10 + 30 + 2*40 + 4*30) * ms / 8,
		GapLose:        20 * ms,
	} {
		trace.Gap = gap
		p := Parameters{Delay: ms, Trace: &trace}
		if err := p.Check(); err != nil {
			t.Fatal(err)
		}
		if got := p.MeanDelay(); got != ms+want {
			t.Errorf("%s: %v, want %v", gap, got, ms+want)
		}
		if got := p.LossShare(); got != lost[gap] {
			t.Errorf("%s: a share of %v is lost, want %v", gap, got, lost[gap])
		}
		if p.Loss = 0.1; math.Abs(p.LossShare()-(1-0.9*(1-lost[gap]))) > 1e-12 {
			t.Errorf("%s and a loss of 0.1: a share of %v is lost", gap, p.LossShare())
		}
		p.Loss = 0
		star := Star(2, Parameters{})
		star.Links[1].BToA = p
		if paths, err := star.Paths(); err != nil || math.Abs(paths[0].Loss-lost[gap]) > 1e-12 || paths[1].Loss != 0 {
			t.Errorf("%s: paths %+v, %v", gap, paths, err)
		}
		if p.Lossy() != (gap == GapLose) || !p.Jitters() || p.DelayOnly() {
			t.Errorf("%s: lossy %v, jitters %v, delay only %v", gap, p.Lossy(), p.Jitters(), p.DelayOnly())
		}
	}
	// It begins with no answer, which is then the end of the round before.
	trace = Trace{Times: []time.Duration{0, time.Second}, Excess: []time.Duration{-1, 10 * ms}, Gap: GapHold, GapAfter: 5 * time.Second, Period: 2 * time.Second}
	if got := trace.mean(); got != 10*ms {
		t.Errorf("held over the end: %v", got)
	}
}

func TestTheLongRunLossOfGilbertElliott(t *testing.T) {
	for _, test := range []struct {
		g    GilbertElliott
		want float64
	}{
		{GilbertElliott{GoodToBad: 0.01, BadToGood: 0.19, LossBad: 1}, 0.05},
		{GilbertElliott{GoodToBad: 0.5, BadToGood: 0.5, LossGood: 0.1, LossBad: 0.3}, 0.2},
		{GilbertElliott{LossGood: 0.1, LossBad: 1}, 0.1},
		{GilbertElliott{GoodToBad: 0.1, LossBad: 0.5}, 0.5},
	} {
		p := Parameters{GilbertElliott: &test.g}
		if got := p.MeanLoss(); math.Abs(got-test.want) > 1e-12 {
			t.Errorf("%+v: %v, want %v", test.g, got, test.want)
		}
	}
	if p := (Parameters{Down: true}); p.MeanLoss() != 1 || p.DelayOnly() {
		t.Error("a direction that is down doesn't lose everything")
	}
}

// The rule of Parameters.Reorder, frame by frame, with a chain that is a hit more often
// after a hit.
func TestTheShareOfReorderedFramesIsThatOfTheRule(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, p := range []Parameters{
		{Reorder: 0.05}, {Reorder: 0.05, ReorderGap: 1}, {Reorder: 0.3, ReorderGap: 4}, {Reorder: 1, ReorderGap: 3}, {Reorder: 1},
		{Reorder: 0.3, ReorderGap: 4, ReorderCorrelation: 0.6}, {Reorder: 0.1, ReorderCorrelation: 0.9},
	} {
		const frames = 1_000_000
		reordered, since, hit := 0, 0, random.Float64() < p.Reorder
		for range frames {
			if since >= p.ReorderGap-1 {
				probability := p.Reorder * (1 - p.ReorderCorrelation)
				if hit {
					probability += p.ReorderCorrelation
				}
				if hit = random.Float64() < probability; hit {
					reordered++
					since = 0
					continue
				}
			}
			since++
		}
		share := float64(reordered) / frames
		if got := p.ReorderShare(); math.Abs(got-share) > 0.006 {
			t.Errorf("%+v: a share of %v, and %v by the rule", p, got, share)
		}
		p.Delay, p.Jitter, p.JitterDistribution = 10*ms, 10*ms, JitterExponential
		want := time.Duration(float64(20*ms) * (1 - p.ReorderShare()))
		if got := p.MeanPropagation(); (got - want).Abs() > 1 {
			t.Errorf("%+v: a mean of %v, want %v", p, got, want)
		}
	}
	if got := (Parameters{Delay: ms}).MeanPropagation(); got != ms {
		t.Errorf("%v without reordering", got)
	}
}

func TestOnlyWhatIsOnTheWayMakesPathsUncertain(t *testing.T) {
	for name, p := range map[string]Parameters{
		"jitter": {Jitter: ms, JitterDistribution: JitterUniform}, "loss": {Loss: 0.1}, "duplicates": {Duplicate: 0.1},
		"corruption": {Corrupt: 0.1}, "reordering": {Delay: ms, Reorder: 0.1}, "bursts": {GilbertElliott: &GilbertElliott{GoodToBad: 0.1, BadToGood: 0.5, LossBad: 1}},
	} {
		star := Star(3, delayed(ms))
		if star.Uncertain([]string{"h1", "h2", "h3"}) {
			t.Error("a network of delays is uncertain")
		}
		star.Links[2].BToA = p
		if !star.Uncertain([]string{"h1", "h3"}) || star.Uncertain([]string{"h1", "h2"}) {
			t.Errorf("%s on the way to h3: %v; elsewhere: %v", name, star.Uncertain([]string{"h1", "h3"}), star.Uncertain([]string{"h1", "h2"}))
		}
	}
}
