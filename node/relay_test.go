package node

import (
	"encoding/binary"
	"encoding/json"
	"errors"

	"quorumlab/node/consensus"
)

// relay is a protocol for tests, without any tolerance of failures: the server
// with the lowest ID is the primary and numbers the commands that clients send to
// any server; the primary tells all servers, itself too. A backup only exists.
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
		New: func(config consensus.Config) (consensus.Machine, error) {
			servers := config.WithRole("server")
			if len(servers) == 0 {
				return nil, errors.New("relay: no server")
			}
			return &relay{self: config.Self, servers: servers, decided: map[uint64]consensus.Command{}}, nil
		},
		Codec: relayCodec{},
	})
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
	last    uint64 // slots given, by the primary
	next    uint64 // slots committed
	decided map[uint64]consensus.Command
}

func (r *relay) primary() bool { return r.self == r.servers[0] }

func (r *relay) Step(_ consensus.Time, input consensus.Input, out *consensus.Outbox) {
	switch input.Kind {
	case consensus.InputStart:
		out.Trace(consensus.Event{Role: "server", Label: consensus.Label{Kind: "started"}})
	case consensus.InputCommand:
		if r.primary() {
			r.last++
			out.Broadcast(r.servers, decision{r.last, input.Command})
		}
	case consensus.InputMessage:
		d := input.Message.(decision)
		r.decided[d.slot] = d.command
		for {
			command, known := r.decided[r.next+1]
			if !known {
				return
			}
			r.next++
			delete(r.decided, r.next)
			out.Commit(r.next, command)
		}
	}
}

func (r *relay) Status() consensus.Status {
	return consensus.Status{
		Leading: r.primary(), Learner: true, Slot: r.next,
		Counters: map[string]uint64{"server.slots": r.last},
	}
}

// relayCodec writes four numbers and the operation.
type relayCodec struct{}

func (relayCodec) Append(dst []byte, message consensus.Message) []byte {
	d := message.(decision)
	for _, n := range [...]uint64{d.slot, uint64(d.command.Client), d.command.Sequence, d.command.FirstUnanswered} {
		dst = binary.BigEndian.AppendUint64(dst, n)
	}
	return append(dst, d.command.Operation...)
}

func (relayCodec) Decode(src []byte) (consensus.Message, error) {
	if len(src) < 32 {
		return nil, errors.New("too short")
	}
	number := func(i int) uint64 { return binary.BigEndian.Uint64(src[8*i:]) }
	return decision{number(0), consensus.Command{
		Client: consensus.ClientID(number(1)), Sequence: number(2), FirstUnanswered: number(3),
		Operation: append([]byte(nil), src[32:]...),
	}}, nil
}

func (c relayCodec) Size(message consensus.Message) int { return len(c.Append(nil, message)) }
