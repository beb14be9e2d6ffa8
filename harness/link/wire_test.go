//go:build linux

package link

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"quorumlab/topologies"
)

func TestAConfigurationHasEachTraceOnceHoweverManyLinksHaveIt(t *testing.T) {
	trace := &topologies.Trace{Name: "shared", Align: topologies.AlignStart, Gap: topologies.GapHold, GapAfter: time.Second, Period: time.Hour}
	for i := range 1000 {
		trace.Times = append(trace.Times, time.Duration(i)*time.Second)
		trace.Excess = append(trace.Excess, time.Duration(i%7)*time.Millisecond)
	}
	table := &topologies.Table{Name: "measured", Excess: []time.Duration{1, 2, 3}}
	config := EmulatorConfig{Topology: topologies.Star(500, topologies.Parameters{Delay: 1, Trace: trace}), Seed: 3, BufferBytes: 5}
	config.Topology.Links[7].BToA = topologies.Parameters{JitterDistribution: topologies.JitterTable, JitterTable: table}
	config.Topology.Links[8].AToB = topologies.Parameters{Delay: 9}
	config.Ports = []Port{{Host: "h1", Interface: "p", MAC: "02:00:00:00:00:01"}}

	data, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	if names := strings.Count(string(data), "shared"); names != 1 || len(data) > 300_000 {
		t.Errorf("the trace stands %d times in %d bytes", names, len(data))
	}
	var read EmulatorConfig
	if err := json.Unmarshal(data, &read); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(read, config) {
		t.Error("it isn't what was written")
	}
	links := read.Topology.Links
	if links[0].AToB.Trace != links[499].BToA.Trace {
		t.Error("links that shared a trace have copies")
	}
	if config.Topology.Links[0].AToB.Trace != trace {
		t.Error("writing changed the configuration")
	}
}

func TestAConfigurationWithANumberOfNoTraceIsRefused(t *testing.T) {
	var read EmulatorConfig
	const text = `{"topology": {"links": [{"name": "l"}]}, "trace_of": [0, 2], "traces": [{}]}`
	if err := json.Unmarshal([]byte(text), &read); err == nil || !strings.Contains(err.Error(), "trace of link l") {
		t.Errorf("%v", err)
	}
}
