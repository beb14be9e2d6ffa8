// Package application is the registry of the applications that clusters
// replicate: what clients, nodes and the checker of histories need to know of
// one, whichever it is. Importing it brings the key-value store (package kv) and
// the counters (package counter); others call Register.
package application

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"quorumlab/node/consensus"
)

// Default is the application of a cluster that names none.
const Default = "kv"

// Errors that callers can meet.
var (
	// ErrUnknown is wrapped by errors about a name that no application has.
	ErrUnknown = errors.New("unknown application")
	// ErrKind is wrapped by errors about an operation of a kind that the
	// application doesn't have.
	ErrKind = errors.New("unknown kind of operation")
	// ErrResult is wrapped by errors about bytes that are no result.
	ErrResult = errors.New("malformed result")
)

// Operation is what a client wants done.
type Operation struct {
	// Kind is the name of one of Application.Kinds.
	Kind string
	// Key is what it is about, if the kind is Keyed.
	Key uint64
	// Value is what it writes, if the kind Writes.
	Value string
}

// Result is what came of an operation.
type Result struct {
	// OK is false if the operation failed and the state is as it was.
	OK bool
	// Value is what the operation returned, if anything.
	Value string
}

// Kind describes the operations of one name.
type Kind struct {
	Name string
	// Keyed operations are about their key's part of the state alone; the others
	// are about none of the state.
	Keyed bool
	// NeedsKey is true if the operation fails unless its key is present. The
	// first client of a load that has such operations creates the keys.
	NeedsKey bool
	// Creates is true for the kind that makes a key present.
	Creates bool
	// Writes is true if the operation carries a value.
	Writes bool
	// Reads is true if the operation returns part of the state and changes
	// nothing, so that clients send it as a consensus.KindRead.
	Reads bool
}

// Application is what can be replicated. All of it is safe for concurrent use;
// the state machines that it makes are not.
type Application interface {
	Name() string
	// New makes the state machine of one replica, in its initial state.
	New() consensus.StateMachine
	// Kinds lists the operations. It is not to be modified.
	Kinds() []Kind
	// AppendOperation appends the operation's encoding, as the state machine
	// takes it. The error wraps ErrKind; dst comes back as it was then.
	AppendOperation(dst []byte, operation Operation) ([]byte, error)
	// DecodeResult reads what the state machine returned. The error wraps
	// ErrResult.
	DecodeResult(result []byte) (Result, error)
}

var applications = map[string]Application{}

// Register makes an application available by its name. It is called from init
// functions and panics if the name is taken, or if there are kinds that need a
// key but none that creates it.
func Register(application Application) {
	name := application.Name()
	kinds := application.Kinds()
	if slices.ContainsFunc(kinds, func(k Kind) bool { return k.NeedsKey }) &&
		!slices.ContainsFunc(kinds, func(k Kind) bool { return k.Creates }) {
		panic("application: nothing creates the keys of " + name)
	}
	if _, taken := applications[name]; taken {
		panic("application: registered twice: " + name)
	}
	applications[name] = application
}

// Lookup finds an application by its name.
func Lookup(name string) (Application, bool) {
	application, ok := applications[name]
	return application, ok
}

// Find finds an application by its name; the empty name means Default. The
// error wraps ErrUnknown and says which names there are.
func Find(name string) (Application, error) {
	if name == "" {
		name = Default
	}
	application, ok := Lookup(name)
	if !ok {
		return nil, fmt.Errorf("%w: %q, want %s", ErrUnknown, name, strings.Join(Names(), " or "))
	}
	return application, nil
}

// Names lists the registered applications in alphabetical order.
func Names() []string { return slices.Sorted(maps.Keys(applications)) }

// KindNamed finds one of the application's kinds of operations.
func KindNamed(application Application, name string) (Kind, bool) {
	for _, kind := range application.Kinds() {
		if kind.Name == name {
			return kind, true
		}
	}
	return Kind{}, false
}

// NeedsKeys tells whether a load of this mix, which gives each kind's name its
// share, begins by creating the keys.
func NeedsKeys(application Application, mix map[string]float64) bool {
	return slices.ContainsFunc(application.Kinds(), func(kind Kind) bool {
		return kind.NeedsKey && mix[kind.Name] > 0
	})
}
