package driver

import (
	"encoding/binary"
	"errors"
	"io"
	"log"
	"net"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"quorumlab/node/consensus"
	"quorumlab/node/driver/clock"
	"quorumlab/node/kv"
	"quorumlab/node/wire"
)

// number is the only message of the test's protocol. From large on, numbers are
// followed by padding.
type number uint64

const (
	large        = 1 << 40
	paddingBytes = 4096
)

func (n number) Label() consensus.Label { return consensus.Label{Kind: "number", Slot: uint64(n)} }

type numberCodec struct{}

func (numberCodec) Append(dst []byte, message consensus.Message) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(message.(number)))
	if message.(number) >= large {
		dst = append(dst, make([]byte, paddingBytes)...)
	}
	return dst
}

func (numberCodec) Decode(src []byte) (consensus.Message, error) {
	if len(src) != 8 && len(src) != 8+paddingBytes {
		return nil, errors.New("neither size of a number")
	}
	return number(binary.BigEndian.Uint64(src)), nil
}

// scripted is a machine that does what a function says and keeps its inputs.
type scripted struct {
	step func(now consensus.Time, input consensus.Input, out *consensus.Outbox)

	mu     sync.Mutex
	inputs []consensus.Input
	counts [consensus.InputCheckpoint + 1]int
}

func (s *scripted) Step(now consensus.Time, input consensus.Input, out *consensus.Outbox) {
	s.mu.Lock()
	s.inputs = append(s.inputs, input)
	s.counts[input.Kind]++
	s.mu.Unlock()
	if s.step != nil {
		s.step(now, input, out)
	}
}

func (s *scripted) Status() consensus.Status { return consensus.Status{Learner: true} }

// count counts the inputs of a kind; unlike of, it costs the machine no time.
func (s *scripted) count(kind consensus.InputKind) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[kind]
}

// of lists the inputs of a kind.
func (s *scripted) of(kind consensus.InputKind) []consensus.Input {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.inputs), func(i consensus.Input) bool { return i.Kind != kind })
}

// collector is a Handler that keeps everything.
type collector struct {
	mu     sync.Mutex
	inputs []consensus.Input
}

func (c *collector) Deliver(inputs []consensus.Input) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inputs = append(c.inputs, inputs...)
}

func (c *collector) all() []consensus.Input {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.inputs)
}

// process is one process on the loopback interface.
type process struct {
	*Transport
	address string
	machine *scripted
	driver  *Driver
	client  *collector
	close   func()
}

func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// start runs a process that knows the processes 1 to 9 and sends to peers.
func start(t *testing.T, self consensus.NodeID, listener net.Listener, peers map[consensus.NodeID]string, machine *scripted) *process {
	t.Helper()
	return startWith(t, self, listener, peers, machine, func(*Config) {})
}

// startWith is start with changes of the driver's configuration.
func startWith(t *testing.T, self consensus.NodeID, listener net.Listener, peers map[consensus.NodeID]string, machine *scripted, change func(*Config)) *process {
	t.Helper()
	p := &process{address: listener.Addr().String(), machine: machine, client: &collector{}}
	p.Transport = NewTransport(TransportConfig{
		Self: self, Protocol: "numbers", Codec: numberCodec{}, Listener: listener, Peers: peers,
		Members: []consensus.NodeID{1, 2, 3, 4, 5, 6, 7, 8, 9}, Log: log.New(testLog{t}, "", 0),
	})
	config := Config{
		Machine: machine, Application: consensus.NewApplication(kv.New()), Transport: p.Transport,
		OnError: func(err error) { t.Error(err) },
	}
	change(&config)
	var err error
	if p.driver, err = New(config); err != nil {
		t.Fatal(err)
	}
	p.Transport.Start(p.driver, p.client)
	p.driver.Start()
	var once sync.Once
	p.close = func() {
		once.Do(func() {
			p.driver.Close()
			p.Transport.Close()
		})
	}
	t.Cleanup(p.close)
	return p
}

type testLog struct{ t *testing.T }

func (l testLog) Write(line []byte) (int, error) {
	l.t.Logf("%s", line)
	return len(line), nil
}

// eventually waits for a condition that must come true, however slow the
// machine is.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// receive waits for what must come, however slow the machine is.
func receive[T any](t *testing.T, what string, from <-chan T) (received T) {
	t.Helper()
	select {
	case received = <-from:
	case <-time.After(20 * time.Second):
		t.Fatalf("never came: %s", what)
	}
	return received
}

func numbersOf(inputs []consensus.Input) []uint64 {
	var numbers []uint64
	for _, input := range inputs {
		if n, ok := input.Message.(number); ok {
			numbers = append(numbers, uint64(n))
		}
	}
	return numbers
}

func command(client consensus.NodeID, sequence uint64) consensus.Command {
	return consensus.Command{
		Client: consensus.NewClientID(client, 1), Sequence: sequence, FirstUnanswered: 1,
		Operation: kv.AppendOperation(nil, kv.Operation{Kind: kv.Nop}),
	}
}

func TestMessagesArriveInOrderFromTheirSender(t *testing.T) {
	const count = 20_000
	listener := listen(t, "127.0.0.1:0")
	receiver := start(t, 2, listener, nil, &scripted{})
	start(t, 1, listen(t, "127.0.0.1:0"), map[consensus.NodeID]string{2: receiver.address}, &scripted{
		step: func(_ consensus.Time, input consensus.Input, out *consensus.Outbox) {
			// Each message to oneself brings a burst for the other.
			sent := uint64(0)
			if n, ok := input.Message.(number); ok {
				sent = uint64(n)
			}
			for range 100 {
				out.Send(2, number(sent))
				sent++
			}
			if sent < count {
				out.Send(1, number(sent))
			}
		},
	})
	eventually(t, "all messages arrive", func() bool { return receiver.machine.count(consensus.InputMessage) == count })
	for i, input := range receiver.machine.of(consensus.InputMessage) {
		if input.From != 1 || input.Message != number(i) {
			t.Fatalf("message %d is %v from %v", i, input.Message, input.From)
		}
	}
}

func TestCommandsAreAppliedOnceAndAnsweredAgain(t *testing.T) {
	slot := uint64(0)
	machine := &scripted{step: func(_ consensus.Time, input consensus.Input, out *consensus.Outbox) {
		if input.Kind == consensus.InputCommand {
			slot++
			out.Commit(slot, input.Command)
		}
	}}
	serverListener, clientListener := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	server := start(t, 1, serverListener, map[consensus.NodeID]string{7: clientListener.Addr().String()}, machine)
	client := start(t, 7, clientListener, map[consensus.NodeID]string{1: server.address}, &scripted{})
	sender := client.NewSender()
	for range 2 {
		before := len(client.client.all())
		for sequence := uint64(1); sequence <= 3; sequence++ {
			sender.Send(1, consensus.Request{Command: command(7, sequence)})
		}
		sender.Flush()
		eventually(t, "three answers", func() bool { return len(client.client.all()) == before+3 })
	}
	for i, input := range client.client.all() {
		want := uint64(i%3 + 1)
		response := input.Message.(consensus.Response)
		if input.From != 1 || response.Sequence != want || response.Slot != want || response.Client != consensus.NewClientID(7, 1) {
			t.Errorf("answer %d: %+v from %v", i, response, input.From)
		}
	}
	if got := machine.count(consensus.InputCommand); got != 3 {
		t.Errorf("the machine saw %d commands, want 3: the others were applied before", got)
	}
}

// The client and the replica may share a process.
func TestACommandFromTheProcessItselfIsAnsweredThere(t *testing.T) {
	p := start(t, 1, listen(t, "127.0.0.1:0"), nil, &scripted{
		step: func(_ consensus.Time, input consensus.Input, out *consensus.Outbox) {
			if input.Kind == consensus.InputCommand && input.From == 1 {
				out.Commit(input.Command.Sequence, input.Command)
			}
		},
	})
	sender := p.NewSender()
	for sequence := uint64(1); sequence <= 1000; sequence++ {
		sender.Send(1, consensus.Request{Command: command(1, sequence)})
	}
	sender.Flush()
	eventually(t, "all are answered", func() bool { return len(p.client.all()) == 1000 })
}

func TestAPeerThatRestartsIsConnectedToAgain(t *testing.T) {
	first := listen(t, "127.0.0.1:0")
	receiver := start(t, 2, first, nil, &scripted{})
	sender := start(t, 1, listen(t, "127.0.0.1:0"), map[consensus.NodeID]string{2: receiver.address}, &scripted{})
	out := sender.NewSender()
	out.Send(2, number(1))
	out.Flush()
	eventually(t, "the first message arrives", func() bool { return receiver.machine.count(consensus.InputMessage) == 1 })
	receiver.close()
	eventually(t, "the loss is noticed", func() bool { return sender.Counts().Connected == 0 })
	out.Send(2, number(2)) // waits for the connection
	out.Flush()
	again := start(t, 2, listen(t, receiver.address), nil, &scripted{})
	eventually(t, "the connection is back", func() bool { return sender.Counts().Connected == 1 })
	out.Send(2, number(3))
	out.Flush()
	eventually(t, "both messages arrive", func() bool { return again.machine.count(consensus.InputMessage) == 2 })
	if got := numbersOf(again.machine.of(consensus.InputMessage)); !slices.Equal(got, []uint64{2, 3}) {
		t.Errorf("after the restart came %v, want 2, 3", got)
	}
}

func TestAPeerThatStartsLateGetsTheNewestMessagesAndTheOthersAreCounted(t *testing.T) {
	reserved := listen(t, "127.0.0.1:0")
	address := reserved.Addr().String()
	reserved.Close()
	sender := start(t, 1, listen(t, "127.0.0.1:0"), map[consensus.NodeID]string{2: address}, &scripted{})
	const extra = 1000
	out := sender.NewSender()
	for i := range maxQueuedMessages + extra {
		out.Send(2, number(i))
		out.Flush()
	}
	if got := sender.Counts(); got.DroppedMessages != extra || got.Connected != 0 || got.Peers != 1 {
		t.Fatalf("%+v, want %d dropped and no connection", got, extra)
	}
	receiver := start(t, 2, listen(t, address), nil, &scripted{})
	eventually(t, "the queue arrives", func() bool { return receiver.machine.count(consensus.InputMessage) == maxQueuedMessages })
	for i, n := range numbersOf(receiver.machine.of(consensus.InputMessage)) {
		if n != uint64(i+extra) {
			t.Fatalf("message %d is %d, want %d", i, n, i+extra)
		}
	}
}

// A receiver that doesn't read makes the sender's socket full: the sender must
// neither wait nor lose what fits its queue.
func TestASlowReceiverHoldsNobodyUp(t *testing.T) {
	release := make(chan struct{})
	goOn := sync.OnceFunc(func() { close(release) })
	receiver := start(t, 2, listen(t, "127.0.0.1:0"), nil, &scripted{
		step: func(consensus.Time, consensus.Input, *consensus.Outbox) { <-release },
	})
	t.Cleanup(goOn) // before the receiver is closed, which waits for its step
	sender := start(t, 1, listen(t, "127.0.0.1:0"), map[consensus.NodeID]string{2: receiver.address}, &scripted{})
	out := sender.NewSender()
	eventually(t, "they are connected", func() bool { return sender.Counts().Connected == 1 })
	sent := 0
	full := func() bool { return sender.Counts().DroppedMessages > 0 }
	for !full() && sent < 100_000 {
		for range 10 {
			out.Send(2, number(large+sent))
			sent++
		}
		out.Flush()
	}
	if !full() {
		t.Fatalf("%d messages went nowhere", sent)
	}
	goOn()
	dropped := func() int { return int(sender.Counts().DroppedMessages) }
	eventually(t, "all but the dropped arrive", func() bool {
		return receiver.machine.count(consensus.InputMessage) == sent-dropped()
	})
	numbers := numbersOf(receiver.machine.of(consensus.InputMessage))
	if !slices.IsSorted(numbers) || numbers[len(numbers)-1] != large+uint64(sent-1) {
		t.Error("messages were reordered, or the newest was dropped")
	}
}

func TestGarbageClosesItsOwnConnectionOnly(t *testing.T) {
	receiver := start(t, 2, listen(t, "127.0.0.1:0"), nil, &scripted{})
	sender := start(t, 1, listen(t, "127.0.0.1:0"), map[consensus.NodeID]string{2: receiver.address}, &scripted{})
	hello := func(change func(*wire.Hello)) []byte {
		h := wire.Hello{Protocol: "numbers", Sender: 3, Version: wire.Version}
		if change != nil {
			change(&h)
		}
		return wire.AppendHello(nil, h)
	}
	frame := func(kind wire.Kind, payload string) string {
		return string(binary.BigEndian.AppendUint32(nil, uint32(len(payload)+1))) + string(rune(kind)) + payload
	}
	cases := map[string]string{
		"http":                     "GET / HTTP/1.1\r\n\r\n",
		"zeros":                    string(make([]byte, 100)),
		"no hello":                 frame(wire.KindMessage, "12345678"),
		"hello that is none":       frame(wire.KindHello, "\xff\xff"),
		"other version":            string(hello(func(h *wire.Hello) { h.Version++ })),
		"other protocol":           string(hello(func(h *wire.Hello) { h.Protocol = "letters" })),
		"unknown sender":           string(hello(func(h *wire.Hello) { h.Sender = 99 })),
		"the receiver itself":      string(hello(func(h *wire.Hello) { h.Sender = 2 })),
		"two hellos":               string(hello(nil)) + string(hello(nil)),
		"message that is none":     string(hello(nil)) + frame(wire.KindMessage, "1234567"),
		"request that is none":     string(hello(nil)) + frame(wire.KindRequest, "\xff"),
		"response that is none":    string(hello(nil)) + frame(wire.KindResponse, "\xff"),
		"huge frame after a hello": string(hello(nil)) + "\xff\xff\xff\xff\x04",
	}
	for name, bytes := range cases {
		before := receiver.Counts().BadFrames
		conn, err := net.Dial("tcp", receiver.address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, bytes); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Errorf("%s: it was answered", name)
		}
		conn.Close()
		eventually(t, name+" is counted", func() bool { return receiver.Counts().BadFrames == before+1 })
	}
	out := sender.NewSender()
	out.Send(2, number(42))
	out.Flush()
	eventually(t, "the good connection goes on", func() bool { return receiver.machine.count(consensus.InputMessage) == 1 })
	if sender.Counts().Connected != 1 {
		t.Error("the good connection was closed")
	}
}

func TestACutConnectionIsNoBadFrame(t *testing.T) {
	receiver := start(t, 2, listen(t, "127.0.0.1:0"), nil, &scripted{})
	stream := wire.AppendHello(nil, wire.Hello{Protocol: "numbers", Sender: 3, Version: wire.Version})
	stream, _ = wire.AppendMessage(stream, numberCodec{}, number(1))
	whole := len(stream)
	stream, _ = wire.AppendMessage(stream, numberCodec{}, number(2))
	conn, err := net.Dial("tcp", receiver.address)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(stream[:whole+7]); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	eventually(t, "the whole message arrives", func() bool { return receiver.machine.count(consensus.InputMessage) == 1 })
	eventually(t, "the connection is forgotten", func() bool {
		receiver.mu.Lock()
		defer receiver.mu.Unlock()
		return len(receiver.incoming) == 0 && len(receiver.current) == 0
	})
	if got := receiver.Counts().BadFrames; got != 0 {
		t.Errorf("%d bad frames", got)
	}
}

// The old connection may be dead without our knowing, after a partition.
func TestANewConnectionOfASenderTakesTheOldOnesPlace(t *testing.T) {
	receiver := start(t, 2, listen(t, "127.0.0.1:0"), nil, &scripted{})
	hello := wire.AppendHello(nil, wire.Hello{Protocol: "numbers", Sender: 3, Version: wire.Version})
	var conns [2]net.Conn
	for i := range conns {
		conn, err := net.Dial("tcp", receiver.address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write(hello); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the hello is read", func() bool {
			receiver.mu.Lock()
			defer receiver.mu.Unlock()
			current := receiver.current[3]
			return current != nil && current.RemoteAddr().String() == conn.LocalAddr().String()
		})
		conns[i] = conn
	}
	if _, err := conns[0].Read(make([]byte, 1)); err == nil {
		t.Error("the old connection got data")
	}
	message, _ := wire.AppendMessage(nil, numberCodec{}, number(5))
	if _, err := conns[1].Write(message); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new connection works", func() bool { return receiver.machine.count(consensus.InputMessage) == 1 })
}

func TestTimersFireInOrderUnderAFloodOfMessages(t *testing.T) {
	timer := func(key uint64) consensus.Timer { return consensus.Timer{Kind: 1, Key: key} }
	machine := &scripted{step: func(_ consensus.Time, input consensus.Input, out *consensus.Outbox) {
		switch input.Kind {
		case consensus.InputStart:
			out.SetTimer(timer(3), 3*time.Millisecond)
			out.SetTimer(timer(1), time.Millisecond)
			out.SetTimer(timer(2), time.Hour)
			out.SetTimer(timer(2), 2*time.Millisecond) // moves it
			out.SetTimer(timer(4), time.Millisecond)
			out.CancelTimer(timer(4))
			out.CancelTimer(timer(5)) // isn't set
			out.Send(1, number(0))
		case consensus.InputMessage:
			out.Send(1, input.Message) // for ever
		}
	}}
	flooded := start(t, 1, listen(t, "127.0.0.1:0"), nil, machine)
	eventually(t, "three timers fire", func() bool { return flooded.machine.count(consensus.InputTimer) == 3 })
	for i, input := range machine.of(consensus.InputTimer) {
		if input.Timer != timer(uint64(i+1)) {
			t.Errorf("timer %d is %v", i+1, input.Timer)
		}
	}
	if _, hash := flooded.driver.Status(); len(hash) != 64 {
		t.Errorf("the status of a flooded machine has the hash %q", hash)
	}
}

// A timer that is always due again must not keep messages out.
func TestATimerThatIsAlwaysDueLeavesRoomForMessages(t *testing.T) {
	timer := consensus.Timer{Kind: 1}
	receiver := start(t, 2, listen(t, "127.0.0.1:0"), nil, &scripted{
		step: func(_ consensus.Time, input consensus.Input, out *consensus.Outbox) {
			if input.Kind != consensus.InputMessage {
				out.SetTimer(timer, 0)
			}
		},
	})
	sender := start(t, 1, listen(t, "127.0.0.1:0"), map[consensus.NodeID]string{2: receiver.address}, &scripted{})
	out := sender.NewSender()
	out.Send(2, number(1))
	out.Flush()
	eventually(t, "the message is processed", func() bool { return receiver.machine.count(consensus.InputMessage) == 1 })
}

func TestTimersNeverFireEarly(t *testing.T) {
	var due consensus.Time
	early := make(chan time.Duration, 1)
	start(t, 1, listen(t, "127.0.0.1:0"), nil, &scripted{
		step: func(now consensus.Time, input consensus.Input, out *consensus.Outbox) {
			if input.Kind == consensus.InputStart {
				due = now.Add(3 * time.Millisecond)
				out.SetTimer(consensus.Timer{}, 3*time.Millisecond)
				return
			}
			early <- max(due.Sub(now), due.Sub(clock.Now()))
		},
	})
	if by := receive(t, "the timer", early); by > 0 {
		t.Errorf("fired %v early", by)
	}
}

func TestClosingLeavesNoGoroutine(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 3 {
		a := listen(t, "127.0.0.1:0")
		receiver := start(t, 2, a, map[consensus.NodeID]string{3: "127.0.0.1:1"}, &scripted{})
		sender := start(t, 1, listen(t, "127.0.0.1:0"), map[consensus.NodeID]string{2: receiver.address}, &scripted{})
		eventually(t, "they are connected", func() bool { return sender.Counts().Connected == 1 })
		receiver.close()
		sender.close()
	}
	eventually(t, "all goroutines end", func() bool { return runtime.NumGoroutine() <= before })
}

func TestAStatusOfAClosedDriverDoesNotWait(t *testing.T) {
	p := start(t, 1, listen(t, "127.0.0.1:0"), nil, &scripted{})
	p.close()
	if status, hash := p.driver.Status(); status.Learner || hash != "" {
		t.Errorf("%+v, %q, want nothing", status, hash)
	}
}

// What the driver costs beside the protocol: messages through one connection.
func BenchmarkMessages(b *testing.B) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	quiet := log.New(io.Discard, "", 0)
	received := make(chan int, 1<<16)
	receiver := NewTransport(TransportConfig{Self: 2, Protocol: "numbers", Codec: numberCodec{}, Listener: listener,
		Members: []consensus.NodeID{1, 2}, Log: quiet})
	receiver.Start(counter(received), nil)
	own, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	sender := NewTransport(TransportConfig{Self: 1, Protocol: "numbers", Codec: numberCodec{}, Listener: own,
		Peers: map[consensus.NodeID]string{2: listener.Addr().String()}, Log: quiet})
	sender.Start(nil, nil)
	defer receiver.Close()
	defer sender.Close()
	out := sender.NewSender()
	b.ReportAllocs()
	outstanding := 0
	for b.Loop() {
		out.Send(2, number(7))
		if outstanding++; outstanding%64 == 0 {
			out.Flush()
		}
		for outstanding > 4096 {
			out.Flush()
			outstanding -= <-received
		}
	}
	out.Flush()
}

type counter chan int

func (c counter) Deliver(inputs []consensus.Input) { c <- len(inputs) }

func (c numberCodec) Size(message consensus.Message) int { return len(c.Append(nil, message)) }
