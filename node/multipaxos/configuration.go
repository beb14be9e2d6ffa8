package multipaxos

import (
	"encoding/json"
	"fmt"
	"slices"

	"quorumlab/node/consensus"
)

// Configuration says which processes lead and accept from a slot on. Every slot
// belongs to one configuration alone, so that each is an instance of the
// protocol of its own, with leaders and acceptors of its own.
type Configuration struct {
	// Number counts the configurations, from 0.
	Number uint64 `json:"number"`
	// First is its first slot; it ends before the next configuration's.
	First     uint64             `json:"-"`
	Leaders   []consensus.NodeID `json:"leaders,omitempty"`
	Acceptors []consensus.NodeID `json:"acceptors,omitempty"`
}

// change is what an administrator says: names of processes. What is left out
// stays as it is.
type change struct {
	Leaders   []string `json:"leaders"`
	Acceptors []string `json:"acceptors"`
}

// reconfigure is Protocol.Reconfigure. The change is {"leaders": [NAME...],
// "acceptors": [NAME...]}. The operation is a Configuration in JSON whose number
// is still open. The error is a *consensus.OptionError.
func reconfigure(config consensus.Config, data json.RawMessage) ([]byte, error) {
	var wanted change
	if err := json.Unmarshal(data, &wanted); err != nil || len(wanted.Leaders)+len(wanted.Acceptors) == 0 {
		return nil, &consensus.OptionError{Path: "reconfigure", Value: string(data),
			Want: `some of {"leaders": [names], "acceptors": [names]}`}
	}
	var next Configuration
	var err error
	if next.Leaders, err = named(config, "leaders", wanted.Leaders, RoleLeader); err != nil {
		return nil, err
	}
	if next.Acceptors, err = named(config, "acceptors", wanted.Acceptors, RoleAcceptor); err != nil {
		return nil, err
	}
	if len(next.Acceptors) > 0 {
		options, err := ParseOptions(config.Options)
		if err != nil {
			return nil, err
		}
		if _, err := options.Quorums.System(len(next.Acceptors)); err != nil {
			return nil, &consensus.OptionError{Path: "reconfigure.acceptors", Value: wanted.Acceptors, Want: err.Error()}
		}
	}
	return json.Marshal(next)
}

// named finds the members of the given names, which must have the role.
func named(config consensus.Config, path string, names []string, role string) ([]consensus.NodeID, error) {
	var ids []consensus.NodeID
	for _, name := range names {
		i := slices.IndexFunc(config.Members, func(m consensus.Member) bool { return m.Name == name })
		if i < 0 || !config.Members[i].Has(role) || slices.Contains(ids, config.Members[i].ID) {
			return nil, &consensus.OptionError{Path: "reconfigure." + path, Value: name,
				Want: fmt.Sprintf("different names of processes with the role %s", role)}
		}
		ids = append(ids, config.Members[i].ID)
	}
	slices.Sort(ids)
	return ids, nil
}

// numbered is the change of a command with its number filled in, so that it is
// carried out once at most: only right after the configuration that it follows.
func numbered(command consensus.Command, number uint64) (consensus.Command, bool) {
	var next Configuration
	if json.Unmarshal(command.Operation, &next) != nil {
		return command, false
	}
	next.Number = number
	operation, err := json.Marshal(next)
	if err != nil {
		panic("multipaxos: a configuration without JSON: " + err.Error()) // numbers and slices of them
	}
	command.Operation = operation
	return command, true
}

// after is the configuration that a decided change makes of the last one, from
// the given slot on; false if the change was meant to follow another one.
func (c Configuration) after(operation []byte, first uint64) (Configuration, bool) {
	var next Configuration
	if json.Unmarshal(operation, &next) != nil || next.Number != c.Number+1 {
		return c, false
	}
	next.First = first
	if len(next.Leaders) == 0 {
		next.Leaders = c.Leaders
	}
	if len(next.Acceptors) == 0 {
		next.Acceptors = c.Acceptors
	}
	return next, true
}
