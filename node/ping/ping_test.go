package ping

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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

// each hands out the rows of batches one by one.
func each(row func(Row) error) func([]Row) error {
	return func(rows []Row) error {
		for _, r := range rows {
			if err := row(r); err != nil {
				return err
			}
		}
		return nil
	}
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
			err := Measure(t.Context(), control.Measure{Protocol: protocol, Peers: o.Peers, Count: 1, IntervalNS: 1e9, TimeoutNS: 1e9, Bytes: 16}, func([]Row) error { return nil })
			if errors.Is(err, ErrICMPForbidden) {
				t.Skip(err)
			}
			expect(t, rows(t, func(row func(Row) error) error { return Measure(t.Context(), o, each(row)) }), o, nil)
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
		got := rows(t, func(row func(Row) error) error { return Measure(t.Context(), o, each(row)) })
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
	err := Measure(ctx, o, each(func(Row) error {
		if count++; count == 2 {
			cancel(why)
		}
		return nil
	}))
	if !errors.Is(err, why) || count > 4 {
		t.Errorf("%d rows, %v", count, err)
	}
	full := errors.New("disk full")
	o.Count, o.IntervalNS = 2, int64(time.Hour) // there is no second probe that would meet the error
	if err := Measure(t.Context(), o, func([]Row) error { return full }); !errors.Is(err, full) {
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
		"days":     func(o *control.Measure) { o.Count, o.IntervalNS = MaxCount, int64(time.Hour) },
		"address":  func(o *control.Measure) { o.Peers = []control.Peer{{Name: "x", Address: "nowhere"}} },
	} {
		o := good
		change(&o)
		if err := Measure(t.Context(), o, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error about the %s", err, want)
		}
	}
}

// Rows that aren't taken don't hold up the probes, nor the reading of their answers.
func TestASlowTakerDoesNotMakeRoundTripsLonger(t *testing.T) {
	for _, protocol := range []string{UDP, TCP} {
		o := order(protocol, serve(t))
		o.Count, o.IntervalNS = 100, 5e6
		first := true
		count, slow := 0, 0
		var sent []int64
		err := Measure(t.Context(), o, func(rows []Row) error {
			count += len(rows)
			for _, r := range rows {
				sent = append(sent, r.SentNS)
				if r.RTTNS > 400e6 {
					slow++
				}
			}
			if first {
				time.Sleep(800 * time.Millisecond) // longer than all the probes take
			}
			first = false
			return nil
		})
		if err != nil || slow > 10 || count != 100 {
			t.Errorf("%s: of %d round trips on the loopback interface, want 100, %d took over 400 ms, %v", protocol, count, slow, err)
		}
		slices.Sort(sent)
		for i := 1; i < len(sent); i++ {
			if gap := time.Duration(sent[i] - sent[i-1]); gap > 600*time.Millisecond {
				t.Errorf("%s: no probe was sent for %v", protocol, gap)
			}
		}
	}
}

// A peer that hangs up at once isn't dialled without a pause.
func TestAConnectionThatIsLostAtOnceIsDialledAgainAfterAPause(t *testing.T) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var accepted atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			c.Close()
		}
	}()
	o := order(TCP, listener.Addr().String())
	o.Count, o.IntervalNS, o.TimeoutNS = 60, 10e6, 100e6
	began := time.Now()
	got := rows(t, func(row func(Row) error) error { return Measure(t.Context(), o, each(row)) })
	expect(t, got, o, map[int]bool{0: true})
	if most := int64(time.Since(began)/redialPause) + 2; accepted.Load() > most || accepted.Load() < 2 {
		t.Errorf("dialled %d times, want 2 to %d", accepted.Load(), most)
	}
	listener.Close()
	<-done
}

// A peer that accepts but never reads fills its connection; others don't feel it, and the
// end of the context isn't held up.
func TestATCPPeerThatTakesNothingHoldsUpNobody(t *testing.T) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			_ = c.(*net.TCPConn).SetReadBuffer(4096)
		}
	}()
	peer := netip.MustParseAddrPort(listener.Addr().String())
	prober := newTCP(t.Context(), []netip.AddrPort{peer}, MaxBytes, 30*time.Second, func(time.Time, int, int) {})
	full := 0
	for round := 0; full < 3 && round < 100_000; round++ {
		began := time.Now()
		if err := prober.send(0, round); err != nil {
			full++
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("a probe that can't be sent held up the next for %v", took)
			}
		}
	}
	if full < 3 {
		t.Error("the connection is never full")
	}
	prober.close()
	listener.Close()
	<-done
}

// Who ordered and doesn't take its rows can't keep the order alive by that.
func TestWhoGoesAwayEndsItsOrder(t *testing.T) {
	near, far := net.Pipe() // without buffers: nothing that isn't read is written
	s := &server{orders: make(chan struct{}, 1), connections: make(chan struct{}, 1)}
	done := make(chan struct{})
	go func() { defer close(done); s.serve(t.Context(), far) }()
	o := order(UDP, serve(t))
	o.Count, o.IntervalNS = 100_000, 1e6
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(near, "measure %s\n", text); err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(near)
	if line, err := reader.ReadString('\n'); err != nil || !strings.HasPrefix(line, "row 0 0 ") {
		t.Errorf("the first row is %q, %v", line, err)
	}
	near.Close()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("the order goes on")
	}
	if len(s.orders) != 0 {
		t.Error("the order isn't forgotten")
	}
}

// A server that carries out all the orders it can says so, and takes one again later.
func TestAServerRefusesOrdersBeyondItsLimit(t *testing.T) {
	address, beyond := serve(t), serve(t)
	o := order(UDP, beyond)
	o.Count, o.IntervalNS = 100_000, 100e6
	ctx, cancel := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	begun := make(chan struct{}, maxOrders)
	for range maxOrders {
		asking.Go(func() {
			first := sync.OnceFunc(func() { begun <- struct{}{} })
			_ = Ask(ctx, address, o, func(Row) error { first(); return nil })
		})
	}
	for range maxOrders {
		<-begun
	}
	o.Count = 1
	if err := Ask(t.Context(), address, o, func(Row) error { return nil }); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "try again later") {
		t.Errorf("one order too many: %v", err)
	}
	cancel()
	asking.Wait()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		err := Ask(t.Context(), address, o, func(Row) error { return nil })
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("once the others have ended: %v", err)
		}
	}
}

// Addresses are those of one machine, at a port, by IPv4.
func TestAddressesAreResolvedOrRefused(t *testing.T) {
	for _, good := range []string{"127.0.0.1:1", "localhost:65535", "[::ffff:127.0.0.1]:7"} {
		if got, err := resolve(t.Context(), good); err != nil || !got.Addr().Is4() || got.Port() == 0 {
			t.Errorf("%s is %v, %v", good, got, err)
		}
	}
	for bad, want := range map[string]string{
		":7001": "want host:port", "h1": "want host:port", "127.0.0.1:0": "want 1 to 65535", "127.0.0.1:http": "want 1 to 65535",
		"127.0.0.1:99999": "want 1 to 65535", "[::1]:7001": "IPv4",
	} {
		if _, err := resolve(t.Context(), bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", bad, err, want)
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
