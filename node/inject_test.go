package node

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"quorumlab/node/client"
	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/node/driver"
	"quorumlab/node/driver/clock"
	"quorumlab/node/driver/logfile"
	"quorumlab/node/kv"
	"quorumlab/node/storage"
)

// awaitEnd waits for the node's end, which end and kill may still be told of.
func (c *controller) awaitEnd() error {
	err := <-c.ended
	c.ended <- err
	return err
}

func (c *controller) standing() control.Standing {
	c.t.Helper()
	line := c.call(control.Command{Command: control.CommandStanding})
	if line.Standing == nil {
		c.t.Fatalf("no standing: %s", line.Error)
	}
	return *line.Standing
}

func (c *controller) inject(injection control.Injection) {
	c.t.Helper()
	if answer := c.call(control.Command{Command: control.CommandInject, Injection: &injection}); answer.Error != "" {
		c.t.Fatal(answer.Error)
	}
}

// event returns the next event of a kind.
func (c *controller) event(kind string) control.Line {
	c.t.Helper()
	limit := time.After(20 * time.Second)
	for {
		select {
		case line := <-c.events:
			if line.Event == kind {
				return line
			}
		case <-limit:
			c.t.Fatalf("no event %s", kind)
		}
	}
}

// underLoad is a server in a process of its own, which a client writes to.
type underLoad struct {
	dir     string
	options Options
	server  *controller
	kill    func()
	client  *controller
}

// startUnderLoad starts both; initially may be nil.
func startUnderLoad(t *testing.T, kind string, initially *control.Initially) *underLoad {
	t.Helper()
	file, dir := durableCluster(t, kind)
	u := &underLoad{dir: dir, options: Options{ClusterFile: file, Name: "server", Dir: filepath.Join(dir, "server")}}
	u.restart(t, initially)
	u.client = startControlled(t, func(streams Streams) error {
		return Run(Options{ClusterFile: file, Name: "client", Dir: filepath.Join(dir, "client")}, streams)
	})
	load := control.Load{
		StartNS: int64(clock.Now()), DurationNS: int64(20 * time.Second), TimeoutNS: int64(20 * time.Second),
		RateRPS: 1000, Arrivals: "poisson", Mix: map[string]float64{"create": 1}, Keys: 1 << 30, ValueBytes: 100, Seed: 1,
	}
	if answer := u.client.call(control.Command{Command: control.CommandLoad, Load: &load}); answer.Error != "" {
		t.Fatal(answer.Error)
	}
	return u
}

func (u *underLoad) restart(t *testing.T, initially *control.Initially) {
	t.Helper()
	options := u.options
	if initially != nil {
		options.InjectionFile = filepath.Join(u.dir, "injection.json")
		if err := os.WriteFile(options.InjectionFile, encode(t, initially), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	u.server, u.kill = startProcess(t, options)
}

func (u *underLoad) answered() uint64 { return u.client.status().Counters["client.answered"] }

// end ends both, and checks that what was answered has been kept.
func (u *underLoad) end(t *testing.T, kind string, least int) {
	t.Helper()
	u.kill()
	if err := u.client.end(); err != nil {
		t.Error(err)
	}
	checkAcknowledged(t, u.dir, storageOf(t, u.options.Dir, kind), least)
}

func TestANodeDiesAtAFailpointAndSaysSoBefore(t *testing.T) {
	for place, kept := range map[string]uint64{control.BeforePersist: 99, control.AfterPersist: 100} {
		t.Run(place, func(t *testing.T) {
			t.Parallel()
			u := startUnderLoad(t, control.StorageFsync, &control.Initially{Injection: control.Injection{Failpoints: []control.Failpoint{
				{ID: "die", Place: place, Kind: "decision", Slot: 100, Action: control.ActionCrash},
			}}})
			reached := u.server.event(control.EventFailpoint).Reached
			if reached == nil || reached.ID != "die" || reached.Label.Slot != 100 || reached.TimeNS == 0 {
				t.Errorf("reached %+v", reached)
			}
			err := u.server.awaitEnd()
			if err == nil || !strings.Contains(err.Error(), "signal: killed") || !strings.Contains(err.Error(), "reached the failpoint die: crash at "+place) {
				t.Errorf("the process ended with %v", err)
			}
			if events, err := os.ReadFile(filepath.Join(u.options.Dir, EventsFile)); err != nil || !strings.Contains(string(events), "started") {
				t.Errorf("it has left the events %q, %v", events, err)
			}
			records := storageOf(t, u.options.Dir, control.StorageFsync)
			// Those before it may be on their way, those after it may have gone with it.
			if n := uint64(len(records)); place == control.BeforePersist && n > kept || place == control.AfterPersist && n < kept {
				t.Errorf("%d records are left, want %d", n, kept)
			}
			if n := u.answered(); n > 99 {
				t.Errorf("%d are answered", n)
			}
			u.restart(t, nil)
			eventually(t, "the next life goes on", func() bool { return u.answered() >= 300 })
			u.end(t, control.StorageFsync, 300)
		})
	}
}

func TestANodeWhoseDiskRefusesWritesEndsAndHasAcknowledgedOnlyWhatItKeeps(t *testing.T) {
	for name, c := range map[string]struct {
		kind      string
		injection control.Injection
		says      string
	}{
		"full":    {control.StorageFsync, control.Injection{FullDisk: true}, "no space left on device"},
		"failing": {control.StorageDisk, control.Injection{FailWrites: true}, "input/output error"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := startUnderLoad(t, c.kind, nil)
			eventually(t, "a hundred are answered", func() bool { return u.answered() >= 100 })
			u.server.inject(c.injection)
			check := func(life string) {
				t.Helper()
				failed := u.server.event(control.EventFailed)
				if !strings.Contains(failed.Error, c.says) || failed.Standing == nil || failed.Standing.Injected.RefusedBytes == 0 {
					t.Errorf("%s: the last event is %+v, standing %+v", life, failed, failed.Standing)
				}
				if err := u.server.awaitEnd(); err == nil || !strings.Contains(err.Error(), "exit status 1") || !strings.Contains(err.Error(), c.says) {
					t.Errorf("%s: it ended with %v", life, err)
				}
			}
			check("the first life")
			u.restart(t, &control.Initially{Injection: c.injection})
			check("a life that begins like that")
			u.restart(t, nil)
			answered := u.answered()
			eventually(t, "a healed one goes on", func() bool { return u.answered() >= answered+100 })
			u.end(t, c.kind, 200)
		})
	}
}

func TestWhatAPowerLossTakesWasNeverAcknowledged(t *testing.T) {
	for _, torn := range []bool{false, true} {
		t.Run(fmt.Sprintf("torn %v", torn), func(t *testing.T) {
			t.Parallel()
			slow := &control.Initially{Injection: control.Injection{SyncDelayNS: int64(20 * time.Millisecond)}}
			u := startUnderLoad(t, control.StorageFsync, slow)
			lost := 0
			for life := range uint64(4) {
				before := u.answered()
				eventually(t, "thirty are answered", func() bool { return u.answered() >= before+30 })
				if injected := u.server.standing().Injected; injected.SlowSyncs == 0 || injected.LeastSyncNS < slow.Injection.SyncDelayNS {
					t.Errorf("%+v", injected)
				}
				u.kill()
				was, is, synced, err := storage.Cut(filepath.Join(u.options.Dir, StorageFolder), torn, life)
				if err != nil || synced == 0 || (is > synced) != torn {
					t.Errorf("%d bytes, %d are left, %d synced, %v", was, is, synced, err)
				}
				if was > synced {
					lost++
				}
				u.restart(t, slow)
			}
			if lost == 0 {
				t.Error("no kill has hit a sync of 20 ms")
			}
			u.end(t, control.StorageFsync, 120)
		})
	}
}

func TestANodeThatStallsAnswersItsControllerAndGoesOnOnceTold(t *testing.T) {
	nodes, _ := startCluster(t, goodCluster())
	both := nodes["both"]
	stall := control.Injection{Failpoints: []control.Failpoint{
		{ID: "stall", Place: control.BeforeApply, Slot: 3, Action: control.ActionStall},
	}}
	both.inject(stall)
	if answer := nodes["client2"].call(control.Command{Command: control.CommandLoad, Load: testLoad()}); answer.Error != "" {
		t.Fatal(answer.Error)
	}
	if reached := both.event(control.EventFailpoint).Reached; reached.ID != "stall" || reached.Label.Slot != 3 {
		t.Errorf("reached %+v", reached)
	}
	eventually(t, "the primary goes on", func() bool { return nodes["primary"].standing().Slot > 20 })
	standing := both.standing()
	if standing.Connected == 0 || standing.ClockNS == 0 || standing.MachineNS != standing.ClockNS {
		t.Errorf("standing %+v", standing)
	}
	if status := both.status(); !status.Learner || status.StateHash == "" {
		t.Errorf("status %+v", status)
	}
	both.inject(control.Injection{ClockJumpNS: 5})
	eventually(t, "both stand at one slot", func() bool {
		return both.standing().Slot > 20 && both.standing().Slot == nodes["primary"].standing().Slot
	})
	if s := both.standing(); s.MachineNS != s.ClockNS+5 {
		t.Errorf("the clock has jumped by %d", s.MachineNS-s.ClockNS)
	}
	both.inject(stall)
	for name, node := range nodes {
		if err := node.end(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSubscriptionsOfTheFileHoldFromTheFirstStepOn(t *testing.T) {
	u := startUnderLoad(t, control.StorageDisk, &control.Initially{Subscriptions: []control.Subscription{
		{Kind: "started", Limit: 1}, {Kind: control.TraceCommit, Slot: 50, Limit: 1},
	}})
	for _, want := range []string{"started 0", "commit 50"} {
		trace := u.server.event(control.EventTrace).Trace
		if got := fmt.Sprint(trace.Label.Kind, " ", trace.Label.Slot); got != want || trace.TimeNS == 0 {
			t.Errorf("got %+v, want %s", trace, want)
		}
	}
	answer := u.server.call(control.Command{Command: control.CommandSubscribe, Subscriptions: []control.Subscription{{Kind: "response", Limit: 2}}})
	if answer.Error != "" {
		t.Fatal(answer.Error)
	}
	for range 2 {
		if trace := u.server.event(control.EventTrace).Trace; trace.Label.Kind != "response" || trace.To != "client" {
			t.Errorf("got %+v, want a response to the client", trace)
		}
	}
	u.end(t, control.StorageDisk, 50)
}

func TestAClientTakesNoInjectionButAnEmptyOne(t *testing.T) {
	nodes, _ := startCluster(t, goodCluster())
	client := nodes["client2"]
	client.inject(control.Injection{})
	for what, command := range map[string]control.Command{
		"runs no machine that something could be injected into": {Command: control.CommandInject, Injection: &control.Injection{ClockRate: 2}},
		"runs no machine whose events":                          {Command: control.CommandSubscribe, Subscriptions: []control.Subscription{{Kind: "a"}}},
	} {
		if answer := client.call(command); !strings.Contains(answer.Error, what) {
			t.Errorf("got %q, want %q", answer.Error, what)
		}
	}
	if s := client.standing(); s.ClockNS == 0 || s.MachineNS != s.ClockNS || s.Connected != s.Peers || s.Peers == 0 {
		t.Errorf("standing %+v", s)
	}
	for _, node := range nodes {
		if err := node.end(); err != nil {
			t.Error(err)
		}
	}
}

// toAStall is a client's way to a machine that stalls: its inbox is full.
type toAStall struct {
	driver *driver.Driver
	waits  func()
}

func (toAStall) Send(consensus.NodeID, consensus.Message) {}

func (s toAStall) Flush() {
	inputs := make([]consensus.Input, 1<<14)
	s.driver.Deliver(inputs)
	s.waits()
	s.driver.Deliver(inputs) // until the driver is closed
}

func TestANodeWhoseClientWaitsForAMachineThatStallsEndsInTime(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	n := &node{log: log.New(io.Discard, "", 0)}
	transport := driver.NewTransport(driver.TransportConfig{Self: 1, Listener: listener, Log: n.log})
	n.driver, err = driver.New(driver.Config{Application: consensus.NewApplication(kv.New()), Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	if n.requests, err = logfile.Create(filepath.Join(t.TempDir(), RequestsFile), n.fail); err != nil {
		t.Fatal(err)
	}
	full := make(chan struct{})
	n.client = client.NewRunner(client.RunnerConfig{
		Config: client.Config{Self: 1, Name: "both", First: true, Targets: []consensus.NodeID{1}},
		Sender: toAStall{n.driver, sync.OnceFunc(func() { close(full) })}, Requests: n.requests,
		Report: func(string, control.Progress) {},
	})
	if err := n.client.Load(*testLoad()); err != nil {
		t.Fatal(err)
	}
	<-full
	closed := make(chan error, 1)
	go func() { closed <- n.close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the client waits for the driver, which is closed after it")
	}
}

func TestANodeWhoseDiskLagsFarBehindEndsInTime(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	n := &node{log: log.New(io.Discard, "", 0)}
	if n.storage, _, err = n.disk.Open(t.TempDir(), control.StorageFsync, relayCodec{}, n.fail); err != nil {
		t.Fatal(err)
	}
	n.disk.Set(storage.Faults{SyncDelay: time.Hour})
	machine := &relay{self: 1, servers: []consensus.NodeID{1}, log: map[uint64]consensus.Command{}, proposals: map[uint64]consensus.Command{}}
	n.driver, err = driver.New(driver.Config{
		Machine: machine, Application: consensus.NewApplication(kv.New()), Storage: n.storage,
		Transport: driver.NewTransport(driver.TransportConfig{Self: 1, Listener: listener, Log: n.log}),
	})
	if err != nil {
		t.Fatal(err)
	}
	n.driver.Start()
	syncs := n.storage.Counts().Syncs
	inputs := make([]consensus.Input, 50) // of which the storage takes about 35 without waiting
	for i := range inputs {
		inputs[i] = consensus.Input{Kind: consensus.InputCommand, From: 2, Command: consensus.Command{
			Client: consensus.NewClientID(2, 1), Sequence: uint64(i + 1), FirstUnanswered: 1, Operation: make([]byte, 1<<20),
		}}
	}
	n.driver.Deliver(inputs)
	eventually(t, "a sync is under way", func() bool { return n.storage.Counts().Syncs > syncs })
	closed := make(chan error, 1)
	go func() { closed <- n.close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the driver waits for a sync of an hour")
	}
}

// Where other lines wait, a stall or an end that nobody learns of would void the trial.
func TestAFailpointAndTheEndAreToldThoughTooManyLinesWait(t *testing.T) {
	for event, tell := range map[string]func(n *node){
		control.EventFailpoint: func(n *node) { n.reach(control.Failpoint{Action: control.ActionStall}, control.Reached{}) },
		control.EventFailed:    func(n *node) { n.reportFailure(errStuck) },
	} {
		told := func() bool {
			output, write := io.Pipe()
			defer output.Close()
			n := &node{log: log.New(io.Discard, "", 0), channel: control.NewChannel(strings.NewReader(""), write)}
			n.transport = driver.NewTransport(driver.TransportConfig{Self: 1})
			for n.channel.Dropped() == 0 { // nobody reads
				n.trace(control.Trace{})
			}
			done := make(chan struct{})
			go func() {
				tell(n)
				n.channel.Close()
				write.Close()
				close(done)
			}()
			time.Sleep(20 * time.Millisecond) // it tries in vain
			content, _ := io.ReadAll(output)
			<-done
			return strings.Contains(string(content), fmt.Sprintf(`"event":%q`, event))
		}
		// A machine that is busy may take longer to read on than a node waits.
		attempts := 0
		for attempts < 5 && !told() {
			attempts++
		}
		if attempts == 5 {
			t.Errorf("%s isn't told", event)
		}
	}
}

func FuzzParseInjection(f *testing.F) {
	f.Add([]byte(`{"injection": {"full_disk": true}, "subscriptions": [{"kind": "adopted"}]}`))
	f.Add([]byte(`{"injection": {"failpoints": [{"id": "a", "place": "after_send", "action": "crash"}]}}`))
	f.Add([]byte(`{} {}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		initially, err := parseInjection(data)
		if err != nil && !errors.Is(err, control.ErrInjection) {
			t.Errorf("%v isn't ErrInjection", err)
		}
		if err == nil && initially.Check() != nil {
			t.Error("a bad injection was let through")
		}
	})
}
