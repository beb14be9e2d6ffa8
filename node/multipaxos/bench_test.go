package multipaxos

import (
	"testing"

	"quorumlab/node/consensus"
	"quorumlab/node/kv"
)

// BenchmarkCommand is what the machines of three processes, each replica, leader
// and acceptor, take for one command: no network, no encoding.
func BenchmarkCommand(b *testing.B) {
	roles := []string{RoleReplica, RoleLeader, RoleAcceptor}
	members := []consensus.Member{{ID: 1, Roles: roles}, {ID: 2, Roles: roles}, {ID: 3, Roles: roles}}
	machines := map[consensus.NodeID]*Machine{}
	for _, member := range members {
		m, err := New(consensus.Config{Self: member.ID, Members: members})
		if err != nil {
			b.Fatal(err)
		}
		machines[member.ID] = m
	}
	type delivery struct {
		to    consensus.NodeID
		input consensus.Input
	}
	var queue []delivery
	var out consensus.Outbox
	steps := 0
	drain := func(now consensus.Time) {
		for i := 0; i < len(queue); i++ {
			d := queue[i]
			machines[d.to].Step(now, d.input, &out)
			steps++
			for _, m := range out.Messages {
				queue = append(queue, delivery{m.To, consensus.Input{Kind: consensus.InputMessage, From: d.to, Message: m.Message}})
			}
			out.Reset()
		}
		queue = queue[:0]
	}
	for _, member := range members {
		queue = append(queue, delivery{member.ID, consensus.Input{Kind: consensus.InputStart}})
	}
	drain(0)
	operation := kv.AppendOperation(nil, kv.Operation{Kind: kv.Update, Key: 1, Value: "sixteen bytes..."})
	b.ReportAllocs()
	sequence := uint64(0)
	for b.Loop() {
		sequence++
		command := consensus.Command{Client: consensus.NewClientID(9, 1), Sequence: sequence, FirstUnanswered: sequence, Operation: operation}
		for _, member := range members {
			queue = append(queue, delivery{member.ID, consensus.Input{Kind: consensus.InputCommand, From: 9, Command: command}})
		}
		drain(consensus.Time(sequence) * 10_000_000)
	}
	b.ReportMetric(float64(steps)/float64(sequence), "steps/op")
}
