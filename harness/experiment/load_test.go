package experiment

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"quorumlab/topologies"
)

func TestVersionAloneGivesTheDefaults(t *testing.T) {
	source := parse(t, "version: 1\n")
	want := &Spec{
		Version: 1, Name: "steady", Seed: 1, Repeat: 5, Engine: "auto",
		System: System{
			Protocol: "multipaxos", Application: "kv", Roles: map[string]int{"replicas": 2, "leaders": 2, "acceptors": 3},
			Storage: "memory", Transport: "tcp",
		},
		Topology: Topology{
			Kind: "star", Link: Link{JitterDistribution: pointer("normal"), Rate: pointer(BitRate(1e9)), Queue: pointer(10000000)},
			Linear: Linear{Switches: "role"}, Tree: Tree{FanOut: 2}, Placement: PlacementRule{By: "each"},
		},
		Workload: Workload{
			Clients: 1, Target: "all", Loop: "open", Rate: 20, Arrivals: "fixed", Mix: map[string]float64{"nop": 1},
			Keys: 10, ValueSize: 16, Timeout: Duration(10 * time.Second),
		},
		Phases: Phases{Warmup: Duration(5 * time.Second), Measure: Duration(time.Minute), Drain: Duration(10 * time.Second)},
	}
	if diff := cmp.Diff(want, source.Spec, ignoreInputs); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if len(source.Points) != 1 || len(source.Points[0].Params) != 0 {
		t.Fatalf("points are %+v, want one without parameters", source.Points)
	}
	if diff := cmp.Diff(want, source.Points[0].Spec, ignoreInputs); diff != "" {
		t.Errorf("the point: -want +got\n%s", diff)
	}
}

func TestGoodFilesAreRead(t *testing.T) {
	files, _ := filepath.Glob("testdata/good/*.yaml")
	if len(files) < 5 {
		t.Fatalf("only %d good files", len(files))
	}
	for _, file := range files {
		source, err := Load(file, testOverrides())
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		data, _ := os.ReadFile(file)
		if string(source.Data) != string(data) || source.File != file {
			t.Errorf("%s: the source doesn't keep the file's bytes", file)
		}
	}
}

func TestTemplateSaysTheDefaults(t *testing.T) {
	got := parse(t, string(Template())).Spec
	want := parse(t, "version: 1\nname: quickstart\n").Spec
	want.System.Options, want.System.Spares = map[string]any{}, map[string]int{}
	// What the template spells out is what links are like without it.
	if diff := cmp.Diff(want.Network(), got.Network(), cmpopts.EquateComparable(topologies.Host{}), cmpopts.IgnoreFields(topologies.Parameters{}, "JitterShape")); diff != "" {
		t.Errorf("the network: -defaults +template\n%s", diff)
	}
	want.Topology.Link, want.Topology.Links, want.Capture = got.Topology.Link, []LinkRule{}, []string{}
	want.Faults = []Fault{}
	if diff := cmp.Diff(want, got, ignoreInputs); diff != "" {
		t.Errorf("-defaults +template\n%s", diff)
	}
	text := string(Template())
	for _, path := range fieldPaths {
		key := path[strings.LastIndex(path, ".")+1:]
		if !strings.Contains(text, key+":") {
			t.Errorf("the template lacks %s", path)
		}
	}
	if lines := strings.Count(text, "\n"); lines > 125 {
		t.Errorf("the template has %d lines", lines)
	}
	sweep := strings.ReplaceAll(text[strings.LastIndex(text, "# sweep:"):], "# ", "")
	if points := parse(t, text+sweep).Points; len(points) != 4 {
		t.Errorf("the template's sweep makes %d points, want the 4 it speaks of", len(points))
	}
}

// A Spec written as JSON is read as itself.
func TestSpecSurvivesJSON(t *testing.T) {
	for _, text := range []string{
		"version: 1\n",
		"version: 1\nsystem: {protocol: testpaxos, options: {window: 5}}\ntopology: {link: {loss: 0.1%}}\n",
		"version: 1\nengine: sim\nsystem: {spares: {leaders: 1}, storage: disk, transport: datagram}\nstop: {requests: 5}\n" +
			"simulation: {per_byte: 0.5ns, sync: 0}\n",
	} {
		want := parse(t, text).Spec
		data, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		// Numbers in a protocol's options may change their type.
		got := parse(t, string(data)).Spec
		want.System.Options, got.System.Options = nil, nil
		if diff := cmp.Diff(want, got, ignoreInputs); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	}
}

func TestNameComesFromTheFile(t *testing.T) {
	for file, want := range map[string]string{
		"a/b/steady.yaml": "steady", "steady": "steady", "two words.yml": "two words", ".hidden.yaml": "hidden",
		"...": "experiment", "": "experiment", "odd\x01name.yaml": "odd-name",
		strings.Repeat("x", 200) + ".yaml": "experiment", "/dev/stdin": "stdin",
	} {
		source, err := Parse(file, []byte("version: 1\n"), Overrides{})
		if err != nil || source.Spec.Name != want {
			t.Errorf("%q names the experiment %q (%v), want %q", file, source.Spec.Name, err, want)
		}
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	large := filepath.Join(dir, "large.yaml")
	for file, data := range map[string][]byte{large: make([]byte, 3<<20)} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	missing := filepath.Join(dir, "missing.yaml")
	for _, c := range []struct {
		file, want string
		is         error
	}{
		{missing, missing + ": no such file: want an experiment file; bench init writes one", fs.ErrNotExist},
		{dir, dir + ": is a directory: want an experiment file", nil},
		{large, large + ": is larger than 1048576 bytes: want an experiment file", nil},
	} {
		_, err := Load(c.file, Overrides{})
		var bad *Error
		if !errors.As(err, &bad) || err.Error() != c.want || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

func TestPermissionDeniedIsSaid(t *testing.T) {
	err := openError("secret.yaml", &fs.PathError{Op: "open", Path: "secret.yaml", Err: fs.ErrPermission})
	const want = "secret.yaml: permission denied: want an experiment file that you may read"
	if err.Error() != want || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestOverridesApplyInOrder(t *testing.T) {
	seed, repeat := uint64(9), 2
	overrides := testOverrides()
	overrides.Set = []string{
		"topology.link.delay=5ms", "topology.link.delay=7ms", "workload.mix={read: 0.5, update: 0.5}",
		"system.options.backoff.max=1s", "system.protocol=testpaxos", "seed=3", "name=a b",
	}
	overrides.Seed, overrides.Repeat, overrides.Engine = &seed, &repeat, "sim"
	source, err := Parse("x.yaml", []byte("version: 1\nseed: 2\ntopology: {link: {delay: 1ms}}\n"), overrides)
	if err != nil {
		t.Fatal(err)
	}
	s := source.Points[0].Spec
	if *s.Topology.Link.Delay != (Delay{Constant: Duration(7 * time.Millisecond)}) || s.Seed != 9 || s.Repeat != 2 || s.Engine != "sim" || s.Name != "a b" ||
		!maps.Equal(s.Workload.Mix, map[string]float64{"read": 0.5, "update": 0.5}) ||
		!cmp.Equal(s.System.Options, map[string]any{"backoff": map[string]any{"max": "1s"}}) {
		t.Errorf("the overrides give %+v", s)
	}
	want := []string{"--set topology.link.delay=5ms", "--set topology.link.delay=7ms",
		"--set workload.mix={read: 0.5, update: 0.5}", "--set system.options.backoff.max=1s", "--set system.protocol=testpaxos",
		"--set seed=3", "--set name=a b", "--seed 9", "--repeat 2", "--engine sim"}
	if diff := cmp.Diff(want, source.Overrides); diff != "" {
		t.Errorf("applied: -want +got\n%s", diff)
	}
}

func TestBadOverridesNameTheFlag(t *testing.T) {
	const file = "version: 1\nsweep: {workload.rate: [10, 20]}\n"
	for _, c := range []struct{ set, want string }{
		{"topolgy.link.delay=5ms", "--set topolgy.link.delay=5ms: unknown key topolgy: did you mean topology?"},
		{"topology.link.delay=-5ms", "--set topology.link.delay=-5ms: topology.link.delay is -5ms: want a duration from 0 to 1h, such as 20ms"},
		{"topology.link.delay=", "--set topology.link.delay=: topology.link.delay is empty: want a duration, such as 20ms, 1.5s or 1m"},
		{"topology.link.delay", "--set topology.link.delay: has no path=value: want one, such as topology.link.delay=20ms"},
		{"=5", "--set =5: has no path=value: want one, such as topology.link.delay=20ms"},
		{"seed=[1, 2", "--set seed=[1, 2: is not valid YAML: sequence end token ']' not found"},
		{"workload.mix={nop: 1, nop: 1}", "--set workload.mix={nop: 1, nop: 1}: workload.mix.nop stands twice: want it once"},
		{"system.roles.acceptors=0", "--set system.roles.acceptors=0: system.roles.acceptors is 0: want at least 1 for multipaxos"},
		{"system.roles.learners=1", "--set system.roles.learners=1: unknown key system.roles.learners: did you mean system.roles.leaders?"},
		{"workload.rate=30", "--set workload.rate=30: workload.rate is swept by the file: want --set 'sweep.workload.rate=[...]'"},
		{"sweep.workload.rate=30", "--set sweep.workload.rate=30: sweep.workload.rate is 30: want a list of values, such as [1, 2]"},
		{"sweep.workload.keys=[1, 0]", "--set sweep.workload.keys=[1, 0]: workload.keys is 0: want from 1 to 1000000000 keys"},
		{"sweep=5", "--set sweep=5: sweep is 5: want a mapping of dotted paths to lists, such as topology.link.delay: [10ms, 20ms]"},
		{"phases.measure=10ms", "--set phases.measure=10ms: phases.measure is 10ms, too short for one request at 10/s: want at least 100ms"},
		{"workload.rate.x=1", "--set workload.rate.x=1: unknown key workload.rate.x: no key here"},
	} {
		overrides := testOverrides()
		overrides.Set = []string{c.set}
		_, err := Parse("x.yaml", []byte(file), overrides)
		var bad *Error
		if !errors.As(err, &bad) || err.Error() != c.want {
			t.Errorf("--set %s:\ngot  %v\nwant %s", c.set, err, c.want)
		}
	}
	zero := 0
	for want, overrides := range map[string]Overrides{
		"--repeat 0: repeat is 0: want from 1 to 100000 repetitions":      {Repeat: &zero},
		"--engine vmware: engine is vmware: want one of auto, netns, sim": {Engine: "vmware"},
	} {
		overrides.Limits, overrides.Engines = testOverrides().Limits, testOverrides().Engines
		if _, err := Parse("x.yaml", []byte(file), overrides); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// The engine's limit also holds where the command line chose the engine.
func TestEngineLimitsCountEveryHost(t *testing.T) {
	overrides := testOverrides()
	const file = "version: 1\nsystem:\n  roles: {acceptors: 995}\n" // 2 replicas, 2 leaders, 1 client
	for engine, good := range map[string]bool{"netns": true, "sim": true, "auto": true} {
		overrides.Engine = engine
		if _, err := Parse("x.yaml", []byte(file), overrides); (err == nil) != good {
			t.Errorf("%s with 1000 hosts: %v", engine, err)
		}
	}
	overrides.Engine, overrides.Set = "netns", []string{"workload.clients=2"}
	const want = "--set workload.clients=2: workload.clients is 2 and makes 1001 hosts in all: want at most 1000 for engine netns"
	if _, err := Parse("x.yaml", []byte(file), overrides); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// A run has one manifest, which names one engine.
func TestFieldsOfTheWholeRunAreNotSweptWhateverTheCommandLineSays(t *testing.T) {
	const text = "version: 1\nsweep:\n  engine: [sim, netns]\n"
	const want = "x.yaml:3:3: engine can't be swept: want one engine a run, outside the sweep: engine: sim or another"
	for _, engine := range []string{"", "sim", "netns"} {
		overrides := testOverrides()
		overrides.Engine = engine
		if _, err := Parse("x.yaml", []byte(text), overrides); err == nil || err.Error() != want {
			t.Errorf("--engine %q: %v, want %s", engine, err, want)
		}
	}
	for _, path := range []string{"engine", "version", "name", "seed", "repeat"} {
		overrides := testOverrides()
		overrides.Set = []string{"sweep." + path + "=[1, 2]"}
		_, err := Parse("x.yaml", []byte("version: 1\n"), overrides)
		if err == nil || !strings.HasPrefix(err.Error(), "--set sweep."+path+"=[1, 2]: "+path+" can't be swept: want ") {
			t.Errorf("--set sweep.%s: %v", path, err)
		}
	}
}
