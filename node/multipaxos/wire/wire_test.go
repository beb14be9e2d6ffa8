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
	configuration := multipaxos.Configuration{Number: 2, First: 99, Leaders: []consensus.NodeID{3, 4}, Acceptors: []consensus.NodeID{5}}
	return []consensus.Message{
		&multipaxos.Propose{Slot: 9, Command: command, Configuration: 4},
		&multipaxos.Propose{Slot: 9}, // a no-op
		&multipaxos.Progress{SlotOut: 4},
		&multipaxos.Decision{Slot: 9, Command: command},
		&multipaxos.Decision{Slot: 1 << 33, Command: consensus.NewBatch([]consensus.Command{command, command})},
		&multipaxos.Phase1a{Ballot: b, Floor: 3, Configuration: 2, From: 7},
		&multipaxos.Phase1b{Ballot: b, Floor: 3, Accepted: []multipaxos.PValue{pvalue, pvalue}, Configuration: 1, Next: 12},
		&multipaxos.Phase1b{},
		&multipaxos.Phase2a{PValue: pvalue, Floor: 3, Configuration: 300},
		&multipaxos.Phase2b{Ballot: b, Slot: 9, Configuration: 1},
		&multipaxos.Ping{Configuration: 1},
		&multipaxos.Pong{Ballot: b, Stalled: true, Configuration: 2},
		&multipaxos.Configure{Configuration: configuration},
		&multipaxos.Configured{Number: 2},
		&multipaxos.Retire{Configuration: 1},
		&multipaxos.Behind{Floor: 12},
		&multipaxos.Fetch{SlotOut: 3},
		&multipaxos.ReadRequest{Configuration: 1, ID: 1 << 60},
		&multipaxos.Confirm{Configuration: 1, Ballot: b, Round: 5},
		&multipaxos.Confirmed{Configuration: 1, Ballot: b, Round: 5},
		&multipaxos.ReadReady{Configuration: 1, ID: 1 << 60, Slot: 8},
	}
}

func TestSizeIsThatOfTheEncoding(t *testing.T) {
	for _, m := range messages() {
		if got, want := (Codec{}).Size(m), len(Codec{}.Append(nil, m)); got != want {
			t.Errorf("%T: %d bytes, want %d", m, got, want)
		}
	}
	hot := []consensus.Message{messages()[0], messages()[3], messages()[8], messages()[9]}
	if n := testing.AllocsPerRun(100, func() {
		for _, m := range hot {
			Codec{}.Size(m)
		}
	}); n > 0 {
		t.Errorf("the sizes of a command's messages take %v allocations", n)
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
	m := messages()[8]
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
