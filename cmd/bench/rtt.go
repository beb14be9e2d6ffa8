package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"quorumlab/harness"
	"quorumlab/harness/engine"
	"quorumlab/harness/experiment"
	"quorumlab/harness/report"
	"quorumlab/harness/roundtrip"
	"quorumlab/node/control"
	"quorumlab/node/ping"
	"quorumlab/results"
)

// rttFlags are the flags of bench rtt.
type rttFlags struct {
	spec              specFlags
	options           harness.RTTOptions
	peers             []string
	protocol, size    string
	count, point      int
	interval, timeout time.Duration
	asJSON, quiet     bool
}

func newRTT(stdout, stderr io.Writer) *cobra.Command {
	var f rttFlags
	cmd := &cobra.Command{
		Use:   "rtt [SPEC]",
		Short: "Measure round trips between every pair of hosts",
		Long: `rtt measures the round trips between all hosts of an experiment's topology, in a
lab without load, or between real machines. For each ordered pair it gives mean,
standard deviation, minimum, quartiles, maximum and the higher percentiles; to the
bulk of all it fits a normal distribution. All probes, the table and figures (the
distribution, cumulative distributions and round trips over time) go to a run folder.

Between real machines, start "bench-node echo --listen :7001" on each, then name them
with --peers: each probes all others, and sends its rows to this machine. Ports must
be open by TCP, for probes by udp by UDP too; by icmp the machines' kernels answer.
Whoever reaches such a port can have its machine send probes: see docs/rtt.md.

Ctrl-C keeps and shows what was measured; so does the failure of a machine that had
begun. Exit status: 0, 1 if a machine failed, 2 for bad usage, 130 after Ctrl-C.`,
		Example: `  bench rtt experiments/quickstart.yaml
  bench rtt experiments/wan.yaml --protocol tcp --count 200 --interval 50ms
  bench rtt --peers berlin=192.0.2.7:7001,tokyo=198.51.100.9:7001 --count 3600 --interval 1s --self`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, arguments []string) error {
			if (len(arguments) == 1) == (len(f.peers) > 0) {
				return usageError{fmt.Errorf("bench rtt: want either SPEC or --peers")}
			}
			if err := f.check(cmd); err != nil {
				return usageError{err}
			}
			if err := checkLinks(f.options.Links); err != nil {
				return err
			}
			f.options.CommandLine = os.Args
			if !f.quiet {
				f.options.Progress = rttProgress(stderr)
			}
			folder, study, err := f.measure(cmd, arguments)
			if f.options.Progress != nil {
				f.options.Progress(0, 0)
			}
			return f.finish(folder, study, err, stdout)
		},
	}
	f.add(cmd)
	return cmd
}

func (f *rttFlags) add(cmd *cobra.Command) {
	f.spec.addTopology(cmd)
	flags := cmd.Flags()
	flags.StringSliceVar(&f.peers, "peers", nil, "real machines to measure between, as host:port or name=host:port")
	flags.StringVar(&f.protocol, "protocol", ping.UDP, "how probes travel: "+strings.Join(ping.Protocols, ", "))
	flags.IntVar(&f.count, "count", 100, "probes from each host to each other")
	flags.DurationVar(&f.interval, "interval", 100*time.Millisecond, "time between two probes of a pair")
	flags.DurationVar(&f.timeout, "timeout", 2*time.Second, "after which a probe is lost")
	flags.StringVar(&f.size, "size", "64B", "of a probe, without headers")
	flags.BoolVar(&f.options.Self, "self", false, "have each host probe itself too")
	flags.IntVar(&f.point, "point", 1, "which point of a sweep, counted from 1")
	flags.StringVar(&f.options.Links, "links", engine.LinksAuto, "who shapes the links of engine netns: auto, kernel or userspace")
	flags.StringVar(&f.options.NodeBinary, "node", "", "the bench-node binary, for labs (default the one beside bench)")
	flags.StringVar(&f.options.Dir, "out", "", "the run folder to make (default results/runs/NAME-rtt-TIME)")
	flags.BoolVar(&f.asJSON, "json", false, "print JSON instead of the tables")
	flags.BoolVar(&f.quiet, "quiet", false, "show no progress")
}

// labFlags mean nothing between real machines.
var labFlags = []string{"set", "seed", "engine", "point", "links", "node"}

// check makes the order of the flags.
func (f *rttFlags) check(cmd *cobra.Command) error {
	for _, name := range labFlags {
		if len(f.peers) > 0 && cmd.Flags().Changed(name) {
			return fmt.Errorf("bench rtt: --%s is about labs, which --peers doesn't build: want one of them", name)
		}
	}
	bytes, err := experiment.ParseBytes(f.size)
	if err != nil {
		return fmt.Errorf("--size: %w", err)
	}
	if !slices.Contains(ping.Protocols, f.protocol) {
		return fmt.Errorf("--protocol is %q: want %s", f.protocol, strings.Join(ping.Protocols, ", "))
	}
	f.options.Point = f.point - 1
	f.options.Order = control.Measure{
		Protocol: f.protocol, Count: f.count, IntervalNS: int64(f.interval), TimeoutNS: int64(f.timeout), Bytes: int(min(bytes, math.MaxInt32)),
	}
	return nil
}

func (f *rttFlags) measure(cmd *cobra.Command, arguments []string) (*results.Folder, *roundtrip.Study, error) {
	if len(arguments) == 0 {
		return harness.MeasurePeerRTTs(cmd.Context(), f.peers, f.options)
	}
	source, err := f.spec.load(cmd, arguments[0])
	if err != nil {
		return nil, nil, err
	}
	if f.point < 1 || f.point > len(source.Points) {
		return nil, nil, usageError{fmt.Errorf("--point is %d: want 1 to %d", f.point, len(source.Points))}
	}
	return harness.MeasureLabRTTs(cmd.Context(), source, f.options)
}

// finish shows what there is of a study.
func (f *rttFlags) finish(folder *results.Folder, study *roundtrip.Study, stopped error, stdout io.Writer) error {
	var field *ping.FieldError
	if errors.As(stopped, &field) && errors.Is(stopped, harness.ErrProbes) {
		return usageError{fmt.Errorf("--%s %s", field.Field, field.Text)}
	}
	for _, misuse := range []error{harness.ErrPeers, harness.ErrProbes, harness.ErrNoHosts, results.ErrExists} {
		if errors.Is(stopped, misuse) {
			return usageError{stopped}
		}
	}
	if study == nil {
		return stopped
	}
	if err := showRTTs(folder, study, f.asJSON, stdout); err != nil {
		return err
	}
	return stopped
}

func showRTTs(folder *results.Folder, study *roundtrip.Study, asJSON bool, stdout io.Writer) error {
	if asJSON {
		return study.JSON(stdout)
	}
	if err := study.Table(stdout); err != nil {
		return err
	}
	_, err := fmt.Fprintf(stdout, "\n%s\n", folder.Dir())
	return err
}

// reportRTTs derives a study's files again.
func reportRTTs(_ context.Context, folder *results.Folder, asJSON bool, stdout, stderr io.Writer) error {
	study, err := harness.SummariseRTTs(folder)
	if study == nil {
		return err
	}
	if err != nil { // somebody else's folder, perhaps: what can be seen is shown
		fmt.Fprintf(stderr, "bench: the study's files were not written: %v\n", err)
	}
	return showRTTs(folder, study, asJSON, stdout)
}

// rttProgress shows how far a study is, on one line of a terminal, until the total is
// nothing; elsewhere it says nothing.
func rttProgress(stderr io.Writer) func(done, total time.Duration) {
	if !report.IsTerminal(stderr) {
		return nil
	}
	return func(done, total time.Duration) {
		if total == 0 {
			fmt.Fprint(stderr, "\r\x1b[K")
			return
		}
		fmt.Fprintf(stderr, "\r\x1b[Kmeasuring round trips: %v of %v", done.Round(time.Second), total.Round(time.Second))
	}
}
