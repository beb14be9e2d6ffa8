package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"quorumlab/harness/access"
	"quorumlab/harness/engine"
	"quorumlab/harness/experiment"
)

// WalkInOptions say how to build a lab to walk into.
type WalkInOptions struct {
	// Links is engine.LinksAuto, LinksKernel or LinksUserspace.
	Links string
	// Name is what the lab is called; empty means the experiment's name.
	Name string
	// Point is which of the experiment's points has the lab, from 0.
	Point int
	// NodeBinary is the path of bench-node; empty means the one beside the
	// running program.
	NodeBinary string
	// Log receives what the lab's own processes have to say, and who walks in.
	Log *os.File
}

// WalkIn is a lab without load that others can walk into.
type WalkIn struct {
	access.Description
	// LinksReason says why the links have their executor.
	LinksReason string

	lab  engine.Lab
	stop func()
}

// ErrNoHosts is wrapped by errors about an engine whose networks have no hosts to walk
// into.
var ErrNoHosts = errors.New("a simulated network has no hosts to walk into")

// aliveInterval is how often a lab that nobody measures is asked whether it is well.
const aliveInterval = 2 * time.Second

// OpenLab builds the lab of a point of an experiment, without any load, and lets
// others in until it is closed. It vanishes with the calling process.
func OpenLab(ctx context.Context, source *experiment.Source, options WalkInOptions) (*WalkIn, error) {
	name := options.Name
	if name == "" {
		name = source.Spec.Name
	}
	builder, err := chooseBuilder(ctx, source.Spec.Engine)
	if err != nil {
		return nil, err
	}
	if err := access.CheckName(name); err != nil {
		return nil, err
	}
	node, err := findNode(options.NodeBinary)
	if err != nil {
		return nil, err
	}
	spec := source.Points[options.Point].Spec
	topology := spec.Network()
	building, cancel := context.WithTimeoutCause(ctx, startTimeout, errors.New("building the lab took too long"))
	defer cancel()
	lab, err := builder.Build(building, engine.Blueprint{
		Topology: topology, Links: options.Links, Seed: source.Spec.Seed,
		CongestionControl: congestionControl, NodeBinary: node, Log: options.Log,
	})
	if err != nil {
		return nil, err
	}
	hosts := map[string]string{}
	for _, placement := range spec.Deployment() {
		hosts[placement.Name] = placement.Host
	}
	w := &WalkIn{Description: describeLab(name, lab, topology, hosts), lab: lab}
	_, w.LinksReason = lab.Links()
	w.stop, err = access.Serve(lab, w.Description, func(what string) { fmt.Fprintln(options.Log, what) })
	if err != nil {
		lab.Close()
		return nil, err
	}
	return w, nil
}

// chooseBuilder finds an engine that works here and has labs.
func chooseBuilder(ctx context.Context, name string) (engine.Builder, error) {
	if name == experiment.EngineAuto {
		name = defaultEngine
	}
	chosen, err := workingEngine(ctx, engine.Lookup, name)
	if err != nil {
		return nil, err
	}
	builder, real := chosen.(engine.Builder)
	if !real {
		return nil, fmt.Errorf("engine %s: %w", name, ErrNoHosts)
	}
	return builder, nil
}

// Wait returns nil once the context has ended, or an error as soon as the lab has failed.
func (w *WalkIn) Wait(ctx context.Context) error {
	for {
		if err := sleep(ctx, aliveInterval); err != nil {
			return nil
		}
		asking, cancel := answering(ctx)
		_, err := w.lab.Report(asking)
		cancel()
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("the lab has failed: %w", err)
		}
	}
}

// Close shows everybody out and removes the lab.
func (w *WalkIn) Close() error {
	w.stop()
	return w.lab.Close()
}

// processesOn lists the processes of each host, by name.
func processesOn(hosts map[string]string) map[string][]string {
	processes := map[string][]string{}
	for process, host := range hosts {
		processes[host] = append(processes[host], process)
	}
	for _, names := range processes {
		slices.Sort(names)
	}
	return processes
}
