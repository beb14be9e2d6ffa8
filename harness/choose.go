package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"quorumlab/harness/engine"
	"quorumlab/harness/engine/sim"
	"quorumlab/harness/experiment"
	"quorumlab/results"
)

// defaultEngine is what "auto" means where it works.
const defaultEngine = "netns"

// lookup finds an engine by its name, as engine.Lookup does.
type lookup func(name string) (engine.Engine, bool)

// chooseEngine finds the engine that the spec asks for. It fails if that doesn't
// work on this machine; "auto" is then the simulator.
func chooseEngine(ctx context.Context, find lookup, name string) (chosen engine.Engine, reason string, err error) {
	if name != experiment.EngineAuto {
		chosen, err = workingEngine(ctx, find, name)
		return chosen, "asked for", err
	}
	chosen, err = workingEngine(ctx, find, defaultEngine)
	var unavailable *Unavailable
	switch {
	case err == nil:
		return chosen, "the default engine, and it works here", nil
	case errors.As(err, &unavailable):
		chosen, err = workingEngine(ctx, find, sim.Name)
		return chosen, fmt.Sprintf("%s doesn't work here: %s", defaultEngine, unavailable.Reason), err
	}
	return nil, "", err
}

// workingEngine finds an engine that works here; the error is an *Unavailable
// if it doesn't.
func workingEngine(ctx context.Context, find lookup, name string) (engine.Engine, error) {
	chosen, ok := find(name)
	if !ok {
		return nil, &Unavailable{Readiness: engine.Readiness{Name: name,
			Reason: fmt.Sprintf("it isn't built into this program, which has %v", engine.Names())}}
	}
	checking, cancel := context.WithTimeoutCause(ctx, startTimeout, errors.New("the engine's check took too long"))
	defer cancel()
	rows := chosen.Check(checking)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if len(rows) > 0 && !rows[0].OK {
		return nil, &Unavailable{Readiness: rows[0]}
	}
	return chosen, nil
}

// Unavailable is the error for an engine that doesn't work on this machine. It
// wraps ErrUnavailable.
type Unavailable struct {
	engine.Readiness
}

// Error says why, and what would mend it.
func (u *Unavailable) Error() string {
	text := fmt.Sprintf("engine %s doesn't work here: %s", u.Name, u.Reason)
	for _, line := range u.Mend {
		text += "\n  " + line
	}
	return text
}

// Unwrap makes errors.Is(err, ErrUnavailable) true.
func (u *Unavailable) Unwrap() error { return ErrUnavailable }

// settleLinks decides which executor shapes the links of labs.
func settleLinks(ctx context.Context, manifest *results.Manifest, builder engine.Builder, source *experiment.Source, links, node string) error {
	if links == "" {
		links = engine.LinksAuto
	}
	reason := ""
	broken := needsEmulator(source)
	switch {
	case links == engine.LinksKernel && broken != "":
		return fmt.Errorf("%w: --links kernel is given, and %s; use --links userspace", ErrLinks, broken)
	case links != engine.LinksAuto:
	case captures(source):
		reason = "only the emulator can write down frames"
	case broken != "":
		reason = broken
	}
	if reason != "" {
		links = engine.LinksUserspace
	}
	var err error
	manifest.Links, manifest.LinksReason, err = chooseLinks(ctx, builder, source, links, node)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if reason != "" {
		manifest.LinksReason = reason
	}
	return err
}

// settleSimulation notes what a simulated run takes links and processes to be.
func settleSimulation(manifest *results.Manifest, source *experiment.Source, links string) error {
	if links != "" && links != engine.LinksAuto {
		return fmt.Errorf("%w: %s simulates them and has no %s ones", ErrLinks, manifest.Engine, links)
	}
	manifest.Simulated = true
	manifest.Links, manifest.LinksReason = linksModel, "simulated: frames cross the link model in virtual time"
	var err error
	manifest.Costs, err = json.Marshal(modelledCosts(source.Spec))
	return err
}

// chooseLinks decides once for the whole run which executor shapes the links,
// by building the points' labs until one needs the emulator: a run never mixes
// executors.
func chooseLinks(ctx context.Context, chosen engine.Builder, source *experiment.Source, links, node string) (executor, reason string, err error) {
	discard, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return "", "", err
	}
	defer discard.Close()
	ctx, cancel := context.WithTimeoutCause(ctx, time.Duration(len(source.Points))*startTimeout, errors.New("building the labs took too long"))
	defer cancel()
	for _, point := range source.Points {
		lab, err := chosen.Build(ctx, engine.Blueprint{
			Topology: monitored(point.Spec.Network(), chosen.MaxHosts()), Links: links, Seed: source.Spec.Seed,
			CongestionControl: congestionControl, NodeBinary: node, Log: discard,
			Changing: framesBreak(point.Spec.Schedule(), point.Spec.Network()),
		})
		if err != nil {
			return "", "", err
		}
		executor, reason = lab.Links()
		if err := lab.Close(); err != nil {
			return "", "", err
		}
		if executor == engine.LinksUserspace {
			break
		}
	}
	return executor, reason, nil
}

// findNode locates bench-node.
func findNode(given string) (string, error) {
	path := given
	if path == "" {
		self, err := os.Executable()
		if err != nil {
			return "", fmt.Errorf("locating this program: %w", err)
		}
		path = filepath.Join(filepath.Dir(self), "bench-node")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if _, err := exec.LookPath(path); err != nil {
		return "", fmt.Errorf("bench-node is missing or can't be run: %w (make build puts it beside bench)", err)
	}
	return path, nil
}
