package check

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"quorumlab/node/consensus"
	"quorumlab/results"
)

// violating finds the violation of a history's values; nil if there is none.
func violating(t testing.TB, application string, rows []results.Row) (*recording, *history) {
	t.Helper()
	recorded := record(t, application, rows)
	var result Result
	found, _ := recorded.checkObjects(&result, within(context.Background(), defaultTimeout))
	return recorded, found
}

// inAMinute is time enough, so that nothing depends on the machine.
func inAMinute() limit { return within(context.Background(), time.Minute) }

func TestWhatIsLeftOfAViolationIsOneByItself(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 10))
	violations := 0
	for range 250 {
		for _, g := range shapes(random) {
			g.random = random
			rows := mutate(random, g.application, g.history())
			if random.IntN(2) == 0 {
				rows = withoutPlaces(rows)
			}
			_, found := violating(t, g.application, rows)
			if found == nil {
				continue
			}
			violations++
			before := len(found.operations)
			small := shrink(*found, inAMinute())
			if plainlyLinearizable(t, &small) {
				t.Fatalf("what is left is linearizable: %+v\nof:\n%s", small, format(rows))
			}
			if len(small.operations) > before {
				t.Fatalf("%d operations became %d", before, len(small.operations))
			}
		}
	}
	if violations < 300 {
		t.Errorf("%d violations are too few", violations)
	}
}

// cut cuts a history at random, in every way that shrink does.
func cut(random *rand.Rand, h history) history {
	h = h.until(int64(random.IntN(60)))
	for range 1 + random.IntN(2) {
		h = h.since(int64(random.IntN(40)))
	}
	size := random.IntN(len(h.operations) + 1)
	return h.without(size/2, size)
}

func TestCutsMakeNoViolations(t *testing.T) {
	random := rand.New(rand.NewPCG(11, 12))
	for range 100 {
		for _, g := range shapes(random) {
			g.random = random
			recorded := record(t, g.application, g.history())
			for _, object := range recorded.objects {
				whole := object.history(recorded.application)
				for range 10 {
					if h := cut(random, whole); !plainlyLinearizable(t, &h) {
						t.Fatalf("%+v\nof %+v", h, whole)
					}
				}
			}
		}
	}
}

// Histories whose initial state is unknown are searched as if porcupine tried
// every initial state.
func TestCutHistoriesAreJudgedAsByPorcupine(t *testing.T) {
	random := rand.New(rand.NewPCG(15, 16))
	violations := 0
	for range 400 {
		for _, g := range shapes(random) {
			g.random = random
			rows := g.history()
			for range random.IntN(4) {
				if rows = mutate(random, g.application, rows); len(rows) == 0 {
					break
				}
			}
			recorded := record(t, g.application, rows)
			for _, object := range recorded.objects {
				for range 5 {
					h := cut(random, object.history(recorded.application))
					want := plainlyLinearizable(t, &h)
					if got := h.linearizable(inAMinute()); (got == porcupine.Ok) != want {
						t.Fatalf("%v, want linearizable %v: %+v", got, want, h)
					}
					if !want {
						violations++
					}
				}
			}
		}
	}
	if violations < 200 {
		t.Errorf("%d violations are too few to compare by", violations)
	}
}

// long is a linearizable history with one mistake in the middle: a client reads
// what the key held one write before.
func long(application string, requests int) []results.Row {
	g := generator{
		random: rand.New(rand.NewPCG(13, 14)), application: application, requests: requests, clients: 5, keys: 1,
		timeouts: 0.002, span: 10,
	}
	rows := g.history()
	slices.SortFunc(rows, func(a, b results.Row) int { return byPlace(placeOf(a), placeOf(b)) })
	for i := len(rows) / 2; ; i++ {
		row := &rows[i]
		if row.Operation != "read" || row.Outcome != results.OutcomeOK || row.Index == consensus.IndexRead {
			continue
		}
		if application == "counter" {
			row.Result += "0"
		} else {
			row.Result = rows[i/2].Value + "never"
		}
		return rows
	}
}

func placeOf(row results.Row) operation {
	return operation{slot: row.Slot, index: row.Index, call: row.SentNS}
}

func TestAViolationInALongHistoryIsCutDownToAFewRequests(t *testing.T) {
	for _, application := range []string{"kv", "counter"} {
		for _, rows := range [][]results.Row{long(application, 5000), withoutPlaces(long(application, 5000))} {
			recorded, found := violating(t, application, rows)
			if found == nil {
				t.Fatalf("%s: no violation found", application)
			}
			small := shrink(*found, inAMinute())
			if plainlyLinearizable(t, &small) {
				t.Errorf("%s: what is left is linearizable", application)
			}
			if n := len(small.operations); n == 0 || n > 25 {
				t.Errorf("%s: %d operations are left, want a few: %s", application, n, recorded.unexplained(t.Context(), small).Reason)
			}
		}
	}
}

func TestKnownViolationsAreCutDownToWhatMatters(t *testing.T) {
	for _, test := range []struct {
		name, history, initial string
		left                   []string
	}{
		{name: "a stale read among others", initial: "unknown", left: []string{"update", "read"}, history: `
			a 0..10 create(x) @1.0
			b 11..12 read=x @2.0
			c 13..14 create(z) fail @3.0
			d 15..35 read=y @4.r
			a 20..30 update(y) @4.0
			c 31..38 read=y @5.0
			b 40..50 read=x @6.0
			b 60..70 update(w) @7.0
			b 80..90 read=w @8.0`},
		{name: "a value from nowhere", initial: "unknown", left: []string{"read"}, history: `
			a 0..10 create(x) @1.0
			b 11..12 read=y @2.0
			a 20..30 read=x @3.0`},
		{name: "updates in between that nobody read", initial: "unknown", left: []string{"read", "read"}, history: `
			a 0..10 create(x) @1.0
			a 20..30 update(y) @2.0
			b 40..50 read=y @2.r
			a 60..90 update(z) @3.0
			b 95..96 read=x @4.0`},
	} {
		_, found := violating(t, "kv", parse(t, test.history))
		if found == nil {
			t.Fatalf("%s: no violation", test.name)
		}
		small := shrink(*found, inAMinute())
		var left []string
		for _, o := range small.operations {
			left = append(left, o.kind.String())
		}
		initial := "known"
		if small.initial.known != exact {
			initial = "unknown"
		}
		if len(left) > len(test.left) || initial != test.initial || plainlyLinearizable(t, &small) {
			t.Errorf("%s: %v from a state that is %s, want %v, %s", test.name, left, initial, test.left, test.initial)
		}
	}
}

func TestShrinkingKeepsToItsDeadline(t *testing.T) {
	_, found := violating(t, "kv", long("kv", 2000))
	small := shrink(*found, within(context.Background(), 0))
	if len(small.operations) == 0 || plainlyLinearizable(t, &small) {
		t.Errorf("%d operations are left without time, or they are no violation", len(small.operations))
	}
}

func TestWrittenViolationsCanBeRead(t *testing.T) {
	for _, k := range knownBad {
		result := judge(t, k.application, parse(t, k.history))
		if result.Violation == nil {
			t.Fatalf("%s: no violation", k.name)
		}
		dir := filepath.Join(t.TempDir(), "trial")
		if err := result.Violation.Write(dir); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(dir, JSONFile))
		if err != nil {
			t.Fatal(err)
		}
		var read Violation
		if err := json.Unmarshal(text, &read); err != nil {
			t.Fatalf("%s: %v in %s", k.name, err, text)
		}
		if read.Reason != result.Reason || read.Reason == "" || read.Application != k.application || len(read.Requests) == 0 {
			t.Errorf("%s: %s", k.name, text)
		}
		for _, request := range read.Requests {
			if request.Client == "" || request.Sequence == 0 || request.Operation == "" {
				t.Errorf("%s: %+v", k.name, request)
			}
		}
		page, err := os.ReadFile(filepath.Join(dir, HTMLFile))
		if err != nil || !strings.Contains(string(page), "<svg") || !strings.Contains(string(page), read.Requests[0].Operation) {
			t.Errorf("%s: the picture has %d bytes, %v", k.name, len(page), err)
		}
	}
}

func TestAViolationThatCannotBeWrittenIsAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	result := judge(t, "kv", parse(t, knownBad[0].history))
	if err := result.Violation.Write(file); err == nil {
		t.Error("written into a file instead of a folder")
	}
}

// A create without an answer is what wrote the value that was read only if the
// value can't be older.
func TestAValueThatWasThereBeforeNeedsNoOtherWriter(t *testing.T) {
	before := "z 0..1 create(x)\n"
	rest := `
		a 10..12 create(y) fail
		b 10..14 read=x
		c 13.. create(x)`
	recorded := record(t, "kv", parse(t, before+rest))
	whole := recorded.objects[0].history(recorded.application)
	unknown := whole.since(5)
	known := unknown
	known.initial = state{value: whole.operations[0].argument}
	otherwise := unknown
	otherwise.initial = state{value: -1}
	for name, test := range map[string]struct {
		history history
		want    porcupine.CheckResult
	}{
		"the whole": {whole, porcupine.Ok}, "a state that is unknown": {unknown, porcupine.Ok},
		"a state that is known": {known, porcupine.Ok}, "another state": {otherwise, porcupine.Illegal},
	} {
		if got := test.history.linearizable(inAMinute()); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

func TestWindowsOfAHistoryShowViolationsOnlyWhereThereAreAny(t *testing.T) {
	for _, application := range []string{"kv", "counter"} {
		for _, bad := range []bool{false, true} {
			rows := long(application, 3000)
			if !bad {
				g := generator{random: rand.New(rand.NewPCG(17, 18)), application: application, requests: 3000, clients: 5, keys: 1, timeouts: 0.002, span: 10}
				rows = g.history()
			}
			recorded := record(t, application, rows)
			whole := recorded.objects[0].history(recorded.application)
			window := whole.scan(inAMinute())
			if (window != nil) != bad {
				t.Errorf("%s: a window that is a violation: %v, want %v", application, window != nil, bad)
			}
			if window == nil {
				continue
			}
			if small := shrink(*window, inAMinute()); plainlyLinearizable(t, &small) {
				t.Errorf("%s: the window found is linearizable", application)
			}
		}
	}
}
