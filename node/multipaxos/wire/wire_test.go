package wire

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"quorumlab/node/consensus"
	"quorumlab/node/multipaxos"
)

func messages() []consensus.Message {
	command := consensus.Command{Client: consensus.NewClientID(8, 3), Sequence: 7, FirstUnanswered: 5, Operation: []byte{1, 2, 3}}
	b := multipaxos.Ballot{Round: 1 << 40, Leader: 4}
	pvalue := multipaxos.PValue{Ballot: b, Slot: 9, Command: command}
	return []consensus.Message{
		&multipaxos.Propose{Slot: 9, Command: command, SlotOut: 4},
		&multipaxos.Propose{Slot: 9, SlotOut: 4}, // a no-op
		&multipaxos.Progress{SlotOut: 4},
		&multipaxos.Decision{Slot: 9, Command: command},
		&multipaxos.Phase1a{Ballot: b, Floor: 3},
		&multipaxos.Phase1b{Ballot: b, Floor: 3, Accepted: []multipaxos.PValue{pvalue, pvalue}},
		&multipaxos.Phase1b{},
		&multipaxos.Phase2a{PValue: pvalue, Floor: 3},
		&multipaxos.Phase2b{Ballot: b, Slot: 9},
		&multipaxos.Ping{},
		&multipaxos.Pong{Ballot: b, Stalled: true},
	}
}

func TestMessagesComeBackAsTheyWere(t *testing.T) {
	for _, m := range messages() {
		data := Codec{}.Append([]byte("before"), m)
		if !bytes.HasPrefix(data, []byte("before")) {
			t.Fatalf("%T: what stood before was overwritten", m)
		}
		got, err := Codec{}.Decode(data[len("before"):])
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%T: %+v, %v, want %+v", m, got, err, m)
		}
	}
}

func TestADecodedMessageSharesNoMemoryWithTheBytes(t *testing.T) {
	data := Codec{}.Append(nil, messages()[0])
	got, err := Codec{}.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	clear(data)
	if !reflect.DeepEqual(got, messages()[0]) {
		t.Error("changing the bytes changed the message")
	}
}

func TestTheProtocolIsRegistered(t *testing.T) {
	protocol, ok := consensus.Lookup("multipaxos")
	if !ok || protocol.Codec == nil || protocol.New == nil {
		t.Fatalf("%+v, %v", protocol, ok)
	}
}

func FuzzDecode(f *testing.F) {
	for _, m := range messages() {
		f.Add(Codec{}.Append(nil, m))
	}
	f.Add([]byte{})
	f.Add([]byte{99})
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Codec{}.Decode(data)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("error %v isn't ErrMalformed", err)
			}
			return
		}
		again, err := Codec{}.Decode(Codec{}.Append(nil, m))
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Errorf("%+v came back as %+v, %v", m, again, err)
		}
	})
}

func BenchmarkAppendPhase2a(b *testing.B) {
	m := messages()[7]
	var buffer []byte
	b.ReportAllocs()
	for b.Loop() {
		buffer = Codec{}.Append(buffer[:0], m)
	}
}

func BenchmarkDecodePhase2a(b *testing.B) {
	data := Codec{}.Append(nil, messages()[7])
	b.ReportAllocs()
	for b.Loop() {
		if _, err := (Codec{}).Decode(data); err != nil {
			b.Fatal(err)
		}
	}
}
