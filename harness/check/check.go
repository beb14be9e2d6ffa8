// Package check judges what a replicated system did, from the history that its
// clients recorded and from the states that its replicas reached. It knows no
// engine and no protocol.
//
// Linearizable decides whether a history is linearizable (Herlihy and Wing,
// "Linearizability: A Correctness Condition for Concurrent Objects"). That is
// a local property (theorem 1 there): a history is linearizable if it is so for
// each key. For each key it first replays the order that the system's own log
// claims, which takes near linear time; what that doesn't explain is decided by
// porcupine's search. A failed replay alone is no violation, since the log may
// have ordered what clients can't tell apart; nor does a replay that succeeds
// rely on the log being right, since results and real time are checked.
//
// Where the system says at which place of its log it applied each command, the
// places are part of its answers, and the log is an object of its own: two
// commands at one place, or a command at an earlier place than one that had
// been answered before it was even sent, can't come of applying one log in
// order. That is reported as a violation too, though the clients' results
// may be explained by another order. Reads that took no place are judged by what
// they returned alone.
//
// Timeouts are indeterminate: they may take effect at any time after their call,
// or never. The verdict is ok only if everything was explained.
package check

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"quorumlab/results"
)

// ErrHistory is wrapped by errors about rows that can't be a history: an
// unknown operation or outcome, or an answer from before the call.
var ErrHistory = errors.New("malformed history")

// Options say how to check a history.
type Options struct {
	// Application is "kv" (or empty) or "counter"; a history of any other is
	// not_checked.
	Application string
	// Timeout bounds the time given to searches for an order, over all keys; 0
	// means 30 s. Cutting a violation down may take as long again, 10 s at most.
	Timeout time.Duration
	// Label is put on a violation and its picture, such as where the history comes
	// from; empty for none.
	Label string
}

const (
	defaultTimeout = 30 * time.Second
	maxShrinkTime  = 10 * time.Second
)

// Result is what came of checking a history.
type Result struct {
	// Verdict is ok, violation, unknown (a search ran out of time or memory) or
	// not_checked (there was no answer that a state could be checked by).
	Verdict string `json:"verdict"`
	// Operations counts the requests, nops excepted; Keys the keys that they were
	// about; Witnessed those keys that the log's own order explains.
	Operations int `json:"operations"`
	Keys       int `json:"keys"`
	Witnessed  int `json:"witnessed"`
	// Reason says in a sentence why the verdict isn't ok; else it is empty.
	Reason string `json:"reason,omitempty"`
	// Violation is set if that is the verdict.
	Violation *Violation `json:"violation,omitempty"`
}

// Linearizable checks a history, given as one row a request in any order. It
// holds the whole history in memory, some 300 bytes a request. The error is the
// rows' own, wraps ErrHistory, or is the context's cause if that ended before
// anything was found; a violation that was found is still reported.
func Linearizable(ctx context.Context, rows iter.Seq2[results.Row, error], options Options) (*Result, error) {
	application, known := applications[options.Application]
	if !known {
		return &Result{
			Verdict: results.FindingNotChecked,
			Reason:  fmt.Sprintf("there is no model of the application %q", options.Application),
		}, nil
	}
	if options.Timeout <= 0 {
		options.Timeout = defaultTimeout
	}
	recorded := newRecording(application)
	for row, err := range rows {
		if err != nil {
			return nil, fmt.Errorf("reading the history: %w", err)
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err := recorded.add(row); err != nil {
			return nil, err
		}
	}
	result := recorded.check(ctx, options)
	if result.Verdict == results.FindingUnknown && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return result, nil
}

// check judges what was recorded.
func (r *recording) check(ctx context.Context, options Options) *Result {
	result := &Result{Verdict: results.FindingOK, Operations: r.operations, Keys: len(r.objects)}
	broken := r.logOrder()
	found, reason := r.checkObjects(result, within(ctx, options.Timeout))
	switch {
	case found != nil:
		small := shrink(*found, within(ctx, min(options.Timeout, maxShrinkTime)))
		result.Violation = r.unexplained(ctx, small)
	case broken != nil:
		result.Violation = r.disordered(broken)
	case reason != "":
		result.Verdict, result.Reason = results.FindingUnknown, reason
	case r.answers == 0:
		result.Verdict, result.Reason = results.FindingNotChecked, "no request that could be checked was answered"
	}
	if result.Violation != nil {
		result.Verdict, result.Reason = results.FindingViolation, result.Violation.Reason
		result.Violation.Label = options.Label
	}
	return result
}

// suspect is an object whose log's order doesn't explain its history.
type suspect struct {
	object *object
	// failure is where the replay failed; nil if there was no log to replay.
	failure *failure
}

// checkObjects returns a history that no order explains, if it finds one, or
// else a reason if it can't tell.
func (r *recording) checkObjects(result *Result, limit limit) (violation *history, reason string) {
	var suspects []suspect
	for _, object := range r.objects {
		ok, failure := r.application.witness(object)
		if ok {
			result.Witnessed++
			continue
		}
		suspects = append(suspects, suspect{object: object, failure: failure})
	}
	// The earliest failure is nearest to its cause.
	slices.SortStableFunc(suspects, func(a, b suspect) int { return a.failure.compare(b.failure) })
	unknown := 0
	for i, s := range suspects {
		// What a key leaves of its share of the time goes to the others.
		verdict, history := r.application.decide(s, limit.share(len(suspects)-i))
		switch verdict {
		case porcupine.Illegal:
			return history, ""
		case porcupine.Unknown:
			if unknown++; unknown == 1 {
				reason = fmt.Sprintf("the search for an order of key %d's %d requests ran out of time or memory",
					s.object.key, len(s.object.answered)+len(s.object.pending))
			}
		}
	}
	if unknown > 1 {
		reason += fmt.Sprintf(", as did that of %d other keys", unknown-1)
	}
	return nil, reason
}
