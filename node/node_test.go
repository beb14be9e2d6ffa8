package node

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"quorumlab/node/control"
	"quorumlab/node/driver/clock"
	"quorumlab/results"
)

// controller is the other end of a node's control channel.
type controller struct {
	t      *testing.T
	input  *io.PipeWriter
	events chan control.Line
	hello  control.Hello
	// answers and next belong to the calling goroutine.
	answers chan control.Line
	next    uint64
	ended   chan error
}

// control starts what run does and reads its hello.
func startControlled(t *testing.T, run func(Streams) error) *controller {
	t.Helper()
	inputReader, input := io.Pipe()
	output, outputWriter := io.Pipe()
	c := &controller{t: t, input: input, events: make(chan control.Line, 100), answers: make(chan control.Line, 100), ended: make(chan error, 1)}
	go func() {
		err := run(Streams{Input: inputReader, Output: outputWriter, Log: io.Discard})
		outputWriter.Close()
		c.ended <- err
	}()
	hello := make(chan control.Hello, 1)
	go func() {
		defer close(hello)
		for scanner := bufio.NewScanner(output); scanner.Scan(); {
			var line control.Line
			if err := json.Unmarshal(scanner.Bytes(), &line); err != nil {
				t.Errorf("%q: %v", scanner.Bytes(), err)
			}
			switch line.Type {
			case control.TypeHello:
				hello <- *line.Hello
			case control.TypeAnswer:
				c.answers <- line
			default:
				c.events <- line
			}
		}
	}()
	var greeted bool
	if c.hello, greeted = <-hello; !greeted {
		t.Fatalf("no hello: %v", <-c.ended)
	}
	return c
}

func (c *controller) call(command control.Command) control.Line {
	c.t.Helper()
	c.next++
	command.ID = c.next
	if _, err := c.input.Write(append(encode(c.t, command), '\n')); err != nil {
		c.t.Fatal(err)
	}
	line := <-c.answers
	if line.ID != command.ID {
		c.t.Fatalf("answer %d to command %d", line.ID, command.ID)
	}
	return line
}

func (c *controller) status() control.Status {
	c.t.Helper()
	line := c.call(control.Command{Command: control.CommandStatus})
	if line.Status == nil {
		c.t.Fatalf("no status: %s", line.Error)
	}
	return *line.Status
}

// end closes the channel and returns what the node returned.
func (c *controller) end() error {
	c.input.Close()
	return <-c.ended
}

// freeAddress is a loopback address that nobody listens at.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// startCluster runs every node of the file, in folders below dir.
func startCluster(t *testing.T, cluster control.Cluster) (nodes map[string]*controller, dir string) {
	t.Helper()
	dir = t.TempDir()
	for i := range cluster.Nodes {
		cluster.Nodes[i].Address = freeAddress(t)
	}
	file := filepath.Join(dir, "cluster.json")
	if err := os.WriteFile(file, encode(t, cluster), 0o644); err != nil {
		t.Fatal(err)
	}
	nodes = map[string]*controller{}
	for _, node := range cluster.Nodes {
		own := filepath.Join(dir, node.Name)
		if err := os.Mkdir(own, 0o755); err != nil {
			t.Fatal(err)
		}
		nodes[node.Name] = startControlled(t, func(streams Streams) error {
			return Run(Options{ClusterFile: file, Name: node.Name, Dir: own}, streams)
		})
	}
	for name, node := range nodes {
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			if s := node.status(); s.Connected == s.Peers {
				break
			} else if time.Now().After(deadline) {
				t.Fatalf("%s is connected to %d of %d", name, s.Connected, s.Peers)
			}
		}
	}
	return nodes, dir
}

func testLoad() *control.Load {
	return &control.Load{
		StartNS: int64(clock.Now()) + int64(20*time.Millisecond), DurationNS: int64(300 * time.Millisecond),
		TimeoutNS: int64(20 * time.Second), RateRPS: 500, Arrivals: "poisson",
		Mix: map[string]float64{"update": 0.5, "read": 0.5}, Keys: 5, ValueBytes: 16, Seed: 1,
	}
}

func TestAClusterServesItsClientsAndLeavesRowsAndEvents(t *testing.T) {
	nodes, dir := startCluster(t, goodCluster())
	if hello := nodes["both"].hello; hello.Version != control.Version || hello.Name != "both" ||
		fmt.Sprint(hello.Roles) != "[server client]" || hello.PID != os.Getpid() || hello.ClockNS == 0 {
		t.Errorf("hello: %+v", hello)
	}
	clients := []string{"client2", "both"} // one in a process of its own, one beside a server
	for _, name := range clients {
		if answer := nodes[name].call(control.Command{Command: control.CommandLoad, Load: testLoad()}); answer.Error != "" {
			t.Fatalf("%s: %s", name, answer.Error)
		}
	}
	answered := map[string]control.Progress{}
	for _, name := range clients {
		for line := range nodes[name].events {
			if line.Progress == nil {
				t.Fatalf("%s: event without progress: %+v", name, line)
			}
			if line.Event == control.EventLoadDone {
				answered[name] = *line.Progress
				break
			}
		}
	}
	for _, name := range clients {
		counts := map[string]uint64{}
		reader, err := results.OpenRows(filepath.Join(dir, name, RequestsFile))
		if err != nil {
			t.Fatal(err)
		}
		for row, err := range reader.All() {
			if err != nil {
				t.Fatal(err)
			}
			counts[row.Operation]++
		}
		reader.Close()
		p := answered[name]
		if p.TimedOut > 0 || p.Answered != p.Sent || counts["update"] == 0 || counts["create"]+counts["update"]+counts["read"] != p.Sent {
			t.Errorf("%s: %+v, rows %v", name, p, counts)
		}
		if creates := counts["create"]; (creates == 5) != (name == "both") {
			t.Errorf("%s created %d keys; the first client creates all 5", name, creates)
		}
	}
	agree(t, nodes)
	for name, node := range nodes {
		if err := node.end(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	events, err := os.ReadFile(filepath.Join(dir, "primary", EventsFile))
	if err != nil || !strings.Contains(string(events), `"role":"server","kind":"started"`) ||
		strings.Count(string(events), `"kind":"connected"`) < 3 {
		t.Errorf("events of the primary: %v\n%s", err, events)
	}
}

// agree checks that the servers stand at one slot with one state.
func agree(t *testing.T, nodes map[string]*controller) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		a, b := nodes["primary"].status(), nodes["both"].status()
		if a.Slot == b.Slot {
			if a.StateHash == "" || a.StateHash != b.StateHash || !a.Leading || b.Leading || a.Counters["server.slots"] != a.Slot {
				t.Errorf("%+v\n%+v", a, b)
			}
			if b.Counters["client.sent"] == 0 {
				t.Errorf("the node with both parts doesn't count both: %v", b.Counters)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("one server at slot %d, the other at %d", a.Slot, b.Slot)
		}
	}
}

func TestCommandsThatANodeCannotCarryOutAreAnsweredWithAnError(t *testing.T) {
	nodes, _ := startCluster(t, goodCluster())
	bad, foreign := testLoad(), testLoad()
	bad.RateRPS, foreign.Application = 0, "counter"
	for what, c := range map[string]struct {
		node    string
		command control.Command
		want    string
	}{
		"load for a server":  {"primary", control.Command{Command: control.CommandLoad, Load: testLoad()}, "isn't a client"},
		"bad load":           {"client2", control.Command{Command: control.CommandLoad, Load: bad}, "rate_rps"},
		"another's load":     {"client2", control.Command{Command: control.CommandLoad, Load: foreign}, "for the application counter, the cluster's is kv"},
		"probe":              {"spare", control.Command{Command: control.CommandProbe, Probe: &control.Probe{}}, "can't probe"},
		"load without load":  {"client2", control.Command{Command: control.CommandLoad}, "without the field load"},
		"an unknown command": {"primary", control.Command{Command: "dance"}, `command is "dance"`},
	} {
		if answer := nodes[c.node].call(c.command); !strings.Contains(answer.Error, c.want) {
			t.Errorf("%s: %q, want %q", what, answer.Error, c.want)
		}
	}
	if answer := nodes["spare"].call(control.Command{Command: control.CommandStop}); answer.Error != "" {
		t.Errorf("stop: %s", answer.Error)
	}
	if err := <-nodes["spare"].ended; err != nil {
		t.Errorf("after stop: %v", err)
	}
	delete(nodes, "spare")
	for name, node := range nodes {
		if err := node.end(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestANodeThatCannotStartSaysWhy(t *testing.T) {
	dir := t.TempDir()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cluster := goodCluster()
	cluster.Nodes[1].Address = taken.Addr().String()
	file := filepath.Join(dir, "cluster.json")
	if err := os.WriteFile(file, encode(t, cluster), 0o644); err != nil {
		t.Fatal(err)
	}
	onlyBackups := filepath.Join(dir, "backups.json")
	data := encode(t, control.Cluster{Protocol: "relay", Nodes: []control.Node{member(1, "spare", "127.0.0.1:7000", "backup")}})
	if err := os.WriteFile(onlyBackups, data, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		options Options
		is      error
		says    string
	}{
		"address in use":        {Options{ClusterFile: file, Name: "primary", Dir: dir}, syscall.EADDRINUSE, taken.Addr().String()},
		"no folder":             {Options{ClusterFile: file, Name: "primary", Dir: filepath.Join(dir, "absent")}, os.ErrNotExist, "absent"},
		"no such node":          {Options{ClusterFile: file, Name: "tertiary", Dir: dir}, nil, `no node is named "tertiary"`},
		"no cluster file":       {Options{ClusterFile: filepath.Join(dir, "x"), Name: "primary", Dir: dir}, os.ErrNotExist, "cluster file"},
		"no injection file":     {Options{ClusterFile: file, Name: "primary", Dir: dir, InjectionFile: filepath.Join(dir, "y")}, os.ErrNotExist, "reading the injection"},
		"bad injection file":    {Options{ClusterFile: file, Name: "primary", Dir: dir, InjectionFile: file}, control.ErrInjection, `unknown field "protocol"`},
		"refused configuration": {Options{ClusterFile: onlyBackups, Name: "spare", Dir: dir}, nil, "relay: no server"},
	} {
		err := Run(c.options, Streams{Input: strings.NewReader(""), Output: io.Discard, Log: io.Discard})
		if err == nil || !strings.Contains(err.Error(), c.says) || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: more than one line: %q", name, err)
		}
	}
}

func TestEchoProcessesProbeEachOther(t *testing.T) {
	run := func(name, address string) *controller {
		return startControlled(t, func(streams Streams) error { return RunEcho(EchoOptions{Listen: address, Name: name}, streams) })
	}
	addresses := []string{freeAddress(t), freeAddress(t)}
	a, b := run("h1", addresses[0]), run("h2", addresses[1])
	if fmt.Sprint(a.hello.Name, a.hello.Roles) != "h1[echo]" {
		t.Errorf("hello: %+v", a.hello)
	}
	answer := a.call(control.Command{Command: control.CommandProbe, Probe: &control.Probe{
		Peers: []control.Peer{{Name: "h2", Address: addresses[1]}}, Count: 3, IntervalNS: 1e6, TimeoutNS: 20e9,
	}})
	if answer.Error != "" || answer.Probe == nil || len(answer.Probe.RTTs["h2"]) != 3 {
		t.Fatalf("%+v", answer)
	}
	if answer := a.call(control.Command{Command: control.CommandProbe, Probe: &control.Probe{}}); answer.Error == "" {
		t.Error("a probe of nothing was accepted")
	}
	if answer := a.call(control.Command{Command: control.CommandLoad, Load: testLoad()}); answer.Error == "" {
		t.Error("an echo process took a load")
	}
	if b.status().ClockNS == 0 {
		t.Error("a status without the time")
	}
	for _, node := range []*controller{a, b} {
		if err := node.end(); err != nil {
			t.Error(err)
		}
	}
	err := RunEcho(EchoOptions{Listen: "not an address", Name: "h3"}, Streams{Input: strings.NewReader(""), Output: io.Discard})
	if err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("an address that is none: %v, want one line", err)
	}
}
