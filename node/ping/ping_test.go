package ping

import (
	"context"
	"errors"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"quorumlab/node/control"
	"quorumlab/node/echo"
)

// serve runs a UDP echo and a server at one port of the loopback interface.
func serve(t *testing.T) (address string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = listener.Addr().String()
	ready := make(chan struct{})
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := echo.Serve(ctx, address, func() { close(ready) }); err != nil {
			t.Error(err)
		}
	})
	serving.Go(func() {
		if err := Serve(ctx, listener); err != nil {
			t.Error(err)
		}
	})
	<-ready
	t.Cleanup(func() { cancel(); serving.Wait() })
	return address
}

func order(protocol string, addresses ...string) control.Measure {
	o := control.Measure{Protocol: protocol, Count: 20, IntervalNS: 2e6, TimeoutNS: 2e9, Bytes: 64}
	for _, address := range addresses {
		o.Peers = append(o.Peers, control.Peer{Name: address, Address: address})
	}
	return o
}

// rows collects what a measurement hands out.
func rows(t *testing.T, run func(func(Row) error) error) []Row {
	t.Helper()
	var all []Row
	if err := run(func(r Row) error { all = append(all, r); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

// expect checks that each probe has one row, answered or not.
func expect(t *testing.T, got []Row, o control.Measure, unanswered map[int]bool) {
	t.Helper()
	seen := map[[2]int]bool{}
	for _, r := range got {
		key := [2]int{r.Peer, r.Round}
		if seen[key] || r.Peer < 0 || r.Peer >= len(o.Peers) || r.Round < 0 || r.Round >= o.Count {
			t.Errorf("the row %+v is there twice or makes no sense", r)
		}
		seen[key] = true
		if answered := r.RTTNS > 0; answered == unanswered[r.Peer] {
			t.Errorf("row %+v: answered is %v", r, answered)
		}
		if age := time.Since(time.Unix(0, r.SentNS)); age < 0 || age > time.Minute {
			t.Errorf("row %+v was sent %v ago", r, age)
		}
	}
	if len(seen) != o.Count*len(o.Peers) {
		t.Errorf("%d rows, want %d", len(seen), o.Count*len(o.Peers))
	}
}

func TestEveryProbeHasOneRowByEachProtocol(t *testing.T) {
	for _, protocol := range Protocols {
		t.Run(protocol, func(t *testing.T) {
			o := order(protocol, serve(t), serve(t))
			err := Measure(t.Context(), control.Measure{Protocol: protocol, Peers: o.Peers, Count: 1, IntervalNS: 1e9, TimeoutNS: 1e9, Bytes: 16}, func(Row) error { return nil })
			if errors.Is(err, ErrICMPForbidden) {
				t.Skip(err)
			}
			expect(t, rows(t, func(row func(Row) error) error { return Measure(t.Context(), o, row) }), o, nil)
		})
	}
}

func TestAProbeWithoutAnAnswerHasARowToo(t *testing.T) {
	silent, err := net.ListenPacket("udp4", "127.0.0.1:0") // hears, says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for _, protocol := range []string{UDP, TCP} {
		o := order(protocol, serve(t), silent.LocalAddr().String())
		o.TimeoutNS = 100e6
		got := rows(t, func(row func(Row) error) error { return Measure(t.Context(), o, row) })
		expect(t, got, o, map[int]bool{1: true})
	}
}

func TestAServerMeasuresOnBehalfOfOthers(t *testing.T) {
	there, beyond := serve(t), serve(t)
	o := order(UDP, beyond)
	expect(t, rows(t, func(row func(Row) error) error { return Ask(t.Context(), there, o, row) }), o, nil)

	o.Bytes = 5000
	if err := Ask(t.Context(), there, o, nil); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "5000 bytes") {
		t.Errorf("an order that makes no sense: %v", err)
	}
	other, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	go func() {
		if c, err := other.Accept(); err == nil {
			_, _ = c.Write([]byte("220 mail ready\n"))
			c.Close()
		}
	}()
	o.Bytes = 64
	if err := Ask(t.Context(), other.Addr().String(), o, nil); err == nil || !strings.Contains(err.Error(), "bench-node echo") {
		t.Errorf("something else at the port: %v", err)
	}
}

func TestTheEndOfTheContextOrOfTheSinkEndsAMeasurement(t *testing.T) {
	o := order(UDP, serve(t))
	o.Count, o.IntervalNS = 1000, 100e6
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	count := 0
	err := Measure(ctx, o, func(Row) error {
		if count++; count == 2 {
			cancel(why)
		}
		return nil
	})
	if !errors.Is(err, why) || count > 4 {
		t.Errorf("%d rows, %v", count, err)
	}
	full := errors.New("disk full")
	o.IntervalNS = 1e6
	if err := Measure(t.Context(), o, func(Row) error { return full }); !errors.Is(err, full) {
		t.Errorf("a sink that fails: %v", err)
	}
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

func TestOrdersThatMakeNoSenseAreRefused(t *testing.T) {
	good := order(UDP, "127.0.0.1:1")
	for want, change := range map[string]func(*control.Measure){
		"protocol": func(o *control.Measure) { o.Protocol = "sctp" },
		"peers":    func(o *control.Measure) { o.Peers = nil },
		"count":    func(o *control.Measure) { o.Count = 0 },
		"interval": func(o *control.Measure) { o.IntervalNS = 1 },
		"timeout":  func(o *control.Measure) { o.TimeoutNS = 0 },
		"size":     func(o *control.Measure) { o.Bytes = 1 },
		"address":  func(o *control.Measure) { o.Peers = []control.Peer{{Name: "x", Address: "nowhere"}} },
	} {
		o := good
		change(&o)
		if err := Measure(t.Context(), o, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error about the %s", err, want)
		}
	}
}

func FuzzServe(f *testing.F) {
	f.Add([]byte("echo 64\n0123456789"))
	f.Add([]byte(`measure {"protocol":"udp","peers":[{"address":"127.0.0.1:9"}],"count":1,"interval_ns":1000000,"timeout_ns":1000,"bytes":64}` + "\n"))
	f.Add([]byte("measure null\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if strings.Contains(string(data), "peers") {
			t.Skip("would send to others")
		}
		near, far := net.Pipe()
		s := &server{orders: make(chan struct{}, 1), connections: make(chan struct{}, 1)}
		done := make(chan struct{})
		go func() { defer close(done); s.serve(t.Context(), far) }()
		go func() { _, _ = near.Write(data); near.Close() }()
		buffer := make([]byte, 1<<10)
		for {
			if _, err := near.Read(buffer); err != nil {
				break
			}
		}
		<-done
	})
}
