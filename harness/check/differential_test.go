package check

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"quorumlab/results"
)

// shapes are kinds of random histories.
func shapes(random *rand.Rand) []generator {
	return []generator{
		{application: "kv", requests: 8, clients: 3, keys: 1, timeouts: 0.2, span: 6},
		{application: "kv", requests: 9, clients: 4, keys: 1, values: 2, timeouts: 0.3, span: 10},
		{application: "kv", requests: 14, clients: 4, keys: 2, timeouts: 0.1, span: 3},
		{application: "kv", requests: 12, clients: 5, keys: 1, span: 20},
		{application: "counter", requests: 8, clients: 3, keys: 1, timeouts: 0.3, span: 6},
		{application: "counter", requests: 12, clients: 4, keys: 2, timeouts: 0.1, span: 10},
		{application: "kv", requests: 1 + random.IntN(12), clients: 1 + random.IntN(4), keys: 1, values: random.IntN(4), timeouts: random.Float64() / 2, span: 1 + random.IntN(10)},
		{application: "counter", requests: 1 + random.IntN(10), clients: 1 + random.IntN(4), keys: 1, timeouts: random.Float64() / 2, span: 1 + random.IntN(10)},
	}
}

// mutate changes a history a little, in a way that may or may not make it a
// violation.
func mutate(random *rand.Rand, application string, rows []results.Row) []results.Row {
	i, j := random.IntN(len(rows)), random.IntN(len(rows))
	a, b := &rows[i], &rows[j]
	switch random.IntN(9) {
	case 0:
		a.Result, b.Result = b.Result, a.Result
	case 1:
		if application == "counter" {
			a.Result = fmt.Sprint(random.IntN(5) - 1)
		} else {
			a.Result = fmt.Sprintf("v%d", random.IntN(len(rows)+1))
		}
	case 2: // lost
		return append(rows[:i], rows[i+1:]...)
	case 3:
		if a.Outcome == results.OutcomeTimeout {
			a.Outcome, a.DoneNS = results.OutcomeFail, a.SentNS+int64(random.IntN(10))
		}
	case 4:
		a.Outcome = map[string]string{"ok": "fail", "fail": "ok"}[a.Outcome]
		if a.Outcome == "" {
			a.Outcome = results.OutcomeTimeout
		}
	case 5:
		later := int64(random.IntN(20))
		a.SentNS += later
		if a.Outcome != results.OutcomeTimeout {
			a.DoneNS += later
		}
	case 6:
		if a.Outcome != results.OutcomeTimeout {
			a.DoneNS = a.SentNS
		}
	case 7:
		a.Slot, b.Slot, a.Index, b.Index = b.Slot, a.Slot, b.Index, a.Index
	case 8:
		a.Operation, b.Operation, a.Value, b.Value = b.Operation, a.Operation, b.Value, a.Value
	}
	return rows
}

func TestVerdictsAreThoseOfPorcupineOnRandomHistories(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	verdicts := map[string]int{}
	compare := func(application string, rows []results.Row) {
		t.Helper()
		want := plainVerdict(t, application, rows)
		verdicts[want]++
		if got := judge(t, application, rows); got.Verdict != want {
			t.Fatalf("%s: %s (%s), want %s:\n%s", application, got.Verdict, got.Reason, want, format(rows))
		}
	}
	for range 150 {
		for _, g := range shapes(random) {
			g.random = random
			rows := g.history()
			if result := judge(t, g.application, rows); result.Verdict == results.FindingViolation || result.Verdict == results.FindingUnknown {
				t.Fatalf("linearizable by construction, yet %s: %s\n%s", result.Verdict, result.Reason, format(rows))
			}
			compare(g.application, withoutPlaces(rows))
			for range 3 {
				if rows = mutate(random, g.application, rows); len(rows) == 0 {
					break
				}
				compare(g.application, rows)
				compare(g.application, withoutPlaces(rows))
			}
		}
	}
	for _, verdict := range []string{results.FindingOK, results.FindingViolation} {
		if verdicts[verdict] < 500 {
			t.Errorf("%d histories are %s, too few to compare by", verdicts[verdict], verdict)
		}
	}
}

// Whatever the log says its order was, only what clients saw decides about a
// key: with random places the replay fails, and the search must find the truth.
func TestAWrongLogMakesNoKeyAViolation(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	witnessed, searched := 0, 0
	for range 300 {
		for _, g := range shapes(random) {
			g.random = random
			rows := g.history()
			if random.IntN(2) == 0 {
				rows = mutate(random, g.application, rows)
			}
			for i, place := range random.Perm(len(rows)) {
				rows[i].Slot, rows[i].Index = uint64(place+1), 0
			}
			recorded := record(t, g.application, rows)
			for _, object := range recorded.objects {
				h := object.history(recorded.application)
				want := plainlyLinearizable(t, &h)
				alone := *recorded
				alone.objects = recorded.objects[:0:0]
				alone.objects = append(alone.objects, object)
				var result Result
				found, reason := alone.checkObjects(&result, within(t.Context(), defaultTimeout))
				if (found == nil) != want || reason != "" {
					t.Fatalf("violation %+v, reason %q, want linearizable %v:\n%s", found, reason, want, format(rows))
				}
				witnessed += result.Witnessed
				searched += 1 - result.Witnessed
			}
		}
	}
	if witnessed < 200 || searched < 200 {
		t.Errorf("%d keys witnessed, %d searched: too few to compare by", witnessed, searched)
	}
}

// Longer histories are searched in parts and around where the replay failed.
func TestLongHistoriesAreJudgedInPartsAsTheyAreWhole(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	split, violations := 0, 0
	for i := range 120 {
		g := generator{
			random: random, application: []string{"kv", "counter"}[i%2], requests: 300, clients: 2, keys: 1,
			timeouts: []float64{0, 0.01}[i/2%2], span: 4,
		}
		rows := g.history()
		for range random.IntN(3) {
			rows = mutate(random, g.application, rows)
		}
		recorded := record(t, g.application, rows)
		whole := recorded.objects[0].history(recorded.application)
		split += len(whole.parts()) - 1
		want := results.FindingOK
		if !plainlyLinearizable(t, &whole) {
			want = results.FindingViolation
			violations++
		}
		if got := judge(t, g.application, withoutPlaces(rows)); got.Verdict != want {
			t.Fatalf("%s, want %s:\n%s", got.Verdict, want, format(rows))
		}
		if got := judge(t, g.application, rows); got.Verdict != plainVerdict(t, g.application, rows) {
			t.Fatalf("with places: %s (%s):\n%s", got.Verdict, got.Reason, format(rows))
		}
	}
	if split < 100 || violations < 20 {
		t.Errorf("%d splits and %d violations are too few to compare by", split, violations)
	}
}

// format is a history in the tests' notation.
func format(rows []results.Row) string {
	var text strings.Builder
	for _, row := range rows {
		fmt.Fprintf(&text, "%s %d..", row.Client, row.SentNS)
		if row.Outcome != results.OutcomeTimeout {
			fmt.Fprint(&text, row.DoneNS)
		}
		fmt.Fprintf(&text, " k%d/%s", row.Key, row.Operation)
		if row.Value != "" {
			fmt.Fprintf(&text, "(%s)", row.Value)
		}
		if row.Result != "" {
			fmt.Fprintf(&text, "=%s", row.Result)
		}
		if row.Outcome == results.OutcomeFail {
			text.WriteString(" fail")
		}
		fmt.Fprintf(&text, " @%d.%d\n", row.Slot, row.Index)
	}
	return text.String()
}
