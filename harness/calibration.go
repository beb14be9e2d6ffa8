package harness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"quorumlab/harness/calibrate"
	"quorumlab/harness/engine"
	"quorumlab/harness/experiment"
	"quorumlab/node/control"
	"quorumlab/node/driver/clock"
	"quorumlab/results"
	"quorumlab/topologies"
)

// CalibrateOptions say how to measure the links of an experiment.
type CalibrateOptions struct {
	// Links is engine.LinksAuto, LinksKernel or LinksUserspace.
	Links string
	// NodeBinary is the path of bench-node; empty means the one beside the running
	// program.
	NodeBinary string
	// Point numbers the point whose topology is measured, from 0.
	Point int
	// Budget is about how long it may take; 0 means calibrate.Budget.
	Budget time.Duration
	// Tries is how often what fails is measured; 0 means calibrate.Tries.
	Tries int
	// Dir is where logs go, a folder that exists.
	Dir string
	// Progress is told what is being measured; nil tells nobody.
	Progress func(text string)
}

// ErrNothingToMeasure is wrapped by errors about an engine whose links are the model
// itself.
var ErrNothingToMeasure = errors.New("nothing to measure")

// Calibrate builds a lab of an experiment's topology, without its nodes, and measures
// each of its links against the declaration. If the context ends early, or the tool fails
// once there are rows, the result isn't Complete and has what was measured, and the error
// says why: the context's cause.
func Calibrate(ctx context.Context, source *experiment.Source, options CalibrateOptions) (*calibrate.Result, error) {
	if options.Point < 0 || options.Point >= len(source.Points) {
		return nil, fmt.Errorf("there is no point %d: the experiment has %d, counted from 0", options.Point, len(source.Points))
	}
	result := &calibrate.Result{Experiment: source.Spec.Name, Engine: source.Spec.Engine, Seed: source.Spec.Seed,
		Phase: "choosing the engine", Checks: []results.LinkCheck{}}
	chosen, _, err := chooseEngine(ctx, engine.Lookup, source.Spec.Engine)
	if err != nil {
		return interrupted(ctx, result, err)
	}
	builder, real := chosen.(engine.Builder)
	if !real {
		return nil, fmt.Errorf("engine %s: %w: its links are the model that links are measured against", chosen.Name(), ErrNothingToMeasure)
	}
	node, err := findNode(options.NodeBinary)
	if err != nil {
		return nil, err
	}
	spec := source.Points[options.Point].Spec
	topology := monitored(spec.Network(), builder.MaxHosts())
	log, err := os.Create(filepath.Join(options.Dir, "lab.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	result.Engine, result.Phase = chosen.Name(), "building the lab"
	building, cancel := context.WithTimeoutCause(ctx, startTimeout, errors.New("building the lab took too long"))
	defer cancel()
	began := int64(clock.Now())
	lab, err := builder.Build(building, engine.Blueprint{
		Topology: topology, Links: options.Links, Seed: source.Spec.Seed,
		CongestionControl: congestionControl, NodeBinary: node, Log: log,
	})
	if err != nil {
		return interrupted(ctx, result, err)
	}
	defer lab.Close()
	result.Links, result.LinksReason = lab.Links()
	result.Phase = "starting the processes that measure"
	tell := options.Progress
	options.Progress = func(text string) {
		result.Phase = "measuring " + text
		if tell != nil {
			tell(text)
		}
	}
	measured := calibrate.Lab{Topology: topology, Seed: source.Spec.Seed, StartedNS: [2]int64{began, int64(clock.Now())}}
	checks, err := CalibrateLab(ctx, lab, measured, options)
	result.Checks = append(result.Checks, checks...)
	switch {
	case err == nil:
		result.Complete, result.Phase = true, ""
		result.Pass = result.Count(results.LinkFail) == 0
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case len(checks) == 0:
		return nil, err
	}
	return result, err
}

// interrupted is the result and the context's cause if that has ended, else the error alone.
func interrupted(ctx context.Context, result *calibrate.Result, err error) (*calibrate.Result, error) {
	if ctx.Err() == nil {
		return nil, err
	}
	return result, context.Cause(ctx)
}

// loadOf tells how the machine fares under a lab.
func loadOf(lab engine.Lab) func(context.Context) (calibrate.Load, error) {
	return func(ctx context.Context) (calibrate.Load, error) {
		ctx, cancel := answering(ctx)
		defer cancel()
		report, err := lab.Report(ctx)
		if err != nil {
			return calibrate.Load{}, fmt.Errorf("asking the lab how late its frames are: %w", err)
		}
		processors, _ := readProcessorTime() // the zero time if it is unknown
		return calibrate.Load{Lateness: report.Lateness, StolenTicks: processors.stolen, TotalTicks: processors.total}, nil
	}
}

// CalibrateLab measures the links of a lab that is up and idle. Of what is to be
// measured, the topology (as declared, with monitors), the seed and the start are given,
// of the options the budget, the tries, the folder and the progress.
func CalibrateLab(ctx context.Context, lab engine.Lab, measured calibrate.Lab, options CalibrateOptions) ([]results.LinkCheck, error) {
	dir, err := filepath.Abs(options.Dir)
	if err != nil {
		return nil, err
	}
	start := func(ctx context.Context, host, name string, arguments ...string) (*session, error) {
		log, err := os.Create(filepath.Join(dir, name+".log"))
		if err != nil {
			return nil, err
		}
		defer log.Close()
		process, err := lab.Start(ctx, host, engine.Command{Name: name, Arguments: arguments, Log: log})
		if err != nil {
			return nil, err
		}
		return newSession(process), nil
	}
	starting, cancel := context.WithTimeoutCause(ctx, startTimeout, errors.New("the echo processes did not start in time"))
	defer cancel()
	echoes, err := startEchoes(starting, measured.Topology, dir, start)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, s := range echoes {
			s.process.Stdin().Close()
		}
	}()
	measured.Dir, measured.Echoes, measured.ClockOffset, measured.Load = dir, callers(echoes), lab.ClockOffset, loadOf(lab)
	return calibrate.Measure(ctx, measured, calibrate.Options{
		Budget: cmp.Or(options.Budget, calibrate.Budget), FalseAlarm: calibrate.FalseAlarm,
		Tries: cmp.Or(options.Tries, calibrate.Tries), Progress: options.Progress,
	})
}

// monitored is the topology with a monitor at each switch, so that each link can be
// measured by itself, unless the engine has no room for so many hosts.
func monitored(topology *topologies.Topology, maxHosts int) *topologies.Topology {
	if len(topology.Hosts)+len(topology.Switches) > maxHosts {
		return topology
	}
	return topology.WithMonitors()
}

// caller lends a session to package calibrate.
type caller struct{ *session }

func (c caller) Call(ctx context.Context, command control.Command) (control.Line, error) {
	return c.call(ctx, command)
}

func callers(echoes map[string]*session) map[string]calibrate.Echo {
	all := map[string]calibrate.Echo{}
	for host, s := range echoes {
		all[host] = caller{s}
	}
	return all
}

// judgeCalibration voids a trial whose links aren't as declared, naming the first few.
func judgeCalibration(checks []results.LinkCheck) []results.VoidReason {
	const most = 3
	var reasons []results.VoidReason
	failed := 0
	for _, c := range checks {
		if c.Finding != results.LinkFail {
			continue
		}
		if failed++; failed > most {
			continue
		}
		reason := results.VoidReason{Code: voidLink, Mend: mendCalibrate, Text: calibrate.Describe(c)}
		switch c.Parameter {
		case "delay", "jitter", "trace", "rate": // what a busy machine spoils
			reason.Mend = mendBusy
		}
		reasons = append(reasons, reason)
	}
	if failed > most {
		reasons[most-1].Text += fmt.Sprintf(" (and %d more)", failed-most)
	}
	return reasons
}
