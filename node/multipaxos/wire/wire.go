// Package wire encodes Multi-Paxos's messages: one byte for the kind, then the
// message in protobuf. Importing it makes the protocol available by its name.
package wire

import (
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"quorumlab/node/consensus"
	"quorumlab/node/multipaxos"
	"quorumlab/node/multipaxos/wire/multipaxospb"
	shared "quorumlab/node/wire"
	"quorumlab/node/wire/wirepb"
)

func init() {
	protocol := multipaxos.Protocol
	protocol.Codec = Codec{}
	consensus.Register(&protocol)
}

// ErrMalformed is returned for bytes that are no message of Multi-Paxos.
var ErrMalformed = errors.New("multipaxos: malformed message")

// The first byte of an encoded message. Numbers are never used again.
const (
	kindPropose byte = iota + 1
	kindProgress
	kindDecision
	kindPhase1a
	kindPhase1b
	kindPhase2a
	kindPhase2b
	kindPing
	kindPong
	kindConfigure
	kindConfigured
	kindRetire
	kindBehind
	kindFetch
	kindReadRequest
	kindConfirm
	kindConfirmed
	kindReadReady
)

// Codec implements consensus.Codec.
type Codec struct{}

// encodable is what the generated messages offer.
type encodable interface {
	SizeVT() int
	MarshalToSizedBufferVT([]byte) (int, error)
}

// Append appends the message's encoding to dst. It panics if the message isn't
// one of Multi-Paxos.
func (Codec) Append(dst []byte, message consensus.Message) []byte {
	switch m := message.(type) {
	case *multipaxos.Propose:
		return appendTo(dst, kindPropose, &multipaxospb.Propose{Configuration: m.Configuration, Slot: m.Slot, Command: toProto(m.Command)})
	case *multipaxos.Decision:
		return appendTo(dst, kindDecision, &multipaxospb.Decision{Slot: m.Slot, Command: toProto(m.Command)})
	case *multipaxos.Phase2a:
		return appendTo(dst, kindPhase2a, &multipaxospb.Phase2A{
			Configuration: m.Configuration, Round: m.Ballot.Round, Leader: uint32(m.Ballot.Leader),
			Slot: m.Slot, Command: toProto(m.Command), Floor: m.Floor,
		})
	case *multipaxos.Phase2b:
		return appendTo(dst, kindPhase2b, phase2bToProto(m))
	}
	kind, encoded := toEncodable(message)
	return appendTo(dst, kind, encoded)
}

// Size is the number of bytes that Append would append. For the messages that
// every command takes it needs no memory.
func (c Codec) Size(message consensus.Message) int {
	switch m := message.(type) {
	case *multipaxos.Propose:
		return 1 + fieldSize(m.Slot) + commandSize(m.Command) + fieldSize(m.Configuration)
	case *multipaxos.Decision:
		return 1 + fieldSize(m.Slot) + commandSize(m.Command)
	case *multipaxos.Phase2a:
		return 1 + fieldSize(m.Ballot.Round) + fieldSize(uint64(m.Ballot.Leader)) + fieldSize(m.Slot) +
			commandSize(m.Command) + fieldSize(m.Floor) + fieldSize(m.Configuration)
	case *multipaxos.Phase2b:
		return 1 + fieldSize(m.Ballot.Round) + fieldSize(uint64(m.Ballot.Leader)) + fieldSize(m.Slot) + fieldSize(m.Configuration)
	}
	_, encoded := toEncodable(message)
	return 1 + encoded.SizeVT()
}

// fieldSize is the size of a number's field with a tag below 16.
func fieldSize(number uint64) int {
	if number == 0 {
		return 0
	}
	return 1 + protowire.SizeVarint(number)
}

func commandSize(command consensus.Command) int {
	var encoded wirepb.Command
	shared.CommandToProto(&encoded, command)
	return 1 + protowire.SizeBytes(encoded.SizeVT())
}

// toEncodable converts the messages that are rarer than commands.
func toEncodable(message consensus.Message) (kind byte, encoded encodable) {
	switch m := message.(type) {
	case *multipaxos.Progress:
		return kindProgress, &multipaxospb.Progress{SlotOut: m.SlotOut}
	case *multipaxos.Phase1a:
		return kindPhase1a, &multipaxospb.Phase1A{
			Configuration: m.Configuration, Round: m.Ballot.Round, Leader: uint32(m.Ballot.Leader), Floor: m.Floor, From: m.From,
		}
	case *multipaxos.Phase1b:
		return kindPhase1b, phase1bToProto(m)
	case *multipaxos.Ping:
		return kindPing, &multipaxospb.Ping{Configuration: m.Configuration}
	case *multipaxos.Pong:
		return kindPong, &multipaxospb.Pong{
			Configuration: m.Configuration, Round: m.Ballot.Round, Leader: uint32(m.Ballot.Leader), Stalled: m.Stalled,
		}
	case *multipaxos.Configure:
		return kindConfigure, configureToProto(m)
	case *multipaxos.Configured:
		return kindConfigured, &multipaxospb.Number{Number: m.Number}
	case *multipaxos.Retire:
		return kindRetire, &multipaxospb.Number{Number: m.Configuration}
	case *multipaxos.Behind:
		return kindBehind, &multipaxospb.Number{Number: m.Floor}
	case *multipaxos.Fetch:
		return kindFetch, &multipaxospb.Number{Number: m.SlotOut}
	case *multipaxos.ReadRequest:
		return kindReadRequest, &multipaxospb.ReadRequest{Configuration: m.Configuration, Id: m.ID}
	case *multipaxos.Confirm:
		return kindConfirm, confirmToProto(m.Configuration, m.Ballot, m.Round)
	case *multipaxos.Confirmed:
		return kindConfirmed, confirmToProto(m.Configuration, m.Ballot, m.Round)
	case *multipaxos.ReadReady:
		return kindReadReady, &multipaxospb.ReadReady{Configuration: m.Configuration, Id: m.ID, Slot: m.Slot}
	}
	panic(fmt.Sprintf("multipaxos: no encoding for %T", message))
}

func appendTo(dst []byte, kind byte, message encodable) []byte {
	size := message.SizeVT()
	start := len(dst) + 1
	dst = append(dst, kind)
	dst = slices.Grow(dst, size)[:start+size]
	if _, err := message.MarshalToSizedBufferVT(dst[start:]); err != nil {
		panic("multipaxos: marshalling a message failed: " + err.Error()) // its buffer has the size that it asked for
	}
	return dst
}

// Decode reads what Append wrote; the error is ErrMalformed.
func (Codec) Decode(src []byte) (consensus.Message, error) {
	if len(src) == 0 {
		return nil, fmt.Errorf("%w: no bytes", ErrMalformed)
	}
	message, err := decode(src[0], src[1:])
	if err != nil {
		return nil, fmt.Errorf("%w of kind %d: %w", ErrMalformed, src[0], err)
	}
	return message, nil
}

func decode(kind byte, body []byte) (consensus.Message, error) {
	switch kind {
	case kindPropose:
		var m multipaxospb.Propose
		err := m.UnmarshalVT(body)
		return &multipaxos.Propose{Configuration: m.Configuration, Slot: m.Slot, Command: shared.CommandFromProto(m.Command)}, err
	case kindDecision:
		var m multipaxospb.Decision
		err := m.UnmarshalVT(body)
		return &multipaxos.Decision{Slot: m.Slot, Command: shared.CommandFromProto(m.Command)}, err
	case kindPhase1a:
		var m multipaxospb.Phase1A
		err := m.UnmarshalVT(body)
		return &multipaxos.Phase1a{Configuration: m.Configuration, Ballot: ballot(m.Round, m.Leader), Floor: m.Floor, From: m.From}, err
	case kindPhase1b:
		var m multipaxospb.Phase1B
		err := m.UnmarshalVT(body)
		return phase1bFromProto(&m), err
	case kindPhase2a:
		var m multipaxospb.Phase2A
		err := m.UnmarshalVT(body)
		pvalue := multipaxos.PValue{Ballot: ballot(m.Round, m.Leader), Slot: m.Slot, Command: shared.CommandFromProto(m.Command)}
		return &multipaxos.Phase2a{Configuration: m.Configuration, PValue: pvalue, Floor: m.Floor}, err
	case kindPhase2b:
		var m multipaxospb.Phase2B
		err := m.UnmarshalVT(body)
		return &multipaxos.Phase2b{Configuration: m.Configuration, Ballot: ballot(m.Round, m.Leader), Slot: m.Slot}, err
	case kindPing:
		var m multipaxospb.Ping
		err := m.UnmarshalVT(body)
		return &multipaxos.Ping{Configuration: m.Configuration}, err
	case kindPong:
		var m multipaxospb.Pong
		err := m.UnmarshalVT(body)
		return &multipaxos.Pong{Configuration: m.Configuration, Ballot: ballot(m.Round, m.Leader), Stalled: m.Stalled}, err
	case kindConfigure:
		var m multipaxospb.Configure
		err := m.UnmarshalVT(body)
		return configureFromProto(&m), err
	case kindConfirm, kindConfirmed:
		return decodeConfirm(kind, body)
	case kindReadRequest:
		var m multipaxospb.ReadRequest
		err := m.UnmarshalVT(body)
		return &multipaxos.ReadRequest{Configuration: m.Configuration, ID: m.Id}, err
	case kindReadReady:
		var m multipaxospb.ReadReady
		err := m.UnmarshalVT(body)
		return &multipaxos.ReadReady{Configuration: m.Configuration, ID: m.Id, Slot: m.Slot}, err
	}
	return decodeNumber(kind, body)
}

// decodeNumber decodes the messages that consist of one number.
func decodeNumber(kind byte, body []byte) (consensus.Message, error) {
	var m multipaxospb.Number
	err := m.UnmarshalVT(body)
	switch kind {
	case kindProgress:
		return &multipaxos.Progress{SlotOut: m.Number}, err
	case kindConfigured:
		return &multipaxos.Configured{Number: m.Number}, err
	case kindRetire:
		return &multipaxos.Retire{Configuration: m.Number}, err
	case kindBehind:
		return &multipaxos.Behind{Floor: m.Number}, err
	case kindFetch:
		return &multipaxos.Fetch{SlotOut: m.Number}, err
	}
	return nil, errors.New("there is no such kind")
}

func decodeConfirm(kind byte, body []byte) (consensus.Message, error) {
	var m multipaxospb.Confirm
	err := m.UnmarshalVT(body)
	if kind == kindConfirm {
		return &multipaxos.Confirm{Configuration: m.Configuration, Ballot: ballot(m.Round, m.Leader), Round: m.Number}, err
	}
	return &multipaxos.Confirmed{Configuration: m.Configuration, Ballot: ballot(m.Round, m.Leader), Round: m.Number}, err
}

func confirmToProto(configuration uint64, b multipaxos.Ballot, round uint64) *multipaxospb.Confirm {
	return &multipaxospb.Confirm{Configuration: configuration, Round: b.Round, Leader: uint32(b.Leader), Number: round}
}

func configureToProto(m *multipaxos.Configure) *multipaxospb.Configure {
	c := m.Configuration
	encoded := &multipaxospb.Configure{Number: c.Number, First: c.First}
	for _, id := range c.Leaders {
		encoded.Leaders = append(encoded.Leaders, uint32(id))
	}
	for _, id := range c.Acceptors {
		encoded.Acceptors = append(encoded.Acceptors, uint32(id))
	}
	return encoded
}

func configureFromProto(m *multipaxospb.Configure) *multipaxos.Configure {
	decoded := &multipaxos.Configure{Configuration: multipaxos.Configuration{Number: m.Number, First: m.First}}
	for _, id := range m.Leaders {
		decoded.Configuration.Leaders = append(decoded.Configuration.Leaders, consensus.NodeID(id))
	}
	for _, id := range m.Acceptors {
		decoded.Configuration.Acceptors = append(decoded.Configuration.Acceptors, consensus.NodeID(id))
	}
	return decoded
}

func ballot(round uint64, leader uint32) multipaxos.Ballot {
	return multipaxos.Ballot{Round: round, Leader: consensus.NodeID(leader)}
}

func phase2bToProto(m *multipaxos.Phase2b) *multipaxospb.Phase2B {
	return &multipaxospb.Phase2B{Configuration: m.Configuration, Round: m.Ballot.Round, Leader: uint32(m.Ballot.Leader), Slot: m.Slot}
}

func phase1bToProto(m *multipaxos.Phase1b) *multipaxospb.Phase1B {
	encoded := &multipaxospb.Phase1B{
		Configuration: m.Configuration, Round: m.Ballot.Round, Leader: uint32(m.Ballot.Leader), Floor: m.Floor, Next: m.Next,
		Accepted: make([]*multipaxospb.PValue, len(m.Accepted)),
	}
	for i, p := range m.Accepted {
		encoded.Accepted[i] = &multipaxospb.PValue{
			Round: p.Ballot.Round, Leader: uint32(p.Ballot.Leader), Slot: p.Slot, Command: toProto(p.Command),
		}
	}
	return encoded
}

func phase1bFromProto(m *multipaxospb.Phase1B) *multipaxos.Phase1b {
	decoded := &multipaxos.Phase1b{Configuration: m.Configuration, Ballot: ballot(m.Round, m.Leader), Floor: m.Floor, Next: m.Next}
	for _, p := range m.Accepted {
		decoded.Accepted = append(decoded.Accepted, multipaxos.PValue{
			Ballot: ballot(p.Round, p.Leader), Slot: p.Slot, Command: shared.CommandFromProto(p.Command),
		})
	}
	return decoded
}

func toProto(c consensus.Command) *wirepb.Command {
	encoded := &wirepb.Command{}
	shared.CommandToProto(encoded, c)
	return encoded
}
