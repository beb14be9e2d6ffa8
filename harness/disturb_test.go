package harness

import (
	"encoding/json"
	"testing"
	"time"

	"quorumlab/harness/engine"
	"quorumlab/harness/experiment"
	"quorumlab/node/control"
	"quorumlab/results"
)

// freshNodes are leaders and acceptors that stand by, and the change that calls
// on them.
const freshNodes = `system.spares={leaders: 2, acceptors: 3}`

var toFreshNodes = json.RawMessage(`{"leaders": ["leader3", "leader4"], "acceptors": ["acceptor4", "acceptor5", "acceptor6"]}`)

// retired are the nodes that have no part in the configuration after that.
var retired = []string{"leader1", "leader2", "acceptor1", "acceptor2", "acceptor3"}

// servers are the nodes that aren't clients.
func servers(spec *experiment.Spec) []string {
	var names []string
	for _, placement := range spec.Deployment() {
		if !placement.Has(experiment.RoleClient) {
			names = append(names, placement.Name)
		}
	}
	return names
}

// expectSafe wants the only trial of a run to be linearizable and its replicas
// to agree. A busy machine may void it, nothing else.
func expectSafe(t *testing.T, folder *results.Folder) results.Verdict {
	t.Helper()
	verdicts, err := folder.Trials()
	if err != nil || len(verdicts) != 1 {
		t.Fatalf("%d trials, %v", len(verdicts), err)
	}
	v := verdicts[0]
	if v.Linearizable != results.FindingOK || v.Agreement != results.FindingOK {
		t.Errorf("linearizable %s (%s), agreement %s", v.Linearizable, v.History.Reason, v.Agreement)
	}
	for _, reason := range v.Reasons {
		if reason.Mend != mendBusy {
			t.Errorf("void: %s: %s", reason.Code, reason.Text)
		}
	}
	return v
}

// answeredFrom counts the requests that were due from a time on, and those of
// them that were answered.
func answeredFrom(t *testing.T, folder *results.Folder, fromNS int64) (answered, due int) {
	t.Helper()
	for row, err := range folder.Requests(1) {
		if err != nil {
			t.Fatal(err)
		}
		if row.IntendedNS >= fromNS {
			due++
			if row.Outcome != results.OutcomeTimeout {
				answered++
			}
		}
	}
	return answered, due
}

func TestSimulatedNodesThatAreKilledAndRestartedInTurnLoseNoAcknowledgedWrite(t *testing.T) {
	for _, storage := range []string{control.StorageDisk, control.StorageFsync} {
		t.Run(storage, func(t *testing.T) {
			source := load(t, "sim", "--set", "repeat=1", "--set", "system.storage="+storage,
				"--set", "phases.measure=20s", "--set", "workload.timeout=3s")
			var actions []engine.Action
			var last time.Duration
			for i, name := range servers(source.Spec) {
				last = time.Duration(i+1) * 2 * time.Second
				actions = append(actions,
					engine.Action{At: last, Node: name, Kind: engine.ActionKill},
					engine.Action{At: last + time.Second, Node: name, Kind: engine.ActionRestart})
			}
			folder, _ := simulated(t, source, func(o *Options) {
				o.actions = func(experiment.Trial) []engine.Action { return actions }
			})
			v := expectSafe(t, folder)
			start := v.MeasureStartNS - int64(source.Spec.Phases.Warmup)
			if answered, due := answeredFrom(t, folder, start); answered < due*8/10 {
				t.Errorf("%d of %d requests were answered", answered, due)
			}
			if answered, due := answeredFrom(t, folder, start+int64(last+4*time.Second)); answered < due || due == 0 {
				t.Errorf("once all nodes were back, %d of %d requests were answered", answered, due)
			}
		})
	}
}

func TestSimulatedLeadersAndAcceptorsAreReplacedByFreshNodesUnderLoad(t *testing.T) {
	source := load(t, "sim", "--set", "repeat=1", "--set", freshNodes, "--set", "phases.measure=8s", "--set", "workload.timeout=3s")
	actions := []engine.Action{{At: time.Second, Node: "replica1", Kind: engine.ActionReconfigure, Change: toFreshNodes}}
	for _, name := range retired {
		actions = append(actions, engine.Action{At: 3 * time.Second, Node: name, Kind: engine.ActionKill})
	}
	folder, _ := simulated(t, source, func(o *Options) {
		o.actions = func(experiment.Trial) []engine.Action { return actions }
	})
	v := expectSafe(t, folder)
	start := v.MeasureStartNS - int64(source.Spec.Phases.Warmup)
	if answered, due := answeredFrom(t, folder, start+int64(4*time.Second)); answered < due || due == 0 {
		t.Errorf("with the retired nodes dead, %d of %d requests were answered", answered, due)
	}
}
