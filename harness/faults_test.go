package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"quorumlab/harness/experiment"
	"quorumlab/node/control"
	"quorumlab/results"
)

// withFaults is a schedule for load.
func withFaults(entries ...string) string { return "faults=[" + strings.Join(entries, ", ") + "]" }

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
	v := onlyVerdict(t, folder)
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

func onlyVerdict(t *testing.T, folder *results.Folder) results.Verdict {
	t.Helper()
	verdicts, err := folder.Trials()
	if err != nil || len(verdicts) != 1 {
		t.Fatalf("%d trials, %v", len(verdicts), err)
	}
	return verdicts[0]
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

// faultsOf reads what became of the only trial's schedule, by the faults' IDs.
func faultsOf(t *testing.T, folder *results.Folder) (startNS int64, byID map[string][]results.Fault) {
	t.Helper()
	broke, err := folder.ReadFaults(1)
	if err != nil {
		t.Fatal(err)
	}
	byID = map[string][]results.Fault{}
	for _, f := range broke.Faults {
		byID[f.ID] = append(byID[f.ID], f)
	}
	return broke.StartNS, byID
}

// inLab runs an experiment in labs; nil where there are none.
var inLab func(t *testing.T, source *experiment.Source, changes ...func(*Options)) *results.Folder

// onEngines runs a test in the simulator and in a lab.
func onEngines(t *testing.T, test func(t *testing.T, engineName string)) {
	for _, name := range []string{"sim", "netns"} {
		t.Run(name, func(t *testing.T) {
			if name != "sim" && inLab == nil {
				t.Skip("labs need Linux")
			}
			test(t, name)
		})
	}
}

// broken runs an experiment with faults.
func broken(t *testing.T, source *experiment.Source, changes ...func(*Options)) *results.Folder {
	t.Helper()
	if source.Spec.Engine != "sim" {
		return inLab(t, source, changes...)
	}
	folder, _ := simulated(t, source, nil)
	return folder
}

func TestNodesThatAreKilledAndRestartedInTurnLoseNoAcknowledgedWrite(t *testing.T) {
	onEngines(t, func(t *testing.T, engineName string) {
		names := []string{"replica1", "replica2", "leader1", "leader2", "acceptor1", "acceptor2", "acceptor3"}
		var entries []string
		var last time.Duration
		for i, name := range names {
			last = 300*time.Millisecond + time.Duration(i)*900*time.Millisecond
			entries = append(entries, fmt.Sprintf("{id: kill-%s, name: crash, whom: [%s], at: %v, for: 400ms}", name, name, last))
		}
		source := load(t, engineName, "--set", "repeat=1", "--set", "system.storage="+control.StorageDisk,
			"--set", "phases.measure=8s", "--set", "workload.timeout=3s", "--set", withFaults(entries...))
		if got := servers(source.Spec); len(got) != len(names) {
			t.Fatalf("the servers are %v", got)
		}
		folder := broken(t, source)
		v := expectSafe(t, folder)
		start, faults := faultsOf(t, folder)
		if answered, due := answeredFrom(t, folder, start); answered < due*7/10 {
			t.Errorf("%d of %d requests were answered", answered, due)
		}
		over := start + int64(last+1500*time.Millisecond)
		if answered, due := answeredFrom(t, folder, over); answered < due || due == 0 {
			t.Errorf("once all nodes were back, %d of %d requests were answered", answered, due)
		}
		for _, name := range names {
			if f := faults["kill-"+name]; len(f) != 1 || f[0].Outcome != results.FaultProved || f[0].RecoveredNS == nil {
				t.Errorf("%s: %+v", name, f)
			}
		}
		if engineName == "sim" {
			return
		}
		for _, name := range names {
			exit, err := os.ReadFile(filepath.Join(folder.NodesDir(1), earlier(name+".exit.json", 1)))
			if err != nil || !strings.Contains(string(exit), "SIGKILL") {
				t.Errorf("how %s was killed: %s, %v", name, exit, err)
			}
			_, err = os.Stat(filepath.Join(folder.NodesDir(1), name, storageDir))
			if kept := err == nil; kept == v.Valid {
				t.Errorf("%s: storage kept %v, trial valid %v", name, kept, v.Valid)
			}
		}
	})
}

// freshNodes are leaders and acceptors that stand by.
const freshNodes = `system.spares={leaders: 2, acceptors: 3}`

func TestLeadersAndAcceptorsAreReplacedByFreshNodesUnderLoad(t *testing.T) {
	onEngines(t, func(t *testing.T, engineName string) {
		source := load(t, engineName, "--set", "repeat=1", "--set", freshNodes,
			"--set", "phases.measure=5s", "--set", "workload.timeout=3s", "--set", withFaults(
				`{id: fresh, name: reconfigure, at: 800ms, change: {leaders: [leader3, leader4], acceptors: [acceptor4, acceptor5, acceptor6]}}`,
				`{id: retired, name: crash, whom: [leader1, leader2, acceptor1, acceptor2, acceptor3], after: {fault: fresh, by: 1500ms}}`))
		folder := broken(t, source)
		expectSafe(t, folder)
		start, faults := faultsOf(t, folder)
		retired := faults["retired"]
		if len(retired) != 1 || retired[0].AppliedNS == nil || len(retired[0].Nodes) != 5 {
			t.Fatalf("%+v", faults)
		}
		if answered, due := answeredFrom(t, folder, start+*retired[0].AppliedNS+int64(500*time.Millisecond)); answered < due || due == 0 {
			t.Errorf("with the retired nodes dead, %d of %d requests were answered", answered, due)
		}
	})
}
