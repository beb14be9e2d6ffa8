package experiment

import (
	"errors"
	"fmt"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"quorumlab/topologies"
)

const linkPath = "topology.link"

// layer is a part of the experiment that says what links are like, made ready to be
// laid over what others say.
type layer struct {
	// path is where it stands, such as "topology.links.0".
	path string
	link Link
	// delay is what Link.Delay stands for, elliott what Link.GilbertElliott does.
	delay   measured
	elliott *topologies.GilbertElliott
}

// measured is a delay: a constant, or the least of a trace's or table's.
type measured struct {
	least time.Duration
	trace *topologies.Trace
	table *topologies.Table
}

// layer makes a part of the file ready.
func (s *Spec) layer(path string, link Link) (layer, error) {
	l := layer{path: path, link: link}
	if d := link.JitterDistribution; d != nil && !slices.Contains(topologies.JitterDistributions, *d) || d != nil && *d == topologies.JitterTable {
		return l, &problem{path: join(path, "jitter_distribution"), value: printable(*d),
			want: "normal, uniform, exponential or pareto; for a table of measurements, delay: {table: FILE}"}
	}
	if g := link.GilbertElliott; g != nil {
		l.elliott = &topologies.GilbertElliott{
			GoodToBad: float64(g.GoodToBad), BadToGood: float64(g.BadToGood),
			LossGood: float64(g.LossGood), LossBad: float64(g.LossBad),
		}
	}
	if link.Delay == nil {
		return l, nil
	}
	var err error
	l.delay, err = s.inputs.delay(join(path, "delay"), *link.Delay)
	return l, err
}

// over lays what the layer says over the parameters. What excludes each other, such as
// loss and gilbert_elliott, is replaced by the layer's, unless it says both.
func (l layer) over(p topologies.Parameters) topologies.Parameters {
	k := l.link
	if k.Delay != nil {
		p.Delay, p.Trace, p.JitterTable = l.delay.least, l.delay.trace, l.delay.table
		if p.Jitter != 0 && (p.Trace != nil || p.JitterTable != nil) {
			p.Jitter = declaredNoJitter // it took the jitter's place
		}
	}
	set(&p.Jitter, k.Jitter)
	put(&p.JitterDistribution, k.JitterDistribution)
	put(&p.JitterShape, k.JitterShape)
	put(&p.JitterReorders, k.JitterReorders)
	if k.Loss != nil {
		p.GilbertElliott = nil
	}
	if k.GilbertElliott != nil {
		p.Loss, p.LossCorrelation, p.GilbertElliott = 0, 0, l.elliott
	}
	set(&p.Loss, k.Loss)
	set(&p.LossCorrelation, k.LossCorrelation)
	set(&p.Duplicate, k.Duplicate)
	set(&p.Corrupt, k.Corrupt)
	set(&p.Reorder, k.Reorder)
	put(&p.ReorderGap, k.ReorderGap)
	set(&p.ReorderCorrelation, k.ReorderCorrelation)
	set(&p.RateBPS, k.Rate)
	put(&p.QueueFrames, k.Queue)
	set(&p.QueueBytes, k.QueueBytes)
	if k.Jitter != nil && *k.Jitter == 0 {
		p.Jitter = declaredNoJitter
	}
	if k.Loss != nil && *k.Loss == 0 {
		p.Loss = declaredZero
	}
	if k.Reorder != nil && *k.Reorder == 0 {
		p.Reorder = declaredZero
	}
	return p
}

// declaredZero is a probability of 0 that the file says, until all layers are there: it
// equals 0, and its sign tells it from one that nothing says.
var declaredZero = math.Copysign(0, -1)

// declaredNoJitter is a jitter of 0 likewise. A negative one that the file says is not it.
const declaredNoJitter = time.Duration(math.MinInt64)

func isDeclaredZero(probability float64) bool { return probability == 0 && math.Signbit(probability) }

// set gives the target the value, if there is one.
func set[T ~int64 | ~float64, V ~int64 | ~float64](target *T, value *V) {
	if value != nil {
		*target = T(*value)
	}
}

// put is set for values of the target's own type.
func put[T any](target, value *T) {
	if value != nil {
		*target = *value
	}
}

// settled are the parameters once all layers have been laid over each other.
func settled(p topologies.Parameters) topologies.Parameters {
	switch {
	case p.Jitter == declaredNoJitter:
		p.Jitter, p.JitterDistribution, p.JitterShape = 0, "", 0
	case p.Jitter == 0 && p.JitterDistribution == topologies.JitterNormal:
		p.JitterDistribution = "" // which is so unless the file says otherwise
	}
	if p.JitterTable != nil {
		p.JitterDistribution = topologies.JitterTable
	}
	// No loss and no reordering are a value among others of a sweep: what is told of
	// them besides then means nothing.
	if isDeclaredZero(p.Loss) {
		p.Loss, p.LossCorrelation = 0, 0
	}
	if isDeclaredZero(p.Reorder) {
		p.Reorder, p.ReorderGap, p.ReorderCorrelation = 0, 0, 0
	}
	return p
}

// rule is an entry of topology.links, made ready.
type rule struct {
	layer
	match, from []string
	// links and directions count what it has matched.
	links, directions int
}

// rules makes the entries of topology.links ready.
func (s *Spec) rules() ([]*rule, error) {
	patterns := 0
	for _, entry := range s.Topology.Links {
		patterns += len(entry.Match) + len(entry.From)
	}
	if patterns > maxPatterns {
		return nil, &problem{path: "topology.links", message: fmt.Sprintf("topology.links has %d names and patterns", patterns), want: fmt.Sprintf("at most %d", maxPatterns)}
	}
	var rules []*rule
	for i, entry := range s.Topology.Links {
		at := join("topology.links", strconv.Itoa(i))
		l, err := s.layer(at, entry.Link)
		if err != nil {
			return nil, err
		}
		if len(entry.Match) == 0 {
			return nil, &problem{path: join(at, "match"), at: []string{join(at, "match"), at}, message: join(at, "match") + " is missing",
				want: "the name of a link, or a pattern such as h*-s1"}
		}
		if !entry.Link.given() {
			return nil, &problem{path: at, message: at + " changes nothing", want: "keys such as delay, loss or rate beside match"}
		}
		for _, list := range []struct {
			key      string
			patterns []string
		}{{"match", entry.Match}, {"from", entry.From}} {
			if err := checkPatterns(join(at, list.key), list.patterns); err != nil {
				return nil, err
			}
		}
		rules = append(rules, &rule{layer: l, match: entry.Match, from: entry.From})
	}
	return rules, nil
}

// checkPatterns refuses patterns that path.Match does.
func checkPatterns(at string, patterns []string) error {
	for i, pattern := range patterns {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			return &problem{path: at, at: []string{join(at, strconv.Itoa(i)), at}, value: printable(pattern),
				want: "a name, or a pattern with * for any letters, ? for one, [ab] for one of these"}
		}
		if len(pattern) > maxPatternBytes {
			return &problem{path: at, at: []string{join(at, strconv.Itoa(i)), at}, message: fmt.Sprintf("%s has a pattern of %d bytes", at, len(pattern)),
				want: fmt.Sprintf("at most %d", maxPatternBytes)}
		}
	}
	return nil
}

// checkComparisons refuses so many patterns that it takes long to compare all links with
// them.
func checkComparisons(at string, patterns []string, t *topologies.Topology) error {
	wild := 0
	for _, pattern := range patterns {
		if strings.ContainsAny(pattern, `*?[\`) {
			wild++
		}
	}
	if wild*len(t.Links) <= maxComparisons {
		return nil
	}
	return &problem{path: at, message: fmt.Sprintf("%s has %s, with which %s are compared", at, count(wild, "pattern"), count(len(t.Links), "link")),
		want: "fewer patterns"}
}

// matches tells whether a name fits one of the patterns.
func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		ok, _ := path.Match(pattern, name)
		return ok
	})
}

// applyTo lays the rule over a link.
func (r *rule) applyTo(link *topologies.Link) {
	if !matches(r.match, link.Name) {
		return
	}
	r.links++
	for _, direction := range []struct {
		from string
		p    *topologies.Parameters
	}{{link.A, &link.AToB}, {link.B, &link.BToA}} {
		if len(r.from) == 0 || matches(r.from, direction.from) {
			r.directions++
			*direction.p = r.over(*direction.p)
		}
	}
}

// unused says so if a rule has matched nothing.
func (r *rule) unused(t *topologies.Topology) error {
	switch {
	case r.links == 0:
		at := join(r.path, "match")
		return &problem{path: at, message: fmt.Sprintf("%s is %s, which matches no link", at, printable(strings.Join(r.match, ", "))),
			want: "a link: one of " + list(linkNames(t))}
	case r.directions == 0:
		at := join(r.path, "from")
		return &problem{path: at, message: fmt.Sprintf("%s is %s, and no link that %s matches leaves such a node", at, printable(strings.Join(r.from, ", ")), join(r.path, "match")),
			want: "an end of one of these links"}
	}
	return nil
}

func linkNames(t *topologies.Topology) []string {
	var names []string
	for _, link := range t.Links {
		names = append(names, link.Name)
	}
	return names
}

// checkLinks checks the parameters of all directions, and finds the layer that is to
// blame for bad ones. base lists the layers below the rules of a link.
func checkLinks(t *topologies.Topology, rules []*rule, base func(link int) []string) error {
	good := map[topologies.Parameters]bool{}
	for i := range t.Links {
		link := &t.Links[i]
		for _, direction := range []struct {
			from string
			p    topologies.Parameters
		}{{link.A, link.AToB}, {link.B, link.BToA}} {
			if good[direction.p] {
				continue
			}
			err := direction.p.Check()
			if err == nil {
				good[direction.p] = true
				continue
			}
			var layers []string
			for _, r := range slices.Backward(rules) {
				if matches(r.match, link.Name) && (len(r.from) == 0 || matches(r.from, direction.from)) {
					layers = append(layers, r.path)
				}
			}
			return badLink(err, link.Name, append(layers, base(i)...))
		}
	}
	return nil
}

// badLink blames the fields that may have set a bad parameter, that of the topmost layer
// first.
func badLink(err error, name string, layers []string) error {
	var bad *topologies.ParameterError
	if !errors.As(err, &bad) {
		return fmt.Errorf("link %s: %w", name, err)
	}
	field := bad.Field
	if slices.Contains([]string{"trace", "table", "align", "gap", "gap_after"}, field) {
		field = join("delay", field)
	}
	var fields []string
	for _, at := range layers {
		fields = append(fields, join(at, field))
	}
	return &problem{at: fields, value: bad.Value, want: wantOfLink(bad.Want), err: err}
}

// wantOfLink writes what would be right for a parameter of a link as experiments do.
func wantOfLink(want string) string {
	if strings.HasPrefix(want, "a probability") {
		return wantProbability
	}
	return strings.ReplaceAll(want, topologies.MaxDelay.String(), Duration(topologies.MaxDelay).String())
}

// captured lists the links that the patterns of Capture match.
func (s *Spec) captured(t *topologies.Topology) []string {
	var names []string
	for _, link := range t.Links {
		if matches(s.Capture, link.Name) {
			names = append(names, link.Name)
		}
	}
	return names
}

// Captured lists the links whose frames are written down, in the topology's order.
func (s *Spec) Captured() []string {
	if len(s.Capture) == 0 {
		return nil
	}
	return s.captured(s.Network())
}

// checkCapture refuses links that don't exist, and simulated ones.
func (c checker) checkCapture(t *topologies.Topology, _ arrangement) error {
	if len(c.spec.Capture) == 0 {
		return nil
	}
	if len(c.spec.Capture) > maxPatterns {
		return c.say(fmt.Sprintf("capture has %d names and patterns", len(c.spec.Capture)), fmt.Sprintf("at most %d", maxPatterns), "capture")
	}
	if err := checkPatterns("capture", c.spec.Capture); err != nil {
		return c.blame(err)
	}
	if err := checkComparisons("capture", c.spec.Capture, t); err != nil {
		return c.blame(err)
	}
	for i, pattern := range c.spec.Capture {
		if !slices.ContainsFunc(t.Links, func(l topologies.Link) bool { return matches([]string{pattern}, l.Name) }) {
			return c.blame(&problem{path: "capture", at: []string{join("capture", strconv.Itoa(i)), "capture"},
				message: fmt.Sprintf("capture has %s, which matches no link", printable(pattern)), want: "links: some of " + list(linkNames(t))})
		}
	}
	if c.spec.Engine == EngineSim {
		return c.say("capture is given, and engine is sim, which has no frames to write down", "none, or another engine", "capture", "engine")
	}
	return nil
}
