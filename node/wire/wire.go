// Package wire is what processes say to each other on a connection: frames, and
// the messages that every protocol shares (hello, request, response, snapshot).
// A protocol's own messages are encoded by its consensus.Codec and carried as
// they are.
//
// A frame is a length of four bytes, big-endian, which counts what follows it;
// one byte for the kind; and the payload, protobuf except for a protocol's own
// messages. The first frame of a connection is a hello; everything after it was
// sent by the process that the hello names.
//
// Whatever bytes come in, reading gives a frame or an error; it never panics,
// and memory grows with the bytes that came, not with those announced.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"quorumlab/node/consensus"
	"quorumlab/node/wire/wirepb"
)

//go:generate ./wirepb/generate.sh

// Version is the version of the framing and of the shared messages.
const Version = 1

// MaxFrameBytes is the most that a frame's length may say.
const MaxFrameBytes = 64 << 20

// headerBytes is the length and the kind.
const headerBytes = 5

// Errors of frames. Either one means that the connection is of no use any more.
var (
	// ErrFrameTooLarge is returned for a frame longer than MaxFrameBytes.
	ErrFrameTooLarge = errors.New("wire: frame too large")
	// ErrBadFrame is returned for a frame that can't be parsed.
	ErrBadFrame = errors.New("wire: bad frame")
)

// Kind says what a frame's payload is.
type Kind uint8

// The kinds of frames.
const (
	KindHello Kind = iota + 1
	KindRequest
	KindResponse
	// KindMessage is a message of the protocol.
	KindMessage
	// KindSnapshot is a *consensus.Snapshot.
	KindSnapshot
)

// Hello introduces the sender of a connection.
type Hello struct {
	Protocol string
	Sender   consensus.NodeID
	Version  uint32
}

// AppendHello appends a framed hello.
func AppendHello(dst []byte, hello Hello) []byte {
	message := wirepb.Hello{Protocol: hello.Protocol, Sender: uint32(hello.Sender), Version: hello.Version}
	dst, room := reserve(dst, KindHello, message.SizeVT())
	_, err := message.MarshalToSizedBufferVT(room)
	mustFit(err)
	return dst
}

// AppendMessage appends the framed message: a consensus.Request, a
// consensus.Response, a *consensus.Snapshot, or a message of the codec's
// protocol. A message too large for a frame is an error that wraps
// ErrFrameTooLarge, and dst comes back as it was.
func AppendMessage(dst []byte, codec consensus.Codec, message consensus.Message) ([]byte, error) {
	start := len(dst)
	switch m := message.(type) {
	case consensus.Request:
		dst = appendRequest(dst, m)
	case consensus.Response:
		dst = appendResponse(dst, m)
	case *consensus.Snapshot:
		dst = appendSnapshot(dst, codec, m)
	default:
		dst = append(dst, 0, 0, 0, 0, byte(KindMessage))
		dst = codec.Append(dst, message)
		binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-4))
	}
	if length := len(dst) - start - 4; length > MaxFrameBytes {
		return dst[:start], fmt.Errorf("%w: %s of %d bytes", ErrFrameTooLarge, message.Label().Kind, length)
	}
	return dst, nil
}

// Size is the number of bytes that AppendMessage would append, were there no
// limit to a frame.
func Size(codec consensus.Codec, message consensus.Message) int {
	switch m := message.(type) {
	case consensus.Request:
		var command wirepb.Command
		CommandToProto(&command, m.Command)
		request := wirepb.Request{Command: &command}
		return headerBytes + request.SizeVT()
	case consensus.Response:
		response := responseToProto(m)
		return headerBytes + response.SizeVT()
	case *consensus.Snapshot:
		head := wirepb.Snapshot{Slot: m.Slot, State: m.State}
		size := headerBytes + head.SizeVT()
		for _, with := range m.With {
			size += protowire.SizeTag(snapshotWith) + protowire.SizeBytes(codec.Size(with))
		}
		return size
	}
	return headerBytes + codec.Size(message)
}

func appendRequest(dst []byte, request consensus.Request) []byte {
	var command wirepb.Command
	CommandToProto(&command, request.Command)
	message := wirepb.Request{Command: &command}
	dst, room := reserve(dst, KindRequest, message.SizeVT())
	_, err := message.MarshalToSizedBufferVT(room)
	mustFit(err)
	return dst
}

func appendResponse(dst []byte, response consensus.Response) []byte {
	message := responseToProto(response)
	dst, room := reserve(dst, KindResponse, message.SizeVT())
	_, err := message.MarshalToSizedBufferVT(room)
	mustFit(err)
	return dst
}

func responseToProto(response consensus.Response) wirepb.Response {
	return wirepb.Response{
		Client: uint64(response.Client), Sequence: response.Sequence,
		Slot: response.Slot, Index: response.Index, Result: response.Result,
	}
}

// snapshotWith is the number of the field with of wirepb.Snapshot.
const snapshotWith protowire.Number = 3

func appendSnapshot(dst []byte, codec consensus.Codec, snapshot *consensus.Snapshot) []byte {
	message := wirepb.Snapshot{Slot: snapshot.Slot, State: snapshot.State}
	for _, with := range snapshot.With {
		message.With = append(message.With, codec.Append(nil, with))
	}
	dst, room := reserve(dst, KindSnapshot, message.SizeVT())
	_, err := message.MarshalToSizedBufferVT(room)
	mustFit(err)
	return dst
}

// reserve appends a frame's header and room for a payload of size bytes.
func reserve(dst []byte, kind Kind, size int) (longer, room []byte) {
	dst = binary.BigEndian.AppendUint32(dst, uint32(size+1))
	return extend(append(dst, byte(kind)), size)
}

func mustFit(err error) {
	if err != nil {
		panic("wire: a message doesn't fit the size that it gave: " + err.Error())
	}
}

// extend lengthens dst by size bytes, to be filled in.
func extend(dst []byte, size int) (longer, room []byte) {
	length := len(dst)
	if cap(dst)-length < size {
		dst = append(dst, make([]byte, size)...)
	}
	dst = dst[:length+size]
	return dst, dst[length:]
}

// CommandToProto fills in the generated message, which then shares the
// command's operation.
func CommandToProto(dst *wirepb.Command, command consensus.Command) {
	dst.Client = uint64(command.Client)
	dst.Sequence = command.Sequence
	dst.FirstUnanswered = command.FirstUnanswered
	dst.Operation = command.Operation
	dst.Kind = uint32(command.Kind)
}

// CommandFromProto gives the command, which shares the message's operation; an
// absent message is the zero command. A kind that there isn't stays one.
func CommandFromProto(src *wirepb.Command) consensus.Command {
	if src == nil {
		return consensus.Command{}
	}
	return consensus.Command{
		Kind:   consensus.CommandKind(min(src.Kind, math.MaxUint8)),
		Client: consensus.ClientID(src.Client), Sequence: src.Sequence,
		FirstUnanswered: src.FirstUnanswered, Operation: src.Operation,
	}
}

// DecodeHello reads a hello's payload. The error wraps ErrBadFrame.
func DecodeHello(payload []byte) (Hello, error) {
	var message wirepb.Hello
	if err := message.UnmarshalVT(payload); err != nil {
		return Hello{}, fmt.Errorf("%w: hello: %w", ErrBadFrame, err)
	}
	return Hello{
		Protocol: message.Protocol, Sender: consensus.NodeID(message.Sender), Version: message.Version,
	}, nil
}

// DecodeRequest reads a request's payload; the request shares no memory with
// it. A command that no client could have issued is refused. The error wraps
// ErrBadFrame.
func DecodeRequest(payload []byte) (consensus.Request, error) {
	var command wirepb.Command
	message := wirepb.Request{Command: &command}
	if err := message.UnmarshalVT(payload); err != nil {
		return consensus.Request{}, fmt.Errorf("%w: request: %w", ErrBadFrame, err)
	}
	if command.Client == 0 || command.Sequence == 0 || command.FirstUnanswered > command.Sequence ||
		command.Kind >= uint32(consensus.KindBatch) {
		return consensus.Request{}, fmt.Errorf("%w: request of client %d with sequence %d, first unanswered %d, kind %d",
			ErrBadFrame, command.Client, command.Sequence, command.FirstUnanswered, command.Kind)
	}
	return consensus.Request{Command: CommandFromProto(&command)}, nil
}

// DecodeResponse reads a response's payload; the response shares no memory with
// it. The error wraps ErrBadFrame.
func DecodeResponse(payload []byte) (consensus.Response, error) {
	var message wirepb.Response
	if err := message.UnmarshalVT(payload); err != nil {
		return consensus.Response{}, fmt.Errorf("%w: response: %w", ErrBadFrame, err)
	}
	return consensus.Response{
		Client: consensus.ClientID(message.Client), Sequence: message.Sequence,
		Slot: message.Slot, Index: message.Index, Result: message.Result,
	}, nil
}

// DecodeSnapshot reads a snapshot's payload, and what it brings along with the
// protocol's codec; the snapshot shares no memory with the payload. The error
// wraps ErrBadFrame.
func DecodeSnapshot(payload []byte, codec consensus.Codec) (*consensus.Snapshot, error) {
	var message wirepb.Snapshot
	if err := message.UnmarshalVT(payload); err != nil {
		return nil, fmt.Errorf("%w: snapshot: %w", ErrBadFrame, err)
	}
	snapshot := &consensus.Snapshot{Slot: message.Slot, State: message.State}
	for i, encoded := range message.With {
		with, err := codec.Decode(encoded)
		if err != nil {
			return nil, fmt.Errorf("%w: snapshot of slot %d: message %d: %w", ErrBadFrame, message.Slot, i, err)
		}
		snapshot.With = append(snapshot.With, with)
	}
	return snapshot, nil
}
