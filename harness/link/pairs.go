//go:build linux

package link

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"quorumlab/harness/engine"
	"quorumlab/topologies"
)

// stage is what frames from one host to another pass before the first link of their
// way. It is one direction more, which stands first in the pair's path, so that other
// pairs have nothing to do with it.
type stage struct {
	// pair indexes the paths, direction the models, the counters and the taps.
	pair      int
	direction uint32
	// standing is true while it is in the pair's path. It is ending once it was taken away
	// but still holds frames, which those that follow must not overtake.
	standing, ending bool
}

// stageChange is a change of one stage, on its way to the loop.
type stageChange struct {
	stage int
	// model is that of a stage which there was none of, pair whose it is.
	model *Model
	pair  int
	// parameters are nil to take the stage away.
	parameters *topologies.Parameters
}

// changePairs changes stages for the frames that come from now on.
func (e *emulator) changePairs(changes []stageChange) error {
	if err := e.settle(); err != nil {
		return err
	}
	e.changePairsAt(e.clock.nowNS(), changes)
	return nil
}

func (e *emulator) changePairsAt(nowNS int64, changes []stageChange) {
	for _, c := range changes {
		if c.model != nil {
			e.stages = append(e.stages, stage{pair: c.pair, direction: uint32(len(e.models))})
			e.models = append(e.models, c.model)
			e.taps = append(e.taps, nil)
			e.counters.directions = append(e.counters.directions, directionCounters{})
		}
		e.changeStage(nowNS, &e.stages[c.stage], c)
	}
	e.retire(nowNS)
}

// changeStage changes one stage, which may end by it.
func (e *emulator) changeStage(nowNS int64, s *stage, c stageChange) {
	if s.ending {
		s.ending = false
		e.ending--
	}
	parameters := c.parameters
	if parameters == nil {
		parameters = &topologies.Parameters{}
		s.ending = true
		e.ending++
	}
	model := e.models[s.direction]
	if c.model == nil {
		model.update(nowNS, e.heldNS(s), *parameters)
		model.forget(nowNS)
	}
	if !s.standing {
		e.lead(s)
	}
}

// lead puts a stage first in its pair's path, if there is one.
func (e *emulator) lead(s *stage) {
	s.standing = true
	if way := e.paths[s.pair]; len(way) > 0 {
		e.paths[s.pair] = append([]uint32{s.direction}, way...)
	}
}

// heldNS is when all frames that are in a stage will have left it, at the earliest time
// that there is if there are none. Only a stage that delays all alike doesn't know.
func (e *emulator) heldNS(s *stage) int64 {
	latestNS := int64(math.MinInt64)
	if !e.models[s.direction].delayOnly {
		return latestNS
	}
	for _, planned := range e.events.events {
		// A frame behind its first direction is at a node at nodeNS, folded or not.
		if f := planned.frame; f.hop-f.folded == 1 && f.way[0] == s.direction {
			latestNS = max(latestNS, f.nodeNS)
		}
	}
	return latestNS
}

// retire takes stages that end out of their paths, once they hold nothing any more.
func (e *emulator) retire(nowNS int64) {
	if e.ending == 0 || e.events.len() > 0 && e.events.nextNS() <= nowNS {
		return // what is due may come from such a stage
	}
	for i := range e.stages {
		s := &e.stages[i]
		leftNS := e.models[s.direction].deliveredNS
		if !s.ending || leftNS > nowNS {
			continue
		}
		s.standing, s.ending = false, false
		e.ending--
		if way := e.paths[s.pair]; len(way) > 0 {
			e.paths[s.pair] = way[1:]
		}
		// What is stamped before that, and read only now, would be ahead of it.
		port := &e.ports[s.pair/len(e.ports)]
		port.arrivedNS = max(port.arrivedNS, leftNS)
	}
}

// reroute gives the emulator other paths, which don't have the stages yet.
func (e *emulator) reroute(paths [][]uint32) {
	e.paths = paths
	for i := range e.stages {
		if s := &e.stages[i]; s.standing {
			e.lead(s)
		}
	}
}

// pairStage is a stage as the commander knows it.
type pairStage struct {
	pair int
	// trace is the one in force, so that the loop need not compare long ones.
	trace *topologies.Trace
}

// setPairs changes stages of pairs, all at one moment.
func (c *commander) setPairs(pairs []engine.PairChange) error {
	wanted := make([]int, len(pairs))
	for i, p := range pairs {
		from, to := c.host(p.From), c.host(p.To)
		switch {
		case from < 0:
			return fmt.Errorf("link emulator: there is no host %q", p.From)
		case to < 0:
			return fmt.Errorf("link emulator: there is no host %q", p.To)
		}
		wanted[i] = from*len(c.topology.Hosts) + to
	}
	var changes []stageChange
	for i, p := range pairs {
		if change, any := c.stageChange(wanted[i], p); any {
			changes = append(changes, change)
		}
	}
	return c.do(func() error { return c.emulator.changePairs(changes) })
}

// host finds a host; -1 if there is none.
func (c *commander) host(name string) int {
	return slices.IndexFunc(c.topology.Hosts, func(h topologies.Host) bool { return h.Name == name })
}

// stageChange turns the change of a pair into that of its stage, which is made if
// there is none; any is false if there is nothing to take away.
func (c *commander) stageChange(pair int, p engine.PairChange) (change stageChange, any bool) {
	number, exists := c.stageOf[pair]
	change = stageChange{stage: number, pair: pair}
	if p.Parameters == nil {
		return change, exists
	}
	parameters := *p.Parameters
	change.parameters = &parameters
	if !exists {
		change.stage = len(c.stages)
		change.model = newModel(parameters, PairSeed(c.emulator.seed, p.From, p.To), c.emulator.startNS)
		c.stageOf[pair] = change.stage
		c.stages = append(c.stages, pairStage{pair: pair})
	}
	known := &c.stages[change.stage]
	if sameTrace(known.trace, parameters.Trace) {
		parameters.Trace = known.trace
	}
	known.trace = parameters.Trace
	return change, true
}

// pairReports names the counters of the stages, which come after those of the links.
func (c *commander) pairReports(stages []directionCounters) []engine.DirectionReport {
	var reports []engine.DirectionReport
	hosts := c.topology.Hosts
	for i, counted := range stages {
		from, to := hosts[c.stages[i].pair/len(hosts)].Name, hosts[c.stages[i].pair%len(hosts)].Name
		named := engine.DirectionReport{Link: from + ">" + to, From: from, To: to}
		counted.fill(&named)
		reports = append(reports, named)
	}
	slices.SortFunc(reports, func(a, b engine.DirectionReport) int { return strings.Compare(a.Link, b.Link) })
	return reports
}
