package sim

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"quorumlab/faults"
	"quorumlab/harness/engine"
	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/node/multipaxos"
	"quorumlab/results"
	"quorumlab/topologies"
)

func TestKillingFOfAnyRoleKeepsTheServiceGoing(t *testing.T) {
	for name, node := range map[string]string{"replica": "n1", "leader": "n3", "acceptor": "n5"} {
		for _, transport := range []string{engine.TransportTCP, engine.TransportDatagram} {
			sc := paxosScenario()
			sc.Transport = transport
			sc.load(func(load *control.Load) {
				load.DurationNS, load.Mix = int64(6*time.Second), map[string]float64{"update": 1}
			})
			sc.kill(2*time.Second, node)
			b := sc.breakIt(t, nil)
			proved(t, b.Simulated, 1)
			agree(t, b.Simulated)
			linearizable(t, sc.rows)
			if after := b.answered(4*time.Second, 6*time.Second); after < 35 {
				t.Errorf("%s, %s: %d requests were answered in the last two seconds, want about 40", name, transport, after)
			}
		}
	}
}

func TestKillingFAndOneAcceptorsStopsTheServiceAndRestartingOneBringsItBack(t *testing.T) {
	for _, transport := range []string{engine.TransportTCP, engine.TransportDatagram} {
		sc := paxosScenario()
		sc.Transport, sc.Cluster.Storage = transport, control.StorageFsync
		sc.load(func(load *control.Load) {
			load.DurationNS, load.TimeoutNS, load.Mix = int64(8*time.Second), int64(20*time.Second), map[string]float64{"update": 1}
		})
		sc.kill(2*time.Second, "n6")
		sc.restart(2*time.Second, 2*time.Second, "n5")
		b := sc.breakIt(t, nil)
		proved(t, b.Simulated, 2)
		agree(t, b.Simulated)
		linearizable(t, sc.rows)
		before, during := b.answered(0, 2*time.Second), b.answered(2100*time.Millisecond, 4*time.Second)
		if after := b.answered(6*time.Second, 8*time.Second); before < 35 || during > 0 || after < 35 {
			t.Errorf("%s: %d requests were answered before, %d meanwhile, %d after; want about 38, 0 and 40", transport, before, during, after)
		}
		if transport == engine.TransportTCP && sc.outcomes()[results.OutcomeTimeout] > 0 {
			t.Errorf("outcomes are %v, want all answered in the end", sc.outcomes())
		}
	}
}

func TestAPausedProcessGoesOnWhereItStoodWithAllThatCameMeanwhile(t *testing.T) {
	const delay, pause = 5 * time.Millisecond, 300 * time.Millisecond
	sc := oneServer(topologies.Parameters{Delay: delay})
	sc.Cluster.Storage, sc.Costs.Sync = control.StorageFsync, 4*time.Millisecond
	sc.load(func(load *control.Load) { load.RateRPS, load.DurationNS = 100, int64(time.Second) })
	sc.fault(faults.Fault{Kind: "pause", Whom: []string{"n1"}, Trigger: at(503 * time.Millisecond), For: lasting(pause)})
	r := sc.run(t)
	proved(t, r, 1)
	for _, row := range sc.rows {
		// A request reaches the server after two links, is durable 4 ms later, and its
		// answer takes as long as it did.
		came := time.Duration(row.IntendedNS-int64(r.LoadStart)) + 2*delay
		want := 4*delay + 4*time.Millisecond
		switch {
		case came+4*time.Millisecond < 503*time.Millisecond || came >= 803*time.Millisecond:
		case came < 503*time.Millisecond: // synced, but not answered, meanwhile
			want = 803*time.Millisecond + 2*delay - (came - 2*delay)
		default:
			want = 807*time.Millisecond + 2*delay - (came - 2*delay)
		}
		if got := latency(row); (got - want).Abs() > 4*time.Millisecond {
			t.Errorf("the request that came at %v took %v, want %v", came, got, want)
		}
	}
	if len(sc.rows) != 100 || sc.outcomes()[results.OutcomeTimeout] > 0 {
		t.Errorf("outcomes are %v, want 100 answers", sc.outcomes())
	}
}

func TestASlowProcessRunsForItsShareOfEachPeriod(t *testing.T) {
	const ms = int64(time.Millisecond)
	d := newDuty(7*ms, 0.3) // stands still for 7 ms, then runs for 3
	for _, c := range []struct{ at, next int64 }{
		{7, 14}, {13, 14}, {14, 14}, {16, 16}, {17, 24}, {24, 24}, {107, 114},
	} {
		if got := d.next(c.at * ms); got != c.next*ms {
			t.Errorf("from %d ms on it runs at %v, want %d ms", c.at, time.Duration(got), c.next)
		}
	}
	for _, c := range []struct{ at, cost, after int64 }{
		{14, 1, 15}, {14, 2, 16}, {16, 2, 25}, {14, 3, 24}, {16, 1, 24}, {15, 31, 116}, {14, 300, 1014},
	} {
		if got := d.after(c.at*ms, c.cost*ms); got != c.after*ms {
			t.Errorf("%d ms of work from %d ms on take until %v, want %d ms", c.cost, c.at, time.Duration(got), c.after)
		}
	}
	for _, all := range []duty{newDuty(0, 1), newDuty(0, 0), {}} {
		if all.next(3) != 3 || all.after(3, 4) != 7 {
			t.Errorf("%+v doesn't run all the time", all)
		}
	}
}

func TestWhoWasSilentAndIsHeardAgainIsReportedOnlyInTrialsWithFaults(t *testing.T) {
	sc := paxosScenario()
	sc.load(func(load *control.Load) { load.DurationNS = int64(4 * time.Second) })
	if b := sc.breakIt(t, nil); b.happened(consensus.EventHeard, -time.Hour, time.Hour, "n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8") {
		t.Error("a trial without faults reports who was heard")
	}
	sc.fault(faults.Fault{Kind: "isolate", Whom: []string{"n5"}, Trigger: at(time.Second), For: lasting(700 * time.Millisecond)})
	var heard []string
	var silence time.Duration
	sc.Event = func(at consensus.Time, node string, e consensus.Event) {
		if e.Kind == consensus.EventHeard && e.Role == consensus.RoleTransport {
			heard = append(heard, fmt.Sprintf("%s hears n%v", node, e.Peer))
			silence = max(silence, time.Duration(e.SilenceNS))
		}
	}
	proved(t, sc.run(t), 1)
	if !slices.Contains(heard, "n5 hears n3") || !slices.Contains(heard, "n3 hears n5") || silence < 700*time.Millisecond || silence > 2*time.Second {
		t.Errorf("%q, after %v at most; want the leader and the acceptor that was cut off, after 700 ms and more", heard, silence)
	}
}

func TestAMessageThatIsLostLetsItsSenderLiveASecondLonger(t *testing.T) {
	sc := journalAt(control.StorageDisk, "crash", places["after_send"].point, 0)
	sc.Transport = engine.TransportDatagram
	sc.load(func(load *control.Load) { load.DurationNS = int64(3 * time.Second) })
	sc.cutLink(0, time.Minute, "h2-s1", "h2")
	var haltedAt time.Duration
	_, s := sc.overhear(t, func(p *process) { haltedAt = time.Duration(p.condition.halt.reached.TimeNS) }, "none")
	r := s.result()
	died := time.Duration(r.LoadStart) + time.Duration(*r.Faults[0].AppliedNS)
	if lived := (died - haltedAt).Round(time.Millisecond); r.Faults[0].Kind != "crash" || lived != time.Second {
		t.Errorf("%s at %v: it lived for %v after its message was sent, want 1 s", r.Faults[0].Kind, haltedAt, lived)
	}
}

func TestAProcessThatIsStartedWhileItsDiskIsFullEndsAtItsNextWrite(t *testing.T) {
	sc := fiveProcesses()
	sc.fault(faults.Fault{Kind: "full_disk", Whom: []string{"n5"}, Trigger: at(time.Second), For: lasting(2 * time.Second)})
	sc.fault(faults.Fault{Kind: "crash", Whom: []string{"n5"}, Trigger: at(time.Second), For: lasting(500 * time.Millisecond)})
	s, err := newTrial(t.Context(), sc.Simulation)
	if err != nil {
		t.Fatal(err)
	}
	n5, lives := s.processes[4], []time.Duration{}
	alive := true
	for s.begin(); !s.over; {
		e := s.queue.pop()
		s.now = e.at
		s.happen(e)
		if s.phase == phaseLoad && n5.alive != alive {
			alive = n5.alive
			lives = append(lives, s.elapsed().Round(10*time.Millisecond))
		}
	}
	r := s.result()
	proved(t, r, 2)
	agree(t, r)
	linearizable(t, sc.rows)
	// It is killed, started, ends soon after, and is started again once there is room.
	want := []time.Duration{time.Second, 1500 * time.Millisecond, 1510 * time.Millisecond, 3 * time.Second}
	for i := range want {
		if len(lives) != len(want) || (lives[i]-want[i]).Abs() > 20*time.Millisecond {
			t.Fatalf("it ended and was started at %v, want %v", lives, want)
		}
	}
}

func TestAFaultFiresOnWhatHappensInTheProtocol(t *testing.T) {
	for name, on := range map[string]faults.On{
		"event":   {Event: consensus.MeaningElected, Count: 1},
		"message": {Event: "phase2a", Slot: 60},
		"commit":  {Event: control.TraceCommit, Slot: 60, Nodes: []string{"n2"}},
	} {
		sc := paxosScenario()
		sc.load(func(load *control.Load) {
			load.DurationNS, load.Mix = int64(6*time.Second), map[string]float64{"update": 1}
		})
		if name == "event" {
			sc.fault(faults.Fault{Kind: "pause", Whom: []string{"leader"}, Trigger: at(time.Second), For: lasting(3 * time.Second)})
		}
		sc.fault(faults.Fault{Kind: "pause", Whom: []string{"n6"}, Trigger: faults.Trigger{On: &on}, For: lasting(100 * time.Millisecond)})
		r := sc.run(t)
		proved(t, r, len(sc.Faults))
		last := r.Faults[len(r.Faults)-1]
		if last.AppliedNS == nil || *last.AppliedNS < int64(time.Second) {
			t.Errorf("%s: %+v", name, last)
		}
	}
}

// everyFault adds random faults of all kinds, among them some that hide others.
func (sc *scenario) everyFault(random *rand.Rand) {
	span := faults.Span{Least: 50 * time.Millisecond, Most: 800 * time.Millisecond}
	trigger := func() faults.Trigger {
		mean := time.Duration(300+random.IntN(1500)) * time.Millisecond
		// Of a fault that the load's end cuts short too little may be seen.
		return faults.Trigger{Random: &faults.Random{Mean: mean}, Until: 3900 * time.Millisecond}
	}
	whom := func() []string {
		return []string{[]string{"random(1)", "minority", "leader", "followers", "majority", "random(2)"}[random.IntN(6)]}
	}
	disks := []string{faults.DiskSame}
	if sc.Cluster.Storage == control.StorageFsync {
		disks = append(disks, faults.DiskLostUnsynced, faults.DiskTorn)
	}
	all := []faults.Fault{
		{Kind: "pause", Whom: whom()}, {Kind: "slow_cpu", Whom: whom(), Parameters: faults.Parameters{Share: share(0.2)}},
		{Kind: "clock", Whom: whom(), Parameters: faults.Parameters{Rate: 3}},
		{Kind: "clock", Whom: whom(), Parameters: faults.Parameters{Jump: time.Second}},
		{Kind: "ignore", Whom: whom(), Parameters: faults.Parameters{Share: share(0.3)}},
		{Kind: "isolate", Whom: whom()}, {Kind: "partition", Whom: whom()}, {Kind: "majorities_ring"},
		{Kind: "bridge", Whom: []string{"random(1)"}}, {Kind: "cut", Parameters: faults.Parameters{From: whom(), To: whom()}},
		{Kind: "link_down", Parameters: faults.Parameters{Links: []string{"h[12]-*"}}},
		{Kind: "degrade", Whom: whom(), Parameters: faults.Parameters{Link: func(p topologies.Parameters) topologies.Parameters {
			p.Loss, p.Delay = 0.1, p.Delay+2*time.Millisecond
			return p
		}}},
		{Kind: "degrade", Parameters: faults.Parameters{From: whom(), To: whom(), Link: delayed(10 * time.Millisecond)}},
	}
	if sc.Cluster.Storage != control.StorageMemory {
		for _, place := range control.Places {
			point := control.Failpoint{Place: place, Count: 1 + random.IntN(200)}
			all = append(all, faults.Fault{Kind: []string{"crash", "pause"}[random.IntN(2)], Whom: []string{"all"}, Trigger: faults.Trigger{Failpoint: &point, Times: 3}})
		}
		all = append(all,
			faults.Fault{Kind: "crash", Whom: whom(), Parameters: faults.Parameters{Disk: disks[random.IntN(len(disks))]}},
			faults.Fault{Kind: "full_disk", Whom: whom()}, faults.Fault{Kind: "failing_write", Whom: whom()})
	}
	if sc.Cluster.Storage == control.StorageFsync {
		all = append(all, faults.Fault{Kind: "slow_sync", Whom: whom(), Parameters: faults.Parameters{Delay: 20 * time.Millisecond}})
	}
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, f := range all[:1+random.IntN(6)] {
		if f.Trigger.Failpoint == nil {
			f.Trigger = trigger()
		}
		f.For, f.Optional = span, true
		sc.fault(f)
	}
}

// raging is three or five processes of Multi-Paxos, two clients, and random faults.
func raging(seed uint64) *scenario {
	random := rand.New(rand.NewPCG(seed, 3))
	roles := slices.Repeat([][]string{allRoles}, 3+2*random.IntN(2))
	sc := newScenario(multipaxos.Name, topologies.Parameters{Delay: time.Millisecond}, 2, roles...)
	sc.Seed, sc.Cluster.Seed = seed, seed
	sc.Transport = []string{engine.TransportTCP, engine.TransportDatagram}[random.IntN(2)]
	sc.Cluster.Storage = []string{control.StorageMemory, control.StorageDisk, control.StorageFsync, control.StorageFsync}[random.IntN(4)]
	sc.StartSpread = 20 * time.Millisecond
	sc.load(func(load *control.Load) {
		load.RateRPS, load.Arrivals, load.DurationNS, load.TimeoutNS = 50, "poisson", int64(4*time.Second), int64(time.Second)
		load.Keys = 3
	})
	sc.everyFault(random)
	return sc
}

func TestWhileFaultsRageHistoriesStayRightAndAfterwardsAllAgree(t *testing.T) {
	occurred, provedOf, answered := map[string]int{}, map[string]int{}, 0
	for seed := range seeds() / 5 {
		sc := raging(seed)
		s, r := sc.simulate(t)
		what := fmt.Sprintf("seed %d, %s, %s", seed, sc.Transport, sc.Cluster.Storage)
		s.balanced(t, what)
		linearizable(t, sc.rows)
		agree(t, r)
		for _, f := range r.Faults {
			occurred[f.Kind]++
			switch f.Outcome {
			case results.FaultProved:
				provedOf[f.Kind]++
			case results.FaultNobody, results.FaultNeverFired:
			default:
				if f.Outcome == results.FaultUnproved && strings.Contains(f.Reason, "acknowledgement") {
					continue // a receiver may be cut off, or dead
				}
				t.Errorf("%s: %s #%d is %s: %s %+v", what, f.ID, f.Occurrence, f.Outcome, f.Reason, f.Evidence)
			}
		}
		answered += sc.outcomes()[results.OutcomeOK]
		if t.Failed() {
			t.Fatalf("%s: %+v", what, sc.Faults)
		}
		if seed%4 > 0 {
			continue
		}
		if _, again := sc.simulate(t); (outcome{simulated: r}).differences(outcome{simulated: again}) != nil {
			t.Errorf("%s: the second run differs", what)
		}
	}
	t.Logf("%d requests were answered; occurred %v, proved %v", answered, occurred, provedOf)
	for kind, count := range occurred {
		if provedOf[kind] < count/3 {
			t.Errorf("of %d %s only %d were proved", count, kind, provedOf[kind])
		}
	}
	if len(occurred) < 12 && !testing.Short() {
		t.Errorf("only %s occurred", strings.Join(slices.Sorted(maps.Keys(occurred)), ", "))
	}
}
