package harness

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/results"
)

// judged is the verdict about a trial of these records.
func judged(t *testing.T, rows []results.Row, events []eventLine, statuses map[string]control.Status, change func(*trial), flags ...string) *trial {
	t.Helper()
	source := load(t, "sim", append([]string{"--set", "repeat=1"}, flags...)...)
	folder, plan := newFolder(t, source)
	tr := newTrial(folder, plan[0])
	tr.measureFrom(0)
	tr.verdict.MeasureStartNS = 0
	if change != nil {
		change(&tr)
	}
	if err := tr.create(); err != nil {
		t.Fatal(err)
	}
	err := folder.WriteRequests(1, func(w *results.RowWriter) error {
		for _, row := range rows {
			if err := w.Write(row); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = folder.WriteEvents(1, func(w io.Writer) error {
		encoder := json.NewEncoder(w)
		for _, event := range events {
			if err := encoder.Encode(event); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.judge(t.Context(), statuses); err != nil {
		t.Fatal(err)
	}
	return &tr
}

// request is one about key 1 that takes a millisecond, in the order of the log.
func request(sequence uint64, operation, value, outcome, result string) results.Row {
	at := int64(sequence) * 10_000_000
	row := results.Row{
		Client: "client1", Sequence: sequence, Operation: operation, Key: 1, Value: value,
		IntendedNS: at, SentNS: at, DoneNS: at + 1_000_000, Outcome: outcome, Result: result, Slot: sequence,
	}
	if outcome == results.OutcomeTimeout {
		row.DoneNS, row.Slot = 0, 0
	}
	return row
}

func prefix(node string, slot uint64, hash string) eventLine {
	return eventLine{TimeNS: int64(slot), Node: node, Event: consensus.Event{
		Role: consensus.RoleApplication, Label: consensus.Label{Kind: consensus.EventPrefix, Slot: slot}, Hash: hash}}
}

// both are the statuses of two replicas that agree.
func both(slot uint64) map[string]control.Status {
	return map[string]control.Status{"replica1": learner(slot, "cc"), "replica2": learner(slot, "cc")}
}

func learner(slot uint64, hash string) control.Status {
	return control.Status{Status: consensus.Status{Learner: true, Slot: slot}, StateHash: hash}
}

var goodHistory = []results.Row{
	request(1, "create", "a", "ok", ""), request(2, "update", "b", "ok", ""), request(3, "read", "", "ok", "b"),
}

func codes(verdict results.Verdict) string {
	var codes []string
	for _, reason := range verdict.Reasons {
		codes = append(codes, reason.Code)
	}
	return strings.Join(codes, " ")
}

func TestALinearizableHistoryWithAgreeingReplicasIsValid(t *testing.T) {
	tr := judged(t, goodHistory, []eventLine{prefix("replica1", 1000, "aa"), prefix("replica2", 1000, "aa")},
		map[string]control.Status{"replica1": learner(1500, "cc"), "replica2": learner(1500, "cc"), "leader1": {}}, nil)
	v := tr.verdict
	if !v.Valid || v.Linearizable != "ok" || v.Agreement != "ok" || v.History.Operations != 3 || v.History.Keys != 1 || v.Counters["decided"] != 1500 {
		t.Errorf("%+v", v)
	}
}

func TestAStaleReadVoidsTheTrialAndItsPictureIsInTheFolder(t *testing.T) {
	stale := []results.Row{goodHistory[0], goodHistory[1], request(3, "read", "", "ok", "a")}
	tr := judged(t, stale, nil, both(3), nil)
	if v := tr.verdict; v.Valid || v.Linearizable != "violation" || codes(v) != voidHistory || v.History.Reason == "" {
		t.Errorf("%+v", v)
	}
	for _, name := range []string{results.ViolationPage, "violation.json"} {
		if info, err := os.Stat(filepath.Join(tr.folder.TrialDir(1), name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
		if text, err := os.ReadFile(filepath.Join(tr.folder.TrialDir(1), name)); err != nil || !strings.Contains(string(text), "SIMULATED") {
			t.Errorf("%s doesn't say that the trial was simulated (%v)", name, err)
		}
	}
	if err := tr.folder.WriteVerdict(tr.verdict); err != nil {
		t.Fatal(err)
	}
	summary, err := Summarise(tr.folder)
	if err != nil || len(summary.Points[0].Violations) != 1 || summary.Points[0].Linearizable != "violation" {
		t.Errorf("summary %+v, %v", summary, err)
	}
}

// What a request wrote that isn't recorded looks as if it came from nowhere.
func TestAHistoryWithGapsIsNotChecked(t *testing.T) {
	tr := judged(t, []results.Row{request(1, "read", "", "ok", "never written")}, nil, both(1), func(tr *trial) { tr.unfinished("client1 was killed") })
	if v := tr.verdict; v.Valid || v.Linearizable != "not_checked" || !strings.Contains(v.History.Reason, "client1 was killed") || codes(v) != voidUnfinished {
		t.Errorf("%+v", v)
	}
}

func TestNopsAreNotCheckedWhichVoidsNothing(t *testing.T) {
	nop := request(1, "nop", "", "ok", "")
	tr := judged(t, []results.Row{nop}, nil, both(1), nil)
	if v := tr.verdict; !v.Valid || v.Linearizable != "not_checked" {
		t.Errorf("%+v", v)
	}
}

func TestReplicasThatDisagreeVoidTheTrialDeadOnesToo(t *testing.T) {
	for _, c := range []struct {
		name     string
		events   []eventLine
		statuses map[string]control.Status
	}{
		{"states", nil, map[string]control.Status{"replica1": learner(9, "aa"), "replica2": learner(9, "bb")}},
		{"a dead one's prefix", []eventLine{prefix("replica1", 1000, "aa"), prefix("replica2", 1000, "bb")},
			map[string]control.Status{"replica1": learner(1000, "aa")}},
		{"an earlier life's prefix", []eventLine{prefix("replica1", 1000, "aa"), prefix("replica1", 1000, "bb"), prefix("replica1", 1000, "aa")},
			map[string]control.Status{"replica1": learner(1000, "aa")}},
	} {
		tr := judged(t, goodHistory, c.events, c.statuses, nil)
		if v := tr.verdict; v.Valid || v.Agreement != "violation" || codes(v) != voidAgreement {
			t.Errorf("%s: %s %s %+v", c.name, v.Agreement, codes(v), v)
		}
	}
}

func TestAReplicaThatReportsASlotAgainAfterItsRestartAgreesWithItself(t *testing.T) {
	tr := judged(t, goodHistory, []eventLine{prefix("replica1", 1000, "aa"), prefix("replica1", 1000, "aa"), prefix("replica2", 1000, "aa")},
		map[string]control.Status{"replica1": learner(1200, "cc"), "replica2": learner(1200, "cc")}, nil)
	if v := tr.verdict; !v.Valid || v.Agreement != "ok" {
		t.Errorf("%+v", v)
	}
	replicas, err := tr.replicas(map[string]control.Status{"replica1": learner(1200, "cc")})
	if err != nil || len(replicas) != 2 || !replicas[0].Live || replicas[1].Live || replicas[1].Slot != 1000 {
		t.Errorf("replicas %+v, %v", replicas, err)
	}
}

func TestATrialInWhichNothingWasAnsweredIsVoidUnlessLeadersDuelled(t *testing.T) {
	rows := []results.Row{request(1, "update", "a", "timeout", "")}
	for _, c := range []struct {
		preempted uint64
		codes     string
	}{{0, voidUnanswered}, {7, ""}} {
		leader := control.Status{Status: consensus.Status{Counters: map[string]uint64{"leader.preempted": c.preempted}}}
		statuses := both(0)
		statuses["leader1"] = leader
		tr := judged(t, rows, nil, statuses, nil)
		if codes(tr.verdict) != c.codes {
			t.Errorf("%d pre-empted: %+v", c.preempted, tr.verdict.Reasons)
		}
	}
}

func TestLostControlLinesAndLateRequestsShow(t *testing.T) {
	late := request(4, "read", "", "ok", "b")
	late.SentNS += int64(clientLateAfter) + 1
	late.DoneNS += int64(clientLateAfter) + 1
	rows := []results.Row{goodHistory[0], late}
	rows[1].Result = "a"
	statuses := both(4)
	statuses["leader1"] = control.Status{DroppedLines: 3, DroppedMessages: 2}
	tr := judged(t, rows, nil, statuses, nil)
	if v := tr.verdict; codes(v) != voidControl || !v.ClientLimited || v.Counters["dropped_messages"] != 2 {
		t.Errorf("%+v", v)
	}
}

// A replica that died before it could report what it had decided is known all the
// same: what was compared with nothing isn't ok.
func TestAReplicaThatDiedSilentlyLeavesAgreementUnknownUnlessTwoOthersLive(t *testing.T) {
	for _, c := range []struct {
		name, replicas string
		events         []eventLine
		statuses       map[string]control.Status
		want           string
	}{
		{"one of two", "2", nil, map[string]control.Status{"replica1": learner(9, "aa")}, "unknown"},
		{"both", "2", nil, map[string]control.Status{"leader1": {}}, "unknown"},
		{"one of two, which had reported", "2", []eventLine{prefix("replica1", 1000, "aa"), prefix("replica2", 1000, "aa")},
			map[string]control.Status{"replica1": learner(1500, "bb")}, "ok"},
		{"one of three", "3", nil, map[string]control.Status{"replica1": learner(9, "aa"), "replica3": learner(9, "aa")}, "ok"},
		{"two of three", "3", nil, map[string]control.Status{"replica3": learner(9, "aa")}, "unknown"},
		{"none of one", "1", nil, map[string]control.Status{"replica1": learner(9, "aa")}, "ok"},
	} {
		tr := judged(t, goodHistory, c.events, c.statuses, nil, "--set", "system.roles.replicas="+c.replicas)
		wantCodes := map[string]string{"ok": "", "unknown": voidNoStates}[c.want]
		if v := tr.verdict; v.Agreement != c.want || codes(v) != wantCodes {
			t.Errorf("%s: %s %q, want %s", c.name, v.Agreement, codes(v), c.want)
		}
	}
}

func TestWhatMendsATrialWithoutAnAnswerDependsOnWhyThereIsNone(t *testing.T) {
	unanswered := []results.Row{request(1, "update", "a", "timeout", "")}
	for _, c := range []struct {
		name       string
		rows       []results.Row
		flags      []string
		shorten    bool
		mend, says string
	}{
		{"nothing is known", unanswered, nil, false, mendLookAtEvents, "none of the 1 requests"},
		{"the topology takes longer than the timeout", unanswered, []string{"--set", "workload.timeout=60ms"}, false,
			mendRaiseTimeout, "workload.timeout is 60ms, and the topology alone makes an answer take 60ms"},
		{"no request fell due before the last answer", goodHistory, []string{"--set", "stop.requests=3"}, true,
			mendStopLater, "in the 5ms of the measured phase before the last of the 3 answers"},
		{"no request fell due", nil, nil, false, mendMoreLoad, "no request fell due"},
	} {
		tr := judged(t, c.rows, nil, both(3), func(tr *trial) {
			if c.shorten {
				tr.verdict.MeasureEndNS = 5_000_000
			}
		}, c.flags...)
		if reasons := tr.verdict.Reasons; len(reasons) != 1 || reasons[0].Code != voidUnanswered || reasons[0].Mend != c.mend || !strings.Contains(reasons[0].Text, c.says) {
			t.Errorf("%s: %+v", c.name, reasons)
		}
	}
}

func TestAnInterruptedCheckIsNoVerdict(t *testing.T) {
	tr := judged(t, goodHistory, nil, both(3), nil)
	interrupted := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(interrupted)
	if err := tr.judge(ctx, both(3)); !errors.Is(err, interrupted) {
		t.Errorf("%v, want the context's cause", err)
	}
}
