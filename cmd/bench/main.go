// Command bench measures replicated systems on emulated or simulated networks: it
// runs experiment files, reports what it measured, and says how sure it is.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"quorumlab/harness/engine/netns"
	"quorumlab/harness/experiment"

	// The protocols that experiments may name.
	_ "quorumlab/node/multipaxos/wire"
)

// Exit statuses, as docs/ARCHITECTURE.md lists them.
const (
	exitGood        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitVoid        = 3
	exitViolation   = 4
	exitInterrupted = 130
)

// errInterrupted is the cause of a context that a signal ended.
var errInterrupted = errors.New("interrupted")

// statusError ends the program with a status; its text, if any, was printed.
type statusError int

func (s statusError) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// usageError is bad usage or a bad spec.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

func main() {
	netns.RunIfChild()
	ctx, stop := untilSignal()
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// oneStop is how soon after the first signal another one still means the same: timeout and
// terminals send one to the program and one to its group.
const oneStop = 500 * time.Millisecond

// untilSignal is a context that Ctrl-C or SIGTERM ends; a second one, unless it comes
// together with the first, ends the program at once.
func untilSignal() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		if _, open := <-signals; !open {
			return
		}
		cancel(errInterrupted)
		first := time.Now()
		for range signals {
			if time.Since(first) >= oneStop {
				os.Exit(exitInterrupted)
			}
		}
	}()
	return ctx, func() { signal.Stop(signals); close(signals) }
}

// run is the whole program but for the process around it.
func run(ctx context.Context, arguments []string, stdout, stderr io.Writer) int {
	root := newRoot(stdout, stderr)
	root.SetArgs(arguments)
	root.SetOut(stdout)
	root.SetErr(stderr)
	return statusOf(root.ExecuteContext(ctx), stderr)
}

// statusOf prints an error and chooses the exit status.
func statusOf(err error, stderr io.Writer) int {
	var status statusError
	var usage usageError
	var spec *experiment.Error
	switch {
	case err == nil:
		return exitGood
	case errors.As(err, &status):
		return int(status)
	case errors.Is(err, errInterrupted):
		fmt.Fprintln(stderr, "bench: interrupted")
		return exitInterrupted
	case errors.As(err, &spec), errors.As(err, &usage):
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return exitUsage
	}
	fmt.Fprintf(stderr, "bench: %v\n", err)
	return exitFailed
}

func newRoot(stdout, stderr io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:   "bench",
		Short: "Measure replicated systems on emulated or simulated networks",
		Long: `bench runs experiments on consensus protocols: it builds an emulated network,
launches the nodes and drives the load, or simulates all that in virtual time,
and reports latency and throughput with 95% confidence intervals. It checks what
clients and replicas saw. What was not proved to be as declared is void; what
was simulated says so.`,
		Example: `  bench run experiments/quickstart.yaml
  bench run experiments/quickstart.yaml --set workload.rate=50/s --repeat 3
  bench init > my.yaml
  bench doctor`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w (%s --help lists the flags)", err, cmd.CommandPath())}
	})
	root.AddCommand(newRun(stdout, stderr), newPlan(stdout), newReport(stdout, stderr), newDoctor(stdout), newInit(stdout), newVersion(stdout), newTopo(stdout))
	root.AddCommand(newLab(stdout), newExec(), newCapture(stderr))
	root.AddCommand(newCalibrate(stdout, stderr), newRTT(stdout, stderr))
	for _, command := range root.Commands() {
		command.Args = asUsage(command.Args)
	}
	root.Args = asUsage(root.Args)
	return root
}

// asUsage makes wrong arguments a usage error.
func asUsage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, arguments []string) error {
		if check == nil {
			return nil
		}
		if err := check(cmd, arguments); err != nil {
			return usageError{fmt.Errorf("%s: %w", cmd.CommandPath(), err)}
		}
		return nil
	}
}
