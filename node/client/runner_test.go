package client

import (
	"path/filepath"
	"sync"
	"testing"
	"time"

	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/node/driver/clock"
	"quorumlab/node/driver/logfile"
	"quorumlab/node/kv"
	"quorumlab/results"
)

// answering is a Sender that answers requests at once, from another goroutine,
// except every tenth.
type answering struct {
	target  consensus.NodeID
	replies chan consensus.Input
	pending []consensus.Input
	stopped sync.WaitGroup
}

func (a *answering) Send(to consensus.NodeID, message consensus.Message) {
	command := message.(consensus.Request).Command
	if to != a.target || command.Sequence%10 == 0 {
		return
	}
	a.pending = append(a.pending, consensus.Input{Kind: consensus.InputMessage, From: to, Message: consensus.Response{
		Client: command.Client, Sequence: command.Sequence,
		Result: kv.AppendResult(nil, kv.Result{Status: kv.Success}),
	}})
}

func (a *answering) Flush() {
	for _, input := range a.pending {
		a.replies <- input
	}
	a.pending = nil
}

func TestARunnerSendsWhatIsDueAndWritesEveryRequest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "requests.csv")
	file, err := logfile.Create(path, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	sender := &answering{target: 2, replies: make(chan consensus.Input, 1000)}
	done := make(chan control.Progress, 1)
	runner := NewRunner(RunnerConfig{
		Config: Config{Self: 7, Name: "client1", Targets: []consensus.NodeID{2, 3}},
		Sender: sender, Requests: file,
		Report: func(event string, progress control.Progress) {
			if event == control.EventLoadDone {
				done <- progress
			}
		},
	})
	sender.stopped.Go(func() {
		for input := range sender.replies {
			runner.Deliver([]consensus.Input{input, input}) // duplicates don't count
		}
	})
	order := load(func(l *control.Load) {
		l.StartNS = int64(clock.Now()) + int64(10*time.Millisecond)
		l.DurationNS, l.TimeoutNS, l.RateRPS = int64(200*time.Millisecond), int64(100*time.Millisecond), 1000
	})
	if err := runner.Load(order); err != nil {
		t.Fatal(err)
	}
	if err := runner.Load(order); err != ErrLoaded {
		t.Errorf("a second load: %v", err)
	}
	progress := <-done
	// Everything is on disk by now.
	rows := readRows(t, path)
	runner.Close()
	close(sender.replies)
	sender.stopped.Wait()
	if progress.Sent != 200 || progress.Answered != 180 || progress.TimedOut != 20 || len(rows) != 200 {
		t.Errorf("%+v with %d rows, want 180 of 200 answered", progress, len(rows))
	}
	for sequence, row := range rows {
		intended := order.StartNS + int64(sequence-1)*int64(time.Millisecond)
		timeout := sequence%10 == 0
		switch {
		case row.IntendedNS != intended || row.SentNS < intended:
			t.Errorf("%d was intended at %d, sent at %d, want %d", sequence, row.IntendedNS, row.SentNS, intended)
		case timeout && (row.Outcome != results.OutcomeTimeout || row.DoneNS != 0):
			t.Errorf("%d: %+v, want a timeout", sequence, row)
		case !timeout && (row.Outcome != results.OutcomeOK || row.DoneNS < row.SentNS):
			t.Errorf("%d: %+v, want an answer after it was sent", sequence, row)
		}
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}

func readRows(t *testing.T, path string) map[uint64]results.Row {
	t.Helper()
	reader, err := results.OpenRows(path)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	rows := map[uint64]results.Row{}
	for row, err := range reader.All() {
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := rows[row.Sequence]; twice {
			t.Errorf("two rows of request %d", row.Sequence)
		}
		rows[row.Sequence] = row
	}
	return rows
}

func TestARunnerRefusesABadLoadAndTakesAGoodOneAfterwards(t *testing.T) {
	file, err := logfile.Create(filepath.Join(t.TempDir(), "requests.csv"), func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	runner := NewRunner(RunnerConfig{Config: Config{Self: 7, Name: "c"}, Sender: &answering{}, Requests: file,
		Report: func(string, control.Progress) {}})
	if err := runner.Load(load(func(l *control.Load) { l.Arrivals = "never" })); err == nil {
		t.Error("arrivals never were accepted")
	}
	if err := runner.Load(load(func(l *control.Load) { l.StartNS = int64(clock.Now()) + int64(time.Hour) })); err != nil {
		t.Errorf("a good load: %v", err)
	}
	runner.Close() // long before the load begins
}
