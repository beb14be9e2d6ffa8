package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"

	"quorumlab/harness"
	"quorumlab/harness/engine"
	"quorumlab/harness/experiment"
	"quorumlab/harness/report"
)

func newDoctor(stdout io.Writer) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say which engines work here, and what would mend the others",
		Long: `doctor tries each engine and each link executor on this machine and prints
whether it works, why, and the command that would mend it.

Exit status: 0 if at least one engine works, 1 if none does.`,
		Example: "  bench doctor",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var rows []engine.Readiness
			works := false
			for _, name := range engine.Names() {
				e, _ := engine.Lookup(name)
				checked := e.Check(cmd.Context())
				rows = append(rows, checked...)
				works = works || len(checked) > 0 && checked[0].OK
			}
			if err := showReadiness(stdout, rows, asJSON); err != nil {
				return err
			}
			if !works {
				return statusError(exitFailed)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func showReadiness(stdout io.Writer, rows []engine.Readiness, asJSON bool) error {
	if !asJSON {
		return report.Doctor(stdout, rows, report.TerminalOptions(stdout))
	}
	encoder := json.NewEncoder(stdout)
	encoder.SetIndent("", "  ")
	return encoder.Encode(rows)
}

func newInit(stdout io.Writer) *cobra.Command {
	return &cobra.Command{
		Use:     "init",
		Short:   "Print a commented experiment file to start from",
		Example: "  bench init > my.yaml && bench run my.yaml",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := stdout.Write(experiment.Template())
			return err
		},
	}
}

func newVersion(stdout io.Writer) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(stdout, "bench %s (%s, %s/%s)\n", harness.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
