package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"quorumlab/harness/calibrate"
	"quorumlab/harness/engine"
	"quorumlab/harness/report"
	"quorumlab/node/control"
	"quorumlab/node/driver/clock"
	"quorumlab/results"
	"quorumlab/topologies"
)

const (
	// startTimeout bounds each step of getting a lab ready: processes started,
	// connections made, a leader found.
	startTimeout = 20 * time.Second
	// answerTimeout is how long a process may take to answer a command.
	answerTimeout = 5 * time.Second
	// stopTimeout is how long processes may take to end when asked to.
	stopTimeout = 3 * time.Second
)

// streamsDir is where the echo processes of a trial write what they measure, until it
// is judged.
const streamsDir = "streams"

// capturesDir has a file for each captured link, in a trial's folder.
const capturesDir = "captures"

// starter starts bench-node on a host.
type starter func(ctx context.Context, host, name string, arguments ...string) (*session, error)

// answering bounds the wait for an answer.
func answering(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, answerTimeout, fmt.Errorf("no answer for %v", answerTimeout))
}

// labTrial is one run of a lab.
type labTrial struct {
	trial
	engine   engine.Builder
	links    string
	linksWhy string
	node     string
	progress report.Progress

	lab engine.Lab
	// network is the topology with monitors; it started within startedNS.
	network   *topologies.Topology
	startedNS [2]int64
	// before is what the links had done by beforeAt, when they were measured.
	before   engine.LinkReport
	beforeAt time.Time
	door     door
	labLog   *os.File
	echoes   map[string]*session
	members  members
	// breaker is nil if nothing is to break.
	breaker  *breaker
	statuses map[string]control.Status
	evidence results.Links
}

// run carries out the trial and writes all of it but the verdict, which it
// returns. An error means that there is no verdict: the tool failed, or the
// context ended.
func (t *labTrial) run(ctx context.Context) (results.Verdict, error) {
	if err := t.create(); err != nil {
		return t.verdict, err
	}
	t.breaker = newBreaker(t)
	defer t.close()
	steps := []struct {
		phase string
		do    func(context.Context) error
	}{
		{"building the lab", t.build},
		{"measuring the links", t.probe},
		{"capturing", t.capture},
		{"starting the nodes", t.start},
		{"load", t.load},
		{"draining", t.drain},
		{"collecting", t.collect},
		{"checking", func(ctx context.Context) error { return t.judge(ctx, t.statuses) }},
		{"tidying up", t.tidy},
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
	return t.verdict, nil
}

func (t *labTrial) build(ctx context.Context) error {
	log, err := os.Create(filepath.Join(t.folder.TrialDir(t.planned.Trial), "lab.log"))
	if err != nil {
		return err
	}
	t.labLog = log // the lab writes to it as long as it lives
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	t.network = monitored(t.topology, t.engine.MaxHosts())
	t.startedNS[0] = int64(clock.Now())
	lab, err := t.engine.Build(ctx, engine.Blueprint{
		Topology: t.network, Links: t.links, Seed: t.planned.Seed,
		CongestionControl: congestionControl, NodeBinary: t.node, Log: log,
		// A capture shall show the segments that a real link carries.
		Changing: len(t.spec.Captured()) > 0 || framesBreak(t.schedule, t.topology),
	})
	if err != nil {
		return err
	}
	t.lab = lab
	t.startedNS[1] = int64(clock.Now())
	t.evidence.Executor, _ = lab.Links()
	t.evidence.Reason = t.linksWhy
	t.openDoor()
	return nil
}

// close ends what build began, as far as it came.
func (t *labTrial) close() {
	t.breaker.close()
	if t.lab != nil {
		t.closeDoor()
		t.lab.Close()
	}
	if t.labLog != nil {
		t.labLog.Close()
	}
}

// startProcess runs bench-node on a host, its log in the trial's folder.
func (t *labTrial) startProcess(ctx context.Context, host, name string, arguments ...string) (*session, error) {
	log, err := os.OpenFile(filepath.Join(t.nodesDir(), name+".log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
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

// probe measures the links before there is any load.
func (t *labTrial) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout+probeBudget(t.topology), errNotMeasured)
	defer cancel()
	dir, err := t.streams()
	if err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	manned, err := t.manned()
	if err != nil {
		return err
	}
	if t.echoes, err = startEchoes(ctx, manned, dir, t.startProcess); err != nil {
		return err
	}
	pairs, err := measureRTTs(ctx, t.topology, t.echoes, t.planned.Seed)
	if err != nil {
		return err
	}
	for _, pair := range pairs {
		t.evidence.RTTs = append(t.evidence.RTTs, pair.RTT)
	}
	t.void(judgeRTTs(pairs)...)
	if err := t.calibrate(ctx, dir); err != nil {
		return err
	}
	return t.mark(ctx)
}

// shortForm is what each trial's links are measured by.
var shortForm = calibrate.Options{
	Short: true, Budget: calibrate.ShortBudget, FalseAlarm: calibrate.ShortFalseAlarm, Tries: calibrate.Tries,
}

// manned is the network without the monitors that measure nothing: a file's topology may
// have hundreds of switches, and each process takes its time.
func (t *labTrial) manned() (*topologies.Topology, error) {
	stations, err := calibrate.Stations(calibrate.Lab{Topology: t.network, Seed: t.planned.Seed}, shortForm)
	if err != nil {
		return nil, err
	}
	manned := *t.network
	manned.Hosts = slices.DeleteFunc(slices.Clone(manned.Hosts), func(h topologies.Host) bool {
		return h.Monitor && !stations[h.Name]
	})
	return &manned, nil
}

// calibrate measures what round trips can't tell: each link by itself.
func (t *labTrial) calibrate(ctx context.Context, dir string) (err error) {
	t.evidence.Calibration, err = calibrate.Measure(ctx, calibrate.Lab{
		Topology: t.network, Echoes: callers(t.echoes), Dir: dir, Seed: t.planned.Seed, StartedNS: t.startedNS, ClockOffset: t.lab.ClockOffset, Load: loadOf(t.lab),
	}, shortForm)
	if err != nil {
		return err
	}
	t.void(judgeCalibration(t.evidence.Calibration)...)
	return nil // the rows have been read
}

// streams is the folder of the rows that echo processes write.
func (t *labTrial) streams() (string, error) {
	return filepath.Abs(filepath.Join(t.folder.TrialDir(t.planned.Trial), streamsDir))
}

// mark notes what the links have done before the load, which isn't the load's.
func (t *labTrial) mark(ctx context.Context) (err error) {
	reporting, cancel := answering(ctx)
	defer cancel()
	t.before, err = t.lab.Report(reporting)
	t.beforeAt = time.Now()
	return err
}

// capture has the frames of the links that the experiment names written down from now on.
func (t *labTrial) capture(ctx context.Context) error {
	links := t.spec.Captured()
	if len(links) == 0 {
		return nil
	}
	dir := filepath.Join(t.folder.TrialDir(t.planned.Trial), capturesDir)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	t.verdict.Captured, t.evidence.Captured = true, links
	for _, link := range links {
		file, err := os.Create(filepath.Join(dir, url.PathEscape(link)+".pcapng"))
		if err != nil {
			return err
		}
		starting, cancel := answering(ctx)
		err = errors.Join(t.lab.Capture(starting, link, file), file.Close())
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

// endCaptures makes the files whole.
func (t *labTrial) endCaptures(ctx context.Context) error {
	for _, link := range t.evidence.Captured {
		ending, cancel := answering(ctx)
		err := t.lab.EndCapture(ending, link)
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

// probeBudget allows for every host's probes in turn.
func probeBudget(topology *topologies.Topology) time.Duration {
	return probeTries * time.Duration(len(topology.Hosts)) * (2*time.Second + probeCount*probeInterval)
}

// drain waits until the live replicas have reached one slot.
func (t *labTrial) drain(ctx context.Context) error {
	limit := time.Duration(t.spec.Phases.Drain)
	began := time.Now()
	for {
		var err error
		if t.statuses, err = t.askStatuses(ctx); err != nil {
			return err
		}
		if least, most := slotRange(t.statuses); least == most {
			return nil
		}
		if time.Since(began) > limit {
			t.undrained(t.statuses)
			return nil
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// collect ends the processes and gathers what they and the links recorded.
func (t *labTrial) collect(ctx context.Context) error {
	reporting, cancel := answering(ctx)
	defer cancel()
	linkReport, err := t.lab.Report(reporting)
	if err != nil {
		return err
	}
	linkReport = linksSince(linkReport, t.before)
	t.evidence.CaptureMissed = captureMissed(linkReport)
	if err := t.endCaptures(ctx); err != nil {
		return err
	}
	if t.verdict.Machine != nil {
		t.void(judgeMachine(*t.verdict.Machine)...)
	}
	t.void(judgeLinks(linkReport, meanPathDelay(t.evidence.RTTs), time.Since(t.beforeAt))...)
	if t.evidence.Report, err = json.Marshal(linkReport); err != nil {
		return err
	}
	if err := t.folder.WriteLinks(t.planned.Trial, t.evidence); err != nil {
		return err
	}
	settings, connections, err := t.askSockets(ctx)
	if err != nil {
		return err
	}
	if err := t.noteTransport(settings, connections, linkReport, t.statuses); err != nil {
		return err
	}
	t.stop()
	t.closeDoor()
	t.void(t.door.judge()...)
	if err := t.lab.Close(); err != nil {
		return err
	}
	var requests, events []string
	for _, node := range t.cluster.Nodes {
		requests = append(requests, existing(filepath.Join(t.nodesDir(), node.Name, requestsFile))...)
		events = append(events, t.eventFiles(node.Name)...)
	}
	counts, err := t.folder.CollectRequests(t.planned.Trial, requests)
	if err != nil {
		return err
	}
	if counts.Torn > 0 {
		t.unfinished(fmt.Sprintf("%d clients' records end in the middle of a line", counts.Torn))
	}
	if _, err := t.folder.CollectEvents(t.planned.Trial, events); err != nil {
		return err
	}
	for _, file := range append(requests, events...) {
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	return nil
}

// tidy removes the nodes' storage, unless somebody will want to look at it, and what the
// echo processes have left.
func (t *labTrial) tidy(context.Context) error {
	streams, err := t.streams()
	if err == nil {
		err = os.RemoveAll(streams)
	}
	if err != nil {
		return err
	}
	for _, node := range t.cluster.Nodes {
		dir := filepath.Join(t.nodesDir(), node.Name)
		if t.verdict.Valid {
			if err := os.RemoveAll(filepath.Join(dir, storageDir)); err != nil {
				return err
			}
		}
		_ = os.Remove(filepath.Join(dir, injectionFile))
		_ = os.Remove(dir) // only if nothing is left in it
	}
	return nil
}

func existing(path string) []string {
	if _, err := os.Stat(path); err != nil {
		return nil
	}
	return []string{path}
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
