package topologies

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const zooGraphML = `<?xml version="1.0" encoding="utf-8"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
  <key attr.name="Network" attr.type="string" for="graph" id="d0" />
  <key attr.name="Latitude" attr.type="double" for="node" id="d1" />
  <key attr.name="Longitude" attr.type="double" for="node" id="d2" />
  <key attr.name="label" attr.type="string" for="node" id="d3" />
  <key attr.name="LinkSpeedRaw" attr.type="double" for="edge" id="d4" />
  <key attr.name="LinkLabel" attr.type="string" for="edge" id="d5" />
  <graph edgedefault="undirected">
    <data key="d0">Tiny</data>
    <node id="0"><data key="d1">51.50853</data><data key="d2">-0.12574</data><data key="d3">London</data></node>
    <node id="1"><data key="d1">48.85341</data><data key="d2">2.3488</data><data key="d3">Paris</data></node>
    <node id="2"><data key="d3">New York</data></node>
    <node id="3"><data key="d3">?</data></node>
    <node id="4"><data key="d3">None</data></node>
    <node id="5"><data key="d3">None</data></node>
    <edge source="0" target="1"><data key="d4">10000000000.0</data><data key="d5">10 Gbit/s</data></edge>
    <edge source="1" target="0"><data key="d4">1000000000.0</data></edge>
    <edge source="1" target="2"></edge>
  </graph>
</graphml>
`

func parsed(t *testing.T, name, text string, defaults Parameters) *Topology {
	t.Helper()
	topology, err := Parse(name, []byte(text), defaults)
	if err != nil {
		t.Fatal(err)
	}
	return topology
}

func TestAFileOfTheTopologyZooIsRead(t *testing.T) {
	topology := parsed(t, "tiny.graphml", zooGraphML, delayed(7*ms))
	if got, want := summary(topology), "London Paris New_York 3 None_4 None_5: London-Paris Paris-New_York"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	channel := topology.Links[0].AToB
	// 344 km at 199,862 km/s.
	if channel.Delay < 1710*time.Microsecond || channel.Delay > 1730*time.Microsecond || channel.RateBPS != 10_000_000_000 || channel != topology.Links[0].BToA {
		t.Errorf("London-Paris: %+v", channel)
	}
	if long := topology.Links[1].AToB; long != delayed(7*ms) {
		t.Errorf("Paris-New_York: %+v", long)
	}
	notes := strings.Join(topology.Notes, "\n")
	for _, want := range []string{"2 edges of tiny.graphml are those of light", "no delay for 1 edge of tiny.graphml: what the experiment declares, 7ms", "never take 1 edge of tiny.graphml"} {
		if !strings.Contains(notes, want) {
			t.Errorf("notes %q lack %q", notes, want)
		}
	}
	with := made(t)(AttachHosts(topology, 3, Parameters{}, nil))
	if got, want := strings.Join(route(t, with, "h1", "h3"), " "), "h1-London London-Paris Paris-New_York h3-New_York"; got != want {
		t.Errorf("from h1 to h3 over %s, want %s", got, want)
	}
}

// threeWays is one graph in all three formats.
var threeWays = map[string]string{
	"x.graphml": `<graphml><key id="t" for="node" attr.name="type"/><key id="d" for="edge" attr.name="Delay"><desc>20, or so</desc><default>5</default></key>
<key id="b" for="edge" attr.name="bandwidth"/><key id="l" for="edge" attr.name="loss"/><key id="n" for="edge" attr.name="name"/>
<key id="q" for="edge" attr.name="queue"/><key id="j" for="edge" attr.name="jitter"/><key id="y" for="edge" attr.name="queue_bytes"/>
<graph edgedefault="directed"><node id="h1"><data key="t">host</data></node><node id="h2"><data key="t">Host</data></node><node id="a"><port name="p"/></node>
<edge source="h1" target="a"><data key="d">20ms</data><data key="b">10</data><data key="l">0.1%</data><data key="n"> up
</data></edge>
<edge source="a" target="h1"><data key="d">30</data><data key="q">50</data><data key="j">1.5 ms</data><data key="y">3000</data></edge>
<edge source="a" target="h2"/></graph></graphml>`,
	"x.gml": `# a comment
Creator "someone [ not ] else"
graph [ directed 1 label "&quot;x&quot;"
  node [ id h1 type "host" graphics [ x 1 y 2 Line [ point [ x 1 ] ] ] ]
  node [ id h2 type "Host" ] node [ id "a" ]
  edge [ source h1 target a Delay "20ms" bandwidth 10 loss "0.1%" name "up" ]
  edge [ source a target h1 delay 30 queue 50 jitter "1.5 ms" queue_bytes 3000 ]
  edge [ source a target h2 delay 5 ]
]`,
	"x.json": `{"directed": true, "graph": {"name": ["x", null]},
"nodes": [{"id": "h1", "type": "host"}, {"name": "h2", "type": "Host"}, "a"],
"edges": [{"source": "h1", "target": "a", "Delay": "20ms", "bandwidth": 10, "loss": "0.1%", "name": "up"},
  {"from": "a", "to": "h1", "delay": 30, "queue": 50, "jitter": "1.5 ms", "queue_bytes": 3000},
  {"source": "a", "target": "h2", "latency": "5"}]}`,
}

func TestTheSameGraphInThreeFormatsIsTheSameTopology(t *testing.T) {
	for name, text := range threeWays {
		for _, as := range []string{name, "without-ending"} {
			topology := parsed(t, as, text, Parameters{Corrupt: 0.5})
			if got := summary(topology); got != "a: up a-h2" || len(topology.Hosts) != 2 {
				t.Errorf("%s: %s with %v", name, got, topology.Hosts)
				continue
			}
			want := []Link{
				{Name: "up", A: "h1", B: "a", AToB: Parameters{Delay: 20 * ms, RateBPS: 10_000_000, Loss: 0.001, Corrupt: 0.5},
					BToA: Parameters{Delay: 30 * ms, QueueFrames: 50, QueueBytes: 3000, Jitter: 1500 * time.Microsecond, JitterDistribution: JitterUniform, Corrupt: 0.5}},
				{Name: "a-h2", A: "a", B: "h2", AToB: Parameters{Delay: 5 * ms, Corrupt: 0.5}, BToA: Parameters{Delay: 5 * ms, Corrupt: 0.5}},
			}
			for i, link := range topology.Links {
				if link != want[i] {
					t.Errorf("%s: %+v, want %+v", name, link, want[i])
				}
			}
		}
	}
}

func TestOfParallelEdgesTheFirstOfLeastDelayStays(t *testing.T) {
	edges := `edge [ source a target b delay 5 loss 0.1 ] edge [ source b target a delay 3 loss 0.2 ] edge [ source a target b delay 3 loss 0.3 ]`
	nodes := `node [ id a ] node [ id b ] `
	topology := parsed(t, "x.gml", "graph [ "+nodes+edges+" ]", Parameters{})
	if link := topology.Links[0]; len(topology.Links) != 1 || link.AToB.Loss != 0.2 || link.BToA.Loss != 0.2 {
		t.Errorf("%+v", topology.Links)
	}
	topology = parsed(t, "x.gml", "graph [ directed 1 "+nodes+edges+" ]", Parameters{})
	if link := topology.Links[0]; len(topology.Links) != 1 || link.AToB.Loss != 0.3 || link.BToA.Loss != 0.2 {
		t.Errorf("directed: %+v", topology.Links)
	}
}

func TestNodesOfACoracleFileAreHostsJoinedEachWithEach(t *testing.T) {
	topology := parsed(t, "coracle.json", `{"nodes": 3, "loss": 0.1, "termination": 1000, "consensus": {"protocol": "raft", "timeout": 300}}`, delayed(ms))
	if got, want := summary(topology), ": h1-h2 h1-h3 h2-h3"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if p := topology.Links[2].BToA; p.Loss != 0.1 || p.Delay != ms {
		t.Errorf("%+v", p)
	}
	topology = parsed(t, "coracle.json", `{"nodes": 3, "edges": [[1, 2], ["h2", 3], [1, 3]]}`, Parameters{})
	if got, want := summary(topology), ": h1-h2 h2-h3 h1-h3"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestRatesAndDelaysOfFilesHaveUnits(t *testing.T) {
	for text, want := range map[string]int64{"10": 10_000_000, "10mbit": 10_000_000, "10 Mbit/s": 10_000_000, "1Gbps": 1_000_000_000,
		"2.5 Gb/s": 2_500_000_000, "64k": 64_000, "1000bit": 1000, "1e3 kbit": 1_000_000} {
		if got, err := parseRate(text, 1e6); err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "fast", "10 MB/s", "-1", "0.0001", "1e9", "NaN", "10 parsec", "mbit"} {
		if got, err := parseRate(text, 1e6); err == nil {
			t.Errorf("%q is %d bit/s", text, got)
		}
	}
	for text, want := range map[string]time.Duration{"20": 20 * ms, "0.5": 500 * time.Microsecond, "1.5 s": 1500 * ms, "3us": 3 * time.Microsecond, "3µs": 3 * time.Microsecond} {
		if got, err := parseDelay(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "-1", "4e6", "2h", "NaN", "inf", "soon", "-3ms"} {
		if got, err := parseDelay(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

// A delay of the file takes the place of measured ones that are the default.
func TestAnEdgesDelayIsNotAddedToMeasuredOnes(t *testing.T) {
	table := &Table{Excess: []time.Duration{0, 10 * ms}}
	trace := &Trace{Times: []time.Duration{0}, Excess: []time.Duration{3 * ms}, Align: AlignStart, Gap: GapHold, GapAfter: time.Second, Period: time.Second}
	const file = `{"nodes": [{"id": "a"}, {"id": "b"}, {"id": "c"}], "edges": [{"source": "a", "target": "b", "delay": 7}, {"source": "b", "target": "c"}]}`
	for _, defaults := range []Parameters{{Delay: ms, JitterTable: table, JitterDistribution: JitterTable}, {Delay: ms, Trace: trace}} {
		read, err := Parse("edges.json", []byte(file), defaults)
		if err != nil {
			t.Fatal(err)
		}
		if got := read.Links[0].AToB; got != (Parameters{Delay: 7 * ms}) {
			t.Errorf("with a delay: %+v", got)
		}
		if got := read.Links[1].AToB; got != defaults {
			t.Errorf("without: %+v", got)
		}
	}
}

func TestLightInFibreAlongTheGreatCircle(t *testing.T) {
	// A quarter of the Earth's circumference, 10,007.6 km.
	if got := fibreDelay(0, 0, 0, 90); got < 50_070*time.Microsecond || got > 50_075*time.Microsecond {
		t.Errorf("a quarter of the way around: %v", got)
	}
	if a, b := fibreDelay(0, 0, 0, 180), fibreDelay(90, 0, -90, 77); a < b-1 || a > b+1 {
		t.Errorf("half of the way around: %v and %v", a, b)
	}
	if got := fibreDelay(10, 20, 10, 20); got != 0 {
		t.Errorf("no way: %v", got)
	}
}

func TestBadFilesSayTheLine(t *testing.T) {
	deep := func(open, closed string) string {
		return strings.Repeat(open, 100_000) + strings.Repeat(closed, 100_000)
	}
	for _, test := range []struct {
		name, text string
		want       []string
	}{
		{"x", "", []string{"x:1:", "neither"}},
		{"x.graphml", "", []string{"x.graphml:1:", "GraphML"}},
		{"x.graphml", "<graphml>\n<graph></graph>", []string{"x.graphml:2:", `"graphml" isn't closed`}},
		{"x.graphml", "<graphml>\n<graph></graph></graphml>", []string{"x.graphml:1:", "no nodes"}},
		{"x.graphml", "<graphml>\n</graph>", []string{"x.graphml:2:", "</graph>"}},
		{"x.graphml", "<graphml>\n<graph", []string{"x.graphml:2:"}},
		{"x.graphml", "<graphml>\n<graph><node id='a'/>\n<node id='a'/></graph></graphml>", []string{"x.graphml:3:", `"a"`, "line 2"}},
		{"x.graphml", "<graphml>\n<graph><node/></graph></graphml>", []string{"x.graphml:2:", "without an id"}},
		{"x.graphml", "<graphml><graph><node id='a'/>\n<edge source='a' target='b'/></graph></graphml>", []string{"x.graphml:2:", `"b"`}},
		{"x.graphml", "<graphml><graph><node id='a'/>\n<edge source='b' target='a'/></graph></graphml>", []string{"x.graphml:2:", `"b"`}},
		{"x.graphml", "<graphml><graph><node id='a'/>\n<edge source='a' target='a'/></graph></graphml>", []string{"x.graphml:2:", "itself"}},
		{"x.graphml", "<graphml><graph><node id='a'/><node id='b'/>\n<edge source='a' target='b'><data key='delay'>soon</data></edge></graph></graphml>", []string{"x.graphml:2:", `delay is "soon"`, "20ms"}},
		{"x.graphml", "<?xml version='1.0' encoding='latin1'?><graphml/>", []string{"x.graphml:1:", "UTF-8"}},
		{"x.graphml", deep("<a>", "</a>"), []string{"x.graphml:1:", "64 deep"}},
		{"x.gml", "graph 5", []string{"x.gml:1:", "no list graph"}},
		{"x.gml", "graph [\n node [ id 1 ]", []string{"x.gml:2:", "isn't closed"}},
		{"x.gml", "graph [\n node [ id 1 ]\n node [ id 1 ] ]", []string{"x.gml:3:", `"1"`, "line 2"}},
		{"x.gml", "graph [\n node [ id ] ]", []string{"x.gml:2:", `"id" has no value`}},
		{"x.gml", "graph [\n 5 6 ]", []string{"x.gml:2:", `"5": want a key`}},
		{"x.gml", "graph [\n node [ id 1 label \"x", []string{"x.gml:2:", "isn't closed"}},
		{"x.gml", "graph [ node [ id 1 latitude 91 longitude 0 ] node [ id 2 latitude 0 longitude 0 ]\n edge [ source 1 target 2 ] ]", []string{"x.gml:1:", "latitude", `"91"`}},
		{"x.gml", "graph [ node [ id 1 ] node [ id 2 ]\n edge [ source 1 target 2 loss 2 ] ]", []string{"x.gml:2:", `loss is "2"`, "0.1%"}},
		{"x.gml", "graph [ node [ id 1 ] node [ id 2 ]\n edge [ source 1 target 2 queue 1.5 ] ]", []string{"x.gml:2:", `queue is "1.5"`}},
		{"x.gml", "graph [ node [ id 1 ] node [ id 2 ]\n edge [ source 1 target 2 bandwidth \"10 MB/s\" ] ]", []string{"x.gml:2:", "bandwidth", "10 MB/s"}},
		{"x.gml", "graph [ node [ id 1 label \"" + strings.Repeat("x", 65) + "\" ] ]", []string{"x.gml:1:", "65 bytes"}},
		{"x.gml", "graph [ node [ id a ] node [ id b label \"a_\" ]\nnode [ id c label \"a\" ] node [ id d label a_c ] ]", []string{"x.gml:2:", `"a_c"`, "twice"}},
		{"x.gml", "graph [ node [ id h1 type host ] node [ id h2 type host ] ]", []string{"x.gml:", `"h1" can't reach host "h2"`}},
		{"x.gml", "graph [ x " + deep("[ x ", "] ") + " ]", []string{"x.gml:1:", "64 deep"}},
		{"x.json", "", []string{"x.json:1:", "too early"}},
		{"x.json", "{\n\"nodes\": [", []string{"x.json:2:"}},
		{"x.json", "[1]", []string{"x.json:1:", "object"}},
		{"x.json", "{}", []string{"x.json:1:", "nodes is missing"}},
		{"x.json", "{\"nodes\":\n\"a\"}", []string{"x.json:2:", `nodes is "a"`}},
		{"x.json", "{\"nodes\":\n1.5}", []string{"x.json:2:", "1.5"}},
		{"x.json", "{\"nodes\":\n5000}", []string{"x.json:2:", "12497500 links"}},
		{"x.json", "{\"nodes\":\n100000}", []string{"x.json:2:", "100000"}},
		{"x.json", "{\"nodes\": [\"a\",\n[]]}", []string{"x.json:2:", "name"}},
		{"x.json", "{\"nodes\": [\"a\"],\n\"edges\": 5}", []string{"x.json:2:", "list"}},
		{"x.json", "{\"nodes\": [\"a\"],\n\"edges\": [[\"a\"]]}", []string{"x.json:2:", "pair"}},
		{"x.json", "{\"nodes\": [\"a\"]}\n5", []string{"x.json:2:", "follows"}},
		{"x.json", "{\"nodes\": 2, \"loss\":\n 2}", []string{"x.json:1:", `loss is "2"`}},
		{"x.json", deep("[", "]"), []string{"x.json:1:", "64 deep"}},
		{"x.json", deep(`{"a":`, "}"), []string{"x.json:1:", "64 deep"}},
		{"x.json", "{\"a\": [" + strings.Repeat("1,", maxJSONValues) + "1]}", []string{"x.json:1:", "300000 values"}},
		{"x.gml", strings.Repeat(" ", MaxFileBytes+1), []string{"x.gml:", "at most"}},
	} {
		_, err := Parse(test.name, []byte(test.text), Parameters{})
		wantError(t, err, test.want...)
	}
}

func TestAFileOfAMillionNodesIsRefusedAtTheLineThatIsTooMany(t *testing.T) {
	var xml, gml, list strings.Builder
	for i := range MaxNodes * 2 {
		fmt.Fprintf(&xml, "<node id='%d'/>\n", i)
		fmt.Fprintf(&gml, "node [ id %d ]\n", i)
		fmt.Fprintf(&list, "%d,\n", i)
	}
	for name, text := range map[string]string{
		"x.graphml": "<graphml><graph>" + xml.String() + "</graph></graphml>",
		"x.gml":     "graph [ " + gml.String() + "]",
		"x.json":    `{"nodes": [` + list.String() + "0]}",
	} {
		_, err := Parse(name, []byte(text), Parameters{})
		wantError(t, err, name+":20001:", "20000 nodes")
	}
}

func FuzzParse(f *testing.F) {
	for name, text := range threeWays {
		f.Add(name, []byte(text))
	}
	f.Add("tiny.graphml", []byte(zooGraphML))
	f.Add("c.json", []byte(`{"nodes": 5, "loss": 0.0, "termination":1000}`))
	f.Add("", []byte("graph [ node [ id 1 Latitude 1.5 Longitude -3 ] node [ id 2 latitude 5 longitude 5 ] edge [ source 1 target 2 ] ]"))
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		topology, err := Parse(name, data, Parameters{})
		if err != nil {
			if !strings.HasPrefix(err.Error(), name+":") {
				t.Errorf("error without a file: %v", err)
			}
			return
		}
		if err := topology.Check(); err != nil {
			t.Errorf("what was read: %v", err)
		}
		if len(topology.Hosts) == 0 {
			if with, err := AttachHosts(topology, 2, Parameters{}, nil); err == nil {
				Warnings(with, 1000)
			}
		}
	})
}
