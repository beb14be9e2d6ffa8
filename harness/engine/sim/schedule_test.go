package sim

import (
	"fmt"
	"testing"
	"time"

	"quorumlab/faults"
	"quorumlab/harness/engine"
	"quorumlab/node/control"
	"quorumlab/results"
	"quorumlab/topologies"
)

// fault adds an entry to the schedule, named after its kind and its number.
func (sc *scenario) fault(f faults.Fault) {
	f.ID = fmt.Sprint(f.Kind, len(sc.Faults)+1)
	sc.Faults = append(sc.Faults, f)
}

// at fires once, so long after the load has begun.
func at(after time.Duration) faults.Trigger { return faults.Trigger{At: &after} }

// lasting is a fixed duration.
func lasting(d time.Duration) faults.Span { return faults.Span{Least: d, Most: d} }

// kill ends processes for good, as the end of their hosts' power would.
func (sc *scenario) kill(after time.Duration, whom ...string) { sc.restart(after, 0, whom...) }

// restart is kill, and starts the processes again after a while.
func (sc *scenario) restart(after, down time.Duration, whom ...string) {
	disk := ""
	if sc.Cluster.Storage == control.StorageFsync && down > 0 { // else nobody finds it
		disk = faults.DiskLostUnsynced
	}
	sc.fault(faults.Fault{
		Kind: "crash", Whom: whom, Parameters: faults.Parameters{Disk: disk}, Trigger: at(after), For: lasting(down),
	})
}

// setLink changes the directions of a link that leave some of its ends, or both.
func (sc *scenario) setLink(after time.Duration, link string, p topologies.Parameters, from ...string) {
	sc.fault(faults.Fault{
		Kind: "degrade", Trigger: at(after), Parameters: faults.Parameters{
			Links: []string{link}, LinksFrom: from,
			Link: func(topologies.Parameters) topologies.Parameters { return p },
		},
	})
}

// cutLink takes the directions of a link down that leave some of its ends, or both.
func (sc *scenario) cutLink(after, down time.Duration, link string, from ...string) {
	sc.fault(faults.Fault{
		Kind: "link_down", Trigger: at(after), For: lasting(down),
		Parameters: faults.Parameters{Links: []string{link}, LinksFrom: from},
	})
}

// proved fails the test unless all faults were, so many of them.
func proved(t testing.TB, r *engine.Simulated, count int) {
	t.Helper()
	for _, f := range r.Faults {
		if f.Outcome != results.FaultProved {
			t.Errorf("%s #%d is %s: %s %+v", f.ID, f.Occurrence, f.Outcome, f.Reason, f.Evidence)
		}
	}
	if len(r.Faults) != count {
		t.Errorf("%d faults occurred, want %d: %+v", len(r.Faults), count, r.Faults)
	}
}
