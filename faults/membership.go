package faults

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// membership is which processes have the roles of the configuration that was asked for
// last. Roles that can't be replaced have their members for good.
type membership struct {
	view *view
	// has lists the members of each role, in the cluster's order.
	has map[string][]string
}

func newMembership(v *view) *membership {
	m := &membership{view: v, has: map[string][]string{}}
	for _, role := range v.roles(anyRole) {
		for _, node := range v.Cluster.Nodes {
			if node.Has(role) && !node.Spare {
				m.has[role] = append(m.has[role], node.Name)
			}
		}
	}
	m.has[roleClient] = v.clients
	return m
}

// of are the members of the roles, each once, in the cluster's order.
func (m *membership) of(roles ...string) []string {
	var members []string
	for _, node := range m.view.Cluster.Nodes {
		if slices.ContainsFunc(roles, func(role string) bool { return slices.Contains(m.has[role], node.Name) }) {
			members = append(members, node.Name)
		}
	}
	return members
}

// voters are the processes that quorums are made of; all servers of a protocol that
// doesn't say.
func (m *membership) voters() []string {
	roles := m.view.roles(votes)
	if len(roles) == 0 {
		return m.view.servers
	}
	return m.of(roles...)
}

// change is the JSON of a configuration in which the nodes are added to, or removed from,
// a role, or all that they have if it is empty. It is nil if that changes nothing, or
// would leave a role without members.
func (m *membership) change(nodes []string, role string, add bool) json.RawMessage {
	lists := map[string][]string{}
	for _, name := range m.view.roles(replaceable) {
		if role != "" && name != role {
			continue
		}
		var list []string
		for _, node := range m.view.Cluster.Nodes {
			member := slices.Contains(m.has[name], node.Name)
			if node.Has(name) && slices.Contains(nodes, node.Name) {
				member = add
			}
			if member {
				list = append(list, node.Name)
			}
		}
		if len(list) > 0 && !slices.Equal(list, m.has[name]) {
			lists[plural(name)] = list
		}
	}
	if len(lists) == 0 {
		return nil
	}
	change, err := json.Marshal(lists)
	if err != nil {
		panic("faults: names without JSON: " + err.Error())
	}
	return change
}

// changing is the effect of a change of the configuration; it hits those whose roles change.
func (s *Scene) changing(change json.RawMessage) Effects {
	if len(change) == 0 {
		return Effects{}
	}
	next := membership{view: s.members.view, has: maps.Clone(s.members.has)}
	next.adopt(change)
	effects := Effects{Change: change}
	for _, node := range s.members.view.Cluster.Nodes {
		for role := range next.has {
			if slices.Contains(next.has[role], node.Name) != slices.Contains(s.members.has[role], node.Name) {
				effects.Hit = append(effects.Hit, node.Name)
				break
			}
		}
	}
	return effects
}

// adopt takes on a change of the configuration, as far as it has the shape of change's.
func (m *membership) adopt(change json.RawMessage) {
	var lists map[string]json.RawMessage
	if json.Unmarshal(change, &lists) != nil {
		return
	}
	for _, role := range m.view.roles(replaceable) {
		var names, members []string
		if json.Unmarshal(lists[plural(role)], &names) != nil {
			continue
		}
		for _, node := range m.view.Cluster.Nodes {
			if slices.Contains(names, node.Name) {
				members = append(members, node.Name)
			}
		}
		if len(members) > 0 {
			m.has[role] = members
		}
	}
}

func optionsJSON(options map[string]any) (json.RawMessage, error) {
	if options == nil {
		return nil, nil
	}
	data, err := json.Marshal(options)
	if err != nil {
		return nil, fmt.Errorf("the protocol's options: %w", err)
	}
	return data, nil
}
