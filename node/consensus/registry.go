package consensus

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Member is a process of the cluster and the roles that it has.
type Member struct {
	ID    NodeID   `json:"id"`
	Name  string   `json:"name"`
	Roles []string `json:"roles"`
	// Spare is true for a process that the first configuration leaves out: it
	// takes up its roles once a reconfiguration says so.
	Spare bool `json:"spare,omitempty"`
}

// Has tells whether the member has the role.
func (m Member) Has(role string) bool { return slices.Contains(m.Roles, role) }

// Config is what a protocol needs to make one process's machine.
type Config struct {
	// Self is the process that the machine is for.
	Self NodeID
	// Members are all processes, clients included, in ascending order of ID.
	Members []Member
	// Options are the protocol's own options, a JSON object, or nil for the
	// defaults.
	Options json.RawMessage
	// Seed starts the machine's own generator of random numbers.
	Seed uint64
}

// WithRole lists the members that have the role, spares excepted, in ascending
// order.
func (c Config) WithRole(role string) []NodeID {
	var ids []NodeID
	for _, member := range c.Members {
		if member.Has(role) && !member.Spare {
			ids = append(ids, member.ID)
		}
	}
	return ids
}

// RoleSpec says what a protocol requires of one of its roles.
type RoleSpec struct {
	Name string
	// Default is how many processes have the role if an experiment is silent.
	Default int
	// Min is the least number of processes that makes sense.
	Min int
	// Serves is true for the role that clients send their requests to.
	Serves bool
	// Replaceable is true for a role that a reconfiguration can give to other
	// processes.
	Replaceable bool
	// Leads is true for the role whose processes lead, Votes for the one that quorums
	// are made of.
	Leads, Votes bool
}

// Meanings of events, which all protocols share.
const (
	// MeaningSuspected: a process takes the leader for dead.
	MeaningSuspected = "leader_suspected"
	// MeaningCampaign: a process begins to become the leader, with a new ballot, term or
	// view.
	MeaningCampaign = "campaign"
	// MeaningElected: a process leads.
	MeaningElected = "leader_elected"
	// MeaningDeposed: a process leads no more, or has given its campaign up.
	MeaningDeposed = "leader_deposed"
)

// Meanings lists them.
var Meanings = []string{MeaningSuspected, MeaningCampaign, MeaningElected, MeaningDeposed}

// EventSpec is a kind of event that a protocol's machines report.
type EventSpec struct {
	Kind string
	// Meaning is one of Meanings, or empty.
	Meaning string
}

// Protocol is a registered protocol.
type Protocol struct {
	Name string
	// Roles are the protocol's roles, apart from "client".
	Roles []RoleSpec
	// Events are what its machines report in Outbox.Events, Messages the kinds of
	// messages that they send.
	Events   []EventSpec
	Messages []string
	// CheckOptions refuses options that New would refuse. The error is an
	// *OptionError where one option is to blame.
	CheckOptions func(options json.RawMessage) error
	// CheckConfig refuses options that don't fit the numbers of processes; nil
	// if there is nothing to refuse. The error is as that of CheckOptions.
	CheckConfig func(config Config) error
	// Reconfigure turns a change of the configuration, in the protocol's own
	// JSON, into the operation of a KindReconfigure command. It refuses what
	// the members can't do. It is nil for a protocol that can't reconfigure.
	Reconfigure func(config Config, change json.RawMessage) (operation []byte, err error)
	// New makes a machine. It fails on a bad configuration only.
	New func(Config) (Machine, error)
	// Codec encodes the protocol's messages; the wire sub-package sets it.
	Codec Codec
	// PredictLatency is the least time that a command of the client takes in an
	// undisturbed system whose processes need no time at all, given the one-way
	// delay from one process to another.
	PredictLatency func(config Config, client NodeID, delay func(from, to NodeID) time.Duration) time.Duration
}

// OptionError says which option of a protocol is wrong. Path is dotted and
// relative to the options; Want says what would be right.
type OptionError struct {
	Path  string
	Value any
	Want  string
}

// Error describes what is wrong and what would be right.
func (e *OptionError) Error() string {
	return fmt.Sprintf("option %s is %v, want %s", e.Path, e.Value, e.Want)
}

// Codec turns a protocol's messages into bytes and back.
type Codec interface {
	// Append appends the message's encoding to dst. It panics if the message
	// isn't the protocol's.
	Append(dst []byte, message Message) []byte
	// Size is the number of bytes that Append would append.
	Size(message Message) int
	// Decode returns a message that doesn't share memory with src.
	Decode(src []byte) (Message, error)
}

var protocols = map[string]*Protocol{}

// Register makes a protocol available by its name. It is called from init
// functions and panics if the name is taken.
func Register(protocol *Protocol) {
	if _, taken := protocols[protocol.Name]; taken {
		panic("consensus: protocol registered twice: " + protocol.Name)
	}
	protocols[protocol.Name] = protocol
}

// Lookup finds a protocol by its name.
func Lookup(name string) (*Protocol, bool) {
	protocol, ok := protocols[name]
	return protocol, ok
}

// Names lists the registered protocols in alphabetical order.
func Names() []string { return slices.Sorted(maps.Keys(protocols)) }
