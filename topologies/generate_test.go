package topologies

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// summary writes a topology as its switches, then its links.
func summary(t *Topology) string {
	var links []string
	for _, link := range t.Links {
		links = append(links, link.Name)
	}
	return strings.Join(t.Switches, " ") + ": " + strings.Join(links, " ")
}

func made(t testing.TB) func(*Topology, error) *Topology {
	return func(topology *Topology, err error) *Topology {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if err := topology.Check(); err != nil {
			t.Errorf("what was made doesn't pass its check: %v", err)
		}
		return topology
	}
}

func TestGeneratorsMakeWhatTheyDeclare(t *testing.T) {
	link := Parameters{Delay: 20 * ms, RateBPS: 1_000_000}
	for _, test := range []struct {
		topology *Topology
		want     string
	}{
		{made(t)(Linear([]int{1, 2, 1}, link)), "s1 s2 s3: h1-s1 h2-s2 h3-s2 h4-s3 s1-s2 s2-s3"},
		{made(t)(Linear([]int{1, 0, 1}, link)), "s1 s2 s3: h1-s1 h2-s3 s1-s2 s2-s3"},
		{made(t)(Tree(4, 2, 0, link)), "s1 s2 s3: s1-s2 s1-s3 h1-s2 h2-s2 h3-s3 h4-s3"},
		{made(t)(Tree(2, 2, 0, link)), "s1: h1-s1 h2-s1"},
		{made(t)(Tree(1, 2, 0, link)), "s1: h1-s1"},
		{made(t)(Tree(5, 2, 0, link)), "s1 s2 s3 s4 s5 s6: s1-s2 s1-s3 s2-s4 s2-s5 s3-s6 h1-s4 h2-s4 h3-s5 h4-s5 h5-s6"},
		{made(t)(Tree(2, 2, 3, link)), "s1 s2 s3: s1-s2 s2-s3 h1-s3 h2-s3"},
		{made(t)(Tree(4, 3, 0, link)), "s1 s2 s3: s1-s2 s1-s3 h1-s2 h2-s2 h3-s2 h4-s3"},
		{made(t)(Mesh(3, link)), ": h1-h2 h1-h3 h2-h3"},
		{made(t)(Mesh(1, link)), ": "},
	} {
		if got := summary(test.topology); got != test.want {
			t.Errorf("%s: %s, want %s", test.topology.Kind, got, test.want)
		}
		for _, l := range test.topology.Links {
			if l.AToB != link || l.BToA != link {
				t.Errorf("%s: the link %s isn't as declared", test.topology.Kind, l.Name)
			}
		}
	}
}

func TestATreeHasTheShapeOfMininetsTreeTopo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fanOut, depth := rapid.IntRange(2, 5).Draw(t, "fan-out"), rapid.IntRange(1, 4).Draw(t, "depth")
		most := 1
		for range depth {
			most *= fanOut
		}
		hosts := rapid.IntRange(1, most).Draw(t, "hosts")
		topology, err := Tree(hosts, fanOut, depth, Parameters{})
		if err != nil {
			t.Fatal(err)
		}
		degree := map[string]int{}
		for _, link := range topology.Links {
			degree[link.A]++
			degree[link.B]++
		}
		if len(topology.Links) != len(topology.Hosts)+len(topology.Switches)-1 {
			t.Errorf("%d links for %d hosts and %d switches: no tree", len(topology.Links), len(topology.Hosts), len(topology.Switches))
		}
		for _, name := range topology.Switches {
			up := 1
			if name == "s1" {
				up = 0
			}
			if down := degree[name] - up; down < 1 || down > fanOut {
				t.Errorf("%s has %d below it", name, down)
			}
		}
		for _, host := range topology.Hosts {
			if hops := len(routeTo(t, topology, "s1", host.Name)); hops != depth {
				t.Errorf("%s is %d levels below the root, want %d", host.Name, hops, depth)
			}
		}
		if _, err := Tree(most+1, fanOut, depth, Parameters{}); err == nil {
			t.Errorf("%d hosts fit into a tree of %d", most+1, most)
		}
	})
}

func routeTo(t *rapid.T, topology *Topology, from, to string) []Hop {
	g, err := topology.Graph()
	if err != nil {
		t.Fatal(err)
	}
	a, _ := g.Node(from)
	b, _ := g.Node(to)
	return g.From(a)[b]
}

func TestGeneratorsRefuseWhatTheyCannotMake(t *testing.T) {
	link := Parameters{}
	for _, test := range []struct {
		make func() (*Topology, error)
		want []string
	}{
		{func() (*Topology, error) { return Linear(nil, link) }, []string{"0 hosts"}},
		{func() (*Topology, error) { return Linear([]int{1, -1}, link) }, []string{"group 2", "-1 hosts"}},
		{func() (*Topology, error) { return Linear([]int{MaxNodes, MaxNodes}, link) }, []string{"40000 hosts"}},
		{func() (*Topology, error) { return Linear([]int{1 << 62, 1 << 62}, link) }, []string{"group 1"}},
		{func() (*Topology, error) { return Linear([]int{2}, Parameters{Loss: 2}) }, []string{`"h1-s1"`, "loss is 2"}},
		{func() (*Topology, error) { return Tree(5, 2, 2, link) }, []string{"5 hosts", "fan-out 2 and depth 2", "at most 4"}},
		{func() (*Topology, error) { return Tree(0, 2, 2, link) }, []string{"0 hosts"}},
		{func() (*Topology, error) { return Tree(-1, 2, 2, link) }, []string{"-1 hosts"}},
		{func() (*Topology, error) { return Tree(2, 1, 0, link) }, []string{"fan-out is 1"}},
		{func() (*Topology, error) { return Tree(2, 2, -1, link) }, []string{"depth is -1"}},
		{func() (*Topology, error) { return Tree(2, 2, 1000, link) }, []string{"depth is 1000"}},
		{func() (*Topology, error) { return Mesh(0, link) }, []string{"0 hosts"}},
		{func() (*Topology, error) { return Mesh(1500, link) }, []string{"1500 hosts", "1124250 links"}},
		{func() (*Topology, error) { return Mesh(1<<40, link) }, []string{"1099511627776 hosts", "want 1 to"}},
		{func() (*Topology, error) { return Custom([]string{"h1", "h2"}, nil, nil) }, []string{`"h1" can't reach host "h2"`}},
	} {
		_, err := test.make()
		wantError(t, err, test.want...)
	}
}

func TestACustomLinkWithoutANameIsNamedAfterItsEnds(t *testing.T) {
	got := summary(custom(t, []string{"a", "b"}, []string{"x"}, Link{A: "a", B: "x"}, Link{Name: "up", A: "x", B: "b"}))
	if want := "x: a-x up"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestAttachedHostsGoRoundTheSwitchesOfTheLargestNetwork(t *testing.T) {
	graph := custom(t, nil, []string{"lonely", "a", "b", "x", "y"}, joined("a", "b", Parameters{}), joined("x", "y", Parameters{}))
	before := summary(graph)
	got := made(t)(AttachHosts(graph, 3, delayed(ms), nil))
	if want := "lonely a b x y: a-b x-y h1-a h2-b h3-a"; summary(got) != want {
		t.Errorf("%s, want %s", summary(got), want)
	}
	if got.Links[2].AToB.Delay != ms {
		t.Errorf("the access link has %v", got.Links[2].AToB)
	}
	got = made(t)(AttachHosts(graph, 3, Parameters{}, []string{"y", "x"}))
	if want := "lonely a b x y: a-b x-y h1-y h2-x h3-y"; summary(got) != want {
		t.Errorf("%s, want %s", summary(got), want)
	}
	if summary(graph) != before || len(graph.Hosts) != 0 {
		t.Error("the graph itself was changed")
	}
	more := made(t)(AttachHosts(got, 1, Parameters{}, []string{"x"}))
	if more.Hosts[3].Name != "h4" || more.Hosts[3].Address != Address(3) {
		t.Errorf("the fourth host is %v", more.Hosts[3])
	}
}

func TestHostsAreNotAttachedWhereTheyCannotBe(t *testing.T) {
	graph := custom(t, nil, []string{"lonely", "a", "b"}, joined("a", "b", Parameters{}))
	for _, test := range []struct {
		n    int
		at   []string
		want []string
	}{
		{0, nil, []string{"0 hosts"}},
		{2, []string{"nowhere"}, []string{`no switch "nowhere"`}},
		{1, []string{"a", "b"}, []string{"2 switches", "1 hosts"}},
		{2, []string{"lonely", "a"}, []string{`"h1" can't reach host "h2"`}},
	} {
		_, err := AttachHosts(graph, test.n, Parameters{}, test.at)
		wantError(t, err, test.want...)
	}
	_, err := AttachHosts(custom(t, []string{"h1"}, nil), 1, Parameters{}, nil)
	wantError(t, err, "no switch")
	_, err = AttachHosts(&Topology{Switches: []string{"a"}, Links: []Link{{Name: "l", A: "a", B: "b"}}}, 1, Parameters{}, nil)
	wantError(t, err, `"b"`)
}

// threeRegions are as far apart as declared, not as the detour over c is.
func threeRegions() WANSpec {
	return WANSpec{
		Regions: []string{"a", "b", "c"},
		OneWay: [][]time.Duration{
			{0, 50 * ms, 5 * ms},
			{70 * ms, 0, 5 * ms},
			{6 * ms, 7 * ms, 0},
		},
		At:     []int{0, 1, 0, 2},
		Access: delayed(ms),
		Between: Parameters{
			Loss: 0.01, RateBPS: 10_000_000,
		},
	}
}

func TestAFrameMeetsTheDelayDeclaredBetweenItsRegions(t *testing.T) {
	w := made(t)(WAN(threeRegions()))
	if want := "a b c: h1-a h2-b h3-a h4-c a-b a-c b-c"; summary(w) != want {
		t.Errorf("%s, want %s", summary(w), want)
	}
	paths, err := w.Paths()
	if err != nil {
		t.Fatal(err)
	}
	want := map[[2]string]time.Duration{
		{"h1", "h2"}: 52 * ms, {"h2", "h1"}: 72 * ms, {"h1", "h3"}: 2 * ms, {"h4", "h1"}: 8 * ms, {"h4", "h2"}: 9 * ms, {"h2", "h4"}: 7 * ms,
	}
	for _, path := range paths {
		if delay, ok := want[[2]string{path.From, path.To}]; ok && path.Delay != delay {
			t.Errorf("from %s to %s: %v, want %v", path.From, path.To, path.Delay, delay)
		}
		if between := path.From == "h1" && path.To == "h2"; between && (math.Abs(path.Loss-0.01) > 1e-15 || path.RateBPS != 10_000_000) {
			t.Errorf("from h1 to h2: loss %v, rate %d", path.Loss, path.RateBPS)
		}
	}
}

func TestBadMatricesSayWhichRowIsWrong(t *testing.T) {
	for _, test := range []struct {
		spoil func(spec *WANSpec)
		want  []string
	}{
		{func(s *WANSpec) { s.OneWay = s.OneWay[:2] }, []string{"2 rows", "3 regions"}},
		{func(s *WANSpec) { s.OneWay[1] = s.OneWay[1][:2] }, []string{"row 2 (b)", "2 values", "3 regions"}},
		{func(s *WANSpec) { s.OneWay[1][0] = -ms }, []string{"row 2", "-1ms from b to a"}},
		{func(s *WANSpec) { s.OneWay[1][0] = 2 * time.Hour }, []string{"row 2", "2h0m0s from b to a"}},
		{func(s *WANSpec) { s.OneWay[2][2] = ms }, []string{"row 3", "1ms from c to itself"}},
		{func(s *WANSpec) { s.Regions[1] = "a" }, []string{`"a"`, "twice"}},
		{func(s *WANSpec) { s.Regions[1] = "h1" }, []string{`"h1"`, "twice"}},
		{func(s *WANSpec) { s.Regions[1] = "New York" }, []string{"region", `"New York"`}},
		{func(s *WANSpec) { s.Regions, s.OneWay = nil, nil }, []string{"0 regions"}},
		{func(s *WANSpec) { s.At = nil }, []string{"0 hosts"}},
		{func(s *WANSpec) { s.At[1] = 3 }, []string{"h2", "region 3"}},
		{func(s *WANSpec) { s.At[1] = -1 }, []string{"h2", "region -1"}},
		{func(s *WANSpec) { s.Between.Delay = ms }, []string{"1ms", "none beside the matrix"}},
	} {
		spec := threeRegions()
		test.spoil(&spec)
		_, err := WAN(spec)
		wantError(t, err, test.want...)
	}
}

func TestRegionsOfHostsAreFoundByName(t *testing.T) {
	got, err := RegionIndexes([]string{"a", "b"}, []string{"b", "a", "b"})
	if err != nil || !slices.Equal(got, []int{1, 0, 1}) {
		t.Errorf("%v, %v", got, err)
	}
	_, err = RegionIndexes([]string{"a", "b"}, []string{"b", "c"})
	wantError(t, err, "h2", `"c"`, "[a b]")
}

func TestShippedDataSaysWhereItIsFrom(t *testing.T) {
	names := WANNames()
	if len(names) < 3 {
		t.Fatalf("only %v", names)
	}
	for _, name := range names {
		set, err := WANData(name)
		if err != nil {
			t.Fatal(err)
		}
		for field, value := range map[string]string{"title": set.Title, "source": set.Source, "date": set.Date, "measure": set.Measure, "note": set.Note} {
			if value == "" {
				t.Errorf("%s doesn't say its %s", name, field)
			}
		}
		if len(set.Regions) < 5 {
			t.Errorf("%s has %d regions", name, len(set.Regions))
		}
		spec := set.Spec()
		for i := range set.Regions {
			spec.At = append(spec.At, i)
			for j := range set.Regions {
				// No pair differs by much more than half from its way back, but for the
				// outlier of the pilot study: a slip of the pen would show.
				there, back := set.RTT[i][j], set.RTT[j][i]
				if i != j && (there < ms || there > 400*ms || name != "azure-pilot" && there > back*3/2+2*ms) {
					t.Errorf("%s from %s to %s: %v, back %v", name, set.Regions[i], set.Regions[j], there, back)
				}
			}
		}
		w := made(t)(WAN(spec))
		if said := Warnings(w, 0); len(said) != 1 || !strings.Contains(said[0], "assumption") {
			t.Errorf("%s: warnings %q", name, said)
		}
	}
}

func TestTheFiveMachinesAreThoseOfTheStudy(t *testing.T) {
	set, err := WANData("azure-pilot")
	if err != nil {
		t.Fatal(err)
	}
	if set.RTT[3][0] != 62100*time.Microsecond || set.RTT[0][3] != 3500*time.Microsecond {
		t.Errorf("between machines 4 and 1: %v and %v", set.RTT[3][0], set.RTT[0][3])
	}
	if delay := set.Spec().OneWay[3][0]; delay != 31050*time.Microsecond {
		t.Errorf("half a round trip is %v", delay)
	}
}

func TestSomeRegionsOfASetCanBeTaken(t *testing.T) {
	set, err := WANData("ibm-2026")
	if err != nil {
		t.Fatal(err)
	}
	some, err := set.Select("tokyo", "london")
	if err != nil {
		t.Fatal(err)
	}
	if len(some.RTT) != 2 || some.RTT[0][1] != 246*ms || some.RTT[1][0] != 245*ms || len(set.RTT) != 12 {
		t.Errorf("%v of %d", some.RTT, len(set.RTT))
	}
	_, err = set.Select("tokyo", "atlantis")
	wantError(t, err, `"atlantis"`, "dallas")
	_, err = WANData("nowhere")
	wantError(t, err, `"nowhere"`, "azure-pilot")
}

func TestBadDataFilesSayTheLine(t *testing.T) {
	for data, want := range map[string]string{
		"# author: me":                      "x:1:",
		"# unit: s":                         "x:1:",
		"region a b\na 0 1\n":               "1 rows",
		"region a b\na 0 1\nc 1 0\n":        "x:3:",
		"region a b\na 0 1\nb one 0\n":      "x:3:",
		"region a b\na 0 1\nb 1\n":          "row 2",
		"region a b\na 0 1\nb 1 0\nb 1 0\n": "x:4:",
		"region a b\n\na 0 1\n":             "x:2:",
	} {
		_, err := parseWAN("x", data)
		wantError(t, err, want)
	}
}
