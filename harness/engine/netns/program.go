//go:build linux

package netns

import (
	"context"
	"os"

	"quorumlab/harness/engine"
	"quorumlab/topologies"
)

func (l *lab) Run(context.Context, string, engine.Program) (engine.Running, error) {
	return nil, engine.ErrUnsupported
}

func (l *lab) SetLink(context.Context, string, topologies.Parameters, topologies.Parameters) error {
	return engine.ErrUnsupported
}

func (l *lab) Capture(context.Context, string, *os.File) error { return engine.ErrUnsupported }
