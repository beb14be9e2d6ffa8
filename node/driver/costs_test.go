package driver

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"quorumlab/node/consensus"
	"quorumlab/node/kv"
	"quorumlab/node/wire"
	"quorumlab/node/wire/wirepb"
)

// offer is a message as protocols have them: a slot and a command, in protobuf.
type offer struct {
	slot    uint64
	command consensus.Command
}

func (o *offer) Label() consensus.Label { return consensus.Label{Kind: "offer", Slot: o.slot} }

type offerCodec struct{}

func (offerCodec) Append(dst []byte, message consensus.Message) []byte {
	o := message.(*offer)
	var command wirepb.Command
	wire.CommandToProto(&command, o.command)
	dst = binary.AppendUvarint(dst, o.slot)
	size := command.SizeVT()
	dst = append(dst, make([]byte, size)...)
	if _, err := command.MarshalToSizedBufferVT(dst[len(dst)-size:]); err != nil {
		panic(err)
	}
	return dst
}

func (c offerCodec) Size(message consensus.Message) int { return len(c.Append(nil, message)) }

func (offerCodec) Decode(src []byte) (consensus.Message, error) {
	slot, size := binary.Uvarint(src)
	if size <= 0 {
		return nil, errors.New("no slot")
	}
	var command wirepb.Command
	if err := command.UnmarshalVT(src[size:]); err != nil {
		return nil, err
	}
	return &offer{slot, wire.CommandFromProto(&command)}, nil
}

// costs is one measurement: process 1 offers Count commands of Bytes bytes to
// process 2, Batch at a time with some batches under way, or one by one if Batch
// is 1.
type costs struct {
	Count, Batch uint64
	Bytes        int
	// Sender is where process 1 listens.
	Sender string
}

func (c costs) window() uint64 {
	if c.Batch == 1 {
		return 1
	}
	return 8 * c.Batch
}

// offering is process 1's machine; done is closed after the last answer.
type offering struct {
	costs
	operation      []byte
	sent, answered uint64
	cpu            int64
	done           chan struct{}
}

func (m *offering) Step(_ consensus.Time, input consensus.Input, out *consensus.Outbox) {
	switch input.Kind {
	case consensus.InputStart:
		m.cpu = cpuNS()
	case consensus.InputMessage:
		m.answered = input.Message.(*offer).slot
		if m.answered == m.Count {
			m.cpu = cpuNS() - m.cpu
			close(m.done)
		}
	}
	for m.sent < m.Count && m.sent < m.answered+m.window() {
		m.sent++
		out.Send(2, &offer{m.sent, consensus.Command{
			Client: 1 << 32, Sequence: m.sent, FirstUnanswered: m.sent, Operation: m.operation,
		}})
	}
}

func (m *offering) Status() consensus.Status { return consensus.Status{} }

// accepting is process 2's machine. It keeps the newest offers in a map, as
// acceptors do, and answers one in a batch.
type accepting struct {
	costs
	accepted map[uint64]*offer
	cpu      int64
	done     chan struct{}
}

func (m *accepting) Step(_ consensus.Time, input consensus.Input, out *consensus.Outbox) {
	o, ok := input.Message.(*offer)
	if !ok {
		return
	}
	if o.slot == 1 {
		m.cpu = cpuNS()
	}
	m.accepted[o.slot] = o
	delete(m.accepted, o.slot-1000)
	if o.slot == m.Count {
		m.cpu = cpuNS() - m.cpu
		close(m.done)
	}
	if o.slot%m.Batch == 0 || o.slot == m.Count {
		out.Send(1, &offer{slot: o.slot})
	}
}

func (m *accepting) Status() consensus.Status { return consensus.Status{} }

// cpuNS is the CPU time of the process so far, in the kernel too.
func cpuNS() int64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}

// runCosts runs a machine until it is done, then until the function returns.
func runCosts(self consensus.NodeID, machine consensus.Machine, listener net.Listener, peers map[consensus.NodeID]string, until func()) error {
	transport := NewTransport(TransportConfig{
		Self: self, Protocol: "costs", Codec: offerCodec{}, Listener: listener, Peers: peers,
		Members: []consensus.NodeID{1, 2}, Log: log.New(io.Discard, "", 0),
	})
	driver, err := New(Config{Machine: machine, Application: consensus.NewApplication(kv.New()), Transport: transport})
	if err != nil {
		return err
	}
	transport.Start(driver, nil)
	driver.Start()
	until()
	driver.Close()
	transport.Close()
	return nil
}

// environment makes this test's program process 2.
const environment = "QUORUMLAB_TEST_COSTS"

func TestMain(m *testing.M) {
	if given := os.Getenv(environment); given != "" {
		if err := acceptCosts(given); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// acceptCosts is process 2: it prints where it listens, and then the CPU time
// that it took.
func acceptCosts(given string) error {
	machine := &accepting{accepted: map[uint64]*offer{}, done: make(chan struct{})}
	if err := json.Unmarshal([]byte(given), &machine.costs); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	return runCosts(2, machine, listener, map[consensus.NodeID]string{1: machine.Sender}, func() {
		<-machine.done
		fmt.Println(machine.cpu)
		_, _ = io.Copy(io.Discard, os.Stdin) // the last answer must leave
	})
}

// costsTimeout bounds a measurement, which takes seconds.
const costsTimeout = 2 * time.Minute

// measure returns what each process took for one message, in nanoseconds of CPU.
func (c costs) measure(t testing.TB) (sendNS, receiveNS float64) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.Sender = listener.Addr().String()
	data, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), environment+"="+string(data))
	cmd.Stderr = os.Stderr
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait() // nothing is left to say after its output
	defer time.AfterFunc(costsTimeout, func() { _ = cmd.Process.Kill() }).Stop()
	defer input.Close()
	lines := bufio.NewScanner(output)
	if !lines.Scan() {
		t.Fatal("process 2 doesn't listen")
	}
	machine := &offering{costs: c, operation: bytes.Repeat([]byte("x"), c.Bytes), done: make(chan struct{})}
	err = runCosts(1, machine, listener, map[consensus.NodeID]string{2: lines.Text()}, func() {
		select {
		case <-machine.done:
		case <-time.After(costsTimeout):
			t.Errorf("not all of %d offers were answered in %v", c.Count, costsTimeout)
		}
	})
	if err != nil || !lines.Scan() {
		t.Fatalf("process 2 gives no answer: %v", err)
	}
	var received float64
	if _, err := fmt.Sscan(lines.Text(), &received); err != nil {
		t.Fatal(err)
	}
	return float64(machine.cpu) / float64(c.Count), received / float64(c.Count)
}

func TestWhatMessagesCostCanBeMeasured(t *testing.T) {
	for _, c := range []costs{{Count: 5000, Batch: 64, Bytes: 16}, {Count: 100, Batch: 1, Bytes: 1000}} {
		send, receive := c.measure(t)
		if send <= 0 || receive <= 0 || send > 1e7 || receive > 1e7 {
			t.Errorf("%+v: %v ns to send, %v ns to receive", c, send, receive)
		}
	}
}

// What the simulator's costs are set from: the CPU time for each message that a
// loaded process sends, or receives and handles, without a payload; and for each
// byte of it on either side.
func BenchmarkCosts(b *testing.B) {
	// Batches of 16 cost what the processes of a loaded Multi-Paxos cluster take
	// for their messages on loopback; smaller ones cost more, larger ones less.
	const batch, small, large = 16, 16, 4 << 10
	count := uint64(b.N)
	smallSend, smallReceive := costs{Count: count, Batch: batch, Bytes: small}.measure(b)
	largeSend, largeReceive := costs{Count: max(count/4, 1), Batch: batch, Bytes: large}.measure(b)
	perByte := (largeSend + largeReceive - smallSend - smallReceive) / 2 / (large - small)
	b.ReportMetric(smallSend-small*perByte, "cpu-ns/send")
	b.ReportMetric(smallReceive-small*perByte, "cpu-ns/receive")
	b.ReportMetric(perByte, "cpu-ns/byte")
}

// The same where each message waits for the answer to the one before, so that
// nothing is shared between them: each process sends and receives one.
func BenchmarkCostsAlone(b *testing.B) {
	send, receive := costs{Count: uint64(b.N), Batch: 1, Bytes: 16}.measure(b)
	b.ReportMetric((send+receive)/2, "cpu-ns/exchange")
}
