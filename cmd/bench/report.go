package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"quorumlab/harness"
	"quorumlab/harness/measure"
	"quorumlab/harness/report"
	"quorumlab/results"
)

// mostTraces bounds how many plots --trace prints.
const mostTraces = 6

func newReport(stdout, stderr io.Writer) *cobra.Command {
	var asJSON, trace bool
	var trial trialNumber
	cmd := &cobra.Command{
		Use:   "report DIR",
		Short: "Derive the summary of a run folder again and show it",
		Long: `report derives a run's summary from what was recorded, writes it to the run folder and
shows it. --trace adds plots of latency against time, with timeouts at the top and
faults below: of the first valid trial of each point (6 at most), or of the trial that
--trial names. Trials with faults have the same as trace.csv in their folders.

Exit status: as of bench run.`,
		Example: `  bench report results/runs/quickstart-20261121-101500
  bench report results/runs/failures-20261121-101500 --trace
  bench report results/runs/failures-20261121-101500 --trial 7`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, arguments []string) error {
			trace = trace || cmd.Flags().Changed("trial")
			if asJSON && trace {
				return usageError{errors.New("--json and --trace exclude each other: a plot isn't JSON; see trace.csv in the trials' folders")}
			}
			folder, err := results.Open(arguments[0])
			if err != nil {
				return usageError{err}
			}
			if folder.Manifest().Kind == results.KindRTT {
				if trace {
					return usageError{errors.New("--trace: a study of round trips has no trials with requests")}
				}
				return reportRTTs(cmd.Context(), folder, asJSON, stdout, stderr)
			}
			var traced []results.Verdict
			if trace {
				if traced, err = tracedTrials(folder, int(trial), cmd.Flags().Changed("trial")); err != nil {
					return err
				}
			}
			return reportRun(folder, traced, asJSON, stdout, stderr)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the summary as JSON instead of the table")
	cmd.Flags().BoolVar(&trace, "trace", false, "plot latency against time, with the faults")
	cmd.Flags().Var(&trial, "trial", "plot this trial, valid or not")
	return cmd
}

// trialNumber is the value of --trial, as pflag.Value.
type trialNumber int

func (n *trialNumber) String() string { return strconv.Itoa(int(*n)) }
func (n *trialNumber) Type() string   { return "int" }

func (n *trialNumber) Set(text string) error {
	number, err := strconv.Atoi(text)
	if err != nil {
		return errors.New("want the number of a trial, such as 7")
	}
	*n = trialNumber(number)
	return nil
}

func reportRun(folder *results.Folder, traced []results.Verdict, asJSON bool, stdout, stderr io.Writer) error {
	summary, err := harness.Summarise(folder)
	if summary == nil {
		return err
	}
	if err != nil { // somebody else's folder, perhaps: what can be seen is shown
		fmt.Fprintf(stderr, "bench: the summary and the traces were not all written: %v\n", err)
	}
	if err := show(folder, summary, asJSON, stdout); err != nil {
		return err
	}
	for _, verdict := range traced {
		if err := showTrace(folder, verdict, stdout); err != nil {
			return err
		}
	}
	return verdictOf(summary)
}

// tracedTrials are the trials to plot: the one that was asked for, or the first valid one
// of each point.
func tracedTrials(folder *results.Folder, trial int, asked bool) ([]results.Verdict, error) {
	verdicts, err := folder.Trials()
	if err != nil {
		return nil, err
	}
	if asked {
		i := slices.IndexFunc(verdicts, func(v results.Verdict) bool { return v.Trial == trial })
		if i < 0 {
			return nil, usageError{fmt.Errorf("--trial %d: this run has no finished trial of that number, want one of %s",
				trial, trialNumbers(verdicts))}
		}
		return verdicts[i : i+1], nil
	}
	var chosen []results.Verdict
	for _, verdict := range verdicts {
		seen := slices.ContainsFunc(chosen, func(v results.Verdict) bool { return v.Point == verdict.Point })
		if verdict.Valid && !seen {
			chosen = append(chosen, verdict)
		}
	}
	slices.SortFunc(chosen, func(a, b results.Verdict) int { return a.Point - b.Point })
	return chosen[:min(len(chosen), mostTraces)], nil
}

func trialNumbers(verdicts []results.Verdict) string {
	if len(verdicts) == 0 {
		return "none"
	}
	least, most := verdicts[0].Trial, verdicts[0].Trial
	for _, verdict := range verdicts {
		least, most = min(least, verdict.Trial), max(most, verdict.Trial)
	}
	return fmt.Sprintf("%d to %d", least, most)
}

// showTrace plots a trial; one without a load has nothing to plot.
func showTrace(folder *results.Folder, verdict results.Verdict, stdout io.Writer) error {
	trace, err := measure.Trace(folder, verdict)
	if errors.Is(err, measure.ErrNoLoad) {
		_, err = fmt.Fprintf(stdout, "\ntrial %d: %v\n", verdict.Trial, measure.ErrNoLoad)
		return err
	}
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(stdout); err != nil {
		return err
	}
	return report.Trace(stdout, trace, report.TerminalOptions(stdout))
}

// showFirstTrace plots the first trial of the first point, a valid one if there is one, of
// an experiment with faults.
func showFirstTrace(folder *results.Folder, stdout io.Writer) error {
	verdicts, err := folder.Trials()
	if err != nil {
		return err
	}
	var first *results.Verdict
	for i, verdict := range verdicts {
		better := first == nil || verdict.Point < first.Point || verdict.Point == first.Point && verdict.Valid && !first.Valid
		if better {
			first = &verdicts[i]
		}
	}
	if first == nil {
		return nil
	}
	if faults, err := folder.ReadFaults(first.Trial); err != nil || len(faults.Faults) == 0 {
		return nil // nothing was scheduled, or it didn't come to that
	}
	return showTrace(folder, *first, stdout)
}
