package driver

import (
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/node/driver/logfile"
	"quorumlab/node/kv"
	"quorumlab/node/storage"
)

// gate is a storage whose records become durable for the driver only once the
// test says so.
type gate struct {
	*storage.Storage
	notify chan struct{}

	mu    sync.Mutex
	limit uint64
}

func newGate(s *storage.Storage) *gate { return &gate{Storage: s, notify: make(chan struct{}, 1)} }

func (g *gate) Durable() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return min(g.limit, g.Storage.Durable())
}

func (g *gate) Notify() <-chan struct{} { return g.notify }

// open lets pass what is up to a position, once it is durable.
func (g *gate) open(t *testing.T, position uint64) {
	t.Helper()
	eventually(t, "the records are durable", func() bool { return g.Storage.Durable() >= position })
	g.mu.Lock()
	g.limit = position
	g.mu.Unlock()
	select {
	case g.notify <- struct{}{}:
	default:
	}
}

// openStorage opens a storage that ends with the test, or before if told to.
func openStorage(t *testing.T, dir string) (s *storage.Storage, recovered storage.Recovered, end func()) {
	t.Helper()
	s, recovered, err := storage.Open(dir, control.StorageFsync, numberCodec{}, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	end = sync.OnceFunc(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(end)
	return s, recovered, end
}

// reopen is what the next process finds in the folder.
func reopen(t *testing.T, dir string) storage.Recovered {
	t.Helper()
	_, recovered, end := openStorage(t, dir)
	end()
	return recovered
}

// Each message persists its number; an answer that waits goes to the other
// process and to the machine itself, one that doesn't wait to the other.
func TestWhatDependsOnRecordsLeavesInOrderOnceTheyAreDurableAndTheRestAtOnce(t *testing.T) {
	const atOnce, own, unrelated = 1000, 2000, 3000
	kept, _, _ := openStorage(t, t.TempDir())
	gate := newGate(kept)
	receiver := start(t, 2, listen(t, "127.0.0.1:0"), nil, &scripted{})
	machine := &scripted{step: func(_ consensus.Time, input consensus.Input, out *consensus.Outbox) {
		n, ok := input.Message.(number)
		if !ok || input.From == 1 {
			return
		}
		if n == unrelated { // no record of its own, but those before it
			out.SendAfterSync(2, n)
			return
		}
		out.Persist(n)
		out.SendAfterSync(1, own+n)
		out.SendAfterSync(2, n)
		out.Send(2, atOnce+n)
	}}
	p := startWith(t, 1, listen(t, "127.0.0.1:0"), map[consensus.NodeID]string{2: receiver.address}, machine,
		func(config *Config) { config.Storage = gate })
	deliver := func(n number) {
		p.driver.Deliver([]consensus.Input{{Kind: consensus.InputMessage, From: 3, Message: n}})
	}
	arrived := func(want ...uint64) {
		t.Helper()
		eventually(t, "the messages that may leave arrive", func() bool {
			return receiver.machine.count(consensus.InputMessage) >= len(want)
		})
		if got := numbersOf(receiver.machine.of(consensus.InputMessage)); !slices.Equal(got, want) {
			t.Fatalf("arrived %v, want %v", got, want)
		}
	}
	// One by one, so that each record is a position of its own.
	for n := number(1); n <= 3; n++ {
		deliver(n)
	}
	deliver(unrelated)
	arrived(1001, 1002, 1003)
	gate.open(t, 2)
	arrived(1001, 1002, 1003, 1, 2)
	deliver(4)
	arrived(1001, 1002, 1003, 1, 2, 1004)
	gate.open(t, 4)
	arrived(1001, 1002, 1003, 1, 2, 1004, 3, unrelated, 4)
	deliver(unrelated) // nothing to wait for
	arrived(1001, 1002, 1003, 1, 2, 1004, 3, unrelated, 4, unrelated)
	var toItself []uint64
	for _, input := range machine.of(consensus.InputMessage) {
		if input.From == 1 {
			toItself = append(toItself, numbersOf([]consensus.Input{input})...)
		}
	}
	if !slices.Equal(toItself, []uint64{2001, 2002, 2003, 2004}) {
		t.Errorf("to itself came %v", toItself)
	}
}

func TestWithoutAStorageNothingWaits(t *testing.T) {
	p := start(t, 1, listen(t, "127.0.0.1:0"), nil, &scripted{
		step: func(_ consensus.Time, input consensus.Input, out *consensus.Outbox) {
			if input.Kind == consensus.InputStart {
				out.Persist(number(1))
				out.SendAfterSync(1, number(1))
				out.Send(1, number(2))
			}
		},
	})
	eventually(t, "both arrive", func() bool { return p.machine.count(consensus.InputMessage) == 2 })
	if got := numbersOf(p.machine.of(consensus.InputMessage)); !slices.Equal(got, []uint64{1, 2}) {
		t.Errorf("arrived %v", got)
	}
	if p.machine.count(consensus.InputCheckpoint) > 0 {
		t.Error("a checkpoint of nothing was asked for")
	}
}

// create is a command that changes the state.
func create(sequence uint64) consensus.Command {
	c := command(7, sequence)
	c.Operation = kv.AppendOperation(nil, kv.Operation{Kind: kv.Create, Key: sequence, Value: "v"})
	return c
}

// logging persists each number that it is sent, with a command committed for
// each; a checkpoint keeps the last.
func logging() *scripted {
	var slot uint64
	var last number
	return &scripted{step: func(_ consensus.Time, input consensus.Input, out *consensus.Outbox) {
		switch input.Kind {
		case consensus.InputStart:
			slot = input.Slot
		case consensus.InputMessage:
			last = input.Message.(number)
			slot++
			out.Persist(last)
			out.Commit(slot, create(slot))
		case consensus.InputCheckpoint:
			out.Persist(last)
		}
	}}
}

func TestACheckpointTakesThePlaceOfTheLogAndTheNextLifeGoesOnFromIt(t *testing.T) {
	const count = 2100 // of 4 KiB each, of which a checkpoint is due after 8 MiB
	dir := t.TempDir()
	kept, recovered, end := openStorage(t, filepath.Join(dir, "storage"))
	p := startWith(t, 1, listen(t, "127.0.0.1:0"), nil, logging(), func(config *Config) {
		config.Storage, config.Recovered = kept, recovered
	})
	for n := range number(count) {
		p.driver.Deliver([]consensus.Input{{Kind: consensus.InputMessage, From: 3, Message: large + n}})
	}
	eventually(t, "all is applied", func() bool { return p.machine.count(consensus.InputMessage) == count })
	_, hash := p.driver.Status()
	p.close()
	if got := p.machine.count(consensus.InputCheckpoint); got != 1 {
		t.Fatalf("%d checkpoints, want 1", got)
	}
	end()
	recovered = reopen(t, filepath.Join(dir, "storage"))

	machine := logging()
	again := startWith(t, 1, listen(t, "127.0.0.1:0"), nil, machine, func(config *Config) { config.Recovered = recovered })
	eventually(t, "it starts", func() bool { return machine.count(consensus.InputStart) == 1 })
	input := machine.of(consensus.InputStart)[0]
	// The checkpoint's record is the last one that the snapshot includes; those
	// since follow.
	if input.Slot == 0 || len(input.Recovered) != int(count-input.Slot)+1 {
		t.Fatalf("started at slot %d with %d records of %d", input.Slot, len(input.Recovered), count)
	}
	for i, record := range input.Recovered {
		if want := large + number(input.Slot) - 1 + number(i); record != want {
			t.Fatalf("record %d is %d, want %d", i, record, want)
		}
	}
	for _, record := range input.Recovered[1:] {
		again.driver.Deliver([]consensus.Input{{Kind: consensus.InputMessage, From: 3, Message: record}})
	}
	eventually(t, "the state is as it was", func() bool {
		_, got := again.driver.Status()
		return got == hash
	})
}

func TestACheckpointThatIsNoneIsRefused(t *testing.T) {
	_, err := New(Config{
		Application: consensus.NewApplication(kv.New()), Recovered: storage.Recovered{Snapshot: []byte("no snapshot")},
	})
	if err == nil || !strings.Contains(err.Error(), "the last checkpoint") {
		t.Errorf("got %v", err)
	}
}

// applied is an application that has applied some commands.
func applied(slots uint64) *consensus.Application {
	application := consensus.NewApplication(kv.New())
	for slot := uint64(1); slot <= slots; slot++ {
		application.Apply(slot, create(slot), func(consensus.Response) {})
	}
	return application
}

// The records of the step that installs a snapshot are nowhere but in its
// checkpoint, with the commands that were committed in that step; what waits for
// them waits for that.
func TestASnapshotIsInstalledAppliedUponAndPersistedAsOne(t *testing.T) {
	dir := t.TempDir()
	kept, recovered, end := openStorage(t, dir)
	gate := newGate(kept)
	machine := &scripted{step: func(_ consensus.Time, input consensus.Input, out *consensus.Outbox) {
		switch message := input.Message.(type) {
		case *consensus.Snapshot:
			out.Persist(number(5))
			out.SendAfterSync(1, number(6))
			out.Commit(message.Slot+1, create(message.Slot+1))
			out.Install = message
		case nil:
			if input.Kind == consensus.InputCheckpoint {
				out.Persist(number(9))
			}
		}
	}}
	p := startWith(t, 1, listen(t, "127.0.0.1:0"), nil, machine, func(config *Config) {
		config.Storage, config.Recovered = gate, recovered
	})
	other := start(t, 2, listen(t, "127.0.0.1:0"), map[consensus.NodeID]string{1: p.address}, &scripted{})
	sender := other.NewSender()
	want := applied(50)
	sender.Send(1, &consensus.Snapshot{Slot: 50, State: want.Snapshot(), With: []consensus.Message{number(3)}})
	sender.Flush()
	eventually(t, "it is there", func() bool { return machine.count(consensus.InputCheckpoint) == 1 })
	want.Apply(51, create(51), func(consensus.Response) {})
	hash := want.Hash()
	if _, got := p.driver.Status(); got != hex.EncodeToString(hash[:]) {
		t.Error("the state isn't the snapshot's with the command")
	}
	received := machine.of(consensus.InputMessage)
	if snapshot := received[0].Message.(*consensus.Snapshot); snapshot.Slot != 50 || !slices.Equal(snapshot.With, []consensus.Message{number(3)}) {
		t.Errorf("received %+v", snapshot)
	}
	if len(received) != 1 {
		t.Error("a message that waits for the checkpoint came before it was durable")
	}
	gate.open(t, 1)
	eventually(t, "it comes after", func() bool { return machine.count(consensus.InputMessage) == 2 })
	p.close()
	end()
	left := reopen(t, dir)
	if !slices.Equal(left.Records, []consensus.Message{number(9)}) || string(left.Snapshot) != string(want.Snapshot()) {
		t.Errorf("the storage holds %v and a snapshot of %d bytes", left.Records, len(left.Snapshot))
	}
}

func TestASnapshotThatIsNoneEndsTheMachine(t *testing.T) {
	for name, snapshot := range map[string]*consensus.Snapshot{
		"nonsense":     {Slot: 5, State: []byte("nonsense")},
		"another slot": {Slot: 5, State: applied(4).Snapshot()},
	} {
		failed := make(chan error, 10)
		machine := &scripted{step: func(_ consensus.Time, input consensus.Input, out *consensus.Outbox) {
			if message, ok := input.Message.(*consensus.Snapshot); ok {
				out.Install = message
				out.Commit(6, create(6))
			}
		}}
		p := startWith(t, 1, listen(t, "127.0.0.1:0"), nil, machine, func(config *Config) {
			config.OnError = func(err error) { failed <- err }
		})
		deliver := func() {
			p.driver.Deliver([]consensus.Input{{Kind: consensus.InputMessage, From: 2, Message: snapshot}})
		}
		deliver()
		if err := receive(t, "the error", failed); !strings.Contains(err.Error(), "snapshot of slot 5") {
			t.Errorf("%s: %v", name, err)
		}
		deliver()
		p.driver.Status() // after that
		p.close()
		if machine.count(consensus.InputMessage) != 1 || len(failed) > 0 {
			t.Errorf("%s: the machine was stepped again", name)
		}
	}
}

func TestReadsAndTransfersSeeWhatWasCommittedInTheSameStep(t *testing.T) {
	read := command(7, 9)
	read.Kind = consensus.KindRead
	read.Operation = kv.AppendOperation(nil, kv.Operation{Kind: kv.Read, Key: 1})
	clientListener := listen(t, "127.0.0.1:0")
	server := start(t, 1, listen(t, "127.0.0.1:0"), map[consensus.NodeID]string{7: clientListener.Addr().String()}, &scripted{
		step: func(_ consensus.Time, input consensus.Input, out *consensus.Outbox) {
			if input.Kind == consensus.InputStart {
				out.Read(read)
				out.Transfers = append(out.Transfers, consensus.Transfer{To: 7, With: []consensus.Message{number(4)}}, consensus.Transfer{To: 1})
				out.Commit(1, create(1))
			}
		},
	})
	client := start(t, 7, clientListener, nil, &scripted{})
	eventually(t, "both are answered", func() bool { return len(client.client.all()) == 2 })
	responses := client.client.all()
	if r := responses[0].Message.(consensus.Response); r.Sequence != 1 || r.Slot != 1 || r.Index != 0 {
		t.Errorf("the command's response is %+v", r)
	}
	response := responses[1].Message.(consensus.Response)
	result, err := kv.DecodeResult(response.Result)
	if err != nil || result.Value != "v" || response.Sequence != 9 || response.Slot != 1 || response.Index != consensus.IndexRead {
		t.Errorf("the read's response is %+v: %+v, %v", response, result, err)
	}
	want := string(applied(1).Snapshot())
	for p, with := range map[*process]int{client: 1, server: 0} {
		eventually(t, "the snapshot arrives", func() bool { return p.machine.count(consensus.InputMessage) == 1 })
		input := p.machine.of(consensus.InputMessage)[0]
		snapshot := input.Message.(*consensus.Snapshot)
		if input.From != 1 || snapshot.Slot != 1 || string(snapshot.State) != want || len(snapshot.With) != with {
			t.Errorf("the snapshot is %+v from %v", snapshot, input.From)
		}
	}
}

func TestThePrefixIsReportedEveryThousandSlots(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	file, err := logfile.Create(path, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	machine := &scripted{step: func(_ consensus.Time, input consensus.Input, out *consensus.Outbox) {
		for slot := uint64(1); input.Kind == consensus.InputStart && slot <= 2500; slot++ {
			out.Commit(slot, create(slot))
		}
	}}
	p := startWith(t, 1, listen(t, "127.0.0.1:0"), nil, machine, func(config *Config) {
		config.Events = NewEventLog(file, "n1")
	})
	p.driver.Status() // after the start
	p.close()
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	var slots []uint64
	for slot := uint64(10); slot <= 1000; slot += 10 {
		slots = append(slots, slot)
	}
	slots = append(slots, 2000)
	if len(lines) != len(slots) {
		t.Fatalf("%d events, want %d: %q", len(lines), len(slots), lines)
	}
	for i, slot := range slots {
		prefix := applied(slot).Prefix()
		want := fmt.Sprintf(`"role":"application","kind":"prefix","slot":%d,"hash":"%s"}`, slot, hex.EncodeToString(prefix[:]))
		if !strings.HasSuffix(lines[i], want) {
			t.Errorf("%s, want %s", lines[i], want)
		}
	}
}

// The driver itself must cost nothing but time where nothing is kept.
func TestAStepDoesNotAllocate(t *testing.T) {
	var message consensus.Message = number(1)
	machine := &quiet{step: func(out *consensus.Outbox) {
		out.Persist(message)
		out.SendAfterSync(1, message)
		out.Send(1, message)
		out.SetTimer(consensus.Timer{Key: 1}, 1)
		out.CancelTimer(consensus.Timer{Key: 1})
	}}
	transport := NewTransport(TransportConfig{Self: 1, Codec: numberCodec{}, Log: log.New(io.Discard, "", 0)})
	d, err := New(Config{Machine: machine, Application: consensus.NewApplication(kv.New()), Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(1000, func() {
		d.step(1, consensus.Input{Kind: consensus.InputMessage, From: 2, Message: message})
		d.flush()
		d.itself = d.itself[:0]
	}); n > 0 {
		t.Errorf("%v allocations a step", n)
	}
}

// quiet is a machine that keeps nothing.
type quiet struct{ step func(out *consensus.Outbox) }

func (q *quiet) Step(_ consensus.Time, _ consensus.Input, out *consensus.Outbox) { q.step(out) }
func (q *quiet) Status() consensus.Status                                        { return consensus.Status{} }
