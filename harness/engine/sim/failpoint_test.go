package sim

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"quorumlab/faults"
	"quorumlab/harness/engine"
	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/results"
)

// overheard is a machine that has what it receives written down.
type overheard struct {
	consensus.Machine
	note func(now consensus.Time, input *consensus.Input)
}

func (m overheard) Step(now consensus.Time, input consensus.Input, out *consensus.Outbox) {
	m.note(now, &input)
	m.Machine.Step(now, input, out)
}

// overhear has the messages of some kinds written down that machines receive, and the events
// of some kinds, with their times since the load began. Halted is called when a process has
// come to a failpoint.
func (sc *scenario) overhear(t *testing.T, halted func(*process), kinds ...string) (lines []string, s *trial) {
	t.Helper()
	sc.rows = nil
	s, err := newTrial(t.Context(), sc.Simulation)
	if err != nil {
		t.Fatal(err)
	}
	note := func(node, what string, label consensus.Label) {
		if s.phase == phaseElection || s.phase == phaseLead || !slices.Contains(kinds, label.Kind) {
			return
		}
		line := fmt.Sprintf("%v %s %s %s", time.Duration(s.now-s.loadStart).Round(10*time.Microsecond), node, what, label.Kind)
		if label.Slot > 0 {
			line += fmt.Sprint(" slot ", label.Slot)
		}
		if label.Leader > 0 {
			line += fmt.Sprintf(" ballot %d.%v", label.Round, label.Leader)
		}
		lines = append(lines, line)
	}
	protocol := *s.protocol
	inner := s.protocol
	protocol.New = func(config consensus.Config) (consensus.Machine, error) {
		machine, err := inner.New(config)
		self, _ := s.byID(config.Self)
		return overheard{machine, func(_ consensus.Time, input *consensus.Input) {
			if input.Kind == consensus.InputMessage {
				from, _ := s.byID(input.From)
				note(s.processes[self].node.Name, "gets from "+s.processes[from].node.Name, input.Message.Label())
			}
		}}, err
	}
	s.protocol = &protocol
	s.simulation.Event = func(_ consensus.Time, node string, e consensus.Event) { note(node, "says", e.Label) }
	s.begin()
	for seen := false; !s.over; {
		e := s.queue.pop()
		s.now = e.at
		s.happen(e)
		for _, p := range s.processes {
			if p.stopping() && !seen {
				seen = true
				halted(p)
			}
		}
	}
	if s.err != nil {
		t.Fatal(s.err)
	}
	return lines, s
}

// failpoint adds a crash or a pause at a failpoint.
func (sc *scenario) failpoint(kind string, whom string, point control.Failpoint, down time.Duration) {
	sc.fault(faults.Fault{Kind: kind, Whom: []string{whom}, Trigger: faults.Trigger{Failpoint: &point}, For: lasting(down)})
}

func TestTheLeaderDiesAfterItsPhase2aReachedOneAcceptorAndTheNextOneFinishesItsSlot(t *testing.T) {
	sc := paxosScenario() // n3 and n4 lead, n5 to n7 are acceptors
	sc.Cluster.Storage = control.StorageDisk
	sc.load(func(load *control.Load) {
		load.RateRPS, load.DurationNS, load.TimeoutNS = 2, int64(5*time.Second), int64(5*time.Second)
		load.Mix = map[string]float64{"create": 1}
	})
	sc.failpoint("crash", "n3", control.Failpoint{Place: control.AfterSend, Kind: "phase2a", Slot: 3, To: "n5"}, 0)
	lines, s := sc.overhear(t, func(*process) {}, "phase2a", "phase2b", "phase1a", "phase1b", "silent", "scout", "adopted", "preempted")
	r := s.result()
	proved(t, r, 1)
	agree(t, r)
	linearizable(t, sc.rows)
	from := slices.IndexFunc(lines, func(line string) bool { return strings.Contains(line, "slot 3") })
	to := slices.IndexFunc(lines, func(line string) bool { return strings.Contains(line, "slot 4") })
	want := `1.12001s n5 gets from n3 phase2a slot 3 ballot 0.3
1.64s n4 says silent ballot 0.3
1.64s n4 says scout ballot 0.4
1.68s n5 gets from n4 phase1a ballot 0.4
1.68s n6 gets from n4 phase1a ballot 0.4
1.68s n7 gets from n4 phase1a ballot 0.4
1.72s n4 gets from n6 phase1b ballot 0.4
1.72s n4 gets from n7 phase1b ballot 0.4
1.72s n4 says adopted ballot 0.4
1.72001s n4 gets from n5 phase1b ballot 0.4
1.76001s n5 gets from n4 phase2a slot 3 ballot 0.4
1.76001s n6 gets from n4 phase2a slot 3 ballot 0.4
1.76001s n7 gets from n4 phase2a slot 3 ballot 0.4
`
	if got := strings.Join(lines[from:to], "\n") + "\n"; got != want {
		t.Errorf("the trace is\n%s\nwant\n%s", got, want)
	}
	died := time.Duration(*r.Faults[0].AppliedNS).Round(10 * time.Microsecond)
	if died != 1120010*time.Microsecond || sc.outcomes()[results.OutcomeTimeout] > 0 || len(sc.rows) != 10 {
		t.Errorf("the leader died at %v, and the outcomes are %v; want at 1.12001 s, as its message arrived, and ten answers", died, sc.outcomes())
	}
}

// journalAt is three servers, of which n2 comes to a failpoint at slot 10; a command comes
// each 10 ms.
func journalAt(storage, kind string, point control.Failpoint, down time.Duration) *scenario {
	sc := journalScenario(2 * time.Millisecond)
	sc.Cluster.Storage, sc.Costs.Sync = storage, time.Millisecond
	sc.load(func(load *control.Load) {
		load.RateRPS, load.DurationNS, load.TimeoutNS = 100, int64(time.Second), int64(time.Second)
		load.Mix = map[string]float64{"create": 1}
	})
	point.Slot = 10
	sc.failpoint(kind, "n2", point, down)
	return sc
}

// places are the failpoints of a follower's slot 10, and how far it has come there: whether
// the entry is on its disk, whether the leader knows, whether it is applied.
var places = map[string]struct {
	point                 control.Failpoint
	stored, told, applied bool
}{
	"before_persist": {control.Failpoint{Place: control.BeforePersist, Kind: "entry"}, false, false, false},
	"after_persist":  {control.Failpoint{Place: control.AfterPersist, Kind: "entry"}, true, false, false},
	"before_send":    {control.Failpoint{Place: control.BeforeSend, Kind: "stored", To: "n1"}, true, false, false},
	"after_send":     {control.Failpoint{Place: control.AfterSend, Kind: "stored", To: "n1"}, true, true, false},
	"before_apply":   {control.Failpoint{Place: control.BeforeApply}, true, true, false},
	"after_apply":    {control.Failpoint{Place: control.AfterApply}, true, true, true},
}

func TestAProcessCrashesExactlyAtItsFailpoint(t *testing.T) {
	for name, place := range places {
		for _, storage := range []string{control.StorageDisk, control.StorageFsync} {
			for _, transport := range []string{engine.TransportTCP, engine.TransportDatagram} {
				sc := journalAt(storage, "crash", place.point, 0)
				sc.Transport = transport
				var applied uint64
				lines, s := sc.overhear(t, func(p *process) { applied = p.application.Slot() }, "stored")
				r := s.result()
				proved(t, r, 1)
				agree(t, r)
				stored := uint64(len(s.processes[1].storage.records))
				told := slices.ContainsFunc(lines, func(line string) bool { return strings.HasSuffix(line, "n1 gets from n2 stored slot 10") })
				slot := map[bool]uint64{false: 9, true: 10}
				if stored != slot[place.stored] || applied != slot[place.applied] || told != place.told {
					t.Errorf("%s, %s, %s: it has stored %d entries and applied %d, the leader knows of the tenth: %v; want %+v",
						name, storage, transport, stored, applied, told, place)
				}
				if s.processes[1].alive || len(sc.rows) != 100 {
					t.Errorf("%s, %s, %s: it lives: %v; %d requests", name, storage, transport, s.processes[1].alive, len(sc.rows))
				}
			}
		}
	}
}

func TestAProcessStallsExactlyAtItsFailpointAndFinishesItsStep(t *testing.T) {
	const stall = 300 * time.Millisecond
	for name, place := range places {
		for _, storage := range []string{control.StorageDisk, control.StorageFsync} {
			sc := journalAt(storage, "pause", place.point, stall)
			var applied uint64
			lines, s := sc.overhear(t, func(p *process) { applied = p.application.Slot() }, "stored")
			r := s.result()
			proved(t, r, 1)
			agree(t, r)
			fault := r.Faults[0]
			if lasted := time.Duration(*fault.HealedNS - *fault.AppliedNS); lasted != stall {
				t.Errorf("%s, %s: it lasted %v", name, storage, lasted)
			}
			silence, last := time.Duration(0), time.Duration(0)
			for _, line := range lines {
				if !strings.Contains(line, " n1 gets from n2 ") {
					continue
				}
				at, err := time.ParseDuration(line[:strings.Index(line, " ")])
				if err != nil {
					t.Fatal(err)
				}
				silence, last = max(silence, at-last), at
			}
			if silence < stall-10*time.Millisecond || silence > stall+20*time.Millisecond {
				t.Errorf("%s, %s: the leader didn't hear of it for %v, want %v", name, storage, silence, stall)
			}
			if want := map[bool]uint64{false: 9, true: 10}[place.applied]; applied != want {
				t.Errorf("%s, %s: it had applied %d slots, want %d", name, storage, applied, want)
			}
			if sc.outcomes()[results.OutcomeTimeout] > 0 || r.Statuses["n2"].Slot != r.Statuses["n1"].Slot {
				t.Errorf("%s, %s: outcomes %v, slots %v", name, storage, sc.outcomes(), slots(r))
			}
		}
	}
}

func TestAFailpointThatAllAcceptorsComeToAtOnceHitsOneOfThem(t *testing.T) {
	for _, kind := range []string{"crash", "pause"} {
		for _, times := range []int{1, 2} {
			sc := paxosScenario() // n5 to n7 are acceptors
			sc.Cluster.Storage = control.StorageDisk
			sc.load(func(load *control.Load) {
				load.RateRPS, load.DurationNS, load.TimeoutNS = 20, int64(5*time.Second), int64(time.Second)
				load.Mix = map[string]float64{"create": 1}
			})
			sc.fault(faults.Fault{Kind: kind, For: lasting(time.Second), Trigger: faults.Trigger{Times: times,
				Failpoint: &control.Failpoint{Place: control.AfterSend, Kind: "phase2b", Count: 20}}})
			came, together := map[string]bool{}, 0
			sc.rows = nil
			s, err := newTrial(t.Context(), sc.Simulation)
			if err != nil {
				t.Fatal(err)
			}
			for s.begin(); !s.over; {
				e := s.queue.pop()
				s.now = e.at
				if s.happen(e); !s.faulting.begun {
					continue
				}
				lost, halted := 0, 0
				for _, p := range s.processes[4:7] {
					if p.stopping() {
						came[p.node.Name] = true
						halted++
					}
					if together = max(together, halted); !p.alive {
						lost++
					}
				}
				if lost > 1 {
					t.Fatalf("%s: %d acceptors are dead at %v", kind, lost, s.elapsed())
				}
			}
			r := s.result()
			proved(t, r, times)
			agree(t, r)
			for _, f := range r.Faults {
				if len(f.Nodes) != 1 {
					t.Errorf("%s: occurrence %d has hit %v", kind, f.Occurrence, f.Nodes)
				}
			}
			if len(came) != 3 || together != 3 {
				t.Errorf("%s: only %v have come to it, %d at once", kind, came, together)
			}
			for _, row := range sc.rows {
				if row.Outcome == results.OutcomeTimeout || latency(row) > 350*time.Millisecond {
					t.Errorf("%s: with two acceptors alive a request took %v: %s", kind, latency(row), row.Outcome)
					break
				}
			}
			if len(sc.rows) != 100 {
				t.Errorf("%s: %d requests", kind, len(sc.rows))
			}
		}
	}
}
