package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"quorumlab/harness"
	"quorumlab/harness/engine"
	"quorumlab/harness/experiment"
	"quorumlab/harness/link"
	"quorumlab/harness/report"
	"quorumlab/results"
)

// specFlags are the flags that change a spec.
type specFlags struct {
	set    []string
	seed   uint64
	repeat int
	engine string
}

func (f *specFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.set, "set", nil, "change a field of the spec, as in --set workload.rate=50/s (repeatable)")
	cmd.Flags().Uint64Var(&f.seed, "seed", 0, "change the spec's seed")
	cmd.Flags().IntVar(&f.repeat, "repeat", 0, "change the number of trials of each point")
	cmd.Flags().StringVar(&f.engine, "engine", "", "change the spec's engine: "+strings.Join(append([]string{experiment.EngineAuto}, engine.Names()...), ", "))
}

// load reads the spec with the flags applied.
func (f *specFlags) load(cmd *cobra.Command, path string) (*experiment.Source, error) {
	overrides := experiment.Overrides{Set: f.set, Engine: f.engine, Limits: engineLimits, Engines: engine.Names()}
	if cmd.Flags().Changed("seed") {
		overrides.Seed = &f.seed
	}
	if cmd.Flags().Changed("repeat") {
		overrides.Repeat = &f.repeat
	}
	return experiment.Load(path, overrides)
}

// engineLimits tells the spec's reader how many hosts an engine takes.
func engineLimits(name string) (maxHosts int, known bool) {
	if name == "auto" {
		name = "netns"
	}
	e, ok := engine.Lookup(name)
	if !ok {
		return 0, false
	}
	return e.MaxHosts(), true
}

func newRun(stdout, stderr io.Writer) *cobra.Command {
	var spec specFlags
	var links, out, node string
	var asJSON, quiet bool
	cmd := &cobra.Command{
		Use:   "run SPEC",
		Short: "Run an experiment and report what was measured",
		Long: `run carries out every trial of an experiment and prints a table of latency and
throughput with 95% confidence intervals. All that was measured goes to the run
folder. Where faults are scheduled, it says what each cost and plots one trial's
latencies. Ctrl-C keeps the trials that are finished. Where this system allows no
network namespaces, the engine auto simulates the experiment in virtual time, and
says so.

Exit status: 0 good; 1 the tool failed; 2 bad usage or spec; 3 the run is void;
4 a safety violation was found, whatever else happened; 130 interrupted.`,
		Example: `  bench run experiments/quickstart.yaml
  bench run experiments/quickstart.yaml --repeat 3 --set phases.measure=10s
  bench run experiments/quickstart.yaml --engine sim
  bench run experiments/quickstart.yaml --json --quiet | jq .points[0].latency_ms`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, arguments []string) error {
			if err := checkLinks(links); err != nil {
				return err
			}
			source, err := spec.load(cmd, arguments[0])
			if err != nil {
				return err
			}
			progress := report.NewProgress(stderr, report.IsTerminal(stderr), quiet)
			defer progress.Close()
			folder, summary, err := harness.Run(cmd.Context(), source, harness.Options{
				Links: links, Dir: out, NodeBinary: node, CommandLine: os.Args, Progress: progress,
			})
			progress.Close()
			err = finish(folder, summary, err, asJSON, stdout, stderr)
			if folder == nil || summary == nil || asJSON || quiet {
				return err
			}
			return cmp.Or(err, showFirstTrace(folder, stdout))
		},
	}
	spec.add(cmd)
	cmd.Flags().StringVar(&links, "links", engine.LinksAuto, "who shapes the links of engine netns: auto, kernel or userspace; simulated links have no choice")
	cmd.Flags().StringVar(&out, "out", "", "the run folder to make (default results/runs/NAME-TIME)")
	cmd.Flags().StringVar(&node, "node", "", "the bench-node binary, which engine netns runs (default the one beside bench)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the summary as JSON instead of the table")
	cmd.Flags().BoolVar(&quiet, "quiet", false, "show no progress")
	return cmd
}

// finish prints what there is of a run and chooses how the program ends. A
// violation outranks what stopped the run.
func finish(folder *results.Folder, summary *results.Summary, stopped error, asJSON bool, stdout, stderr io.Writer) error {
	if folder == nil && (errors.Is(stopped, results.ErrExists) || errors.Is(stopped, syscall.ENOTDIR) || errors.Is(stopped, link.ErrKernelCannot) || errors.Is(stopped, harness.ErrLinks)) {
		return usageError{stopped}
	}
	if summary == nil || stopped != nil && !errors.Is(stopped, errInterrupted) && !anyTrial(summary) {
		return stopped
	}
	if err := show(folder, summary, asJSON, stdout); err != nil {
		return err
	}
	verdict := verdictOf(summary)
	if stopped == nil {
		return verdict
	}
	if verdict == statusError(exitViolation) {
		fmt.Fprintf(stderr, "bench: %v\n", stopped)
		return verdict
	}
	return stopped
}

func anyTrial(summary *results.Summary) bool {
	for _, point := range summary.Points {
		if point.Attempted > 0 {
			return true
		}
	}
	return false
}

func show(folder *results.Folder, summary *results.Summary, asJSON bool, stdout io.Writer) error {
	if asJSON {
		return report.JSON(stdout, summary)
	}
	return report.Table(stdout, summary, folder.Dir(), report.TerminalOptions(stdout))
}

// verdictOf is the exit status that a finished run deserves.
func verdictOf(summary *results.Summary) error {
	for _, point := range summary.Points {
		if point.Agreement == "violation" || point.Linearizable == "violation" {
			return statusError(exitViolation)
		}
	}
	if !summary.Valid {
		return statusError(exitVoid)
	}
	return nil
}

func newPlan(stdout io.Writer) *cobra.Command {
	var spec specFlags
	cmd := &cobra.Command{
		Use:     "plan SPEC",
		Short:   "Show what would run, and for how long",
		Example: "  bench plan experiments/multipaxos-dissertation/backoff.yaml",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, arguments []string) error {
			source, err := spec.load(cmd, arguments[0])
			if err != nil {
				return err
			}
			lines, err := harness.PlanLines(cmd.Context(), source)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(stdout, strings.Join(lines, "\n"))
			return err
		},
	}
	spec.add(cmd)
	return cmd
}
