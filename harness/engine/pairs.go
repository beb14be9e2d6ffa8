package engine

import (
	"context"

	"quorumlab/topologies"
)

// PairChange is what Lab.SetPair does to one pair of hosts.
type PairChange struct {
	From string `json:"from"`
	To   string `json:"to"`
	// Parameters are those of the pair's stage from now on; nil takes it away.
	Parameters *topologies.Parameters `json:"parameters,omitempty"`
}

// PairSetter is a Lab that changes many pairs at one moment: no frame meets a partition
// that is half made, and one of many hosts takes hardly longer than a single cut.
type PairSetter interface {
	// SetPairs is SetPair of each pair, in order. If it fails nothing was changed.
	SetPairs(ctx context.Context, changes []PairChange) error
}
