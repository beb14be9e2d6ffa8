package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"quorumlab/node/control"
)

// kill ends a node's process at once, as SIGKILL does, and waits until it is
// gone. Clients can't be killed: what they have asked for and not recorded would
// be missing from the history.
func (t *labTrial) kill(ctx context.Context, name string) error {
	if slices.Contains(t.clients(), name) {
		return fmt.Errorf("killing %s: it is a client", name)
	}
	s, life, err := t.members.killing(name)
	if err != nil {
		return fmt.Errorf("killing %w", err)
	}
	if err := s.process.Signal(os.Kill); err != nil {
		return fmt.Errorf("killing %s: %w", name, err)
	}
	for _, end := range []<-chan struct{}{s.process.Done(), s.finished} {
		select {
		case <-end:
		case <-ctx.Done():
			return fmt.Errorf("killing %s: %w", name, context.Cause(ctx))
		}
	}
	t.writeExit(earlier(name+".exit.json", life), s.process.Exit())
	return nil
}

// restart starts a killed node again, on its host and in its folder, and waits
// until it is connected to the other live ones.
func (t *labTrial) restart(ctx context.Context, name string) error {
	switch {
	case t.members.live(name) != nil || t.members.deaths(name) == 0:
		return fmt.Errorf("starting %s again: it was not killed", name)
	case t.cluster.Storage == "" || t.cluster.Storage == control.StorageMemory:
		return fmt.Errorf("starting %s again: its storage is memory, and it has promised what it can't remember", name)
	}
	dir := filepath.Join(t.nodesDir(), name)
	// A node begins its file anew.
	err := os.Rename(filepath.Join(dir, eventsFile), filepath.Join(dir, earlier(eventsFile, t.members.deaths(name))))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("starting %s again: %w", name, err)
	}
	s, err := t.startNode(ctx, name)
	if err != nil {
		return fmt.Errorf("starting %s again: %w", name, err)
	}
	t.members.born(name, s)
	if err := t.greet(ctx, name, s); err != nil {
		return fmt.Errorf("starting %s again: %w", name, err)
	}
	return t.await(ctx, "the connections of "+name, func(statuses map[string]control.Status) bool {
		_, alive := statuses[name]
		return alive && t.unconnected(statuses) == ""
	})
}

// reconfigure has a node change the cluster's configuration, given in the
// protocol's JSON, and waits until a further one is in force there.
func (t *labTrial) reconfigure(ctx context.Context, name string, change json.RawMessage) error {
	s := t.members.live(name)
	if s == nil {
		return fmt.Errorf("reconfiguring: %s doesn't live", name)
	}
	asking, cancel := answering(ctx)
	defer cancel()
	before, err := s.status(asking)
	if err != nil {
		return fmt.Errorf("reconfiguring: %w", err)
	}
	if _, err := s.call(asking, control.Command{Command: control.CommandReconfigure, Reconfigure: change}); err != nil {
		return fmt.Errorf("reconfiguring: %w", err)
	}
	return t.await(ctx, fmt.Sprintf("configuration %d at %s", before.Configuration+1, name), func(statuses map[string]control.Status) bool {
		return statuses[name].Configuration > before.Configuration
	})
}

// await asks for statuses until a condition holds; what names it.
func (t *labTrial) await(ctx context.Context, what string, condition func(map[string]control.Status) bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("waited %v for %s", startTimeout, what))
	defer cancel()
	for {
		statuses, err := t.askStatuses(ctx)
		if err != nil {
			return err
		}
		if condition(statuses) {
			return nil
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}
