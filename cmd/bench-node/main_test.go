//go:build linux

package main

import (
	"bufio"
	"bytes"
	"debug/elf"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/node/driver/clock"
	"quorumlab/results"
)

// binary is bench-node, built for the tests.
var binary string

func TestMain(m *testing.M) {
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "bench-node-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "bench-node")
	build := exec.Command("go", "build", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building bench-node: %v\n%s", err, output)
		return 1
	}
	return m.Run()
}

func TestTheBinaryIsStatic(t *testing.T) {
	file, err := elf.Open(binary)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, program := range file.Progs {
		if program.Type == elf.PT_INTERP || program.Type == elf.PT_DYNAMIC {
			t.Errorf("it has a program header %v, so it needs a dynamic linker", program.Type)
		}
	}
	if file.Section(".dynamic") != nil {
		t.Error("it has a .dynamic section")
	}
}

func TestExitStatusesAndMessages(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.json")
	if err := os.WriteFile(bad, []byte(`{"protocol": "multipaxos", "options": {"window": 0}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	good := filepath.Join(dir, "good.json")
	if err := os.WriteFile(good, []byte(`{"protocol": "multipaxos", "seed": 1, "nodes": [
		{"id": 1, "name": "x", "roles": ["replica", "leader", "acceptor"], "address": "127.0.0.1:1"}]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		arguments []string
		status    int
		stderr    string
	}{
		"unknown command":  {[]string{"dance"}, exitUsage, `"dance" isn't a command`},
		"unknown flag":     {[]string{"run", "--fast"}, exitUsage, "--fast"},
		"missing flags":    {[]string{"run", "--name", "x"}, exitUsage, "--cluster is required"},
		"echo's flags":     {[]string{"echo", "--nam", "h1"}, exitUsage, "--nam"},
		"echo's address":   {[]string{"echo", "--listen", "nowhere"}, exitFailed, "nowhere"},
		"stray argument":   {[]string{"version", "now"}, exitUsage, `"now"`},
		"no cluster file":  {[]string{"run", "--cluster", filepath.Join(dir, "absent"), "--name", "x"}, exitFailed, "absent"},
		"bad cluster file": {[]string{"run", "--cluster", bad, "--name", "x"}, exitFailed, "option window is 0"},
		"bad injection":    {[]string{"run", "--cluster", good, "--name", "x", "--injection", bad}, exitFailed, "bad.json: bad injection"},
		"bad address":      {[]string{"echo", "--name", "h1", "--listen", "nowhere"}, exitFailed, "nowhere"},
		"version":          {[]string{"version"}, exitGood, ""},
		"no command":       {nil, exitGood, ""},
		"help":             {[]string{"run", "--help"}, exitGood, ""},
	} {
		var stdout, stderr bytes.Buffer
		status := run(c.arguments, strings.NewReader(""), &stdout, &stderr)
		if status != c.status || !strings.Contains(stderr.String(), c.stderr) {
			t.Errorf("%s: status %d, stderr %q, want %d with %q", name, status, &stderr, c.status, c.stderr)
		}
		wantLines := 0
		if c.status != exitGood {
			wantLines = 1
		}
		if lines := strings.Count(stderr.String(), "\n"); lines != wantLines {
			t.Errorf("%s: %d lines on stderr, want %d: %q", name, lines, wantLines, &stderr)
		}
		if (c.status == exitGood) != (stdout.Len() > 0) {
			t.Errorf("%s: stdout is %q", name, &stdout)
		}
	}
}

func TestHelpHasExamples(t *testing.T) {
	for _, command := range []string{"run", "echo"} {
		var stdout bytes.Buffer
		run([]string{command, "--help"}, nil, &stdout, io.Discard)
		if !strings.Contains(stdout.String(), "Examples:\n  bench-node "+command) {
			t.Errorf("%s --help has no example:\n%s", command, &stdout)
		}
	}
}

// nodeProcess is a bench-node that runs on its own.
type nodeProcess struct {
	t      *testing.T
	cmd    *exec.Cmd
	input  io.WriteCloser
	output *bufio.Scanner
	log    bytes.Buffer
	next   uint64
}

func startProcess(t *testing.T, arguments ...string) *nodeProcess {
	t.Helper()
	p := &nodeProcess{t: t, cmd: exec.Command(binary, arguments...)}
	p.cmd.Stderr = &p.log
	output, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if p.input, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	})
	p.output = bufio.NewScanner(output)
	if hello := p.read(); hello.Hello == nil || hello.Hello.PID != p.cmd.Process.Pid {
		t.Fatalf("hello: %+v, the process is %d", hello.Hello, p.cmd.Process.Pid)
	}
	return p
}

func (p *nodeProcess) read() control.Line {
	p.t.Helper()
	if !p.output.Scan() {
		_ = p.cmd.Wait()
		p.t.Fatalf("%v said no more: %v\n%s", p.cmd.Args, p.cmd.ProcessState, &p.log)
	}
	var line control.Line
	if err := json.Unmarshal(p.output.Bytes(), &line); err != nil {
		p.t.Fatalf("%q: %v", p.output.Bytes(), err)
	}
	return line
}

// call gives a command and skips events until its answer.
func (p *nodeProcess) call(command control.Command) control.Line {
	p.t.Helper()
	p.next++
	command.ID = p.next
	data, err := json.Marshal(command)
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.input.Write(append(data, '\n')); err != nil {
		p.t.Fatal(err)
	}
	for {
		if line := p.read(); line.Type == control.TypeAnswer {
			return line
		}
	}
}

func (p *nodeProcess) status() *control.Status {
	p.t.Helper()
	return p.call(control.Command{Command: control.CommandStatus}).Status
}

// kill ends the process as a power failure of its own would.
func (p *nodeProcess) kill() {
	p.t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Error(err)
	}
	_ = p.cmd.Wait()
}

// end closes the control channel and awaits the end.
func (p *nodeProcess) end() {
	p.t.Helper()
	p.input.Close()
	for p.output.Scan() {
	}
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("%v: %v\n%s", p.cmd.Args, err, &p.log)
	}
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// cluster writes the file of a small Multi-Paxos cluster and returns how to
// start its nodes.
func cluster(t *testing.T) (dir string, start func(name string) *nodeProcess) {
	t.Helper()
	dir = t.TempDir()
	file := control.Cluster{Protocol: "multipaxos", Storage: control.StorageDisk, Seed: 1}
	for i, roles := range [][]string{{"replica", "leader"}, {"replica", "leader"}, {"acceptor"}, {"acceptor"}, {"acceptor"}, {"client"}} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close() // all are held until all are chosen
		node := control.Node{Address: listener.Addr().String()}
		node.Member = consensus.Member{ID: consensus.NodeID(i + 1), Name: fmt.Sprintf("n%d", i+1), Roles: roles}
		file.Nodes = append(file.Nodes, node)
	}
	data, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "cluster.json")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir, func(name string) *nodeProcess {
		t.Helper()
		own := filepath.Join(dir, name)
		if err := os.MkdirAll(own, 0o755); err != nil {
			t.Fatal(err)
		}
		return startProcess(t, "run", "--cluster", path, "--name", name, "--dir", own)
	}
}

// The whole thing with real processes, which are killed and come back: one in the
// middle of the load, all of them at once after it.
func TestAClusterAnswersAllRequestsAndForgetsNothingThoughNodesAreKilled(t *testing.T) {
	dir, start := cluster(t)
	nodes := map[string]*nodeProcess{}
	for i := range 6 {
		name := fmt.Sprintf("n%d", i+1)
		nodes[name] = start(name)
	}
	connected := func() bool {
		leading := false
		for _, node := range nodes {
			s := node.status()
			if s.Connected < s.Peers {
				return false
			}
			leading = leading || s.Leading
		}
		return leading
	}
	eventually(t, "all are connected and one leads", connected)

	client := nodes["n6"]
	answer := client.call(control.Command{Command: control.CommandLoad, Load: &control.Load{
		StartNS: int64(clock.Now()), DurationNS: int64(time.Second), TimeoutNS: int64(20 * time.Second),
		RateRPS: 300, Arrivals: "fixed", Mix: map[string]float64{"create": 1}, Keys: 1000, ValueBytes: 16, Seed: 1,
	}})
	if answer.Error != "" {
		t.Fatal(answer.Error)
	}
	for client.read().Event != control.EventProgress { // half of the load is sent
	}
	nodes["n5"].kill()
	for client.read().Event != control.EventLoadDone {
	}
	nodes["n5"] = start("n5")
	eventually(t, "the killed process is connected again", connected)
	agreed := func() bool {
		a, b := nodes["n1"].status(), nodes["n2"].status()
		return a.Slot == b.Slot && a.Slot >= 300 && a.StateHash == b.StateHash
	}
	eventually(t, "the replicas agree", agreed)
	checkOutcomes(t, filepath.Join(dir, "n6", "requests.csv"))

	before := nodes["n1"].status()
	for i := range 5 {
		nodes[fmt.Sprintf("n%d", i+1)].kill()
	}
	for i := range 5 {
		name := fmt.Sprintf("n%d", i+1)
		nodes[name] = start(name)
	}
	eventually(t, "all are connected again and one leads", connected)
	eventually(t, "the replicas agree again", agreed)
	// A leader may fill gaps with commands of nobody.
	if after := nodes["n1"].status(); after.Slot < before.Slot || after.Slot == before.Slot && after.StateHash != before.StateHash {
		t.Errorf("slot %d before all were killed, %d after it, or another state", before.Slot, after.Slot)
	}
	for _, node := range nodes {
		node.end()
	}
}

func checkOutcomes(t *testing.T, path string) {
	t.Helper()
	outcomes := map[string]int{}
	reader, err := results.OpenRows(path)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	for row, err := range reader.All() {
		if err != nil {
			t.Fatal(err)
		}
		outcomes[row.Outcome]++
	}
	if outcomes[results.OutcomeTimeout] > 0 || outcomes[results.OutcomeOK] == 0 || outcomes[results.OutcomeOK]+outcomes[results.OutcomeFail] != 300 {
		t.Errorf("outcomes: %v, want 300 answers", outcomes)
	}
}

// The controller may vanish at any instant, whatever the node is waiting for.
func TestTheEndOfTheControlChannelEndsALonelyNode(t *testing.T) {
	_, start := cluster(t)
	for _, name := range []string{"n1", "n6"} {
		node := start(name)
		if s := node.status(); s.Connected != 0 || s.Peers == 0 {
			t.Errorf("%s has %d connections of %d, want none", name, s.Connected, s.Peers)
		}
		node.end()
	}
	startProcess(t, "echo", "--listen", "127.0.0.1:0", "--name", "h1").end()
}
