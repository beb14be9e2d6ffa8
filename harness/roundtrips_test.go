package harness

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"quorumlab/harness/roundtrip"
	"quorumlab/node/control"
	"quorumlab/node/ping"
	"quorumlab/results"
)

// studied is a study of machines that measure says what they measured.
func studied(t *testing.T, ctx context.Context, measure pinger, machines ...string) (*results.Folder, *roundtrip.Study, error) {
	t.Helper()
	options := RTTOptions{
		Order: control.Measure{Protocol: "udp", Count: 3, IntervalNS: 20e6, TimeoutNS: 1e9, Bytes: 64},
		Dir:   filepath.Join(t.TempDir(), "rtt"),
	}
	plan := rttPlan(machines, options)
	orders, err := rttOrders(plan, make([]string, len(machines)), options)
	if err != nil {
		t.Fatal(err)
	}
	return study(ctx, rttManifest("rtt", options, plan, ""), nil, orders, options, measure)
}

// A machine that fails once it has begun costs its own rows that were to come, no others.
func TestAMachineThatFailsLaterLosesNoRows(t *testing.T) {
	broken := errors.New("connection reset")
	_, study, err := studied(t, t.Context(), func(ctx context.Context, source int, order control.Measure, row func(ping.Row) error) error {
		for round := range order.Count {
			if source == 1 && round == 1 {
				return broken
			}
			select { // the other one goes on for longer
			case <-time.After(100 * time.Millisecond * time.Duration(1-source)):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			if err := row(ping.Row{Round: round, SentNS: 1e18, RTTNS: 5e6}); err != nil {
				return err
			}
		}
		return nil
	}, "berlin", "tokyo")
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "from tokyo") {
		t.Errorf("the error is %v", err)
	}
	if study == nil || len(study.Pairs) != 2 || study.Sent != 4 || study.Planned != 6 {
		t.Errorf("the study is %+v", study)
	}
}

// What was asked wrongly is told at once, not when the others have measured for an hour.
func TestAMachineThatNeverBeginsEndsTheStudyAtOnce(t *testing.T) {
	refused := errors.New("connection refused")
	began := time.Now()
	_, study, err := studied(t, t.Context(), func(ctx context.Context, source int, _ control.Measure, row func(ping.Row) error) error {
		if source == 1 {
			return refused
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(15 * time.Second):
			return nil
		}
	}, "berlin", "tokyo")
	if !errors.Is(err, refused) || study != nil || time.Since(began) > 10*time.Second || strings.Contains(err.Error(), "berlin") {
		t.Errorf("after %v: %v, %+v", time.Since(began), err, study)
	}
}

func TestProbesThatMakeNoSenseAreRefusedBeforeAnythingIsBuilt(t *testing.T) {
	good := RTTOptions{Order: control.Measure{Protocol: "udp", Count: 3, IntervalNS: 20e6, TimeoutNS: 1e9, Bytes: 64}}
	for want, change := range map[string]func(*control.Measure){
		"the count is 0":                 func(o *control.Measure) { o.Count = 0 },
		"the size is 9000 bytes":         func(o *control.Measure) { o.Bytes = 9000 },
		"the interval is 1µs":            func(o *control.Measure) { o.IntervalNS = 1000 },
		"take longer than 366 days":      func(o *control.Measure) { o.Count, o.IntervalNS = 10_000_000, math.MaxInt64/10_000_000*2 },
		"the timeout is 1h0m0s":          func(o *control.Measure) { o.TimeoutNS = int64(time.Hour) },
		`the protocol is "quic"`:         func(o *control.Measure) { o.Protocol = "quic" },
		"the count is 10000001: want 1 ": func(o *control.Measure) { o.Count = ping.MaxCount + 1 },
	} {
		options := good
		options.Dir = filepath.Join(t.TempDir(), "rtt")
		change(&options.Order)
		if strings.Contains(want, "366") {
			options.Order.IntervalNS = int64(59 * time.Minute)
		}
		_, _, err := MeasurePeerRTTs(t.Context(), []string{"127.0.0.1:1", "127.0.0.1:2"}, options)
		if !errors.Is(err, ErrProbes) || !strings.Contains(err.Error(), want) || errors.Is(err, ErrPeers) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestPeersAreMachinesThatAllOthersReach(t *testing.T) {
	for want, peers := range map[string][]string{
		"no host:port":            {"a", "b=192.0.2.1:1"},
		`":7001" is no host:port`: {":7001", "b=192.0.2.1:1"},
		"want 1 to 65535":         {"192.0.2.1:http", "b=192.0.2.1:1"},
		"no IPv4 address":         {"[2001:db8::1]:7001", "192.0.2.1:7001"},
		"no machine's address":    {"0.0.0.0:7001", "192.0.2.1:7001"},
		`"me=127.0.0.1:7001" is another machine on each`: {"there=192.0.2.1:7001", "me=127.0.0.1:7001"},
		`"localhost:7001" is another machine on each`:    {"localhost:7001", "there=192.0.2.1:7001"},
		`"b" stands twice`: {"b=192.0.2.1:1", "b=192.0.2.1:2"},
	} {
		if _, _, err := parsePeers(peers); !errors.Is(err, ErrPeers) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", peers, err, want)
		}
	}
	names, addresses, err := parsePeers([]string{"berlin=192.0.2.7:7001", "h.example:7001"})
	if err != nil || fmt.Sprint(names, addresses) != "[berlin h.example:7001] [192.0.2.7:7001 h.example:7001]" {
		t.Errorf("%v %v, %v", names, addresses, err)
	}
}

// Machines whose names are alike once they are fit for files keep their own figures.
func TestFiguresOfDifferentMachinesAreDifferentFiles(t *testing.T) {
	folder, _, err := studied(t, t.Context(), func(_ context.Context, source int, _ control.Measure, row func(ping.Row) error) error {
		return errors.Join(row(ping.Row{RTTNS: 1e6, SentNS: 1e18}), row(ping.Row{Peer: 1, RTTNS: 2e6, SentNS: 1e18}))
	}, "eu/1", "eu:1", "EU:1")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(folder.Dir(), "figures", "*.svg"))
	if err != nil || len(files) != 7 {
		t.Errorf("figures %v, %v; want the density, and two for each machine", files, err)
	}
}
