package faults

import (
	"maps"
	"slices"
)

// Target is what a kind of fault hits.
type Target string

// What kinds hit.
const (
	// HitsNodes: processes. Only those that are up are hit, and no clients.
	HitsNodes Target = "nodes"
	// HitsLinks, HitsPairs: links, or pairs of hosts. Clients are hit if they are named.
	HitsLinks Target = "links"
	HitsPairs Target = "pairs"
	// HitsCluster: the configuration, or other faults.
	HitsCluster Target = "cluster"
)

// Parameter is something that kinds can be told: Fault.Whom or a field of Parameters.
type Parameter string

// The parameters. All but two are named as their keys in an experiment file.
const (
	ParameterWhom     Parameter = "whom"
	ParameterDisk     Parameter = "disk"
	ParameterShare    Parameter = "share"
	ParameterMessages Parameter = "messages"
	ParameterFrom     Parameter = "from"
	ParameterTo       Parameter = "to"
	ParameterDelay    Parameter = "delay"
	ParameterRate     Parameter = "rate"
	ParameterJump     Parameter = "jump"
	ParameterLinks    Parameter = "links"
	// ParameterEnds is Parameters.LinksFrom, whose key is "from".
	ParameterEnds   Parameter = "ends"
	ParameterGroups Parameter = "groups"
	ParameterSwitch Parameter = "switch"
	// ParameterLink is Parameters.Link, whose keys are those of a link, such as "loss".
	ParameterLink   Parameter = "link"
	ParameterChange Parameter = "change"
	ParameterRole   Parameter = "role"
	ParameterFault  Parameter = "fault"
)

// Key is the parameter's in an experiment file; empty for ParameterLink, which has many.
func (p Parameter) Key() string {
	switch p {
	case ParameterEnds:
		return "from"
	case ParameterLink:
		return ""
	}
	return string(p)
}

// Kind is a fault of the catalogue. Register makes it available.
type Kind struct {
	// Name is what experiments call it, Summary what it does in one sentence, Evidence
	// what proves it in one.
	Name, Summary, Evidence string
	Hits                    Target
	// Ways are the sets of parameters of which exactly one must be given whole, Takes
	// those that may stand beside.
	Ways  [][]Parameter
	Takes []Parameter
	// Whom is the selector that Fault.Whom stands for if it is left out; empty for none.
	Whom string
	// Lasts is true for what goes on until it is healed, Final for what isn't healed when
	// the load ends unless it has a duration.
	Lasts, Final bool
	// Failpoint is what becomes of a process that stands at a failpoint and is hit, such as
	// control.ActionCrash; empty for a kind that can't have one.
	Failpoint string
	// Storages, unless empty, are those that it needs, Engines those where it applies.
	Storages, Engines []string
	// Check finds what is wrong beside what all of these say; nil if nothing can be.
	// Problem.Fault is filled in by the caller.
	Check func(fault Fault, world World) []Problem
	// Effects is what the fault does, given whom it hits. No effect at all means that it
	// hits nobody.
	Effects func(scene *Scene) Effects
}

// takes tells whether the kind has any use for the parameter.
func (k *Kind) takes(parameter Parameter) bool {
	return slices.Contains(k.Takes, parameter) ||
		slices.ContainsFunc(k.Ways, func(way []Parameter) bool { return slices.Contains(way, parameter) })
}

// Parameters lists all that the kind takes, those that it needs first.
func (k *Kind) Parameters() []Parameter {
	var all []Parameter
	for _, parameter := range slices.Concat(append(slices.Clone(k.Ways), k.Takes)...) {
		if !slices.Contains(all, parameter) {
			all = append(all, parameter)
		}
	}
	return all
}

// Applies tells whether the kind applies on an engine.
func (k *Kind) Applies(engine string) bool {
	return len(k.Engines) == 0 || slices.Contains(k.Engines, engine)
}

var kinds = map[string]*Kind{}

// Register adds a kind to the catalogue. It is called from init functions and panics if
// the name is taken.
func Register(kind *Kind) {
	if _, taken := kinds[kind.Name]; taken {
		panic("faults: kind registered twice: " + kind.Name)
	}
	if kind.Effects == nil {
		panic("faults: kind without effects: " + kind.Name)
	}
	kinds[kind.Name] = kind
}

// Lookup finds a kind by its name.
func Lookup(name string) (*Kind, bool) {
	kind, ok := kinds[name]
	return kind, ok
}

// Names lists the catalogue in alphabetical order.
func Names() []string { return slices.Sorted(maps.Keys(kinds)) }
