package sim

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"quorumlab/harness/engine"
	"quorumlab/node/application"
	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/node/multipaxos"
	_ "quorumlab/node/multipaxos/wire"
	"quorumlab/results"
	"quorumlab/topologies"
)

// roles of Multi-Paxos, on processes of their own or together.
var (
	replica  = []string{multipaxos.RoleReplica}
	leader   = []string{multipaxos.RoleLeader}
	acceptor = []string{multipaxos.RoleAcceptor}
	allRoles = []string{multipaxos.RoleReplica, multipaxos.RoleLeader, multipaxos.RoleAcceptor}
)

// paxosScenario is the experiment quickstart.yaml.
func paxosScenario() *scenario {
	return newScenario(multipaxos.Name, topologies.Parameters{Delay: 20 * time.Millisecond}, 1,
		replica, replica, leader, leader, acceptor, acceptor, acceptor)
}

func latency(row results.Row) time.Duration { return time.Duration(row.DoneNS - row.IntendedNS) }

// slowest is the longest latency of the answered rows from a sequence number on.
func slowest(rows []results.Row, from uint64) (d time.Duration) {
	for _, row := range rows {
		if row.Sequence >= from && row.Outcome != results.OutcomeTimeout {
			d = max(d, latency(row))
		}
	}
	return d
}

func TestAnUndisturbedStarTakesWhatTheTopologyPredicts(t *testing.T) {
	const predicted = 240 * time.Millisecond
	for name, c := range map[string]struct {
		costs  engine.Costs
		rate   int64
		atMost time.Duration
	}{
		"without CPU":            {engine.Costs{}, 0, predicted},
		"with CPU":               {DefaultCosts(), 0, predicted + 100*time.Microsecond},
		"with CPU and at a rate": {DefaultCosts(), 1e9, predicted + 200*time.Microsecond},
	} {
		t.Run(name, func(t *testing.T) {
			sc := paxosScenario()
			sc.Costs = c.costs
			sc.links(func(p *topologies.Parameters) { p.RateBPS = c.rate })
			r := sc.run(t)
			agree(t, r)
			if len(sc.rows) != 45 || !r.Finished {
				t.Fatalf("%d rows, finished %v; want 45 and true", len(sc.rows), r.Finished)
			}
			for _, row := range sc.rows {
				if d := latency(row); d < predicted || d > c.atMost {
					t.Fatalf("request %d took %v, want %v to %v", row.Sequence, d, predicted, c.atMost)
				}
			}
			if c.costs.PerMessage == 0 && c.rate == 0 && latency(sc.rows[0]) != predicted {
				t.Errorf("without any cost the latency is %v, want exactly %v", latency(sc.rows[0]), predicted)
			}
		})
	}
}

func TestMessagesBetweenProcessesOnOneHostTakeNoNetworkTime(t *testing.T) {
	sc := newScenario(multipaxos.Name, topologies.Parameters{Delay: 20 * time.Millisecond, RateBPS: 1e9}, 1, allRoles, allRoles, allRoles)
	sc.onHost(0, "n1", "n2", "n3")
	r := sc.run(t)
	agree(t, r)
	if d := slowest(sc.rows, 1); d < 80*time.Millisecond || d > 81*time.Millisecond {
		t.Errorf("the slowest request took %v, want the client's 80 ms there and back", d)
	}
	for _, d := range r.Links.Directions[2:6] { // of hosts 2 and 3, which have no process
		if d.Frames > 0 {
			t.Errorf("%s carried %d frames, want none", d.Link, d.Frames)
		}
	}
}

func TestAProcessMayServeAndBeAClientAtOnce(t *testing.T) {
	sc := journalScenario(time.Millisecond)
	sc.Cluster.Nodes = sc.Cluster.Nodes[:3]
	sc.Cluster.Nodes[0].Roles = []string{roleServer, roleClient}
	sc.Loads = map[string]control.Load{"n1": sc.Loads["n4"]}
	r := sc.run(t)
	agree(t, r)
	if got := sc.outcomes(); got[results.OutcomeTimeout] > 0 || len(sc.rows) != 45 {
		t.Errorf("outcomes %v, want 45 answers", got)
	}
}

// oneServer is a journal of one server and a client, whose exchanges are easy to
// compute.
func oneServer(link topologies.Parameters) *scenario {
	sc := newScenario(journalName, link, 1, []string{roleServer})
	sc.Costs = engine.Costs{}
	sc.load(func(load *control.Load) { load.Mix = map[string]float64{"create": 1} })
	return sc
}

func TestARatedLinkSerialisesEachSegmentOnEachHop(t *testing.T) {
	const delay, nanosecondsAByte = 5 * time.Millisecond, 8000 // at 1 Mbit/s
	// twoLinks is when the last of a message's segments has crossed both links.
	twoLinks := func(bytes, header int) (arrived time.Duration) {
		var first, second time.Duration // until when the links are busy
		for ; bytes > 0; bytes -= segmentBytes {
			serialised := time.Duration(min(bytes, segmentBytes)+header) * nanosecondsAByte
			first += serialised
			second = max(second, first+delay) + serialised
		}
		return second + delay
	}
	for transport, header := range map[string]int{engine.TransportTCP: headerTCP, engine.TransportDatagram: headerDatagram} {
		for _, valueBytes := range []int{16, 1500, 4000} {
			sc := oneServer(topologies.Parameters{Delay: delay, RateBPS: 1_000_000})
			sc.Transport = transport
			sc.load(func(load *control.Load) { load.ValueBytes, load.RateRPS = valueBytes, 2 })
			r := sc.run(t)
			frames := uint64(0)
			for _, row := range sc.rows {
				request := requestSize(t, row)
				response := size(nil, &consensus.Response{
					Client: consensus.NewClientID(2, 1), Sequence: row.Sequence, Slot: row.Slot, Result: []byte{1},
				})
				if got, want := latency(row), twoLinks(request, header)+twoLinks(response, header); got != want {
					t.Errorf("%s, %d bytes: latency is %v, want %v", transport, valueBytes, got, want)
				}
				frames += uint64((request + segmentBytes - 1) / segmentBytes)
			}
			if up := r.Links.Directions[2]; up.From != "h2" || up.Frames != frames {
				t.Errorf("%s, %d bytes: the client sent %d frames, want %d", transport, valueBytes, up.Frames, frames)
			}
		}
	}
}

// requestSize is the framed size of the request that a row is about.
func requestSize(t *testing.T, row results.Row) int {
	t.Helper()
	kv, err := application.Find("kv")
	if err != nil {
		t.Fatal(err)
	}
	operation, err := kv.AppendOperation(nil, application.Operation{Kind: row.Operation, Key: row.Key, Value: row.Value})
	if err != nil {
		t.Fatal(err)
	}
	return size(nil, consensus.Request{Command: consensus.Command{
		Client: consensus.NewClientID(2, 1), Sequence: row.Sequence, FirstUnanswered: row.Sequence, Operation: operation,
	}})
}

func TestDatagramsAreLostForGoodAndTCPsMessagesAreNot(t *testing.T) {
	for transport, check := range map[string]func(timeouts int, drops uint64) bool{
		engine.TransportDatagram: func(timeouts int, drops uint64) bool { return timeouts > 0 && drops > 0 },
		engine.TransportTCP:      func(timeouts int, drops uint64) bool { return timeouts == 0 && drops > 0 },
	} {
		sc := journalScenario(5 * time.Millisecond)
		sc.Transport = transport
		sc.links(func(p *topologies.Parameters) { p.Loss = 0.02 })
		sc.load(func(load *control.Load) { load.RateRPS, load.DurationNS = 100, int64(5*time.Second) })
		r := sc.run(t)
		agree(t, r)
		var drops uint64
		for _, d := range r.Links.Directions {
			drops += d.LossDrops
		}
		if timeouts := sc.outcomes()[results.OutcomeTimeout]; !check(timeouts, drops) {
			t.Errorf("%s: %d timeouts and %d frames lost", transport, timeouts, drops)
		}
	}
}

func TestALongDatagramIsLostWithAnyOfItsSegments(t *testing.T) {
	sc := oneServer(topologies.Parameters{Delay: time.Millisecond, Loss: 0.1})
	sc.Transport = engine.TransportDatagram
	sc.load(func(load *control.Load) {
		load.ValueBytes, load.RateRPS, load.DurationNS, load.TimeoutNS = 10*segmentBytes-100, 200, int64(10*time.Second), int64(time.Second)
	})
	sc.run(t)
	// 10 segments on 2 links, and a response of one: 0.9^22 = 9.8% arrive.
	counts := sc.outcomes()
	if share := 1 - float64(counts[results.OutcomeTimeout])/float64(len(sc.rows)); share < 0.07 || share > 0.13 {
		t.Errorf("%.3f of the requests were answered, want about 0.098", share)
	}
}

func TestAQueueThatOverflowsDropsFrames(t *testing.T) {
	sc := oneServer(topologies.Parameters{Delay: time.Millisecond, RateBPS: 1_000_000, QueueFrames: 5})
	sc.Transport = engine.TransportDatagram
	sc.load(func(load *control.Load) { load.RateRPS, load.ValueBytes = 1000, 500 }) // 4 times what the link takes
	r := sc.run(t)
	up := r.Links.Directions[2]
	if up.QueueDrops < 1000 || up.Frames < 400 || up.Frames > 700 {
		t.Errorf("%+v, want about 450 frames in 2 s and the others dropped", up)
	}
}

func TestThroughputPeaksWhereTheCoreIsBusy(t *testing.T) {
	// The one server needs 2 ms an operation: the request, and its word to itself.
	run := func(rps float64) (answered int, busy time.Duration) {
		server := []string{roleServer}
		sc := newScenario(journalName, topologies.Parameters{Delay: time.Millisecond}, 4, server)
		sc.Costs = engine.Costs{PerMessage: time.Millisecond}
		sc.load(func(load *control.Load) {
			load.RateRPS, load.Mix = rps/4, map[string]float64{"nop": 1}
			load.DurationNS, load.TimeoutNS = int64(10*time.Second), int64(time.Second)
		})
		r := sc.run(t)
		for _, row := range sc.rows {
			if row.Outcome == results.OutcomeOK && row.DoneNS < int64(r.LoadStart)+int64(10*time.Second) {
				answered++
			}
		}
		return answered, r.CPU["n1"]
	}
	if answered, busy := run(250); answered < 2450 || busy > 6*time.Second {
		t.Errorf("at half of the peak %d of 2500 are answered in time, the core is busy for %v", answered, busy)
	}
	// The server works on requests given up meanwhile too, so that what counts as
	// answered falls once the queue is as long as the timeout.
	if answered, busy := run(1000); answered > 5000 || answered < 500 || busy < 10*time.Second {
		t.Errorf("at twice the peak %d are answered, want at most 5000; the core is busy for %v", answered, busy)
	}
	if answered, _ := run(480); answered < 4700 {
		t.Errorf("just below the peak %d of 4800 are answered", answered)
	}
}

func TestTheContextEndsATrialWithItsCause(t *testing.T) {
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	sc := journalScenario(time.Millisecond)
	sc.load(func(load *control.Load) { load.DurationNS = int64(time.Hour) })
	sc.Live = func(time.Duration, control.Progress) { cancel(cause) }
	if _, err := (Engine{}).Simulate(ctx, sc.Simulation); !errors.Is(err, cause) {
		t.Errorf("the error is %v, want %v", err, cause)
	}
	if _, err := (Engine{}).Simulate(ctx, sc.Simulation); !errors.Is(err, cause) {
		t.Errorf("begun after its end, the error is %v, want %v", err, cause)
	}
}

func TestSimulationsThatMakeNoSenseAreRefused(t *testing.T) {
	for want, change := range map[string]func(*scenario){
		"protocol is":         func(sc *scenario) { sc.Cluster.Protocol = "none" },
		"no nodes":            func(sc *scenario) { sc.Cluster.Nodes = nil },
		"the host of n2":      func(sc *scenario) { sc.Hosts["n2"] = "elsewhere" },
		"the ID of n1":        func(sc *scenario) { sc.Cluster.Nodes[0].ID = 0 },
		"the ID of n2":        func(sc *scenario) { sc.Cluster.Nodes[1].ID = 1 },
		"storage is":          func(sc *scenario) { sc.Cluster.Storage = "tape" },
		"transport is":        func(sc *scenario) { sc.Transport = "pigeon" },
		"unknown application": func(sc *scenario) { sc.Cluster.Application = "none" },
		"not the role client": func(sc *scenario) { sc.Loads["n1"] = sc.Loads["n4"] },
		"doesn't have":        func(sc *scenario) { sc.Loads["n9"] = sc.Loads["n4"] },
		"the load of n4":      func(sc *scenario) { sc.load(func(load *control.Load) { load.RateRPS = 0 }) },
		"costs are":           func(sc *scenario) { sc.Costs.Sync = -1 },
		"link h1-s1":          func(sc *scenario) { sc.Topology.Links[0].AToB.Loss = 2 },
		"no way from h1 to":   func(sc *scenario) { sc.Topology.Links[1].B = "h4" },
		"the fault crash1":    func(sc *scenario) { sc.kill(0, "n9") },
		"at most 5000":        func(sc *scenario) { sc.Topology = topologies.Star(5001, topologies.Parameters{}) },
		"starting n1":         func(sc *scenario) { sc.Cluster.Options = map[string]any{"resend_ms": "soon"} },
	} {
		sc := journalScenario(time.Millisecond)
		change(sc)
		_, err := Engine{}.Simulate(t.Context(), sc.Simulation)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want one that says %q", err, want)
		}
	}
}

func TestTheEngineIsThereByItsNameAndNeedsNothing(t *testing.T) {
	found, ok := engine.Lookup("sim")
	if !ok {
		t.Fatal("no engine is named sim")
	}
	simulator, ok := found.(engine.Simulator)
	if !ok || simulator.MaxHosts() != 5000 {
		t.Errorf("it is a simulator: %v, of %d hosts at most", ok, found.MaxHosts())
	}
	if rows := found.Check(t.Context()); len(rows) != 1 || !rows[0].OK || rows[0].Name != "sim" {
		t.Errorf("readiness is %+v", rows)
	}
}
