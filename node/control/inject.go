package control

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"quorumlab/node/consensus"
)

// Commands about faults; nodes of a cluster take them.
const (
	// CommandInject sets what the node does to itself: Injection takes the place of the
	// one before. It is answered once it is in force.
	CommandInject = "inject"
	// CommandSubscribe sets which events the node reports as EventTrace from now on.
	CommandSubscribe = "subscribe"
	// CommandStanding asks where the machine stands: as CommandStatus does, but quickly,
	// without hashing any state.
	CommandStanding = "standing"
)

// Events about faults.
const (
	// EventTrace is one that a subscription has asked for.
	EventTrace = "trace"
	// EventFailpoint comes before the node crashes or stalls at a failpoint.
	EventFailpoint = "failpoint"
	// EventFailed is the last line of a node that ends because of an error, such as one of
	// its disk: Line.Error says which, and Standing what the disk has refused by then.
	EventFailed = "failed"
)

// Injection is what goes wrong inside a process. The zero value is nothing.
type Injection struct {
	Ignore []Ignore `json:"ignore,omitempty"`
	// ClockRate is that of the machine's timers; 0 means 1. ClockJumpNS is by how much
	// they are ahead besides; what counts is its change.
	ClockRate   float64 `json:"clock_rate,omitempty"`
	ClockJumpNS int64   `json:"clock_jump_ns,omitempty"`
	// SyncDelayNS is added to each sync of the disk.
	SyncDelayNS int64 `json:"sync_delay_ns,omitempty"`
	// FailWrites has each write to the disk fail with EIO, FullDisk with ENOSPC.
	FailWrites bool        `json:"fail_writes,omitempty"`
	FullDisk   bool        `json:"full_disk,omitempty"`
	Failpoints []Failpoint `json:"failpoints,omitempty"`
}

// MinClockRate and MaxClockRate bound what is still a clock, MaxClockJumpNS how far it is
// ahead or behind: about 36 years.
const (
	MinClockRate   = 1e-3
	MaxClockRate   = 1e3
	MaxClockJumpNS = 1 << 60
)

// Ignore has a share of the messages that come from other nodes ignored.
type Ignore struct {
	// Kinds are those of the messages' labels; none means all. A client's request is
	// "request".
	Kinds []string `json:"kinds,omitempty"`
	// From are the senders' names; none means all.
	From []string `json:"from,omitempty"`
	// Share is the probability that one is ignored, Seed that of the draws.
	Share float64 `json:"share"`
	Seed  uint64  `json:"seed"`
}

// Places where a failpoint may be.
const (
	// BeforePersist: the record is about to be written.
	BeforePersist = "before_persist"
	// AfterPersist: the record is durable, and nothing that depends on it has been sent.
	AfterPersist = "after_persist"
	// BeforeSend: the message is about to be sent.
	BeforeSend = "before_send"
	// AfterSend: the receiver's machine has the message's bytes, and what the same step
	// sends later has not been sent.
	AfterSend = "after_send"
	// BeforeApply and AfterApply: the command of the slot is about to be applied, or has
	// been and its client hasn't been answered.
	BeforeApply = "before_apply"
	AfterApply  = "after_apply"
)

// Places lists them.
var Places = []string{BeforePersist, AfterPersist, BeforeSend, AfterSend, BeforeApply, AfterApply}

// What happens at a failpoint.
const (
	ActionCrash = "crash"
	ActionStall = "stall"
)

// Failpoint is a place in a node's driver where it crashes or stalls.
type Failpoint struct {
	// ID is given back in Reached.
	ID string `json:"id"`
	// Place is one of Places.
	Place string `json:"place"`
	// Kind is that of the message or record; meaningless for commands that are applied.
	Kind string `json:"kind,omitempty"`
	// Slot and Round restrict it, and To the receiver's name; zero means any.
	Slot  uint64 `json:"slot,omitempty"`
	Round uint64 `json:"round,omitempty"`
	To    string `json:"to,omitempty"`
	// Count is which match counts, from 1; 0 means 1.
	Count int `json:"count,omitempty"`
	// Action is ActionCrash, or ActionStall: nothing is done until the failpoint is gone
	// from the node's Injection.
	Action string `json:"action"`
}

// Reached is what a node says when it has come to a failpoint.
type Reached struct {
	ID     string          `json:"id"`
	TimeNS int64           `json:"time_ns"`
	Label  consensus.Label `json:"label"`
	// To is the message's receiver.
	To string `json:"to,omitempty"`
	// Unacknowledged is true if the receiver of a message that was sent (AfterSend) hasn't
	// acknowledged it: there was no connection, or it was lost, or took too long.
	Unacknowledged bool `json:"unacknowledged,omitempty"`
}

// TraceCommit is the kind of what a Subscription sees when a command is applied.
const TraceCommit = "commit"

// Subscription asks for events of the machine, messages that it sends, and commits.
type Subscription struct {
	// Kind is the label's, or TraceCommit.
	Kind string `json:"kind"`
	// Slot and Round restrict it; 0 means any. Of commits, Slot is the least.
	Slot  uint64 `json:"slot,omitempty"`
	Round uint64 `json:"round,omitempty"`
	// Limit is how many are reported; 0 means all, up to 100 a second.
	Limit int `json:"limit,omitempty"`
}

// Trace is what was subscribed to.
type Trace struct {
	TimeNS int64           `json:"time_ns"`
	Label  consensus.Label `json:"label"`
	// To is the receiver's name, of a message.
	To string `json:"to,omitempty"`
}

// Standing answers CommandStanding.
type Standing struct {
	Leading bool `json:"leading"`
	// Round is the ballot's, the term or the view; Slot the last one committed.
	Round         uint64 `json:"round,omitempty"`
	Slot          uint64 `json:"slot,omitempty"`
	Configuration uint64 `json:"configuration,omitempty"`
	// ClockNS is CLOCK_MONOTONIC, MachineNS what the machine takes the time for.
	ClockNS   int64 `json:"clock_ns"`
	MachineNS int64 `json:"machine_ns"`
	Connected int   `json:"connected"`
	Peers     int   `json:"peers"`
	// Injected counts what injections have done since the process started.
	Injected Injected `json:"injected"`
}

// Injected is what injections have done.
type Injected struct {
	// Ignoring is true while there are rules of what is ignored.
	Ignoring bool `json:"ignoring,omitempty"`
	// Ignored messages, of Considered ones that a rule was about.
	Ignored    uint64 `json:"ignored,omitempty"`
	Considered uint64 `json:"considered,omitempty"`
	// SlowSyncs were delayed; the shortest of them took LeastSyncNS.
	SlowSyncs   uint64 `json:"slow_syncs,omitempty"`
	LeastSyncNS int64  `json:"least_sync_ns,omitempty"`
	// RefusedBytes were not written.
	RefusedBytes uint64 `json:"refused_bytes,omitempty"`
	// SuppressedTraces were subscribed to without a limit, but came too fast.
	SuppressedTraces uint64 `json:"suppressed_traces,omitempty"`
}

// Initially is what a node is given when it starts (bench-node run --injection FILE, in
// JSON), in force before its machine's first step.
type Initially struct {
	Injection     Injection      `json:"injection"`
	Subscriptions []Subscription `json:"subscriptions,omitempty"`
}

// ErrInjection is returned for what can't be injected or subscribed to.
var ErrInjection = errors.New("bad injection")

// Check says what is wrong with what a node is given. The error wraps ErrInjection.
func (i Initially) Check() error {
	if err := i.Injection.Check(); err != nil {
		return err
	}
	return CheckSubscriptions(i.Subscriptions)
}

// Check says what is wrong with an injection. The error wraps ErrInjection.
func (i Injection) Check() error {
	for _, ignore := range i.Ignore {
		if !(ignore.Share >= 0 && ignore.Share <= 1) {
			return fmt.Errorf("%w: share is %v, want 0 to 1", ErrInjection, ignore.Share)
		}
	}
	if !(i.ClockRate == 0 || i.ClockRate >= MinClockRate && i.ClockRate <= MaxClockRate) {
		return fmt.Errorf("%w: clock_rate is %v, want %v to %v", ErrInjection, i.ClockRate, MinClockRate, float64(MaxClockRate))
	}
	if i.ClockJumpNS < -MaxClockJumpNS || i.ClockJumpNS > MaxClockJumpNS {
		return fmt.Errorf("%w: clock_jump_ns is %d, want %d to %d", ErrInjection, i.ClockJumpNS, -MaxClockJumpNS, MaxClockJumpNS)
	}
	if i.SyncDelayNS < 0 {
		return fmt.Errorf("%w: sync_delay_ns is %d, want at least 0", ErrInjection, i.SyncDelayNS)
	}
	ids := map[string]bool{}
	for _, f := range i.Failpoints {
		switch {
		case f.ID == "" || ids[f.ID]:
			return fmt.Errorf("%w: a failpoint's id is %q, want one of its own", ErrInjection, f.ID)
		case !slices.Contains(Places, f.Place):
			return fmt.Errorf("%w: place is %q, want one of %s", ErrInjection, f.Place, strings.Join(Places, ", "))
		case f.Action != ActionCrash && f.Action != ActionStall:
			return fmt.Errorf("%w: action is %q, want %s or %s", ErrInjection, f.Action, ActionCrash, ActionStall)
		case f.Count < 0:
			return fmt.Errorf("%w: count is %d, want at least 0", ErrInjection, f.Count)
		}
		ids[f.ID] = true
	}
	return nil
}

// CheckSubscriptions says what is wrong with subscriptions. The error wraps ErrInjection.
func CheckSubscriptions(subscriptions []Subscription) error {
	for _, s := range subscriptions {
		if s.Kind == "" || s.Limit < 0 {
			return fmt.Errorf("%w: a subscription to the kind %q with the limit %d, want a kind, and no limit below 0", ErrInjection, s.Kind, s.Limit)
		}
	}
	return nil
}
