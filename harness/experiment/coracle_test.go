package experiment

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const coracleFile = `{"nodes": 50,"loss": 0.0, "termination":1000, "consensus": {"protocol":"dummy","timeout":300, "id": 3}}`

func parseCoracle(t *testing.T, text string, set ...string) *Source {
	t.Helper()
	overrides := testOverrides()
	overrides.Set = set
	source, err := Parse("dir/election.json", []byte(text), overrides)
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	return source
}

func TestAFileOfCoracleIsAnExperimentInTheSimulator(t *testing.T) {
	source := parseCoracle(t, coracleFile)
	want := parse(t, `
version: 1
name: election
engine: sim
system: {protocol: dummy, roles: {nodes: 50}, options: {timeout: 300ms, id: 3}, transport: datagram}
topology: {kind: star, link: {loss: 0%}}
phases: {warmup: 0s, measure: 1s}
`)
	if diff := cmp.Diff(want.Points, source.Points, ignoreInputs); diff != "" {
		t.Errorf("-experiment +file of Coracle\n%s", diff)
	}
	if string(source.Data) != coracleFile {
		t.Errorf("the source keeps %s, not the file's bytes", source.Data)
	}
	if hosts := len(source.Points[0].Spec.Network().Hosts); hosts != 51 {
		t.Errorf("%d hosts, want 50 nodes and a client", hosts)
	}
}

func TestTheDocumentedFileOfCoracleIsTheExperimentBesideIt(t *testing.T) {
	text, err := os.ReadFile("../../docs/experiment.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "## Files of Coracle")
	block := func(kind string) string {
		_, after, found := strings.Cut(section, "```"+kind+"\n")
		body, _, closed := strings.Cut(after, "```")
		if !found || !closed {
			t.Fatalf("the page has no %s", kind)
		}
		return strings.ReplaceAll(body, "raft", "dummy")
	}
	want := parse(t, block("yaml"), "name=election")
	if diff := cmp.Diff(want.Points, parseCoracle(t, block("json")).Points, ignoreInputs); diff != "" {
		t.Errorf("-experiment +file of Coracle\n%s", diff)
	}
}

func TestAMessageOfCoracleIsLostWithTheDeclaredProbability(t *testing.T) {
	for text, want := range map[string]float64{"0": 0, "0.0": 0, "0.01": 0.01, "1e-12": 1e-12, "0.5": 0.5, "1": 1, "1.0": 1} {
		source := parseCoracle(t, `{"nodes": 3, "loss": `+text+`, "termination": 100, "consensus": {"protocol": "dummy"}}`)
		link := float64(*source.Spec.Topology.Link.Loss)
		if got := link * (2 - link); math.Abs(got-want) > 1e-15+1e-9*want { // lost on the first or on the second link
			t.Errorf("loss %s: two links of %v lose %v", text, link, got)
		}
	}
}

func TestOverridesApplyToAFileOfCoracle(t *testing.T) {
	source := parseCoracle(t, coracleFile, "repeat=2", "system.transport=tcp", "engine=netns", "sweep.system.roles.nodes=[3, 5]")
	if len(source.Points) != 2 || source.Spec.Repeat != 2 || source.Points[1].Spec.System.Roles["nodes"] != 5 || source.Points[0].Spec.Engine != "netns" {
		t.Errorf("the overrides give %+v", source.Spec)
	}
	overrides := testOverrides()
	overrides.Set = []string{"system.options.id=0"}
	const want = "--set system.options.id=0: system.options.id is 0: want the number of a node"
	if _, err := Parse("x.json", []byte(coracleFile), overrides); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestAFileOfCoracleMayBeIndentedAndCalledAnything(t *testing.T) {
	var value any
	if err := json.Unmarshal([]byte(coracleFile), &value); err != nil {
		t.Fatal(err)
	}
	for _, indent := range []string{"", "  ", "\t"} {
		text, err := json.MarshalIndent(value, "", indent)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"election.json", "election.JSON", "election", "election.conf"} {
			source, err := Parse(name, text, testOverrides())
			if err != nil || source.Spec.Phases.Measure != Duration(time.Second) {
				t.Errorf("%s, indented by %q: %v", name, indent, err)
			}
		}
	}
}

func TestWantedProtocolsAreThoseThatThereAre(t *testing.T) {
	for _, c := range []struct {
		alike, others []string
		want          string
	}{
		{nil, []string{"multipaxos"}, "a protocol whose nodes are all alike; this version of bench has none yet, only multipaxos"},
		{[]string{"raft", "vrr"}, []string{"multipaxos"}, "a protocol whose nodes are all alike: one of raft, vrr"},
	} {
		if got := wantProtocol(c.alike, c.others); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// FuzzCoracle reads any bytes as a file of Coracle: one *Error of one line, or a
// simulation of what the file says.
func FuzzCoracle(f *testing.F) {
	files, err := filepath.Glob("testdata/bad/coracle_*.json")
	if err != nil || len(files) < 20 {
		f.Fatalf("only %d files (%v)", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add([]byte(strings.ReplaceAll(string(data), "raft", "dummy")))
	}
	f.Add([]byte(coracleFile))
	f.Fuzz(func(t *testing.T, data []byte) {
		source, err := Parse("fuzz.json", data, testOverrides())
		if err != nil {
			checkError(t, err)
			return
		}
		if !json.Valid(data) && !strings.HasPrefix(string(data), "\xef\xbb\xbf") {
			t.Fatalf("%q is no JSON", data)
		}
		var file struct{ Nodes, Termination *int64 }
		if json.Unmarshal(data, &file) != nil || file.Nodes == nil || file.Termination == nil {
			return // an experiment
		}
		spec := source.Points[0].Spec
		if spec.Engine != EngineSim || int64(spec.System.Roles["nodes"]+spec.System.Roles["servers"]) != *file.Nodes ||
			time.Duration(spec.Phases.Measure).Milliseconds() != *file.Termination {
			t.Errorf("%q is read as %+v", data, spec)
		}
	})
}
