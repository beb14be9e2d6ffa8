//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"quorumlab/harness/roundtrip"
	"quorumlab/results"
)

// rtt runs bench rtt in this process, where nothing is to be built.
func rtt(arguments ...string) finished {
	var stdout, stderr bytes.Buffer
	status := run(context.Background(), append([]string{"rtt"}, arguments...), &stdout, &stderr)
	return finished{stdout.String(), stderr.String(), status}
}

func TestRTTRefusesNonsenseInOneLine(t *testing.T) {
	spec := shipped(t, "quickstart.yaml")
	peers := []string{"--peers", "127.0.0.1:1,127.0.0.1:2"}
	for _, c := range []struct {
		arguments []string
		want      string
	}{
		{nil, "want either SPEC or --peers"},
		{append([]string{spec}, peers...), "want either SPEC or --peers"},
		{[]string{spec, spec}, "accepts at most 1 arg"},
		{[]string{"none.yaml"}, "none.yaml"},
		{append(peers, "--size", "huge"), "--size"},
		{append(peers, "--size", "5000B"), "--size is 5000 bytes: want 16 to 1400"},
		{[]string{shipped(t, "quickstart.yaml"), "--links", "wires"}, `--links is "wires": want auto, kernel or userspace`},
		{append(peers, "--protocol", "quic"), `--protocol is "quic": want udp, tcp, icmp`},
		{append(peers, "--count", "0"), "--count is 0: want 1 to 10000000"},
		{append(peers, "--interval", "1us"), "--interval is 1µs: want 100µs"},
		{append(peers, "--interval", "59m", "--count", "1000000"), "take longer than 366 days"},
		{append(peers, "--timeout", "0s"), "--timeout is 0s: want above 0"},
		{append(peers, "--set", "seed=1"), "--set is about labs"},
		{append(peers, "--links", "kernel"), "--links is about labs"},
		{[]string{"--peers", "127.0.0.1:1"}, "want two or more"},
		{[]string{"--peers", "a,b"}, `"a" is no host:port, nor a name=host:port`},
		{[]string{"--peers", "here=127.0.0.1:1,there=192.0.2.1:1"}, "another machine on each: want the address by which the others reach it"},
		{[]string{spec, "--engine", "sim"}, "want --engine netns"},
		{append(peers, "--out", filepath.Dir(spec)), "already holds something"},
	} {
		t.Run(strings.Join(c.arguments, " "), func(t *testing.T) { expectUsageError(t, rtt(c.arguments...), c.want) })
	}
}

// What a lab can't measure is refused before it is built.
func TestRTTRefusesNonsenseBeforeItBuildsALab(t *testing.T) {
	needNetns(t)
	spec := shipped(t, "quickstart.yaml")
	node := filepath.Join(binaries, "bench-node")
	for want, arguments := range map[string][]string{
		"--count is -1":             {"--count", "-1"},
		"want 700µs for 7 peers":    {"--interval", "200us"},
		"--point is 2: want 1 to 1": {"--point", "2"},
	} {
		dir := filepath.Join(t.TempDir(), "out")
		expectUsageError(t, rtt(append([]string{spec, "--node", node, "--out", dir}, arguments...)...), want)
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%v: it made a run folder", arguments)
		}
	}
}

// lab is a small experiment of four hosts, round trips of 20 ms apart.
func lab(t *testing.T) []string {
	return []string{shipped(t, "quickstart.yaml"), "--set", "system.roles={replicas: 1, leaders: 1, acceptors: 1}", "--set", "topology.link.delay=5ms"}
}

func TestRTTShowsEveryPairOfALab(t *testing.T) {
	needNetns(t)
	dir := t.TempDir()
	got := bench(t, dir, append([]string{"rtt", "--out", "run", "--count", "30", "--interval", "20ms", "--self"}, lab(t)...)...)
	if got.status != exitGood || got.stderr != "" {
		t.Fatalf("status %d\n%s%s", got.status, got.stdout, got.stderr)
	}
	want := `round trips by udp, in ms

src dst mean s.d. min 25th 50th 75th max lost declared
h1 h1 0 0 0 0 0 0 0 0 0
h1 h2 0 0 0 0 0 0 0 0 0
...
h4 h4 0 0 0 0 0 0 0 0 0

src dst 80th 90th 95th 98th 99th 99.9th
h1 h1 0 0 0 0 0 0
...
h4 h4 0 0 0 0 0 0

all: 360 round trips, mean 0, s.d. 0, min 0, max 0, 0 lost
...
run`
	if !(example{shown: want}).matches(got.stdout) {
		t.Errorf("it printed\n%s", got.stdout)
	}
	expectFiles(t, filepath.Join(dir, "run"), "manifest.json", "rtt.json", "rtt.csv", "rtt.html", "trials/0001/rtts.csv.gz",
		"figures/density.svg", "figures/cdf-h1.svg", "figures/time-h4.svg")
	again := bench(t, dir, "report", "run")
	if again.status != exitGood || again.stdout != got.stdout {
		t.Errorf("bench report: status %d\n%s%s", again.status, again.stdout, again.stderr)
	}
	refused := bench(t, dir, append([]string{"rtt", "--out", "run", "--count", "1"}, lab(t)...)...)
	expectUsageError(t, refused, "run")

	var study roundtrip.Study
	inJSON := bench(t, dir, "report", "run", "--json")
	if err := json.Unmarshal([]byte(inJSON.stdout), &study); err != nil || len(study.Pairs) != 16 || study.Planned != 480 {
		t.Fatalf("%v\n%s", err, inJSON.stdout)
	}
	for _, p := range study.Pairs {
		if p.From != p.To && (*p.DeclaredMS < 20 || *p.DeclaredMS > 20.1 || *p.Min < 20) || p.From == p.To && *p.DeclaredMS != 0 {
			t.Errorf("%+v: want 20 ms between hosts", p)
		}
	}
}

// The lab of a point of a sweep is that point's.
func TestRTTMeasuresThePointThatIsAskedFor(t *testing.T) {
	needNetns(t)
	arguments := append([]string{"rtt", "--point", "2", "--count", "5", "--json", "--quiet", "--set", "sweep.topology.link.delay=[1ms, 3ms]"}, lab(t)[:3]...)
	got := bench(t, t.TempDir(), arguments...)
	var study roundtrip.Study
	if err := json.Unmarshal([]byte(got.stdout), &study); err != nil || got.status != exitGood || got.stderr != "" {
		t.Fatalf("status %d, %v\n%s%s", got.status, err, got.stdout, got.stderr)
	}
	if p := study.Pairs[0]; *p.DeclaredMS < 12 || *p.DeclaredMS > 12.1 || *p.Min < 12 {
		t.Errorf("%+v: want 12 ms", p)
	}
}

func TestCtrlCKeepsTheRoundTripsThatCame(t *testing.T) {
	needNetns(t)
	dir := t.TempDir()
	peers := strings.Join(echoes(t, 2), ",")
	for name, arguments := range map[string][]string{"lab": lab(t), "machines": {"--peers", peers}} {
		cmd := exec.Command(filepath.Join(binaries, "bench"), append([]string{"rtt", "--out", name, "--count", "100000", "--interval", "10ms"}, arguments...)...)
		cmd.Dir = dir
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the study to begin", func() bool {
			begun, _ := filepath.Glob(filepath.Join(dir, name, "trials/0001/.rtts.csv.gz.*"))
			return len(begun) == 1
		})
		// Both the machines and the lab have answered by then, unless this machine is stuck.
		_ = exec.Command("sleep", "2").Run()
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if status := cmd.ProcessState.ExitCode(); status != exitInterrupted || stderr.String() != "bench: interrupted\n" {
			t.Errorf("%s: exit status %d, stderr %q", name, status, stderr.String())
		}
		if !strings.Contains(stdout.String(), "INCOMPLETE: it ended after ") {
			t.Errorf("%s: the table is\n%s", name, stdout.String())
		}
		folder, err := results.Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		rows := 0
		for _, err := range folder.RTTs(1) {
			if err != nil {
				t.Fatal(err)
			}
			rows++
		}
		if rows < 50 {
			t.Errorf("%s: %d rows were kept", name, rows)
		}
		if again := bench(t, dir, "report", name); again.status != exitGood || again.stdout != stdout.String() {
			t.Errorf("%s: bench report: status %d\n%s", name, again.status, again.stderr)
		}
	}
}

// echoes starts processes that take the part of machines, and returns their addresses.
func echoes(t *testing.T, count int) (addresses []string) {
	t.Helper()
	for range count {
		listener, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := listener.Addr().String()
		listener.Close()
		cmd := exec.Command(filepath.Join(binaries, "bench-node"), "echo", "--listen", address)
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Signal(os.Interrupt)
			if err := cmd.Wait(); err != nil {
				t.Errorf("bench-node echo ended with %v", err)
			}
		})
		line := make([]byte, 200)
		if n, err := stdout.Read(line); err != nil || !strings.Contains(string(line[:n]), address) {
			t.Fatalf("bench-node echo said %q, %v", line[:n], err)
		}
		addresses = append(addresses, address)
	}
	return addresses
}

func TestRTTMeasuresBetweenMachines(t *testing.T) {
	addresses := echoes(t, 2)
	dir := t.TempDir()
	peers := fmt.Sprintf("berlin=%s,tokyo=%s", addresses[0], addresses[1])
	for _, protocol := range []string{"udp", "tcp"} {
		got := bench(t, dir, "rtt", "--peers", peers, "--protocol", protocol, "--count", "20", "--interval", "10ms", "--out", protocol, "--size", "1400B")
		want := "round trips by " + protocol + `, in ms

src dst mean s.d. min 25th 50th 75th max lost
berlin tokyo 0 0 0 0 0 0 0 0
tokyo berlin 0 0 0 0 0 0 0 0
...
` + protocol
		if got.status != exitGood || got.stderr != "" || !(example{shown: want}).matches(got.stdout) {
			t.Errorf("status %d\n%s%s", got.status, got.stdout, got.stderr)
		}
	}
	// One that isn't there is named, at once.
	got := bench(t, dir, "rtt", "--peers", peers+",lima=127.0.0.1:1", "--count", "100000")
	if got.status != exitFailed || !strings.Contains(got.stderr, "from lima") || strings.Contains(got.stderr, "from berlin") || got.stdout != "" {
		t.Errorf("status %d\n%s%s", got.status, got.stdout, got.stderr)
	}
}

func TestTheDocsShowWhatRTTPrints(t *testing.T) {
	needNetns(t)
	docs, err := os.ReadFile("../../docs/rtt.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := consoleExamples(string(docs))
	if len(examples) < 2 {
		t.Fatal("no examples found")
	}
	dir := layOut(t)
	for _, e := range examples {
		if out := e.run(t, dir); !e.matches(out) {
			t.Errorf("%s printed\n%s\nthe docs show\n%s", e.command, out, e.shown)
		}
	}
	for _, file := range regexp.MustCompile("(?m)^\\| `(rtt[^`]*|figures[^`]*|trials[^`]*)`").FindAllStringSubmatch(string(docs), -1) {
		if found, err := filepath.Glob(filepath.Join(dir, "study", strings.ReplaceAll(file[1], "HOST", "*"))); err != nil || len(found) == 0 {
			t.Errorf("the study has no %s", file[1])
		}
	}
}
