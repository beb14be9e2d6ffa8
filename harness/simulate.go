package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"quorumlab/harness/engine"
	"quorumlab/harness/engine/sim"
	"quorumlab/harness/experiment"
	"quorumlab/harness/report"
	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/results"
)

// linksModel is the executor of simulated links: the model itself.
const linksModel = "model"

const (
	// simulatedRequestBytes is about what a request takes in memory while its
	// trial is simulated and its history checked.
	simulatedRequestBytes = 1 << 10
	// simulatedTrialBytes is about what a trial takes apart from its requests.
	simulatedTrialBytes = 64 << 20
	// assumedMemoryBytes is for machines that don't say how much they have.
	assumedMemoryBytes = 4 << 30
)

// modelledCosts are what processes and disks are taken to cost.
func modelledCosts(spec *experiment.Spec) engine.Costs {
	return spec.Simulation.Costs(sim.DefaultCosts())
}

// startSpread is about how long a lab takes to start its processes.
const startSpread = 50 * time.Millisecond

// garbageShare is the collector's goal while trials are simulated: they make much
// garbage and keep little.
const garbageShare = 400

// runSimulations carries out the trials of the plan side by side, one a core as
// far as the memory suffices. The first error ends them all.
func (r *run) runSimulations(ctx context.Context, simulator engine.Simulator) error {
	defer debug.SetGCPercent(debug.SetGCPercent(garbageShare))
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	next := make(chan experiment.Trial)
	var working sync.WaitGroup
	r.progress.TrialsStart(len(r.plan))
	for range r.workers() {
		working.Go(func() {
			for planned := range next {
				if err := r.simulateOne(ctx, simulator, planned); err != nil {
					stop(err)
				}
			}
		})
	}
	for _, planned := range r.plan {
		select {
		case next <- planned:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(next)
	working.Wait()
	return errors.Join(context.Cause(ctx), r.folder.WriteTraceHashes())
}

// workers is how many trials are simulated at once.
func (r *run) workers() int {
	memory := r.folder.Manifest().Machine.MemoryBytes
	if memory <= 0 {
		memory = assumedMemoryBytes
	}
	var largest float64
	for _, point := range r.source.Points {
		load := time.Duration(point.Spec.Phases.Warmup + point.Spec.Phases.Measure)
		largest = max(largest, load.Seconds()*float64(point.Spec.Workload.Rate))
	}
	fit := float64(memory/2) / (simulatedTrialBytes + simulatedRequestBytes*largest)
	return max(1, min(runtime.GOMAXPROCS(0), len(r.plan), int(math.Min(fit, math.MaxInt32))))
}

func (r *run) simulateOne(ctx context.Context, simulator engine.Simulator, planned experiment.Trial) error {
	t := &simulatedTrial{trial: newTrial(r.folder, planned), simulator: simulator, progress: r.progress}
	if err := t.run(ctx); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("trial %d: %w", planned.Number, err)
	}
	if err := r.folder.WriteVerdict(t.verdict); err != nil {
		return err
	}
	r.progress.TrialsDone(planned.Number, describeTrial(planned), verdictLine(t.verdict), t.verdict.Valid)
	return nil
}

// simulatedTrial is one trial in virtual time.
type simulatedTrial struct {
	trial
	simulator engine.Simulator
	progress  report.Progress
}

// run simulates the trial, writes all of it but the verdict, and judges it. Of a
// trial that the context ends nothing remains: it can be made again, bit for bit.
func (t *simulatedTrial) run(ctx context.Context) (err error) {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := t.create(); err != nil {
		return err
	}
	defer func() {
		if err != nil && ctx.Err() != nil {
			_ = os.RemoveAll(t.folder.TrialDir(t.planned.Trial)) // without a verdict it counts for nothing
		}
	}()
	simulated, err := t.simulate(ctx)
	if err != nil {
		return err
	}
	report, err := json.Marshal(simulated.Links)
	if err != nil {
		return err
	}
	err = t.folder.WriteLinks(t.planned.Trial, results.Links{
		Executor: linksModel, Reason: t.folder.Manifest().LinksReason, RTTs: []results.RTT{}, Report: report,
	})
	if err != nil {
		return err
	}
	t.conclude(simulated)
	if err := t.noteFaults(int64(simulated.LoadStart), simulated.Faults); err != nil {
		return err
	}
	settings := control.Sockets{CongestionControl: congestionControl, SlowStartAfterIdle: true} // as package tcp does
	if err := t.noteTransport(settings, simulated.Sockets, simulated.Links, simulated.Statuses); err != nil {
		return err
	}
	return t.judge(ctx, simulated.Statuses)
}

// simulate records requests and events as they come.
func (t *simulatedTrial) simulate(ctx context.Context) (simulated *engine.Simulated, err error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	recorder := &recorder{stop: stop, limit: t.spec.Stop.Requests}
	err = t.folder.WriteRequests(t.planned.Trial, func(rows *results.RowWriter) error {
		return t.folder.WriteEvents(t.planned.Trial, func(events io.Writer) error {
			recorder.rows, recorder.events = rows, json.NewEncoder(events)
			var err error
			simulated, err = t.simulator.Simulate(ctx, t.simulation(recorder))
			return err
		})
	})
	if err == nil && recorder.err != nil {
		err = recorder.err
	}
	if err != nil {
		return nil, err
	}
	t.measured(simulated, recorder)
	return simulated, nil
}

// simulation is the trial in the simulator's terms.
func (t *simulatedTrial) simulation(recorder *recorder) engine.Simulation {
	loads := map[string]control.Load{}
	for i, load := range t.loads(0) {
		loads[t.clients()[i]] = load
	}
	total := t.loadTime()
	return engine.Simulation{
		Cluster: t.cluster, Topology: t.topology, Hosts: t.hosts, Loads: loads,
		Seed: t.planned.Seed, Transport: t.spec.System.Transport, Costs: modelledCosts(t.spec),
		LeaderTimeout: t.leaderTimeout(), Lead: loadLead, StartSpread: startSpread, Drain: time.Duration(t.spec.Phases.Drain),
		Stop: t.spec.Stop.Conditions(), Faults: t.schedule,
		Row: recorder.row, Event: recorder.event,
		Live: func(elapsed time.Duration, _ control.Progress) {
			t.progress.TrialsLive(t.planned.Trial, elapsed, total)
		},
	}
}

// leaderTimeout is how long the load waits for a leader; where that ends the
// trial, it may take as long as the load would have.
func (t *simulatedTrial) leaderTimeout() time.Duration {
	if t.spec.Stop.Leader {
		return t.loadTime()
	}
	return leaderTimeout
}

// measured notes which requests count, or when exactly one process led.
func (t *simulatedTrial) measured(simulated *engine.Simulated, recorder *recorder) {
	if t.spec.Stop.Leader {
		if after := int64(simulated.LedAfter); after >= 0 {
			t.verdict.LedAfterNS = &after
			return
		}
		t.void(results.VoidReason{Code: voidNoLeader, Mend: mendLookAtEvents, Text: fmt.Sprintf(
			"no process led within %v", t.loadTime())})
		return
	}
	t.measureFrom(int64(simulated.LoadStart))
	switch last := recorder.limitNS; {
	case last == 0 || last >= t.verdict.MeasureEndNS:
	case last <= t.verdict.MeasureStartNS:
		t.void(results.VoidReason{Code: voidStopped, Mend: mendStopLater, Text: fmt.Sprintf(
			"%d requests were answered before the measured phase began", recorder.limit)})
		t.verdict.MeasureStartNS, t.verdict.MeasureEndNS = 0, 0
	default:
		// The last answer doesn't count: it is there because the phase ends with it,
		// and would make few requests look like more a second.
		t.verdict.MeasureEndNS = last
	}
}

// conclude notes what the simulation tells of itself.
func (t *simulatedTrial) conclude(simulated *engine.Simulated) {
	t.verdict.TraceHash = fmt.Sprintf("%016x", simulated.TraceHash)
	t.verdict.Simulation = &results.Simulation{
		Events: simulated.Events, ElapsedNS: int64(simulated.Elapsed), CPUNS: map[string]int64{},
	}
	for name, busy := range simulated.CPU {
		t.verdict.Simulation.CPUNS[name] = int64(busy)
	}
	if t.spec.Stop.Leader {
		return
	}
	if !simulated.Finished {
		t.unfinished("clients still awaited answers when the simulation ended")
	}
	if !simulated.Drained {
		t.undrained(simulated.Statuses)
	}
}

// recorder writes what a simulation reports. After its first error it ends the
// simulation.
type recorder struct {
	rows   *results.RowWriter
	events *json.Encoder
	stop   context.CancelCauseFunc
	err    error
	// limitNS is when the limit-th request was answered, if one is set.
	limit, answered uint64
	limitNS         int64
}

func (r *recorder) row(row results.Row) {
	if row.Outcome != results.OutcomeTimeout {
		if r.answered++; r.answered == r.limit {
			r.limitNS = row.DoneNS
		}
	}
	r.failed(r.rows.Write(row))
}

func (r *recorder) event(at consensus.Time, node string, event consensus.Event) {
	r.failed(r.events.Encode(eventLine{TimeNS: int64(at), Node: node, Event: event}))
}

func (r *recorder) failed(err error) {
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("recording the simulation: %w", err)
		r.stop(r.err)
	}
}
