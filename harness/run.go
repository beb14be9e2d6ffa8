// Package harness runs experiments: it turns a spec into trials, has an engine
// build a lab for each, drives the load, gathers the evidence and judges each
// trial. It promises that what is not proved is reported as void, and that what
// was measured is on disk as soon as its trial is over.
package harness

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"quorumlab/harness/engine"
	"quorumlab/harness/experiment"
	"quorumlab/harness/measure"
	"quorumlab/harness/report"
	"quorumlab/results"
)

// congestionControl is what every lab's hosts use, so that results of machines
// with different defaults can be compared.
const congestionControl = "reno"

// resultsParent is where run folders go by default.
const resultsParent = "results/runs"

// Options say how to run an experiment.
type Options struct {
	// Links is engine.LinksAuto, LinksKernel or LinksUserspace.
	Links string
	// Dir is the run folder to make; empty means one below results/runs.
	Dir string
	// NodeBinary is the path of bench-node; empty means the one beside the
	// running program.
	NodeBinary string
	// CommandLine goes into the manifest.
	CommandLine []string
	Progress    report.Progress
}

// ErrUnavailable is wrapped by errors about an engine that doesn't work here.
// The error's text says why and what would mend it.
var ErrUnavailable = errors.New("the engine doesn't work here")

// ErrLinks is wrapped by errors about a link executor that the engine doesn't
// have.
var ErrLinks = errors.New("the engine has no such links")

// Run runs the experiment and returns its run folder and summary. If the
// context ends early both are of the trials that were finished, and the error
// is the context's cause. Nothing is created if the error wraps ErrUnavailable
// or ErrLinks.
func Run(ctx context.Context, source *experiment.Source, options Options) (*results.Folder, *results.Summary, error) {
	chosen, reason, err := chooseEngine(ctx, engine.Lookup, source.Spec.Engine)
	if err != nil {
		return nil, nil, err
	}
	if err := source.CheckOn(chosen.Name()); err != nil {
		return nil, nil, err
	}
	builder, real := chosen.(engine.Builder)
	if !real && slices.ContainsFunc(source.Points, func(p experiment.Point) bool { return len(p.Spec.Capture) > 0 }) {
		return nil, nil, fmt.Errorf("%w: capture is given, and engine %s, taken because %s, has no frames to write down", ErrLinks, chosen.Name(), reason)
	}
	node := ""
	if real {
		if node, err = findNode(options.NodeBinary); err != nil {
			return nil, nil, err
		}
	}
	r := &run{source: source, plan: source.Plan(), progress: options.Progress}
	manifest, err := manifestOf(source, options, r.plan, node)
	if err != nil {
		return nil, nil, err
	}
	manifest.Engine, manifest.EngineReason = chosen.Name(), reason
	if real {
		err = settleLinks(ctx, &manifest, builder, source, options.Links, node)
	} else {
		err = settleSimulation(&manifest, source, options.Links)
	}
	if err != nil {
		return nil, nil, err
	}
	if r.folder, err = createFolder(options.Dir, manifest); err != nil {
		return nil, nil, err
	}
	for _, input := range source.Inputs {
		if err := r.folder.WriteInput(input.Path, input.Data); err != nil {
			return nil, nil, err
		}
	}
	r.progress.Plan(planLines(source, r.plan, manifest, r.folder.Dir()))
	var stopped error
	if real {
		stopped = r.runLabs(ctx, builder, node)
	} else {
		stopped = r.runSimulations(ctx, chosen.(engine.Simulator))
	}
	summary, err := Summarise(r.folder)
	if err != nil {
		return r.folder, nil, errors.Join(stopped, err)
	}
	return r.folder, summary, stopped
}

// createFolder makes the run folder; without a name for it, a new one below
// results/runs, whoever else makes one there at the same time.
func createFolder(dir string, manifest results.Manifest) (*results.Folder, error) {
	if dir != "" {
		return results.Create(dir, manifest)
	}
	for tries := 0; ; tries++ {
		folder, err := results.Create(results.DefaultDir(resultsParent, manifest.Experiment, manifest.StartedAt), manifest)
		if !errors.Is(err, results.ErrExists) || tries == 100 {
			return folder, err
		}
	}
}

// Summarise derives the summary of a run folder again, and the traces of its trials with
// faults, and writes them there.
func Summarise(folder *results.Folder) (*results.Summary, error) {
	summary, err := measure.Summarise(folder)
	if err != nil {
		return nil, err
	}
	return summary, errors.Join(folder.WriteSummary(summary), measure.WriteTraces(folder))
}

// run is an experiment at work.
type run struct {
	source   *experiment.Source
	plan     []experiment.Trial
	folder   *results.Folder
	progress report.Progress
}

// runLabs carries out the trials of the plan, one lab after the other.
func (r *run) runLabs(ctx context.Context, builder engine.Builder, node string) error {
	manifest := r.folder.Manifest()
	for _, planned := range r.plan {
		t := &labTrial{
			trial: newTrial(r.folder, planned), engine: builder, links: manifest.Links, linksWhy: manifest.LinksReason,
			node: node, progress: r.progress,
		}
		r.progress.TrialStart(planned.Number, len(r.plan), describeTrial(planned))
		verdict, err := t.run(ctx)
		if err != nil {
			r.progress.TrialEnd("stopped")
			return err
		}
		if err := r.folder.WriteVerdict(verdict); err != nil {
			return err
		}
		r.progress.TrialEnd(verdictLine(verdict))
	}
	return nil
}

func verdictLine(verdict results.Verdict) string {
	if verdict.Valid {
		return "valid"
	}
	line := "VOID: " + verdict.Reasons[0].Text
	if more := len(verdict.Reasons) - 1; more > 0 {
		line += fmt.Sprintf(" (and %d more reasons)", more)
	}
	return line
}
