package sim

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"quorumlab/node/consensus"
)

// The journal is the tests' own protocol, with all that a driver must do for
// one: the process with the lowest ID leads for ever, a command is decided once
// a majority of the servers has it on disk, and what a server lacks it asks for
// again, as a snapshot if the leader has no record of it any more. A leader that
// was killed leads again once it has recovered; what it tells others is on disk,
// so that it never gives a slot away twice.
const (
	journalName = "test-journal"
	roleServer  = "server"
)

func init() {
	consensus.Register(&consensus.Protocol{
		Name:  journalName,
		Roles: []consensus.RoleSpec{{Name: roleServer, Default: 3, Min: 1, Serves: true, Leads: true, Votes: true}},
		Events: []consensus.EventSpec{
			{Kind: "leads", Meaning: consensus.MeaningElected},
		},
		Messages: []string{"entry", "stored", "decided"},
		New: func(config consensus.Config) (consensus.Machine, error) {
			return newJournal(config)
		},
		Reconfigure: func(_ consensus.Config, change json.RawMessage) ([]byte, error) {
			if string(change) != `"anything"` {
				return nil, errors.New("want anything")
			}
			return []byte("reconfigured"), nil
		},
		Codec: journalCodec{},
	})
}

// entry is a record, and the message by which the leader spreads it.
type entry struct {
	slot    uint64
	command consensus.Command
}

func (e *entry) Label() consensus.Label { return consensus.Label{Kind: "entry", Slot: e.slot} }

// stored tells the leader which entries a server has on disk, without a gap.
type stored struct{ slot uint64 }

func (m *stored) Label() consensus.Label { return consensus.Label{Kind: "stored", Slot: m.slot} }

// decided tells a server which entries are decided.
type decided struct{ slot uint64 }

func (m *decided) Label() consensus.Label { return consensus.Label{Kind: "decided", Slot: m.slot} }

type journalCodec struct{}

func (journalCodec) Append(dst []byte, message consensus.Message) []byte {
	switch m := message.(type) {
	case *entry:
		dst = binary.BigEndian.AppendUint64(append(dst, 1), m.slot)
		return append(append(dst, make([]byte, 24)...), m.command.Operation...)
	case *stored:
		return binary.BigEndian.AppendUint64(append(dst, 2), m.slot)
	case *decided:
		return binary.BigEndian.AppendUint64(append(dst, 3), m.slot)
	}
	panic(fmt.Sprintf("journal: no encoding for %T", message))
}

func (journalCodec) Size(message consensus.Message) int {
	if m, ok := message.(*entry); ok {
		return 33 + len(m.command.Operation)
	}
	return 9
}

func (journalCodec) Decode([]byte) (consensus.Message, error) {
	return nil, errors.New("the simulator never decodes")
}

// journalOptions make a journal behave in ways that a test wants.
type journalOptions struct {
	// ResendMS is how often the leader sends again what a server lacks.
	ResendMS int `json:"resend_ms"`
	// PatienceMS is after how long the leader leads.
	PatienceMS int `json:"patience_ms"`
	// Rash servers say that they have stored what isn't durable yet.
	Rash bool `json:"rash"`
}

type journal struct {
	config  consensus.Config
	options journalOptions
	servers []consensus.NodeID
	// entries are those that the application's state doesn't include yet, and
	// those not checkpointed; decided and stored are slots without a gap.
	entries                 map[uint64]consensus.Command
	stored, decided, commit uint64
	// have is what each server is known to have on disk (leader only).
	have    map[consensus.NodeID]uint64
	leading bool
	// recovered counts the records of the start, installed the snapshots.
	checkpoints, recovered, installed uint64
}

var journalTick = consensus.Timer{Kind: 1}

func newJournal(config consensus.Config) (*journal, error) {
	j := &journal{
		config: config, options: journalOptions{ResendMS: 100}, servers: config.WithRole(roleServer),
		entries: map[uint64]consensus.Command{}, have: map[consensus.NodeID]uint64{},
	}
	if len(config.Options) > 0 {
		if err := json.Unmarshal(config.Options, &j.options); err != nil {
			return nil, err
		}
	}
	return j, nil
}

func (j *journal) afterSync(out *consensus.Outbox, to consensus.NodeID, message consensus.Message) {
	if j.options.Rash {
		out.Send(to, message)
	} else {
		out.SendAfterSync(to, message)
	}
}

func (j *journal) leader() consensus.NodeID { return j.servers[0] }

func (j *journal) Step(now consensus.Time, input consensus.Input, out *consensus.Outbox) {
	switch input.Kind {
	case consensus.InputStart:
		j.stored, j.decided, j.commit = input.Slot, input.Slot, input.Slot
		j.recovered = uint64(len(input.Recovered))
		for _, record := range input.Recovered {
			j.keep(record.(*entry))
		}
		out.SetTimer(journalTick, max(1, time.Duration(j.options.PatienceMS))*time.Millisecond)
	case consensus.InputTimer:
		j.tick(out)
	case consensus.InputCommand:
		j.command(input.Command, out)
	case consensus.InputMessage:
		j.receive(input.From, input.Message, out)
	case consensus.InputCheckpoint:
		j.checkpoints++
		for _, slot := range slices.Sorted(maps.Keys(j.entries)) {
			if slot <= j.commit {
				delete(j.entries, slot) // the application's snapshot has it
				continue
			}
			out.Persist(&entry{slot, j.entries[slot]})
		}
	}
}

func (j *journal) keep(e *entry) {
	if e.slot > j.commit {
		j.entries[e.slot] = e.command
	}
	for {
		if _, known := j.entries[j.stored+1]; !known {
			return
		}
		j.stored++
	}
}

func (j *journal) command(command consensus.Command, out *consensus.Outbox) {
	if j.config.Self != j.leader() || !j.leading {
		return
	}
	if command.Kind == consensus.KindRead {
		out.Read(command)
		return
	}
	e := &entry{j.stored + 1, command}
	j.keep(e)
	out.Persist(e)
	for _, id := range j.servers[1:] {
		j.afterSync(out, id, e)
	}
	j.afterSync(out, j.config.Self, &stored{j.stored})
}

func (j *journal) tick(out *consensus.Outbox) {
	out.SetTimer(journalTick, time.Duration(j.options.ResendMS)*time.Millisecond)
	if j.config.Self != j.leader() {
		return
	}
	if !j.leading {
		j.leading = true
		out.Trace(consensus.Event{Role: roleServer, Label: consensus.Label{Kind: "leads"}})
		j.afterSync(out, j.config.Self, &stored{j.stored})
	}
	for _, id := range j.servers[1:] {
		out.Send(id, &decided{j.decided})
		first := j.have[id] + 1
		if _, known := j.entries[first]; !known && first <= j.commit {
			out.Transfers = append(out.Transfers, consensus.Transfer{To: id})
			continue
		}
		for slot := first; slot <= min(j.stored, first+100); slot++ {
			j.afterSync(out, id, &entry{slot, j.entries[slot]})
		}
	}
}

func (j *journal) receive(from consensus.NodeID, message consensus.Message, out *consensus.Outbox) {
	switch m := message.(type) {
	case *entry:
		if _, known := j.entries[m.slot]; !known && m.slot > j.commit {
			j.keep(m)
			out.Persist(m)
		}
		j.afterSync(out, from, &stored{j.stored})
		j.commitUpTo(min(j.decided, j.stored), out)
	case *decided:
		j.decided = max(j.decided, m.slot)
		j.commitUpTo(min(j.decided, j.stored), out)
		j.afterSync(out, from, &stored{j.stored})
	case *stored:
		j.count(from, m.slot, out)
	case *consensus.Snapshot:
		if m.Slot > j.commit {
			out.Install = m
			j.installed++
			j.commit = m.Slot
			j.stored, j.decided = max(j.stored, m.Slot), max(j.decided, m.Slot)
			j.keep(&entry{})
		}
		j.afterSync(out, from, &stored{j.stored})
	}
}

// count notes what a server has on disk and decides what a majority has.
func (j *journal) count(from consensus.NodeID, slot uint64, out *consensus.Outbox) {
	j.have[from] = max(j.have[from], slot)
	var all []uint64
	for _, id := range j.servers {
		all = append(all, j.have[id])
	}
	slices.Sort(all)
	majority := min(all[(len(all)-1)/2], j.stored)
	if majority <= j.decided {
		return
	}
	j.decided = majority
	j.commitUpTo(j.decided, out)
	for _, id := range j.servers[1:] {
		out.Send(id, &decided{j.decided})
	}
}

func (j *journal) commitUpTo(slot uint64, out *consensus.Outbox) {
	for j.commit < slot {
		j.commit++
		out.Commit(j.commit, j.entries[j.commit])
	}
}

func (j *journal) Status() consensus.Status {
	return consensus.Status{
		Leading: j.leading, Learner: true, Slot: j.commit,
		Counters: map[string]uint64{
			"server.stored": j.stored, "server.checkpoints": j.checkpoints,
			"server.recovered": j.recovered, "server.installed": j.installed,
		},
	}
}
