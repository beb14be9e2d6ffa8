package draw

import (
	"fmt"
	"time"

	"quorumlab/topologies"
)

func ms(delay float64) topologies.Parameters {
	return topologies.Parameters{Delay: time.Duration(delay * float64(time.Millisecond))}
}

func withRate(p topologies.Parameters, bps int64) topologies.Parameters {
	p.RateBPS = bps
	return p
}

// made builds a topology by hand, so that the drawings don't depend on generators.
type made struct{ *topologies.Topology }

func begin(kind string) made {
	return made{&topologies.Topology{Kind: kind}}
}

func (m made) hosts(count int) made {
	for range count {
		i := len(m.Hosts)
		m.Topology.Hosts = append(m.Topology.Hosts, topologies.Host{Name: fmt.Sprintf("h%d", i+1), Address: topologies.Address(i)})
	}
	return m
}

func (m made) switches(names ...string) made {
	m.Topology.Switches = append(m.Topology.Switches, names...)
	return m
}

func (m made) link(a, b string, p topologies.Parameters) made { return m.asymmetric(a, b, p, p) }

func (m made) asymmetric(a, b string, there, back topologies.Parameters) made {
	m.Topology.Links = append(m.Topology.Links, topologies.Link{Name: a + "-" + b, A: a, B: b, AToB: there, BToA: back})
	return m
}

// roles names processes of hosts h1 and so on, in order.
func roles(names ...string) map[string][]Process {
	processes, counts := map[string][]Process{}, map[string]int{}
	for i, role := range names {
		counts[role]++
		host := fmt.Sprintf("h%d", i+1)
		processes[host] = append(processes[host], Process{Name: fmt.Sprintf("%s%d", role, counts[role]), Role: role})
	}
	return processes
}

func eight() map[string][]Process {
	return roles("replica", "replica", "leader", "leader", "acceptor", "acceptor", "acceptor", "client")
}

func starOf(count int, p topologies.Parameters) made {
	m := begin("star").hosts(count).switches("s1")
	for _, h := range m.Hosts {
		m = m.link(h.Name, "s1", p)
	}
	return m
}

func binaryTree(leaves int) made {
	m := begin("tree").switches("s1")
	level, next := []string{"s1"}, 2
	for len(level)*2 < leaves {
		var below []string
		for _, parent := range level {
			for range 2 {
				name := fmt.Sprintf("s%d", next)
				next++
				m = m.switches(name).link(name, parent, ms(20))
				below = append(below, name)
			}
		}
		level = below
	}
	for i := range leaves {
		m = m.hosts(1).link(fmt.Sprintf("h%d", i+1), level[i*len(level)/leaves], ms(20))
	}
	return m
}

func linear() made {
	m := begin("linear").hosts(8).switches("s1", "s2", "s3", "s4")
	p := withRate(ms(20), 1e9)
	for host, name := range []string{"s1", "s1", "s2", "s2", "s3", "s3", "s3", "s4"} {
		m = m.link(fmt.Sprintf("h%d", host+1), name, p)
	}
	return m.link("s1", "s2", p).link("s2", "s3", p).link("s3", "s4", p)
}

func longRow() made {
	m := begin("linear")
	for i := range 30 {
		name := fmt.Sprintf("s%d", i+1)
		m = m.hosts(1).switches(name).link(fmt.Sprintf("h%d", i+1), name, ms(1))
		if i > 0 {
			m = m.link(fmt.Sprintf("s%d", i), name, ms(5))
		}
	}
	return m
}

func mesh(count int) made {
	m := begin("mesh").hosts(count)
	for i := range count {
		for j := range i {
			m = m.link(fmt.Sprintf("h%d", j+1), fmt.Sprintf("h%d", i+1), withRate(ms(float64(5+(7*i+3*j)%20)), 1e8))
		}
	}
	return m
}

var regions = []string{"us-east-1", "us-west-2", "eu-west-1", "ap-northeast-1", "sa-east-1"}

func wan(hosts int, asymmetric bool) made {
	m := begin("wan").hosts(hosts).switches(regions...)
	for i := range hosts {
		m = m.link(fmt.Sprintf("h%d", i+1), regions[i%len(regions)], withRate(ms(0.25), 1e9))
	}
	for i := range regions {
		for j := range i {
			there := ms(float64(30 + (40*i+25*j)%90))
			back := there
			if asymmetric && (i+j)%3 == 0 {
				back.Delay += 7 * time.Millisecond
				back.Loss = 0.001
			}
			m = m.asymmetric(regions[j], regions[i], there, back)
		}
	}
	return m
}

// slowWAN has three regions whose links need many words.
func slowWAN() made {
	m := begin("wan").hosts(8).switches("europe", "america", "asia")
	for i := range 8 {
		m = m.link(fmt.Sprintf("h%d", i+1), m.Switches[i%3], withRate(ms(0.25), 1e9))
	}
	long := withRate(ms(42), 1e8)
	long.GilbertElliott = &topologies.GilbertElliott{GoodToBad: 0.005, BadToGood: 0.1, LossBad: 0.3}
	long.QueueFrames, long.Corrupt, long.Duplicate = 1000, 0.001, 0.002
	back := long
	back.Delay, back.Corrupt = 38*time.Millisecond, 0
	return m.asymmetric("europe", "america", long, back).asymmetric("europe", "asia", withRate(ms(80), 1e7), withRate(ms(90), 1e7)).
		link("america", "asia", topologies.Parameters{Down: true})
}

func ring(extra bool) made {
	m := begin("custom").hosts(8)
	for i := range 6 {
		m = m.switches(fmt.Sprintf("s%d", i+1))
	}
	for i := range 6 {
		m = m.link(fmt.Sprintf("s%d", i+1), fmt.Sprintf("s%d", (i+1)%6+1), ms(10))
	}
	if extra {
		m = m.asymmetric("s1", "s4", ms(5), ms(8))
	}
	for i := range 8 {
		m = m.link(fmt.Sprintf("h%d", i+1), fmt.Sprintf("s%d", i%6+1), ms(1))
	}
	return m
}

// backbone is an irregular graph of 12 cities, such as a GraphML file has.
func backbone() made {
	m := begin("file").switches("Seattle", "Sunnyvale", "Los Angeles", "Denver", "Kansas City", "Houston",
		"Chicago", "Indianapolis", "Atlanta", "Washington", "New York")
	for _, l := range []struct {
		a, b  string
		delay float64
	}{{"Seattle", "Sunnyvale", 6.2}, {"Seattle", "Denver", 8.8}, {"Sunnyvale", "Los Angeles", 2.7}, {"Sunnyvale", "Denver", 8.2},
		{"Los Angeles", "Houston", 11}, {"Denver", "Kansas City", 4.8}, {"Kansas City", "Houston", 5.9}, {"Kansas City", "Indianapolis", 4.4},
		{"Houston", "Atlanta", 7}, {"Chicago", "Indianapolis", 1.6}, {"Chicago", "New York", 6.3}, {"Indianapolis", "Atlanta", 3.9},
		{"Atlanta", "Washington", 4.8}, {"New York", "Washington", 1.8}} {
		m = m.link(l.a, l.b, withRate(ms(l.delay), 1e10))
	}
	for _, city := range []string{"Seattle", "Los Angeles", "Houston", "New York", "New York"} {
		m = m.hosts(1).link(fmt.Sprintf("h%d", len(m.Hosts)), city, ms(0.1))
	}
	return m
}

// pictures are those that golden files exist of.
func pictures() map[string]Picture {
	uneven := starOf(8, withRate(ms(20), 1e9))
	uneven.Links[2].AToB.Loss, uneven.Links[2].BToA.Loss = 0.001, 0.001
	uneven.Links[5].BToA = withRate(ms(40), 1e7)
	uneven.Links[5].BToA.QueueFrames = 100
	hundred := map[string][]Process{}
	for i := range 100 {
		role := []string{"server", "client"}[i%2]
		hundred[fmt.Sprintf("h%d", i+1)] = []Process{{Name: fmt.Sprintf("%s%d", role, i/2+1), Role: role}}
	}
	together := map[string][]Process{"h8": {{"client1", "client"}}}
	for i, host := range []string{"h1", "h2", "h3"} {
		for _, role := range []string{"replica", "leader", "acceptor"} {
			together[host] = append(together[host], Process{fmt.Sprintf("%s%d", role, i+1), role})
		}
	}
	return map[string]Picture{
		"star":        {Topology: starOf(8, withRate(ms(20), 1e9)).Topology, Processes: eight(), Title: "Star of 8 hosts"},
		"star-uneven": {Topology: uneven.Topology, Processes: eight()},
		"star-100":    {Topology: starOf(100, ms(20)).Topology, Processes: hundred},
		"together":    {Topology: starOf(8, ms(20)).Topology, Processes: together},
		"linear":      {Topology: linear().Topology, Processes: eight()},
		"linear-long": {Topology: longRow().Topology},
		"tree":        {Topology: binaryTree(8).Topology, Processes: eight()},
		"tree-100":    {Topology: binaryTree(100).Topology, Processes: hundred},
		"mesh":        {Topology: mesh(6).Topology, Processes: roles("server", "server", "server", "server", "server", "client")},
		"mesh-alike":  {Topology: begin("mesh").hosts(3).link("h1", "h2", ms(5)).link("h1", "h3", ms(5)).link("h2", "h3", ms(5)).Topology},
		"islands":     {Topology: begin("file").switches("a", "b", "c", "d").link("a", "b", ms(1)).link("c", "d", ms(2)).Topology},
		"wan-slow":    {Topology: slowWAN().Topology, Processes: eight()},
		"wan":         {Topology: wan(10, false).Topology, Processes: eight()},
		"wan-uneven":  {Topology: wan(5, true).Topology, Processes: roles("server", "server", "server", "server", "client")},
		"ring":        {Topology: ring(false).Topology, Processes: eight()},
		"cycles":      {Topology: ring(true).Topology, Processes: eight()},
		"backbone":    {Topology: backbone().Topology, Processes: roles("server", "server", "server", "client", "client")},
	}
}
