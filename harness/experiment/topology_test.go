package experiment

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"quorumlab/topologies"
)

// spec reads an experiment of one point.
func spec(t *testing.T, text string, set ...string) *Spec {
	t.Helper()
	return parse(t, "version: 1\n"+text, set...).Points[0].Spec
}

// hops lists the links on the way between two processes.
func hops(t *testing.T, s *Spec, from, to string) []string {
	t.Helper()
	network := s.Network()
	graph, err := network.Graph()
	if err != nil {
		t.Fatal(err)
	}
	node := map[string]int{}
	for _, placement := range s.Deployment() {
		node[placement.Name], _ = graph.Node(placement.Host)
	}
	var names []string
	for _, hop := range graph.From(node[from])[node[to]] {
		names = append(names, network.Links[hop.Link].Name)
	}
	return names
}

// The dissertation's figure 4.2 b: "every pair of hosts that need to communicate is 3
// hops away in the linear topology" (section 4.1.4).
func TestThoseThatTalkAreThreeHopsApartInARowWithASwitchForEachRole(t *testing.T) {
	s := spec(t, "topology: {kind: linear}\n")
	for _, c := range []struct {
		from, to string
		want     string
	}{
		{"client1", "replica1", "h8-s1 s1-s2 h1-s2"}, {"replica2", "leader1", "h2-s2 s2-s3 h3-s3"},
		{"leader2", "acceptor3", "h4-s3 s3-s4 h7-s4"}, {"acceptor1", "leader1", "h5-s4 s3-s4 h3-s3"},
		{"replica1", "replica2", "h1-s2 h2-s2"}, {"client1", "acceptor1", "h8-s1 s1-s2 s2-s3 s3-s4 h5-s4"},
	} {
		if got := strings.Join(hops(t, s, c.from, c.to), " "); got != c.want {
			t.Errorf("from %s to %s: %s, want %s", c.from, c.to, got, c.want)
		}
	}
}

func TestARowWithASwitchForEachHostFollowsTheHosts(t *testing.T) {
	s := spec(t, "topology: {kind: linear, linear: {switches: host}}\n")
	if got := strings.Join(hops(t, s, "replica1", "leader1"), " "); got != "h1-s1 s1-s2 s2-s3 h3-s3" {
		t.Errorf("from replica1 to leader1: %s", got)
	}
	if n := len(s.Network().Switches); n != 8 {
		t.Errorf("%d switches for 8 hosts", n)
	}
}

// Hosts that roles share stand with the first of these; a role without a host of its
// own has no switch.
func TestARowHasNoSwitchForARoleThatSharesItsHosts(t *testing.T) {
	s := spec(t, "topology: {kind: linear, placement: together}\n")
	network := s.Network()
	if diff := cmp.Diff([]string{"s1", "s2", "s3"}, network.Switches); diff != "" {
		t.Errorf("switches of clients, replicas with the others, and the third acceptor: %s", diff)
	}
	if got := strings.Join(hops(t, s, "client1", "acceptor3"), " "); got != "h4-s1 s1-s2 s2-s3 h3-s3" {
		t.Errorf("from client1 to acceptor3: %s", got)
	}
}

func TestTreesHaveTheirHostsAtTheLeavesInTheOrderOfRoles(t *testing.T) {
	s := spec(t, "topology: {kind: tree}\n")
	if got := strings.Join(hops(t, s, "replica1", "replica2"), " "); strings.Count(got, " ") != 1 {
		t.Errorf("from replica1 to replica2, its neighbour: %s", got)
	}
	if got := hops(t, s, "replica1", "client1"); len(got) != 6 {
		t.Errorf("from the first leaf to the last of 8: %v, want 6 links", got)
	}
	wide := spec(t, "topology: {kind: tree, tree: {fan_out: 8, depth: 1}}\n")
	if got := hops(t, wide, "replica1", "client1"); len(got) != 2 {
		t.Errorf("with a fan-out of 8: %v, want 2 links", got)
	}
}

func TestAMeshHasALinkForEachPair(t *testing.T) {
	s := spec(t, "topology: {kind: mesh}\n")
	if got := strings.Join(hops(t, s, "replica2", "acceptor3"), " "); got != "h2-h7" || len(s.Network().Links) != 28 {
		t.Errorf("from replica2 to acceptor3: %s of %d links", got, len(s.Network().Links))
	}
}

// way is the delay from one process to another.
func way(t *testing.T, s *Spec, from, to string) time.Duration {
	t.Helper()
	d := newDistances(s.Network())
	node := map[string]int{}
	for _, placement := range s.Deployment() {
		node[placement.Name], _ = d.graph.Node(placement.Host)
	}
	return d.between(node[from], node[to])
}

const threeRegions = `
topology:
  kind: wan
  wan:
    regions: [eu, us, asia]
    one_way: [[0, 40ms, 100ms], [38ms, 0, 60ms], [90ms, 70ms, 0]]
    link: {rate: 10mbit, loss: 1%}
  placement: region
`

func TestRegionsAreAsFarApartAsTheMatrixSays(t *testing.T) {
	s := spec(t, threeRegions)
	for _, c := range []struct {
		from, to string
		want     time.Duration
	}{
		{"replica1", "replica2", 40}, {"replica2", "replica1", 38}, {"replica1", "leader1", 0},
		{"acceptor3", "replica1", 90}, {"replica1", "acceptor3", 100}, {"client1", "leader2", 40},
	} {
		if got := way(t, s, c.from, c.to); got != c.want*time.Millisecond {
			t.Errorf("from %s to %s: %v, want %vms", c.from, c.to, got, int(c.want))
		}
	}
	for _, link := range s.Network().Links {
		between := !strings.HasPrefix(link.Name, "h")
		want := topologies.Parameters{Delay: link.AToB.Delay, RateBPS: 1e9, QueueFrames: 10_000_000}
		if between {
			want.RateBPS, want.Loss = 10e6, 0.01
		}
		if link.AToB != want {
			t.Errorf("%s is %+v, want %+v", link.Name, link.AToB, want)
		}
	}
	measured := spec(t, threeRegions, "topology.link.delay={table: ../testdata/inputs/rtts.txt}").Network().Links
	if near, far := measured[0].AToB, measured[len(measured)-1].AToB; near.JitterTable == nil || far.JitterTable != nil || far.Delay != 60*time.Millisecond {
		t.Errorf("measured delays of hosts' links: %+v, and of those between regions: %+v", near, far)
	}
	with := spec(t, threeRegions, "topology.link.delay=1ms")
	if got := way(t, with, "replica1", "replica2"); got != 42*time.Millisecond {
		t.Errorf("with 1 ms from each host to its region: %v, want 42ms", got)
	}
}

func TestHalfARoundTripIsADelay(t *testing.T) {
	s := spec(t, "topology:\n  kind: wan\n  wan: {regions: [a, b], rtt: [[0, 30ms], [30ms, 0]]}\n  placement: region\n")
	if got := way(t, s, "replica1", "replica2"); got != 15*time.Millisecond {
		t.Errorf("%v, want 15ms", got)
	}
	if notes := s.Network().Notes; len(notes) != 1 || !strings.Contains(notes[0], "half") {
		t.Errorf("notes are %q", notes)
	}
}

func TestShippedRegionsCanBeChosen(t *testing.T) {
	for _, name := range topologies.WANNames() {
		s := spec(t, "topology: {kind: wan, placement: region}\n", "topology.wan.data="+name)
		if len(s.Network().Switches) < 5 {
			t.Errorf("%s has the regions %v", name, s.Network().Switches)
		}
	}
	s := spec(t, "topology: {kind: wan, wan: {data: aws-2021, regions: [sa-east-1, eu-west-1]}, placement: region}\n")
	if got, want := way(t, s, "replica1", "replica2"), 90275*time.Microsecond; got != want {
		t.Errorf("from São Paulo to Ireland: %v, want half of 180.55 ms", got)
	}
}

const fourHosts = `
system: {protocol: testpaxos}
topology:
  kind: custom
  link: {delay: 5ms, rate: 1mbit, queue: 7}
  custom:
    hosts: [a, b, c, d]
    switches: [s, t, u]
    links:
      - {between: [a, s]}
      - {between: [b, t], delay: 1ms, loss: 2%}
      - {name: cable, between: [c, u], rate: 2mbit}
      - {between: [d, u]}
      - {between: [s, t]}
      - {between: [t, u]}
      - {between: [s, u], delay: 20ms}
`

func TestACustomTopologyIsAsSpelledOut(t *testing.T) {
	s := spec(t, fourHosts)
	want := map[string]topologies.Parameters{
		"a-s": {Delay: 5e6, RateBPS: 1e6, QueueFrames: 7}, "b-t": {Delay: 1e6, RateBPS: 1e6, QueueFrames: 7, Loss: 0.02},
		"cable": {Delay: 5e6, RateBPS: 2e6, QueueFrames: 7}, "d-u": {Delay: 5e6, RateBPS: 1e6, QueueFrames: 7},
		"s-t": {Delay: 5e6, RateBPS: 1e6, QueueFrames: 7}, "t-u": {Delay: 5e6, RateBPS: 1e6, QueueFrames: 7},
		"s-u": {Delay: 20e6, RateBPS: 1e6, QueueFrames: 7},
	}
	for _, link := range s.Network().Links {
		if link.AToB != want[link.Name] || link.BToA != want[link.Name] {
			t.Errorf("%s is %+v and %+v, want %+v", link.Name, link.AToB, link.BToA, want[link.Name])
		}
	}
	if got := strings.Join(hops(t, s, "server1", "server3"), " "); got != "a-s s-t t-u cable" {
		t.Errorf("the ring's other way is shorter, not %s", got)
	}
}

func TestFilesOfTopologies(t *testing.T) {
	s := spec(t, "system: {protocol: testpaxos, roles: {servers: 3}}\ntopology:\n  kind: file\n  file: ../testdata/inputs/hosts.graphml\n"+
		"  link: {delay: 9ms, rate: 1mbit}\n  placement: {at: {clients: [berlin], server3: [rome], server2: [rome]}}\n")
	if got, want := hosts(s), "server1:paris:7000 server2:rome:7000 server3:rome:7010 client1:berlin:7000"; got != want {
		t.Errorf("placed %s", got)
	}
	for from, want := range map[string]time.Duration{"server1": 14, "server3": 16} { // berlin's link says no delay
		if got := way(t, s, from, "client1"); got != want*time.Millisecond {
			t.Errorf("from %s to client1: %v, want %dms", from, got, want)
		}
	}
}

// hosts says where the processes of a spec are: name:host:port, each.
func hosts(s *Spec) string {
	var all []string
	for _, p := range s.Deployment() {
		_, port, _ := strings.Cut(p.Address, ":")
		all = append(all, p.Name+":"+p.Host+":"+port)
	}
	return strings.Join(all, " ")
}

func TestFilesWithoutHostsGetThemAtTheirSwitches(t *testing.T) {
	text := "system: {protocol: testpaxos}\ntopology:\n  kind: file\n  file: ../testdata/inputs/switches.gml\n  link: {delay: 1ms}\n"
	at := func(s *Spec) string {
		var names []string
		for _, link := range s.Network().Links {
			if strings.HasPrefix(link.Name, "h") {
				names = append(names, link.Name)
			}
		}
		return strings.Join(names, " ")
	}
	if got := at(spec(t, text)); got != "h1-north h2-east h3-south h4-north" {
		t.Errorf("hosts are at %s, want each switch in turn but the island", got)
	}
	if got := at(spec(t, text, "topology.placement={at: {clients: south}}")); got != "h1-north h2-east h3-south h4-south" {
		t.Errorf("hosts are at %s, want the client's in the south", got)
	}
	s := spec(t, text, "topology.links=[{match: north-east, delay: 30ms}]")
	if got := way(t, s, "server1", "server3"); got != (1+30+4+1)*time.Millisecond {
		t.Errorf("from server1 to server3: %v, want 36ms", got)
	}
}

func TestPlacement(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"each", "topology: {placement: each}\n", "replica1:h1:7000 replica2:h2:7000 leader1:h3:7000 leader2:h4:7000 acceptor1:h5:7000 acceptor2:h6:7000 acceptor3:h7:7000 client1:h8:7000"},
		// As in the set-up of Flexible Paxos: a leader, a replica and an acceptor share a host.
		{"together", "topology: {placement: together}\nworkload: {clients: 2}\n", "replica1:h1:7000 replica2:h2:7000 leader1:h1:7010 leader2:h2:7010 acceptor1:h1:7020 acceptor2:h2:7020 acceptor3:h3:7000 client1:h4:7000 client2:h5:7000"},
		{"by name", "topology: {placement: {at: {replica1: h2, leader1: h2}}}\n", "replica1:h2:7000 replica2:h1:7000 leader1:h2:7010 leader2:h3:7000 acceptor1:h4:7000 acceptor2:h5:7000 acceptor3:h6:7000 client1:h7:7000"},
		{"by role", "topology: {placement: {at: {replicas: [h1, h2], leaders: [h1, h2], acceptors: [h1, h2, h3], clients: [h4]}}}\n", "replica1:h1:7000 replica2:h2:7000 leader1:h1:7010 leader2:h2:7010 acceptor1:h1:7020 acceptor2:h2:7020 acceptor3:h3:7000 client1:h4:7000"},
		{"a name outranks a role", "topology: {placement: {at: {acceptors: [h1, h2], acceptor2: [h3], client1: h1}}}\n", "replica1:h2:7000 replica2:h4:7000 leader1:h5:7000 leader2:h6:7000 acceptor1:h1:7000 acceptor2:h3:7000 acceptor3:h1:7010 client1:h1:7020"},
		{"together but for some", "topology: {placement: {by: together, at: {acceptor1: [h4]}}}\n", "replica1:h1:7000 replica2:h2:7000 leader1:h1:7010 leader2:h2:7010 acceptor1:h4:7000 acceptor2:h2:7020 acceptor3:h3:7000 client1:h5:7000"},
		{"spares", "system: {spares: {acceptors: 1}}\ntopology: {placement: together}\n", "replica1:h1:7000 replica2:h2:7000 leader1:h1:7010 leader2:h2:7010 acceptor1:h1:7020 acceptor2:h2:7020 acceptor3:h3:7000 acceptor4:h4:7000 client1:h5:7000"},
		{"on a topology's hosts", strings.Replace(fourHosts, "topology:", "topology:\n  placement: {at: {server2: d, clients: d}}", 1), "server1:a:7000 server2:d:7000 server3:b:7000 client1:d:7010"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := spec(t, c.text)
			if got := hosts(s); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			network := s.Network()
			seen := map[string]bool{}
			for _, p := range s.Deployment() {
				i := slices.IndexFunc(network.Hosts, func(h topologies.Host) bool { return h.Name == p.Host })
				if address, _, _ := strings.Cut(p.Address, ":"); i < 0 || address != network.Hosts[i].Address.String() || seen[p.Address] {
					t.Errorf("%s has the address %s, its host is %v", p.Name, p.Address, network.Hosts[max(i, 0)])
				}
				seen[p.Address] = true
			}
		})
	}
}

func TestPlacementInRegions(t *testing.T) {
	regions := func(s *Spec) string {
		var all []string
		network := s.Network()
		for _, p := range s.Deployment() {
			for _, link := range network.Links {
				if link.A == p.Host {
					all = append(all, p.Name+":"+p.Host+":"+link.B)
				}
			}
		}
		return strings.Join(all, " ")
	}
	for placement, want := range map[string]string{
		"region":   "replica1:h1:eu replica2:h2:us leader1:h3:eu leader2:h4:us acceptor1:h5:eu acceptor2:h6:us acceptor3:h7:asia client1:h8:eu client2:h9:us",
		"each":     "replica1:h1:eu replica2:h2:us leader1:h3:asia leader2:h4:eu acceptor1:h5:us acceptor2:h6:asia acceptor3:h7:eu client1:h8:us client2:h9:asia",
		"together": "replica1:h1:eu replica2:h2:us leader1:h1:eu leader2:h2:us acceptor1:h1:eu acceptor2:h2:us acceptor3:h3:asia client1:h4:eu client2:h5:us",
		"{by: region, at: {clients: asia, leaders: [us, asia]}}": "replica1:h1:eu replica2:h2:us leader1:h3:us leader2:h4:asia acceptor1:h5:eu acceptor2:h6:us acceptor3:h7:asia client1:h8:asia client2:h9:asia",
		"{by: together, at: {leader1: asia, client1: h1}}":       "replica1:h2:us replica2:h3:asia leader1:h4:asia leader2:h3:asia acceptor1:h2:us acceptor2:h3:asia acceptor3:h5:us client1:h1:eu client2:h6:asia",
	} {
		if got := regions(spec(t, threeRegions+"workload: {clients: 2}\n", "topology.placement="+placement)); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", placement, got, want)
		}
	}
}

func TestTheKindAndAllBelowItCanBeSwept(t *testing.T) {
	for _, c := range []struct {
		text, sweep string
		got         func(*Spec) any
		want        []any
	}{
		{"", "topology.kind: [star, linear, tree, mesh]", func(s *Spec) any { return s.Network().Kind }, []any{"star", "linear", "tree", "mesh"}},
		{"", "topology.link.delay: [1ms, {table: ../testdata/inputs/rtts.txt}]", func(s *Spec) any { return s.Network().Links[0].AToB.MeanDelay() }, []any{time.Millisecond, 23250 * time.Microsecond}},
		{"topology: {kind: linear}", "topology.linear.switches: [role, host]", func(s *Spec) any { return len(s.Network().Switches) }, []any{4, 8}},
		{"topology: {kind: tree}", "topology.tree.depth: [3, 4]", func(s *Spec) any { return len(hops(t, s, "replica1", "client1")) }, []any{6, 6}},
		{"topology: {kind: wan, placement: region}", "topology.wan.data: [gcp, aws-2021]", func(s *Spec) any { return len(s.Network().Switches) }, []any{10, 5}},
		{"", "topology.placement.by: [each, together]", func(s *Spec) any { return len(s.Network().Hosts) }, []any{8, 4}},
		{"", "topology.placement: [each, {at: {clients: h1}}]", func(s *Spec) any { return len(s.Network().Hosts) }, []any{8, 8}},
		{"topology: {links: [{match: h1-s1, loss: 1%}]}", "topology.links.0.loss: [0%, 3%]", func(s *Spec) any { return s.Network().Links[0].BToA.Loss }, []any{0.0, 0.03}},
		{"topology: {links: [{match: h1-s1, loss: 1%}]}", "topology.links.0.match: [h1-s1, [h2-s1, h3-s1]]", func(s *Spec) any { return s.Network().Links[2].BToA.Loss }, []any{0.0, 0.01}},
		{"", "topology.link.gilbert_elliott: [null, {good_to_bad: 10%, bad_to_good: 30%}]", func(s *Spec) any { return s.Network().Links[0].AToB.MeanLoss() }, []any{0.0, 0.25}},
		{"topology: {link: {loss_correlation: 25%}}", "topology.link.loss: [0%, 1%]", func(s *Spec) any { return s.Network().Links[0].AToB.LossCorrelation }, []any{0.0, 0.25}},
		{"", "capture: [h1-s1, [h1-s1, h2-s1]]", func(s *Spec) any { return len(s.Captured()) }, []any{1, 2}},
	} {
		t.Run(c.sweep, func(t *testing.T) {
			var got []any
			for _, point := range parse(t, "version: 1\n"+c.text+"\nsweep: {"+c.sweep+"}\n").Points {
				got = append(got, c.got(point.Spec))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestFieldsBelowTopologyCanBeSet(t *testing.T) {
	s := spec(t, "topology: {links: [{match: h1-s1, loss: 1%}, {match: h2-s1, loss: 2%}]}\n",
		"topology.links.1.loss=5%", "topology.link.gilbert_elliott.good_to_bad=50%", "topology.link.gilbert_elliott.bad_to_good=50%", "topology.placement.at.clients=[h1]")
	links := s.Network().Links
	if links[0].AToB.Loss != 0.01 || links[1].AToB.Loss != 0.05 || links[2].AToB.MeanLoss() != 0.5 || s.Deployment()[7].Host != "h1" {
		t.Errorf("the links are %+v", links[:3])
	}
}

func TestCapturedLinksFollowTheTopology(t *testing.T) {
	s := spec(t, "capture: [\"h?-s2\", h8-s1]\ntopology: {kind: linear}\n")
	if diff := cmp.Diff([]string{"h1-s2", "h2-s2", "h8-s1"}, s.Captured()); diff != "" {
		t.Error(diff)
	}
	if got := spec(t, "").Captured(); got != nil {
		t.Errorf("without capture: %v", got)
	}
}

// The files that an experiment names are read once and kept.
func TestInputsAreThoseThatTheExperimentReads(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("traces/a.csv", "0,40\n1,60\n")
	write("b.txt", "10\n20\n")
	write("net.json", `{"nodes": ["n1", "n2"], "edges": [["n1", "n2"]]}`)
	write("spec.yaml", "version: 1\ntopology:\n  kind: file\n  file: net.json\n  link: {delay: {trace: traces/a.csv}}\n  links: [{match: h1-n1, delay: {table: b.txt}}, {match: h2-n2, delay: {table: b.txt}}]\n"+
		"sweep: {topology.links.0.rate: [1mbit, 2mbit]}\n")
	source, err := Load(filepath.Join(dir, "spec.yaml"), testOverrides())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, input := range source.Inputs {
		got = append(got, fmt.Sprintf("%s %q", input.Path, input.Data[:5]))
	}
	if diff := cmp.Diff([]string{`b.txt "10\n20"`, `net.json "{\"nod"`, `traces/a.csv "0,40\n"`}, got); diff != "" {
		t.Errorf("inputs: -want +got\n%s", diff)
	}
	links := source.Points[1].Spec.Network().Links // nothing is read again
	at := func(name string) topologies.Parameters {
		return links[slices.IndexFunc(links, func(l topologies.Link) bool { return l.Name == name })].AToB
	}
	if p := at("n1-n2"); p.Trace == nil || p.Delay != 20*time.Millisecond || p.Trace.Align != "start" || p.Trace != at("h3-n1").Trace {
		t.Errorf("the trace is %+v", p)
	}
	if p := at("h1-n1"); p.JitterTable == nil || p.Trace != nil || p.Delay != 5*time.Millisecond || p.RateBPS != 2e6 || p.JitterDistribution != "table" {
		t.Errorf("the table is %+v", p)
	}
}

// A large network is read, checked and predicted quickly.
func TestFiveThousandHostsTakeNoTime(t *testing.T) {
	for _, kind := range []string{"star", "tree"} {
		start := time.Now()
		source := parse(t, "version: 1\nengine: sim\nsystem: {roles: {acceptors: 4900}}\nworkload: {clients: 40}\n"+
			"sweep: {workload.rate: [1, 2, 3, 4, 5]}\n", "topology.kind="+kind, "topology.link.delay=1ms", "topology.links=[{match: h1*, loss: 1%}]")
		for _, point := range source.Points {
			point.Spec.Network()
			point.Spec.Deployment()
		}
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("%s: five points took %v", kind, took)
		} else {
			t.Logf("%s: %v", kind, took)
		}
	}
}

// What would take minutes to compare is refused at once.
func TestPatternsThatWouldTakeLongToCompareAreRefused(t *testing.T) {
	many := func(pattern string, count int) string {
		return strings.TrimSuffix(strings.Repeat(pattern+", ", count), ", ")
	}
	const mesh = "version: 1\nworkload: {clients: 493}\ntopology: {kind: mesh, link: {delay: 1ms}"
	for name, c := range map[string]struct{ text, says string }{
		"links":     {mesh + ", links: [{match: [" + many("'h?*1*-*'", 990) + "], loss: 1%}]}\n", "990 patterns, with which 124750 links are compared"},
		"capture":   {mesh + "}\ncapture: [" + many("'h?*1*-*'", 990) + "]\n", "capture has 990 patterns"},
		"captures":  {"version: 1\ncapture: [" + many("h1-s1", 1001) + "]\n", "capture has 1001 names and patterns"},
		"long":      {"version: 1\ntopology: {links: [{match: '" + strings.Repeat("?*", 200) + "', loss: 1%}]}\n", "a pattern of 400 bytes"},
		"long name": {"version: 1\ncapture: '" + strings.Repeat("?*", 200) + "'\n", "a pattern of 400 bytes"},
	} {
		if _, err := Parse("x.yaml", []byte(c.text), Overrides{}); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Names, of which each link has one, don't count.
	if err := checkComparisons("x", slices.Repeat([]string{"h1-h2"}, 1000), &topologies.Topology{Links: make([]topologies.Link, 124_750)}); err != nil {
		t.Error(err)
	}
}
