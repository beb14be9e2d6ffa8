package experiment

import (
	"reflect"
	"time"

	"quorumlab/harness/engine"
	"quorumlab/node/application"
	"quorumlab/node/consensus"
	"quorumlab/node/control"
)

// defaults is the experiment that says nothing but its version.
func defaults(file string) *Spec {
	return &Spec{
		Version: 1,
		Name:    defaultName(file),
		Seed:    1,
		Repeat:  5,
		Engine:  EngineAuto,
		System: System{
			Protocol:    "multipaxos",
			Application: application.Default,
			Storage:     control.StorageMemory,
			Transport:   engine.TransportTCP,
		},
		Topology: defaultTopology(),
		Workload: Workload{
			Clients:   1,
			Target:    "all",
			Loop:      "open",
			Rate:      20,
			Arrivals:  "fixed",
			Mix:       map[string]float64{"nop": 1},
			Keys:      10,
			ValueSize: 16,
			Timeout:   Duration(10 * time.Second),
		},
		Phases: Phases{
			Warmup:  Duration(5 * time.Second),
			Measure: Duration(time.Minute),
			Drain:   Duration(10 * time.Second),
		},
	}
}

// fillRoles gives the roles that the experiment doesn't mention their
// protocol's defaults.
func (s *Spec) fillRoles() {
	protocol, ok := consensus.Lookup(s.System.Protocol)
	if !ok {
		return // refused when the point is checked
	}
	if s.System.Roles == nil {
		s.System.Roles = map[string]int{}
	}
	for _, role := range protocol.Roles {
		if _, given := s.System.Roles[plural(role.Name)]; !given {
			s.System.Roles[plural(role.Name)] = role.Default
		}
	}
}

// plural is how experiments call a role: "replicas" for "replica".
func plural(role string) string { return role + "s" }

func specValue(s *Spec) reflect.Value { return reflect.ValueOf(s).Elem() }
