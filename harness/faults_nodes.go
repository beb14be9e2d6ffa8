package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"quorumlab/faults"
	"quorumlab/node/control"
	"quorumlab/node/storage"
)

// killTimeout is how long the kernel may take to end a process.
const killTimeout = 2 * time.Second

// injectionFile is what a node is given when it starts, in its folder.
const injectionFile = "injection.json"

// brokenNode is a node that faults may hit. Its line alone changes it.
type brokenNode struct {
	b    *breaker
	name string

	// What is in force in the process that lives.
	paused    bool
	share     float64
	injection control.Injection
	// itself is true if its last life ended by itself because of a fault that is in force:
	// no order but one with Start begins another.
	itself bool

	mu sync.Mutex
	// last is the last life that has ended.
	last life
	// mute is true while the process is starting, or paused: it would answer nothing.
	mute bool
	// killing counts the orders under way that end a process.
	killing int
}

// life is one that has ended.
type life struct {
	session *session
	// signalled is when it was told to end, 0 if it ended by itself; gone is when the
	// kernel said that it is gone. Both count from the load's beginning.
	signalled, gone time.Duration
	// failed is what it said last, if it ended because of an error.
	failed control.Line
	// disk is what happened to its disk, log how long its log was before and after, and
	// how much of it was synced.
	disk string
	log  [3]int64
	// bytes are those of its files before and after.
	bytes [2]int64
}

// lastLife is the last life that has ended.
func (n *brokenNode) lastLife() life {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.last
}

func (n *brokenNode) note(change func(*brokenNode)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change(n)
}

// answers tells whether the process takes commands.
func (n *brokenNode) answers() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.mute
}

// mayEnd tells whether an injection may have a process end by itself.
func mayEnd(injection control.Injection) bool {
	return injection.FailWrites || injection.FullDisk ||
		slices.ContainsFunc(injection.Failpoints, func(f control.Failpoint) bool { return f.Action == control.ActionCrash })
}

// set has the node be as an order wants it. A process that has ended by itself, as a fault
// wanted, and whose end the director is yet to learn of, is past being changed.
func (n *brokenNode) set(ctx context.Context, p *parts, want faults.NodeState) error {
	if want.Down {
		defer n.note(func(n *brokenNode) { n.killing-- })
	}
	s := n.b.t.members.live(n.name)
	p.about(n.name, s)
	switch {
	case want.Down && s == nil:
		n.itself = false
		return nil
	case want.Down:
		return n.end(ctx, p, s, want.Disk)
	case s == nil && n.itself && !want.Start:
		return nil
	case s == nil:
		return n.restart(ctx, p, want)
	}
	explained := mayEnd(n.injection) || mayEnd(want.Injection)
	err := errEnded
	select {
	case <-s.process.Done():
	default:
		err = n.change(ctx, p, s, want)
	}
	ended := errors.Is(err, errEnded) || errors.Is(err, os.ErrProcessDone)
	switch {
	case ended && !want.Start && explained:
		return nil
	case err != nil && !(ended && want.Start):
		return fmt.Errorf("%s: %w", n.name, err)
	case !want.Start || !ended && !n.doomed(ctx, s):
		return nil
	}
	select {
	case <-s.process.Done():
	case <-time.After(killTimeout):
		return fmt.Errorf("%s lives on without a disk", n.name)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	n.b.fell(n.name, s)
	return n.restart(ctx, p, want)
}

// doomed tells whether the disk has refused the process something: it is about to end.
func (n *brokenNode) doomed(ctx context.Context, s *session) bool {
	if n.paused {
		return false
	}
	asking, cancel := answering(ctx)
	defer cancel()
	standing, err := s.standing(asking)
	return errors.Is(err, errEnded) || err == nil && standing.Injected.RefusedBytes > 0
}

// end ends the process as SIGKILL does, and waits until it is gone. From the signal on
// the process does nothing any more.
func (n *brokenNode) end(ctx context.Context, p *parts, s *session, disk string) error {
	if slices.Contains(n.b.t.clients(), n.name) {
		return fmt.Errorf("killing %s: it is a client, and what it has asked for and not recorded would be missing from the history", n.name)
	}
	signalled := n.b.now()
	switch err := s.process.Signal(os.Kill); {
	case errors.Is(err, os.ErrProcessDone):
		signalled = 0
	case err != nil:
		return fmt.Errorf("killing %s: %w", n.name, err)
	}
	p.since("node "+n.name, n.b.now())
	select {
	case <-s.process.Done():
	case <-time.After(killTimeout):
		return nil // whether it is gone, the evidence tells
	case <-ctx.Done():
		return fmt.Errorf("killing %s: %w", n.name, context.Cause(ctx))
	}
	gone := n.b.now()
	n.b.fell(n.name, s)
	n.note(func(n *brokenNode) { n.last.signalled, n.last.gone = signalled, gone })
	return n.spoil(disk)
}

// fell notes that a process has ended because of a fault.
func (b *breaker) fell(name string, s *session) {
	number, ended := b.t.members.ended(name, s)
	if !ended {
		return
	}
	b.t.writeExit(earlier(name+".exit.json", number), s.process.Exit())
	n := b.nodes[name]
	n.note(func(n *brokenNode) {
		failed := n.last.failed
		if n.last.session != s {
			failed = control.Line{}
		}
		n.last = life{session: s, gone: b.now(), failed: failed}
		n.mute = false
	})
	n.paused, n.share, n.injection, n.itself = false, 1, control.Injection{}, false
}

// disk is the folder of its files.
func (n *brokenNode) disk() string { return filepath.Join(n.b.t.nodesDir(), n.name, storageDir) }

// spoil does to the disk of a process that is gone what the end of its machine does.
func (n *brokenNode) spoil(disk string) (err error) {
	var log, bytes = [3]int64{}, [2]int64{}
	dir := n.disk()
	bytes[0] = filesSize(dir)
	switch disk {
	case "", faults.DiskSame:
	case faults.DiskEmpty:
		err = storage.Erase(dir)
	default:
		seed := n.b.t.planned.Seed + uint64(n.b.t.members.deaths(n.name))
		log[0], log[1], log[2], err = storage.Cut(dir, disk == faults.DiskTorn, seed)
		if errors.Is(err, storage.ErrNotSynced) {
			err = storage.Erase(dir)
		}
	}
	if err != nil {
		return fmt.Errorf("the disk of %s: %w", n.name, err)
	}
	bytes[1] = filesSize(dir)
	n.note(func(n *brokenNode) { n.last.disk, n.last.log, n.last.bytes = disk, log, bytes })
	return nil
}

// filesSize sums the sizes of a folder's files; what can't be read counts as nothing.
func filesSize(dir string) int64 {
	var sum int64
	entries, _ := os.ReadDir(dir)
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && info.Mode().IsRegular() {
			sum += info.Size()
		}
	}
	return sum
}

// restart starts the node again, on its host and in its folder.
func (n *brokenNode) restart(ctx context.Context, p *parts, want faults.NodeState) error {
	dir := filepath.Join(n.b.t.nodesDir(), n.name)
	// A node begins its file anew.
	err := os.Rename(filepath.Join(dir, eventsFile), filepath.Join(dir, earlier(eventsFile, n.b.t.members.deaths(n.name))))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("starting %s again: %w", n.name, err)
	}
	starting, cancel := context.WithTimeoutCause(ctx, startTimeout, errors.New("it took too long"))
	defer cancel()
	s, err := n.b.t.startNode(starting, n.name, want.Injection)
	if err != nil {
		return fmt.Errorf("starting %s again: %w", n.name, err)
	}
	n.note(func(n *brokenNode) { n.mute = true })
	n.b.t.members.born(n.name, s)
	n.injection, n.itself = want.Injection, false
	n.b.listen(n.name, s)
	if err := n.b.t.greet(starting, n.name, s); err != nil {
		return fmt.Errorf("starting %s again: %w", n.name, err)
	}
	n.note(func(n *brokenNode) { n.mute = false })
	return n.change(ctx, p, s, want)
}

// change changes what differs in a process that lives. One that is stopped takes its
// injection once it goes on.
func (n *brokenNode) change(ctx context.Context, p *parts, s *session, want faults.NodeState) error {
	if n.paused && !want.Paused {
		if err := n.signal(s, continueSignal, false); err != nil {
			return err
		}
	}
	if !n.paused && !sameInjection(n.injection, want.Injection) {
		if err := n.inject(ctx, p, s, want.Injection); err != nil {
			return err
		}
	}
	if share := want.CPUShare; share > 0 && share != n.share {
		if err := s.process.Throttle(ctx, share); err != nil {
			return fmt.Errorf("slowing %s: %w", n.name, err)
		}
		n.share = share
	}
	if !n.paused && want.Paused {
		return n.signal(s, stopSignal, true)
	}
	return nil
}

func (n *brokenNode) signal(s *session, signal os.Signal, paused bool) error {
	n.note(func(n *brokenNode) { n.mute = true })
	err := s.process.Signal(signal)
	if err == nil {
		n.paused = paused
	}
	n.note(func(broken *brokenNode) { broken.mute = n.paused })
	if err != nil {
		return fmt.Errorf("signalling %s: %w", n.name, err)
	}
	return nil
}

func (n *brokenNode) inject(ctx context.Context, p *parts, s *session, injection control.Injection) error {
	asking, cancel := answering(ctx)
	defer cancel()
	before, err := s.standing(asking)
	if err == nil {
		p.stood(n.name, before, filesSize(n.disk()))
		_, err = s.call(asking, control.Command{Command: control.CommandInject, Injection: &injection})
	}
	if err != nil {
		return fmt.Errorf("injecting into %s: %w", n.name, err)
	}
	n.injection = injection
	return nil
}

// sameInjection compares what two injections say, not how their lists were made.
func sameInjection(x, y control.Injection) bool {
	a, errA := json.Marshal(x)
	b, errB := json.Marshal(y)
	return errA == nil && errB == nil && bytes.Equal(a, b)
}

// listen has the director learn what a node reports, and its end, as long as it lives.
func (b *breaker) listen(name string, s *session) {
	if b == nil || slices.Contains(b.t.clients(), name) {
		return
	}
	ctx := b.ctx
	b.working.Go(func() {
		for {
			select {
			case line, open := <-s.events:
				if !open {
					b.ended(ctx, name, s)
					return
				}
				b.heard(ctx, name, s, line)
			case <-ctx.Done():
				return
			}
		}
	})
}

func (b *breaker) heard(ctx context.Context, name string, s *session, line control.Line) {
	offset := b.offsets[b.t.hosts[name]]
	at := func(timeNS int64) time.Duration { return time.Duration(timeNS-b.startNS.Load()) - offset }
	switch {
	case line.Trace != nil:
		b.report(ctx, func() []faults.Order { return b.director.Observe(at(line.Trace.TimeNS), name, *line.Trace) })
	case line.Reached != nil:
		b.report(ctx, func() []faults.Order { return b.director.Reached(at(line.Reached.TimeNS), name, *line.Reached) })
	case line.Event == control.EventFailed:
		b.nodes[name].note(func(n *brokenNode) {
			if n.last.session != s { // it may be known by now that it has ended
				n.last = life{session: s}
			}
			n.last.failed = line
		})
	}
}

// report has the director learn what a node has done, once times can be told: what was
// done before begin is told then.
func (b *breaker) report(ctx context.Context, step func() []faults.Order) {
	b.tell(ctx, func() []faults.Order {
		if !b.begun {
			b.early = append(b.early, step)
			return nil
		}
		return step()
	})
}

// ended tells the director of an end that no order demanded. One that a fault explains is
// no reason to void.
func (b *breaker) ended(ctx context.Context, name string, s *session) {
	select {
	case <-s.process.Done():
	case <-ctx.Done():
		return
	}
	gone := b.now()
	b.report(ctx, func() []faults.Order {
		n := b.nodes[name]
		if b.t.members.live(name) != s || n.isKilled() || !b.director.Ended(gone, name) {
			return nil
		}
		b.thing("node "+name).add(&b.working, func() {
			if b.t.members.live(name) == s {
				b.fell(name, s)
				n.itself = true
			}
		})
		return nil
	})
}

// isKilled tells whether an order under way ends the process. It may have been taken back
// by now, so that the director would take the end for one that nobody asked for.
func (n *brokenNode) isKilled() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.killing > 0
}
