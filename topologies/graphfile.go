package topologies

import (
	"bytes"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"
)

// Bounds of the files that Parse reads.
const (
	// MaxFileBytes bounds a file.
	MaxFileBytes = 16 << 20
	// maxNesting bounds how deep elements, lists and objects stand in each other.
	maxNesting = 64
)

// Parse reads a topology from the text of a file: GraphML (.graphml, .xml), GML (.gml)
// or JSON (.json); what has another ending is recognised by how it begins. Errors say
// file and line.
//
// A node whose attribute "type" is "host" is a host, every other one a switch; where
// there are no hosts, AttachHosts adds some. A node is named by its "label" or "name",
// of which what a name can't have becomes "_", or else by its id; where several would
// have one name, the id is appended. An edge is a link, named by its "name", or as in
// "a-b". What it doesn't say is as in defaults. Attributes, in any case:
//
//   - delay, latency, jitter: milliseconds, or with a unit (1.5s); jitter is uniform;
//   - rate, bandwidth, bw, capacity: Mbit/s, or with a unit (1gbit); LinkSpeedRaw: bit/s;
//   - loss: a probability, 0.001 or 0.1%;
//   - queue: frames; queue_bytes: bytes.
//
// An edge without a delay between two nodes with Latitude and Longitude (degrees) has
// that of light in fibre, two thirds of its speed in vacuum, along the great circle.
//
// In a directed graph an edge is one direction of a link, or both if no edge leads back.
// Other edges between the same nodes are left out but the one of least delay, the first
// of equals, which is the one that frames would take. Notes say what was done.
func Parse(name string, data []byte, defaults Parameters) (*Topology, error) {
	if len(data) > MaxFileBytes {
		return nil, fmt.Errorf("%s: %d bytes: want at most %d", name, len(data), MaxFileBytes)
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	f := &graphFile{name: name}
	var err error
	switch fileKind(name, data) {
	case "graphml":
		err = f.readGraphML(data)
	case "json":
		err = f.readJSON(data)
	case "gml":
		err = f.readGML(data)
	default:
		err = f.errorAt(1, "neither GraphML, GML nor JSON")
	}
	if err != nil {
		return nil, err
	}
	return f.topology(defaults)
}

func fileKind(name string, data []byte) string {
	switch strings.ToLower(path.Ext(name)) {
	case ".graphml", ".xml":
		return "graphml"
	case ".gml":
		return "gml"
	case ".json":
		return "json"
	}
	text := bytes.TrimSpace(data)
	switch {
	case bytes.HasPrefix(text, []byte("<")):
		return "graphml"
	case bytes.HasPrefix(text, []byte("{")):
		return "json"
	case bytes.Contains(text, []byte("graph")):
		return "gml"
	}
	return ""
}

// graphFile is what a file says, before any of it is understood.
type graphFile struct {
	name     string
	directed bool
	nodes    []fileNode
	edges    []fileEdge
	// ids finds nodes.
	ids map[string]int
}

// attributes have keys in lower case.
type attributes map[string]string

// first is the first of the keys that isn't empty.
func (a attributes) first(keys ...string) (key, value string) {
	for _, key := range keys {
		if value := strings.TrimSpace(a[key]); value != "" {
			return key, value
		}
	}
	return "", ""
}

type fileNode struct {
	id   string
	line int
	attributes
}

type fileEdge struct {
	source, target string
	line           int
	attributes
}

func (f *graphFile) errorAt(line int, format string, values ...any) error {
	return fmt.Errorf("%s:%d: %s", f.name, line, fmt.Sprintf(format, values...))
}

func (f *graphFile) addNode(node fileNode) error {
	if f.ids == nil {
		f.ids = map[string]int{}
	}
	if node.id == "" {
		return f.errorAt(node.line, "a node without an id")
	}
	if other, taken := f.ids[node.id]; taken {
		return f.errorAt(node.line, "the id %.64q stands twice, also in line %d", node.id, f.nodes[other].line)
	}
	if len(f.nodes) == MaxNodes {
		return f.errorAt(node.line, "more than %d nodes", MaxNodes)
	}
	f.ids[node.id] = len(f.nodes)
	f.nodes = append(f.nodes, node)
	return nil
}

func (f *graphFile) addEdge(edge fileEdge) error {
	if len(f.edges) == MaxLinks {
		return f.errorAt(edge.line, "more than %d edges", MaxLinks)
	}
	f.edges = append(f.edges, edge)
	return nil
}

// topology understands the file.
func (f *graphFile) topology(defaults Parameters) (*Topology, error) {
	if len(f.nodes) == 0 {
		return nil, f.errorAt(1, "no nodes")
	}
	b := newBuilder("file")
	names, err := f.nodeNames()
	if err != nil {
		return nil, err
	}
	for i, node := range f.nodes {
		if _, kind := node.first("type"); strings.EqualFold(kind, "host") {
			b.hostNamed(names[i])
		} else {
			b.t.Switches = append(b.t.Switches, names[i])
		}
	}
	l := linker{graphFile: f, names: names, defaults: defaults, at: map[[2]int]int{}}
	for _, edge := range f.edges {
		if err := l.add(edge); err != nil {
			return nil, err
		}
	}
	b.t.Links, b.t.Notes = l.links, l.notes()
	if err := b.t.Check(); err != nil {
		return nil, fmt.Errorf("%s: %w", f.name, err)
	}
	return b.t, nil
}

// nodeNames gives each node a name that no other has.
func (f *graphFile) nodeNames() ([]string, error) {
	count := map[string]int{}
	names := make([]string, len(f.nodes))
	for i, node := range f.nodes {
		_, label := node.first("label", "name")
		names[i] = cleanName(label)
		if names[i] == "" {
			names[i] = cleanName(node.id)
		}
		count[names[i]]++
	}
	used := map[string]int{}
	for i, node := range f.nodes {
		if count[names[i]] > 1 {
			names[i] = cleanName(names[i] + "_" + node.id)
		}
		if err := CheckName("node", names[i]); err != nil {
			return nil, f.errorAt(node.line, "%v", err)
		}
		if other, taken := used[names[i]]; taken {
			return nil, f.errorAt(node.line, "the name %q stands twice, also in line %d", names[i], f.nodes[other].line)
		}
		used[names[i]] = i
	}
	return names, nil
}

// cleanName makes a name of a label: what a name can't have becomes one "_", and what it
// can't begin with goes.
func cleanName(label string) string {
	var clean strings.Builder
	skipped := false
	for _, r := range label {
		if !validRune(r, clean.Len() == 0) {
			skipped = true
			continue
		}
		if skipped && clean.Len() > 0 {
			clean.WriteByte('_')
		}
		skipped = false
		clean.WriteRune(r)
	}
	return clean.String()
}

// linker makes links of edges.
type linker struct {
	*graphFile
	names    []string
	defaults Parameters
	links    []Link
	// at finds the link between two nodes, by their numbers in ascending order.
	at map[[2]int]int
	// oneWay is true for links of a directed graph that no edge leads back along.
	oneWay []bool
	// from is the node from which the edge that made a link leads.
	from []int

	leftOut, byDistance, without int
}

func (l *linker) add(edge fileEdge) error {
	a, okA := l.ids[edge.source]
	b, okB := l.ids[edge.target]
	switch {
	case !okA:
		return l.errorAt(edge.line, "an edge from the unknown node %.64q", edge.source)
	case !okB:
		return l.errorAt(edge.line, "an edge to the unknown node %.64q", edge.target)
	case a == b:
		return l.errorAt(edge.line, "an edge joins the node %.64q with itself", edge.source)
	}
	p, err := l.parameters(edge, l.nodes[a], l.nodes[b])
	if err != nil {
		return err
	}
	pair := [2]int{min(a, b), max(a, b)}
	at, exists := l.at[pair]
	switch {
	case !exists:
		name := cleanName(edge.attributes["name"])
		if name == "" {
			name = l.names[a] + "-" + l.names[b]
		}
		l.at[pair] = len(l.links)
		l.links = append(l.links, Link{Name: name, A: l.names[a], B: l.names[b], AToB: p, BToA: p})
		l.oneWay, l.from = append(l.oneWay, l.directed), append(l.from, a)
	case l.oneWay[at] && l.from[at] == b:
		l.links[at].BToA, l.oneWay[at] = p, false
	default:
		l.leftOut++
		l.prefer(at, a, p)
	}
	return nil
}

// prefer takes the parameters of another edge from a node for a link if their delay is
// less.
func (l *linker) prefer(at, from int, p Parameters) {
	link := &l.links[at]
	if (!l.directed || l.from[at] == from) && p.Delay < link.AToB.Delay {
		link.AToB = p
		if l.oneWay[at] {
			link.BToA = p
		}
	}
	if (!l.directed || l.from[at] != from) && p.Delay < link.BToA.Delay {
		link.BToA = p
	}
}

// parameters understands an edge.
func (l *linker) parameters(edge fileEdge, a, b fileNode) (Parameters, error) {
	p := l.defaults
	for _, attribute := range []struct {
		keys []string
		read func(p *Parameters, text string) error
	}{
		{[]string{"delay", "latency"}, readDelay},
		{[]string{"jitter"}, readJitter},
		{[]string{"loss"}, readLoss},
		{[]string{"linkspeedraw"}, func(p *Parameters, text string) (err error) { p.RateBPS, err = parseRate(text, 1); return }},
		{[]string{"rate", "bandwidth", "bw", "capacity"}, func(p *Parameters, text string) (err error) { p.RateBPS, err = parseRate(text, 1e6); return }},
		{[]string{"queue"}, readQueue},
		{[]string{"queue_bytes"}, func(p *Parameters, text string) (err error) {
			p.QueueBytes, err = parseCount(text, MaxQueueBytes)
			return
		}},
	} {
		if key, value := edge.first(attribute.keys...); key != "" {
			if err := attribute.read(&p, value); err != nil {
				return p, l.errorAt(edge.line, "%s is %.64q: %v", key, value, err)
			}
		}
	}
	if key, _ := edge.first("delay", "latency"); key == "" {
		delay, placed, err := l.distance(a, b)
		if err != nil {
			return p, err
		}
		if placed {
			p.constant(delay)
			l.byDistance++
		} else {
			l.without++
		}
	}
	return p, nil
}

func readDelay(p *Parameters, text string) error {
	delay, err := parseDelay(text)
	p.constant(delay)
	return err
}

// constant sets the delay in place of measured ones.
func (p *Parameters) constant(delay time.Duration) {
	p.Delay, p.Trace = delay, nil
	if p.JitterTable != nil {
		p.JitterTable, p.JitterDistribution = nil, ""
	}
}

func readJitter(p *Parameters, text string) (err error) {
	p.Jitter, err = parseDelay(text)
	p.JitterDistribution, p.JitterTable, p.JitterShape = JitterUniform, nil, 0
	return err
}

func readLoss(p *Parameters, text string) (err error) {
	p.Loss, err = parseShare(text)
	p.GilbertElliott = nil
	if p.Loss == 0 {
		p.LossCorrelation = 0
	}
	return err
}

func readQueue(p *Parameters, text string) error {
	frames, err := parseCount(text, MaxQueueFrames)
	p.QueueFrames = int(frames)
	return err
}

// distance is the delay of light between two nodes, if both have a place.
func (l *linker) distance(a, b fileNode) (delay time.Duration, placed bool, err error) {
	var degrees [4]float64
	for i, coordinate := range []struct {
		node fileNode
		key  string
		most float64
	}{{a, "latitude", 90}, {a, "longitude", 180}, {b, "latitude", 90}, {b, "longitude", 180}} {
		_, text := coordinate.node.first(coordinate.key)
		if text == "" {
			return 0, false, nil
		}
		value, err := strconv.ParseFloat(text, 64)
		if err != nil || !(value >= -coordinate.most && value <= coordinate.most) {
			return 0, false, l.errorAt(coordinate.node.line, "%s is %.64q: want degrees from -%v to %v", coordinate.key, text, coordinate.most, coordinate.most)
		}
		degrees[i] = value
	}
	return fibreDelay(degrees[0], degrees[1], degrees[2], degrees[3]), true, nil
}

// notes says what was assumed.
func (l *linker) notes() []string {
	var notes []string
	if l.byDistance > 0 {
		notes = append(notes, fmt.Sprintf("The delays of %s of %s are those of light in fibre along the great circle between their ends, less than real ways take.", edges(l.byDistance), l.name))
	}
	if l.without > 0 {
		notes = append(notes, fmt.Sprintf("The file says no delay for %s of %s: what the experiment declares, %v, is taken.", edges(l.without), l.name, l.defaults.Delay))
	}
	if l.leftOut > 0 {
		notes = append(notes, fmt.Sprintf("Frames would never take %s of %s, since others between the same nodes are at least as short: left out.", edges(l.leftOut), l.name))
	}
	return notes
}

func edges(n int) string {
	if n == 1 {
		return "1 edge"
	}
	return fmt.Sprintf("%d edges", n)
}
