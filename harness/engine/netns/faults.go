package netns

import (
	"context"

	"quorumlab/harness/engine"
	"quorumlab/topologies"
)

// SetPair is engine.Lab's.
func (l *lab) SetPair(context.Context, string, string, *topologies.Parameters) error {
	return engine.ErrUnsupported
}

// State is engine.Process's.
func (p *process) State(context.Context) (engine.ProcessState, error) {
	return engine.ProcessState{}, engine.ErrUnsupported
}

// Throttle is engine.Process's.
func (p *process) Throttle(context.Context, float64) error { return engine.ErrUnsupported }
