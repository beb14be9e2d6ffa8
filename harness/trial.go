package harness

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"time"

	"quorumlab/faults"
	"quorumlab/harness/experiment"
	"quorumlab/node/control"
	"quorumlab/results"
	"quorumlab/topologies"
)

const (
	// leaderTimeout bounds the wait for a process that leads; leaders that duel
	// may have none for long, so the load starts all the same.
	leaderTimeout = 10 * time.Second
	// loadLead is the time between giving clients their load and its start.
	loadLead = 200 * time.Millisecond
)

// trial is what trials of labs and simulated ones have in common.
type trial struct {
	planned  results.PlannedTrial
	spec     *experiment.Spec
	cluster  control.Cluster
	topology *topologies.Topology
	// hosts maps each node's name to its host's.
	hosts map[string]string
	// schedule is what breaks; world is what it is for.
	schedule []faults.Fault
	world    faults.World
	folder   *results.Folder

	verdict results.Verdict
	// gaps says why the recorded requests aren't the whole history; empty if
	// they are.
	gaps string
	// broke is what became of the schedule, once the load is over.
	broke []results.Fault
}

func newTrial(folder *results.Folder, planned experiment.Trial) trial {
	spec := planned.Point.Spec
	t := trial{
		planned: folder.Manifest().Plan[planned.Number-1], spec: spec,
		cluster: spec.Cluster(planned.Seed), topology: spec.Network(), hosts: map[string]string{}, folder: folder,
	}
	for _, placement := range spec.Deployment() {
		t.hosts[placement.Name] = placement.Host
	}
	t.schedule, t.world = spec.Schedule(), spec.World(planned.Seed, folder.Manifest().Engine)
	predicted, _ := spec.PredictedLatency()
	t.verdict = results.Verdict{
		Trial: t.planned.Trial, Point: t.planned.Point, Repeat: t.planned.Repeat, Params: t.planned.Params,
		PredictedNS: int64(predicted), OfferedRPS: float64(spec.Workload.Rate),
		Linearizable: results.FindingNotChecked, Agreement: results.FindingNotChecked,
	}
	return t
}

// create makes the trial's folder, with the cluster file.
func (t *trial) create() error {
	if _, err := t.folder.CreateTrial(t.planned.Trial); err != nil {
		return err
	}
	data, err := json.MarshalIndent(t.cluster, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(t.clusterFile(), append(data, '\n'), 0o644)
}

// clusterFile is what all processes of the trial are given.
func (t *trial) clusterFile() string { return filepath.Join(t.nodesDir(), "cluster.json") }

func (t *trial) nodesDir() string { return t.folder.NodesDir(t.planned.Trial) }

func (t *trial) void(reasons ...results.VoidReason) {
	t.verdict.Reasons = append(t.verdict.Reasons, reasons...)
}

// noteOnce voids the trial for a reason that may be met again and again.
func (t *trial) noteOnce(reason results.VoidReason) {
	if !slices.Contains(t.verdict.Reasons, reason) {
		t.void(reason)
	}
}

// unfinished voids the trial because requests are missing from its records.
func (t *trial) unfinished(text string) {
	t.gaps = text
	t.void(results.VoidReason{Code: voidUnfinished, Text: text, Mend: mendReadLog})
}

// clients are the names of the nodes that generate load.
func (t *trial) clients() []string {
	var names []string
	for _, node := range t.cluster.Nodes {
		if node.Has(experiment.RoleClient) {
			names = append(names, node.Name)
		}
	}
	return names
}

// loads are the clients' shares of the workload, whose schedule begins at
// startNS.
func (t *trial) loads(startNS int64) []control.Load {
	w := t.spec.Workload
	loads := make([]control.Load, len(t.clients()))
	for i := range loads {
		loads[i] = control.Load{
			StartNS:    startNS,
			DurationNS: int64(t.spec.Phases.Warmup + t.spec.Phases.Measure),
			TimeoutNS:  int64(w.Timeout),
			RateRPS:    float64(w.Rate) / float64(len(loads)),
			Arrivals:   w.Arrivals, Application: t.cluster.Application,
			Mix: w.Mix, Keys: w.Keys, ValueBytes: int(w.ValueSize),
			Seed: t.planned.Seed + uint64(i),
		}
		if w.Arrivals == "fixed" { // not all clients at the same instants
			loads[i].StartNS += int64(float64(i) / float64(w.Rate) * 1e9)
		}
	}
	return loads
}

// measureFrom notes which requests count: those due within the measured phase of
// a load that begins at startNS.
func (t *trial) measureFrom(startNS int64) {
	t.verdict.MeasureStartNS = startNS + int64(t.spec.Phases.Warmup)
	t.verdict.MeasureEndNS = t.verdict.MeasureStartNS + int64(t.spec.Phases.Measure)
}

// loadTime is how long requests fall due.
func (t *trial) loadTime() time.Duration {
	return time.Duration(t.spec.Phases.Warmup + t.spec.Phases.Measure)
}

// noteFaults writes down what became of the schedule of a load that began at startNS, and
// judges it.
func (t *trial) noteFaults(startNS int64, broke []results.Fault) error {
	if len(t.schedule) == 0 {
		return nil
	}
	if broke == nil {
		broke = []results.Fault{}
	}
	t.broke, t.verdict.Faults = broke, len(broke)
	t.void(judgeFaults(broke)...)
	var schedule []string
	for _, fault := range t.schedule {
		schedule = append(schedule, fault.ID)
	}
	return t.folder.WriteFaults(t.planned.Trial, results.Faults{StartNS: startNS, Schedule: schedule, Hosts: t.hosts, Faults: broke})
}
