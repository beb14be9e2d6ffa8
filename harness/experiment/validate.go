package experiment

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

	"quorumlab/node/application"
	"quorumlab/node/control"
	"quorumlab/topologies"
)

const (
	// EngineAuto leaves the choice of the engine to the tool.
	EngineAuto = "auto"
	// EngineSim is the simulator, which can do what real networks can't.
	EngineSim = "sim"
)

// Bounds of fields; wide enough for any experiment, narrow enough that sums and
// products of them don't overflow.
const (
	maxRate          = 1e7
	maxKeys          = 1_000_000_000
	maxValueSize     = 1 << 20
	maxPhase         = 24 * time.Hour
	maxStopRequests  = 1_000_000_000_000
	maxCost          = time.Minute
	maxCostPerByte   = time.Millisecond
	shareTolerance   = 1e-9
	forbiddenInNames = `/\`
)

// checker judges a decoded experiment. The nodes that it was decoded from tell
// where to point.
type checker struct {
	file      string
	overrides *Overrides
	root      *node
	spec      *Spec
	// goodTopologies are those that have been found good, as JSON.
	goodTopologies map[string]bool
	// point says which one is checked, such as "point 2, workload.rate=10"; empty without
	// a sweep.
	point string
}

func (l *loader) check(root *node, spec *Spec) checker {
	return checker{file: l.file, overrides: &l.overrides, root: root, spec: spec, goodTopologies: l.goodTopologies}
}

// checkPoint is check for one of several points.
func (l *loader) checkPoint(root *node, spec *Spec, index int, params Params) checker {
	c := l.check(root, spec)
	if len(params) > 0 {
		c.point = fmt.Sprintf("point %d, %s", index+1, params)
	}
	return c
}

// blamed chooses, among fields that are wrong together, the one to point at: one
// that the command line or else the sweep set, or else the first that the file
// sets. If none of them does, it is the first, and the place its nearest
// ancestor's.
func (c checker) blamed(paths ...string) (path string, at origin) {
	for _, candidate := range paths {
		e, exact := c.root.find(candidate)
		if !exact {
			continue
		}
		if here := e.value.blame(); path == "" || here.rank() > at.rank() {
			path, at = candidate, here
		}
	}
	if path == "" {
		e, _ := c.root.find(paths[0])
		return paths[0], e.at
	}
	return path, at
}

func (c checker) at(paths ...string) origin {
	_, at := c.blamed(paths...)
	return at
}

// bad says that the field at the first path is wrong. The further paths are
// fields that may be to blame as well.
func (c checker) bad(value any, want string, paths ...string) error {
	text := printable(fmt.Sprint(value))
	if e, exact := c.root.find(paths[0]); exact && e.value.kind == kindScalar {
		text = e.value.describe()
	}
	return errorAt(c.file, c.at(paths...), Error{Path: paths[0], Value: text, Want: want})
}

// say is bad with a message of its own.
func (c checker) say(message, want string, paths ...string) error {
	return errorAt(c.file, c.at(paths...), Error{Path: paths[0], Want: want,
		Message: message + ": want " + want})
}

// all checks everything about one point.
func (c checker) all() error {
	for _, check := range []func() error{
		c.run, c.engine, c.system, c.hosts, c.options, c.topology, c.load, c.mix, c.phases, c.stop, c.simulation, c.faults,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// run checks what no sweep varies.
func (c checker) run() error {
	s := c.spec
	switch {
	case s.Version != 1:
		return c.bad(s.Version, "1", "version")
	case BadName(s.Name):
		return c.bad(s.Name, "1 to 100 printable characters without slashes, not starting with a dot", "name")
	case s.Repeat < 1 || s.Repeat > maxTrials:
		return c.bad(s.Repeat, fmt.Sprintf("from 1 to %d repetitions", maxTrials), "repeat")
	}
	return nil
}

// BadName tells what can't be the name of an experiment, or of a lab.
func BadName(name string) bool {
	odd := func(r rune) bool { return !unicode.IsPrint(r) || strings.ContainsRune(forbiddenInNames, r) }
	return name == "" || len([]rune(name)) > 100 || strings.TrimSpace(name) != name ||
		strings.HasPrefix(name, ".") || strings.ContainsFunc(name, odd)
}

func (c checker) engine() error {
	name := c.spec.Engine
	if name == EngineAuto || c.overrides.Limits == nil {
		return nil
	}
	if _, known := c.overrides.Limits(name); known {
		return nil
	}
	names := []string{EngineAuto}
	for _, engine := range c.overrides.Engines {
		if engine != EngineAuto {
			names = append(names, engine)
		}
	}
	return c.bad(name, "one of "+strings.Join(names, ", "), "engine")
}

// later are values that the format will have, but this version doesn't.
var later = map[string][]string{
	"workload.target": {"leader", "nearest", "one"},
	"workload.loop":   {"closed"},
}

// oneOf checks a field that takes certain words.
func (c checker) oneOf(path, value string, allowed ...string) error {
	want := strings.Join(allowed, " or ")
	switch {
	case slices.Contains(allowed, value):
		return nil
	case slices.Contains(later[path], value):
		return errorAt(c.file, c.at(path), Error{Path: path, Value: value, Want: want,
			Message: fmt.Sprintf("%s is %s: not supported by this version; want %s", path, value, want)})
	default:
		return c.bad(value, want, path)
	}
}

// blame says where in the file the cause of an error about the topology stands.
func (c checker) blame(err error) error {
	var known *problem
	if errors.As(err, &known) {
		return c.problem(known)
	}
	return errorAt(c.file, c.at("topology.kind", "topology"), Error{Path: "topology", Message: "topology: " + plainly(err), Err: err})
}

// topology makes the network and checks it, once for all points that have the same.
func (c checker) topology() error {
	s := c.spec
	key, err := json.Marshal([]any{s.Topology, s.Capture, s.Engine, s.System.Protocol, s.System.Roles, s.System.Spares, s.Workload.Clients})
	if err != nil {
		return fmt.Errorf("encode the topology: %w", err)
	}
	if c.goodTopologies[string(key)] {
		return nil
	}
	network, placed, err := s.network()
	if err != nil {
		return c.blame(err)
	}
	if err := network.Check(); err != nil {
		return c.blame((&wiring{spec: s}).nonsense(err))
	}
	for _, check := range []func(*topologies.Topology, arrangement) error{c.checkHosts, c.checkSharing, c.checkRoundTrips, c.checkCapture} {
		if err := check(network, placed); err != nil {
			return err
		}
	}
	c.goodTopologies[string(key)] = true
	return nil
}

// checkHosts checks that the network isn't larger than the engine allows.
func (c checker) checkHosts(network *topologies.Topology, _ arrangement) error {
	limit, known := 0, false
	if c.overrides.Limits != nil {
		limit, known = c.overrides.Limits(c.spec.Engine)
	}
	if hosts := len(network.Hosts); known && hosts > limit {
		return c.say(fmt.Sprintf("the topology has %d hosts", hosts), fmt.Sprintf("at most %d for engine %s", limit, c.spec.Engine),
			"topology.custom.hosts", "topology.file", "topology.placement", "topology.kind", "topology")
	}
	return nil
}

// checkSharing checks that there are ports for the processes of each host.
func (c checker) checkSharing(network *topologies.Topology, a arrangement) error {
	sharing := make([]int, len(a.seats))
	for _, host := range a.of {
		if sharing[host]++; sharing[host] > maxSharing {
			return c.say(fmt.Sprintf("topology.placement puts more than %d processes on %s", maxSharing, network.Hosts[host].Name), "more hosts", "topology.placement.at", "topology.placement")
		}
	}
	return nil
}

func (c checker) load() error {
	w := c.spec.Workload
	if err := c.oneOf("workload.target", w.Target, "all"); err != nil {
		return err
	}
	if err := c.oneOf("workload.loop", w.Loop, "open"); err != nil {
		return err
	}
	if err := c.oneOf("workload.arrivals", w.Arrivals, "fixed", "poisson"); err != nil {
		return err
	}
	switch {
	case w.Rate <= 0 || w.Rate > maxRate:
		return c.bad(w.Rate, "above 0 and at most 10000000 requests a second, such as 20/s", "workload.rate")
	case float64(w.Rate)*maxPhase.Seconds() < 1:
		return c.bad(w.Rate, "at least one request in 24h, such as 20/s", "workload.rate")
	case w.Keys < 1 || w.Keys > maxKeys:
		return c.bad(w.Keys, fmt.Sprintf("from 1 to %d keys", maxKeys), "workload.keys")
	case w.ValueSize < 1 || w.ValueSize > maxValueSize:
		return c.bad(w.ValueSize, "from 1B to 1MiB", "workload.value_size")
	case w.Timeout <= 0 || w.Timeout > Duration(time.Hour):
		return c.bad(w.Timeout, "a duration above 0 and at most 1h, such as 10s", "workload.timeout")
	}
	return nil
}

// mix checks that the shares are those of the application's operations and sum
// to 1.
func (c checker) mix() error {
	const at = "workload.mix"
	var operations []string
	for _, kind := range c.spec.application().Kinds() {
		operations = append(operations, kind.Name)
	}
	sum := 0.0
	for _, name := range slices.Sorted(maps.Keys(c.spec.Workload.Mix)) {
		share, path := c.spec.Workload.Mix[name], join(at, name)
		if !slices.Contains(operations, name) {
			return c.unknownOperation(path, name, operations)
		}
		if share < 0 || share > 1 {
			return c.bad(share, "a share from 0 to 1, such as 0.5", path)
		}
		sum += share
	}
	if math.Abs(sum-1) > shareTolerance {
		return c.say(fmt.Sprintf("%s has shares that sum to %.10g", at, sum), "a sum of 1", at)
	}
	return nil
}

// unknownOperation tells a mistyped operation from one of another application.
func (c checker) unknownOperation(path, name string, operations []string) error {
	for _, other := range application.Names() {
		a, _ := application.Lookup(other)
		if _, has := application.KindNamed(a, name); has {
			return c.say(fmt.Sprintf("%s is an operation of %s, and system.application is %s", path, other, c.spec.System.Application),
				"operations of "+c.spec.System.Application+": "+strings.Join(operations, ", "), path, "system.application")
		}
	}
	e, _ := c.root.find(path)
	return unknownKey(c.file, e.at, "workload.mix", name, operations)
}

// needsKeys tells whether the load begins by creating the keys.
func (c checker) needsKeys() bool {
	return application.NeedsKeys(c.spec.application(), c.spec.Workload.Mix)
}

func (c checker) phases() error {
	p := c.spec.Phases
	for _, phase := range []struct {
		path  string
		value Duration
	}{{"phases.warmup", p.Warmup}, {"phases.measure", p.Measure}, {"phases.drain", p.Drain}} {
		switch {
		case phase.value < 0:
			return c.bad(phase.value, "a duration of at least 0, such as 10s", phase.path)
		case phase.value > Duration(maxPhase):
			return c.bad(phase.value, "a duration of at most 24h, such as 60s", phase.path)
		}
	}
	if p.Measure == 0 {
		return c.bad(p.Measure, "a duration above 0, such as 60s", "phases.measure")
	}
	if creating := Duration(c.spec.Workload.Keys) * Duration(control.CreateInterval); c.needsKeys() && creating > p.Warmup {
		return c.say(fmt.Sprintf("phases.warmup is %s, too short to create %d keys, one each %v", p.Warmup, c.spec.Workload.Keys, control.CreateInterval),
			"at least "+creating.String()+", or fewer workload.keys", "phases.warmup", "workload.keys")
	}
	interval := float64(time.Second) / float64(c.spec.Workload.Rate)
	if float64(p.Measure) < interval {
		return c.say(fmt.Sprintf("phases.measure is %s, too short for one request at %s", p.Measure, c.spec.Workload.Rate),
			"at least "+Duration(math.Ceil(interval)).String(),
			"phases.measure", "workload.rate")
	}
	return nil
}

// simulatorOnly refuses, unless the engine sim is asked for, what labs can't do:
// else it would depend on the machine whether the experiment can be run.
func (c checker) simulatorOnly(what, instead, path string) error {
	if c.spec.Engine == EngineSim {
		return nil
	}
	return c.say(fmt.Sprintf("%s, and engine is %s", what, c.spec.Engine), instead+", or engine: "+EngineSim, path, "engine")
}

func (c checker) stop() error {
	const why = "in labs a trial lasts as long as its phases"
	s := c.spec.Stop
	if s.Requests > maxStopRequests {
		return c.bad(s.Requests, fmt.Sprintf("from 0 (no limit) to %d requests", uint64(maxStopRequests)), "stop.requests")
	}
	if s.Leader && s.Requests > 0 {
		return c.say(fmt.Sprintf("stop.requests is %d, and stop.leader ends the trial before any request", s.Requests),
			"one of the two", "stop.requests", "stop.leader")
	}
	if s.Leader && len(c.spec.Faults) > 0 {
		return c.say("stop.leader is true, which ends the trial before any load, and faults count from the load's beginning",
			"one of the two", "stop.leader", faultsKey)
	}
	if s.Leader {
		return c.simulatorOnly("stop.leader is true, but "+why, "false", "stop.leader")
	}
	if s.Requests > 0 {
		return c.simulatorOnly(fmt.Sprintf("stop.requests is %d, but ", s.Requests)+why, "0", "stop.requests")
	}
	return nil
}

func (c checker) simulation() error {
	s := c.spec.Simulation
	const want = "a duration from 0 to 1m, such as "
	for _, cost := range []struct {
		path, example string
		value         *Duration
	}{{"simulation.per_message", "3us", s.PerMessage}, {"simulation.per_send", "1.5us", s.PerSend}, {"simulation.sync", "1ms", s.Sync}} {
		if cost.value != nil && (*cost.value < 0 || *cost.value > Duration(maxCost)) {
			return c.bad(*cost.value, want+cost.example, cost.path)
		}
	}
	if s.PerByte != nil && !(*s.PerByte >= 0 && *s.PerByte <= Nanoseconds(maxCostPerByte)) {
		return c.bad(*s.PerByte, "a duration from 0 to 1ms, such as 1ns", "simulation.per_byte")
	}
	for _, cost := range []struct {
		path  string
		given bool
	}{
		{"simulation.per_message", s.PerMessage != nil}, {"simulation.per_send", s.PerSend != nil},
		{"simulation.per_byte", s.PerByte != nil}, {"simulation.sync", s.Sync != nil},
	} {
		if cost.given {
			return c.simulatorOnly(cost.path+" is given, but real processes take the time that they take", "none", cost.path)
		}
	}
	return nil
}
