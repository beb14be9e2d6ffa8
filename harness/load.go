package harness

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"quorumlab/node/control"
	"quorumlab/node/driver/clock"
	"quorumlab/results"
)

// load lets the clients work, breaks what is to break, and shows how they fare.
func (t *labTrial) load(ctx context.Context) error {
	clients := t.clients()
	if t.breaker != nil {
		if err := t.breaker.arm(ctx); err != nil {
			return err
		}
	}
	start := clock.Now().Add(loadLead)
	t.measureFrom(int64(start))
	if t.breaker != nil {
		if err := t.breaker.begin(ctx, int64(start)); err != nil {
			return err
		}
	}
	if err := t.order(ctx, clients, t.loads(int64(start))); err != nil {
		return err
	}
	duration := t.loadTime()
	before, _ := readProcessorTime() // the zero time if it is unknown
	limit, cancel := context.WithTimeout(ctx, loadLead+duration+time.Duration(t.spec.Workload.Timeout)+10*time.Second)
	defer cancel()
	board := &scoreboard{clients: make([]control.Progress, len(clients)), began: time.Now().Add(loadLead), total: duration, show: t.progress.TrialLive}
	var waiting sync.WaitGroup
	unfinished := make([]string, len(clients))
	for i, name := range clients {
		waiting.Go(func() { unfinished[i] = t.follow(limit, i, name, board) })
	}
	var healing error
	if t.breaker != nil {
		waiting.Go(func() { healing = t.breaker.end(ctx) })
	}
	waiting.Wait()
	t.verdict.Machine = loadSince(before)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for _, text := range unfinished {
		if text != "" {
			t.unfinished(text)
		}
	}
	if t.breaker == nil || healing != nil {
		return healing
	}
	t.breaker.close()
	for _, name := range t.breaker.deaf() {
		t.void(results.VoidReason{Code: voidControl, Mend: mendBusy, Text: name + " reported events faster than they were taken"})
	}
	return t.noteFaults(int64(start), t.breaker.records())
}

// order gives the clients their loads, in terms of their hosts' clocks.
func (t *labTrial) order(ctx context.Context, clients []string, loads []control.Load) error {
	for i, name := range clients {
		offset, _, err := t.lab.ClockOffset(ctx, t.hosts[name])
		if err != nil {
			return err
		}
		load := loads[i]
		load.StartNS += int64(offset)
		s := t.members.live(name)
		ordering, cancel := answering(ctx)
		_, err = s.call(ordering, control.Command{Command: control.CommandLoad, Load: &load})
		cancel()
		if errors.Is(err, errEnded) {
			t.noteEnded(name, s)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// follow reads one client's events until its load is done; it returns what
// went wrong, or nothing.
func (t *labTrial) follow(ctx context.Context, i int, name string, board *scoreboard) string {
	s := t.members.live(name)
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
