package application

import (
	"fmt"

	"quorumlab/node/consensus"
	"quorumlab/node/counter"
	"quorumlab/node/kv"
)

func init() {
	Register(store{})
	Register(counters{})
}

// store is the key-value store of package kv.
type store struct{}

var storeKinds = []Kind{
	{Name: kv.Nop.String()},
	{Name: kv.Create.String(), Keyed: true, Creates: true, Writes: true},
	{Name: kv.Update.String(), Keyed: true, NeedsKey: true, Writes: true},
	{Name: kv.Read.String(), Keyed: true, NeedsKey: true, Reads: true},
	{Name: kv.Remove.String(), Keyed: true, NeedsKey: true},
}

func (store) Name() string                { return "kv" }
func (store) New() consensus.StateMachine { return kv.New() }
func (store) Kinds() []Kind               { return storeKinds }

func (store) AppendOperation(dst []byte, operation Operation) ([]byte, error) {
	kind, ok := kv.ParseKind(operation.Kind)
	if !ok {
		return dst, fmt.Errorf("kv: %w: %q", ErrKind, operation.Kind)
	}
	return kv.AppendOperation(dst, kv.Operation{Kind: kind, Key: operation.Key, Value: operation.Value}), nil
}

func (store) DecodeResult(result []byte) (Result, error) {
	decoded, err := kv.DecodeResult(result)
	if err != nil {
		return Result{}, fmt.Errorf("%w: %w", ErrResult, err)
	}
	return Result{OK: decoded.Status != kv.Failure, Value: decoded.Value}, nil
}

// counters are those of package counter.
type counters struct{}

var counterKinds = []Kind{
	{Name: counter.Nop.String()},
	{Name: counter.Increment.String(), Keyed: true},
	{Name: counter.Decrement.String(), Keyed: true},
	{Name: counter.Read.String(), Keyed: true, Reads: true},
}

func (counters) Name() string                { return "counter" }
func (counters) New() consensus.StateMachine { return counter.New() }
func (counters) Kinds() []Kind               { return counterKinds }

func (counters) AppendOperation(dst []byte, operation Operation) ([]byte, error) {
	kind, ok := counter.ParseKind(operation.Kind)
	if !ok {
		return dst, fmt.Errorf("counter: %w: %q", ErrKind, operation.Kind)
	}
	return counter.AppendOperation(dst, counter.Operation{Kind: kind, Key: operation.Key}), nil
}

func (counters) DecodeResult(result []byte) (Result, error) {
	decoded, err := counter.DecodeResult(result)
	if err != nil {
		return Result{}, fmt.Errorf("%w: %w", ErrResult, err)
	}
	return Result{OK: decoded.OK, Value: decoded.Value}, nil
}
