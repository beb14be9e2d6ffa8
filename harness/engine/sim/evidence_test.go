package sim

import (
	"strings"
	"testing"
	"time"

	"quorumlab/faults"
	"quorumlab/node/control"
	"quorumlab/results"
)

// whileCutOff is five processes of which n5 is cut off from brokenFrom on, and soon after a
// fault of n5, or of the spare n6, which writes nothing.
func whileCutOff(f faults.Fault) *scenario {
	sc := fiveProcesses()
	sc.fault(faults.Fault{Kind: "isolate", Whom: []string{"n5"}, Trigger: at(brokenFrom), For: lasting(2 * time.Second)})
	f.Whom, f.Trigger, f.For = []string{"n5"}, at(brokenFrom+500*time.Millisecond), lasting(time.Second)
	if f.Kind != "ignore" {
		f.Whom = []string{"n6"}
	}
	sc.fault(f)
	return sc
}

func TestAFaultThatNothingComesToHitsNobody(t *testing.T) {
	for _, f := range []faults.Fault{
		{Kind: "ignore", Parameters: faults.Parameters{Share: share(0.5)}},
		{Kind: "ignore", Parameters: faults.Parameters{Messages: []string{"phase2a"}}},
		{Kind: "slow_sync", Parameters: faults.Parameters{Delay: 50 * time.Millisecond}},
		{Kind: "failing_write"}, {Kind: "full_disk"},
	} {
		idle := whileCutOff(f).breakIt(t, nil).Simulated.Faults[1]
		if idle.Outcome != results.FaultNobody || len(idle.Evidence) == 0 || !idle.Evidence[0].Idle || !strings.Contains(idle.Reason, "nothing came") {
			t.Errorf("%s: %+v", f.Kind, idle)
		}
	}
}

// That nothing came excuses no fault that wasn't carried out.
func TestAnIgnoreThatIsNotInForceIsUnprovedWhateverComes(t *testing.T) {
	b := whileCutOff(faults.Fault{Kind: "ignore"}).breakIt(t, func(order *faults.Order) { order.Nodes = nil })
	if f := b.Simulated.Faults[1]; f.Outcome != results.FaultUnproved {
		t.Errorf("%+v", f)
	}
}

func TestAShareIsNotProvedByTheFirstMessage(t *testing.T) {
	sc := fiveProcesses()
	sc.fault(faults.Fault{
		Kind: "ignore", Whom: []string{"n5"}, Parameters: faults.Parameters{Share: share(0.2)},
		Trigger: at(brokenFrom), For: lasting(time.Second),
	})
	b := sc.breakIt(t, func(order *faults.Order) {
		for _, state := range order.Nodes {
			for i := range state.Injection.Ignore {
				state.Injection.Ignore[i].Share = 1
			}
		}
	})
	if f := b.Simulated.Faults[0]; f.Outcome != results.FaultUnproved {
		t.Errorf("all were ignored in place of a fifth, and it is %s: %+v", f.Outcome, f.Evidence)
	}
}

// The load is over at its planned end, not with the last answer.
func TestAFaultAfterTheLastAnswerFires(t *testing.T) {
	sc := fiveProcesses()
	sc.load(func(load *control.Load) { load.RateRPS = 1 })
	sc.fault(faults.Fault{Kind: "pause", Whom: []string{"n5"}, Trigger: at(brokenLoad - 100*time.Millisecond)})
	r := sc.breakIt(t, nil).Simulated
	proved(t, r, 1)
	if f := r.Faults[0]; f.HealedNS != nil && *f.HealedNS != int64(brokenLoad) {
		t.Errorf("healed %v after the load's begin, want %v", time.Duration(*f.HealedNS), brokenLoad)
	}
}

// Healing gives processes work. Since all is drained then, that could end the trial before
// anybody has looked whether it is healed.
func TestWhatIsHealedWhenAStopEndsTheLoadIsProved(t *testing.T) {
	sc := paxosScenario()
	sc.Cluster.Storage = control.StorageDisk
	sc.load(func(load *control.Load) { load.RateRPS, load.DurationNS = 20, int64(brokenLoad) })
	sc.Stop.Requests = 50
	sc.fault(faults.Fault{Kind: "crash", Whom: []string{"n7"}, Trigger: at(time.Second), For: lasting(time.Minute)})
	r := sc.breakIt(t, nil).Simulated
	proved(t, r, 1)
	if f := r.Faults[0]; f.RecoveredNS == nil || *f.HealedNS >= int64(brokenLoad) {
		t.Errorf("%+v", f)
	}
}

func TestADiskLosesWhatItsCrashAtAFailpointSays(t *testing.T) {
	for _, disk := range []string{faults.DiskLostUnsynced, faults.DiskTorn, faults.DiskEmpty} {
		sc := fiveProcesses()
		sc.load(func(load *control.Load) { load.RateRPS = 2000 })
		sc.Costs.Sync = 2 * time.Millisecond // so that one runs at most times
		sc.fault(faults.Fault{
			Kind: "crash", Whom: []string{"n5"}, Parameters: faults.Parameters{Disk: disk}, For: lasting(time.Second),
			Trigger: faults.Trigger{Failpoint: &control.Failpoint{Place: control.BeforePersist, Kind: "phase2a", Slot: 1000}},
		})
		var lost bool
		s, err := newTrial(t.Context(), sc.Simulation)
		if err != nil {
			t.Fatal(err)
		}
		n5 := s.processes[4]
		written, durable := uint64(0), uint64(0)
		for s.begin(); !s.over; {
			e := s.queue.pop()
			s.now = e.at
			if n5.alive {
				written, durable = n5.storage.written, n5.storage.durable
			}
			s.happen(e)
			if written > 0 && !n5.alive && !n5.storage.undecided && !lost {
				lost = true
				want := durable
				if disk == faults.DiskEmpty {
					want = 0
				}
				if kept := n5.storage.last(); kept != want || written == durable {
					t.Errorf("%s: %d of %d writes are left, %d were durable, want %d", disk, kept, written, durable, want)
				}
			}
		}
		if r := s.result(); !lost || r.Faults[0].Outcome != results.FaultProved {
			t.Errorf("%s: the disk was told: %v; %+v", disk, lost, r.Faults)
		}
	}
}
