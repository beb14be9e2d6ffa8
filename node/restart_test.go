package node

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/node/driver/clock"
	"quorumlab/node/kv"
	"quorumlab/node/storage"
	"quorumlab/results"
)

// environment makes this test's program a node, as bench-node would be.
const environment = "QUORUMLAB_TEST_NODE"

func TestMain(m *testing.M) {
	if given := os.Getenv(environment); given != "" {
		var options Options
		if err := json.Unmarshal([]byte(given), &options); err != nil {
			panic(err)
		}
		if err := Run(options, Streams{Input: os.Stdin, Output: os.Stdout, Log: os.Stderr}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// startProcess runs a node in a process of its own; kill ends that at once.
func startProcess(t *testing.T, options Options) (c *controller, kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), environment+"="+string(encode(t, options)))
	c = startControlled(t, func(streams Streams) error {
		var stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = streams.Output, &stderr
		input, err := cmd.StdinPipe()
		if err != nil {
			return err
		}
		go func() {
			_, _ = io.Copy(input, streams.Input)
			_ = input.Close()
		}()
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%w: %s", err, &stderr)
		}
		return nil
	})
	kill = sync.OnceFunc(func() {
		_ = cmd.Process.Kill() // fails if it has ended
		c.end()
	})
	t.Cleanup(kill)
	return c, kill
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// durableCluster has one server that persists what it answers, and a client.
func durableCluster(t *testing.T, kind string) (file, dir string) {
	t.Helper()
	dir = t.TempDir()
	cluster := control.Cluster{Protocol: "relay", Storage: kind, Nodes: []control.Node{
		member(1, "server", freeAddress(t), "server"), member(2, "client", freeAddress(t), "client"),
	}}
	file = filepath.Join(dir, "cluster.json")
	if err := os.WriteFile(file, encode(t, cluster), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, node := range cluster.Nodes {
		if err := os.Mkdir(filepath.Join(dir, node.Name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return file, dir
}

// acknowledged lists the client's commands that were answered.
func acknowledged(t *testing.T, path string) []results.Row {
	t.Helper()
	reader, err := results.OpenRows(path)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	var rows []results.Row
	for row, err := range reader.All() {
		if err != nil {
			t.Fatal(err)
		}
		if row.Outcome == results.OutcomeOK {
			rows = append(rows, row)
		}
	}
	return rows
}

// A server is killed again and again while a client writes; what was answered is
// in its storage, and what it does next goes on from there.
func TestAServerThatIsKilledInTheMiddleOfWritingKeepsAllThatItAcknowledged(t *testing.T) {
	for _, kind := range []string{control.StorageDisk, control.StorageFsync} {
		t.Run(kind, func(t *testing.T) { killRepeatedly(t, kind) })
	}
}

func killRepeatedly(t *testing.T, kind string) {
	file, dir := durableCluster(t, kind)
	options := Options{ClusterFile: file, Name: "server", Dir: filepath.Join(dir, "server")}
	server, kill := startProcess(t, options)
	client := startControlled(t, func(streams Streams) error {
		return Run(Options{ClusterFile: file, Name: "client", Dir: filepath.Join(dir, "client")}, streams)
	})
	load := control.Load{
		StartNS: int64(clock.Now()), DurationNS: int64(1200 * time.Millisecond), TimeoutNS: int64(time.Second),
		RateRPS: 2000, Arrivals: "poisson", Mix: map[string]float64{"create": 1}, Keys: 1 << 30, ValueBytes: 100, Seed: 1,
	}
	if answer := client.call(control.Command{Command: control.CommandLoad, Load: &load}); answer.Error != "" {
		t.Fatal(answer.Error)
	}
	var slot uint64
	for life := range 3 {
		before := client.status().Counters["client.answered"]
		eventually(t, "a hundred are answered, and the life has left events", func() bool {
			events, err := os.ReadFile(filepath.Join(options.Dir, EventsFile))
			return err == nil && client.status().Counters["client.answered"] >= before+100 &&
				bytes.Count(events, []byte(`"started"`)) == life+1
		})
		counters := server.status().Counters
		if counters["storage.writes"] == 0 || counters["storage.records"] < 100 || (kind == control.StorageFsync) != (counters["storage.syncs"] > 0) {
			t.Errorf("counters %v", counters)
		}
		kill()
		server, kill = startProcess(t, options)
		status := server.status()
		if status.Slot <= slot {
			t.Errorf("after a restart the server stands at slot %d, before it at %d", status.Slot, slot)
		}
		slot = status.Slot
	}
	for line := range client.events {
		if line.Event == control.EventLoadDone {
			break
		}
	}
	hash := server.status().StateHash
	kill()
	if err := client.end(); err != nil {
		t.Error(err)
	}
	if want := checkAcknowledged(t, dir, storageOf(t, options.Dir, kind), 300); hash != want {
		t.Errorf("the last server's state was %s, its records lead to %s", hash, want)
	}
	checkEvents(t, filepath.Join(options.Dir, EventsFile))
}

// checkAcknowledged wants a record for each of the client's commands that was
// answered, at least so many, and returns what the records' state hashes to.
func checkAcknowledged(t *testing.T, dir string, recovered []consensus.Message, least int) (hash string) {
	t.Helper()
	kept := map[uint64]string{}
	application := consensus.NewApplication(kv.New())
	for i, record := range recovered {
		d := record.(decision)
		if d.slot != uint64(i+1) {
			t.Fatalf("record %d is of slot %d", i, d.slot)
		}
		operation, err := kv.DecodeOperation(d.command.Operation)
		if err != nil {
			t.Fatal(err)
		}
		kept[operation.Key] = operation.Value
		application.Apply(d.slot, d.command, func(consensus.Response) {})
	}
	rows := acknowledged(t, filepath.Join(dir, "client", RequestsFile))
	for _, row := range rows {
		if kept[row.Key] != row.Value {
			t.Errorf("%+v was acknowledged, the storage has %q", row, kept[row.Key])
		}
	}
	if len(rows) < least {
		t.Errorf("only %d were acknowledged", len(rows))
	}
	state := application.Hash()
	return hex.EncodeToString(state[:])
}

// storageOf is what a killed node's storage holds.
func storageOf(t *testing.T, dir, kind string) []consensus.Message {
	t.Helper()
	opened, recovered, err := storage.Open(filepath.Join(dir, StorageFolder), kind, relayCodec{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := opened.Close(); err != nil {
		t.Fatal(err)
	}
	if recovered.Snapshot != nil {
		t.Fatal("a checkpoint was made of little")
	}
	return recovered.Records
}

// checkEvents wants whole lines of all lives.
func checkEvents(t *testing.T, path string) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var started []uint64
	for scanner := bufio.NewScanner(file); scanner.Scan(); {
		var event documentedEvent
		if err := json.Unmarshal(scanner.Bytes(), &event); err != nil {
			t.Errorf("%q: %v", scanner.Bytes(), err)
		}
		if event.Kind == "started" {
			started = append(started, event.Slot)
		}
	}
	if len(started) < 3 { // the last one was too short, perhaps
		t.Errorf("%d lives have left events, want 3 or 4", len(started))
	}
}

func TestTwoNodesNeverShareAFolder(t *testing.T) {
	file, dir := durableCluster(t, control.StorageDisk)
	options := Options{ClusterFile: file, Name: "server", Dir: filepath.Join(dir, "server")}
	first := startControlled(t, func(streams Streams) error { return Run(options, streams) })
	err := Run(options, Streams{Input: strings.NewReader(""), Output: io.Discard, Log: io.Discard})
	if err == nil || !strings.Contains(err.Error(), "in use by another process") || strings.Contains(err.Error(), "\n") {
		t.Errorf("the second: %v", err)
	}
	if err := first.end(); err != nil {
		t.Error(err)
	}
}

func TestADamagedStorageKeepsTheNodeFromStarting(t *testing.T) {
	file, dir := durableCluster(t, control.StorageDisk)
	options := Options{ClusterFile: file, Name: "server", Dir: filepath.Join(dir, "server")}
	path := filepath.Join(options.Dir, StorageFolder, "log")
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("no log"), 0o644); err != nil {
		t.Fatal(err)
	}
	err := Run(options, Streams{Input: strings.NewReader(""), Output: io.Discard, Log: io.Discard})
	if err == nil || !strings.Contains(err.Error(), "corrupt") || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
}

func TestAChangeOfTheConfigurationIsHandedToTheProtocol(t *testing.T) {
	nodes, _ := startCluster(t, goodCluster())
	change := func(node, text string) string {
		return nodes[node].call(control.Command{Command: control.CommandReconfigure, Reconfigure: json.RawMessage(text)}).Error
	}
	for i := uint64(1); i <= 3; i++ {
		if failure := change("primary", `"change"`); failure != "" {
			t.Fatal(failure)
		}
		eventually(t, "the configuration is in force", func() bool { return nodes["both"].status().Configuration == i })
	}
	for what, c := range map[string]struct{ node, change, want string }{
		"no server":  {"spare", `"change"`, "spare serves no clients"},
		"a client":   {"client2", `"change"`, "client2 serves no clients"},
		"a bad one":  {"primary", `{"a": 1}`, "reconfiguring: the change is no string"},
		"no change":  {"primary", "", "without the field reconfigure"},
		"null means": {"primary", "null", "without the field reconfigure"},
	} {
		if failure := change(c.node, c.change); !strings.Contains(failure, c.want) {
			t.Errorf("%s: %q, want %q", what, failure, c.want)
		}
	}
	for name, node := range nodes {
		if err := node.end(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	rigid := goodCluster()
	rigid.Protocol = "rigid relay"
	nodes, _ = startCluster(t, rigid)
	if failure := change("primary", `"change"`); !strings.Contains(failure, "rigid relay can't be reconfigured") {
		t.Errorf("a protocol without: %q", failure)
	}
	for _, node := range nodes {
		_ = node.end()
	}
}
