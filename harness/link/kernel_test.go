//go:build linux

package link

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"quorumlab/topologies"
)

var allFeatures = KernelFeatures{Bridge: true, Netem: true}

func TestKernelSupportsNamesWhatItCannot(t *testing.T) {
	star := func(p topologies.Parameters) *topologies.Topology { return topologies.Star(3, p) }
	circle := star(topologies.Parameters{})
	circle.Links = append(circle.Links, topologies.Link{Name: "extra", A: "h1", B: "h2"})
	apart := star(topologies.Parameters{})
	apart.Switches = []string{"s1", "s2", "s3"}
	apart.Links = append(apart.Links, topologies.Link{Name: "s2-s3", A: "s2", B: "s3"}, topologies.Link{Name: "s2-s3-again", A: "s3", B: "s2"})
	through := star(topologies.Parameters{})
	through.Links[2].B = "h2" // h3 - h2 - s1
	jitter := func(p topologies.Parameters, distribution string) topologies.Parameters {
		p.Delay, p.Jitter, p.JitterDistribution = 1e6, 1e6, distribution
		return p
	}
	table := func(values ...time.Duration) topologies.Parameters {
		return topologies.Parameters{JitterDistribution: topologies.JitterTable, JitterTable: &topologies.Table{Excess: values}}
	}
	trace := &topologies.Trace{
		Times: []time.Duration{0}, Excess: []time.Duration{1e6}, Align: topologies.AlignStart, Gap: topologies.GapHold, GapAfter: 1e9, Period: 1e9,
	}
	elliott := &topologies.GilbertElliott{GoodToBad: 0.01, BadToGood: 0.3, LossBad: 1}
	for _, c := range []struct {
		name     string
		topology *topologies.Topology
		features KernelFeatures
		want     string // "" means supported
	}{
		{"plain", star(topologies.Parameters{}), KernelFeatures{Bridge: true}, ""},
		{"delay, loss, rate, queue", star(topologies.Parameters{Delay: 20 * time.Millisecond, Loss: 0.01, RateBPS: 1e6, QueueFrames: 10}), allFeatures, ""},
		{"an hour and a nanosecond less", star(topologies.Parameters{Delay: time.Hour - 1}), allFeatures, ""},
		{"uniform jitter", star(jitter(topologies.Parameters{}, topologies.JitterUniform)), allFeatures, ""},
		{"normal jitter that reorders", star(jitter(topologies.Parameters{JitterReorders: true}, topologies.JitterNormal)), allFeatures, ""},
		{"exponential jitter", star(jitter(topologies.Parameters{}, topologies.JitterExponential)), allFeatures, ""},
		{"Pareto jitter", star(jitter(topologies.Parameters{}, topologies.JitterPareto)), allFeatures, ""},
		{"Pareto jitter of shape 2", star(jitter(topologies.Parameters{JitterShape: 2}, topologies.JitterPareto)), allFeatures, ""},
		{"a table", star(table(0, 1e6, 16e9)), allFeatures, ""},
		{"correlated loss", star(topologies.Parameters{Loss: 0.1, LossCorrelation: 0.5}), allFeatures, ""},
		{"Gilbert-Elliott loss", star(topologies.Parameters{GilbertElliott: elliott}), allFeatures, ""},
		{"duplicates, reordering", star(topologies.Parameters{Delay: 1e6, Duplicate: 0.1, Reorder: 0.1, ReorderGap: 5}), allFeatures, ""},
		{"a queue of bytes that nothing fills", star(topologies.Parameters{QueueBytes: 1e6}), allFeatures, ""},

		{"no bridge", star(topologies.Parameters{}), KernelFeatures{Netem: true}, "bridge"},
		{"down", star(topologies.Parameters{Down: true}), allFeatures, "down"},
		{"a trace", star(topologies.Parameters{Trace: trace}), allFeatures, "trace"},
		{"corruption", star(topologies.Parameters{Corrupt: 0.1}), allFeatures, "corrupt 0.1"},
		{"a queue of bytes", star(topologies.Parameters{RateBPS: 1e6, QueueBytes: 1e4}), allFeatures, "queue_bytes 10000"},
		{"correlated reordering", star(topologies.Parameters{Delay: 1e6, Reorder: 0.1, ReorderCorrelation: 0.5}), allFeatures, "reorder_correlation 0.5"},
		{"a long tail", star(jitter(topologies.Parameters{JitterShape: 1.2}, topologies.JitterPareto)), allFeatures, "jitter 1ms"},
		{"a wide table", star(table(0, 18e9)), allFeatures, "jitter"},
		{"jitter without netem", star(jitter(topologies.Parameters{}, topologies.JitterUniform)), KernelFeatures{Bridge: true}, "jitter 1ms"},
		{"a table without netem", star(table(1)), KernelFeatures{Bridge: true}, "jitter by a table"},
		{"delay without netem", star(topologies.Parameters{Delay: 1e6}), KernelFeatures{Bridge: true}, "delay"},
		{"loss without netem", star(topologies.Parameters{Loss: 0.1}), KernelFeatures{Bridge: true}, "loss"},
		{"bursts without netem", star(topologies.Parameters{GilbertElliott: elliott}), KernelFeatures{Bridge: true}, "gilbert_elliott"},
		{"duplicates without netem", star(topologies.Parameters{Duplicate: 0.1}), KernelFeatures{Bridge: true}, "duplicate"},
		{"reordering without netem", star(topologies.Parameters{Reorder: 0.1}), KernelFeatures{Bridge: true}, "reorder"},
		{"a rate without netem", star(topologies.Parameters{RateBPS: 1e9}), KernelFeatures{Bridge: true}, "rate"},
		{"tiny loss", star(topologies.Parameters{Loss: 1e-9}), allFeatures, "loss"},
		{"tiny duplication", star(topologies.Parameters{Duplicate: 1e-9}), allFeatures, "duplicate"},
		{"rare bursts", star(topologies.Parameters{GilbertElliott: &topologies.GilbertElliott{GoodToBad: 1e-9, BadToGood: 1, LossBad: 1}}), allFeatures, "good_to_bad"},
		{"split bytes", star(topologies.Parameters{RateBPS: 1001}), allFeatures, "rate"},
		{"a circle", circle, allFeatures, "tree"},
		{"two parts", apart, allFeatures, "connected"},
		{"a host in between", through, allFeatures, "h2"},
		{"nobody", &topologies.Topology{Switches: []string{"s1"}}, allFeatures, "no hosts"},
	} {
		err := KernelSupports(c.topology, c.features)
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		if !errors.Is(err, ErrKernelCannot) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want ErrKernelCannot with %q", c.name, err, c.want)
		}
	}
	bad := star(topologies.Parameters{Loss: 2})
	if err := KernelSupports(bad, allFeatures); err == nil || errors.Is(err, ErrKernelCannot) {
		t.Errorf("parameters that nothing can execute: %v", err)
	}
}

// netemVariable is set where the kernel must have netem: there no test is skipped.
const netemVariable = "QUORUMLAB_NETEM_NEEDED"

// probed returns the kernel's features, found in a namespace of their own.
func probed(t *testing.T) (features KernelFeatures) {
	t.Helper()
	needNamespaces(t)
	newNamespace(t).must(t, "probing", func() (err error) {
		features, err = ProbeKernel(t.Context())
		links, listErr := netlink.LinkList()
		for _, link := range links {
			if strings.HasPrefix(link.Attrs().Name, "qlprobe") {
				t.Errorf("the probe left %s behind", link.Attrs().Name)
			}
		}
		return errors.Join(err, listErr)
	})
	t.Logf("%+v", features)
	if os.Getenv(netemVariable) != "" && !features.Netem {
		t.Fatalf("%s is set, and this kernel has no netem", netemVariable)
	}
	return features
}

// buildKernel has the kernel execute the lab's links.
func (l *lab) buildKernel(features KernelFeatures) *Kernel {
	l.t.Helper()
	return l.buildKernelFor(features, false)
}

// buildKernelFor has the kernel execute the lab's links, and be ready for changes if
// changing is set.
func (l *lab) buildKernelFor(features KernelFeatures, changing bool) *Kernel {
	l.t.Helper()
	l.setNeighbours(func(host int) string { return l.ports[host].MAC })
	var k *Kernel
	l.fabric.must(l.t, "building kernel links", func() (err error) {
		k, err = BuildKernel(l.topology, l.ports, features, changing)
		return err
	})
	l.t.Cleanup(k.Close)
	return k
}

// kernelLab builds a lab for the kernel, if it supports the topology.
func kernelLab(t *testing.T, topology *topologies.Topology) (*lab, *Kernel) {
	t.Helper()
	features := probed(t)
	if err := KernelSupports(topology, features); err != nil {
		t.Skipf("%v; make test-kernel-links has one that can", err)
	}
	l := newLab(t, topology)
	return l, l.buildKernel(features)
}

func TestKernelRefusesWhatItCannotBuild(t *testing.T) {
	_, err := BuildKernel(topologies.Star(2, topologies.Parameters{Delay: 1e6}), nil, KernelFeatures{Bridge: true}, false)
	if !errors.Is(err, ErrKernelCannot) {
		t.Errorf("%v, want ErrKernelCannot", err)
	}
}

func TestKernelCarriesFramesOfATree(t *testing.T) {
	topology := topologies.Star(3, topologies.Parameters{})
	topology.Switches = append(topology.Switches, "s2")
	topology.Links[2].B = "s2"
	topology.Links = append(topology.Links, topologies.Link{Name: "s1-s2", A: "s1", B: "s2"})
	l, k := kernelLab(t, topology)
	go echo(l.listenUDP(2))
	client := l.listenUDP(0)
	for range 10 {
		roundTrip(t, client, l.address(2))
	}
	r, err := k.Report()
	if err != nil {
		t.Fatal(err)
	}
	for _, pair := range [][2]string{{"h1", "s1"}, {"s1", "s2"}, {"s2", "h3"}, {"h3", "s2"}, {"s2", "s1"}, {"s1", "h1"}} {
		if d := direction(t, r, pair[0], pair[1]); d.Frames != 10 || d.Bytes != 1060 {
			t.Errorf("%+v, want 10 frames of 106 bytes", d)
		}
	}
	if d := direction(t, r, "s1", "h2"); d.Frames != 0 || r.EmulatorDrops != 0 || r.Lateness != nil {
		t.Errorf("%+v, %+v: want nothing for h2, no drops and no lateness", d, r)
	}
}

func TestKernelLimitsTheRate(t *testing.T) {
	const rate, bytes = 200_000_000, 8 << 20
	l, k := kernelLab(t, topologies.Star(2, topologies.Parameters{RateBPS: rate, QueueFrames: 200}))
	took := l.transfer(bytes)
	if least := time.Duration(bytes * 8 * int64(time.Second) / rate); took < least {
		t.Errorf("%d bytes took %v, at the declared rate they take at least %v", bytes, took, least)
	}
	t.Logf("%.1f Mbit/s of payload", bytes*8/took.Seconds()/1e6)
	r, err := k.Report()
	if err != nil {
		t.Fatal(err)
	}
	if d := direction(t, r, "s1", "h2"); d.Bytes < bytes || r.EmulatorDrops != 0 {
		t.Errorf("%+v, emulator drops %d", d, r.EmulatorDrops)
	}
}

func TestKernelCountsQueueOverflow(t *testing.T) {
	const count, queue = 100, 10
	fast := topologies.Parameters{RateBPS: 1_000_000_000}
	slow := topologies.Parameters{RateBPS: 2_000_000, QueueFrames: queue}
	topology := topologies.Star(2, fast)
	topology.Links[1].BToA = slow // s1 to h2
	l, k := kernelLab(t, topology)
	received := drain(l.listenUDP(1))
	client := l.listenUDP(0)
	for range count {
		if _, err := client.WriteToUDPAddrPort(make([]byte, 1400), l.address(1)); err != nil {
			t.Fatal(err)
		}
	}
	got := uint64(<-received)
	r, err := k.Report()
	if err != nil {
		t.Fatal(err)
	}
	up, down := direction(t, r, "h1", "s1"), direction(t, r, "s1", "h2")
	if up.Frames != count || down.Frames+down.QueueDrops != count || down.QueueDrops == 0 || down.Frames != got || r.EmulatorDrops != 0 {
		t.Errorf("sent %d, received %d: %+v, %+v, emulator drops %d", count, got, up, down, r.EmulatorDrops)
	}
}

func TestKernelDelaysAndLoses(t *testing.T) {
	const count = 500
	l, k := kernelLab(t, topologies.Star(2, topologies.Parameters{Delay: 5 * time.Millisecond, Loss: 0.1, RateBPS: 100_000_000, QueueFrames: 100}))
	client := l.listenUDP(0)
	server := l.listenUDP(1)
	received := drain(server)
	blast(t, client, l, 1, count, 100)
	got := uint64(<-received)
	r, err := k.Report()
	if err != nil {
		t.Fatal(err)
	}
	up, down := direction(t, r, "h1", "s1"), direction(t, r, "s1", "h2")
	if up.Frames+up.LossDrops != count || down.Frames+down.LossDrops != up.Frames || down.Frames != got || up.LossDrops == 0 || up.QueueDrops != 0 || r.EmulatorDrops != 0 {
		t.Errorf("sent %d, received %d: %+v, %+v, emulator drops %d", count, got, up, down, r.EmulatorDrops)
	}
	_ = server.SetReadDeadline(time.Time{})
	go echo(server)
	answered := 0
	for range 30 {
		buffer := make([]byte, 64)
		began := time.Now()
		if _, err := client.WriteToUDPAddrPort(buffer, l.address(1)); err != nil {
			t.Fatal(err)
		}
		_ = client.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		if _, err := client.Read(buffer); err != nil {
			continue
		}
		answered++
		if took := time.Since(began); took < 20*time.Millisecond {
			t.Errorf("a round trip took %v, want at least 20 ms", took)
		}
	}
	if answered == 0 {
		t.Error("no echo came back")
	}
}
