//go:build linux

package link

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"

	"quorumlab/harness/engine"
	"quorumlab/topologies"
)

// everyOption is a netem with all that we set.
func everyOption() netemOptions {
	return netemOptions{
		delayNS: 1 << 40, spreadNS: 1 << 30, loss: 1, duplicate: 2, reorder: 3, gap: 4, bytesPerSecond: orderedRate, limit: 5,
		states: &netemStates{6, 7, 8, 9}, table: []int16{-32768, 0, 32767},
	}
}

func TestNetemsOptionsAreReadAsTheyWereWritten(t *testing.T) {
	for _, want := range []netemOptions{everyOption(), {limit: 1, bytesPerSecond: 125}, {limit: unlimited}} {
		encoded := want.encode().Serialize()
		got, err := decodeNetem(encoded[4:])
		if err != nil {
			t.Errorf("%+v: %v", want, err)
		} else if differences := want.differences(got); differences != "" {
			t.Errorf("%+v: %s", want, differences)
		}
	}
	encoded := everyOption().encode().Serialize()
	if !bytes.Contains(encoded, []byte{0x00, 0x80, 0x00, 0x00, 0xff, 0x7f}) {
		t.Errorf("%x lacks the table", encoded)
	}
}

func TestEachDifferenceOfNetemsIsNamed(t *testing.T) {
	for name, change := range map[string]func(*netemOptions){
		"delay":        func(o *netemOptions) { o.delayNS++ },
		"jitter":       func(o *netemOptions) { o.spreadNS++ },
		"loss (":       func(o *netemOptions) { o.loss++ },
		"states (":     func(o *netemOptions) { o.states = &netemStates{6, 7, 8, 10} },
		"by states":    func(o *netemOptions) { o.states = nil },
		"duplicate":    func(o *netemOptions) { o.duplicate++ },
		"reorder (":    func(o *netemOptions) { o.reorder++ },
		"reorder_gap":  func(o *netemOptions) { o.gap++ },
		"rate (bytes/": func(o *netemOptions) { o.bytesPerSecond++ },
		"queue":        func(o *netemOptions) { o.limit++ },
	} {
		got := everyOption()
		change(&got)
		if differences := everyOption().differences(got); !strings.Contains(differences, name) {
			t.Errorf("%q doesn't name %s", differences, name)
		}
	}
}

func TestForeignAndBrokenNetemsAreRefused(t *testing.T) {
	foreign := everyOption().encode()
	foreign.AddRtAttr(nl.TCA_NETEM_CORRUPT, words(7, 0))
	for name, value := range map[string][]byte{
		"no options":       nil,
		"corruption":       foreign.Serialize()[4:],
		"a short word":     append(words(0, 0, 0, 0, 0, 0), 8, 0, netemLatency64, 0, 1, 2, 3, 4),
		"half a header":    append(words(0, 0, 0, 0, 0, 0), 8, 0),
		"beyond its end":   append(words(0, 0, 0, 0, 0, 0), 12, 0, netemLatency64, 0, 1, 2, 3, 4),
		"an unknown model": append(words(0, 0, 0, 0, 0, 0), nl.NewRtAttr(nl.TCA_NETEM_LOSS, nl.NewRtAttr(1, words(1, 2, 3, 4, 5)).Serialize()).Serialize()...),
	} {
		if _, err := decodeNetem(value); !errors.Is(err, errQdisc) {
			t.Errorf("%s: %v, want errQdisc", name, err)
		}
	}
}

// statistics are the counters of a qdisc.
func statistics() []byte {
	nested := nl.NewRtAttr(nl.TCA_STATS2, nil)
	nested.AddRtAttr(nl.TCA_STATS_BASIC, words(1000, 0, 10, 0))
	nested.AddRtAttr(nl.TCA_STATS_QUEUE, words(2, 200, 3, 4, 5))
	return nested.Serialize()
}

func TestANetemIsReadWithItsCounters(t *testing.T) {
	message := (&nl.TcMsg{Ifindex: 3, Parent: netlink.HANDLE_ROOT}).Serialize()
	message = append(message, nl.NewRtAttr(nl.TCA_KIND, nl.ZeroTerminated("netem")).Serialize()...)
	message = slices.Concat(message, everyOption().encode().Serialize(), statistics())
	device, netem, err := parseQdisc(message)
	if err != nil || device != 3 || netem == nil {
		t.Fatalf("device %d, %+v, %v", device, netem, err)
	}
	if differences := everyOption().differences(netem.options); differences != "" {
		t.Error(differences)
	}
	netem.options = netemOptions{}
	if want := (rootNetem{sent: 10, waiting: 2, waitingBytes: 200, dropped: 3, letGo: 4}); !reflect.DeepEqual(*netem, want) {
		t.Errorf("%+v, want %+v", *netem, want)
	}
}

func FuzzParseQdisc(f *testing.F) {
	message := (&nl.TcMsg{Ifindex: 3, Parent: netlink.HANDLE_ROOT}).Serialize()
	message = append(message, nl.NewRtAttr(nl.TCA_KIND, nl.ZeroTerminated("netem")).Serialize()...)
	f.Add(slices.Concat(message, everyOption().encode().Serialize(), statistics()))
	f.Add(message)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		device, netem, err := parseQdisc(b)
		if err != nil && !errors.Is(err, errQdisc) {
			t.Errorf("%v, want errQdisc", err)
		}
		if err == nil && int32(device) != int32(binary.NativeEndian.Uint32(b[4:])) {
			t.Errorf("device %d of %x", device, b)
		}
		if err == nil && netem != nil && netem.options.differences(netem.options) != "" {
			t.Errorf("%+v differs from itself", netem.options)
		}
	})
}

// changingLab builds a lab whose kernel links may be changed.
func changingLab(t *testing.T, topology *topologies.Topology) (*lab, *Kernel) {
	t.Helper()
	features := probed(t)
	if !features.Bridge || !features.Netem {
		t.Skip("this kernel has no netem, so that kernel links can't change; make test-kernel-links has one that can")
	}
	l := newLab(t, topology)
	return l, l.buildKernelFor(features, true)
}

func TestAKernelLinkKeepsWhatIsInFlightWhenItChanges(t *testing.T) {
	const long, short, each = 700 * time.Millisecond, 10 * time.Millisecond, 20
	for _, p := range []topologies.Parameters{
		{Delay: long},
		{Delay: long, RateBPS: 100_000, QueueFrames: 100}, // some still wait for their serialisation
	} {
		l, k := changingLab(t, topologies.Star(2, topologies.Parameters{}))
		set := func(p topologies.Parameters) {
			t.Helper()
			if err := k.SetLink("h1-s1", p, topologies.Parameters{}); err != nil {
				t.Fatal(err)
			}
		}
		set(p)
		server, client := l.listenUDP(1), l.listenUDP(0)
		send := func(first byte) {
			for i := range byte(each) {
				if _, err := client.WriteToUDPAddrPort([]byte{first + i}, l.address(1)); err != nil {
					t.Fatal(err)
				}
			}
		}
		began := time.Now()
		send(0)
		set(topologies.Parameters{Delay: short})
		send(each)
		buffer := make([]byte, 16)
		_ = server.SetReadDeadline(time.Now().Add(20 * time.Second))
		for want := range byte(2 * each) {
			if _, err := server.Read(buffer); err != nil {
				t.Fatalf("%+v: frame %d: %v", p, want, err)
			}
			if buffer[0] != want {
				t.Fatalf("%+v: frame %d came, want %d: none may overtake", p, buffer[0], want)
			}
			if took := time.Since(began); took < long {
				t.Fatalf("%+v: frame %d took %v, want at least %v", p, want, took, long)
			}
		}
		// Later frames no longer wait for anything.
		began = time.Now()
		send(0)
		if _, err := server.Read(buffer); err != nil || time.Since(began) > long*2/3 {
			t.Errorf("%+v: after the change a frame took %v, %v", p, time.Since(began), err)
		}
		for _, d := range mustReport(t, k).Directions {
			if d.LossDrops+d.QueueDrops != 0 {
				t.Errorf("%+v: %+v lost frames", p, d)
			}
		}
	}
}

func TestAKernelLinkWithALongQueueRefusesToChange(t *testing.T) {
	l, k := changingLab(t, topologies.Star(2, topologies.Parameters{}))
	slow := topologies.Parameters{RateBPS: 8000}
	if err := k.SetLink("h1-s1", slow, topologies.Parameters{}); err != nil {
		t.Fatal(err)
	}
	client := l.listenUDP(0)
	for range 10 {
		if _, err := client.WriteToUDPAddrPort(make([]byte, 1400), l.address(1)); err != nil {
			t.Fatal(err)
		}
	}
	err := k.SetLink("h1-s1", topologies.Parameters{Delay: time.Millisecond}, topologies.Parameters{})
	if !errors.Is(err, engine.ErrUnsupported) || !strings.Contains(err.Error(), "10 frames wait") {
		t.Errorf("%v, want ErrUnsupported", err)
	}
	got, err := k.qdiscs.netems()
	if err != nil {
		t.Fatal(err)
	}
	if differences := rateStage(slow).differences(got[k.directions[0].rate].options); differences != "" {
		t.Errorf("the change was refused and changed something: %s", differences)
	}
	// The rate alone may change: those that wait keep their times by themselves.
	if err := k.SetLink("h1-s1", topologies.Parameters{RateBPS: 16000}, topologies.Parameters{}); err != nil {
		t.Error(err)
	}
}

func mustReport(t *testing.T, k *Kernel) engine.LinkReport {
	t.Helper()
	r, err := k.Report()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEachFormerParameterOfAKernelLinkIsCleared(t *testing.T) {
	_, k := changingLab(t, topologies.Star(2, topologies.Parameters{}))
	everything := topologies.Parameters{
		Delay: time.Second, Jitter: 1e6, JitterDistribution: topologies.JitterPareto, JitterReorders: true, Duplicate: 0.1,
		GilbertElliott: &topologies.GilbertElliott{GoodToBad: 0.1, BadToGood: 0.2, LossBad: 1},
		Reorder:        0.1, ReorderGap: 4, RateBPS: 8000, QueueFrames: 3,
	}
	lossy := topologies.Parameters{Loss: 1}
	for _, p := range []topologies.Parameters{everything, lossy, {}, everything, {}} {
		if err := k.SetLink("h1-s1", p, p); err != nil {
			t.Fatal(err)
		}
		got, err := k.qdiscs.netems()
		if err != nil {
			t.Fatal(err)
		}
		line, err := lineStage(p)
		if err != nil {
			t.Fatal(err)
		}
		for _, direction := range k.directions[:2] {
			if differences := rateStage(p).differences(got[direction.rate].options); got[direction.rate].options.limit != 0 && differences != "" {
				t.Errorf("the rate's netem after %+v: %s", p, differences)
			}
			if differences := line.differences(got[direction.line].options); differences != "" {
				t.Errorf("the line's netem after %+v: %s", p, differences)
			}
		}
	}
	if got, err := k.qdiscs.netems(); err != nil || len(got) != 4 {
		t.Errorf("%d netems, %v, want 4: the other link was never changed", len(got), err)
	}
}

func TestAKernelLinkRefusesWhatItsDevicesCant(t *testing.T) {
	features := probed(t)
	if !features.Bridge || !features.Netem {
		t.Skip("this kernel has no netem, so that kernel links can't change; make test-kernel-links has one that can")
	}
	topology := topologies.Star(3, topologies.Parameters{Delay: time.Millisecond})
	topology.Links[1].AToB = topologies.Parameters{RateBPS: 1_000_000}
	l := newLab(t, topology)
	k := l.buildKernel(features)
	var none topologies.Parameters
	for _, c := range []struct {
		link string
		aToB topologies.Parameters
		want string // "" means done
	}{
		{"h1-s1", topologies.Parameters{Delay: time.Second}, ""},
		{"h1-s1", none, ""},
		{"h1-s1", topologies.Parameters{Loss: 0.1, Duplicate: 0.1}, ""},
		{"h2-s1", topologies.Parameters{RateBPS: 2_000_000, QueueFrames: 10}, ""},
		{"h2-s1", none, ""},
		{"h1-s1", topologies.Parameters{RateBPS: 1_000_000}, "rate"},
		{"h2-s1", topologies.Parameters{RateBPS: 1_000_000, Loss: 0.1}, "loss 0.1"},
		{"h2-s1", topologies.Parameters{Delay: time.Second}, "delay 1s"},
		{"h1-s1", topologies.Parameters{Down: true}, "down"},
		{"h1-s1", topologies.Parameters{Corrupt: 0.1}, "corrupt 0.1"},
	} {
		before, err := k.qdiscs.netems()
		if err != nil {
			t.Fatal(err)
		}
		err = k.SetLink(c.link, c.aToB, none)
		if c.want == "" {
			if err != nil {
				t.Errorf("%+v: %v", c.aToB, err)
			}
			continue
		}
		if !errors.Is(err, engine.ErrUnsupported) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.link) {
			t.Errorf("%+v: %v, want ErrUnsupported that names %s and %q", c.aToB, err, c.link, c.want)
		}
		after, err := k.qdiscs.netems()
		if err != nil || len(after) != len(before) {
			t.Fatalf("%d netems, then %d, %v", len(before), len(after), err)
		}
		for device, netem := range before {
			if differences := netem.options.differences(after[device].options); differences != "" {
				t.Errorf("%+v was refused and changed something: %s", c.aToB, differences)
			}
		}
	}
	if err := k.SetLink("h9-s1", none, none); err == nil || errors.Is(err, engine.ErrUnsupported) {
		t.Errorf("a link that isn't there: %v", err)
	}
	if err := k.SetLink("h1-s1", topologies.Parameters{Loss: 2}, none); err == nil || errors.Is(err, engine.ErrUnsupported) {
		t.Errorf("parameters that make no sense: %v", err)
	}
}

func TestAKernelLinkOfHostsWithLargeFramesOnlyDelays(t *testing.T) {
	_, k := kernelLab(t, topologies.Star(2, topologies.Parameters{Delay: time.Millisecond}))
	if err := k.SetLink("h1-s1", topologies.Parameters{Delay: time.Second}, topologies.Parameters{}); err != nil {
		t.Error(err)
	}
	if err := k.SetLink("h1-s1", topologies.Parameters{Loss: 0.1}, topologies.Parameters{}); !errors.Is(err, engine.ErrUnsupported) {
		t.Errorf("%v, want ErrUnsupported", err)
	}
}

func TestAKernelLinkThatSomebodyElseChangedIsNoticed(t *testing.T) {
	_, k := changingLab(t, topologies.Star(2, topologies.Parameters{Delay: time.Millisecond}))
	changed := k.set[k.directions[2].line]
	changed.loss = 7
	if err := k.qdiscs.setNetem(k.directions[2].line, changed, true); err != nil {
		t.Fatal(err)
	}
	err := k.SetLink("h1-s1", topologies.Parameters{}, topologies.Parameters{})
	if err == nil || !strings.Contains(err.Error(), "loss (of 2^32) is 7, want 0") {
		t.Errorf("%v, want an error about the loss", err)
	}
}
