package experiment

import (
	"fmt"
	"slices"
	"strconv"

	"quorumlab/topologies"
)

// Values of Linear.Switches.
const (
	linearByRole = "role"
	linearByHost = "host"
)

const (
	// maxHosts bounds the processes of an experiment, and so its hosts: each may need a
	// switch besides, and topologies has a bound on both.
	maxHosts = topologies.MaxNodes / 2
	// maxMeshHosts bounds those of a full mesh, whose links grow with their square.
	maxMeshHosts = 500
	// maxPatterns bounds the names and patterns of topology.links, each of which every
	// link is compared with. maxComparisons bounds those with patterns, which take
	// longer, and maxPatternBytes how long each takes.
	maxPatterns     = 1000
	maxComparisons  = 20_000_000
	maxPatternBytes = 256
)

// Network is the topology with its hosts, in the order of Deployment's.
func (s *Spec) Network() *topologies.Topology {
	t, _, err := s.network()
	if err != nil {
		panic("experiment: a topology that Load should have refused: " + err.Error())
	}
	return t
}

// places says which process runs where.
func (s *Spec) places() (*wiring, ground, arrangement, error) {
	w := &wiring{spec: s, own: map[int]layer{}}
	g, err := w.ground()
	if err != nil {
		return nil, g, arrangement{}, err
	}
	a, err := s.arrange(g)
	return w, g, a, err
}

// network makes the topology too. Errors about the file are a *problem.
func (s *Spec) network() (*topologies.Topology, arrangement, error) {
	w, g, a, err := s.places()
	if err != nil {
		return nil, a, err
	}
	t, err := w.graph(g, a)
	if err != nil {
		return nil, a, err
	}
	return t, a, w.parameters(t)
}

// wiring makes a topology of a spec.
type wiring struct {
	spec *Spec
	// matrix has the regions' names and the delays between them (wan).
	matrix topologies.WANSpec
	// read is the file's topology (file).
	read *topologies.Topology
	// own are the layers that only one link has, by its number (custom).
	own map[int]layer
}

// ground says what there is to place processes on.
func (w *wiring) ground() (ground, error) {
	switch s := w.spec; s.Topology.Kind {
	case KindWAN:
		var err error
		w.matrix, err = s.Topology.WAN.matrix()
		return ground{sites: w.matrix.Regions, site: "region"}, err
	case KindCustom:
		custom := s.Topology.Custom
		if err := custom.check(); err != nil {
			return ground{}, err
		}
		if len(custom.Hosts) > 0 {
			return ground{hosts: custom.Hosts, others: custom.Switches}, nil
		}
		return ground{sites: custom.Switches, site: "switch"}, nil
	case KindFile:
		return w.readFile()
	}
	return ground{}, nil
}

// readFile reads the topology's file. What is a host there is one here; where it has
// none, hosts are attached to the switches that are joined with most others.
func (w *wiring) readFile() (ground, error) {
	s := w.spec
	if s.Topology.File == "" {
		return ground{}, &problem{path: "topology.file", at: []string{"topology.file", "topology.kind"}, message: "topology.file is missing",
			want: "the path of a file in GraphML, GML or JSON"}
	}
	all, err := s.layer(linkPath, s.Topology.Link)
	if err != nil {
		return ground{}, err
	}
	if w.read, err = s.inputs.graph(s.Topology.File, settled(all.over(topologies.Parameters{Delay: defaultDelay(KindFile)}))); err != nil {
		return ground{}, err
	}
	if len(w.read.Hosts) > 0 {
		g := ground{others: w.read.Switches}
		for _, host := range w.read.Hosts {
			g.hosts = append(g.hosts, host.Name)
		}
		return g, nil
	}
	g := ground{site: "switch"}
	// AttachHosts knows which switches are joined.
	dealt, err := topologies.AttachHosts(w.read, len(w.read.Switches), topologies.Parameters{}, nil)
	if err != nil {
		return g, w.nonsense(err)
	}
	for _, link := range dealt.Links[len(w.read.Links):] {
		if len(g.sites) > 0 && link.B == g.sites[0] {
			break
		}
		g.sites = append(g.sites, link.B)
	}
	return g, nil
}

// graph makes the hosts, switches and links; only delays between regions, and what a
// file says, are in the links yet.
func (w *wiring) graph(g ground, a arrangement) (*topologies.Topology, error) {
	s, none := w.spec, topologies.Parameters{}
	switch hosts := len(a.seats); s.Topology.Kind {
	case KindStar:
		return topologies.Star(hosts, none), nil
	case KindLinear:
		return s.linear(a)
	case KindTree:
		return s.tree(hosts)
	case KindMesh:
		if hosts > maxMeshHosts {
			return nil, &problem{path: "topology.kind", message: fmt.Sprintf("topology.kind is mesh, and %d hosts would have %d links", hosts, hosts*(hosts-1)/2),
				want: fmt.Sprintf("at most %d hosts in a mesh", maxMeshHosts)}
		}
		return topologies.Mesh(hosts, none)
	case KindWAN:
		w.matrix.At = nil
		for _, s := range a.seats {
			w.matrix.At = append(w.matrix.At, s.site)
		}
		return topologies.WAN(w.matrix)
	case KindCustom:
		return w.custom(g, a)
	case KindFile:
		return w.attach(w.read, g, a)
	}
	return nil, &problem{path: "topology.kind", value: printable(s.Topology.Kind), want: "one of " + list(Kinds)}
}

// linear puts the switches in a row: one for each role, the clients' first and then in
// the protocol's order, or one for each host. Hosts that several roles share stand
// with the first of them.
func (s *Spec) linear(a arrangement) (*topologies.Topology, error) {
	group := make([]int, len(a.seats))
	switch s.Topology.Linear.Switches {
	case linearByHost:
		for i := range group {
			group[i] = i
		}
	case linearByRole:
		for i, seat := range a.seats {
			group[i] = s.switchRank(seat.role)
		}
	default:
		return nil, &problem{path: "topology.linear.switches", value: printable(s.Topology.Linear.Switches), want: linearByRole + " or " + linearByHost}
	}
	t := &topologies.Topology{Kind: KindLinear}
	groups := slices.Compact(slices.Sorted(slices.Values(group)))
	for i := range groups {
		t.Switches = append(t.Switches, fmt.Sprintf("s%d", i+1))
	}
	for i, seat := range a.seats {
		at, _ := slices.BinarySearch(groups, group[i])
		t.Hosts = append(t.Hosts, topologies.Host{Name: seat.name, Address: topologies.Address(i)})
		t.Links = append(t.Links, linkBetween(seat.name, t.Switches[at]))
	}
	for i := 1; i < len(t.Switches); i++ {
		t.Links = append(t.Links, linkBetween(t.Switches[i-1], t.Switches[i]))
	}
	return t, nil
}

func linkBetween(a, b string) topologies.Link { return topologies.Link{Name: a + "-" + b, A: a, B: b} }

// tree has its hosts at the leaves.
func (s *Spec) tree(hosts int) (*topologies.Topology, error) {
	const mostFanOut, mostDepth = 1000, 20
	shape := s.Topology.Tree
	switch {
	case shape.FanOut < 2 || shape.FanOut > mostFanOut:
		return nil, &problem{path: "topology.tree.fan_out", value: strconv.Itoa(shape.FanOut), want: fmt.Sprintf("from 2 to %d branches", mostFanOut)}
	case shape.Depth < 0 || shape.Depth > mostDepth:
		return nil, &problem{path: "topology.tree.depth", value: strconv.Itoa(shape.Depth), want: fmt.Sprintf("from 0 (the least that suffices) to %d levels of switches", mostDepth)}
	}
	t, err := topologies.Tree(hosts, shape.FanOut, shape.Depth, topologies.Parameters{})
	if err != nil {
		return nil, &problem{path: "topology.tree.depth", at: []string{"topology.tree.depth", "topology.tree.fan_out", "topology.kind"},
			message: plainly(err), want: "more depth or fan-out, or topology.tree.depth: 0", err: err}
	}
	return t, nil
}

// custom makes the topology that the file spells out.
func (w *wiring) custom(g ground, a arrangement) (*topologies.Topology, error) {
	custom := w.spec.Topology.Custom
	var links []topologies.Link
	for i, link := range custom.Links {
		l, err := w.spec.layer(join("topology.custom.links", strconv.Itoa(i)), link.Link)
		if err != nil {
			return nil, err
		}
		w.own[i] = l
		links = append(links, topologies.Link{Name: link.name(), A: link.Between[0], B: link.Between[1]})
	}
	t := &topologies.Topology{Kind: KindCustom, Switches: custom.Switches, Links: links}
	for i, name := range custom.Hosts {
		t.Hosts = append(t.Hosts, topologies.Host{Name: name, Address: topologies.Address(i)})
	}
	return w.attach(t, g, a)
}

// attach gives a topology without hosts those of the seats, at their switches.
func (w *wiring) attach(t *topologies.Topology, g ground, a arrangement) (*topologies.Topology, error) {
	if g.hosts != nil {
		own := *t // a file's is shared
		own.Links = slices.Clone(t.Links)
		return &own, nil
	}
	var at []string
	for _, s := range a.seats {
		at = append(at, g.sites[s.site])
	}
	with, err := topologies.AttachHosts(t, len(a.seats), topologies.Parameters{}, at)
	if err != nil {
		return nil, w.nonsense(err)
	}
	return with, nil
}

// nonsense says where the topology stands that is refused as a whole.
func (w *wiring) nonsense(err error) error {
	at := []string{"topology.custom.links", "topology.custom"}
	if w.spec.Topology.Kind == KindFile {
		at = []string{"topology.file"}
	}
	return &problem{path: at[len(at)-1], at: at, message: at[len(at)-1] + ": " + plainly(err), err: err}
}

// parameters lays the layers over each other: the default of all links, what belongs
// to the kind, then topology.links.
func (w *wiring) parameters(t *topologies.Topology) error {
	s := w.spec
	all, err := s.layer(linkPath, s.Topology.Link)
	if err != nil {
		return err
	}
	between, err := s.layer("topology.wan.link", s.Topology.WAN.Link)
	if err != nil {
		return err
	}
	rules, err := s.rules()
	if err != nil {
		return err
	}
	var patterns []string
	for _, r := range rules {
		patterns = append(append(patterns, r.match...), r.from...)
	}
	if err := checkComparisons("topology.links", patterns, t); err != nil {
		return err
	}
	plain := all.over(topologies.Parameters{Delay: defaultDelay(s.Topology.Kind)})
	regions := regionLayer(all, between)
	for i := range t.Links {
		link := &t.Links[i]
		for _, p := range []*topologies.Parameters{&link.AToB, &link.BToA} {
			switch own, ok := w.own[i]; {
			case ok:
				*p = own.over(plain)
			case w.isBetweenRegions(i, t):
				delay := p.Delay
				*p = regions
				p.Delay = delay
			case w.read != nil && i < len(w.read.Links): // the file says what it says
				if p.JitterDistribution == "" {
					p.JitterDistribution = plain.JitterDistribution
				}
			default:
				*p = plain
			}
		}
		for _, r := range rules {
			r.applyTo(link)
		}
		link.AToB, link.BToA = settled(link.AToB), settled(link.BToA)
	}
	for _, r := range rules {
		if err := r.unused(t); err != nil {
			return err
		}
	}
	return checkLinks(t, rules, func(link int) []string { return w.below(link, t) })
}

// regionLayer is what links between regions are like, apart from their delay.
func regionLayer(all, between layer) topologies.Parameters {
	all.link.Delay = nil
	return between.over(all.over(topologies.Parameters{}))
}

// isBetweenRegions tells the links between regions from those of hosts.
func (w *wiring) isBetweenRegions(link int, t *topologies.Topology) bool {
	return w.spec.Topology.Kind == KindWAN && link >= len(t.Hosts)
}

// below lists the layers below the rules of a link, the topmost first.
func (w *wiring) below(link int, t *topologies.Topology) []string {
	own, ok := w.own[link]
	switch {
	case ok:
		return []string{own.path, linkPath}
	case w.isBetweenRegions(link, t):
		return []string{"topology.wan.link", linkPath}
	}
	return []string{linkPath}
}
