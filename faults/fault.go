package faults

import (
	"encoding/json"
	"time"

	"quorumlab/node/control"
	"quorumlab/topologies"
)

// Fault is one entry of a schedule.
type Fault struct {
	// ID names the entry: the file's id, or the kind's name with a number.
	ID string
	// Kind is a name of the catalogue.
	Kind string
	// Whom are selectors of nodes (see Selector); which kinds need them, the catalogue
	// says. They are resolved when the fault fires.
	Whom []string
	Parameters
	Trigger Trigger
	// For is how long it lasts; the zero Span is for ever, or at once over for kinds
	// that don't last.
	For Span
	// Optional says that the trial counts even if the fault never fires, or hits nobody.
	Optional bool
}

// Parameters are what kinds take; each takes some.
type Parameters struct {
	// Disk is what a process finds when it comes back from a crash: one of the Disk
	// constants; empty means DiskSame.
	Disk string
	// Share is of a processor (slow_cpu) or of messages (ignore), 0 to 1; nil where
	// nothing was said.
	Share *float64
	// Messages are the kinds of messages that are ignored; none means all.
	Messages []string
	// From and To are selectors of nodes: of whom messages are ignored (From), and
	// which way frames don't get through (From, To).
	From, To []string
	// Delay is what each sync of a disk takes longer.
	Delay time.Duration
	// Rate is that of a node's timers, 1 is right; 0 where nothing was said. Jump is by
	// how much they jump, forward if positive.
	Rate float64
	Jump time.Duration
	// Links are names or patterns of links; LinksFrom restricts them to the directions
	// that leave such a host or switch.
	Links, LinksFrom []string
	// Groups are selectors of the sides of a partition.
	Groups [][]string
	// Switch is the root of a subtree.
	Switch string
	// Link lays what was said over a link's parameters; nil where nothing was.
	Link func(topologies.Parameters) topologies.Parameters
	// Change is a change of the configuration in the protocol's own JSON.
	Change json.RawMessage
	// Role is the role that a server is given or loses; empty means all that it has.
	Role string
	// Fault is the ID of the fault that is healed.
	Fault string
}

// What a process finds on its disk after a crash.
const (
	// DiskSame keeps all that was written, as the end of a process does.
	DiskSame = "same"
	// DiskLostUnsynced loses what wasn't synced, as the end of power does (storage fsync).
	DiskLostUnsynced = "lost_unsynced"
	// DiskTorn loses it too, but for a part of the record that was being written (storage
	// fsync).
	DiskTorn = "torn"
	// DiskEmpty is a new disk. No protocol promises to survive that.
	DiskEmpty = "empty"
)

// Disks lists them.
var Disks = []string{DiskSame, DiskLostUnsynced, DiskTorn, DiskEmpty}

// Trigger is when a fault fires. Exactly one of At, After, On, Failpoint and Random is
// given (At may be 0).
type Trigger struct {
	// At is a time since the load began.
	At *time.Duration
	// After is another fault's time.
	After *After
	// On is something that happens in the protocol.
	On *On
	// Failpoint is a place inside a node's driver (crash and pause only).
	Failpoint *control.Failpoint
	// Random fires at times of a Poisson process.
	Random *Random
	// Every repeats At; 0 doesn't.
	Every time.Duration
	// Times bounds how often it fires; 0 means once for At without Every, for After, On
	// and Failpoint, and without a bound for Every and Random.
	Times int
	// Until is when it fires no more; 0 means the load's end.
	Until time.Duration
}

// After counts from when the fault named ID was applied, or healed, for the first time.
type After struct {
	ID     string
	Healed bool
	By     time.Duration
}

// On is fulfilled when Count events have matched since the load began (or, of commits,
// before), and may be again by as many further ones.
type On struct {
	// Event is a kind of event or message of the protocol, one of consensus's meanings
	// (such as consensus.MeaningElected), or "commit".
	Event string
	// Slot, Round: 0 matches any. Commits are those of that slot or a later one.
	Slot, Round uint64
	// Nodes are selectors of the nodes where it happens; none means any.
	Nodes []string
	// Count is at least 1; 0 means 1.
	Count int
	// Delay is how long after it the fault fires.
	Delay time.Duration
}

// Random is a Poisson process between From and Trigger.Until.
type Random struct {
	// Mean is the mean time between two faults.
	Mean time.Duration
	From time.Duration
}

// Span is a duration: fixed (Least equals Most), uniform between the two, or
// exponential with a mean.
type Span struct {
	Least, Most time.Duration
	Mean        time.Duration
}

// Problem is something wrong with a schedule.
type Problem struct {
	// Fault indexes the schedule, Key is the dotted key below it, such as "whom" or
	// "on.event"; empty means the fault itself.
	Fault int
	Key   string
	// Value is the bad one, Want says what would be right. Message, unless empty, is the
	// whole sentence in place of "KEY is VALUE".
	Value, Want, Message string
}
