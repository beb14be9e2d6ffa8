package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"quorumlab/harness/access"
)

// Exit statuses of "bench exec" for a command that can't be run, as shells have them.
const (
	exitNotExecutable = 126
	exitNotFound      = 127
)

func newExec() *cobra.Command {
	var which string
	cmd := &cobra.Command{
		Use:   "exec HOST -- COMMAND [ARGUMENT...]",
		Short: "Run a command on a host of a running lab",
		Long: `exec runs any command of this machine inside a host of a lab that "bench lab up"
or "bench run" holds: its network is the host's, its files, user and environment are
yours. In a rootless lab id says uid=0(root): that is you, seen from within the lab's
user namespace, with no rights that you lack outside. HOST is a host's name or that of a process of the experiment, such as
replica1. Hosts find each other by name. From a terminal, interactive programs
work too.

The exit status is the command's, or 128 and the number of the signal that ended it;
126 or 127 if it can't be run or found; 1 or 2 if exec itself fails.

Who looks around in a lab while it is measured disturbs it: the trial is void.`,
		Example: `  bench exec h1 -- ping -c 3 h2
  bench exec replica1 -- ss -tin
  bench exec h1 -- sh
  bench exec h1 --lab slow -- ip route`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, arguments []string) error {
			if dash := cmd.ArgsLenAtDash(); dash > 1 {
				return usageError{errors.New("bench exec: the command comes after --, and one host before it")}
			}
			command, err := commandOf(arguments)
			if err != nil {
				return err
			}
			lab, err := access.Find(which)
			if err != nil {
				return usageError{err}
			}
			status, err := lab.Run(command, takeSignals())
			switch {
			case errors.Is(err, access.ErrNotRunnable):
				fmt.Fprintf(os.Stderr, "bench: %v\n", err)
				return statusError(exitNotExecutable)
			case err == nil && status != 0:
				return statusError(status)
			}
			return asUnknown(err)
		},
	}
	cmd.Flags().StringVar(&which, "lab", "", "which lab, by its name or the pid of its process (default the only one)")
	return cmd
}

// takeSignals hands over the signals that would end this process; they are the
// command's.
func takeSignals() <-chan os.Signal {
	handed := []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT}
	signal.Reset(handed...) // from whoever else listens
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, handed...)
	return signals
}

// commandOf finds the program as a shell here would: of HOST COMMAND ARGUMENT...
func commandOf(arguments []string) (access.Command, error) {
	name := arguments[1]
	path, err := exec.LookPath(name)
	if err == nil || errors.Is(err, exec.ErrDot) {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %s can't be run: %v\n", name, errors.Unwrap(err))
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
			return access.Command{}, statusError(exitNotFound)
		}
		return access.Command{}, statusError(exitNotExecutable) // such as a folder
	}
	dir, err := os.Getwd()
	if err != nil {
		return access.Command{}, fmt.Errorf("finding the current folder: %w", err)
	}
	return access.Command{
		Host: arguments[0], Path: path, Arguments: arguments[1:], Environment: os.Environ(), Dir: dir,
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	}, nil
}
