package sim

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"quorumlab/node/consensus"
	"quorumlab/node/wire"
)

func TestSizesAreThoseOfRealFrames(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	number := func() uint64 { return random.Uint64() >> random.IntN(65) }
	data := func() []byte { return bytes.Repeat([]byte{7}, random.IntN(300)) }
	for range 2000 {
		for _, message := range []consensus.Message{
			consensus.Request{Command: consensus.Command{
				Kind: consensus.CommandKind(random.IntN(4)), Client: consensus.ClientID(number()),
				Sequence: number(), FirstUnanswered: number(), Operation: data(),
			}},
			&consensus.Response{
				Client: consensus.ClientID(number()), Sequence: number(), Slot: number(),
				Index: uint32(number()), Result: data(),
			},
			&consensus.Snapshot{Slot: number(), State: data(), With: []consensus.Message{&stored{1}, &entry{}}},
			&entry{command: consensus.Command{Operation: data()}},
			&consensus.Response{Index: math.MaxUint32},
			consensus.Request{},
		} {
			real := message
			if response, ok := message.(*consensus.Response); ok {
				real = *response
			}
			frame, err := wire.AppendMessage(nil, journalCodec{}, real)
			if err != nil {
				t.Fatal(err)
			}
			if got := size(journalCodec{}, message); got != len(frame) {
				t.Fatalf("size of %+v is %d, want %d", message, got, len(frame))
			}
		}
	}
}

func TestMessagesOfOneStepAreToldApartWhateverTheirType(t *testing.T) {
	s := &trial{protocol: &consensus.Protocol{Codec: journalCodec{}}}
	short := consensus.Request{Command: consensus.Command{Client: 1, Sequence: 1}} // can't be compared by ==
	long := consensus.Request{Command: consensus.Command{Client: 1, Sequence: 1, Operation: make([]byte, 100)}}
	for _, message := range []consensus.Message{short, long, long, short, &stored{1}, &entry{}, &stored{1}} {
		s.note(message)
		if got, want := s.size(), int32(size(journalCodec{}, message)); got != want {
			t.Errorf("size of %+v is %d, want %d", message, got, want)
		}
	}
}
