package sim

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"quorumlab/harness/engine"
	"quorumlab/node/control"
	"quorumlab/node/multipaxos"
	"quorumlab/results"
	"quorumlab/topologies"
)

// randomParameters has some of all impairments that there are.
func randomParameters(random *rand.Rand) topologies.Parameters {
	some := func() bool { return random.IntN(4) == 0 }
	p := topologies.Parameters{Delay: time.Duration(random.IntN(8)) * time.Millisecond}
	switch random.IntN(4) {
	case 0:
		p.JitterDistribution = []string{
			topologies.JitterUniform, topologies.JitterNormal, topologies.JitterExponential, topologies.JitterPareto,
		}[random.IntN(4)]
		p.Jitter = time.Duration(1 + random.IntN(int(3*time.Millisecond)))
	case 1:
		p.JitterDistribution = topologies.JitterTable
		p.JitterTable = &topologies.Table{Excess: []time.Duration{0, time.Millisecond, 20 * time.Millisecond}}
	case 2:
		p.Trace = randomTrace(random)
	}
	p.JitterReorders = random.IntN(2) == 0
	switch random.IntN(4) {
	case 0:
		p.Loss = 0.03
		if some() {
			p.LossCorrelation = 0.4
		}
	case 1:
		p.GilbertElliott = &topologies.GilbertElliott{GoodToBad: 0.01, BadToGood: 0.3, LossBad: 0.9}
	}
	if some() {
		p.Duplicate = 0.1
	}
	if some() {
		p.Corrupt = 0.02
	}
	if some() {
		p.Reorder, p.ReorderGap = 0.2, random.IntN(4)
	}
	if some() {
		p.RateBPS = 20_000_000
		p.QueueFrames, p.QueueBytes = []int{0, 3, 100}[random.IntN(3)], []int64{0, 5000}[random.IntN(2)]
	}
	return p
}

func randomTrace(random *rand.Rand) *topologies.Trace {
	t := &topologies.Trace{
		Align:    []string{topologies.AlignStart, topologies.AlignRandom}[random.IntN(2)],
		Gap:      []string{topologies.GapHold, topologies.GapInterpolate, topologies.GapLose}[random.IntN(3)],
		GapAfter: 100 * time.Millisecond,
	}
	for range 20 {
		t.Times = append(t.Times, t.Period)
		t.Excess = append(t.Excess, time.Duration(random.IntN(int(10*time.Millisecond))))
		t.Period += time.Duration(1 + random.IntN(int(120*time.Millisecond)))
	}
	t.Excess[random.IntN(10)] = -1
	return t
}

// chaos is three processes of a protocol and two clients on a few hosts of a network of
// any shape, whose links have impairments of all kinds and change all the time.
func chaos(seed uint64) *scenario {
	random := rand.New(rand.NewPCG(seed, 2))
	protocol, roles := multipaxos.Name, allRoles
	if random.IntN(4) == 0 {
		protocol, roles = journalName, []string{roleServer}
	}
	sc := newScenario(protocol, topologies.Parameters{}, 2, roles, roles, roles)
	sc.Seed, sc.Cluster.Seed = seed, seed
	sc.Topology = randomTopology(random, 0)
	for i := range sc.Topology.Links {
		sc.Topology.Links[i].AToB, sc.Topology.Links[i].BToA = randomParameters(random), randomParameters(random)
	}
	for _, node := range sc.Cluster.Nodes {
		sc.onHost(random.IntN(len(sc.Topology.Hosts)), node.Name)
	}
	sc.Transport = []string{engine.TransportTCP, engine.TransportDatagram}[random.IntN(2)]
	sc.StartSpread, sc.Drain = 20*time.Millisecond, 3*time.Second
	bytes := []int{16, 2000}[random.IntN(2)]
	sc.load(func(load *control.Load) {
		load.RateRPS, load.Arrivals, load.DurationNS = 100, "poisson", int64(2*time.Second)
		load.ValueBytes, load.TimeoutNS = bytes, int64(time.Second)
	})
	if random.IntN(3) == 0 {
		return sc
	}
	for range min(random.IntN(20), 6) { // of three faults at most, as a schedule may have 20 a second
		link := sc.Topology.Links[random.IntN(len(sc.Topology.Links))]
		when := time.Duration(random.IntN(int(2 * time.Second)))
		for _, end := range []string{link.A, link.B} {
			sc.setLink(when, link.Name, randomParameters(random), end)
		}
		if random.IntN(2) == 0 {
			ends := []string{link.A, link.B}[:1+random.IntN(2)]
			sc.cutLink(max(0, when-time.Duration(random.IntN(int(500*time.Millisecond)))), 100*time.Millisecond, link.Name, ends...)
		}
	}
	return sc
}

// simulate runs a scenario and returns the trial with what came of it.
func (sc *scenario) simulate(t *testing.T) (*trial, *engine.Simulated) {
	t.Helper()
	sc.rows, sc.events = nil, nil
	s, err := newTrial(t.Context(), sc.Simulation)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.run(); err != nil {
		t.Fatal(err)
	}
	return s, s.result()
}

// len counts a sequence's events.
func (q *sequence) len() int {
	if q.late == nil {
		return q.ordered.count
	}
	return q.ordered.count + q.late.count + len(q.late.heap)
}

// balanced fails the test unless what went into each switch came out of it, was lost
// for a reason that was counted, or is on its way, and unless each frame that has a
// place is on its way.
func (s *trial) balanced(t *testing.T, what string) {
	t.Helper()
	n := s.network
	in, out := make([]uint64, n.routes.graph.Len()), make([]uint64, n.routes.graph.Len())
	underWay := 0
	for i := range n.directions {
		d := &n.directions[i]
		entering := d.entering.len()
		underWay += entering + d.arriving.count
		if d.overtaking != nil {
			underWay += d.overtaking.count + len(d.overtaking.heap)
		}
		if i >= 2*len(n.topology.Links) {
			continue // a stage, which no switch is at either end of
		}
		in[n.routes.end(int32(i))] += d.frames
		out[n.routes.origin(int32(i))] += d.frames - d.duplicates + d.lossDrops + d.queueDrops + d.downDrops + uint64(entering)
	}
	for node := len(n.topology.Hosts); node < len(in); node++ {
		if in[node] != out[node] {
			t.Errorf("%s: %d frames came to %s, %d are accounted for", what, in[node], n.topology.Switches[node-len(n.topology.Hosts)], out[node])
		}
	}
	for _, p := range n.paths {
		underWay += p.lane.count
	}
	for _, p := range s.processes {
		underWay += p.egress.count
	}
	for _, e := range append(s.queue.near[:s.queue.count:s.queue.count], s.queue.heap...) {
		if e.kind == eventFrame {
			underWay++
		}
	}
	places, segments := len(n.slab)-len(n.free), 0
	for _, slot := range n.free {
		n.slab[slot].modelled = 0
	}
	for _, f := range n.slab {
		if f.modelled > 0 {
			segments++
		}
	}
	if places != underWay || segments != len(n.segments)-len(n.spare) {
		t.Errorf("%s: %d frames are on their way, %d have places; %d segments, %d have places",
			what, underWay, places, segments, len(n.segments)-len(n.spare))
	}
}

func TestWhateverLinksDoNothingIsUnaccountedForAndHistoriesAreRight(t *testing.T) {
	answered, requests, hashes := 0, 0, map[uint64]bool{}
	for seed := range seeds() / 5 {
		sc := chaos(seed)
		what := fmt.Sprintf("seed %d, %s", seed, sc.Transport)
		s, r := sc.simulate(t)
		s.balanced(t, what)
		if sc.outcomes()[results.OutcomeOK] > 0 {
			linearizable(t, sc.rows)
		}
		if r.Drained {
			agree(t, r)
		}
		rows, events := fmt.Sprint(sc.rows), fmt.Sprint(sc.events)
		requests, answered = requests+len(sc.rows), answered+len(sc.rows)-sc.outcomes()[results.OutcomeTimeout]
		_, again := sc.simulate(t)
		if differ := (outcome{simulated: r}).differences(outcome{simulated: again}); differ != nil ||
			fmt.Sprint(sc.rows) != rows || fmt.Sprint(sc.events) != events {
			t.Errorf("%s: the second run differs from the first in %q, or in its rows or events", what, differ)
		}
		sc.Seed++
		if _, other := sc.simulate(t); other.TraceHash == r.TraceHash {
			t.Errorf("%s: another seed has the same trace", what)
		}
		hashes[r.TraceHash] = true
	}
	if answered < requests/2 || uint64(len(hashes)) != seeds()/5 {
		t.Errorf("%d of %d requests were answered; %d traces are different", answered, requests, len(hashes))
	}
}
