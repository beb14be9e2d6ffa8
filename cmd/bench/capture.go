package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"quorumlab/harness/access"
)

func newCapture(stderr io.Writer) *cobra.Command {
	var which, output string
	var limit time.Duration
	cmd := &cobra.Command{
		Use:   "capture LINK",
		Short: "Record the frames of a link of a running lab, for tshark or Wireshark",
		Long: `capture writes what passes a link to a file or to standard output, in the format
pcapng, until Ctrl-C, for a time, or until the reader of the pipe has seen enough.
Each frame stands there twice, at its way in and at its way out, each end of
the link being an interface: the difference is what the link did. tshark would take
the second sight of a TCP segment for a retransmission; show it one end only, by
-Y 'frame.interface_id == 0' (1 for the other end).

A capture costs time: while a trial is measured it voids the trial. To capture
measured trials, name the links under "capture" in the experiment.`,
		Example: `  bench capture h1-s1 -o link.pcapng
  bench capture h1-s1 --for 10s > link.pcapng
  bench capture h1-s1 | tshark -r - -Y 'frame.interface_id == 0'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, arguments []string) error {
			if limit < 0 {
				return usageError{fmt.Errorf("--for is %v: want a duration above 0", limit)}
			}
			lab, err := access.Find(which)
			if err != nil {
				return usageError{err}
			}
			if err := lab.CheckLink(arguments[0]); err != nil { // before a file is made
				return asUnknown(err)
			}
			file, err := captureFile(output)
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			if limit > 0 {
				timed, cancel := context.WithTimeout(ctx, limit)
				defer cancel()
				ctx = timed
			}
			err = lab.Capture(arguments[0], file, func() {
				fmt.Fprintf(stderr, "bench: capturing link %s of lab %s\n", arguments[0], lab.Name)
			}, ctx.Done())
			if file == os.Stdout {
				return err
			}
			err = errors.Join(err, file.Close())
			if info, statErr := os.Stat(output); statErr == nil && info.Mode().IsRegular() && info.Size() == 0 {
				_ = os.Remove(output) // it began with nothing, and would be in the next one's way
			}
			return err
		},
	}
	cmd.Flags().StringVar(&which, "lab", "", "which lab, by its name or the pid of its process (default the only one)")
	cmd.Flags().StringVarP(&output, "output", "o", "", "the file to write (default standard output)")
	cmd.Flags().DurationVar(&limit, "for", 0, "how long to capture (default until Ctrl-C)")
	return cmd
}

// captureFile is where a capture goes: a new file, a pipe or a device.
func captureFile(output string) (*os.File, error) {
	if output != "" {
		file, err := os.OpenFile(output, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if !errors.Is(err, os.ErrExist) {
			return file, err
		}
		if info, err := os.Stat(output); err == nil && info.Mode().IsRegular() {
			return nil, usageError{fmt.Errorf("-o: %s exists already: want another file, or a pipe", output)}
		}
		return os.OpenFile(output, os.O_RDWR, 0) // a pipe or a device
	}
	if term.IsTerminal(int(os.Stdout.Fd())) {
		return nil, usageError{errors.New("a capture is no text: give -o FILE, or redirect the output")}
	}
	return os.Stdout, nil
}

// asUnknown makes the error about a name that a lab doesn't have a usage error.
func asUnknown(err error) error {
	if errors.Is(err, access.ErrUnknown) {
		return usageError{err}
	}
	return err
}
