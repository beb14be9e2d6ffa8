//go:build linux

package netns

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"quorumlab/harness/engine"
	"quorumlab/harness/link"
)

// SetPairs is engine.Lab's.
func (l *lab) SetPairs(ctx context.Context, changes []engine.PairChange) error {
	for _, c := range changes {
		if err := l.checkPair(c); err != nil {
			return fmt.Errorf("changing the pair %s>%s: %w", c.From, c.To, err)
		}
	}
	return l.emulator.command(ctx, "changing pairs of hosts", func(r *link.Remote) error { return r.SetPairs(changes) })
}

func (l *lab) checkPair(c engine.PairChange) error {
	if l.emulator == nil {
		return fmt.Errorf("%w: the kernel executes the links, only the emulator tells pairs of hosts apart (--links userspace)", engine.ErrUnsupported)
	}
	if err := errors.Join(l.checkHost(c.From), l.checkHost(c.To)); err != nil {
		return err
	}
	if c.From == c.To {
		return errors.New("frames of a host to itself pass no network")
	}
	if c.Parameters == nil {
		return nil
	}
	return l.checkParameters(*c.Parameters)
}

// State is engine.Process's.
func (p *process) State(ctx context.Context) (engine.ProcessState, error) {
	select {
	case <-p.done:
		return endState(p.exit), nil
	default:
	}
	answer, err := p.lab.init.call(ctx, request{State: &stateRequest{Process: p.id}})
	if errors.Is(err, ErrLabEnded) {
		<-p.done
		return endState(p.exit), nil
	}
	if err != nil {
		return engine.ProcessState{}, fmt.Errorf("asking for the state of %s: %w", p.name, err)
	}
	if answer.State.Letter != "" {
		return *answer.State, nil
	}
	// It has ended; how is on its way.
	select {
	case <-p.done:
		return endState(p.exit), nil
	case <-ctx.Done():
		return engine.ProcessState{}, fmt.Errorf("asking for the state of %s: %w", p.name, context.Cause(ctx))
	}
}

// endState is that of a process that has ended.
func endState(exit engine.Exit) engine.ProcessState {
	return engine.ProcessState{CPUNS: exit.UserNS + exit.SystemNS}
}

// Throttle is engine.Process's: the lab's init stops the process (all of its threads) and
// lets it go on, once in about 10 ms, so that it runs for its share of the time in the
// mean. Shares below 5% or above 95% have longer periods, since it runs and is stopped for
// at least half a millisecond.
func (p *process) Throttle(ctx context.Context, share float64) error {
	_, err := p.lab.init.call(ctx, request{Throttle: &throttleRequest{Process: p.id, Share: share}})
	if errors.Is(err, unix.ESRCH) {
		err = os.ErrProcessDone
	}
	if err != nil {
		return fmt.Errorf("giving %s a share of %v of a processor: %w", p.name, share, err)
	}
	return nil
}
