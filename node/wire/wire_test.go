package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"testing"
	"testing/iotest"

	"quorumlab/node/consensus"
	"quorumlab/node/wire/wirepb"
)

// textMessage and textCodec stand for a protocol.
type textMessage string

func (textMessage) Label() consensus.Label { return consensus.Label{Kind: "text"} }

type textCodec struct{}

func (textCodec) Append(dst []byte, message consensus.Message) []byte {
	return append(dst, message.(textMessage)...)
}

func (textCodec) Decode(src []byte) (consensus.Message, error) {
	if string(src) == "nonsense" {
		return nil, errNonsense
	}
	return textMessage(src), nil
}

var errNonsense = errors.New("nonsense")

var (
	testRequest = consensus.Request{Command: consensus.Command{
		Kind: consensus.KindRead, Client: consensus.NewClientID(7, 1), Sequence: 12, FirstUnanswered: 9, Operation: []byte("operation"),
	}}
	testResponse = consensus.Response{
		Client: consensus.NewClientID(7, 1), Sequence: 12, Slot: 1 << 40, Index: consensus.IndexRead, Result: []byte{1, 2},
	}
	testSnapshot = &consensus.Snapshot{
		Slot: 300, State: []byte("state"), With: []consensus.Message{textMessage("first"), textMessage("")},
	}
)

func appendAll(t testing.TB, dst []byte, messages ...consensus.Message) []byte {
	t.Helper()
	for _, message := range messages {
		var err error
		if dst, err = AppendMessage(dst, textCodec{}, message); err != nil {
			t.Fatal(err)
		}
	}
	return dst
}

func decode(t *testing.T, kind Kind, payload []byte) any {
	t.Helper()
	var message any
	var err error
	switch kind {
	case KindHello:
		message, err = DecodeHello(payload)
	case KindRequest:
		message, err = DecodeRequest(payload)
	case KindResponse:
		message, err = DecodeResponse(payload)
	case KindMessage:
		message, err = textCodec{}.Decode(payload)
	case KindSnapshot:
		message, err = DecodeSnapshot(payload, textCodec{})
	}
	if err != nil {
		t.Fatalf("kind %d: %v", kind, err)
	}
	return message
}

func TestFramesComeBackAsTheyWereSent(t *testing.T) {
	hello := Hello{Protocol: "text", Sender: 3, Version: Version}
	long := make([]byte, 3*bufferedBytes+17)
	for i := range long {
		long[i] = byte(i * 7)
	}
	want := []any{hello, testRequest, textMessage(long), testResponse, textMessage(""), testSnapshot, textMessage("short")}
	stream := AppendHello(nil, hello)
	for _, message := range want[1:] {
		stream = appendAll(t, stream, message.(consensus.Message))
	}
	for name, source := range map[string]io.Reader{
		"at once":      bytes.NewReader(stream),
		"byte by byte": iotest.OneByteReader(bytes.NewReader(stream)),
	} {
		t.Run(name, func(t *testing.T) {
			reader := NewReader(source)
			for i, w := range want {
				kind, payload, err := reader.Next()
				if err != nil {
					t.Fatalf("frame %d: %v", i, err)
				}
				if got := decode(t, kind, payload); !reflect.DeepEqual(got, w) {
					t.Errorf("frame %d is %v, want %v", i, got, w)
				}
			}
			if _, _, err := reader.Next(); err != io.EOF {
				t.Errorf("after the last frame: %v, want io.EOF", err)
			}
		})
	}
}

func TestBadFramesAreNamedErrors(t *testing.T) {
	header := func(length uint32, kind byte) []byte {
		return append(binary.BigEndian.AppendUint32(nil, length), kind)
	}
	for _, c := range []struct {
		name   string
		stream []byte
		want   error
	}{
		{"no length", header(0, 1), ErrBadFrame},
		{"kind 0", header(1, 0), ErrBadFrame},
		{"kind 6", header(1, 6), ErrBadFrame},
		{"one byte too long", header(MaxFrameBytes+1, 4), ErrFrameTooLarge},
		{"far too long", header(1<<32-1, 4), ErrFrameTooLarge},
		{"http", []byte("GET / HTTP/1.1\r\n\r\n"), ErrFrameTooLarge},
		{"cut in the header", header(1, 4)[:3], io.ErrUnexpectedEOF},
		{"cut in the payload", header(10, 4), io.ErrUnexpectedEOF},
		{"cut in a large payload", header(1<<20, 4), io.ErrUnexpectedEOF},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, _, err := NewReader(bytes.NewReader(c.stream)).Next(); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestPayloadsThatAreNoMessageAreBadFrames(t *testing.T) {
	garbage := []byte{0x0a, 0xff}
	if _, err := DecodeHello(garbage); !errors.Is(err, ErrBadFrame) {
		t.Errorf("hello: %v", err)
	}
	if _, err := DecodeRequest(garbage); !errors.Is(err, ErrBadFrame) {
		t.Errorf("request: %v", err)
	}
	if _, err := DecodeRequest(nil); !errors.Is(err, ErrBadFrame) {
		t.Errorf("request without a command: %v", err)
	}
	if _, err := DecodeResponse(garbage); !errors.Is(err, ErrBadFrame) {
		t.Errorf("response: %v", err)
	}
	if _, err := DecodeSnapshot(garbage, textCodec{}); !errors.Is(err, ErrBadFrame) {
		t.Errorf("snapshot: %v", err)
	}
	bad := appendSnapshot(nil, textCodec{}, &consensus.Snapshot{Slot: 9, With: []consensus.Message{textMessage("nonsense")}})
	if _, err := DecodeSnapshot(bad[headerBytes:], textCodec{}); !errors.Is(err, ErrBadFrame) || !errors.Is(err, errNonsense) {
		t.Errorf("snapshot with a bad message: %v", err)
	}
}

func TestCommandsThatNoClientCouldHaveIssuedAreRefused(t *testing.T) {
	for name, change := range map[string]func(*consensus.Command){
		"no client":          func(c *consensus.Command) { c.Client = 0 },
		"no sequence number": func(c *consensus.Command) { c.Sequence, c.FirstUnanswered = 0, 0 },
		"awaits a later one": func(c *consensus.Command) { c.FirstUnanswered = c.Sequence + 1 },
		"a batch":            func(c *consensus.Command) { c.Kind = consensus.KindBatch },
		"an unknown kind":    func(c *consensus.Command) { c.Kind = 200 },
	} {
		request := testRequest
		change(&request.Command)
		if _, err := DecodeRequest(appendRequest(nil, request)[headerBytes:]); !errors.Is(err, ErrBadFrame) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for kind := consensus.KindOperation; kind < consensus.KindBatch; kind++ {
		request := testRequest
		request.Command.Kind = kind
		if got, err := DecodeRequest(appendRequest(nil, request)[headerBytes:]); err != nil || got.Command.Kind != kind {
			t.Errorf("kind %d: %v, %v", kind, got, err)
		}
	}
}

func TestSizeIsThatOfTheFrame(t *testing.T) {
	empty := consensus.Request{}
	long := testRequest
	long.Command.Operation = make([]byte, 300)
	for _, message := range []consensus.Message{
		testRequest, empty, long, testResponse, consensus.Response{}, testSnapshot, &consensus.Snapshot{},
		&consensus.Snapshot{Slot: 1, With: []consensus.Message{textMessage(make([]byte, 300))}}, textMessage("text"), textMessage(""),
	} {
		if got, want := Size(textCodec{}, message), len(appendAll(t, nil, message)); got != want {
			t.Errorf("%T %v: %d bytes, the frame has %d", message, message, got, want)
		}
	}
	var request, response consensus.Message = testRequest, testResponse
	if n := testing.AllocsPerRun(100, func() { Size(textCodec{}, request); Size(textCodec{}, response) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// A peer that announces 64 MiB and sends a few bytes must not cost 64 MiB.
func TestALyingLengthDoesNotAllocateIt(t *testing.T) {
	stream := append(binary.BigEndian.AppendUint32(nil, MaxFrameBytes), byte(KindMessage))
	stream = append(stream, make([]byte, 1000)...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _, err := NewReader(bytes.NewReader(stream)).Next()
	runtime.ReadMemStats(&after)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("got %v", err)
	}
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 1<<20 {
		t.Errorf("%d bytes were allocated for 1,000 received", allocated)
	}
}

func TestAMessageTooLargeForAFrameIsRefused(t *testing.T) {
	dst := []byte("before")
	huge := textMessage(make([]byte, MaxFrameBytes))
	got, err := AppendMessage(dst, textCodec{}, huge)
	if !errors.Is(err, ErrFrameTooLarge) || string(got) != "before" {
		t.Errorf("%d bytes, %v; want the six before and ErrFrameTooLarge", len(got), err)
	}
}

func TestCompleteTellsWhetherNextWouldWait(t *testing.T) {
	stream := appendAll(t, nil, textMessage("one"), textMessage("two"), textMessage("three"))
	input, output := io.Pipe()
	defer input.Close()
	go output.Write(stream[:len(stream)-1]) // ends with the test
	reader := NewReader(input)
	if reader.Complete() {
		t.Error("complete before anything was read")
	}
	if _, _, err := reader.Next(); err != nil {
		t.Fatal(err)
	}
	if !reader.Complete() {
		t.Error("the second frame is there")
	}
	if _, payload, err := reader.Next(); err != nil || string(payload) != "two" {
		t.Fatalf("%q, %v", payload, err)
	}
	if reader.Complete() {
		t.Error("the third frame lacks its last byte")
	}
}

func TestDecodedMessagesShareNoMemoryWithTheFrame(t *testing.T) {
	frame := appendAll(t, nil, testRequest)
	request, err := DecodeRequest(frame[headerBytes:])
	if err != nil {
		t.Fatal(err)
	}
	clear(frame)
	if !reflect.DeepEqual(request, testRequest) {
		t.Errorf("%v, want %v", request, testRequest)
	}
}

func TestCommandsConvertBothWays(t *testing.T) {
	var message wirepb.Command
	CommandToProto(&message, testRequest.Command)
	if got := CommandFromProto(&message); !reflect.DeepEqual(got, testRequest.Command) {
		t.Errorf("%v, want %v", got, testRequest.Command)
	}
	message.Kind = 1<<32 - 256 // no kind, and must not become one
	if got := CommandFromProto(&message); got.Kind <= consensus.KindBatch {
		t.Errorf("a kind that there isn't became %d", got.Kind)
	}
	if got := CommandFromProto(nil); !reflect.DeepEqual(got, consensus.Command{}) {
		t.Errorf("an absent command is %v", got)
	}
}

func TestEncodingDoesNotAllocate(t *testing.T) {
	dst := make([]byte, 0, 4096)
	var request consensus.Message = testRequest
	var response consensus.Message = testResponse
	allocations := testing.AllocsPerRun(100, func() {
		out, _ := AppendMessage(dst, textCodec{}, request)
		_, _ = AppendMessage(out, textCodec{}, response)
	})
	if allocations > 0 {
		t.Errorf("%v allocations", allocations)
	}
}

func FuzzReader(f *testing.F) {
	f.Add(appendAll(f, AppendHello(nil, Hello{"text", 1, 1}), testRequest, testResponse, textMessage("m")))
	f.Add([]byte{0, 0, 0, 1, 4, 0, 0, 0, 0, 1})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, stream []byte) {
		// The frames must not depend on how the bytes arrive.
		whole := frames(NewReader(bytes.NewReader(stream)))
		parts := frames(NewReader(&randomReader{stream, rand.New(rand.NewPCG(1, uint64(len(stream))))}))
		if !reflect.DeepEqual(whole, parts) {
			t.Errorf("at once %q, in parts %q", whole, parts)
		}
	})
}

// frames reads to the end; the last element is the error.
func frames(reader *Reader) []string {
	var all []string
	for {
		kind, payload, err := reader.Next()
		if err != nil {
			return append(all, err.Error())
		}
		all = append(all, string(append([]byte{byte(kind)}, payload...)))
	}
}

type randomReader struct {
	rest   []byte
	random *rand.Rand
}

func (r *randomReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.rest[:1+r.random.IntN(len(r.rest))])
	r.rest = r.rest[n:]
	return n, nil
}

func FuzzDecode(f *testing.F) {
	f.Add(appendRequest(nil, testRequest)[headerBytes:])
	f.Add(appendResponse(nil, testResponse)[headerBytes:])
	f.Add(AppendHello(nil, Hello{"text", 1, 1})[headerBytes:])
	f.Add(appendSnapshot(nil, textCodec{}, testSnapshot)[headerBytes:])
	f.Fuzz(func(t *testing.T, payload []byte) {
		if hello, err := DecodeHello(payload); err == nil {
			again, err := DecodeHello(AppendHello(nil, hello)[headerBytes:])
			if err != nil || again != hello {
				t.Errorf("hello %v came back as %v, %v", hello, again, err)
			}
		}
		if request, err := DecodeRequest(payload); err == nil {
			again, err := DecodeRequest(appendRequest(nil, request)[headerBytes:])
			if err != nil || !again.Command.Same(request.Command) ||
				!bytes.Equal(again.Command.Operation, request.Command.Operation) {
				t.Errorf("request %v came back as %v, %v", request, again, err)
			}
		}
		if response, err := DecodeResponse(payload); err == nil {
			again, err := DecodeResponse(appendResponse(nil, response)[headerBytes:])
			if err != nil || again.Slot != response.Slot || again.Index != response.Index || !bytes.Equal(again.Result, response.Result) {
				t.Errorf("response %v came back as %v, %v", response, again, err)
			}
		}
		if snapshot, err := DecodeSnapshot(payload, textCodec{}); err == nil {
			again, err := DecodeSnapshot(appendSnapshot(nil, textCodec{}, snapshot)[headerBytes:], textCodec{})
			if err != nil || again.Slot != snapshot.Slot || !bytes.Equal(again.State, snapshot.State) || !slices.Equal(again.With, snapshot.With) {
				t.Errorf("snapshot %v came back as %v, %v", snapshot, again, err)
			}
		}
	})
}

func BenchmarkRequest(b *testing.B) {
	dst := make([]byte, 0, 4096)
	var request consensus.Message = testRequest
	b.ReportAllocs()
	for b.Loop() {
		frame, err := AppendMessage(dst, textCodec{}, request)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := DecodeRequest(frame[headerBytes:]); err != nil {
			b.Fatal(err)
		}
	}
}

func (c textCodec) Size(message consensus.Message) int { return len(c.Append(nil, message)) }
