//go:build linux

package netns

import (
	"context"
	"fmt"
	"os"

	"quorumlab/harness/engine"
	"quorumlab/harness/passing"
)

// Run starts a program on a host. It has a process group of its own or, with a
// terminal, a session; a hostname, which is its host's name; and the host names of the
// lab in /etc/hosts.
func (l *lab) Run(ctx context.Context, host string, program engine.Program) (engine.Running, error) {
	r, err := l.runProgram(ctx, host, program)
	if err != nil {
		return nil, fmt.Errorf("running %s on %s: %w", program.Path, host, err)
	}
	return r, nil
}

func (l *lab) runProgram(ctx context.Context, host string, program engine.Program) (*running, error) {
	if err := l.checkStart(host); err != nil {
		return nil, err
	}
	files := []*os.File{program.Stdin, program.Stdout, program.Stderr}
	for i, file := range files {
		if file != nil {
			continue
		}
		null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		defer null.Close()
		files[i] = null
	}
	r := newRunning(l, program.Path)
	r.group = true
	return r, l.launch(ctx, r, r, startRequest{
		Host: host, Path: passing.Text(program.Path), Arguments: passing.Texts(program.Arguments),
		Program: &programRequest{Environment: passing.Texts(program.Environment), Dir: passing.Text(program.Dir), Terminal: program.Terminal},
	}, files...)
}
