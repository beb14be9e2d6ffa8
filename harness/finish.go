package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"quorumlab/node/control"
	"quorumlab/results"
)

// drain waits until the live replicas have reached one slot, then compares
// their states.
func (t *trial) drain(ctx context.Context) error {
	limit := time.Duration(t.spec.Phases.Drain)
	began := time.Now()
	for {
		statuses, err := t.statuses(ctx)
		if err != nil {
			return err
		}
		least, most := slotRange(statuses)
		if least == most {
			t.compareStates(statuses)
			t.note(statuses)
			return nil
		}
		if time.Since(began) > limit {
			t.void(results.VoidReason{Code: voidDrain, Mend: mendRaiseDrain, Text: fmt.Sprintf(
				"%v after the load the replicas still stood at different slots, %d to %d", limit, least, most)})
			t.note(statuses)
			return nil
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

func slotRange(statuses map[string]control.Status) (least, most uint64) {
	first := true
	for _, s := range statuses {
		if !s.Learner {
			continue
		}
		if first {
			least, most, first = s.Slot, s.Slot, false
		}
		least, most = min(least, s.Slot), max(most, s.Slot)
	}
	return least, most
}

// compareStates holds the replicas' state hashes against each other.
func (t *trial) compareStates(statuses map[string]control.Status) {
	hashes := map[string][]string{}
	for _, name := range t.order {
		if s, alive := statuses[name]; alive && s.Learner {
			hashes[s.StateHash] = append(hashes[s.StateHash], name)
		}
	}
	if len(hashes) > 1 {
		t.verdict.Agreement = "violation"
		t.void(results.VoidReason{Code: voidAgreement, Mend: mendReport, Text: fmt.Sprintf(
			"replicas that have applied the same slots are in %d different states", len(hashes))})
	}
}

// note sums the nodes' counters and judges their control channels.
func (t *trial) note(statuses map[string]control.Status) {
	counters := map[string]uint64{}
	for _, name := range t.order {
		s, alive := statuses[name]
		if !alive {
			continue
		}
		for counter, n := range s.Counters {
			counters[counter] += n
		}
		counters["dropped_messages"] += s.DroppedMessages
		counters["bad_frames"] += s.BadFrames
		if s.Learner {
			counters["decided"] = max(counters["decided"], s.Slot)
		}
		if s.DroppedLines > 0 {
			t.void(results.VoidReason{Code: voidControl, Mend: mendBusy, Text: fmt.Sprintf(
				"%s lost %d lines of its control channel", name, s.DroppedLines)})
		}
	}
	t.verdict.Counters = counters
}

// collect ends the processes and gathers what they and the links recorded.
func (t *trial) collect(ctx context.Context) error {
	reporting, cancel := answering(ctx)
	defer cancel()
	linkReport, err := t.lab.Report(reporting)
	if err != nil {
		return err
	}
	t.void(judgeLinks(linkReport, meanPathDelay(t.evidence.RTTs))...)
	if t.evidence.Report, err = json.Marshal(linkReport); err != nil {
		return err
	}
	if err := t.folder.WriteLinks(t.planned.Trial, t.evidence); err != nil {
		return err
	}
	t.stop()
	if err := t.lab.Close(); err != nil {
		return err
	}
	var requests, events []string
	nodes := t.folder.NodesDir(t.planned.Trial)
	for _, name := range t.order {
		events = append(events, existing(filepath.Join(nodes, name, "events.jsonl"))...)
		requests = append(requests, existing(filepath.Join(nodes, name, "requests.csv"))...)
	}
	counts, err := t.folder.CollectRequests(t.planned.Trial, requests)
	if err != nil {
		return err
	}
	if counts.Torn > 0 {
		t.void(results.VoidReason{Code: voidUnfinished, Mend: mendReadLog, Text: fmt.Sprintf(
			"%d clients' records end in the middle of a line", counts.Torn)})
	}
	if _, err := t.folder.CollectEvents(t.planned.Trial, events); err != nil {
		return err
	}
	for _, file := range append(requests, events...) {
		if err := os.Remove(file); err != nil {
			return err
		}
		os.Remove(filepath.Dir(file)) // only if nothing else is in it
	}
	return t.judgeRequests()
}

// stop asks every process to end and notes how it did.
func (t *trial) stop() {
	all := map[string]*session{}
	for name, s := range t.nodes {
		all[name] = s
	}
	for host, s := range t.echoes {
		all["echo-"+host] = s
	}
	for _, s := range all {
		s.process.Stdin().Close()
	}
	patience, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	for name, s := range all {
		select {
		case <-s.process.Done():
		case <-patience.Done():
			select {
			case <-s.process.Done():
			default:
				continue // Close ends it
			}
		}
		data, err := json.MarshalIndent(s.process.Exit(), "", "  ")
		if err == nil && !strings.HasPrefix(name, "echo-") {
			// A missing exit status is no reason to lose a trial.
			_ = os.WriteFile(filepath.Join(t.folder.NodesDir(t.planned.Trial), name+".exit.json"), append(data, '\n'), 0o644)
		}
	}
}

// judgeRequests looks through the recorded requests for what would make the
// trial meaningless.
func (t *trial) judgeRequests() error {
	var counted, answered, late int
	for row, err := range t.folder.Requests(t.planned.Trial) {
		if err != nil {
			return err
		}
		if row.IntendedNS < t.verdict.MeasureStartNS || row.IntendedNS >= t.verdict.MeasureEndNS {
			continue
		}
		counted++
		if row.Outcome != results.OutcomeTimeout {
			answered++
		}
		if row.SentNS-row.IntendedNS > int64(clientLateAfter) {
			late++
		}
	}
	t.verdict.ClientLimited = float64(late) > clientLateShare*float64(counted)
	// Leaders that duel may stall for good: that is a result, not a failure.
	if answered == 0 && t.verdict.Counters["leader.preempted"] == 0 {
		t.void(results.VoidReason{Code: voidUnanswered, Mend: mendLookAtEvents, Text: fmt.Sprintf(
			"none of the %d requests of the measured phase was answered", counted)})
	}
	return nil
}

func existing(path string) []string {
	if _, err := os.Stat(path); err != nil {
		return nil
	}
	return []string{path}
}
