package echo

import (
	"context"
	"net"
	"testing"
	"time"

	"quorumlab/node/control"
)

// freeAddress is a loopback address that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.LocalAddr().String()
}

func serve(t *testing.T) string {
	t.Helper()
	address := freeAddress(t)
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- Serve(ctx, address, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	return address
}

func TestEveryProbeOfALiveHostIsAnsweredAndNoneOfADeadOne(t *testing.T) {
	order := control.Probe{Count: 4, IntervalNS: int64(time.Millisecond), TimeoutNS: int64(300 * time.Millisecond),
		Peers: []control.Peer{{Name: "h1", Address: serve(t)}, {Name: "h2", Address: serve(t)}, {Name: "dead", Address: freeAddress(t)}}}
	probed, err := Probe(context.Background(), order)
	if err != nil || probed.Sent != 4 {
		t.Fatalf("%+v, %v", probed, err)
	}
	for name, want := range map[string]int{"h1": 4, "h2": 4, "dead": 0} {
		if got := probed.RTTs[name]; len(got) != want {
			t.Errorf("%s: %v, want %d round trips", name, got, want)
		}
		for _, rtt := range probed.RTTs[name] {
			if rtt <= 0 {
				t.Errorf("%s: a round trip of %d ns", name, rtt)
			}
		}
	}
}

func TestADuplicatedAnswerCountsOnce(t *testing.T) {
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() {
		buffer := make([]byte, maxProbe)
		for {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			for range 3 {
				_, _ = conn.WriteTo(buffer[:n], from)
			}
			_, _ = conn.WriteTo([]byte("garbage"), from)
		}
	}()
	probed, err := Probe(context.Background(), control.Probe{Count: 3, TimeoutNS: int64(time.Second),
		Peers: []control.Peer{{Name: "h1", Address: conn.LocalAddr().String()}}})
	if err != nil || len(probed.RTTs["h1"]) != 3 {
		t.Errorf("%+v, %v, want three round trips", probed, err)
	}
}

func TestAProbeEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(20*time.Millisecond, cancel)
	_, err := Probe(ctx, control.Probe{Count: 1000, IntervalNS: int64(time.Hour), TimeoutNS: int64(time.Hour),
		Peers: []control.Peer{{Name: "dead", Address: freeAddress(t)}}})
	if err == nil {
		t.Error("no error")
	}
}

func TestOrdersThatMakeNoSenseAreRefused(t *testing.T) {
	for _, order := range []control.Probe{
		{Count: 0, TimeoutNS: 1}, {Count: 1}, {Count: 1, TimeoutNS: 1, IntervalNS: -1},
		{Count: 1, TimeoutNS: 1, Peers: []control.Peer{{Name: "x", Address: "nowhere"}}},
	} {
		if _, err := Probe(context.Background(), order); err == nil {
			t.Errorf("%+v was accepted", order)
		}
	}
}

// Otherwise two echo processes would return a datagram to each other for ever.
func TestADatagramFromAnotherEchoProcesssPortIsNotReturned(t *testing.T) {
	address := serve(t)
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	for local, want := range map[string]bool{"127.0.0.2:" + port: false, "127.0.0.2:0": true} {
		conn, err := net.ListenPacket("udp4", local)
		if err != nil {
			t.Skipf("no second loopback address: %v", err)
		}
		to, _ := net.ResolveUDPAddr("udp4", address)
		if _, err := conn.WriteTo([]byte("again and again"), to); err != nil {
			t.Fatal(err)
		}
		patience := 200 * time.Millisecond
		if want {
			patience = 10 * time.Second
		}
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		if _, _, err := conn.ReadFrom(make([]byte, 64)); (err == nil) != want {
			t.Errorf("from %s: %v, want an answer: %v", local, err, want)
		}
		conn.Close()
	}
}
