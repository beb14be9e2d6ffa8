package multipaxos

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"quorumlab/node/consensus"
)

// optionError is the *consensus.OptionError that the options are refused with.
func optionError(t *testing.T, err error) *consensus.OptionError {
	t.Helper()
	var option *consensus.OptionError
	if !errors.As(err, &option) {
		t.Fatalf("%v, want a *consensus.OptionError", err)
	}
	return option
}

func TestEachOptionIsRead(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		options string
		change  func(o *Options)
	}{
		{``, func(*Options) {}},
		{`null`, func(*Options) {}},
		{`{}`, func(*Options) {}},
		{`{"batch": {}, "quorums": {}, "backoff": {"strategy": "none"}}`, func(o *Options) { o.Backoff = backoffOf(t, `{}`) }},
		{`{"window": 1048576}`, func(o *Options) { o.Window = 1 << 20 }},
		{`{"pipeline": 0}`, func(*Options) {}},
		{`{"pipeline": 7}`, func(o *Options) { o.Pipeline = 7 }},
		{`{"retain": 0}`, func(o *Options) { o.Retain = 0 }},
		{`{"retain": 1048576}`, func(o *Options) { o.Retain = 1 << 20 }},
		{`{"reads": "slot"}`, func(o *Options) { o.Reads = ReadsSlot }},
		{`{"reads": "confirm"}`, func(o *Options) { o.Reads = ReadsConfirm }},
		{`{"watch": false}`, func(o *Options) { o.Watch = false }},
		{`{"ping_interval": "1ms", "ping_timeout": "1h"}`, func(o *Options) { o.PingInterval, o.PingTimeout = ms, time.Hour }},
		{`{"resend": "200ms"}`, func(o *Options) { o.Resend = 200 * ms }},
		{`{"batch": {"size": 10000}}`, func(o *Options) { o.Batch.Size = 10_000 }},
		{`{"batch": {"size": 64, "delay": "5ms"}}`, func(o *Options) { o.Batch = BatchOptions{Size: 64, Delay: 5 * ms} }},
		{`{"batch": {"delay": "0s"}}`, func(*Options) {}},
		{`{"batch": {"delay": "0"}}`, func(*Options) {}},
		{`{"quorums": {"kind": "majority", "choice": "random"}}`, func(o *Options) { o.Quorums.Choice = ChoiceRandom }},
		{`{"quorums": {"kind": "flexible", "phase1": 5, "phase2": 2, "choice": "all"}}`, func(o *Options) {
			o.Quorums = QuorumOptions{Kind: QuorumFlexible, Phase1: 5, Phase2: 2, Choice: ChoiceAll}
		}},
		{`{"quorums": {"kind": "flexible", "phase2": 2}}`, func(o *Options) {
			o.Quorums = QuorumOptions{Kind: QuorumFlexible, Phase2: 2, Choice: ChoiceAll}
		}},
		{`{"quorums": {"kind": "grid", "rows": 2, "columns": 3, "choice": "random"}}`, func(o *Options) {
			o.Quorums = QuorumOptions{Kind: QuorumGrid, Rows: 2, Columns: 3, Choice: ChoiceRandom}
		}},
	} {
		want := DefaultOptions()
		c.change(&want)
		if got, err := ParseOptions(json.RawMessage(c.options)); err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", c.options, got, err, want)
		}
	}
}

// backoffOf reads the backoff of leaders that don't watch.
func backoffOf(t *testing.T, options string) BackoffOptions {
	t.Helper()
	o, err := ParseOptions(json.RawMessage(`{"watch": false, "backoff": ` + options + `}`))
	if err != nil {
		t.Fatal(err)
	}
	return o.Backoff
}

func TestEachBackoffStrategyIsReadAndMade(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	const ms = time.Millisecond
	for _, c := range []struct {
		options string
		want    backoff
	}{
		{`{"strategy": "none"}`, noBackoff{}},
		{`{"strategy": "random"}`, &randomBackoff{max: 250 * ms, random: random}},
		{`{"strategy": "random", "max": "1s"}`, &randomBackoff{max: 1000 * ms, random: random}},
		{`{"strategy": "exponential"}`, &exponentialBackoff{
			initial: 250 * ms, extent: 250 * ms, factor: 2, ceiling: 30_000 * ms, random: random}},
		{`{"strategy": "exponential", "initial": "1s", "factor": 1.5, "cap": "9s"}`, &exponentialBackoff{
			initial: 1000 * ms, extent: 1000 * ms, factor: 1.5, ceiling: 9000 * ms, random: random}},
		{`{"strategy": "aimd"}`, &aimdBackoff{
			initial: 250 * ms, extent: 250 * ms, step: 250 * ms, decrease: 0.5, ceiling: 30_000 * ms, random: random}},
		{`{"strategy": "aimd", "initial": "10ms", "step": "20ms", "decrease": 0.9, "cap": "1s"}`, &aimdBackoff{
			initial: 10 * ms, extent: 10 * ms, step: 20 * ms, decrease: 0.9, ceiling: 1000 * ms, random: random}},
		{`{"strategy": "decorrelated"}`, &decorrelatedBackoff{
			initial: 250 * ms, last: 250 * ms, ceiling: 30_000 * ms, random: random}},
		{`{"strategy": "decorrelated", "initial": "10ms", "cap": "10ms"}`, &decorrelatedBackoff{
			initial: 10 * ms, last: 10 * ms, ceiling: 10 * ms, random: random}},
	} {
		if got := newBackoff(backoffOf(t, c.options), random); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.options, got, c.want)
		}
	}
}

func TestOptionsThatMakeNoSenseAreRefusedByTheirPath(t *testing.T) {
	for _, c := range []struct{ options, path string }{
		{`{"pipelin": 3}`, "pipelin"},
		{`{"Window": 3}`, "Window"}, {`{"window": 0}`, "window"}, {`{"window": 1048577}`, "window"},
		{`{"window": null}`, "window"}, {`{"window": "ten"}`, "window"},
		{`{"watch": "yes"}`, "watch"}, {`{"ping_timeout": "50ms"}`, "ping_timeout"},
		{`{"resend": 5}`, "resend"}, {`{"resend": "-1s"}`, "resend"}, {`{"resend": "0s"}`, "resend"},
		{`{"pipeline": -1}`, "pipeline"}, {`{"pipeline": 1.5}`, "pipeline"}, {`{"pipeline": 1048577}`, "pipeline"},
		{`{"retain": -1}`, "retain"}, {`{"retain": 1048577}`, "retain"}, {`{"retain": "all"}`, "retain"},
		{`{"reads": "leader"}`, "reads"}, {`{"reads": true}`, "reads"}, {`{"reads": ""}`, "reads"},
		{`{"batch": 10}`, "batch"}, {`{"batch": null}`, "batch"}, {`{"batch": {"count": 10}}`, "batch.count"},
		{`{"batch": {"size": 0}}`, "batch.size"}, {`{"batch": {"size": 10001}}`, "batch.size"},
		{`{"batch": {"size": null}}`, "batch.size"},
		{`{"batch": {"delay": 5}}`, "batch.delay"}, {`{"batch": {"delay": "-1ms"}}`, "batch.delay"},
		{`{"batch": {"delay": "61m"}}`, "batch.delay"}, {`{"batch": {"delay": "5"}}`, "batch.delay"},
		{`{"quorums": "majority"}`, "quorums"}, {`{"quorums": {"kind": "all"}}`, "quorums.kind"},
		{`{"quorums": {"size": 3}}`, "quorums.size"}, {`{"quorums": {"choice": "any"}}`, "quorums.choice"},
		{`{"quorums": {"phase2": 2}}`, "quorums.phase2"}, // a majority has no sizes
		{`{"quorums": {"kind": "majority", "rows": 2}}`, "quorums.rows"},
		{`{"quorums": {"kind": "flexible"}}`, "quorums.phase2"},
		{`{"quorums": {"kind": "flexible", "phase1": 0, "phase2": 2}}`, "quorums.phase1"},
		{`{"quorums": {"kind": "flexible", "phase2": 10001}}`, "quorums.phase2"},
		{`{"quorums": {"kind": "flexible", "phase2": 2, "columns": 2}}`, "quorums.columns"},
		{`{"quorums": {"kind": "grid"}}`, "quorums.rows"},
		{`{"quorums": {"kind": "grid", "rows": 2}}`, "quorums.columns"},
		{`{"quorums": {"kind": "grid", "rows": 2, "columns": 0}}`, "quorums.columns"},
		{`{"quorums": {"kind": "grid", "rows": 2, "columns": 2, "phase1": 2}}`, "quorums.phase1"},
		{`{"watch": false, "backoff": "random"}`, "backoff"}, {`{"backoff": {"strategy": "random"}}`, "backoff.strategy"},
		{`{"watch": false, "backoff": {"strategy": null}}`, "backoff.strategy"},
		{`{"watch": false, "backoff": {"strategy": "random", "factor": 2}}`, "backoff.factor"},
		{`{"watch": false, "backoff": {"strategy": "exponential", "factor": 0.5}}`, "backoff.factor"},
		{`{"watch": false, "backoff": {"strategy": "exponential", "cap": "1ms"}}`, "backoff.cap"},
		{`{"watch": false, "backoff": {"strategy": "aimd", "factor": 2}}`, "backoff.factor"},
		{`{"watch": false, "backoff": {"strategy": "aimd", "decrease": 1}}`, "backoff.decrease"},
		{`{"watch": false, "backoff": {"strategy": "aimd", "decrease": 0}}`, "backoff.decrease"},
		{`{"watch": false, "backoff": {"strategy": "aimd", "step": "0s"}}`, "backoff.step"},
		{`{"watch": false, "backoff": {"strategy": "aimd", "initial": "1m"}}`, "backoff.cap"},
		{`{"watch": false, "backoff": {"strategy": "decorrelated", "step": "1s"}}`, "backoff.step"},
		{`{"watch": false, "backoff": {"strategy": "decorrelated", "max": "1s"}}`, "backoff.max"},
		{`{"watch": false, "backoff": {"strategy": "decorrelated", "initial": "2s", "cap": "1s"}}`, "backoff.cap"},
		{`{"watch": false, "backoff": {"strategy": "none", "cap": "1s"}}`, "backoff.cap"},
		{`{"backoff": {"strategy": "decorrelated"}}`, "backoff.strategy"}, // beside watch
		{`{`, ""}, {`3`, ""}, {`"window"`, ""},
	} {
		_, err := ParseOptions(json.RawMessage(c.options))
		if option := optionError(t, err); option.Path != c.path || option.Want == "" {
			t.Errorf("%s: %v, want an error about %q", c.options, err, c.path)
		}
	}
}

func TestErrorsSayWhatWouldBeRight(t *testing.T) {
	for options, want := range map[string]string{
		`{"reads": "fast"}`:                                      `option reads is "fast", want slot or confirm`,
		`{"batch": {"size": 0}}`:                                 `option batch.size is 0, want a whole number from 1 to 10000`,
		`{"batch": {"delay": 1}}`:                                `option batch.delay is 1, want a duration from 0 to 1h, such as 5ms`,
		`{"quorums": {"kind": 1}}`:                               `option quorums.kind is 1, want majority, flexible or grid`,
		`{"quorums": {"rows": 1}}`:                               `option quorums.rows is given, want nothing: the kind majority doesn't use it`,
		`{"quorums": {"row": 1}}`:                                `option quorums.row is unknown, want one of [choice columns kind phase1 phase2 rows]`,
		`{"watch": false, "backoff": {"strategy": "fibonacci"}}`: `option backoff.strategy is "fibonacci", want none, random, exponential, aimd or decorrelated`,
	} {
		if _, err := ParseOptions(json.RawMessage(options)); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", options, err, want)
		}
	}
}

// ofAcceptors is a cluster of a replica, a leader and n acceptors, of which the
// spares take no part yet.
func ofAcceptors(n, spares int, options string) consensus.Config {
	config := consensus.Config{Options: json.RawMessage(options), Members: []consensus.Member{
		{ID: 1, Roles: []string{RoleReplica}}, {ID: 2, Roles: []string{RoleLeader}},
	}}
	for i := range n + spares {
		config.Members = append(config.Members, consensus.Member{
			ID: consensus.NodeID(3 + i), Roles: []string{RoleAcceptor}, Spare: i >= n,
		})
	}
	return config
}

func TestQuorumsMustFitTheAcceptors(t *testing.T) {
	for _, c := range []struct {
		acceptors, spares int
		quorums           string
		want              string // the error
	}{
		{1, 0, `{}`, ""},
		{4, 0, `{"choice": "random"}`, ""},
		{6, 0, `{"kind": "flexible", "phase1": 5, "phase2": 2}`, ""},
		{6, 0, `{"kind": "flexible", "phase1": 6, "phase2": 6}`, ""},
		{6, 0, `{"kind": "flexible", "phase2": 6}`, ""},
		{6, 0, `{"kind": "flexible", "phase1": 6}`, ""},
		{6, 3, `{"kind": "flexible", "phase1": 5, "phase2": 2}`, ""},
		{6, 0, `{"kind": "grid", "rows": 2, "columns": 3}`, ""},
		{6, 0, `{"kind": "grid", "rows": 6, "columns": 1}`, ""},
		{6, 0, `{"kind": "flexible", "phase1": 3, "phase2": 3}`,
			"option quorums.phase1 is 3, want at least 4 beside phase2: 3, since phase 1 quorum {1, 2, 3} and phase 2 quorum {4, 5, 6} have no process in common: want q1 + q2 > 6"},
		{6, 0, `{"kind": "flexible", "phase1": 1, "phase2": 2}`,
			"option quorums.phase1 is 1, want at least 5 beside phase2: 2, since phase 1 quorum {1} and phase 2 quorum {2, 3} have no process in common: want q1 + q2 > 6"},
		{5, 1, `{"kind": "flexible", "phase1": 6, "phase2": 1}`, "option quorums.phase1 is 6, want at most the number of acceptors, which is 5"},
		{5, 0, `{"kind": "flexible", "phase2": 6}`, "option quorums.phase2 is 6, want at most the number of acceptors, which is 5"},
		{5, 1, `{"kind": "grid", "rows": 2, "columns": 3}`,
			"option quorums.rows is 2, want rows x columns to be the number of acceptors, which is 5; columns is 3"},
		{6, 0, `{"kind": "grid", "rows": 3}`, "option quorums.columns is missing, want the number of columns"},
	} {
		err := checkConfig(ofAcceptors(c.acceptors, c.spares, `{"quorums": `+c.quorums+`}`))
		if got := fmt.Sprint(err); c.want == "" && err != nil || c.want != "" && got != c.want {
			t.Errorf("%d acceptors, %s: %v, want %q", c.acceptors, c.quorums, err, c.want)
		}
		if err != nil && !strings.HasPrefix(optionError(t, err).Path, "quorums.") {
			t.Errorf("%d acceptors, %s: the error is about %q", c.acceptors, c.quorums, optionError(t, err).Path)
		}
	}
}

// Flexible Paxos: with the size of the one phase given, the other's least size
// is one more than what the first leaves out, whatever the number of acceptors.
func TestTheSizeThatIsLeftOutIsTheLeastThatIntersects(t *testing.T) {
	for n := 1; n <= 9; n++ {
		for size := 1; size <= n; size++ {
			for _, q := range []QuorumOptions{{Kind: QuorumFlexible, Phase1: size}, {Kind: QuorumFlexible, Phase2: size}} {
				system, err := q.System(n)
				if err != nil {
					t.Fatalf("%+v of %d: %v", q, n, err)
				}
				one, two := system.Phase1().Least(), system.Phase2().Least()
				if one+two != n+1 || (q.Phase1 > 0 && one != size) || (q.Phase2 > 0 && two != size) {
					t.Errorf("%+v of %d: sizes %d and %d", q, n, one, two)
				}
			}
		}
	}
}

func TestAGridOfOptionsHasRowsToElectAndColumnsToDecide(t *testing.T) {
	system, err := QuorumOptions{Kind: QuorumGrid, Rows: 2, Columns: 3}.System(6)
	if err != nil || system.Phase1().Least() != 3 || system.Phase2().Least() != 2 {
		t.Errorf("%+v, %v", system, err)
	}
}

// Whatever is accepted is within the documented ranges, makes a backoff that
// respects them and either fits a number of acceptors or is refused by option.
func FuzzParseOptions(f *testing.F) {
	for _, seed := range []string{
		``, `null`, `{}`, `{"window": 10, "pipeline": 3, "retain": 0, "reads": "confirm"}`,
		`{"batch": {"size": 10, "delay": "5ms"}, "resend": "1h", "ping_interval": "1ns", "ping_timeout": "2ns"}`,
		`{"quorums": {"kind": "flexible", "phase1": 5, "phase2": 2, "choice": "random"}}`,
		`{"quorums": {"kind": "grid", "rows": 2, "columns": 3}}`,
		`{"watch": false, "backoff": {"strategy": "random", "max": "1s"}}`,
		`{"watch": false, "backoff": {"strategy": "exponential", "initial": "1s", "factor": 3, "cap": "9s"}}`,
		`{"watch": false, "backoff": {"strategy": "aimd", "step": "1h", "decrease": 0.1, "cap": "1h"}}`,
		`{"watch": false, "backoff": {"strategy": "decorrelated", "initial": "1h", "cap": "1h"}}`,
		`{"watch": 1}`, `{"backoff": null}`, `[]`, `{"a": 1, "a": 2}`, `{"window": 1e3}`, `{`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := ParseOptions(data)
		if err != nil {
			optionError(t, err)
			return
		}
		if !inRange(o) {
			t.Fatalf("%+v", o)
		}
		b := newBackoff(o.Backoff, rand.New(rand.NewPCG(1, 1)))
		for i := range 20 {
			if wait := b.next(); wait < 0 || wait > time.Hour {
				t.Fatalf("%+v: waits %v", o.Backoff, wait)
			}
			if i%7 == 6 {
				b.reset()
			}
		}
		for n := 1; n < 9; n++ {
			system, err := o.Quorums.System(n)
			if err != nil {
				optionError(t, err)
			} else if one, two := system.Phase1().Least(), system.Phase2().Least(); one < 1 || two < 1 || one > n || two > n {
				t.Fatalf("%+v of %d: sizes %d and %d", o.Quorums, n, one, two)
			}
		}
	})
}

func inRange(o Options) bool {
	for _, d := range []time.Duration{o.PingInterval, o.PingTimeout, o.Resend} {
		if d <= 0 || d > time.Hour {
			return false
		}
	}
	return o.Window >= 1 && o.Window <= 1<<20 && o.Pipeline <= 1<<20 && o.Retain <= 1<<20 &&
		o.Batch.Size >= 1 && o.Batch.Size <= 10_000 && o.Batch.Delay >= 0 && o.Batch.Delay <= time.Hour &&
		(o.Reads == ReadsSlot || o.Reads == ReadsConfirm) &&
		(o.Quorums.Choice == ChoiceAll || o.Quorums.Choice == ChoiceRandom) && o.PingInterval <= o.PingTimeout
}
