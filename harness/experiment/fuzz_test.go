package experiment

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"quorumlab/faults"
	"quorumlab/topologies"
)

// FuzzParse reads any bytes as an experiment: never a panic, always either one
// *Error of one line or a plan whose points can be deployed, and never long.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/bad/*.[yj]*", "testdata/good/*", "template.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatalf("no files match %s (%v)", pattern, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data, "topology.link.delay=5ms")
		}
	}
	f.Add([]byte("version: 1\n"), "sweep.system.options.a=[{b: 1}, [2]]")
	for _, set := range []string{
		"topology.kind=tree", "topology.kind=mesh", "topology.placement={by: together, at: {clients: [h1]}}",
		"topology.links=[{match: '*', from: h*, delay: 1ms, loss: 1%}]", "topology.links.0.match=[a, b]", "capture=['*']",
		"topology={kind: wan, wan: {regions: [a, b], rtt: [[0, 1ms], [1ms, 0]]}, placement: region}",
		"topology={kind: custom, custom: {switches: [a, b], links: [{between: [a, b]}]}}", "topology.link.delay={trace: testdata/inputs/rtt.csv}",
		"sweep.topology.link.delay=[1ms, {table: testdata/inputs/rtts.txt}]", "topology={kind: file, file: testdata/inputs/switches.gml}",
	} {
		f.Add([]byte("version: 1\n"), set)
	}
	for _, set := range []string{
		"faults=[{name: crash, whom: leader, at: 10s}]", "faults=[{name: cut, from: all, to: [leader, minority], random: {mean: 2s}, for: {uniform: [1s, 2s]}}]",
		"faults=[{id: a, name: degrade, links: '*', loss: 5%, at: 1s, every: 2s}, {name: heal, fault: a, after: {fault: a, by: 1s}}]",
		"faults=[{name: crash, whom: leader1, failpoint: {place: after_send, kind: phase2a, to: acceptor1}}]",
		"faults=[{name: partition, groups: [[leader1], acceptors], on: {event: leader_elected, count: 2, delay: 5ms}, for: {exponential: 1s}}]",
		"sweep.faults=[[{name: clock, whom: all, rate: 2, at: 1s}], [{name: clock, whom: all, jump: -1s, at: 1s}]]", "faults.a.whom=leader", "faults.0={}",
	} {
		f.Add([]byte("version: 1\n"), set)
		f.Add([]byte("version: 1\nfaults:\n  - {id: a, name: crash, whom: leader, at: 10s}\n"), set)
	}
	f.Fuzz(func(t *testing.T, data []byte, set string) {
		overrides := testOverrides()
		if set != "" {
			overrides.Set = []string{set}
		}
		if namesForeignFiles(data) || namesForeignFiles([]byte(set)) {
			t.Skip("what it would read isn't ours")
		}
		start := time.Now()
		source, err := Parse("fuzz.yaml", data, overrides)
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("took %v", took)
		}
		if err != nil {
			checkError(t, err)
			return
		}
		if len(source.Points) == 0 || source.Estimate().Trials != len(source.Points)*source.Spec.Repeat {
			t.Errorf("%d points, estimate %+v", len(source.Points), source.Estimate())
		}
		for _, point := range source.Points[:min(3, len(source.Points))] {
			checkDeployment(t, point.Spec)
			checkSchedule(t, point.Spec)
			if _, err := point.Params.MarshalJSON(); err != nil {
				t.Errorf("the parameters %v: %v", point.Params, err)
			}
		}
	})
}

// namesForeignFiles tells whether an experiment names files outside of this folder:
// devices of the machine, say.
func namesForeignFiles(data []byte) bool {
	return bytes.Contains(data, []byte("../")) || bytes.Contains(data, []byte("/proc")) || bytes.Contains(data, []byte("/sys")) || bytes.Contains(data, []byte("/dev"))
}

// checkSchedule wants words for each fault, and a schedule that makes a director.
func checkSchedule(t *testing.T, s *Spec) {
	t.Helper()
	schedule := s.Schedule()
	if lines := s.ScheduleLines(); len(lines) != len(schedule) || len(schedule) != len(s.Faults) {
		t.Errorf("%d faults are %d in the schedule and %d in words", len(s.Faults), len(schedule), len(lines))
	}
	if len(schedule) == 0 {
		return
	}
	world := s.World(1, EngineSim)
	director := faults.NewDirector(schedule, world, 1, func() []string { return nil })
	director.Begin()
	for range 100 {
		at, ok := director.Next()
		if !ok || at > world.Load {
			break
		}
		director.Advance(at)
	}
	director.End(world.Load)
	if len(director.Records()) == 0 {
		t.Error("nothing has become of a schedule, not even that it never fired")
	}
}

// checkDeployment wants each process on a host that there is, at an address of its own,
// and each link with parameters that make sense.
func checkDeployment(t *testing.T, s *Spec) {
	t.Helper()
	network := s.Network()
	hosts, taken := map[string]topologies.Host{}, map[string]bool{}
	for _, host := range network.Hosts {
		hosts[host.Name] = host
	}
	for _, p := range s.Deployment() {
		address, err := netip.ParseAddrPort(p.Address)
		if host, ok := hosts[p.Host]; !ok || err != nil || host.Address != address.Addr() || taken[p.Address] {
			t.Errorf("%s is on %q, %s; that host is %v", p.Name, p.Host, p.Address, host)
		}
		taken[p.Address] = true
	}
	if err := network.Check(); err != nil {
		t.Error(err)
	}
}

func checkError(t *testing.T, err error) {
	t.Helper()
	var bad *Error
	if !errors.As(err, &bad) {
		t.Fatalf("%T: %v", err, err)
	}
	text := err.Error()
	if strings.ContainsAny(text, "\n\r") || !strings.HasPrefix(text, "fuzz.yaml:") && !strings.HasPrefix(text, "fuzz.json:") && !strings.HasPrefix(text, "--set ") {
		t.Errorf("not a good error: %q", text)
	}
	if bad.Line < 0 || (bad.Line == 0) != (bad.Column == 0) {
		t.Errorf("the position is %d:%d in %q", bad.Line, bad.Column, text)
	}
}

// Hostile files of the largest size are refused quickly. Without the bounds,
// some of these take minutes and some overflow the stack.
func TestHostileFilesAreRefusedSoon(t *testing.T) {
	refuse := func(piece string, size int, prefixes ...string) {
		for _, prefix := range prefixes {
			count := size / len(piece)
			_, err := Parse("fuzz.yaml", []byte(prefix+strings.Repeat(piece, count)), Overrides{})
			if err == nil {
				t.Fatalf("%q %d times behind %q is an experiment", piece, count, prefix)
			}
			checkError(t, err)
		}
	}
	start := time.Now()
	for _, piece := range []string{"[", "a: b\n"} {
		refuse(piece, maxFileBytes, "")
	}
	for _, piece := range []string{
		"[", "{a: ", "- ", "? ", ": ", "a: b\n", "- b\n", "&a ", "*a ", "! ", "!", "%a\n", "'", `"`, "|\n",
		"x", "a: ", ",", "]", "x\n", "a:\n", "<<: ", "{", "a: |\n x\n", "- - ", "\\",
	} {
		refuse(piece, maxTokens/8*len(piece), "", "version: 1\nname: ", "version: 1\nname: [")
	}
	if took := time.Since(start); took > time.Minute {
		t.Errorf("took %v", took)
	}
}
