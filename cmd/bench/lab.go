package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"quorumlab/harness"
	"quorumlab/harness/access"
	"quorumlab/harness/engine"
	"quorumlab/harness/link"
)

func newLab(stdout io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "Build a lab to walk into, or list those that run",
		Example: `  bench lab up experiments/quickstart.yaml
  bench lab list`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newLabUp(stdout), newLabList(stdout))
	for _, command := range cmd.Commands() {
		command.Args = asUsage(command.Args)
	}
	return cmd
}

func newLabUp(stdout io.Writer) *cobra.Command {
	var spec specFlags
	var links, name, node string
	var point int
	cmd := &cobra.Command{
		Use:   "up SPEC",
		Short: "Build an experiment's lab without load, and keep it until Ctrl-C",
		Long: `up builds the network of an experiment's point, hosts and links, starts
nothing in it and stays. From another terminal, "bench exec" runs programs on its
hosts and "bench capture" records what passes its links. Ctrl-C (or SIGTERM, or
whatever else ends this command) removes all of it.`,
		Example: `  bench lab up experiments/quickstart.yaml
  bench lab up experiments/quickstart.yaml --name slow --set topology.link.delay=200ms`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, arguments []string) error {
			if err := checkLinks(links); err != nil {
				return err
			}
			source, err := spec.load(cmd, arguments[0])
			if err != nil {
				return err
			}
			if point < 1 || point > len(source.Points) {
				return usageError{fmt.Errorf("--point is %d: want 1 to %d", point, len(source.Points))}
			}
			lab, err := harness.OpenLab(cmd.Context(), source, harness.WalkInOptions{
				Links: links, Name: name, Point: point - 1, NodeBinary: node, Log: os.Stderr,
			})
			if errors.Is(err, harness.ErrNoHosts) || errors.Is(err, access.ErrName) || errors.Is(err, link.ErrKernelCannot) {
				return usageError{err}
			}
			if err != nil {
				return err
			}
			defer lab.Close()
			if err := showLab(stdout, lab); err != nil {
				return err
			}
			if err := lab.Wait(cmd.Context()); err != nil {
				return err
			}
			_, err = fmt.Fprintf(stdout, "lab %s is gone\n", lab.Name)
			return errors.Join(lab.Close(), err)
		},
	}
	spec.addTopology(cmd)
	cmd.Flags().IntVar(&point, "point", 1, "which point of a sweep, counted from 1")
	cmd.Flags().StringVar(&links, "links", engine.LinksAuto, "who shapes the links: auto, kernel or userspace")
	cmd.Flags().StringVar(&name, "name", "", "what to call the lab (default the experiment's name)")
	cmd.Flags().StringVar(&node, "node", "", "the bench-node binary (default the one beside bench)")
	return cmd
}

// shownRows is how much of a large lab is shown.
const shownRows = 40

// showLab prints what there is and how to walk in.
func showLab(w io.Writer, lab *harness.WalkIn) error {
	var text strings.Builder
	fmt.Fprintf(&text, "lab %s: %d hosts, %d links, %s links (%s)\n\n", lab.Name, len(lab.Hosts), len(lab.Links), lab.Executor, lab.LinksReason)
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "HOST\tADDRESS\tPLACE OF")
	for _, host := range lab.Hosts[:min(len(lab.Hosts), shownRows)] {
		fmt.Fprintf(table, "%s\t%s\t%s\n", host.Name, host.Address, strings.Join(host.Processes, ", "))
	}
	table.Flush() // to a string: can't fail
	andMore(&text, len(lab.Hosts))
	text.WriteString("\n")
	fmt.Fprintln(table, "LINK\tENDS\tTREATS FRAMES BY")
	for _, link := range lab.Links[:min(len(lab.Links), shownRows)] {
		if link.AToB == link.BToA {
			fmt.Fprintf(table, "%s\t%s - %s\t%s\n", link.Name, link.A, link.B, link.AToB)
			continue
		}
		fmt.Fprintf(table, "%s\t%s -> %s\t%s\n\t%s -> %s\t%s\n", link.Name, link.A, link.B, link.AToB, link.B, link.A, link.BToA)
	}
	table.Flush()
	andMore(&text, len(lab.Links))
	text.WriteString(walkInHints(lab.Description))
	_, err := io.WriteString(w, text.String())
	return err
}

func andMore(text *strings.Builder, rows int) {
	if rows > shownRows {
		fmt.Fprintf(text, "... and %d more\n", rows-shownRows)
	}
}

// walkInHints are commands for another terminal, with names of this lab.
func walkInHints(lab access.Description) string {
	first, last := lab.Hosts[0].Name, lab.Hosts[len(lab.Hosts)-1].Name
	hints := fmt.Sprintf(`
from another terminal:
  bench exec %s -- ping %s
  bench exec %s -- sh
`, first, last, first)
	if lab.Executor == engine.LinksUserspace && len(lab.Links) > 0 {
		hints += fmt.Sprintf("  bench capture %s > link.pcapng\n", lab.Links[0].Name)
	}
	return hints + "\nCtrl-C removes the lab.\n"
}

func newLabList(stdout io.Writer) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the labs that run on this machine",
		Example: "  bench lab list",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			labs, err := access.List()
			if err != nil {
				return err
			}
			if len(labs) == 0 {
				_, err := fmt.Fprintln(stdout, "no lab runs; start one by: bench lab up SPEC")
				return err
			}
			table := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(table, "LAB\tPID\tHOSTS\tLINKS\tUP FOR")
			for _, lab := range labs {
				fmt.Fprintf(table, "%s\t%d\t%s\n", lab.Name, lab.PID, listed(lab))
			}
			return table.Flush()
		},
	}
}

// listed is a row of the list but for its beginning.
func listed(lab access.Lab) string {
	of := ""
	if own := os.Geteuid(); lab.UID != own {
		of = fmt.Sprintf("user %d", lab.UID)
		if known, err := user.LookupId(strconv.Itoa(lab.UID)); err == nil {
			of = known.Username
		}
		of = ", of " + of
		if own != 0 { // it wouldn't answer
			return "-\t-\t-" + of
		}
	}
	d, err := lab.Describe()
	if err != nil {
		return fmt.Sprintf("-\t-\t-\t%v", err)
	}
	row := fmt.Sprintf("%d\t%d, %s\t%v", len(d.Hosts), len(d.Links), d.Executor, time.Since(d.Since).Round(time.Second))
	row += of
	if d.Measured {
		row += ", measured: to use it voids the trial"
	}
	return row
}

// checkLinks refuses a flag --links that is none of the executors.
func checkLinks(links string) error {
	if links != engine.LinksAuto && links != engine.LinksKernel && links != engine.LinksUserspace {
		return usageError{fmt.Errorf("--links is %q: want auto, kernel or userspace", links)}
	}
	return nil
}
