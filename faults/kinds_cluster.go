package faults

import (
	"errors"
	"strings"

	"quorumlab/node/consensus"
)

func init() {
	for _, kind := range []*Kind{reconfigure(), addServer(), removeServer(), heal()} {
		Register(kind)
	}
}

const configurationEvidence = "a further configuration is in force"

func reconfigure() *Kind {
	return &Kind{
		Name: "reconfigure", Hits: HitsCluster,
		Summary:  "has the configuration changed, as the protocol's own JSON says",
		Evidence: configurationEvidence,
		Ways:     [][]Parameter{{ParameterChange}},
		Check:    checkReconfigure,
		Effects:  func(scene *Scene) Effects { return scene.changing(scene.Fault.Change) },
	}
}

func checkReconfigure(fault Fault, world World) []Problem {
	if problems := checkChangeable(world); problems != nil {
		return problems
	}
	config, err := newView(world).config()
	if err == nil {
		_, err = world.Protocol.Reconfigure(config, fault.Change)
	}
	if err == nil {
		return nil
	}
	problem := Problem{Key: "change", Value: string(fault.Change), Want: err.Error()}
	var option *consensus.OptionError
	if errors.As(err, &option) {
		if _, below, deeper := strings.Cut(option.Path, "."); deeper {
			problem.Key += "." + below
		}
		problem.Value, problem.Want = text(option.Value), option.Want
	}
	return []Problem{problem}
}

// checkChangeable refuses protocols whose configuration can't be changed.
func checkChangeable(world World) []Problem {
	if world.Protocol == nil || world.Protocol.Reconfigure != nil {
		return nil
	}
	return []Problem{{Message: "the configuration of " + world.Protocol.Name + " can't be changed", Want: "another protocol, or no such fault"}}
}

func addServer() *Kind {
	return &Kind{
		Name: "add_server", Hits: HitsCluster,
		Summary:  "gives a spare process its roles, or one `role`, by a change of the configuration",
		Evidence: configurationEvidence,
		Ways:     [][]Parameter{{ParameterWhom}}, Takes: []Parameter{ParameterRole},
		Check: checkServer,
		Effects: func(scene *Scene) Effects {
			return scene.changing(scene.members.change(scene.Nodes, scene.Fault.Role, true))
		},
	}
}

func removeServer() *Kind {
	return &Kind{
		Name: "remove_server", Hits: HitsCluster,
		Summary:  "takes a process's roles, or one `role`, away by a change of the configuration; the process goes on running",
		Evidence: configurationEvidence,
		Ways:     [][]Parameter{{ParameterWhom}}, Takes: []Parameter{ParameterRole},
		Check: checkServer,
		Effects: func(scene *Scene) Effects {
			return scene.changing(scene.members.change(scene.Nodes, scene.Fault.Role, false))
		},
	}
}

func heal() *Kind {
	return &Kind{
		Name: "heal", Hits: HitsCluster,
		Summary:  "heals what is active of another fault of the schedule, by its id",
		Evidence: "that of the other fault's healing",
		Ways:     [][]Parameter{{ParameterFault}},
		Effects:  func(scene *Scene) Effects { return Effects{Heals: []string{scene.Fault.Fault}} },
	}
}
