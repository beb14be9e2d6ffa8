package harness

import (
	"bytes"
	"context"
	"errors"
	"math"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"quorumlab/node"
	"quorumlab/node/control"
	"quorumlab/results"
)

func rttOptions(t *testing.T, protocol string) RTTOptions {
	t.Helper()
	return RTTOptions{
		Order: control.Measure{Protocol: protocol, Count: 50, IntervalNS: 20e6, TimeoutNS: 4e9, Bytes: 64},
		Dir:   filepath.Join(t.TempDir(), "rtt"), NodeBinary: binaries + "/bench-node",
	}
}

func TestRoundTripsOfALabAreAsDeclared(t *testing.T) {
	node := needNetns(t)
	source := load(t, "netns", "--set", "system.roles={replicas: 1, leaders: 1, acceptors: 1}", "--set", "workload.clients=1",
		"--set", "topology.link.loss=2%")
	for _, protocol := range []string{"udp", "icmp", "tcp"} {
		options := rttOptions(t, protocol)
		options.NodeBinary = node
		// A connection whose first segments are lost three times takes 7 s to come up.
		options.Order.TimeoutNS = 10e9
		folder, study, err := MeasureLabRTTs(t.Context(), source, options)
		if err != nil {
			t.Fatalf("%s: %v", protocol, err)
		}
		if len(study.Pairs) != 12 { // of four hosts
			t.Fatalf("%s: %d pairs", protocol, len(study.Pairs))
		}
		lost := 0
		for _, p := range study.Pairs {
			lost += p.Sent - p.Answered
			if p.Sent != 50 || p.DeclaredMS == nil || math.Abs(*p.DeclaredMS-20) > 0.1 || *p.Min < 20 {
				t.Errorf("%s: %+v", protocol, p)
			}
		}
		// Four links in a row lose 7.8% of the probes, but TCP sends them again.
		if share := float64(lost) / 600; protocol != "tcp" && math.Abs(share-0.078) > 0.05 || protocol == "tcp" && share > 0.05 {
			t.Errorf("%s: %d of 600 probes were lost", protocol, lost)
		}
		again, err := SummariseRTTs(folder)
		if err != nil || *again.All.Mean != *study.All.Mean {
			t.Errorf("%s: derived again: %v", protocol, err)
		}
		for _, name := range []string{rttJSON, rttCSV, rttPage, "figures/density.svg", "figures/cdf-h1.svg", "figures/time-h4.svg"} {
			if info, err := os.Stat(filepath.Join(folder.Dir(), name)); err != nil || info.Size() == 0 {
				t.Errorf("%s: %s: %v", protocol, name, err)
			}
		}
	}
}

// The end of the context keeps the rows that had come.
func TestAnInterruptedStudyKeepsWhatItHas(t *testing.T) {
	needNetns(t)
	options := rttOptions(t, "udp")
	options.Order.Count = 100_000
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("interrupted")
	began := time.Now()
	options.Progress = func(done, _ time.Duration) {
		if done > time.Second {
			cancel(why)
		}
	}
	_, study, err := MeasureLabRTTs(ctx, load(t, "netns"), options)
	if !errors.Is(err, why) || study == nil || study.All.Answered < 100 {
		t.Fatalf("after %v: %v, %+v", time.Since(began), err, study)
	}
	var table bytes.Buffer
	if err := study.Table(&table); err != nil || !strings.Contains(table.String(), "h1") {
		t.Errorf("the table: %v\n%s", err, &table)
	}
}

// Three echo processes on loopback addresses take the part of machines.
func TestRealMachinesMeasureBetweenThem(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var serving sync.WaitGroup
	defer serving.Wait()
	defer cancel()
	var peers []string
	for _, name := range []string{"berlin", "tokyo", "lima"} {
		listener, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := listener.Addr().String()
		listener.Close()
		ready := make(chan struct{})
		serving.Go(func() {
			if err := node.ServeEcho(ctx, address, func(string) { close(ready) }); err != nil {
				t.Error(err)
			}
		})
		<-ready
		peers = append(peers, name+"="+address)
	}
	for _, protocol := range []string{"udp", "tcp"} {
		options := rttOptions(t, protocol)
		options.Self = true
		folder, study, err := MeasurePeerRTTs(t.Context(), peers, options)
		if err != nil {
			t.Fatal(err)
		}
		if len(study.Pairs) != 9 || study.All.Answered != 300 || study.Sent != 450 || study.Pairs[0].DeclaredMS != nil || study.Pairs[1].To != "tokyo" {
			t.Errorf("%s: %+v", protocol, study.All)
		}
		if m := folder.Manifest(); m.Kind != results.KindRTT || m.Engine != "machines" {
			t.Errorf("the manifest: %+v", m)
		}
	}
	for _, bad := range [][]string{{"a"}, {"a=127.0.0.1:1", "a=127.0.0.1:2"}, {"127.0.0.1:1"}, {"=127.0.0.1:1", "x=127.0.0.1:2"}} {
		if _, _, err := MeasurePeerRTTs(t.Context(), bad, rttOptions(t, "udp")); !errors.Is(err, ErrPeers) {
			t.Errorf("peers %q: %v", bad, err)
		}
	}
	silent := rttOptions(t, "udp")
	if _, _, err := MeasurePeerRTTs(t.Context(), []string{"127.0.0.1:1", "127.0.0.1:2"}, silent); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("nobody answers: %v", err)
	}
}
