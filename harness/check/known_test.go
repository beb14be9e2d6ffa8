package check

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"quorumlab/results"
)

// known is a history whose verdict is known.
type known struct {
	name, application, history string
	// logOnly is true if only the log's places show the violation.
	logOnly bool
}

var knownBad = []known{
	{name: "a stale read", application: "kv", history: `
		a 0..10 create(x) @1.0
		a 20..30 update(y) @2.0
		b 40..50 read=x @3.0`},
	{name: "a lost update", application: "kv", history: `
		a 0..10 create(x) @1.0
		a 20..30 update(y) @2.0
		b 25..35 update(z) @3.0
		a 40..50 read=x @4.0`},
	{name: "a read of a value never written", application: "kv", history: `
		a 0..10 create(x) @1.0
		b 5..20 read=y @2.0`},
	{name: "a dirty read of a create that failed", application: "kv", history: `
		a 0..10 create(x) @1.0
		b 20..30 create(y) fail @2.0
		c 25..35 read=y @3.0`},
	{name: "an increment applied twice", application: "counter", history: `
		a 0..10 increment=1 @1.0
		a 20..30 increment=3 @2.0
		a 40..50 read=3 @3.0`},
	{name: "an increment applied twice, seen later", application: "counter", history: `
		a 0..10 increment=1 @1.0
		b 0..10 increment=2 @2.0
		a 40..50 read=3 @3.0`},
	{name: "a lost increment", application: "counter", history: `
		a 0..10 increment=1 @1.0
		b 5..15 increment=1 @2.0`},
	{name: "a counter that isn't a number", application: "counter", history: `
		a 0..10 increment=x @1.0`},
	{name: "a counter's operation that failed", application: "counter", history: `
		a 0..10 increment fail @1.0`},
	{name: "a write with an answer that nobody understands", application: "kv", history: `
		a 0..10 create(x) @1.0
		a 20..30 update(y)="\x09" @2.0
		b 40..50 read=y @3.0`},
	{name: "a read of an absent key with an answer that nobody understands", application: "kv", history: `
		a 0..10 read="" @0.r
		a 20..30 create(x) @1.0`},
	{name: "reads that go back", application: "kv", history: `
		a 0..10 create(x) @1.0
		a 20..90 update(y) @2.0
		b 30..40 read=y @3.0
		c 50..60 read=x @4.0`},
	{name: "real-time order broken across clients", application: "kv", history: `
		a 0..10 create(x) @1.0
		b 20..30 update(y) @3.0
		c 40..50 update(z) @2.0
		a 60..70 read=y @4.0`},
	{name: "an acknowledged write lost after a restart", application: "kv", history: `
		a 0..10 create(x) @1.0
		a 20..30 update(y) @2.0
		b 35.. update(z)
		a 100..110 read=x @2.0`},
	{name: "a created key lost after a restart", application: "kv", history: `
		a 0..10 create(x) @1.0
		a 100..110 read fail @2.0
		a 120..130 create(y) @3.0`},
	{name: "a read without a slot that is too old", application: "kv", history: `
		a 0..10 create(x) @1.0
		a 20..30 update(y) @2.0
		b 40..50 read=x @1.r`},
	{name: "a removed key that comes back", application: "kv", history: `
		a 0..10 create(x) @1.0
		a 20..30 remove @2.0
		b 40..50 read=x @3.0`},
	{name: "a key created twice", application: "kv", history: `
		a 0..10 create(x) @1.0
		b 5..15 create(y) @2.0`},
	{name: "an answer from before the call of the write", application: "kv", history: `
		a 0..10 create(x) @1.0
		b 12..15 read=y @3.0
		a 20..30 update(y) @2.0`},
	{name: "a timeout's value that is read and gone and back", application: "kv", history: `
		a 0..10 create(x) @1.0
		b 15.. update(y)
		a 20..30 read=y @3.0
		a 40..50 update(z) @4.0
		a 60..70 read=y @5.0`},
	{name: "one key among others", application: "kv", history: `
		a 0..10 k1/create(x) @1.0
		a 20..30 k2/create(y) @2.0
		a 40..50 k2/read=y @3.0
		a 60..70 k1/read=y @4.0`},
	{name: "two commands at one place of the log", application: "kv", logOnly: true, history: `
		a 0..10 k1/create(x) @1.0
		b 0..10 k2/create(y) @1.0`},
	{name: "a nop at the place of a command", application: "kv", logOnly: true, history: `
		a 0..10 create(x) @1.0
		b 0..10 nop @1.0`},
	{name: "nops alone, at one place of the log", application: "kv", logOnly: true, history: `
		a 0..10 nop @1.3
		b 0..10 nop @1.3`},
	{name: "a slot that was applied before the command was sent", application: "kv", logOnly: true, history: `
		a 0..10 k1/create(x) @2.0
		b 20..30 k2/create(y) @1.0`},
	{name: "a place in a batch from before the command was sent", application: "counter", logOnly: true, history: `
		a 0..10 increment=1 @7.5
		b 20..30 k2/increment=1 @7.4`},
}

var knownGood = []known{
	{name: "one after the other", application: "kv", history: `
		a 0..10 create(x) @1.0
		a 20..30 read=x @1.r
		a 40..50 update(y) @2.0
		b 60..70 read=y @3.0
		b 80..90 remove @4.0
		b 91..92 read fail @5.0
		b 93..94 remove fail @6.0`},
	{name: "concurrent operations that took effect in another order than they were called", application: "kv", history: `
		a 0..100 create(x) @1.0
		b 10..90 create(y) fail @2.0
		c 5..95 update(z) @3.0
		d 20..80 read=z @3.r`},
	{name: "a timeout that took effect late", application: "kv", history: `
		a 0..10 create(x) @1.0
		b 15.. update(y)
		a 20..30 read=x @2.0
		a 40..50 update(z) @3.0
		a 60..70 read=z @4.0
		a 80..90 read=y @6.0`},
	{name: "timeouts that never took effect", application: "kv", history: `
		a 0..10 create(x) @1.0
		b 15.. update(y)
		c 15.. remove
		d 15.. create(z)
		a 20..30 read=x @2.0`},
	{name: "a timed-out create that was then removed", application: "kv", history: `
		a 0.. create(x)
		b 20..30 remove @2.0
		b 40..50 read fail @3.0`},
	{name: "as many timed-out creates as acknowledged removes", application: "kv", history: `
		a 0.. create(x)
		a 0.. create(y)
		a 0.. create(z)
		b 10..20 remove @2.0
		b 30..40 remove @4.0
		b 50..60 remove @6.0`},
	{name: "as many timed-out removes as creates that follow", application: "kv", history: `
		a 0..5 create(u) @1.0
		a 6.. remove
		a 6.. remove
		a 6.. remove
		b 10..20 create(x) @3.0
		b 30..40 create(y) @5.0
		b 50..60 create(z) @7.0`},
	{name: "a timed-out remove and create between two reads", application: "kv", history: `
		a 0..10 create(x) @1.0
		b 11.. remove
		c 12.. create(y)
		a 20..30 read=x @2.0
		a 40..50 read=y @5.0`},
	{name: "the second of two timed-out creates took effect", application: "kv", history: `
		a 0.. create(x)
		b 1.. create(y)
		c 10..20 create(z) fail @2.0
		c 30..40 read=y @3.0`},
	{name: "increments that timed out", application: "counter", history: `
		a 0.. increment
		b 0.. increment
		c 0.. decrement
		d 10..20 increment=1 @1.0
		d 30..40 read=3 @4.0
		d 50..60 read=2 @4.r`},
	{name: "calls and answers at the same instant", application: "kv", history: `
		a 0..10 create(x) @1.0
		b 10..10 read fail @0.0`},
	{name: "a call at the instant of an answer that the log has later", application: "kv", history: `
		a 10..20 create(x) @1.0
		b 5..10 read=x @2.0`},
	{name: "reads without a slot in any order", application: "kv", history: `
		a 0..10 create(x) @1.0
		a 11..20 k2/create(x) @2.0
		b 30..40 read=x @2.r
		c 50..60 read=x @1.r`},
	{name: "a read without a slot before the first slot", application: "kv", history: `
		b 0..10 read fail @0.r
		a 5..20 create(x) @1.0
		b 30..40 read=x @1.r`},
	{name: "the same value written twice", application: "kv", history: `
		a 0..10 create(x) @1.0
		a 20..30 update(y) @2.0
		a 40..50 update(x) @3.0
		b 60..70 read=x @4.0`},
	{name: "a key for each", application: "kv", history: `
		a 0..10 k1/create(x) @1.0
		b 0..10 k2/create(x) @2.0
		b 11..12 k1/read=x @3.0`},
	{name: "an empty value", application: "", history: `
		a 0..10 create() @1.0
		a 20..30 read= @2.0`},
}

// mistakes lists the known histories that a checker judges wrongly.
func mistakes(t *testing.T, check checker) (wrong []string) {
	t.Helper()
	for _, k := range knownBad {
		rows := parse(t, k.history)
		if check(k.application, rows) != results.FindingViolation {
			wrong = append(wrong, k.name)
		}
		want := results.FindingViolation
		if k.logOnly {
			want = plainVerdict(t, k.application, withoutPlaces(rows))
		}
		if check(k.application, withoutPlaces(rows)) != want {
			wrong = append(wrong, k.name+", places unknown")
		}
	}
	for _, k := range knownGood {
		rows := parse(t, k.history)
		if check(k.application, rows) != results.FindingOK || check(k.application, withoutPlaces(rows)) != results.FindingOK {
			wrong = append(wrong, k.name)
		}
	}
	return wrong
}

func TestKnownHistoriesAreJudgedRightly(t *testing.T) {
	wrong := mistakes(t, func(application string, rows []results.Row) string {
		return judge(t, application, rows).Verdict
	})
	for _, name := range wrong {
		t.Errorf("judged wrongly: %s", name)
	}
}

func TestTheKnownHistoriesShowUpACheckerThatAlwaysSaysTheSame(t *testing.T) {
	for verdict, least := range map[string]int{
		results.FindingOK: len(knownBad), results.FindingViolation: len(knownGood),
		results.FindingUnknown: len(knownBad) + len(knownGood),
	} {
		wrong := mistakes(t, func(string, []results.Row) string { return verdict })
		if len(wrong) < least {
			t.Errorf("a checker that always says %s makes %d mistakes only", verdict, len(wrong))
		}
	}
}

func TestTheLogsOrderExplainsHistoriesByItself(t *testing.T) {
	for _, k := range knownGood {
		result := judge(t, k.application, parse(t, k.history))
		searched := strings.Contains(k.history, "@0.0") || strings.Contains(k.name, "any order")
		if (result.Witnessed < result.Keys) != searched {
			t.Errorf("%s: %d of %d keys witnessed", k.name, result.Witnessed, result.Keys)
		}
	}
}

func TestHistoriesWithoutAnAnswerThatTellsAnythingAreNotChecked(t *testing.T) {
	for name, test := range map[string]struct {
		application, history string
		operations           int
	}{
		"empty":                  {"kv", "", 0},
		"nops":                   {"kv", "a 0..10 nop @1.0\nb 20..30 nop @2.0\nc 5.. nop", 0},
		"nops of counters":       {"counter", "a 0..10 nop @1.0", 0},
		"timeouts":               {"kv", "a 0.. create(x)\nb 0.. read", 2},
		"an unknown application": {"queue", "a 0..10 push(x)", 0},
	} {
		result := judge(t, test.application, parse(t, test.history))
		if result.Verdict != results.FindingNotChecked || result.Reason == "" || result.Operations != test.operations || result.Violation != nil {
			t.Errorf("%s: %+v", name, result)
		}
	}
}

func TestResultsCountRequestsAndKeys(t *testing.T) {
	result := judge(t, "kv", parse(t, `
		a 0..10 k1/create(x) @1.0
		a 20..30 k2/create(y) @2.0
		b 20..30 nop @3.0
		c 20.. k3/read`))
	if result.Verdict != results.FindingOK || result.Operations != 3 || result.Keys != 3 || result.Witnessed != 3 || result.Reason != "" {
		t.Errorf("%+v", result)
	}
}

func TestRowsThatCanBeNoHistoryAreErrors(t *testing.T) {
	good := results.Row{Client: "a", Sequence: 7, Operation: "read", SentNS: 5, DoneNS: 6, Outcome: results.OutcomeFail}
	for name, change := range map[string]func(*results.Row){
		"increment":         func(r *results.Row) { r.Operation = "increment" },
		`outcome is "lost"`: func(r *results.Row) { r.Outcome = "lost" },
		"answered at 4 ns":  func(r *results.Row) { r.DoneNS = 4 },
		"answered at 9223":  func(r *results.Row) { r.DoneNS = never },
		"called at -9223":   func(r *results.Row) { r.SentNS = -never },
	} {
		row := good
		change(&row)
		_, err := Linearizable(context.Background(), sequence([]results.Row{good, row}), Options{})
		if !errors.Is(err, ErrHistory) || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "request 7 of a") {
			t.Errorf("%s: %v", name, err)
		}
	}
	broken := errors.New("the disk is gone")
	rows := iter.Seq2[results.Row, error](func(yield func(results.Row, error) bool) {
		_ = yield(good, nil) && yield(results.Row{}, broken)
	})
	if _, err := Linearizable(context.Background(), rows, Options{}); !errors.Is(err, broken) {
		t.Errorf("a broken reader: %v", err)
	}
}

// harnessMutants are bugs that the harness itself may have, as they would show
// in its histories.
var harnessMutants = map[string]func(*results.Row) (lost bool){
	"a timeout is recorded as a failure": func(r *results.Row) bool {
		if r.Outcome == results.OutcomeTimeout {
			r.Outcome, r.DoneNS = results.OutcomeFail, r.SentNS+5
		}
		return false
	},
	"operations are lost": func(r *results.Row) bool { return r.Sequence%7 == 0 },
	"answers are recorded without their results": func(r *results.Row) bool {
		r.Result = ""
		return false
	},
	"calls are recorded too late": func(r *results.Row) bool {
		if r.Outcome != results.OutcomeTimeout {
			r.SentNS = r.DoneNS
		}
		return false
	},
}

func TestBugsOfTheHarnessShowInItsHistories(t *testing.T) {
	for name, mutant := range harnessMutants {
		for _, application := range []string{"kv", "counter"} {
			random := rand.New(rand.NewPCG(7, 8))
			caught := 0
			const histories = 50
			for range histories {
				g := generator{random: random, application: application, requests: 60, clients: 3, keys: 2, timeouts: 0.1, span: 8}
				var rows []results.Row
				for _, row := range g.history() {
					if !mutant(&row) {
						rows = append(rows, row)
					}
				}
				if judge(t, application, withoutPlaces(rows)).Verdict == results.FindingViolation {
					caught++
				}
			}
			if caught < histories/2 {
				t.Errorf("%s: %d of %d histories of %s show it", name, caught, histories, application)
			}
		}
	}
}

func TestLargeValuesAreToldApartByTheirDigests(t *testing.T) {
	large := func(last string) string { return strings.Repeat("x", 1000) + last }
	rows := []results.Row{
		{Client: "a", Sequence: 1, Operation: "create", Value: large("1"), SentNS: 1, DoneNS: 2, Outcome: results.OutcomeOK, Slot: 1},
		{Client: "a", Sequence: 2, Operation: "read", Result: large("1"), SentNS: 3, DoneNS: 4, Outcome: results.OutcomeOK, Slot: 2},
	}
	if result := judge(t, "kv", rows); result.Verdict != results.FindingOK {
		t.Errorf("the same value: %+v", result)
	}
	other := slices.Clone(rows)
	other[1].Result = large("2")
	result := judge(t, "kv", other)
	if result.Verdict != results.FindingViolation || len(result.Reason) > 1000 {
		t.Errorf("another value: %+v", result)
	}
	digest := result.Violation.Requests[0].Value
	other[1].Result = digest
	if result := judge(t, "kv", other); result.Verdict != results.FindingViolation {
		t.Errorf("the digest itself: %+v", result)
	}
}

// hopeless is a history that is no violation or one, but only after a search of
// all sets of the updates.
func hopeless(updates int) string {
	var history strings.Builder
	history.WriteString("z 0..10 create(x)\n")
	for i := range updates {
		fmt.Fprintf(&history, "c%d 20..1000 update(v%d)\n", i, i)
	}
	return history.String() + "y 500..1000 read=x\ny 1010..1020 read=x\n"
}

func TestASearchThatRunsOutOfTimeIsUnknownNotOK(t *testing.T) {
	for _, timeout := range []time.Duration{1, 20 * time.Millisecond} {
		result, err := Linearizable(context.Background(), sequence(parse(t, hopeless(40))), Options{Timeout: timeout})
		if err != nil || result.Verdict != results.FindingUnknown || !strings.Contains(result.Reason, "key 0's 43 requests") || result.Violation != nil {
			t.Errorf("%+v %v", result, err)
		}
	}
}

// A user who interrupts a run doesn't wait for a search; what it has found counts
// all the same.
func TestAnInterruptEndsTheSearchAndKeepsAViolation(t *testing.T) {
	interrupted := errors.New("interrupted")
	for name, during := range map[string]bool{"before": false, "while it searches": true} {
		ctx, cancel := context.WithCancelCause(t.Context())
		if during {
			time.AfterFunc(50*time.Millisecond, func() { cancel(interrupted) })
		} else {
			cancel(interrupted)
		}
		result, err := Linearizable(ctx, sequence(parse(t, hopeless(40))), Options{Timeout: time.Hour})
		if !errors.Is(err, interrupted) || result != nil {
			t.Errorf("interrupted %s: %+v, %v", name, result, err)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(interrupted)
	recorded := record(t, "kv", parse(t, "a 0..10 nop @1.3\nb 0..10 nop @1.3"))
	if result := recorded.check(ctx, Options{Timeout: time.Hour}); result.Verdict != results.FindingViolation {
		t.Errorf("%+v", result)
	}
}

func TestAViolationCarriesItsLabelToItsFiles(t *testing.T) {
	for _, history := range []string{"a 0..10 create(x) @1.0\nb 20..30 read=y @2.0", "a 0..10 nop @1.3\nb 0..10 nop @1.3"} {
		for _, label := range []string{"SIMULATED", "a <b>", ""} {
			result, err := Linearizable(t.Context(), sequence(parse(t, history)), Options{Label: label})
			if err != nil || result.Violation == nil {
				t.Fatalf("%+v, %v", result, err)
			}
			dir := t.TempDir()
			if err := result.Violation.Write(dir); err != nil {
				t.Fatal(err)
			}
			page, err := os.ReadFile(filepath.Join(dir, HTMLFile))
			if err != nil {
				t.Fatal(err)
			}
			shown := html.EscapeString(label)
			if has := strings.Contains(string(page), "<title>"+shown+": Porcupine</title>") &&
				strings.Contains(string(page), "<body>\n    <p><strong>"+shown+"</strong></p>"); has != (label != "") {
				t.Errorf("the page of %q has its label: %v", label, has)
			}
			text, err := os.ReadFile(filepath.Join(dir, JSONFile))
			var read Violation
			if err != nil || json.Unmarshal(text, &read) != nil || read.Label != label || strings.Contains(string(text), `"label"`) != (label != "") {
				t.Errorf("%q: %v\n%s", label, err, text)
			}
		}
	}
}

func TestASearchThatRunsOutOfMemoryIsUnknownNotAViolation(t *testing.T) {
	recorded := record(t, "kv", parse(t, hopeless(8)))
	h := recorded.objects[0].history(recorded.application)
	for bytes, want := range map[int64]porcupine.CheckResult{1000: porcupine.Unknown, maxSearchBytes: porcupine.Illegal} {
		p := newProblem(&h)
		s := newSearch(len(p.tasks), inAMinute())
		s.bytes = bytes
		if got := p.search(h.application, s); got != want {
			t.Errorf("with %d bytes: %v, want %v", bytes, got, want)
		}
	}
}

func TestAViolationOutweighsAKeyThatIsUnknown(t *testing.T) {
	rows := parse(t, hopeless(40)+"a 0..10 k1/create(x)\na 20..30 k1/read=y\n")
	result, err := Linearizable(context.Background(), sequence(rows), Options{Timeout: 100 * time.Millisecond})
	if err != nil || result.Verdict != results.FindingViolation || !strings.Contains(result.Reason, "key 1 ") {
		t.Errorf("%+v %v", result, err)
	}
}
