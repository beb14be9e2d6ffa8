package sim

import (
	"slices"
	"testing"
	"time"

	"quorumlab/harness/engine"
	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/node/multipaxos"
	"quorumlab/results"
	"quorumlab/topologies"
)

func TestRowsAndEventsComeInTheOrderOfTheirTimes(t *testing.T) {
	for name, change := range map[string]func(*scenario){
		"fsync":       func(*scenario) {},
		"memory":      func(sc *scenario) { sc.Cluster.Storage = control.StorageMemory },
		"loss":        func(sc *scenario) { sc.links(func(p *topologies.Parameters) { p.Loss = 0.01 }) },
		"unlimited":   func(sc *scenario) { sc.links(func(p *topologies.Parameters) { p.RateBPS = 0 }) },
		"shared host": func(sc *scenario) { sc.onHost(0, "n1", "n2", "n4") },
	} {
		sc := newScenario(multipaxos.Name, topologies.Parameters{Delay: time.Millisecond, RateBPS: 1e9}, 4, allRoles, allRoles, allRoles)
		sc.Cluster.Storage, sc.StartSpread = control.StorageFsync, 50*time.Millisecond
		sc.load(func(load *control.Load) {
			load.RateRPS, load.DurationNS, load.Arrivals = 3000, int64(time.Second/2), "poisson"
		})
		change(sc)
		var last int64
		rows, events, disorder := 0, 0, 0
		see := func(at int64) {
			if at < last {
				disorder++
			}
			last = max(last, at)
		}
		sc.Row = func(row results.Row) {
			if row.Outcome != results.OutcomeTimeout {
				rows++
				see(row.DoneNS)
			}
		}
		sc.Event = func(at consensus.Time, _ string, _ consensus.Event) {
			events++
			see(int64(at))
		}
		agree(t, sc.run(t))
		if disorder > 0 || rows < 4000 || events < 10 {
			t.Errorf("%s: of %d rows and %d events %d come out of order", name, rows, events, disorder)
		}
	}
}

// until lives through a trial's events up to a time, and looks after each.
func (s *trial) until(at int64, look func()) {
	for !s.over && s.queue.next() <= at {
		e := s.queue.pop()
		s.now = e.at
		s.happen(e)
		look()
	}
}

// opened is when each path was seen to be open first.
func opened(t *testing.T, sc *scenario) map[int32]int64 {
	t.Helper()
	s, err := newTrial(t.Context(), sc.Simulation)
	if err != nil {
		t.Fatal(err)
	}
	s.begin()
	times := map[int32]int64{}
	s.until(int64(time.Second), func() {
		for _, p := range s.network.paths {
			if _, seen := times[p.index]; !seen && p.from.connected(p.to) {
				times[p.index] = s.now
				started := max(p.from.startedAt, p.to.startedAt-p.delayNS)
				if s.now < started+p.delayNS+p.backNS {
					t.Errorf("%s reaches %s at %d, less than a round trip after %d", p.from.node.Name, p.to.node.Name, s.now, started)
				}
			}
		}
	})
	if s.err != nil || len(times) == 0 {
		t.Fatalf("%d connections were opened: %v", len(times), s.err)
	}
	return times
}

func TestProcessesStartAndConnectAtInstantsOfTheirOwn(t *testing.T) {
	for name, change := range map[string]func(*scenario){
		"steady":   func(*scenario) {},
		"modelled": func(sc *scenario) { sc.links(func(p *topologies.Parameters) { p.Loss = 0.0001 }) },
		"datagram": func(sc *scenario) { sc.Transport = engine.TransportDatagram },
	} {
		led := map[time.Duration]bool{}
		openAt := map[int64]bool{}
		for seed := range uint64(10) {
			sc := paxosScenario()
			change(sc)
			sc.Seed, sc.StartSpread, sc.Stop.FirstLeader = seed, 50*time.Millisecond, true
			r := sc.run(t)
			if r.LedAfter < 0 {
				t.Errorf("%s, seed %d: nobody leads", name, seed)
			}
			led[r.LedAfter] = true
			if sc.Transport == engine.TransportTCP && seed < 3 {
				for _, at := range opened(t, sc) {
					openAt[at] = true
				}
			}
		}
		if len(led) < 8 || name != "datagram" && len(openAt) < 10 {
			t.Errorf("%s: 10 seeds have first leaders at %d times, 3 open connections at %d", name, len(led), len(openAt))
		}
	}
}

func TestTheLoadBeginsOnceAllProcessesHave(t *testing.T) {
	for _, transport := range []string{engine.TransportTCP, engine.TransportDatagram} {
		sc := paxosScenario()
		sc.Transport, sc.StartSpread, sc.Lead = transport, 3*time.Second, 0
		r := sc.run(t)
		agree(t, r)
		if len(sc.rows) != 45 || len(r.Statuses) != 8 {
			t.Errorf("%s: %d requests and %d processes, want 45 and 8", transport, len(sc.rows), len(r.Statuses))
		}
	}
}

func TestAKillDropsWhatIsntHandledByThen(t *testing.T) {
	for name, c := range map[string]struct {
		after   time.Duration
		handled bool
	}{
		"as its handling would begin": {10, false}, "while it waits": {9, false}, "after its handling began": {11, true},
	} {
		sc := oneServer(topologies.Parameters{Delay: time.Millisecond})
		sc.Costs.PerMessage = time.Microsecond
		sc.kill(c.after, "n1")
		s, err := newTrial(t.Context(), sc.Simulation)
		if err != nil {
			t.Fatal(err)
		}
		s.begin()
		for s.phase != phaseLoad {
			s.until(s.queue.next(), func() {})
		}
		// The core is busy for 10 ns more; what comes 1 ns before that is handled then.
		server, client := s.processes[0], s.processes[1]
		server.freeAt = s.loadStart + 10
		busy := server.busyNS
		s.schedule(s.loadStart+9, eventFrame, s.network.take(frame{
			path: s.path(client, server.index).index, message: consensus.Request{Command: consensus.Command{Client: 1, Sequence: 1}},
		}))
		s.until(s.loadStart+20, func() {})
		want := busy
		if c.handled {
			want += s.costs.message
		}
		if server.alive || server.busyNS != want || server.inbox.count > 0 {
			t.Errorf("killed %s: alive %v, the core was busy for %d ns more, %d inputs wait", name, server.alive, server.busyNS-busy, server.inbox.count)
		}
	}
}

func TestWhatWaitsForAConnectionLeavesOnceItsStepIsOver(t *testing.T) {
	const delay = int64(time.Millisecond)
	sc := oneServer(topologies.Parameters{Delay: time.Duration(delay) / 2})
	s, err := newTrial(t.Context(), sc.Simulation)
	if err != nil {
		t.Fatal(err)
	}
	from := s.processes[1]
	p := s.path(from, 0)
	from.freeAt = 100
	s.sendTCP(p, from.freeAt, 10, &stored{1})
	s.now = 50 // the connection stands before the step is over
	s.established(p)
	s.sendTCP(p, from.freeAt, 10, &stored{2})
	arrivals := []int64{p.lane.at(0).at, p.lane.at(1).at}
	if want := []int64{100 + delay, 100 + delay}; !slices.Equal(arrivals, want) {
		t.Errorf("they arrive at %d, want %d", arrivals, want)
	}
}
