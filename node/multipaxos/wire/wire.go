// Package wire encodes Multi-Paxos's messages: one byte for the kind, then the
// message in protobuf. Importing it makes the protocol available by its name.
package wire

import (
	"errors"
	"fmt"
	"slices"

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
		return appendTo(dst, kindPropose, &multipaxospb.Propose{Slot: m.Slot, Command: toProto(m.Command), SlotOut: m.SlotOut})
	case *multipaxos.Progress:
		return appendTo(dst, kindProgress, &multipaxospb.Progress{SlotOut: m.SlotOut})
	case *multipaxos.Decision:
		return appendTo(dst, kindDecision, &multipaxospb.Decision{Slot: m.Slot, Command: toProto(m.Command)})
	case *multipaxos.Phase1a:
		return appendTo(dst, kindPhase1a, &multipaxospb.Phase1A{Round: m.Ballot.Round, Leader: uint32(m.Ballot.Leader), Floor: m.Floor})
	case *multipaxos.Phase1b:
		return appendTo(dst, kindPhase1b, phase1bToProto(m))
	case *multipaxos.Phase2a:
		return appendTo(dst, kindPhase2a, &multipaxospb.Phase2A{
			Round: m.Ballot.Round, Leader: uint32(m.Ballot.Leader), Slot: m.Slot, Command: toProto(m.Command), Floor: m.Floor,
		})
	case *multipaxos.Phase2b:
		return appendTo(dst, kindPhase2b, &multipaxospb.Phase2B{Round: m.Ballot.Round, Leader: uint32(m.Ballot.Leader), Slot: m.Slot})
	case *multipaxos.Ping:
		return append(dst, kindPing)
	case *multipaxos.Pong:
		return appendTo(dst, kindPong, &multipaxospb.Pong{Round: m.Ballot.Round, Leader: uint32(m.Ballot.Leader), Stalled: m.Stalled})
	}
	panic(fmt.Sprintf("multipaxos: no encoding for %T", message))
}

// Size is the number of bytes that Append would append.
func (c Codec) Size(message consensus.Message) int { return len(c.Append(nil, message)) }

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
		return &multipaxos.Propose{Slot: m.Slot, Command: shared.CommandFromProto(m.Command), SlotOut: m.SlotOut}, err
	case kindProgress:
		var m multipaxospb.Progress
		err := m.UnmarshalVT(body)
		return &multipaxos.Progress{SlotOut: m.SlotOut}, err
	case kindDecision:
		var m multipaxospb.Decision
		err := m.UnmarshalVT(body)
		return &multipaxos.Decision{Slot: m.Slot, Command: shared.CommandFromProto(m.Command)}, err
	case kindPhase1a:
		var m multipaxospb.Phase1A
		err := m.UnmarshalVT(body)
		return &multipaxos.Phase1a{Ballot: ballot(m.Round, m.Leader), Floor: m.Floor}, err
	case kindPhase1b:
		var m multipaxospb.Phase1B
		err := m.UnmarshalVT(body)
		return phase1bFromProto(&m), err
	case kindPhase2a:
		var m multipaxospb.Phase2A
		err := m.UnmarshalVT(body)
		pvalue := multipaxos.PValue{Ballot: ballot(m.Round, m.Leader), Slot: m.Slot, Command: shared.CommandFromProto(m.Command)}
		return &multipaxos.Phase2a{PValue: pvalue, Floor: m.Floor}, err
	case kindPhase2b:
		var m multipaxospb.Phase2B
		err := m.UnmarshalVT(body)
		return &multipaxos.Phase2b{Ballot: ballot(m.Round, m.Leader), Slot: m.Slot}, err
	case kindPing:
		return &multipaxos.Ping{}, nil
	case kindPong:
		var m multipaxospb.Pong
		err := m.UnmarshalVT(body)
		return &multipaxos.Pong{Ballot: ballot(m.Round, m.Leader), Stalled: m.Stalled}, err
	}
	return nil, errors.New("there is no such kind")
}

func ballot(round uint64, leader uint32) multipaxos.Ballot {
	return multipaxos.Ballot{Round: round, Leader: consensus.NodeID(leader)}
}

func phase1bToProto(m *multipaxos.Phase1b) *multipaxospb.Phase1B {
	encoded := &multipaxospb.Phase1B{
		Round: m.Ballot.Round, Leader: uint32(m.Ballot.Leader), Floor: m.Floor,
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
	decoded := &multipaxos.Phase1b{Ballot: ballot(m.Round, m.Leader), Floor: m.Floor}
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
