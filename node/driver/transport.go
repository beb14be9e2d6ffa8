package driver

import (
	"context"
	"fmt"
	"log"
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"quorumlab/node/consensus"
)

// Handler takes what other processes sent.
type Handler interface {
	// Deliver hands over inputs in the order in which one process sent them.
	// It may wait, which holds that process back. The slice is the caller's.
	Deliver(inputs []consensus.Input)
}

// TransportConfig says how a process talks to the others.
type TransportConfig struct {
	Self consensus.NodeID
	// Protocol and Codec are those of the cluster.
	Protocol string
	Codec    consensus.Codec
	// Listener is where others connect to; the transport closes it.
	Listener net.Listener
	// Peers maps the processes that this one sends to, itself excepted, to
	// their addresses.
	Peers map[consensus.NodeID]string
	// Members are the processes that this one accepts connections of.
	Members []consensus.NodeID
	// Events is told when connections come and go; it may be nil.
	Events *EventLog
	Log    *log.Logger
}

// Transport sends messages to other processes and delivers theirs.
type Transport struct {
	config TransportConfig
	// machine takes the protocol's messages and clients' commands, client takes
	// responses; nil if the process has no such part.
	machine, client Handler

	peers  map[consensus.NodeID]*peer
	group  sync.WaitGroup
	cancel context.CancelFunc

	// heard is when each member was heard last, by the host's clock; 0 is never.
	heard map[consensus.NodeID]*atomic.Int64

	badFrames atomic.Uint64
	// unreachable counts messages to processes that are no peers.
	unreachable atomic.Uint64

	mu sync.Mutex
	// incoming are the accepted connections; those of senders that have
	// introduced themselves are in current too.
	incoming map[net.Conn]struct{}
	current  map[consensus.NodeID]net.Conn
	closed   bool
}

// NewTransport makes a transport that does nothing until Start.
func NewTransport(config TransportConfig) *Transport {
	t := &Transport{
		config: config, peers: map[consensus.NodeID]*peer{},
		incoming: map[net.Conn]struct{}{}, current: map[consensus.NodeID]net.Conn{},
		heard: map[consensus.NodeID]*atomic.Int64{},
	}
	for _, id := range config.Members {
		t.heard[id] = &atomic.Int64{}
	}
	for id, address := range config.Peers {
		t.peers[id] = &peer{
			transport: t, id: id, address: address, index: len(t.peers), wake: make(chan struct{}, 1),
			queue: frameQueue{maxMessages: maxQueuedMessages, maxBytes: maxQueuedBytes},
		}
	}
	return t
}

// Start accepts connections and dials the peers. Machine and client, which may
// be nil, take what comes in.
func (t *Transport) Start(machine, client Handler) {
	t.machine, t.client = machine, client
	ctx, cancel := context.WithCancel(context.Background())
	t.cancel = cancel
	t.group.Go(func() { t.accept(ctx) })
	for _, p := range t.peers {
		t.group.Go(func() { p.run(ctx) })
	}
}

// Close ends all connections and returns once nothing is delivered any more. A
// handler that waits in Deliver must be released first.
func (t *Transport) Close() {
	t.cancel()
	_ = t.config.Listener.Close()
	t.mu.Lock()
	t.closed = true
	for conn := range t.incoming {
		_ = conn.Close()
	}
	t.mu.Unlock()
	t.group.Wait()
}

// Counts is what a transport has counted.
type Counts struct {
	// Connected counts the peers with a live connection, of Peers.
	Connected, Peers int
	// DroppedMessages counts messages that found their peer's queue full.
	DroppedMessages uint64
	// BadFrames counts connections closed for what came on them.
	BadFrames uint64
}

// Counts reads the counters.
func (t *Transport) Counts() Counts {
	counts := Counts{
		Peers: len(t.peers), BadFrames: t.badFrames.Load(), DroppedMessages: t.unreachable.Load(),
	}
	for _, p := range t.peers {
		counts.DroppedMessages += p.dropped.Load()
		p.mu.Lock()
		if p.link != nil {
			counts.Connected++
		}
		p.mu.Unlock()
	}
	return counts
}

func (t *Transport) connected(p *peer) {
	t.config.Log.Printf("connected to %v at %s", p.id, p.address)
	t.config.Events.connection("connected", p.id)
}

func (t *Transport) lost(p *peer, reason error) {
	t.config.Log.Printf("lost the connection to %v at %s: %v", p.id, p.address, reason)
	t.config.Events.connection("disconnected", p.id)
}

// Sender sends for one goroutine. Messages leave at Flush, together.
type Sender struct {
	transport *Transport
	// touched are the peers with new messages; marked says the same by index.
	touched []*peer
	marked  []bool
	// machine and client are inputs for this process itself.
	machine, client []consensus.Input
}

// NewSender makes a sender for the calling goroutine.
func (t *Transport) NewSender() *Sender {
	return &Sender{transport: t, marked: make([]bool, len(t.peers))}
}

// Send queues a message: the protocol's, a consensus.Request or a
// consensus.Response. To the process itself, it is delivered at Flush. One to a
// process that isn't a peer is dropped and counted.
func (s *Sender) Send(to consensus.NodeID, message consensus.Message) {
	if to == s.transport.config.Self {
		s.sendLocally(message)
		return
	}
	p := s.transport.peers[to]
	if p == nil {
		s.transport.noPeer(to, message)
		return
	}
	p.send(message)
	if !s.marked[p.index] {
		s.marked[p.index] = true
		s.touched = append(s.touched, p)
	}
}

func (s *Sender) sendLocally(message consensus.Message) {
	self := s.transport.config.Self
	switch m := message.(type) {
	case consensus.Response:
		s.client = append(s.client, consensus.Input{Kind: consensus.InputMessage, From: self, Message: message})
	case consensus.Request:
		s.machine = append(s.machine, consensus.Input{Kind: consensus.InputCommand, From: self, Command: m.Command})
	default:
		s.machine = append(s.machine, consensus.Input{Kind: consensus.InputMessage, From: self, Message: message})
	}
}

func (t *Transport) noPeer(to consensus.NodeID, message consensus.Message) {
	if t.unreachable.Add(1) == 1 {
		t.config.Log.Printf("a %s to %v is dropped: no such peer; further ones are only counted",
			message.Label().Kind, to)
	}
}

// Flush sends what was queued. It may wait for the process's own handlers, not
// for the network.
func (s *Sender) Flush() {
	for i, p := range s.touched {
		p.flush()
		s.marked[p.index] = false
		s.touched[i] = nil
	}
	s.touched = s.touched[:0]
	s.machine = deliver(s.transport.machine, s.machine)
	s.client = deliver(s.transport.client, s.client)
}

// deliver hands inputs to a handler, if there is one, and empties the slice.
func deliver(to Handler, inputs []consensus.Input) []consensus.Input {
	if len(inputs) > 0 && to != nil {
		to.Deliver(inputs)
	}
	clear(inputs)
	return inputs[:0]
}

// knows tells whether connections of the process are accepted.
func (t *Transport) knows(id consensus.NodeID) error {
	if id == t.config.Self || !slices.Contains(t.config.Members, id) {
		return fmt.Errorf("%w: its sender says that it is %v, which is no other member", errBadHello, id)
	}
	return nil
}
