package driver

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"quorumlab/node/consensus"
	"quorumlab/node/driver/logfile"
)

func TestAFullQueueDropsTheOldestByCountAndByBytes(t *testing.T) {
	const frame = 13 // header and eight bytes
	for name, q := range map[string]*frameQueue{
		"messages": {maxMessages: 10, maxBytes: 1 << 20},
		"bytes":    {maxMessages: 1 << 20, maxBytes: 10*frame + 5},
	} {
		t.Run(name, func(t *testing.T) {
			next := uint64(0)
			var spare []byte
			for round := range 5 {
				dropped := 0
				for range 10 + 7*round {
					n, err := q.push(numberCodec{}, number(next))
					if err != nil {
						t.Fatal(err)
					}
					dropped += n
					next++
				}
				if dropped != 7*round || q.messages() != 10 {
					t.Fatalf("round %d: %d dropped, %d left, want %d and 10", round, dropped, q.messages(), 7*round)
				}
				frames := q.take(spare)
				if len(frames) != 10*frame || q.messages() != 0 {
					t.Fatalf("round %d: took %d bytes, %d messages left", round, len(frames), q.messages())
				}
				for i := range 10 {
					if n := binary.BigEndian.Uint64(frames[i*frame+5:]); n != next-10+uint64(i) {
						t.Fatalf("round %d: frame %d is %d, want %d", round, i, n, next-10+uint64(i))
					}
				}
				spare = frames
			}
			for range 1_000_000 / frame {
				_, _ = q.push(numberCodec{}, number(1))
			}
			if cap(q.bytes) > 100*frame {
				t.Errorf("a queue of %d bytes takes %d", 10*frame, cap(q.bytes))
			}
		})
	}
}

func TestTheNewestFrameAlwaysFits(t *testing.T) {
	q := &frameQueue{maxMessages: 10, maxBytes: 5}
	for i := range 3 {
		dropped, err := q.push(numberCodec{}, number(i))
		if err != nil || q.messages() != 1 || dropped != min(i, 1) {
			t.Fatalf("message %d: %d dropped, %d left, %v", i, dropped, q.messages(), err)
		}
	}
}

func TestAFullInboxMakesOthersWaitUntilItIsTakenOrClosed(t *testing.T) {
	b := newInbox()
	full := make([]consensus.Input, maxInboxInputs)
	b.put(full)
	put := make(chan struct{})
	go func() {
		b.put(full[:1])
		close(put)
	}()
	select {
	case <-put:
		t.Fatal("a full inbox took more")
	case <-time.After(20 * time.Millisecond):
	}
	if got := len(b.take(nil)); got != maxInboxInputs {
		t.Fatalf("took %d", got)
	}
	receive(t, "room", put)
	b.put(full)
	waiting := make(chan struct{})
	go func() {
		b.put(full[:1])
		close(waiting)
	}()
	b.close()
	receive(t, "the release", waiting)
}

func TestEventsAreLinesOfJSONInTheOrderOfTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	file, err := logfile.Create(path, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	events := NewEventLog(file, "replica1")
	events.Machine([]consensus.Event{
		{Role: "leader", Label: consensus.Label{Kind: "adopted", Slot: 1, Round: 2, Leader: 3}},
		{Role: "leader", Label: consensus.Label{Kind: "scout"}},
		{Role: consensus.RoleApplication, Label: consensus.Label{Kind: consensus.EventPrefix, Slot: 1000}, Hash: "ab01"},
	})
	events.connection("connected", 7)
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	(*EventLog)(nil).Machine([]consensus.Event{{}})
	type line struct {
		TimeNS int64            `json:"time_ns"`
		Node   string           `json:"node"`
		Peer   consensus.NodeID `json:"peer"`
		consensus.Event
	}
	opened, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	var got []line
	for scanner := bufio.NewScanner(opened); scanner.Scan(); {
		var l line
		if err := json.Unmarshal(scanner.Bytes(), &l); err != nil {
			t.Fatalf("%s: %v", scanner.Bytes(), err)
		}
		got = append(got, l)
	}
	if !slices.IsSortedFunc(got, func(a, b line) int { return int(a.TimeNS - b.TimeNS) }) || len(got) != 4 || got[0].TimeNS == 0 {
		t.Fatalf("times are wrong: %+v", got)
	}
	for i := range got {
		got[i].TimeNS = 0
	}
	want := []line{
		{Node: "replica1", Event: consensus.Event{Role: "leader", Label: consensus.Label{Kind: "adopted", Slot: 1, Round: 2, Leader: 3}}},
		{Node: "replica1", Event: consensus.Event{Role: "leader", Label: consensus.Label{Kind: "scout"}}},
		{Node: "replica1", Event: consensus.Event{Role: "application", Label: consensus.Label{Kind: "prefix", Slot: 1000}, Hash: "ab01"}},
		{Node: "replica1", Peer: 7, Event: consensus.Event{Role: "transport", Label: consensus.Label{Kind: "connected"}}},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
