package node

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"quorumlab/node/consensus"
)

// relay is a protocol for tests, without any tolerance of the loss of messages:
// the server with the lowest ID is the primary and numbers the commands that
// clients send to any server; once it has persisted one, it tells all servers,
// itself too, which persist it in turn. A backup only exists. A change of the
// configuration is any string and changes the configuration's number alone.
func init() {
	consensus.Register(&consensus.Protocol{
		Name: "relay",
		Roles: []consensus.RoleSpec{
			{Name: "server", Default: 2, Min: 1, Serves: true},
			{Name: "backup", Default: 0, Min: 0},
		},
		CheckOptions: func(options json.RawMessage) error {
			var given map[string]any
			if options != nil && json.Unmarshal(options, &given) != nil {
				return errors.New("options aren't an object")
			}
			for name, value := range given {
				return &consensus.OptionError{Path: name, Value: value, Want: "none"}
			}
			return nil
		},
		CheckConfig: func(config consensus.Config) error {
			if servers, backups := config.WithRole("server"), config.WithRole("backup"); len(backups) > max(1, len(servers)) {
				return fmt.Errorf("%d servers don't need %d backups", len(servers), len(backups))
			}
			return nil
		},
		Reconfigure: func(config consensus.Config, change json.RawMessage) ([]byte, error) {
			var text string
			if err := json.Unmarshal(change, &text); err != nil {
				return nil, errors.New("the change is no string")
			}
			return []byte(text), nil
		},
		New: func(config consensus.Config) (consensus.Machine, error) {
			servers := config.WithRole("server")
			if len(servers) == 0 {
				return nil, errors.New("relay: no server")
			}
			return &relay{self: config.Self, servers: servers, log: map[uint64]consensus.Command{}, proposals: map[uint64]consensus.Command{}}, nil
		},
		Codec: relayCodec{},
	})
	rigid, _ := consensus.Lookup("relay")
	without := *rigid
	without.Name, without.Reconfigure = "rigid relay", nil
	consensus.Register(&without)
}

// decision says that the command has the slot.
type decision struct {
	slot    uint64
	command consensus.Command
}

func (d decision) Label() consensus.Label { return consensus.Label{Kind: "decision", Slot: d.slot} }

type relay struct {
	self    consensus.NodeID
	servers []consensus.NodeID
	// last is the primary's last slot, next the last one committed.
	last, next uint64
	// log holds commands that were decided after a gap, proposals what the primary
	// has persisted only.
	log, proposals map[uint64]consensus.Command
	configuration  uint64
}

func (r *relay) primary() bool { return r.self == r.servers[0] }

func (r *relay) Step(_ consensus.Time, input consensus.Input, out *consensus.Outbox) {
	switch input.Kind {
	case consensus.InputStart:
		out.Trace(consensus.Event{Role: "server", Label: consensus.Label{Kind: "started", Slot: input.Slot}})
		r.next, r.last = input.Slot, input.Slot
		for _, record := range input.Recovered {
			r.learn(record.(decision), out)
		}
	case consensus.InputCommand:
		if r.primary() {
			r.last++
			r.proposals[r.last] = input.Command
			out.Persist(decision{r.last, input.Command})
			for _, server := range r.servers {
				out.SendAfterSync(server, decision{r.last, input.Command})
			}
		}
	case consensus.InputMessage:
		d := input.Message.(decision)
		if !r.primary() {
			out.Persist(d)
		}
		r.learn(d, out)
	case consensus.InputCheckpoint:
		for _, commands := range []map[uint64]consensus.Command{r.log, r.proposals} {
			for _, slot := range slices.Sorted(maps.Keys(commands)) {
				out.Persist(decision{slot, commands[slot]})
			}
		}
	}
}

// learn commits what is decided without a gap.
func (r *relay) learn(d decision, out *consensus.Outbox) {
	if d.slot <= r.next {
		return
	}
	delete(r.proposals, d.slot)
	r.log[d.slot] = d.command
	r.last = max(r.last, d.slot)
	for {
		command, known := r.log[r.next+1]
		if !known {
			return
		}
		r.next++
		delete(r.log, r.next)
		out.Commit(r.next, command)
		if command.Kind == consensus.KindReconfigure {
			r.configuration++
		}
	}
}

func (r *relay) Status() consensus.Status {
	return consensus.Status{
		Leading: r.primary(), Learner: true, Slot: r.next, Configuration: r.configuration,
		Counters: map[string]uint64{"server.slots": r.last},
	}
}

// relayCodec writes five numbers and the operation.
type relayCodec struct{}

func (relayCodec) Append(dst []byte, message consensus.Message) []byte {
	d := message.(decision)
	c := d.command
	for _, n := range [...]uint64{d.slot, uint64(c.Kind), uint64(c.Client), c.Sequence, c.FirstUnanswered} {
		dst = binary.BigEndian.AppendUint64(dst, n)
	}
	return append(dst, d.command.Operation...)
}

func (relayCodec) Decode(src []byte) (consensus.Message, error) {
	if len(src) < 40 {
		return nil, errors.New("too short")
	}
	number := func(i int) uint64 { return binary.BigEndian.Uint64(src[8*i:]) }
	return decision{number(0), consensus.Command{
		Kind: consensus.CommandKind(number(1)), Client: consensus.ClientID(number(2)),
		Sequence: number(3), FirstUnanswered: number(4), Operation: append([]byte(nil), src[40:]...),
	}}, nil
}

func (c relayCodec) Size(message consensus.Message) int { return len(c.Append(nil, message)) }
