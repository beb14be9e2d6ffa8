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

	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/topologies"
)

// EngineAuto leaves the choice of the engine to the tool.
const EngineAuto = "auto"

// Bounds of fields; wide enough for any experiment, narrow enough that sums and
// products of them don't overflow.
const (
	maxHosts = 1<<17 - 2 // addresses in the labs' range
	maxRate  = 1e7
	// starRoundTripLinks is how many links a round trip between two hosts of a
	// star crosses.
	starRoundTripLinks = 4
	minBitRate         = 1000
	maxBitRate         = 1e12
	maxQueue           = 1_000_000_000
	maxKeys            = 1_000_000_000
	maxValueSize       = 1 << 20
	maxDelay           = time.Hour
	maxPhase           = 24 * time.Hour
	shareTolerance     = 1e-9
	forbiddenInNames   = `/\`
)

// operations are those that a mix may have.
var operations = []string{"nop", "create", "update", "read", "remove"}

// checker judges a decoded experiment. The nodes that it was decoded from tell
// where to point.
type checker struct {
	file      string
	overrides *Overrides
	root      *node
	spec      *Spec
}

func (l *loader) check(root *node, spec *Spec) checker {
	return checker{l.file, &l.overrides, root, spec}
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
		c.run, c.engine, c.system, c.hosts, c.options, c.topology, c.load, c.mix, c.phases,
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
	case badName(s.Name):
		return c.bad(s.Name, "1 to 100 printable characters without slashes, not starting with a dot", "name")
	case s.Repeat < 1 || s.Repeat > maxTrials:
		return c.bad(s.Repeat, fmt.Sprintf("from 1 to %d repetitions", maxTrials), "repeat")
	}
	return nil
}

func badName(name string) bool {
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
	"system.storage":   {"disk", "fsync"},
	"system.transport": {"datagram"},
	"topology.kind":    {"linear", "tree", "graph"},
	"workload.target":  {"leader", "nearest", "one"},
	"workload.loop":    {"closed"},
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

func (c checker) system() error {
	s := c.spec.System
	protocol, ok := consensus.Lookup(s.Protocol)
	if !ok {
		return c.bad(s.Protocol, "a protocol: one of "+strings.Join(consensus.Names(), ", "), "system.protocol")
	}
	var roles []string
	for _, role := range protocol.Roles {
		roles = append(roles, plural(role.Name))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Roles)) {
		if !slices.Contains(roles, name) {
			path := "system.roles." + name
			e, _ := c.root.find(path)
			if slices.Contains(roles, plural(name)) {
				return errorAt(c.file, e.at, Error{Path: path, Want: plural(name),
					Message: fmt.Sprintf("unknown key %s: want it in the plural, %s", printable(path), plural(name))})
			}
			return unknownKey(c.file, e.at, "system.roles", name, roles)
		}
	}
	for _, role := range protocol.Roles {
		name := plural(role.Name)
		if count := s.Roles[name]; count < role.Min {
			want := fmt.Sprintf("at least %d for %s", role.Min, protocol.Name)
			return c.bad(count, want, "system.roles."+name, "system.protocol")
		}
	}
	if err := c.oneOf("system.storage", s.Storage, "memory"); err != nil {
		return err
	}
	return c.oneOf("system.transport", s.Transport, "tcp")
}

// hosts checks that the lab isn't larger than addresses and engine allow.
func (c checker) hosts() error {
	paths := []string{"workload.clients"}
	counts := map[string]int{"workload.clients": c.spec.Workload.Clients}
	for name, count := range c.spec.System.Roles {
		path := "system.roles." + name
		paths = append(paths, path)
		counts[path] = count
	}
	if clients := c.spec.Workload.Clients; clients < 1 {
		return c.bad(clients, "at least 1 client", "workload.clients")
	}
	slices.SortFunc(paths, func(a, b string) int { // the greatest count first
		if counts[a] != counts[b] {
			return counts[b] - counts[a]
		}
		return strings.Compare(a, b)
	})
	limit, who := maxHosts, "any engine"
	if c.overrides.Limits != nil {
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

// options lets the protocol judge its options.
func (c checker) options() error {
	const at = "system.options"
	raw, err := c.spec.optionsJSON()
	if err != nil {
		return errorAt(c.file, c.at(at), Error{Path: at, Message: at + ": " + err.Error(), Err: err})
	}
	protocol, _ := consensus.Lookup(c.spec.System.Protocol)
	if protocol.CheckOptions == nil {
		if len(c.spec.System.Options) > 0 {
			return c.say(at+" are given", "none: "+protocol.Name+" has no options", at)
		}
		return nil
	}
	err = protocol.CheckOptions(raw)
	if err == nil {
		return nil
	}
	var option *consensus.OptionError
	if !errors.As(err, &option) {
		return errorAt(c.file, c.at(at), Error{Path: at, Message: at + ": " + err.Error(), Err: err})
	}
	path := join(at, option.Path)
	return errorAt(c.file, c.at(path), Error{Path: path, Err: err,
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

func (c checker) topology() error {
	if err := c.oneOf("topology.kind", c.spec.Topology.Kind, "star"); err != nil {
		return err
	}
	link := c.spec.Topology.Link
	for _, d := range []struct {
		path  string
		value Duration
	}{{"topology.link.delay", link.Delay}, {"topology.link.jitter", link.Jitter}} {
		switch {
		case d.value < 0:
			return c.bad(d.value, "a duration of at least 0, such as 20ms", d.path)
		case d.value > Duration(maxDelay):
			return c.bad(d.value, "a duration of at most 1h, such as 20ms", d.path)
		}
	}
	if err := c.oneOf("topology.link.jitter_distribution", link.JitterDistribution,
		topologies.JitterNormal, topologies.JitterUniform); err != nil {
		return err
	}
	switch {
	case link.Loss < 0 || link.Loss > 1:
		return c.bad(link.Loss, wantProbability, "topology.link.loss")
	case link.Rate != 0 && (link.Rate < minBitRate || link.Rate > maxBitRate):
		return c.bad(link.Rate, "from 1kbit to 1tbit, such as 1gbit, or unlimited", "topology.link.rate")
	case link.Queue < 0 || link.Queue > maxQueue:
		return c.bad(link.Queue, fmt.Sprintf("from 0 (unbounded) to %d frames", maxQueue), "topology.link.queue")
	case starRoundTripLinks*link.Delay >= Duration(control.MaxRoundTrip):
		return c.bad(link.Delay, fmt.Sprintf("below %v: a round trip crosses %d links, and TCP gives up after %v",
			control.MaxRoundTrip/starRoundTripLinks, starRoundTripLinks, control.MaxRoundTrip), "topology.link.delay")
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

// mix checks that the shares are those of operations and sum to 1.
func (c checker) mix() error {
	const at = "workload.mix"
	sum := 0.0
	for _, name := range slices.Sorted(maps.Keys(c.spec.Workload.Mix)) {
		share, path := c.spec.Workload.Mix[name], join(at, name)
		if !slices.Contains(operations, name) {
			e, _ := c.root.find(path)
			return unknownKey(c.file, e.at, at, name, operations)
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

// needsKeys tells whether the load begins by creating the keys.
func (c checker) needsKeys() bool {
	mix := c.spec.Workload.Mix
	return mix["update"] > 0 || mix["read"] > 0 || mix["remove"] > 0
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
