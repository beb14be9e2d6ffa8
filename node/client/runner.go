package client

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/node/driver/clock"
	"quorumlab/node/driver/logfile"
	"quorumlab/results"
)

const (
	// progressInterval separates progress events.
	progressInterval = 500 * time.Millisecond
	// maxPause bounds how late the runner notices that the load is over.
	maxPause = 50 * time.Millisecond
	// minPause separates bursts: what falls due meanwhile is sent together, so
	// that a high rate doesn't cost a system call a request.
	minPause = 50 * time.Microsecond
)

// ErrLoaded is returned for a second load: a client's sequence numbers begin
// once.
var ErrLoaded = errors.New("the client was given a load before")

// Sender sends messages, at Flush at the latest.
type Sender interface {
	Send(to consensus.NodeID, message consensus.Message)
	Flush()
}

// RunnerConfig is what a Runner needs.
type RunnerConfig struct {
	// Config's Load and Record are the runner's to fill in.
	Config
	// Sender is used by the runner's own goroutine only.
	Sender Sender
	// Requests is the file that the rows go to.
	Requests *logfile.File
	// Report takes the client's events for the control channel.
	Report func(event string, progress control.Progress)
}

// Runner drives a Machine in real time. Requests are sent by a thread of its
// own, which sleeps until the very instant that the next one is due; responses
// step the machine in the goroutine that received them. A driver.Transport
// delivers to it.
type Runner struct {
	config RunnerConfig
	rows   *results.RowWriter
	stop   chan struct{}
	group  sync.WaitGroup

	mu      sync.Mutex
	machine *Machine
	// received is the outbox of Deliver's steps, which send nothing.
	received consensus.Outbox
}

// NewRunner makes a client that waits for its load.
func NewRunner(config RunnerConfig) *Runner {
	r := &Runner{config: config, rows: results.NewRowWriter(config.Requests), stop: make(chan struct{})}
	r.config.Record = func(row results.Row) { r.record(row) }
	return r
}

// Load begins a load and returns at once. The error is ErrLoaded, or says what
// is wrong with the load.
func (r *Runner) Load(load control.Load) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.machine != nil {
		return ErrLoaded
	}
	config := r.config.Config
	config.Load = load
	machine, err := New(config)
	if err != nil {
		return err
	}
	if err := r.rows.Flush(); err != nil { // the header
		return fmt.Errorf("writing requests: %w", err)
	}
	pacing := make(chan error, 1)
	r.group.Go(func() { r.run(pacing) })
	if err := <-pacing; err != nil {
		return err
	}
	r.machine = machine
	return nil
}

// Deliver steps the machine with responses, all received now.
func (r *Runner) Deliver(inputs []consensus.Input) {
	now := clock.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.machine == nil {
		return
	}
	for i := range inputs {
		r.machine.Step(now, inputs[i], &r.received)
	}
	r.received.Reset()
}

// Status counts what was sent, answered and timed out so far.
func (r *Runner) Status() consensus.Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.machine == nil {
		return consensus.Status{}
	}
	return r.machine.Status()
}

// Close stops sending.
func (r *Runner) Close() {
	close(r.stop)
	r.group.Wait()
}

// record writes one row, whole, so that no half of a line reaches the file.
func (r *Runner) record(row results.Row) {
	// The rows go to memory; the file reports its errors itself.
	_ = r.rows.Write(row)
	_ = r.rows.Flush()
}

// run sends requests when they are due, until all are answered or given up.
func (r *Runner) run(pacing chan<- error) {
	pacer, err := clock.NewPacer()
	pacing <- err
	if err != nil {
		return
	}
	defer pacer.Close()
	var out consensus.Outbox
	input := consensus.Input{Kind: consensus.InputStart}
	report := clock.Now().Add(progressInterval)
	for {
		now := clock.Now()
		progress, done := r.step(now, input, &out, now >= report)
		for _, m := range out.Messages {
			r.config.Sender.Send(m.To, m.Message)
		}
		r.config.Sender.Flush()
		if done {
			break
		}
		if now >= report {
			r.config.Report(control.EventProgress, progress)
			report = now.Add(progressInterval)
		}
		next := min(now.Add(maxPause), report)
		for _, change := range out.Timers {
			next = min(next, now.Add(change.After))
		}
		out.Reset()
		pacer.SleepUntil(max(next, clock.Now().Add(minPause)))
		select {
		case <-r.stop:
			return
		default:
		}
		input = consensus.Input{Kind: consensus.InputTimer, Timer: wake}
	}
	// An error of writing ends the node elsewhere.
	_ = r.config.Requests.Flush()
	r.mu.Lock()
	progress := r.machine.Progress()
	r.mu.Unlock()
	r.config.Report(control.EventLoadDone, progress)
}

// step steps the machine and says how far it has come, if asked to.
func (r *Runner) step(now consensus.Time, input consensus.Input, out *consensus.Outbox, report bool) (control.Progress, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.machine.Step(now, input, out)
	var progress control.Progress
	if report {
		progress = r.machine.Progress()
	}
	return progress, r.machine.Done()
}
