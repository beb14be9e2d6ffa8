//go:build linux

package link

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"quorumlab/topologies"
)

// resolveAny numbers interfaces by their last character.
func resolveAny(name string) (int, error) {
	if name == "" {
		return 0, errors.New("no such interface")
	}
	return int(name[len(name)-1]), nil
}

func starConfig() EmulatorConfig {
	return EmulatorConfig{
		Topology: topologies.Star(2, topologies.Parameters{}),
		Ports: []Port{
			{Host: "h2", Interface: "p1", MAC: "02:00:00:00:00:02"},
			{Host: "h1", Interface: "p0", MAC: "02:00:00:00:00:01"},
		},
	}
}

func TestConfigurationsAreChecked(t *testing.T) {
	for _, c := range []struct {
		name, want string
		spoil      func(c *EmulatorConfig)
	}{
		{"good", "", func(c *EmulatorConfig) {}},
		{"no topology", "no topology", func(c *EmulatorConfig) { c.Topology = nil }},
		{"negative memory", "buffer_bytes", func(c *EmulatorConfig) { c.BufferBytes = -1 }},
		{"bad link", "loss is 2", func(c *EmulatorConfig) { c.Topology.Links[0].BToA.Loss = 2 }},
		{"port missing", "1 ports for 2 hosts", func(c *EmulatorConfig) { c.Ports = c.Ports[:1] }},
		{"port twice", "two ports", func(c *EmulatorConfig) { c.Ports[0] = c.Ports[1] }},
		{"unknown host", "h1 has no port", func(c *EmulatorConfig) { c.Ports[1].Host = "h9" }},
		{"bad MAC", "no Ethernet address", func(c *EmulatorConfig) { c.Ports[0].MAC = "02:00" }},
		{"long MAC", "no Ethernet address", func(c *EmulatorConfig) { c.Ports[0].MAC = "02:00:00:00:00:00:00:02" }},
		{"no interface", "no such interface", func(c *EmulatorConfig) { c.Ports[0].Interface = "" }},
		{"interface twice", "stands twice", func(c *EmulatorConfig) { c.Ports[0].Interface = "p0" }},
		{"address twice", "stands twice", func(c *EmulatorConfig) { c.Topology.Hosts[1].Address = c.Topology.Hosts[0].Address }},
		{"no address", "not IPv4", func(c *EmulatorConfig) { c.Topology.Hosts[1] = topologies.Host{Name: "h2"} }},
		{"broken graph", "s7", func(c *EmulatorConfig) { c.Topology.Links[0].B = "s7" }},
	} {
		config := starConfig()
		c.spoil(&config)
		_, err := newFabric(config, 0, resolveAny)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", c.name, err, c.want)
		}
	}
}

func TestConfigurationsSurviveJSON(t *testing.T) {
	config := starConfig()
	config.Seed = 1<<64 - 1
	encoded, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	var decoded EmulatorConfig
	if err := json.Unmarshal(encoded, &decoded); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprintf("%+v", *decoded.Topology) != fmt.Sprintf("%+v", *config.Topology) ||
		!slices.Equal(decoded.Ports, config.Ports) || decoded.Seed != config.Seed {
		t.Errorf("%+v became %+v", config, decoded)
	}
}

func TestEventsComeInOrderOfTimeThenOfArrival(t *testing.T) {
	generator := rand.New(rand.NewPCG(1, 2))
	var h eventHeap
	for range 2000 {
		if h.len() == 0 || generator.IntN(3) > 0 {
			h.push(generator.Int64N(50), nil)
			continue
		}
		popped := h.pop()
		for i := range h.events {
			if h.events[i].before(&popped) {
				t.Fatalf("popped %+v while %+v was there", popped, h.events[i])
			}
		}
	}
	if h.len() < 100 {
		t.Fatalf("only %d events are left to check", h.len())
	}
	last := event{timeNS: -1}
	for h.len() > 0 {
		if next := h.nextNS(); next != h.events[0].timeNS {
			t.Fatal("nextNS isn't the first's")
		}
		popped := h.pop()
		if popped.before(&last) {
			t.Fatalf("popped %+v after %+v", popped, last)
		}
		last = popped
	}
}

func FuzzCommand(f *testing.F) {
	f.Add([]byte(`{"command":"report"}`))
	f.Add([]byte(`{"command":"set","link":"h1-s1","a_to_b":{"delay_ns":1,"loss":0.1},"b_to_a":{}}`))
	f.Add([]byte(`{"command":"set","link":"h1-s1","a_to_b":{"delay_ns":-1},"b_to_a":{}}`))
	f.Add([]byte(`{"command":"set","link":"h1-s1","a_to_b":{}}`))
	f.Add([]byte(`{"command":"capture","link":"h1-s1","path":"/x"}`))
	f.Add([]byte(`{"command":"capture","link":"h1-s1"}`))
	f.Add([]byte(`{"command":"end_capture","link":"h1-s1"}`))
	f.Add([]byte(`{"command":"set_pairs","pairs":[{"from":"h1","to":"h2","parameters":{"down":true}},{"from":"h1","to":"h3"}]}`))
	f.Add([]byte(`{"command":"set_pairs","pairs":[{"from":"h1","to":"h1"},{"from":"h1","to":"h2","parameters":{"loss":2}}]}`))
	f.Add([]byte(`{"command":1}`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, line []byte) {
		var command EmulatorCommand
		known := json.Unmarshal(line, &command) == nil
		switch command.Command {
		case CommandReport, CommandEndCapture:
		case CommandSet:
			known = known && command.AToB != nil && command.BToA != nil && command.AToB.Check() == nil && command.BToA.Check() == nil
		case CommandSetPairs:
			for _, p := range command.Pairs {
				known = known && p.From != p.To && (p.Parameters == nil || p.Parameters.Check() == nil)
			}
		case CommandCapture:
			known = known && command.Path != ""
		default:
			known = false
		}
		if _, err := parseCommand(line); (err == nil) != known {
			t.Errorf("%q: %v", line, err)
		}
	})
}

func FuzzConfig(f *testing.F) {
	good, err := json.Marshal(starConfig())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"topology":{"hosts":[{"name":"h1","address":"::1"}]},"ports":[{}]}`))
	f.Fuzz(func(t *testing.T, encoded []byte) {
		var config EmulatorConfig
		if json.Unmarshal(encoded, &config) != nil {
			t.Skip()
		}
		fabric, err := newFabric(config, 0, resolveAny)
		if err == nil && (len(fabric.ports) != len(config.Topology.Hosts) || len(fabric.models) != 2*len(config.Topology.Links)) {
			t.Errorf("an accepted configuration has %d ports and %d models", len(fabric.ports), len(fabric.models))
		}
	})
}

// FuzzFrame: whatever a host sends, the emulator counts it once and loses no buffer.
func FuzzFrame(f *testing.F) {
	good := make([]byte, virtioBytes+ethernetBytes+ipv4Bytes+8)
	binary.BigEndian.PutUint16(good[virtioBytes+ethernetType:], ipv4Type)
	good[virtioBytes+ethernetBytes] = 0x45
	address := topologies.Address(1).As4()
	copy(good[virtioBytes+ipv4Target:], address[:])
	f.Add(good, false)
	f.Add(good[:20], false)
	f.Add([]byte{}, true)
	segmented := slices.Clone(good)
	segmented[virtioGSOType] = 1
	f.Add(append(segmented, make([]byte, 60000)...), false)
	f.Fuzz(func(t *testing.T, bytes []byte, truncated bool) {
		if len(bytes) > smallBytes+largeBytes {
			t.Skip()
		}
		config := starConfig()
		config.Topology = topologies.Star(2, topologies.Parameters{Loss: 0.5, RateBPS: 1e9})
		fabric, err := newFabric(config, 0, resolveAny)
		if err != nil {
			t.Fatal(err)
		}
		e := &emulator{fabric: fabric, pool: framePool{budgetBytes: 1 << 20}, counters: counters{directions: make([]directionCounters, 4)}, taps: make([]*capture, 4)}
		e.socket = &socket{}
		e.socket.receiving[0].frame, e.socket.receiving[0].large = e.pool.get(), e.pool.getLarge()
		n := copy(e.socket.receiving[0].frame.small, bytes)
		copy(e.socket.receiving[0].large, bytes[n:])
		e.socket.receiving[0].address.Ifindex = '0'
		e.socket.received[0].Len = uint32(len(bytes))
		if truncated {
			e.socket.received[0].Hdr.Flags = unix.MSG_TRUNC
		}
		e.enter(0, 0, 1000)
		r := e.counters.report(config.Topology)
		counted := r.EmulatorDrops + r.Strays
		for _, d := range r.Directions {
			counted += d.LossDrops + d.QueueDrops
		}
		counted += uint64(e.events.len())
		if counted != 1 || e.socket.receiving[0].frame == nil || e.socket.receiving[0].large == nil {
			t.Errorf("a frame of %d bytes was counted %d times: %+v", len(bytes), counted, r)
		}
		for e.events.len() > 0 {
			e.forwardToEnd()
		}
	})
}

// forwardToEnd takes the first event all the way, without sending.
func (e *emulator) forwardToEnd() {
	next := e.events.pop()
	if int(next.frame.hop) < len(next.frame.way) {
		e.advance(next.frame, next.timeNS)
		return
	}
	e.socket.queue(0, next.frame, 1, next.timeNS)
	e.pool.put(next.frame)
}
