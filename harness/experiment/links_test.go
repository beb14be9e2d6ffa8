package experiment

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"quorumlab/topologies"
)

// Later parts of the file change what earlier ones say, key by key.
func TestLaterPartsOfTheFileChangeEarlierOnes(t *testing.T) {
	const ms = time.Millisecond
	plain := topologies.Parameters{Delay: 20 * ms, RateBPS: 1e9, QueueFrames: 10_000_000}
	with := func(change func(*topologies.Parameters)) topologies.Parameters {
		p := plain
		change(&p)
		return p
	}
	elliott := &topologies.GilbertElliott{GoodToBad: 0.01, BadToGood: 0.25, LossGood: 0.001, LossBad: 0.5}
	table := &topologies.Table{Name: "rtts.txt", Excess: []time.Duration{0, 1 * ms, 2 * ms, 10 * ms}}
	for _, c := range []struct {
		name, link, rules string
		want              func(*topologies.Parameters)
	}{
		{"all keys", "{delay: 5ms, jitter: 1ms, jitter_distribution: pareto, jitter_shape: 2.5, jitter_reorders: true, loss: 2%, loss_correlation: 30%, duplicate: 3%, corrupt: 4%, reorder: 5%, reorder_gap: 6, reorder_correlation: 7%, rate: 8mbit, queue: 9, queue_bytes: 10kB}", "[]",
			func(p *topologies.Parameters) {
				*p = topologies.Parameters{Delay: 5 * ms, Jitter: ms, JitterDistribution: "pareto", JitterShape: 2.5, JitterReorders: true, Loss: 0.02, LossCorrelation: 0.3,
					Duplicate: 0.03, Corrupt: 0.04, Reorder: 0.05, ReorderGap: 6, ReorderCorrelation: 0.07, RateBPS: 8e6, QueueFrames: 9, QueueBytes: 10_000}
			}},
		{"a key at a time", "{loss: 1%, rate: 5mbit}", "[{match: h*, delay: 1ms}, {match: h1-s1, rate: 6mbit}, {match: h2-s1, rate: 7mbit}]",
			func(p *topologies.Parameters) { p.Delay, p.Loss, p.RateBPS = ms, 0.01, 6e6 }},
		{"the last one wins", "{}", "[{match: h1-s1, delay: 1ms}, {match: [x, 'h[12]-*'], delay: 2ms}]", func(p *topologies.Parameters) { p.Delay = 2 * ms }},
		{"the distribution stays", "{jitter_distribution: exponential}", "[{match: h1-s1, jitter: 3ms}]",
			func(p *topologies.Parameters) { p.Jitter, p.JitterDistribution = 3*ms, "exponential" }},
		{"no jitter has no distribution", "{jitter: 3ms, jitter_distribution: uniform}", "[{match: h1-s1, jitter: 0ms}]", func(*topologies.Parameters) {}},
		{"a jitter of 0 is one", "{jitter: 0ms, jitter_distribution: pareto, jitter_shape: 2.5}", "[]", func(*topologies.Parameters) {}},
		{"a distribution without jitter stays", "{jitter_distribution: pareto, jitter_shape: 2.5}", "[]",
			func(p *topologies.Parameters) { p.JitterDistribution, p.JitterShape = "pareto", 2.5 }},
		{"a table in place of a jitter and its distribution", "{jitter: 1ms, jitter_distribution: uniform}", "[{match: h1-s1, delay: {table: ../testdata/inputs/rtts.txt}}]",
			func(p *topologies.Parameters) { p.JitterTable, p.JitterDistribution = table, "table" }},
		{"bursts in place of loss", "{loss: 1%, loss_correlation: 20%}", "[{match: h1-s1, gilbert_elliott: {good_to_bad: 1%, bad_to_good: 25%, loss_good: 0.1%, loss_bad: 50%}}]",
			func(p *topologies.Parameters) { p.GilbertElliott = elliott }},
		{"loss in place of bursts", "{gilbert_elliott: {good_to_bad: 1%, bad_to_good: 25%}}", "[{match: h1-s1, loss: 2%}]", func(p *topologies.Parameters) { p.Loss = 0.02 }},
		{"bursts lose all by default", "{gilbert_elliott: {good_to_bad: 1%, bad_to_good: 25%}}", "[]",
			func(p *topologies.Parameters) {
				p.GilbertElliott = &topologies.GilbertElliott{GoodToBad: 0.01, BadToGood: 0.25, LossBad: 1}
			}},
		{"a table in place of jitter", "{jitter: 1ms}", "[{match: h1-s1, delay: {table: ../testdata/inputs/rtts.txt}}]",
			func(p *topologies.Parameters) { p.JitterTable, p.JitterDistribution = table, "table" }},
		{"a constant in place of a table", "{delay: {table: ../testdata/inputs/rtts.txt}}", "[{match: h1-s1, delay: 3ms, jitter: 1ms}]",
			func(p *topologies.Parameters) { p.Delay, p.Jitter, p.JitterDistribution = 3*ms, ms, "normal" }},
		{"a loss of 0 below keeps what is told of losses", "{loss: 0%, loss_correlation: 20%, reorder: 0%, reorder_gap: 5}", "[{match: h1-s1, loss: 1%, reorder: 2%}]",
			func(p *topologies.Parameters) {
				p.Loss, p.LossCorrelation, p.Reorder, p.ReorderGap = 0.01, 0.2, 0.02, 5
			}},
		{"no loss, nothing to correlate", "{loss: 1%, loss_correlation: 20%, reorder: 1%, reorder_gap: 5}", "[{match: h1-s1, loss: 0%, reorder: 0%}]", func(*topologies.Parameters) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := spec(t, "topology:\n  link: "+c.link+"\n  links: "+c.rules+"\n")
			got := s.Network().Links[0].AToB
			if got.JitterTable != nil {
				got.JitterTable = &topologies.Table{Name: "rtts.txt", Excess: got.JitterTable.Excess}
			}
			if diff := cmp.Diff(with(c.want), got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestDirectionsCanDiffer(t *testing.T) {
	s := spec(t, "topology:\n  link: {delay: 10ms}\n  links:\n    - {match: h*-s1, from: s1, delay: 15ms}\n    - {match: '*', from: [h1, h2], loss: 1%}\n")
	links := s.Network().Links
	for i, link := range links {
		lossy := 0.0
		if i < 2 {
			lossy = 0.01
		}
		if link.AToB.Delay != 10*time.Millisecond || link.BToA.Delay != 15*time.Millisecond || link.AToB.Loss != lossy || link.BToA.Loss != 0 {
			t.Errorf("%s: %+v and %+v", link.Name, link.AToB, link.BToA)
		}
	}
}

// Whatever is asked for first, a distance is the sum of the mean delays on the path.
func TestDistancesDoNotDependOnWhatWasAskedBefore(t *testing.T) {
	for kind, text := range map[string]string{
		"tree": "topology: {kind: tree, links: [{match: 's*', from: s1, delay: 3ms}, {match: h5-*, delay: 1ms, jitter: 2ms, jitter_distribution: exponential}]}\n",
		"wan":  threeRegions, "custom": fourHosts, "mesh": "topology: {kind: mesh, links: [{match: h1-*, from: h1, delay: 2ms}]}\n",
		"linear": "topology: {kind: linear, linear: {switches: host}, links: [{match: s2-s3, from: s3, delay: 7ms}]}\n",
	} {
		network := spec(t, text).Network()
		graph, err := network.Graph()
		if err != nil {
			t.Fatal(err)
		}
		d := newDistances(network)
		n := len(network.Hosts)
		for _, pair := range rand.New(rand.NewPCG(1, 2)).Perm(n * n) {
			from, to := pair/n, pair%n
			var want time.Duration
			for _, hop := range graph.From(from)[to] {
				want += network.Parameters(hop).MeanDelay()
			}
			if got := d.between(from, to); got != want {
				t.Errorf("%s: from %s to %s: %v, want %v", kind, network.Hosts[from].Name, network.Hosts[to].Name, got, want)
			}
		}
	}
}

// The greatest round trip is found wherever it is, among many hosts too.
func TestProcessesThatTalkMustBeNearEnoughForTCP(t *testing.T) {
	for _, c := range []struct {
		text string
		good bool
	}{
		{"topology: {link: {delay: 249ms}}\n", true},
		{"topology: {link: {delay: 250ms}}\n", false},
		{"topology: {link: {delay: 10ms}, links: [{match: h5-s1, delay: 489ms}]}\n", true},
		{"topology: {link: {delay: 10ms}, links: [{match: h5-s1, delay: 490ms}]}\n", false},
		{"topology: {link: {delay: 10ms}, links: [{match: h5-s1, from: s1, delay: 969ms}]}\n", true},
		{"topology: {link: {delay: 10ms}, links: [{match: h5-s1, from: s1, delay: 970ms}]}\n", false},
		{"topology: {link: {delay: 10ms, jitter: 240ms, jitter_distribution: exponential}}\n", false},
		// Clients don't talk to acceptors, which would be 5 links away.
		{"topology: {kind: linear, link: {delay: 124ms}}\n", true},
		{"topology: {kind: linear, link: {delay: 125ms}}\n", false},
		{"topology: {kind: linear, placement: together, link: {delay: 166ms}}\n", true},
		{"topology: {kind: linear, placement: together, link: {delay: 167ms}}\n", false},
		{"topology: {kind: mesh, link: {delay: 499ms}}\n", true},
		{"topology: {kind: mesh, link: {delay: 500ms}}\n", false},
		{"topology: {kind: mesh, link: {delay: 10ms}, links: [{match: h3-h77, from: h3, delay: 989ms}]}\nsystem: {roles: {acceptors: 90}}\n", true},
		{"topology: {kind: mesh, link: {delay: 10ms}, links: [{match: h3-h77, from: h3, delay: 990ms}]}\nsystem: {roles: {acceptors: 90}}\n", false},
		{"topology: {kind: tree, link: {delay: 1ms}, links: [{match: h500-*, delay: 480ms}]}\nsystem: {roles: {acceptors: 900}}\n", true},
		{"topology: {kind: tree, link: {delay: 1ms}, links: [{match: h500-*, delay: 481ms}]}\nsystem: {roles: {acceptors: 900}}\n", false},
		{"topology: {link: {delay: 245ms}, links: [{match: h850-s1, delay: 300ms}]}\nsystem: {roles: {acceptors: 900}}\n", false},
		{"topology: {kind: linear, linear: {switches: host}, link: {delay: 500us}}\nsystem: {roles: {acceptors: 980}}\n", true},
		{"topology: {kind: linear, linear: {switches: host}, link: {delay: 600us}}\nsystem: {roles: {acceptors: 980}}\n", false},
		{"topology: {kind: wan, wan: {regions: [a, b], rtt: [[0, 998ms], [998ms, 0]]}, placement: region}\n", true},
		{"topology: {kind: wan, wan: {regions: [a, b], rtt: [[0, 1s], [1s, 0]]}, placement: region}\n", false},
		{"topology: {kind: wan, wan: {regions: [a, b], rtt: [[0, 1s], [1s, 0]]}, placement: {at: {replicas: a, leaders: a, acceptors: a, clients: a}}}\n", true},
	} {
		_, err := Parse("x.yaml", []byte("version: 1\n"+c.text), testOverrides())
		if (err == nil) != c.good {
			t.Errorf("%s: %v", c.text, err)
		}
	}
}

// Trials ask for their networks at the same time.
func TestNetworksCanBeMadeAtTheSameTime(t *testing.T) {
	s := spec(t, "topology:\n  kind: file\n  file: ../testdata/inputs/switches.gml\n  link: {delay: {trace: ../testdata/inputs/rtt.csv}}\n")
	want := fmt.Sprint(s.Network().Links)
	var done sync.WaitGroup
	for range 8 {
		done.Go(func() {
			if got := fmt.Sprint(s.Network().Links); got != want {
				t.Error("another network")
			}
			s.Deployment()
		})
	}
	done.Wait()
}
