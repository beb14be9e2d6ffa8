//go:build linux

// Command bench-node is one process of a system under test, a client that loads
// it, or the responder that measures round trips. The controller, bench, starts
// it and talks to it over its standard input and output.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"quorumlab/node"

	// The protocols that a cluster file may name.
	_ "quorumlab/node/multipaxos/wire"
)

// Exit statuses.
const (
	exitGood   = 0
	exitFailed = 1
	exitUsage  = 2
)

// usageError is wrong use of the command line.
type usageError struct{ error }

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the whole program but for the process around it.
func run(arguments []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot(node.Streams{Input: stdin, Output: stdout, Log: stderr})
	root.SetArgs(arguments)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(context.Background())
	if err == nil {
		return exitGood
	}
	fmt.Fprintf(stderr, "bench-node: %v\n", err)
	if errors.As(err, new(usageError)) {
		return exitUsage
	}
	return exitFailed
}

func newRoot(streams node.Streams) *cobra.Command {
	root := &cobra.Command{
		Use:   "bench-node",
		Short: "One process of a system under test",
		Long: `bench-node is what runs on the hosts of an emulated network: a process of the
system under test, a client that loads it, or the responder that measures round
trips. bench starts it; docs/node-protocol.md says how to talk to it by hand.`,
		Example: `  bench-node run --cluster cluster.json --name replica1 --dir /tmp/replica1
  bench-node echo --listen :7001 --name h1`,
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		Args:              noArguments,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w (%s --help lists the flags)", err, cmd.CommandPath())}
	})
	root.AddCommand(newRun(streams), newEcho(streams), newVersion(streams.Output))
	return root
}

func newRun(streams node.Streams) *cobra.Command {
	var options node.Options
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Be a node of a cluster",
		Long: `run is the node of the given name: whatever roles the cluster file gives it. It
obeys one JSON object a line on standard input, answers on standard output,
logs to standard error, and ends when its standard input does. It writes
events.jsonl and, if it is a client, requests.csv into its folder. If the
cluster's storage is disk or fsync, it may be killed and started again: it goes
on from the storage in its folder.

What goes wrong inside it (messages ignored, a wrong clock, a full disk, failpoints)
is injected by commands, or, from its first step on, by the file of --injection.`,
		Example: `  bench-node run --cluster cluster.json --name replica1 --dir /tmp/replica1
  echo '{"id": 1, "command": "status"}' | bench-node run --cluster cluster.json --name leader1`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := required(cmd, "cluster", "name"); err != nil {
				return err
			}
			return node.Run(options, streams)
		},
	}
	cmd.Flags().StringVar(&options.ClusterFile, "cluster", "", "the cluster `file`, in JSON, the same for all nodes")
	cmd.Flags().StringVar(&options.Name, "name", "", "the node's `name` in the cluster file")
	cmd.Flags().StringVar(&options.Dir, "dir", ".", "an existing `folder` for the node's files")
	cmd.Flags().StringVar(&options.InjectionFile, "injection", "",
		"a `file`, in JSON, of what goes wrong from the start and which events are reported (default: nothing)")
	return cmd
}

func newEcho(streams node.Streams) *cobra.Command {
	var options node.EchoOptions
	cmd := &cobra.Command{
		Use:   "echo",
		Short: "Answer round-trip probes, and make them on command",
		Long: `echo returns every UDP datagram, and what comes by TCP, to whoever sent it.

Without a name it serves until a signal ends it, and measures round trips to other
echo processes for whoever asks by TCP: start one on each machine for
"bench rtt --peers". Whoever reaches the port can have it send probes: it is meant
for networks whose users are trusted.

With a name it is a host of a lab: it obeys the control channel, which has it probe
other echo processes, or send and receive one-way streams, whose rows it writes into
its folder. It ends when its standard input does.`,
		Example: `  bench-node echo --listen :7001
  bench-node echo --listen 198.18.0.1:7001 --name h1 --dir /tmp/h1`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("name") {
				return node.RunEcho(options, streams)
			}
			return serveEcho(cmd.Context(), options.Listen, streams.Output)
		},
	}
	cmd.Flags().StringVar(&options.Listen, "listen", ":7001", "the UDP and TCP `address` to answer at")
	cmd.Flags().StringVar(&options.Name, "name", "", "the host's `name`, for the hello line (default: no control channel)")
	cmd.Flags().StringVar(&options.Dir, "dir", "", "an existing `folder` for the rows of one-way streams (default: there are none)")
	return cmd
}

// serveEcho answers probes until a signal comes.
func serveEcho(ctx context.Context, address string, stdout io.Writer) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	return node.ServeEcho(ctx, address, func(address string) {
		fmt.Fprintf(stdout, "answering probes at %s by UDP and TCP; Ctrl-C ends it\n", address)
	})
}

func newVersion(stdout io.Writer) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArguments,
		RunE: func(*cobra.Command, []string) error {
			version, goVersion := "unknown", "unknown"
			if info, ok := debug.ReadBuildInfo(); ok {
				version, goVersion = info.Main.Version, info.GoVersion
			}
			_, err := fmt.Fprintf(stdout, "bench-node %s (%s)\n", version, goVersion)
			return err
		},
	}
}

// noArguments makes stray arguments and unknown commands a usage error.
func noArguments(cmd *cobra.Command, arguments []string) error {
	if len(arguments) > 0 {
		return usageError{fmt.Errorf("%s: %q isn't a command or flag (%s --help lists them)", cmd.CommandPath(), arguments[0], cmd.CommandPath())}
	}
	return nil
}

// required makes missing flags a usage error.
func required(cmd *cobra.Command, flags ...string) error {
	for _, name := range flags {
		if !cmd.Flags().Changed(name) {
			return usageError{fmt.Errorf("%s: --%s is required", cmd.CommandPath(), name)}
		}
	}
	return nil
}
