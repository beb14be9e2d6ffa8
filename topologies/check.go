package topologies

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// Bounds of what Check accepts: more than any engine takes, and little enough that
// nothing here is slow.
const (
	// MaxNodes bounds the hosts and switches together.
	MaxNodes = 20_000
	// MaxLinks bounds the links; a full mesh has n(n-1)/2.
	MaxLinks = 1_000_000
	// MaxNameBytes bounds the names of hosts and switches. A link's may be twice as
	// long, since "h1-s1" is made of two.
	MaxNameBytes = 64
)

// LinkError says which direction of which link is wrong.
type LinkError struct {
	Link, From, To string
	// Err is a *ParameterError.
	Err error
}

// Error names the link and the direction.
func (e *LinkError) Error() string {
	return fmt.Sprintf("topology: link %q, from %s to %s: %v", e.Link, e.From, e.To, e.Err)
}

// Unwrap gives what is wrong with the direction.
func (e *LinkError) Unwrap() error { return e.Err }

// Check tells why a topology makes no sense: names that are reserved, malformed or stand
// twice; links that join what doesn't exist, a node with itself, or two nodes that
// have a link; parameters that Parameters.Check refuses (a *LinkError); a host that another
// can't reach even with all links up; sizes beyond MaxNodes and MaxLinks.
func (t *Topology) Check() error {
	switch {
	case t.Routing != "" && t.Routing != RoutingDelay && t.Routing != RoutingHops:
		return fmt.Errorf("topology: routing is %q: want %s or %s", t.Routing, RoutingDelay, RoutingHops)
	case len(t.Hosts)+len(t.Switches) > MaxNodes:
		return fmt.Errorf("topology: %d hosts and switches: want at most %d", len(t.Hosts)+len(t.Switches), MaxNodes)
	case len(t.Links) > MaxLinks:
		return fmt.Errorf("topology: %d links: want at most %d", len(t.Links), MaxLinks)
	}
	if err := t.checkNodes(); err != nil {
		return err
	}
	if err := t.checkLinks(); err != nil {
		return err
	}
	return t.checkReach()
}

func (t *Topology) checkNodes() error {
	addresses := make(map[any]string, len(t.Hosts))
	for _, host := range t.Hosts {
		name := host.Name
		if host.Monitor {
			name = strings.TrimPrefix(name, MonitorPrefix)
		}
		if err := CheckName("host", name); err != nil {
			return err
		}
		if !Prefix.Contains(host.Address) {
			return fmt.Errorf("topology: host %q has the address %v: want one of %v", host.Name, host.Address, Prefix)
		}
		if other, taken := addresses[host.Address]; taken {
			return fmt.Errorf("topology: hosts %q and %q have the same address %v", other, host.Name, host.Address)
		}
		addresses[host.Address] = host.Name
	}
	for _, name := range t.Switches {
		if err := CheckName("switch", name); err != nil {
			return err
		}
	}
	return nil
}

// CheckName tells why a host, switch, region or link can't have a name: names are of
// letters, digits, "-", "_" and ".", begin with a letter or digit, and have at most
// MaxNameBytes bytes, so that they can be shown, matched by patterns and made into
// names of files. What is "host", "switch", "region" or "link".
func CheckName(what, name string) error {
	limit := MaxNameBytes
	if what == "link" {
		limit = 2*MaxNameBytes + 1
	}
	switch {
	case name == "":
		return fmt.Errorf("topology: a %s has an empty name", what)
	case len(name) > limit:
		return fmt.Errorf("topology: the name of the %s %.20q... has %d bytes: want at most %d", what, name, len(name), limit)
	case strings.HasPrefix(name, MonitorPrefix):
		return fmt.Errorf("topology: the name of the %s %q is reserved: names that begin with %q are those of monitors", what, name, MonitorPrefix)
	}
	for i, r := range name {
		if !validRune(r, i == 0) {
			return fmt.Errorf(`topology: the name of the %s %q has %q in it: want letters, digits, "-", "_" and ".", a letter or digit first`, what, name, r)
		}
	}
	return nil
}

func validRune(r rune, first bool) bool {
	if r == unicode.ReplacementChar {
		return false // also what isn't UTF-8
	}
	return unicode.IsLetter(r) || unicode.IsDigit(r) || !first && (strings.ContainsRune("-_.", r) || unicode.IsMark(r))
}

func (t *Topology) checkLinks() error {
	g, err := t.Graph()
	if err != nil {
		return err
	}
	names := make(map[string]bool, len(t.Links))
	between := make(map[[2]int]string, len(t.Links))
	checked := map[Parameters]bool{}
	for i, link := range t.Links {
		a, b := g.index[link.A], g.index[link.B]
		monitor := a < len(t.Hosts) && t.Hosts[a].Monitor && link.Name == link.A
		if err := CheckName("link", link.Name); err != nil && !monitor {
			return err
		}
		if names[link.Name] {
			return fmt.Errorf("topology: two links have the name %q", link.Name)
		}
		names[link.Name] = true
		pair := [2]int{min(a, b), max(a, b)}
		if other, taken := between[pair]; taken {
			return fmt.Errorf("topology: links %q and %q both join %s and %s: want one link between two nodes", other, link.Name, link.A, link.B)
		}
		between[pair] = link.Name
		for _, hop := range []Hop{{Link: i}, {Link: i, Reverse: true}} {
			if err := t.checkDirection(hop, checked); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkDirection checks parameters once, however many links have them.
func (t *Topology) checkDirection(hop Hop, checked map[Parameters]bool) error {
	p := t.Parameters(hop)
	if checked[p] {
		return nil
	}
	err := p.Check()
	if err == nil {
		checked[p] = true
		return nil
	}
	link := t.Links[hop.Link]
	from, to := link.A, link.B
	if hop.Reverse {
		from, to = to, from
	}
	return &LinkError{Link: link.Name, From: from, To: to, Err: err}
}

// errNoWay is why one host can't reach another.
var errNoWay = errors.New("no links lead from one to the other (hosts don't forward)")

// checkReach finds a host that can't reach another one. Directions that are down count
// as if they were up.
func (t *Topology) checkReach() error {
	reach := t.reach()
	for _, whole := range reach.members {
		if whole.count() == len(t.Hosts) {
			return nil // every host is on one network of switches
		}
	}
	for i, host := range t.Hosts {
		seen := newBits(len(t.Hosts))
		seen.set(i)
		for _, other := range reach.neighbours[i] {
			seen.set(other)
		}
		for _, component := range reach.components[i] {
			seen.add(reach.members[component])
		}
		if missing, ok := seen.firstMissing(len(t.Hosts)); ok {
			return fmt.Errorf("topology: host %q can't reach host %q: %w", host.Name, t.Hosts[missing].Name, errNoWay)
		}
	}
	return nil
}

// reach says which hosts are on which networks of switches.
type reach struct {
	// switches has each switch's component: the switches that it is joined with.
	switches []int
	// members are the hosts of each component that has any.
	members map[int]bits
	// components and neighbours are, for each host, the components and hosts that it
	// has links to.
	components, neighbours [][]int
}

// reach is for topologies whose links join what exists.
func (t *Topology) reach() reach {
	index := make(map[string]int, len(t.Hosts)+len(t.Switches))
	for i, host := range t.Hosts {
		index[host.Name] = i
	}
	for i, name := range t.Switches {
		index[name] = len(t.Hosts) + i
	}
	joined := newSets(len(t.Switches))
	for _, link := range t.Links {
		if a, b := index[link.A]-len(t.Hosts), index[link.B]-len(t.Hosts); a >= 0 && b >= 0 {
			joined.join(a, b)
		}
	}
	r := reach{members: map[int]bits{}, components: make([][]int, len(t.Hosts)), neighbours: make([][]int, len(t.Hosts))}
	for i := range t.Switches {
		r.switches = append(r.switches, joined.find(i))
	}
	for _, link := range t.Links {
		r.add(index[link.A], index[link.B], len(t.Hosts))
		r.add(index[link.B], index[link.A], len(t.Hosts))
	}
	return r
}

// add notes one direction of a link.
func (r *reach) add(from, to, hosts int) {
	switch {
	case from >= hosts:
	case to < hosts:
		r.neighbours[from] = append(r.neighbours[from], to)
	default:
		component := r.switches[to-hosts]
		r.components[from] = append(r.components[from], component)
		if r.members[component] == nil {
			r.members[component] = newBits(hosts)
		}
		r.members[component].set(from)
	}
}
