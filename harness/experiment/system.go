package experiment

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"quorumlab/harness/engine"
	"quorumlab/node/application"
	"quorumlab/node/consensus"
	"quorumlab/node/control"
)

func (c checker) system() error {
	s := c.spec.System
	protocol, ok := consensus.Lookup(s.Protocol)
	if !ok {
		return c.bad(s.Protocol, "a protocol: one of "+strings.Join(consensus.Names(), ", "), "system.protocol")
	}
	if _, ok := application.Lookup(s.Application); !ok {
		return c.bad(s.Application, "an application: one of "+strings.Join(application.Names(), ", "), "system.application")
	}
	if err := c.roles(protocol); err != nil {
		return err
	}
	if err := c.spares(protocol); err != nil {
		return err
	}
	if err := c.oneOf("system.storage", s.Storage, control.StorageMemory, control.StorageDisk, control.StorageFsync); err != nil {
		return err
	}
	if err := c.oneOf("system.transport", s.Transport, engine.TransportTCP, engine.TransportDatagram); err != nil {
		return err
	}
	if s.Transport == engine.TransportDatagram {
		return c.simulatorOnly("system.transport is datagram, but in labs nodes talk over TCP", engine.TransportTCP, "system.transport")
	}
	return nil
}

// roles checks how many processes have each role.
func (c checker) roles(protocol *consensus.Protocol) error {
	if err := c.roleNames(protocol, "system.roles", c.spec.System.Roles); err != nil {
		return err
	}
	for _, role := range protocol.Roles {
		name := plural(role.Name)
		if count := c.spec.System.Roles[name]; count < role.Min {
			want := fmt.Sprintf("at least %d for %s", role.Min, protocol.Name)
			return c.bad(count, want, "system.roles."+name, "system.protocol")
		}
	}
	return nil
}

// spares checks how many processes of each role stand by.
func (c checker) spares(protocol *consensus.Protocol) error {
	const at = "system.spares"
	spares := c.spec.System.Spares
	if err := c.roleNames(protocol, at, spares); err != nil {
		return err
	}
	for _, role := range protocol.Roles {
		name := plural(role.Name)
		switch path := join(at, name); {
		case spares[name] < 0:
			return c.bad(spares[name], "at least 0", path)
		case spares[name] > 0 && !role.Replaceable:
			return c.say(fmt.Sprintf("%s is %d, and nothing could call on them", path, spares[name]),
				"none: no reconfiguration of "+protocol.Name+" changes its "+name, path, "system.protocol")
		}
	}
	return nil
}

// roleNames checks the keys of a mapping that has a protocol's roles.
func (c checker) roleNames(protocol *consensus.Protocol, at string, counts map[string]int) error {
	var roles []string
	for _, role := range protocol.Roles {
		roles = append(roles, plural(role.Name))
	}
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		if slices.Contains(roles, name) {
			continue
		}
		path := join(at, name)
		e, _ := c.root.find(path)
		if slices.Contains(roles, plural(name)) {
			return errorAt(c.file, e.at, Error{Path: path, Want: plural(name),
				Message: fmt.Sprintf("unknown key %s: want it in the plural, %s", printable(path), plural(name))})
		}
		return unknownKey(c.file, e.at, at, name, roles)
	}
	return nil
}

// hosts checks that there aren't more processes than anything can run and, where each
// has a host of its own, than the engine has hosts.
func (c checker) hosts() error {
	if clients := c.spec.Workload.Clients; clients < 1 {
		return c.bad(clients, "at least 1 client", "workload.clients")
	}
	counts := map[string]int{"workload.clients": c.spec.Workload.Clients}
	for name, count := range c.spec.System.Roles {
		counts["system.roles."+name] = count
	}
	for name, count := range c.spec.System.Spares {
		counts["system.spares."+name] = count
	}
	paths := slices.SortedFunc(maps.Keys(counts), func(a, b string) int { // the greatest count first
		if counts[a] != counts[b] {
			return counts[b] - counts[a]
		}
		return strings.Compare(a, b)
	})
	limit, who := maxHosts, "any engine"
	placement := c.spec.Topology.Placement
	if c.overrides.Limits != nil && placement.By != PlaceTogether && len(placement.At) == 0 {
		if most, known := c.overrides.Limits(c.spec.Engine); known && most < limit {
			limit, who = most, "engine "+c.spec.Engine
		}
	}
	total := 0
	for _, path := range paths {
		total += min(counts[path], maxHosts+1)
	}
	if total <= limit {
		return nil
	}
	path, _ := c.blamed(paths...)
	if counts[path] > limit {
		return c.bad(counts[path], fmt.Sprintf("at most %d hosts in all for %s", limit, who), path)
	}
	return c.say(fmt.Sprintf("%s is %d and makes %d hosts in all", path, counts[path], total),
		fmt.Sprintf("at most %d for %s", limit, who), path)
}

// options lets the protocol judge its options, by themselves and then with the
// processes that there are.
func (c checker) options() error {
	const at = "system.options"
	config, err := c.spec.config()
	if err != nil {
		return errorAt(c.file, c.at(at), Error{Path: at, Message: at + ": " + err.Error(), Err: err})
	}
	protocol := c.spec.protocol()
	if protocol.CheckOptions == nil {
		if len(c.spec.System.Options) > 0 {
			return c.say(at+" are given", "none: "+protocol.Name+" has no options", at)
		}
	} else if err := protocol.CheckOptions(config.Options); err != nil {
		return c.refusedOption(err)
	}
	if protocol.CheckConfig == nil {
		return nil
	}
	if err := protocol.CheckConfig(config); err != nil {
		var counts []string
		for _, role := range protocol.Roles {
			counts = append(counts, join("system.roles", plural(role.Name)))
		}
		return c.refusedOption(err, counts...)
	}
	return nil
}

// refusedOption says where the option stands that a protocol refuses. The
// further paths are fields that may be to blame as well.
func (c checker) refusedOption(err error, further ...string) error {
	const at = "system.options"
	var option *consensus.OptionError
	if !errors.As(err, &option) {
		place := c.at(append([]string{at}, further...)...)
		return errorAt(c.file, place, Error{Path: at, Message: at + ": " + err.Error(), Err: err})
	}
	path := join(at, option.Path)
	return errorAt(c.file, c.at(append([]string{path}, further...)...), Error{Path: path, Err: err,
		Value: printable(fmt.Sprint(option.Value)), Want: option.Want})
}

// optionsJSON gives the protocol's options as it reads them: nil if there are
// none.
func (s *Spec) optionsJSON() (json.RawMessage, error) {
	if len(s.System.Options) == 0 {
		return nil, nil
	}
	raw, err := json.Marshal(s.System.Options)
	if err != nil {
		return nil, fmt.Errorf("encode the protocol's options: %w", err)
	}
	return raw, nil
}
