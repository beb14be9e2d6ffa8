package harness

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"quorumlab/node/control"
	"quorumlab/results"
)

// load lets the clients work and shows how they fare.
func (t *trial) load(ctx context.Context) error {
	clients := t.clients()
	duration := time.Duration(t.spec.Phases.Warmup + t.spec.Phases.Measure)
	timeout := time.Duration(t.spec.Workload.Timeout)
	start, err := monotonic()
	if err != nil {
		return err
	}
	start += int64(loadLead)
	t.verdict.MeasureStartNS = start + int64(t.spec.Phases.Warmup)
	t.verdict.MeasureEndNS = start + int64(duration)
	for i, name := range clients {
		offset, _, err := t.lab.ClockOffset(ctx, t.hostOf(name))
		if err != nil {
			return err
		}
		load := t.loadOf(i, len(clients))
		load.StartNS = start + int64(offset)
		if load.Arrivals == "fixed" { // not all clients at the same instants
			load.StartNS += int64(float64(i) / float64(t.spec.Workload.Rate) * 1e9)
		}
		ordering, cancel := answering(ctx)
		_, err = t.nodes[name].call(ordering, control.Command{Command: control.CommandLoad, Load: &load})
		cancel()
		if errors.Is(err, errEnded) {
			t.noteEnded(name)
		} else if err != nil {
			return err
		}
	}
	limit, cancel := context.WithTimeout(ctx, loadLead+duration+timeout+10*time.Second)
	defer cancel()
	board := &scoreboard{clients: make([]control.Progress, len(clients)), began: time.Now().Add(loadLead), total: duration, show: t.progress.TrialLive}
	var waiting sync.WaitGroup
	unfinished := make([]string, len(clients))
	for i, name := range clients {
		waiting.Go(func() { unfinished[i] = t.follow(limit, i, name, board) })
	}
	waiting.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for _, text := range unfinished {
		if text != "" {
			t.void(results.VoidReason{Code: voidUnfinished, Text: text, Mend: mendReadLog})
		}
	}
	return nil
}

// loadOf is the i-th client's share of the workload.
func (t *trial) loadOf(i, clients int) control.Load {
	w := t.spec.Workload
	return control.Load{
		DurationNS: int64(t.spec.Phases.Warmup + t.spec.Phases.Measure),
		TimeoutNS:  int64(w.Timeout),
		RateRPS:    float64(w.Rate) / float64(clients),
		Arrivals:   w.Arrivals, Mix: w.Mix, Keys: w.Keys, ValueBytes: int(w.ValueSize),
		Seed: t.planned.Seed + uint64(i),
	}
}

// follow reads one client's events until its load is done; it returns what
// went wrong, or nothing.
func (t *trial) follow(ctx context.Context, i int, name string, board *scoreboard) string {
	s := t.nodes[name]
	for {
		select {
		case line, open := <-s.events:
			if !open {
				return fmt.Sprintf("%s ended before its load was done", name)
			}
			if line.Progress != nil {
				board.update(i, *line.Progress)
			}
			if line.Event == control.EventLoadDone {
				return ""
			}
		case <-ctx.Done():
			return fmt.Sprintf("%s did not finish its load in time", name)
		}
	}
}

func (t *trial) clients() []string {
	var names []string
	for _, node := range t.cluster.Nodes {
		if node.Has("client") {
			names = append(names, node.Name)
		}
	}
	return names
}

// hostOf is the host that a node runs on: one node a host, in order.
func (t *trial) hostOf(name string) string {
	for i, node := range t.cluster.Nodes {
		if node.Name == name {
			return t.topology.Hosts[i].Name
		}
	}
	panic("harness: no host for the node " + name)
}

// scoreboard sums what the clients report.
type scoreboard struct {
	mu      sync.Mutex
	clients []control.Progress
	began   time.Time
	total   time.Duration
	show    func(elapsed, total time.Duration, answeredRPS float64, meanLatency time.Duration)
	last    uint64
	lastAt  time.Time
}

func (b *scoreboard) update(i int, progress control.Progress) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.clients[i] = progress
	now := time.Now()
	if !b.lastAt.IsZero() && now.Sub(b.lastAt) < 250*time.Millisecond {
		return
	}
	var answered uint64
	var latency, reporting int64
	for _, p := range b.clients {
		answered += p.Answered
		if p.MeanLatencyNS > 0 {
			latency += p.MeanLatencyNS
			reporting++
		}
	}
	rate := 0.0
	if !b.lastAt.IsZero() && answered >= b.last {
		rate = float64(answered-b.last) / now.Sub(b.lastAt).Seconds()
	}
	b.last, b.lastAt = answered, now
	b.show(min(now.Sub(b.began), b.total), b.total, rate, time.Duration(latency/max(reporting, 1)))
}

// monotonic reads CLOCK_MONOTONIC, which all processes of this machine share.
func monotonic() (int64, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0, fmt.Errorf("reading CLOCK_MONOTONIC: %w", err)
	}
	return ts.Nano(), nil
}
