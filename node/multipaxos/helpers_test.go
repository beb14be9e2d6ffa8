package multipaxos

import (
	"encoding/json"

	"quorumlab/node/consensus"
	"quorumlab/node/kv"
)

// members makes replicas 1.., leaders 11.. and acceptors 21.., of each some in
// the first configuration and then some spares.
func members(replicas, leaders, spareLeaders, acceptors, spareAcceptors int) []consensus.Member {
	var all []consensus.Member
	add := func(base, count, spares int, role string) {
		for i := range count + spares {
			id := consensus.NodeID(base + i)
			all = append(all, consensus.Member{ID: id, Name: role + id.String(), Roles: []string{role}, Spare: i >= count})
		}
	}
	add(1, replicas, 0, RoleReplica)
	add(11, leaders, spareLeaders, RoleLeader)
	add(21, acceptors, spareAcceptors, RoleAcceptor)
	return all
}

// reconfiguration is an administrator's command with the given sequence number.
func (n *network) reconfiguration(sequence uint64, wanted change) consensus.Command {
	n.t.Helper()
	data, err := json.Marshal(wanted)
	if err != nil {
		n.t.Fatal(err)
	}
	operation, err := reconfigure(consensus.Config{Members: n.members, Options: json.RawMessage(n.options)}, data)
	if err != nil {
		n.t.Fatal(err)
	}
	return consensus.Command{
		Kind: consensus.KindReconfigure, Client: administrator,
		Sequence: sequence, FirstUnanswered: sequence, Operation: operation,
	}
}

// readOf is a read of the key that update(key, ...) creates.
func readOf(sequence, key uint64) consensus.Command {
	return consensus.Command{
		Kind: consensus.KindRead, Client: consensus.NewClientID(testClient, 0), Sequence: sequence, FirstUnanswered: 1,
		Operation: kv.AppendOperation(nil, kv.Operation{Kind: kv.Read, Key: key}),
	}
}
