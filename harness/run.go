// Package harness runs experiments: it turns a spec into trials, has an engine
// build a lab for each, drives the load, gathers the evidence and judges each
// trial. It promises that what is not proved is reported as void, and that what
// was measured is on disk as soon as its trial is over.
package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

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

// Run runs the experiment and returns its run folder and summary. If the
// context ends early both are of the trials that were finished, and the error
// is the context's cause. Nothing is created if the error wraps ErrUnavailable.
func Run(ctx context.Context, source *experiment.Source, options Options) (*results.Folder, *results.Summary, error) {
	node, err := findNode(options.NodeBinary)
	if err != nil {
		return nil, nil, err
	}
	chosen, reason, err := chooseEngine(ctx, source.Spec.Engine)
	if err != nil {
		return nil, nil, err
	}
	plan := source.Plan()
	manifest, err := manifestOf(source, options, plan, node)
	if err != nil {
		return nil, nil, err
	}
	manifest.Engine, manifest.EngineReason = chosen.Name(), reason
	links := options.Links
	if links == "" {
		links = engine.LinksAuto
	}
	manifest.Links, manifest.LinksReason, err = chooseLinks(ctx, chosen, source, links, node)
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, nil, err
	}
	folder, err := createFolder(options.Dir, manifest)
	if err != nil {
		return nil, nil, err
	}
	stopped := runTrials(ctx, source, folder, plan, chosen, manifest.Links, node, options.Progress)
	summary, err := Summarise(folder)
	if err != nil {
		return folder, nil, errors.Join(stopped, err)
	}
	return folder, summary, stopped
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

// Summarise derives the summary of a run folder again and writes it there.
func Summarise(folder *results.Folder) (*results.Summary, error) {
	summary, err := measure.Summarise(folder)
	if err != nil {
		return nil, err
	}
	return summary, folder.WriteSummary(summary)
}

func runTrials(ctx context.Context, source *experiment.Source, folder *results.Folder, plan []experiment.Trial,
	chosen engine.Builder, links, node string, progress report.Progress) error {
	progress.Plan(planLines(source, plan, chosen.Name(), links, folder.Dir()))
	for i, planned := range plan {
		spec := planned.Point.Spec
		t := &trial{
			planned: folder.Manifest().Plan[i], spec: spec, cluster: spec.Cluster(planned.Seed), topology: spec.Network(),
			folder: folder, engine: chosen, links: links, linksWhy: folder.Manifest().LinksReason, node: node, progress: progress,
		}
		progress.TrialStart(planned.Number, len(plan), describeTrial(planned))
		verdict, err := t.run(ctx)
		if err != nil {
			progress.TrialEnd("stopped")
			return err
		}
		if err := folder.WriteVerdict(verdict); err != nil {
			return err
		}
		progress.TrialEnd(verdictLine(verdict))
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

// describeTrial names a trial by its swept values, the last segments of their
// paths, and its repeat.
func describeTrial(planned experiment.Trial) string {
	var text strings.Builder
	for _, param := range planned.Point.Params {
		value, err := json.Marshal(param.Value)
		if err != nil {
			panic("harness: a swept value that was read from YAML has no JSON: " + err.Error())
		}
		fmt.Fprintf(&text, "%s %s, ", param.Path[strings.LastIndex(param.Path, ".")+1:], report.Value(value))
	}
	fmt.Fprintf(&text, "repeat %d", planned.Repeat+1)
	return text.String()
}

// planLines say what is about to run, and what it will cost.
func planLines(source *experiment.Source, plan []experiment.Trial, engineName, links, dir string) []string {
	return []string{
		fmt.Sprintf("%s, on %s with %s links", cost(source, plan), engineName, links),
		"results go to " + dir,
	}
}

func cost(source *experiment.Source, plan []experiment.Trial) string {
	estimate := source.Estimate()
	return fmt.Sprintf("%s: %s of %s, about %v and %.1f MB of disk", source.Spec.Name,
		count(len(plan), "trial"), count(len(source.Points), "point"), estimate.Time.Round(time.Second), max(float64(estimate.DiskBytes)/1e6, 0.1))
}

// count puts a noun after a number.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// PlanLines describe what Run would do, without doing it.
func PlanLines(source *experiment.Source) []string {
	plan := source.Plan()
	lines := []string{cost(source, plan)}
	for _, planned := range plan {
		lines = append(lines, fmt.Sprintf("trial %d: %s, seed %d", planned.Number, describeTrial(planned), planned.Seed))
	}
	return lines
}

// chooseEngine finds the engine that the spec asks for; "auto" is netns, the
// only one so far. It fails if the engine doesn't work on this machine.
func chooseEngine(ctx context.Context, name string) (engine.Builder, string, error) {
	reason := "asked for"
	if name == "auto" {
		name, reason = "netns", "the default engine, and it works here"
	}
	chosen, ok := engine.Lookup(name)
	if !ok {
		return nil, "", fmt.Errorf("%w: %s isn't built into this program, which has %v", ErrUnavailable, name, engine.Names())
	}
	builder := chosen.(engine.Builder)
	checking, cancel := context.WithTimeoutCause(ctx, startTimeout, errors.New("the engine's check took too long"))
	defer cancel()
	rows := chosen.Check(checking)
	if ctx.Err() != nil {
		return nil, "", context.Cause(ctx)
	}
	if len(rows) > 0 && !rows[0].OK {
		return nil, "", &Unavailable{Readiness: rows[0]}
	}
	return builder, reason, nil
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
			Topology: point.Spec.Network(), Links: links, Seed: source.Spec.Seed,
			CongestionControl: congestionControl, NodeBinary: node, Log: discard,
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
