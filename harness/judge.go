package harness

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"quorumlab/harness/check"
	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/results"
)

// checkTimeout bounds the search for an order of the requests that explains
// their answers. Where the log's order explains them, as it should, that takes
// no search.
const checkTimeout = time.Minute

// judge derives the verdict from what stands in the trial's folder and from
// where the live nodes stood at the end. The error is the context's cause if that
// ended before the history was checked.
func (t *trial) judge(ctx context.Context, statuses map[string]control.Status) error {
	t.note(statuses)
	if t.verdict.MeasureEndNS > 0 {
		if err := t.judgeRequests(); err != nil {
			return err
		}
	}
	if err := t.judgeHistory(ctx); err != nil {
		return fmt.Errorf("checking the history: %w", err)
	}
	if err := t.judgeAgreement(statuses); err != nil {
		return fmt.Errorf("comparing the replicas: %w", err)
	}
	t.verdict.Valid = len(t.verdict.Reasons) == 0
	return nil
}

// note sums the nodes' counters and judges their control channels.
func (t *trial) note(statuses map[string]control.Status) {
	counters := map[string]uint64{}
	for _, node := range t.cluster.Nodes {
		s, alive := statuses[node.Name]
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
				"%s lost %d lines of its control channel", node.Name, s.DroppedLines)})
		}
	}
	t.verdict.Counters = counters
}

// slotRange is the least and the most that live replicas have committed.
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

// undrained voids the trial because its replicas drifted apart.
func (t *trial) undrained(statuses map[string]control.Status) {
	least, most := slotRange(statuses)
	t.void(results.VoidReason{Code: voidDrain, Mend: mendRaiseDrain, Text: fmt.Sprintf(
		"%v after the load the replicas still stood at different slots, %d to %d", time.Duration(t.spec.Phases.Drain), least, most)})
}

// judgeRequests looks through the recorded requests for what would make the
// trial meaningless.
func (t *trial) judgeRequests() error {
	var counted, answered, late int
	ever := false
	for row, err := range t.folder.Requests(t.planned.Trial) {
		if err != nil {
			return err
		}
		ever = ever || row.Outcome != results.OutcomeTimeout
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
	// Leaders that duel may stall for good, and so may those whom faults hit: that is a
	// result, not a failure.
	if counted == 0 || answered == 0 && t.verdict.Counters["leader.preempted"] == 0 && !t.faultsExplain(ever) {
		t.void(t.unanswered(counted))
	}
	return nil
}

// faultsExplain tells whether a proved fault was in force while requests were measured of
// which none was answered. The service must have worked before, which an answer shows,
// unless the fault was there before the first answer could be. No fault explains a timeout
// that is too short.
func (t *trial) faultsExplain(everAnswered bool) bool {
	if int64(t.spec.Workload.Timeout) <= t.verdict.PredictedNS {
		return false
	}
	startNS := t.verdict.MeasureStartNS - int64(t.spec.Phases.Warmup)
	for _, f := range t.broke {
		if f.Outcome != results.FaultProved || f.AppliedNS == nil {
			continue
		}
		inForce := startNS+*f.AppliedNS < t.verdict.MeasureEndNS && (f.HealedNS == nil || startNS+*f.HealedNS > t.verdict.MeasureStartNS)
		if inForce && (everAnswered || *f.AppliedNS <= t.verdict.PredictedNS) {
			return true
		}
	}
	return false
}

// unanswered says that there is no answer to measure, of so many requests, and
// what is most likely to mend that.
func (t *trial) unanswered(requests int) results.VoidReason {
	reason := results.VoidReason{Code: voidUnanswered, Mend: mendLookAtEvents, Text: fmt.Sprintf(
		"none of the %d requests of the measured phase was answered", requests)}
	length, planned := time.Duration(t.verdict.MeasureEndNS-t.verdict.MeasureStartNS), time.Duration(t.spec.Phases.Measure)
	timeout, predicted := time.Duration(t.spec.Workload.Timeout), time.Duration(t.verdict.PredictedNS)
	switch {
	case requests == 0 && length < planned:
		reason.Text = fmt.Sprintf("no request fell due in the %v of the measured phase before the last of the %d answers that ended it",
			length, t.spec.Stop.Requests)
		reason.Mend = mendStopLater
	case requests == 0:
		reason.Text, reason.Mend = "no request fell due in the measured phase", mendMoreLoad
	case timeout <= predicted:
		reason.Text += fmt.Sprintf(": workload.timeout is %v, and the topology alone makes an answer take %v", timeout, predicted)
		reason.Mend = mendRaiseTimeout
	}
	return reason
}

// judgeHistory checks that the requests' answers are those of one store that
// carries them out one after the other. A history with gaps can't be judged:
// what an unrecorded request wrote would look as if it came from nowhere.
func (t *trial) judgeHistory(ctx context.Context) error {
	if t.gaps != "" {
		t.verdict.History.Reason = "not checked: " + t.gaps
		return nil
	}
	options := check.Options{Application: t.cluster.Application, Timeout: checkTimeout}
	if t.folder.Manifest().Simulated {
		options.Label = results.LabelSimulated
	}
	found, err := check.Linearizable(ctx, t.folder.Requests(t.planned.Trial), options)
	if err != nil {
		return err
	}
	t.verdict.Linearizable = found.Verdict
	t.verdict.History = results.History{
		Operations: found.Operations, Keys: found.Keys, Witnessed: found.Witnessed, Reason: found.Reason,
	}
	switch t.verdict.Linearizable {
	case results.FindingViolation:
		t.void(results.VoidReason{Code: voidHistory, Mend: mendReport, Text: "the history isn't linearizable: " + found.Reason})
		if found.Violation != nil {
			return found.Violation.Write(t.folder.TrialDir(t.planned.Trial))
		}
	case results.FindingUnknown:
		t.void(results.VoidReason{Code: voidNoHistory, Mend: mendFewerPending, Text: "whether the history is linearizable is unknown: " + found.Reason})
	}
	return nil
}

// judgeAgreement holds the replicas' states and the commands that they decided
// against each other.
func (t *trial) judgeAgreement(statuses map[string]control.Status) error {
	replicas, err := t.replicas(statuses)
	if err != nil {
		return err
	}
	var reason string
	t.verdict.Agreement, reason = check.Agreement(replicas)
	switch t.verdict.Agreement {
	case results.FindingViolation:
		t.void(results.VoidReason{Code: voidAgreement, Mend: mendReport, Text: reason})
	case results.FindingUnknown:
		t.void(results.VoidReason{Code: voidNoStates, Mend: mendKeepTwo, Text: "whether the replicas agree is unknown: " + reason})
	}
	return nil
}

// replicas are the live replicas at the end and, with those, the dead ones with
// what they reported to have decided, be that nothing. One that was started again
// may have reported a slot twice; if it says two things, it counts as two
// replicas.
func (t *trial) replicas(statuses map[string]control.Status) ([]check.Replica, error) {
	known := map[string]*check.Replica{}
	for _, name := range t.learners() {
		known[name] = &check.Replica{Name: name, Prefixes: map[uint64]string{}}
	}
	for name, s := range statuses {
		if s.Learner {
			known[name] = &check.Replica{Name: name, Slot: s.Slot, StateHash: s.StateHash, Prefixes: map[uint64]string{}, Live: true}
		}
	}
	err := t.eachPrefix(func(event eventLine) {
		name := event.Node
		for known[name] != nil && known[name].Prefixes[event.Slot] != event.Hash && known[name].Prefixes[event.Slot] != "" {
			name += " (in another life)"
		}
		r := known[name]
		if r == nil {
			r = &check.Replica{Name: name, Prefixes: map[uint64]string{}}
			known[name] = r
		}
		if !r.Live {
			r.Slot = max(r.Slot, event.Slot)
		}
		r.Prefixes[event.Slot] = event.Hash
	})
	var replicas []check.Replica
	for _, name := range slices.Sorted(maps.Keys(known)) {
		replicas = append(replicas, *known[name])
	}
	return replicas, err
}

// learners names the processes that commit commands: those that clients talk to,
// but for spares, which may never be called on.
func (t *trial) learners() []string {
	protocol, ok := consensus.Lookup(t.cluster.Protocol)
	if !ok {
		panic("harness: a trial of a protocol that isn't registered: " + t.cluster.Protocol)
	}
	var names []string
	for _, role := range protocol.Roles {
		for _, node := range t.cluster.Nodes {
			if role.Serves && node.Has(role.Name) && !node.Spare {
				names = append(names, node.Name)
			}
		}
	}
	return names
}

// eventLine is a line of a trial's events.
type eventLine struct {
	TimeNS int64  `json:"time_ns"`
	Node   string `json:"node"`
	consensus.Event
}

// eachPrefix visits the events that tell what a replica has decided.
func (t *trial) eachPrefix(visit func(eventLine)) error {
	events, err := t.folder.OpenEvents(t.planned.Trial)
	if err != nil {
		return err
	}
	defer events.Close()
	reader := bufio.NewReaderSize(events, 1<<16)
	mark := []byte(`"` + consensus.EventPrefix + `"`)
	for {
		line, err := reader.ReadBytes('\n')
		if err != nil && err != io.EOF {
			return fmt.Errorf("reading events: %w", err)
		}
		if bytes.Contains(line, mark) { // most lines are about something else
			var event eventLine
			if err := json.Unmarshal(line, &event); err != nil {
				return fmt.Errorf("reading events: %w", err)
			}
			if event.Role == consensus.RoleApplication && event.Kind == consensus.EventPrefix {
				visit(event)
			}
		}
		if err == io.EOF {
			return nil
		}
	}
}
