package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"quorumlab/harness"
	"quorumlab/harness/calibrate"
	"quorumlab/harness/engine"
	"quorumlab/harness/experiment"
	"quorumlab/harness/link"
	"quorumlab/harness/report"
)

// calibrationFile is what --out gets.
const calibrationFile = "calibration.json"

func newCalibrate(stdout, stderr io.Writer) *cobra.Command {
	var spec specFlags
	var options harness.CalibrateOptions
	var out string
	var asJSON, quiet bool
	var point int
	cmd := &cobra.Command{
		Use:   "calibrate SPEC",
		Short: "Measure each link against its declaration",
		Long: `calibrate builds a lab of the experiment's topology, without its nodes, and sends
frames over each direction of each link by itself: delay, jitter (the whole
distribution, by Kolmogorov-Smirnov), loss and how it clusters, duplicates,
overtakings, rate and queue must be what the link model makes of the very same
frames. All rows together raise a false alarm once in 10,000 calibrations, apart from
a machine that is too busy; docs/validity.md says how each is judged.

Ctrl-C prints what was measured by then.

Exit status: 0 all links are as declared; 1 the tool failed; 2 bad usage or spec;
3 a link isn't as declared; 130 interrupted.`,
		Example: `  bench calibrate experiments/wan.yaml
  bench calibrate my.yaml --time 2m --set topology.link.loss=1%
  bench calibrate my.yaml --json --quiet | jq '.checks[] | select(.finding == "fail")'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, arguments []string) error {
			if err := checkLinks(options.Links); err != nil {
				return err
			}
			if options.Budget < time.Second || options.Budget > 24*time.Hour {
				return usageError{fmt.Errorf("--time is %v: want from 1s to 24h", options.Budget)}
			}
			source, err := spec.load(cmd, arguments[0])
			if err != nil {
				return err
			}
			if point < 1 || point > len(source.Points) {
				return usageError{fmt.Errorf("--point is %d: want from 1 to %d, the points of %s", point, len(source.Points), arguments[0])}
			}
			options.Point = point - 1
			if !quiet {
				options.Progress = progressTo(stderr)
			}
			err = runCalibration(cmd.Context(), source, options, output{folder: out, asJSON: asJSON, stdout: stdout})
			if errors.Is(err, harness.ErrNothingToMeasure) || errors.Is(err, link.ErrKernelCannot) {
				return usageError{err}
			}
			return err
		},
	}
	spec.addTopology(cmd)
	cmd.Flags().IntVar(&point, "point", 1, "which point of a sweep, counted from 1")
	cmd.Flags().StringVar(&options.Links, "links", engine.LinksAuto, "who shapes the links of engine netns: auto, kernel or userspace")
	cmd.Flags().DurationVar(&options.Budget, "time", calibrate.Budget, "about how long to measure; the longer, the finer")
	cmd.Flags().StringVar(&options.NodeBinary, "node", "", "the bench-node binary (default the one beside bench)")
	cmd.Flags().StringVar(&out, "out", "", "a `folder` to make, for "+calibrationFile+" and the lab's logs (default none)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON instead of the table")
	cmd.Flags().BoolVar(&quiet, "quiet", false, "show no progress")
	return cmd
}

// addTopology adds the flags that matter where no trials are run.
func (f *specFlags) addTopology(cmd *cobra.Command) {
	f.add(cmd)
	_ = cmd.Flags().MarkHidden("repeat")
}

// progressTo shows what is being measured, on one line of a terminal, until that is
// nothing.
func progressTo(stderr io.Writer) func(string) {
	clear, end := "", "\n"
	if report.IsTerminal(stderr) {
		clear, end = "\r\x1b[K", ""
	}
	return func(text string) {
		if text == "" {
			fmt.Fprint(stderr, clear)
			return
		}
		fmt.Fprintf(stderr, "%smeasuring %s%s", clear, text, end)
	}
}

// output is where a calibration goes.
type output struct {
	folder string
	asJSON bool
	stdout io.Writer
}

// runCalibration measures and shows what was found, also if it was interrupted.
func runCalibration(ctx context.Context, source *experiment.Source, options harness.CalibrateOptions, to output) error {
	var err error
	if options.Dir = to.folder; to.folder != "" {
		err = os.Mkdir(to.folder, 0o755)
		if errors.Is(err, os.ErrExist) {
			return usageError{fmt.Errorf("--out: %w", err)}
		}
	} else if options.Dir, err = os.MkdirTemp("", "quorumlab-calibrate-"); err == nil {
		defer os.RemoveAll(options.Dir)
	}
	if err != nil {
		return err
	}
	result, err := harness.Calibrate(ctx, source, options)
	if options.Progress != nil {
		options.Progress("")
	}
	if result == nil {
		return err
	}
	if shown := showCalibration(result, to); shown != nil {
		return shown
	}
	if err == nil && !result.Pass {
		return statusError(exitVoid)
	}
	return err
}

func showCalibration(result *calibrate.Result, to output) error {
	data, err := json.MarshalIndent(result, "", "  ")
	if err != nil {
		return err
	}
	data = append(data, '\n')
	if to.folder != "" {
		if err := os.WriteFile(filepath.Join(to.folder, calibrationFile), data, 0o644); err != nil {
			return err
		}
	}
	if to.asJSON {
		_, err := to.stdout.Write(data)
		return err
	}
	return calibrate.Table(to.stdout, result)
}
