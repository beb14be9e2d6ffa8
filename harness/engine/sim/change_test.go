package sim

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"quorumlab/harness/engine"
	"quorumlab/node/control"
	"quorumlab/node/multipaxos"
	"quorumlab/results"
	"quorumlab/topologies"
)

// circle is n hosts at as many switches, s1 to sn in a circle; host i is at switch i. All
// links are alike.
func circle(n int, p topologies.Parameters) *topologies.Topology {
	t := topologies.Star(n, p)
	t.Kind, t.Switches = "ring", nil
	for i := range n {
		name, next := fmt.Sprint("s", i+1), fmt.Sprint("s", (i+1)%n+1)
		t.Switches = append(t.Switches, name)
		t.Links[i].Name, t.Links[i].B = fmt.Sprint("h", i+1, "-", name), name
		t.Links = append(t.Links, topologies.Link{Name: name + "-" + next, A: name, B: next, AToB: p, BToA: p})
	}
	return t
}

// frames is what a direction carried.
func frames(t *testing.T, r *engine.Simulated, link, from string) engine.DirectionReport {
	t.Helper()
	i := slices.IndexFunc(r.Links.Directions, func(d engine.DirectionReport) bool { return d.Link == link && d.From == from })
	if i < 0 {
		t.Fatalf("there is no direction of %s from %s", link, from)
	}
	return r.Links.Directions[i]
}

func TestAChangedDelayShiftsTheLatencyOfWhatComesLaterExactly(t *testing.T) {
	const before, changeAt = 40 * time.Millisecond, 500*time.Millisecond + 1
	for _, after := range []time.Duration{90 * time.Millisecond, 15 * time.Millisecond} {
		for _, transport := range []string{engine.TransportDatagram, engine.TransportTCP} {
			sc := oneServer(topologies.Parameters{})
			sc.Topology.Links[1].AToB.Delay = before
			sc.Transport = transport
			// One each 10 ms: few enough for the window that a connection begins with.
			sc.load(func(load *control.Load) { load.RateRPS, load.DurationNS = 100, int64(time.Second) })
			sc.setLink(changeAt, "h2-s1", topologies.Parameters{Delay: after}, "h2")
			r := sc.run(t)
			proved(t, r, 1)
			agree(t, r)
			changed := int64(r.LoadStart) + int64(changeAt)
			last := int64(0) // when the latest of the frames before it arrived
			for _, row := range sc.rows {
				want := row.IntendedNS + int64(before)
				if row.IntendedNS > changed {
					want = max(row.IntendedNS+int64(after), last)
				}
				last = want
				if row.DoneNS != want {
					t.Fatalf("%s, to %v: request %d, %v after the change, took %v, want %v", transport, after,
						row.Sequence, time.Duration(row.IntendedNS-changed), latency(row), time.Duration(want-row.IntendedNS))
				}
			}
			if len(sc.rows) != 100 {
				t.Errorf("%s: %d rows", transport, len(sc.rows))
			}
		}
	}
}

func TestWithoutAFrameAheadAShorterDelayHoldsAtOnce(t *testing.T) {
	sc := oneServer(topologies.Parameters{})
	sc.Topology.Links[1].AToB.Delay = 80 * time.Millisecond
	sc.Transport = engine.TransportDatagram
	sc.load(func(load *control.Load) { load.RateRPS = 10 }) // one each 100 ms
	sc.setLink(190*time.Millisecond, "h2-s1", topologies.Parameters{Delay: time.Millisecond})
	sc.run(t)
	// The third comes 10 ms after the change, 20 ms after the second has arrived.
	if first, third := latency(sc.rows[1]), latency(sc.rows[2]); first != 80*time.Millisecond || third != 2*time.Millisecond {
		t.Errorf("the second request took %v, the third %v, want 80 ms and 2 ms", first, third)
	}
}

func TestAShorterDelayHoldsForWhatIsStillOnItsWayToTheLink(t *testing.T) {
	const delay = 40 * time.Millisecond
	sc := oneServer(topologies.Parameters{})
	sc.Topology.Links[0].BToA.Delay, sc.Topology.Links[1].AToB.Delay = delay, delay
	sc.Transport = engine.TransportDatagram
	sc.load(func(load *control.Load) { load.RateRPS, load.DurationNS = 100, int64(80*time.Millisecond) })
	// The first of the requests, 10 ms apart, has come to the link, the second hasn't. From
	// then on frames may overtake each other.
	sc.setLink(delay+5*time.Millisecond, "h1-s1", topologies.Parameters{
		Delay: delay / 4, Jitter: 1, JitterDistribution: topologies.JitterUniform, JitterReorders: true,
	}, "s1")
	sc.run(t)
	latencies := map[uint64]time.Duration{}
	for _, row := range sc.rows {
		latencies[row.Sequence] = latency(row).Round(time.Microsecond)
	}
	if len(latencies) != 8 || latencies[1] != 2*delay || latencies[2] != delay+delay/4 {
		t.Errorf("the requests took %v, want 80 ms and 50 ms", latencies)
	}
}

func TestWhatIsOnALinkThatGoesDownArrivesAndWhatComesLaterIsLost(t *testing.T) {
	const delay = 40 * time.Millisecond
	sc := oneServer(topologies.Parameters{})
	sc.Topology.Links[1].AToB.Delay = delay
	sc.Transport = engine.TransportDatagram
	sc.load(func(load *control.Load) {
		load.RateRPS, load.DurationNS, load.TimeoutNS = 1000, int64(time.Second), int64(time.Second)
	})
	// Only the way up is down, and then up again.
	sc.cutLink(300*time.Millisecond+1, 300*time.Millisecond, "h2-s1", "h2")
	r := sc.run(t)
	proved(t, r, 1)
	for _, row := range sc.rows {
		at := time.Duration(row.IntendedNS - int64(r.LoadStart))
		lost := at > 300*time.Millisecond && at <= 600*time.Millisecond
		if lost != (row.Outcome == results.OutcomeTimeout) || !lost && latency(row) != delay {
			t.Fatalf("a request %v into the load: %s after %v", at, row.Outcome, latency(row))
		}
	}
	if d := up(r); d.DownDrops != 300 || d.Frames != 700 {
		t.Errorf("%+v, want 300 of 1000 frames lost by the link that was down", d)
	}
}

func TestFramesUnderWayKeepTheirWayAndAreLostWhereItIsCut(t *testing.T) {
	const delay = 40 * time.Millisecond
	sc := oneServer(topologies.Parameters{})
	sc.Topology = circle(4, topologies.Parameters{Delay: delay})
	sc.onHost(1, "n2") // the server's host is h1
	sc.Transport = engine.TransportDatagram
	sc.load(func(load *control.Load) {
		load.RateRPS, load.DurationNS, load.TimeoutNS = 1000, int64(time.Second), int64(time.Second)
	})
	sc.cutLink(500*time.Millisecond+1, time.Minute, "s1-s2")
	r := sc.run(t)
	// A request is on its way to s2 for 40 ms and then on s1-s2; an answer comes to s1
	// 160 ms after its request has left.
	for _, row := range sc.rows {
		at := time.Duration(row.IntendedNS - int64(r.LoadStart))
		if at > 700*time.Millisecond {
			continue // its answer may find the link up, as at the load's end
		}
		want, answered := 6*delay, true
		switch {
		case at > 500*time.Millisecond: // the other way round: two links more each time
			want = 10 * delay
		case at > 460*time.Millisecond: // at s2 too late
			answered = false
		case at > 380*time.Millisecond: // answered by the other way
			want = 8 * delay
		case at > 340*time.Millisecond: // the answer is at s1 too late
			answered = false
		}
		if answered != (row.Outcome != results.OutcomeTimeout) || answered && latency(row) != want {
			t.Fatalf("a request %v into the load: %s after %v, want %v after %v", at, row.Outcome, latency(row), answered, want)
		}
	}
	there, back := frames(t, r, "s1-s2", "s2"), frames(t, r, "s1-s2", "s1")
	if there.DownDrops != 40 || back.DownDrops != 40 {
		t.Errorf("%+v and %+v, want 40 frames each lost", there, back)
	}
}

func TestTheWayIsThatOfTheTimeWhenAMessageLeaves(t *testing.T) {
	sc := oneServer(topologies.Parameters{})
	sc.Topology = circle(3, topologies.Parameters{Delay: time.Millisecond})
	sc.onHost(1, "n2")
	sc.Transport, sc.Costs = engine.TransportDatagram, engine.Costs{PerSend: 30 * time.Millisecond}
	sc.load(func(load *control.Load) { load.RateRPS, load.TimeoutNS = 5, int64(time.Second) })
	// The fourth request is being sent when the link goes down.
	sc.cutLink(610*time.Millisecond, time.Minute, "s1-s2")
	r := sc.run(t)
	if d := frames(t, r, "s1-s2", "s2"); d.DownDrops != 0 || sc.outcomes()[results.OutcomeTimeout] > 0 {
		t.Errorf("%+v, outcomes %v; want no frame lost", d, sc.outcomes())
	}
	for _, row := range sc.rows {
		want := 66 * time.Millisecond
		if row.Sequence > 3 {
			want = 68 * time.Millisecond
		}
		if latency(row) != want {
			t.Errorf("request %d took %v, want %v", row.Sequence, latency(row), want)
		}
	}
}

func TestWithoutAnyWayFramesGoAsFarAsTheLinkThatIsDown(t *testing.T) {
	for _, transport := range []string{engine.TransportDatagram, engine.TransportTCP} {
		sc := oneServer(topologies.Parameters{Delay: time.Millisecond})
		sc.Transport = transport
		sc.Topology.Links[0].BToA.Down = true // from the beginning
		sc.load(func(load *control.Load) { load.RateRPS, load.TimeoutNS = 100, int64(500*time.Millisecond) })
		if r := sc.run(t); sc.outcomes()[results.OutcomeTimeout] != len(sc.rows) || frames(t, r, "h1-s1", "s1").DownDrops < 10 {
			t.Errorf("%s: the link never comes up, and the outcomes are %v", transport, sc.outcomes())
		}
		sc.Topology.Links[0].BToA.Down = false
		sc.cutLink(0, time.Second, "h1-s1", "s1")
		r := sc.run(t)
		d := frames(t, r, "h1-s1", "s1")
		if d.DownDrops < 5 || transport == engine.TransportDatagram && d.DownDrops != 100 {
			t.Errorf("%s: %+v, want 100 datagrams lost there, or several attempts to connect", transport, d)
		}
		answered := len(sc.rows) - sc.outcomes()[results.OutcomeTimeout]
		if least := map[string]int{engine.TransportDatagram: 100, engine.TransportTCP: 50}[transport]; answered < least || answered > 160 {
			t.Errorf("%s: %d of %d requests were answered, want those of the second half, less what a connection takes to be made anew",
				transport, answered, len(sc.rows))
		}
	}
}

// ringScenario is three processes with all roles and a client at 200 requests a second,
// on a ring of four switches, of which the link between the client's and the leader's
// is down from 1 s to 2 s.
func ringScenario() *scenario {
	const delay = 2 * time.Millisecond
	sc := newScenario(multipaxos.Name, topologies.Parameters{}, 1, allRoles, allRoles, allRoles)
	sc.Topology = circle(4, topologies.Parameters{Delay: delay, RateBPS: 1e8})
	sc.load(func(load *control.Load) { load.RateRPS, load.DurationNS = 200, int64(3*time.Second) })
	sc.cutLink(time.Second, time.Second, "s4-s1")
	return sc
}

func TestRequestsGoTheOtherWayRoundWhileALinkIsDown(t *testing.T) {
	for _, transport := range []string{engine.TransportDatagram, engine.TransportTCP} {
		sc := ringScenario()
		sc.Transport = transport
		r := sc.run(t)
		agree(t, r)
		linearizable(t, sc.rows)
		phases, timeouts := [3][]time.Duration{}, 0
		for _, row := range sc.rows {
			at := time.Duration(row.IntendedNS - int64(r.LoadStart))
			switch {
			case row.Outcome == results.OutcomeTimeout:
				timeouts++
			case at%time.Second > 300*time.Millisecond: // what was lost has been sent again
				phases[at/time.Second] = append(phases[at/time.Second], latency(row))
			}
		}
		if timeouts > 3 || transport == engine.TransportTCP && timeouts > 0 {
			t.Errorf("%s: %d requests were given up", transport, timeouts)
		}
		// The client is two links farther from the leader then, each way.
		for i := range phases {
			slices.Sort(phases[i])
		}
		median := func(i int) time.Duration { return phases[i][len(phases[i])/2].Round(time.Millisecond) }
		if median(1) != median(0)+8*time.Millisecond || median(2) != median(0) || len(phases[1]) < 139 {
			t.Errorf("%s: medians are %v, %v and %v, of %d requests meanwhile", transport, median(0), median(1), median(2), len(phases[1]))
		}
		hash := r.TraceHash
		if again := sc.run(t).TraceHash; again != hash {
			t.Errorf("%s: the hashes are %x and %x", transport, hash, again)
		}
		sc.Faults = nil
		sc.cutLink(time.Second+1, time.Second, "s4-s1")
		if other := sc.run(t).TraceHash; other == hash {
			t.Errorf("%s: a change a nanosecond later has the same hash", transport)
		}
	}
}

func TestAConnectionOutlivesAShortCutAndIsMadeAnewAfterALongOne(t *testing.T) {
	const delay = 5 * time.Millisecond
	for cut, opened := range map[time.Duration]uint64{700 * time.Millisecond: 1, 5 * time.Second: 2} {
		sc := oneServer(topologies.Parameters{Delay: delay})
		sc.load(func(load *control.Load) {
			load.RateRPS, load.DurationNS, load.TimeoutNS = 50, int64(10*time.Second), int64(20*time.Second)
		})
		sc.cutLink(time.Second, cut, "h2-s1")
		r := sc.run(t)
		proved(t, r, 1)
		agree(t, r)
		socket := r.Sockets[1]
		if socket.Node != "n2" || socket.Peer != "n1" || socket.Opened != opened || socket.Retransmitted == 0 {
			t.Errorf("cut for %v: %+v, want %d connections", cut, socket, opened)
		}
		back := int64(r.LoadStart) + int64(time.Second+cut)
		late := 0
		for _, row := range sc.rows {
			if row.Outcome == results.OutcomeTimeout {
				late++
				continue
			}
			if row.IntendedNS > back+int64(time.Second) && latency(row) > 5*delay {
				t.Fatalf("cut for %v: request %d took %v long after", cut, row.Sequence, latency(row))
			}
			if row.IntendedNS < back && row.IntendedNS > back-int64(cut) && row.DoneNS < back {
				t.Fatalf("cut for %v: request %d was answered meanwhile", cut, row.Sequence)
			}
		}
		// What a connection that is given up had taken is lost with it: a second's
		// requests or two.
		if most := map[uint64]int{1: 0, 2: 120}[opened]; late > most || opened == 2 && late < 10 {
			t.Errorf("cut for %v: %d requests were lost, want at most %d", cut, late, most)
		}
	}
}
