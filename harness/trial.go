package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"quorumlab/harness/engine"
	"quorumlab/harness/experiment"
	"quorumlab/harness/report"
	"quorumlab/node/control"
	"quorumlab/results"
	"quorumlab/topologies"
)

const (
	// startTimeout bounds each step of getting a lab ready: processes started,
	// connections made, a leader found.
	startTimeout = 20 * time.Second
	// leaderTimeout bounds the wait for a process that leads; leaders that duel
	// may have none for long, so the load starts all the same.
	leaderTimeout = 10 * time.Second
	// answerTimeout is how long a process may take to answer a command.
	answerTimeout = 5 * time.Second
	// loadLead is the time between giving clients their load and its start.
	loadLead = 200 * time.Millisecond
	// stopTimeout is how long processes may take to end when asked to.
	stopTimeout = 3 * time.Second
)

// starter starts bench-node on a host.
type starter func(ctx context.Context, host, name string, arguments ...string) (*session, error)

// answering bounds the wait for an answer.
func answering(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, answerTimeout, fmt.Errorf("no answer for %v", answerTimeout))
}

// trial is one run of a lab.
type trial struct {
	planned  results.PlannedTrial
	spec     *experiment.Spec
	cluster  control.Cluster
	topology *topologies.Topology
	folder   *results.Folder
	engine   engine.Builder
	links    string
	node     string
	progress report.Progress

	lab      engine.Lab
	labLog   *os.File
	linksWhy string
	echoes   map[string]*session
	nodes    map[string]*session
	order    []string
	verdict  results.Verdict
	evidence results.Links
}

// run carries out the trial and writes all of it but the verdict, which it
// returns. An error means that there is no verdict: the tool failed, or the
// context ended.
func (t *trial) run(ctx context.Context) (results.Verdict, error) {
	if _, err := t.folder.CreateTrial(t.planned.Trial); err != nil {
		return t.verdict, err
	}
	t.verdict = results.Verdict{
		Trial: t.planned.Trial, Point: t.planned.Point, Repeat: t.planned.Repeat, Params: t.planned.Params,
		OfferedRPS: float64(t.spec.Workload.Rate), Linearizable: "not_checked", Agreement: "ok",
	}
	defer t.close()
	t.verdict.PredictedNS = t.predict()
	steps := []struct {
		phase string
		do    func(context.Context) error
	}{
		{"building the lab", t.build},
		{"measuring the links", t.probe},
		{"starting the nodes", t.start},
		{"load", t.load},
		{"draining", t.drain},
		{"collecting", t.collect},
	}
	for _, step := range steps {
		t.progress.TrialPhase(step.phase)
		if err := step.do(ctx); err != nil {
			if ctx.Err() != nil {
				return t.verdict, context.Cause(ctx)
			}
			return t.verdict, fmt.Errorf("trial %d: %s: %w", t.planned.Trial, step.phase, err)
		}
	}
	t.verdict.Valid = len(t.verdict.Reasons) == 0
	return t.verdict, nil
}

func (t *trial) void(reasons ...results.VoidReason) {
	t.verdict.Reasons = append(t.verdict.Reasons, reasons...)
}

func (t *trial) build(ctx context.Context) error {
	log, err := os.Create(filepath.Join(t.folder.TrialDir(t.planned.Trial), "lab.log"))
	if err != nil {
		return err
	}
	t.labLog = log // the lab writes to it as long as it lives
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	lab, err := t.engine.Build(ctx, engine.Blueprint{
		Topology: t.topology, Links: t.links, Seed: t.planned.Seed,
		CongestionControl: congestionControl, NodeBinary: t.node, Log: log,
	})
	if err != nil {
		return err
	}
	t.lab = lab
	t.evidence.Executor, _ = lab.Links()
	t.evidence.Reason = t.linksWhy
	return nil
}

// close ends what build began, as far as it came.
func (t *trial) close() {
	if t.lab != nil {
		t.lab.Close()
	}
	if t.labLog != nil {
		t.labLog.Close()
	}
}

func (t *trial) predict() int64 {
	predicted, _ := t.spec.PredictedLatency()
	return int64(predicted)
}

// startProcess runs bench-node on a host, its log in the trial's folder.
func (t *trial) startProcess(ctx context.Context, host, name string, arguments ...string) (*session, error) {
	log, err := os.Create(filepath.Join(t.folder.NodesDir(t.planned.Trial), name+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	process, err := t.lab.Start(ctx, host, engine.Command{Name: name, Arguments: arguments, Log: log})
	if err != nil {
		return nil, fmt.Errorf("starting %s on %s: %w", name, host, err)
	}
	return newSession(process), nil
}

// probe measures the round trips before there is any load.
func (t *trial) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout+probeBudget(t.topology), errors.New("the links were not measured in time"))
	defer cancel()
	echoes, err := startEchoes(ctx, t.topology, t.startProcess)
	if err != nil {
		return err
	}
	t.echoes = echoes
	rtts, err := measureRTTs(ctx, t.topology, echoes, t.planned.Seed)
	if err != nil {
		return err
	}
	t.evidence.RTTs = rtts
	t.void(judgeRTTs(t.topology, rtts)...)
	return nil
}

// probeBudget allows for every host's probes in turn.
func probeBudget(topology *topologies.Topology) time.Duration {
	return probeTries * time.Duration(len(topology.Hosts)) * (2*time.Second + probeCount*probeInterval)
}

// start runs the nodes and waits until they are connected and one leads.
func (t *trial) start(ctx context.Context) error {
	file := filepath.Join(t.folder.NodesDir(t.planned.Trial), "cluster.json")
	data, err := json.MarshalIndent(t.cluster, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, append(data, '\n'), 0o644); err != nil {
		return err
	}
	if file, err = filepath.Abs(file); err != nil {
		return err
	}
	starting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	t.nodes = map[string]*session{}
	for i, node := range t.cluster.Nodes {
		dir := filepath.Join(filepath.Dir(file), node.Name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		s, err := t.startProcess(starting, t.topology.Hosts[i].Name, node.Name, "run", "--cluster", file, "--name", node.Name, "--dir", dir)
		if err != nil {
			return err
		}
		t.nodes[node.Name] = s
		t.order = append(t.order, node.Name)
	}
	for _, name := range t.order {
		if _, err := t.nodes[name].greet(starting); err != nil {
			return fmt.Errorf("%w (its log: %s)", err, filepath.Join(filepath.Dir(file), name+".log"))
		}
	}
	return t.awaitReady(ctx)
}

// awaitReady waits until every node is connected to its peers and one leads.
func (t *trial) awaitReady(ctx context.Context) error {
	began := time.Now()
	for {
		statuses, err := t.statuses(ctx)
		if err != nil {
			return err
		}
		connected, leading := true, false
		missing := ""
		for _, name := range t.order {
			s := statuses[name]
			if s.Connected < s.Peers {
				connected = false
				missing = fmt.Sprintf("%s has %d of %d connections", name, s.Connected, s.Peers)
			}
			leading = leading || s.Leading
		}
		waited := time.Since(began)
		if connected && (leading || waited > leaderTimeout) {
			return nil
		}
		if waited > startTimeout {
			t.void(results.VoidReason{Code: voidUnconnected, Mend: mendReadLog,
				Text: fmt.Sprintf("the nodes were not connected after %v: %s", startTimeout, missing)})
			return nil
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// statuses asks every live node where it stands; one that has ended, or doesn't
// answer, is noted as a reason to void, once.
func (t *trial) statuses(ctx context.Context) (map[string]control.Status, error) {
	statuses := map[string]control.Status{}
	for _, name := range t.order {
		asking, cancel := answering(ctx)
		status, err := t.nodes[name].status(asking)
		cancel()
		switch {
		case err == nil:
			statuses[name] = status
		case errors.Is(err, errEnded):
			t.noteEnded(name)
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		default:
			t.noteOnce(results.VoidReason{Code: voidSilent, Text: err.Error(), Mend: mendReadLog})
		}
	}
	return statuses, nil
}

func (t *trial) noteEnded(name string) {
	t.noteOnce(results.VoidReason{Code: voidEnded, Mend: mendReadLog,
		Text: fmt.Sprintf("%s ended before the trial was over: %s", name, t.nodes[name].howEnded())})
}

// noteOnce voids the trial for a reason that may be met again and again.
func (t *trial) noteOnce(reason results.VoidReason) {
	if !slices.Contains(t.verdict.Reasons, reason) {
		t.void(reason)
	}
}

// sleep waits, or returns the reason why the context ended.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
