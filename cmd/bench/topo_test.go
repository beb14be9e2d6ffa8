package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"quorumlab/topologies"
	"quorumlab/topologies/draw"
)

// topo runs bench topo in this process.
func topo(arguments ...string) finished {
	var stdout, stderr bytes.Buffer
	status := run(context.Background(), append([]string{"topo"}, arguments...), &stdout, &stderr)
	return finished{stdout.String(), stderr.String(), status}
}

func expectTopo(t *testing.T, got finished, wants ...string) {
	t.Helper()
	if got.status != exitGood || got.stderr != "" {
		t.Fatalf("exit status %d, stderr %q", got.status, got.stderr)
	}
	for _, want := range wants {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("no %q in\n%s", want, got.stdout)
		}
	}
}

func written(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTopoShowsTheNetworkItsPathsAndThePrediction(t *testing.T) {
	expectTopo(t, topo(shipped(t, "quickstart.yaml")),
		"star: 8 hosts, 1 switch, 8 links\n", "├─ h3  leader1\n", "(every link: 20 ms, 1 Gbit/s)\n",
		"any host  any other     56     2  40 ms  80 ms  1 Gbit/s       10 MB\n", "predicted latency: 240 ms")
}

func TestTopoShowsEachNetworkOfASweepOnce(t *testing.T) {
	path := shipped(t, "multipaxos-dissertation/topologies.yaml")
	all := topo(path)
	expectTopo(t, all, "point 1: topology.kind=star", "point 2: topology.kind=linear", "point 3: topology.kind=tree",
		"predicted latency: 240 ms", "predicted latency: 360 ms")
	one := topo(path, "--point", "2")
	expectTopo(t, one, "linear: 8 hosts, 4 switches, 11 links")
	if strings.Contains(one.stdout, "star") {
		t.Errorf("another point:\n%s", one.stdout)
	}
	same := topo(shipped(t, "quickstart.yaml"), "--set", "sweep.workload.rate=[10/s, 20/s, 30/s]")
	expectTopo(t, same, "(and points 2, 3, whose networks are the same)")
	if strings.Count(same.stdout, "1 switch") != 1 {
		t.Errorf("shown more than once:\n%s", same.stdout)
	}
}

func TestTopoListsEveryPairIfAsked(t *testing.T) {
	got := topo(shipped(t, "quickstart.yaml"), "--paths", "processes")
	expectTopo(t, got, "h1 replica1   h3 leader1    s1 ")
	if rows := strings.Count(got.stdout, "80 ms"); rows != 56 {
		t.Errorf("%d rows, want 56", rows)
	}
}

func TestTopoWarnsAboutWhatCannotBeEmulatedWell(t *testing.T) {
	fast := []string{shipped(t, "quickstart.yaml"), "--set", "topology.link.rate=10gbit", "--set", "topology.link.queue_bytes=1000"}
	expectTopo(t, topo(fast...), "warning: The rate of all 8 links is above", "warning: The queue of all 8 links is smaller than one full frame")
	got := topo(append(fast, "--set", "engine=sim")...)
	expectTopo(t, got, "smaller than one full frame")
	if strings.Contains(got.stdout, "is above") {
		t.Errorf("the simulator carries any rate:\n%s", got.stdout)
	}
}

func TestTopoPrintsJSONThatHasItAll(t *testing.T) {
	got := topo(shipped(t, "quickstart.yaml"), "--json")
	expectTopo(t, got)
	var document struct {
		Points []struct {
			Point     int                       `json:"point"`
			Topology  topologies.Topology       `json:"topology"`
			Processes map[string][]draw.Process `json:"processes"`
			Paths     []draw.Route              `json:"paths"`
			Predicted int64                     `json:"predicted_latency_ns"`
			Warnings  []string                  `json:"warnings"`
		} `json:"points"`
	}
	decoder := json.NewDecoder(strings.NewReader(got.stdout))
	if err := decoder.Decode(&document); err != nil {
		t.Fatal(err)
	}
	if len(document.Points) != 1 {
		t.Fatalf("%d points", len(document.Points))
	}
	p := document.Points[0]
	if p.Point != 1 || len(p.Topology.Links) != 8 || p.Processes["h3"][0] != (draw.Process{Name: "leader1", Role: "leader"}) ||
		len(p.Paths) != 56 || p.Predicted != 240e6 || p.Warnings == nil {
		t.Errorf("%+v", p)
	}
	first := p.Paths[0]
	if strings.Join(first.Way, " ") != "h1 s1 h2" || first.MeanDelayNS != 40e6 || first.RTTNS != 80e6 || first.Bottleneck != "h1-s1" || *first.DeviationNS != 0 {
		t.Errorf("%+v", first)
	}
}

func TestTopoLeavesPathsOutOfJSONIfThereAreTooMany(t *testing.T) {
	many := []string{shipped(t, "quickstart.yaml"), "--json", "--set", "workload.clients=100"}
	if got := topo(many...); !strings.Contains(got.stdout, `"paths_left_out": true`) {
		t.Errorf("%.300s", got.stdout)
	}
	if got := topo(append(many, "--paths", "processes")...); strings.Count(got.stdout, `"way":`) != 107*106 {
		t.Errorf("%d paths", strings.Count(got.stdout, `"way":`))
	}
}

func TestTopoWritesDrawingsToAFile(t *testing.T) {
	for form, want := range map[string]string{"--svg": "<svg ", "--dot": "graph \"star\" {"} {
		path := filepath.Join(t.TempDir(), "drawing")
		got := topo(shipped(t, "quickstart.yaml"), form, "--title", "A star", "-o", path)
		expectTopo(t, got)
		written, err := os.ReadFile(path)
		if err != nil || got.stdout != "" {
			t.Fatal(err, got.stdout)
		}
		for _, text := range []string{want, "A star", "acceptor2", "every link: 20 ms, 1 Gbit/s"} {
			if !strings.Contains(string(written), text) {
				t.Errorf("%s: no %q in\n%s", form, text, written)
			}
		}
	}
}

func TestTopoShowsTopologiesThatAreNoExperiments(t *testing.T) {
	gml := written(t, "x.gml", `graph [ node [ id 0 label "A" ] node [ id 1 label "B" ] edge [ source 0 target 1 delay 5 ] ]`)
	got := topo(gml)
	expectTopo(t, got, "x.gml\nfile: 0 hosts, 2 switches, 1 link\n", "A     B   direct     1   5 ms  10 ms\n")
	if strings.Contains(got.stdout, "No path between hosts") {
		t.Errorf("without hosts no link is on a path, which needs no saying:\n%s", got.stdout)
	}
	expectTopo(t, topo(written(t, "x.json", `{"nodes": ["a", "b"], "edges": [["a", "b"]]}`)), "file: 0 hosts, 2 switches, 1 link")
	for _, name := range topologies.WANNames() {
		expectTopo(t, topo("--data", name), "wan: ", "one-way delay in ms", "warning: The delays between regions are half the round-trip times of "+name)
	}
}

func TestTopoRefusesNonsenseInOneLine(t *testing.T) {
	spec := shipped(t, "quickstart.yaml")
	sweep := shipped(t, "multipaxos-dissertation/topologies.yaml")
	bare := written(t, "x.gml", "graph [ node [ id 0 ] ]")
	for _, c := range []struct {
		arguments []string
		want      string
	}{
		{nil, "nothing to show"},
		{[]string{"none.yaml"}, "none.yaml: no such file"},
		{[]string{"none.graphml"}, "none.graphml"},
		{[]string{spec, "--set", "topology.kind=rign"}, "topology.kind is rign: want one of star, linear, tree"},
		{[]string{spec, "--dot", "--svg"}, "exclude each other"},
		{[]string{spec, "--paths", "some"}, `--paths is "some"`},
		{[]string{spec, "--point", "2"}, "--point is 2: "},
		{[]string{spec, "--point", "-1"}, "--point is -1"},
		{[]string{sweep, "--svg"}, "the sweep has 3 networks: want one of them with --point"},
		{[]string{spec, "--data", "gcp"}, "want one of them"},
		{[]string{"--data", "mars"}, "want one of aws"},
		{[]string{bare, "--point", "1"}, "this is a bare topology"},
		// A file of Coracle is an experiment, which its reader judges.
		{[]string{written(t, "coracle.json", `{"nodes": 3, "termination": 10, "consensus": {"protocol": "none"}}`)}, "coracle.json:1:"},
		{[]string{written(t, "bad.gml", "graph [ node [")}, "bad.gml:1"},
		{[]string{spec, spec}, "accepts at most 1 arg"},
	} {
		t.Run(strings.Join(c.arguments, " "), func(t *testing.T) { expectUsageError(t, topo(c.arguments...), c.want) })
	}
}

func TestEveryShippedExperimentHasADrawing(t *testing.T) {
	for _, pattern := range []string{"../../experiments/*.yaml", "../../experiments/*/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatal("no experiments found", err)
		}
		for _, file := range files {
			expectTopo(t, topo(file), "paths, one way")
			got := topo(file, "--svg", "--point", "1")
			expectTopo(t, got, "</svg>")
		}
	}
}

func TestTheDocsShowWhatTopoPrints(t *testing.T) {
	docs, err := os.ReadFile("../../docs/topologies.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := consoleExamples(string(docs))
	if len(examples) == 0 {
		t.Fatal("no examples found")
	}
	dir := layOut(t)
	for _, e := range examples {
		if out := e.run(t, dir); !e.matches(out) {
			t.Errorf("%s printed\n%s\nthe docs show\n%s", e.command, out, e.shown)
		}
	}
	for _, image := range regexp.MustCompile(`\]\(\.\./([^)]+)\)`).FindAllStringSubmatch(string(docs), -1) {
		if _, err := os.Stat(filepath.Join("../..", image[1])); err != nil {
			t.Error(err)
		}
	}
}

func TestTopoSaysWhatAPredictionLeavesOut(t *testing.T) {
	const note = "\nlinks have random delays or losses: the prediction takes mean delays and no loss; expect more\n"
	sweep := []string{shipped(t, "quickstart.yaml"), "--set", "sweep.topology.link=[{delay: 10ms, loss: 1%}, {corrupt: 1%, delay: 10ms}]"}
	got := topo(sweep...)
	expectTopo(t, got, "topology.link={delay: 10ms, loss: 1%}\n", "topology.link={corrupt: 1%, delay: 10ms}\n")
	if strings.Count(got.stdout, note) != 2 {
		t.Errorf("the note isn't there twice:\n%s", got.stdout)
	}
	if got := topo(shipped(t, "quickstart.yaml")); strings.Contains(got.stdout, "expect more") {
		t.Errorf("nothing is random:\n%s", got.stdout)
	}
	var stdout, stderr bytes.Buffer
	status := run(context.Background(), append(append([]string{"plan"}, sweep...), "--set", "repeat=1", "--engine", "sim"), &stdout, &stderr)
	if status != exitGood || strings.Count(stdout.String(), note) != 1 || !strings.Contains(stdout.String(), "point 1: link {delay: 10ms, loss: 1%}, star of 8 hosts, predicted latency 120ms\n") {
		t.Errorf("plan: exit status %d, %s%s", status, stdout.String(), stderr.String())
	}
}

func TestTopoShowsWhatATraceLoses(t *testing.T) {
	trace := written(t, "trace.csv", "time_s,rtt_ms\n0,20\n1,20\n2,\n3,20\n4,20\n")
	spec := written(t, "spec.yaml", "version: 1\ntopology: {links: [{match: h1-s1, delay: {trace: "+trace+", gap: lose, gap_after: 2s}}]}\n")
	got := topo(spec)
	expectTopo(t, got, "20% lost in gaps", "  loss  ")
}

func TestTopoCountsThePointsOfAnExperiment(t *testing.T) {
	if got := topo(shipped(t, "quickstart.yaml"), "--point", "2"); got.status != exitUsage || !strings.Contains(got.stderr, "has 1 point\n") {
		t.Errorf("exit status %d, %q", got.status, got.stderr)
	}
}

func TestTopoSaysThatADateIsNotStated(t *testing.T) {
	expectTopo(t, topo("--data", "gcp"), "date not stated")
}
