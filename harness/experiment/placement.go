package experiment

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"quorumlab/node/consensus"
)

// ground is what a topology offers processes to be placed on.
type ground struct {
	// hosts are those that there are; nil if they are made as needed: h1, h2 and so on.
	hosts []string
	// sites are the regions or switches at which hosts that are made stand, site the
	// word for one; nil if the kind of topology decides that.
	sites []string
	site  string
	// others are names that are neither hosts nor sites, such as switches.
	others []string
}

// seat is a host of the network, with what decides where it stands.
type seat struct {
	name string
	// site indexes ground.sites; -1 if there are none.
	site int
	// role is that of the first process on it; empty if there is none.
	role string
}

// arrangement says which process runs where.
type arrangement struct {
	seats []seat
	// of has for each process, in their order, the index of its seat.
	of []int
}

// unplaced is a site or a number of a seat that isn't decided yet.
const unplaced = -1

// target is where the experiment says that a process shall run: on a host, at a site,
// or neither.
type target struct {
	host string
	site int
	// index is the process's among those of its role.
	index int
	role  string
}

// arrange places all processes.
func (s *Spec) arrange(g ground) (arrangement, error) {
	targets, err := s.targets(g)
	if err != nil {
		return arrangement{}, err
	}
	if err := s.Topology.Placement.checkRule(g); err != nil {
		return arrangement{}, err
	}
	p := placer{ground: g, rule: s.Topology.Placement.By, number: map[string]int{}, named: map[string]bool{}, shared: map[int]int{}}
	for _, t := range targets {
		p.named[t.host] = true
	}
	for _, name := range g.hosts {
		p.add(seat{name: name, site: unplaced})
	}
	for _, t := range targets {
		p.place(t)
	}
	if g.hosts == nil {
		return p.inOrder(targets)
	}
	if missing := p.missing; missing > 0 {
		return arrangement{}, &problem{path: "topology.placement", at: []string{"topology.placement", "topology.kind"},
			message: fmt.Sprintf("the topology has %s, and the processes need %d", count(len(g.hosts), "host"), len(g.hosts)+missing-p.idle()),
			want:    "as many hosts, or processes that share them: placement together, or hosts for them in placement.at"}
	}
	return p.arrangement, nil
}

// checkRule checks the rule that processes follow which placement.at doesn't name.
func (p PlacementRule) checkRule(g ground) error {
	switch {
	case p.By == PlaceEach, p.By == PlaceTogether, p.By == PlaceRegion && g.sites != nil:
		return nil
	case p.By == PlaceRegion:
		return &problem{path: "topology.placement.by", at: []string{"topology.placement.by", "topology.placement", "topology.kind"},
			message: "topology.placement is region, and the topology has no regions", want: "each or together, or topology.kind: wan"}
	}
	return &problem{path: "topology.placement.by", at: []string{"topology.placement.by", "topology.placement"}, value: p.By, want: "each, together or region"}
}

// targets says for each process what placement.at says about it.
func (s *Spec) targets(g ground) ([]target, error) {
	members := s.members()
	if err := s.checkPlacementKeys(members); err != nil {
		return nil, err
	}
	targets := make([]target, len(members))
	next := map[string]int{}
	for i, member := range members {
		role := member.Roles[0]
		t := target{site: unplaced, index: next[role], role: role}
		next[role]++
		key := member.Name
		places, ok := s.Topology.Placement.At[key]
		if !ok {
			key = plural(role)
			places, ok = s.Topology.Placement.At[key]
		}
		if ok {
			at := t.index % len(places)
			if err := t.read(g, places[at], len(members), join("topology.placement.at", key), at); err != nil {
				return nil, err
			}
		}
		targets[i] = t
	}
	return targets, nil
}

// checkPlacementKeys refuses keys that are neither roles nor processes, and those
// that name no place.
func (s *Spec) checkPlacementKeys(members []consensus.Member) error {
	const at = "topology.placement.at"
	if len(s.Topology.Placement.At) == 0 {
		return nil
	}
	var roles, names []string
	for _, role := range s.protocol().Roles {
		roles = append(roles, plural(role.Name))
	}
	roles = append(roles, plural(RoleClient))
	for _, member := range members {
		names = append(names, member.Name)
	}
	for _, key := range slices.Sorted(maps.Keys(s.Topology.Placement.At)) {
		path := join(at, key)
		if !slices.Contains(roles, key) && !slices.Contains(names, key) {
			want := "one of " + strings.Join(roles, ", ") + ", or a process such as " + names[0]
			if slices.Contains(roles, plural(key)) {
				want = "it in the plural, " + plural(key)
			} else if meant := nearest(key, slices.Concat(roles, names[:min(len(names), 1000)])); meant != "" {
				want = meant
			}
			return &problem{path: path, message: "unknown role or process " + printable(path), want: want}
		}
		if len(s.Topology.Placement.At[key]) == 0 {
			return &problem{path: path, value: "an empty list", want: "at least one place"}
		}
	}
	return nil
}

// read finds what a place of placement.at is.
func (t *target) read(g ground, place string, processes int, path string, index int) error {
	if site := slices.Index(g.sites, place); site >= 0 {
		t.site = site
		return nil
	}
	if slices.Contains(g.hosts, place) || g.hosts == nil && hostNumber(place, processes) > 0 {
		t.host = place
		return nil
	}
	var wants []string
	if g.sites != nil {
		wants = append(wants, "a "+g.site+", one of "+list(g.sites))
	}
	if g.hosts != nil {
		wants = append(wants, "a host, one of "+list(g.hosts))
	} else {
		wants = append(wants, fmt.Sprintf("a host from h1 to h%d", processes))
	}
	p := &problem{path: path, at: []string{join(path, strconv.Itoa(index)), path}, value: printable(place), want: strings.Join(wants, ", or ")}
	if slices.Contains(g.others, place) {
		p.message = fmt.Sprintf("%s is %s, which is a switch", path, printable(place))
	}
	return p
}

// hostNumber is the number in a name such as h3; 0 if it isn't such a name, or above
// most.
func hostNumber(name string, most int) int {
	digits, ok := strings.CutPrefix(name, "h")
	number, err := strconv.Atoi(digits)
	if !ok || err != nil || number < 1 || number > most || name != hostName(number) {
		return 0
	}
	return number
}

func hostName(number int) string { return "h" + strconv.Itoa(number) }

// placer gives processes their seats, one after the other.
type placer struct {
	ground
	arrangement
	rule string
	// number has the seats' numbers by name; named are the hosts that placement.at
	// names: no other process goes there.
	number map[string]int
	named  map[string]bool
	// shared are the seats of processes that run together, by their indexes.
	shared map[int]int
	// next is where the search for a free host goes on; missing counts those that
	// weren't found.
	next, missing int
}

func (p *placer) add(s seat) int {
	p.number[s.name] = len(p.seats)
	p.seats = append(p.seats, s)
	return len(p.seats) - 1
}

// place gives the next process its seat.
func (p *placer) place(t target) {
	together := p.rule == PlaceTogether && t.role != RoleClient && t.host == "" && t.site == unplaced
	number, known := 0, false
	switch {
	case t.host != "":
		number, known = p.number[t.host]
		if !known {
			number = p.add(seat{name: t.host, site: unplaced})
		}
	case together:
		if number, known = p.shared[t.index]; !known {
			number = p.free()
			p.shared[t.index] = number
		}
	default:
		number = p.free()
	}
	p.of = append(p.of, number)
	if number == unplaced {
		return
	}
	s := &p.seats[number]
	if s.role != "" {
		return
	}
	s.role, s.site = t.role, t.site
	if s.site == unplaced && p.sites != nil {
		s.site = t.index % len(p.sites)
		if p.rule != PlaceRegion {
			s.site = unplaced // inOrder knows the host's number
		}
	}
}

// free finds the next host that nobody is on and that placement.at doesn't name.
func (p *placer) free() int {
	for {
		p.next++
		name := hostName(p.next)
		if p.hosts != nil {
			if p.next > len(p.hosts) {
				p.missing++
				return unplaced
			}
			name = p.hosts[p.next-1]
		}
		if p.named[name] {
			continue
		}
		if number, exists := p.number[name]; exists {
			return number
		}
		return p.add(seat{name: name, site: unplaced})
	}
}

// idle counts the hosts that nobody is on.
func (p *placer) idle() int {
	idle := 0
	for _, s := range p.seats {
		if s.role == "" {
			idle++
		}
	}
	return idle
}

// inOrder sorts the seats that were made by their hosts' numbers, of which none may
// be left out, and gives them their sites.
func (p *placer) inOrder(targets []target) (arrangement, error) {
	made := arrangement{seats: make([]seat, len(p.seats)), of: make([]int, len(p.of))}
	for i, number := range p.of {
		at := hostNumber(p.seats[number].name, len(targets))
		if at > len(p.seats) {
			return made, p.leftOut(p.seats[number].name)
		}
		s := p.seats[number]
		if s.site == unplaced && p.sites != nil {
			s.site = (at - 1) % len(p.sites)
		}
		made.seats[at-1], made.of[i] = s, at-1
	}
	return made, nil
}

func (p *placer) leftOut(name string) error {
	return &problem{path: "topology.placement.at", at: []string{"topology.placement.at"},
		message: fmt.Sprintf("topology.placement.at names the host %s, and the processes need %d", name, len(p.seats)),
		want:    fmt.Sprintf("h1 to h%d, none left out", len(p.seats))}
}

// list joins names for an error, not at great length.
func list(names []string) string {
	const most = 12
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// count puts a noun after a number.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// switchRank is where a role's switch stands in a row: the clients' first, then those
// of the protocol's roles in their order.
func (s *Spec) switchRank(role string) int {
	for i, r := range s.protocol().Roles {
		if r.Name == role {
			return i + 1
		}
	}
	return 0
}
