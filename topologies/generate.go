package topologies

import (
	"errors"
	"fmt"
)

// builder makes topologies whose nodes are numbered.
type builder struct{ t *Topology }

func newBuilder(kind string) builder { return builder{&Topology{Kind: kind}} }

// host adds the next of the hosts h1, h2 and so on.
func (b builder) host() string {
	name := fmt.Sprintf("h%d", len(b.t.Hosts)+1)
	b.hostNamed(name)
	return name
}

func (b builder) hostNamed(name string) {
	b.t.Hosts = append(b.t.Hosts, Host{Name: name, Address: Address(len(b.t.Hosts))})
}

// link joins two nodes, alike in both directions, by a link named after them.
func (b builder) link(x, y string, p Parameters) {
	b.t.Links = append(b.t.Links, Link{Name: x + "-" + y, A: x, B: y, AToB: p, BToA: p})
}

// checked is the topology, or why it makes no sense.
func (b builder) checked() (*Topology, error) {
	if err := b.t.Check(); err != nil {
		return nil, err
	}
	return b.t, nil
}

// checkHosts refuses numbers of hosts that can't be before anything is made.
func checkHosts(hosts int) error {
	if hosts < 1 || hosts > MaxNodes {
		return fmt.Errorf("topology: %d hosts: want 1 to %d", hosts, MaxNodes)
	}
	return nil
}

// Linear puts one switch per group, s1 to sn, in a row, and so many hosts as the group
// says at each: h1 and so on through the groups. All links are alike.
func Linear(groups []int, link Parameters) (*Topology, error) {
	hosts := 0
	for i, size := range groups {
		if size < 0 || size > MaxNodes {
			return nil, fmt.Errorf("topology: group %d of the linear topology has %d hosts: want 0 to %d", i+1, size, MaxNodes)
		}
		if hosts += size; hosts > MaxNodes {
			break
		}
	}
	if err := checkHosts(hosts); err != nil {
		return nil, err
	}
	b := newBuilder("linear")
	for i, size := range groups {
		name := fmt.Sprintf("s%d", i+1)
		b.t.Switches = append(b.t.Switches, name)
		for range size {
			b.link(b.host(), name, link)
		}
	}
	for i := 1; i < len(groups); i++ {
		b.link(b.t.Switches[i-1], b.t.Switches[i], link)
	}
	return b.checked()
}

// Tree makes a tree of switches in which each has up to fanOut others below it, and
// the lowest up to fanOut hosts: fanOut^depth hosts at most, as in Mininet's TreeTopo;
// depth 0 means the least that suffices. Hosts fill from the left, and switches that
// no host is below of are left out. The root is s1; the others are numbered level by
// level. All links are alike.
func Tree(hosts, fanOut, depth int, link Parameters) (*Topology, error) {
	if err := checkHosts(hosts); err != nil {
		return nil, err
	}
	const maxDepth = 64
	if fanOut < 2 || fanOut > MaxNodes {
		return nil, fmt.Errorf("topology: the tree's fan-out is %d: want 2 to %d", fanOut, MaxNodes)
	}
	if depth < 0 || depth > maxDepth {
		return nil, fmt.Errorf("topology: the tree's depth is %d: want 0 (the least that suffices) to %d", depth, maxDepth)
	}
	least, most := 1, fanOut // most is how many hosts a tree of the least depth holds
	for most < hosts && least != depth {
		least++
		most *= fanOut
	}
	if most < hosts {
		return nil, fmt.Errorf("topology: %d hosts: a tree of fan-out %d and depth %d has at most %d", hosts, fanOut, depth, most)
	}
	if depth == 0 {
		depth = least
	}
	return tree(hosts, fanOut, depth, link)
}

func tree(hosts, fanOut, depth int, link Parameters) (*Topology, error) {
	b := newBuilder("tree")
	// sizes has the number of switches of each level, the lowest first.
	sizes := []int{(hosts + fanOut - 1) / fanOut}
	for len(sizes) < depth {
		sizes = append(sizes, (sizes[len(sizes)-1]+fanOut-1)/fanOut)
	}
	var above []string
	for level := depth - 1; level >= 0; level-- {
		var here []string
		for i := range sizes[level] {
			name := fmt.Sprintf("s%d", len(b.t.Switches)+1)
			b.t.Switches = append(b.t.Switches, name)
			here = append(here, name)
			if above != nil {
				b.link(above[i/fanOut], name, link)
			}
		}
		above = here
	}
	for i := range hosts {
		b.link(b.host(), above[i/fanOut], link)
	}
	return b.checked()
}

// Mesh gives each pair of the hosts h1 to hn a link of its own, h1-h2 and so on.
func Mesh(n int, link Parameters) (*Topology, error) {
	if err := checkHosts(n); err != nil {
		return nil, err
	}
	if links := n * (n - 1) / 2; links > MaxLinks {
		return nil, fmt.Errorf("topology: a mesh of %d hosts has %d links: want at most %d", n, links, MaxLinks)
	}
	b := newBuilder("mesh")
	for range n {
		b.host()
	}
	for i := range n {
		for j := i + 1; j < n; j++ {
			b.link(b.t.Hosts[i].Name, b.t.Hosts[j].Name, link)
		}
	}
	return b.checked()
}

// Custom makes a topology of what is given. A link without a name gets the names of its
// ends, as in h1-s1.
func Custom(hosts, switches []string, links []Link) (*Topology, error) {
	b := newBuilder("custom")
	for _, name := range hosts {
		b.hostNamed(name)
	}
	b.t.Switches = append(b.t.Switches, switches...)
	b.t.Links = append(b.t.Links, links...)
	for i, link := range b.t.Links {
		if link.Name == "" {
			b.t.Links[i].Name = link.A + "-" + link.B
		}
	}
	return b.checked()
}

// AttachHosts gives a topology n more hosts, each on an access link to a switch, and
// leaves the given one alone. They are numbered on from the hosts that are there: h1
// to hn if there are none. They go to the switches that at names, from its first again
// after its last; if it names none, to the switches of the largest network that is
// joined, in their order.
func AttachHosts(t *Topology, n int, access Parameters, at []string) (*Topology, error) {
	if err := checkHosts(n); err != nil {
		return nil, err
	}
	if len(at) > n {
		return nil, fmt.Errorf("topology: %d switches to attach %d hosts to: want at most one switch a host", len(at), n)
	}
	if len(t.Links) > MaxLinks || len(t.Hosts)+len(t.Switches) > MaxNodes {
		return nil, t.Check()
	}
	if _, err := t.Graph(); err != nil {
		return nil, err
	}
	isSwitch := map[string]bool{}
	for _, name := range t.Switches {
		isSwitch[name] = true
	}
	for _, name := range at {
		if !isSwitch[name] {
			return nil, fmt.Errorf("topology: no switch %q to attach a host to", name)
		}
	}
	if len(at) == 0 {
		at = t.largestNetwork()
	}
	if len(at) == 0 {
		return nil, errors.New("topology: no switch to attach hosts to")
	}
	with := *t
	with.Hosts = append([]Host(nil), t.Hosts...)
	with.Links = append([]Link(nil), t.Links...)
	b := builder{&with}
	for i := range n {
		b.link(b.host(), at[i%len(at)], access)
	}
	return b.checked()
}

// largestNetwork are the switches of the largest component, the first of equals.
func (t *Topology) largestNetwork() []string {
	components := t.reach().switches
	sizes := map[int]int{}
	largest := -1
	for _, component := range components {
		sizes[component]++
	}
	for _, component := range components { // in order, so that the first of equals wins
		if largest < 0 || sizes[component] > sizes[largest] {
			largest = component
		}
	}
	var names []string
	for i, component := range components {
		if component == largest {
			names = append(names, t.Switches[i])
		}
	}
	return names
}
