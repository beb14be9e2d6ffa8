// Package engine says what an engine is: something that builds labs, and a lab
// is an emulated network whose hosts run processes. Engines register
// themselves by name; the harness runs every experiment through these
// interfaces alone, and names hosts, never process ids or paths of a host.
package engine

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"quorumlab/topologies"
)

// Link executors: who delays, drops and limits the frames of a lab.
const (
	// LinksAuto takes the kernel's qdiscs where they can do what the topology
	// declares, else the userspace emulator.
	LinksAuto = "auto"
	// LinksKernel is the kernel's bridge and netem.
	LinksKernel = "kernel"
	// LinksUserspace is the emulator of package link.
	LinksUserspace = "userspace"
)

// Readiness tells whether something works here.
type Readiness struct {
	// Name is the engine or link executor.
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	// Reason says in a sentence why it works or doesn't.
	Reason string `json:"reason"`
	// Mend lists what would make it work, the narrowest remedy first: commands
	// to type, each with a comment line starting with "#" before it.
	Mend []string `json:"mend,omitempty"`
}

// Blueprint is the lab that an experiment asks for.
type Blueprint struct {
	Topology *topologies.Topology
	// Links is LinksAuto, LinksKernel or LinksUserspace.
	Links string
	// Seed makes the links' losses and jitter repeatable.
	Seed uint64
	// CongestionControl is the TCP congestion control of every host.
	CongestionControl string
	// Changing is set if SetLink will be called with parameters that treat each frame
	// on its own (more than a delay): hosts then send single segments from the start.
	Changing bool
	// NodeBinary is the path of bench-node.
	NodeBinary string
	// Log receives what the lab's own processes have to say.
	Log *os.File
}

// Engine runs experiments: it is a Builder or a Simulator too.
type Engine interface {
	Name() string
	// MaxHosts is the largest topology that the engine accepts.
	MaxHosts() int
	// Check probes, within a second or so and leaving nothing behind, whether
	// the engine and each of its link executors work here. The first row is
	// the engine's own.
	Check(ctx context.Context) []Readiness
}

// Builder is an engine that builds labs.
type Builder interface {
	Engine
	// Build makes a lab; the context bounds the building, not the lab's life.
	// The lab vanishes with the calling process, however that ends.
	Build(ctx context.Context, blueprint Blueprint) (Lab, error)
}

// Lab is a network of hosts, up and idle.
type Lab interface {
	// Links says which executor shapes the links, and why it was chosen.
	Links() (executor, reason string)
	// Start runs bench-node on a host.
	Start(ctx context.Context, host string, command Command) (Process, error)
	// Run runs any program on a host; the context bounds the starting, not the
	// program's life. Who looks around in a lab that is measured disturbs it.
	Run(ctx context.Context, host string, program Program) (Running, error)
	// SetLink changes both directions of a link. Frames that are on the way, or in the
	// queue, keep their times; if a direction goes down or comes up, frames that come
	// later take other paths. It returns once the change is in force, or with
	// ErrUnsupported if this executor can't do it.
	SetLink(ctx context.Context, link string, aToB, bToA topologies.Parameters) error
	// SetPairs has frames from one host to another pass another stage before they enter
	// the network, whose drops and delays come on top of their path's: all pairs at one
	// moment, so that no frame meets a partition that is half made, or none if it fails.
	// Frames that have passed a stage keep their times. ErrUnsupported if this executor
	// can't do it.
	SetPairs(ctx context.Context, changes []PairChange) error
	// Capture writes the frames of a link, as they enter and leave it in both
	// directions, to a pcapng file from now on until EndCapture, until the file takes no
	// more (a pipe that nobody reads) or until the lab is closed. A link has one capture
	// at a time; ErrUnsupported if this executor can't do it. The file is duplicated;
	// Report counts what a capture missed.
	Capture(ctx context.Context, link string, file *os.File) error
	// EndCapture ends a link's capture, if it has one. Once it returns, the file has
	// all that was captured.
	EndCapture(ctx context.Context, link string) error
	// Report counts what the links have done so far.
	Report(ctx context.Context) (LinkReport, error)
	// ClockOffset is how far the host's CLOCK_MONOTONIC is ahead of the
	// caller's, and by how much that may be wrong.
	ClockOffset(ctx context.Context, host string) (offset, uncertainty time.Duration, err error)
	// Close ends every process of the lab and removes the network. It may be
	// called twice.
	Close() error
}

// Command is a bench-node to run.
type Command struct {
	// Name tells the processes of a lab apart.
	Name string
	// Arguments follow the program's name.
	Arguments []string
	// Log receives the process's standard error; it is duplicated, so the
	// caller may close it after Start.
	Log *os.File
}

// PairChange is what Lab.SetPairs does to one pair of hosts.
type PairChange struct {
	From string `json:"from"`
	To   string `json:"to"`
	// Parameters are those of the pair's stage from now on; nil takes it away.
	Parameters *topologies.Parameters `json:"parameters,omitempty"`
}

// Process runs on a lab's host. Its standard input and output are the control
// channel (docs/node-protocol.md).
type Process interface {
	Name() string
	Stdin() io.WriteCloser
	Stdout() io.Reader
	// Signal sends a signal to the process; an error if it has ended.
	Signal(signal os.Signal) error
	// State asks the kernel how the process is.
	State(ctx context.Context) (ProcessState, error)
	// Throttle gives the process a share of a processor, above 0; 1 ends it. A process
	// that was stopped by Signal stays so until it is told to go on.
	Throttle(ctx context.Context, share float64) error
	// Done is closed once the process has ended.
	Done() <-chan struct{}
	// Exit says how the process ended; valid once Done is closed.
	Exit() Exit
}

// ProcessState is a process as the kernel sees it.
type ProcessState struct {
	// Letter is that of /proc/PID/stat, such as "S" or "T" (stopped); empty if the
	// process is gone.
	Letter string `json:"letter"`
	// CPUNS is what it has used of processors.
	CPUNS int64 `json:"cpu_ns"`
	// StoppedNS is for how long it has been stopped, by Signal or Throttle, so far: from
	// signal to signal, where the kernel confirms it, less what it ran meanwhile.
	StoppedNS int64 `json:"stopped_ns,omitempty"`
}

// ErrUnsupported is met where a link executor can't do what it is asked for.
var ErrUnsupported = errors.New("this link executor can't do that")

// Program is any program to run on a lab's host.
type Program struct {
	// Path is the program's file, Arguments begin with its name.
	Path      string
	Arguments []string
	// Environment has elements "name=value"; Dir is where it begins.
	Environment []string
	Dir         string
	// Stdin, Stdout and Stderr are duplicated; the caller may close them after Run. Nil
	// is /dev/null.
	Stdin, Stdout, Stderr *os.File
	// Terminal is true if Stdin is a terminal that shall control the program.
	Terminal bool
}

// Running is a program on a lab's host. Closing the lab ends it.
type Running interface {
	// Signal sends a signal to the program's process group; an error if it has ended.
	Signal(signal os.Signal) error
	// Done is closed once the program has ended; Exit then says how.
	Done() <-chan struct{}
	Exit() Exit
}

// Exit is how a process ended and what it used.
type Exit struct {
	Code int `json:"code"`
	// Signal is the name of the signal that ended it, if one did.
	Signal      string `json:"signal,omitempty"`
	UserNS      int64  `json:"user_ns"`
	SystemNS    int64  `json:"system_ns"`
	MaxRSSBytes int64  `json:"max_rss_bytes"`
}

// LinkReport is what a lab's links did.
type LinkReport struct {
	// Directions has two entries a link, A to B first, in the topology's order.
	Directions []DirectionReport `json:"directions"`
	// Pairs are the stages of SetPairs that there were, in order of their names; Link is
	// "FROM>TO".
	Pairs []DirectionReport `json:"pairs,omitempty"`
	// Lateness counts frames by how much later than its deadline the emulator
	// sent them; nil where the kernel executes the links.
	Lateness []LatenessBucket `json:"lateness,omitempty"`
	// LatenessTotalNS sums the lateness of these frames.
	LatenessTotalNS int64 `json:"lateness_total_ns,omitempty"`
	// EmulatorDrops counts frames that were lost but not by declaration: the
	// emulator's socket overflowed or refused them.
	EmulatorDrops uint64 `json:"emulator_drops"`
	// EmulatorDropCauses are their causes, by name; those that didn't occur are
	// left out.
	EmulatorDropCauses map[string]uint64 `json:"emulator_drop_causes,omitempty"`
	// Emulator says what the emulator was granted: its scheduling and its
	// receive buffer.
	Emulator string `json:"emulator,omitempty"`
}

// DirectionReport counts the frames of one direction of a link.
type DirectionReport struct {
	Link       string `json:"link"`
	From       string `json:"from"`
	To         string `json:"to"`
	Frames     uint64 `json:"frames"`
	Bytes      uint64 `json:"bytes"`
	LossDrops  uint64 `json:"loss_drops"`
	QueueDrops uint64 `json:"queue_drops"`
	// DownDrops met the link while it was down.
	DownDrops uint64 `json:"down_drops,omitempty"`
	// Duplicates were added by the link, Corrupted frames delivered with a flipped bit,
	// Reordered ones let go at once. Frames counts all that was delivered: the
	// duplicates too.
	Duplicates uint64 `json:"duplicates,omitempty"`
	Corrupted  uint64 `json:"corrupted,omitempty"`
	Reordered  uint64 `json:"reordered,omitempty"`
	// CaptureMissed are frames that a capture of the link lacks.
	CaptureMissed uint64 `json:"capture_missed,omitempty"`
}

// LatenessBucket counts the frames that were at most UpToNS late and later than
// the bucket before; the last bucket's UpToNS is 0 and means any.
type LatenessBucket struct {
	UpToNS int64  `json:"up_to_ns"`
	Frames uint64 `json:"frames"`
}

var engines = map[string]Engine{}

// Register makes an engine available by its name. It is called from init
// functions and panics if the name is taken.
func Register(engine Engine) {
	if _, taken := engines[engine.Name()]; taken {
		panic("engine: registered twice: " + engine.Name())
	}
	engines[engine.Name()] = engine
}

// Lookup finds an engine by its name.
func Lookup(name string) (Engine, bool) {
	e, ok := engines[name]
	return e, ok
}

// Names lists the registered engines in alphabetical order.
func Names() []string { return slices.Sorted(maps.Keys(engines)) }
