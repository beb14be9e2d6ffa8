// Package node is one process of a system under test: it reads the cluster
// file, runs the machine of its roles and the client, if it is one, over TCP,
// and obeys its control channel. docs/node-protocol.md describes it from
// outside.
//
// It promises to end at once when its standard input does, and to leave rows
// and events on disk then. Started again in the same folder, it goes on from what
// its storage holds.
package node

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"math"
	"net"
	"os"
	"path/filepath"
	"time"

	"quorumlab/node/application"
	"quorumlab/node/client"
	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/node/driver"
	"quorumlab/node/driver/clock"
	"quorumlab/node/driver/logfile"
	"quorumlab/node/echo"
	"quorumlab/node/storage"
)

// Files in a node's folder.
const (
	EventsFile   = "events.jsonl"
	RequestsFile = "requests.csv"
	// StorageFolder holds what the node remembers, unless the cluster's storage is
	// memory.
	StorageFolder = "storage"
)

// closeTimeout is how long a node that is to end waits for its own parts.
const closeTimeout = 500 * time.Millisecond

// errStuck says that a part of the node didn't end when told to.
var errStuck = errors.New("the node didn't stop in time")

// Options say which node to be.
type Options struct {
	// ClusterFile is the path of the cluster file, Name the node's name in it.
	ClusterFile string
	Name        string
	// Dir is an existing folder for the node's files.
	Dir string
	// InjectionFile is the path of a control.Initially in JSON; empty means none.
	InjectionFile string
}

// Streams are the process's standard streams.
type Streams struct {
	Input  io.Reader
	Output io.Writer
	// Log takes what a human may want to read, one line each.
	Log io.Writer
}

// node is a process at work.
type node struct {
	self      control.Node
	cluster   *Cluster
	log       *log.Logger
	channel   *control.Channel
	transport *driver.Transport
	events    *logfile.File
	// failed takes the error that ends the node.
	failed chan error
	// initially is what goes wrong from the start, disk what goes wrong with the storage.
	initially control.Initially
	disk      storage.Disk

	// driver and storage are nil for a mere client, client and requests for all
	// others.
	driver   *driver.Driver
	storage  *storage.Storage
	client   *client.Runner
	requests *logfile.File
}

// Run is a node's whole life. It returns nil once the controller has closed the
// control channel or said stop.
func Run(options Options, streams Streams) error {
	cluster, err := LoadCluster(options.ClusterFile)
	if err != nil {
		return err
	}
	self, err := cluster.Find(options.Name)
	if err != nil {
		return fmt.Errorf("%s: %w", options.ClusterFile, err)
	}
	n := &node{
		self: self, cluster: cluster, failed: make(chan error, 1),
		log: log.New(streams.Log, self.Name+": ", log.LstdFlags|log.Lmicroseconds|log.Lmsgprefix),
	}
	if n.initially, err = loadInjection(options.InjectionFile); err != nil {
		return err
	}
	if err := n.open(options.Dir, streams); err != nil {
		return errors.Join(err, n.close())
	}
	go func() { n.fail(n.channel.Serve(n.handle)) }()
	if err = <-n.failed; err != nil {
		n.reportFailure(err)
	}
	n.channel.Close()
	return errors.Join(err, n.closeSoon())
}

// closeSoon closes the node, but doesn't wait for a machine that never returns
// from a step: what is to be on disk is there by then.
func (n *node) closeSoon() error {
	closed := make(chan error, 1)
	go func() { closed <- n.close() }()
	select {
	case err := <-closed:
		return err
	case <-time.After(closeTimeout):
		return errors.Join(errStuck, n.flush())
	}
}

// fail ends the node; only the first reason counts.
func (n *node) fail(reason error) {
	select {
	case n.failed <- reason:
	default:
	}
}

// open makes all parts of the node and starts them.
func (n *node) open(dir string, streams Streams) error {
	var machine consensus.Machine
	var recovered storage.Recovered
	var err error
	if participates(n.self) {
		if machine, err = n.cluster.Protocol.New(n.cluster.Config(n.self.ID)); err != nil {
			return fmt.Errorf("starting %s: %w", n.self.Name, err)
		}
		if recovered, err = n.openStorage(filepath.Join(dir, StorageFolder)); err != nil {
			return fmt.Errorf("starting %s: %w", n.self.Name, err)
		}
	}
	if n.events, err = logfile.Open(filepath.Join(dir, EventsFile), n.fail); err != nil {
		return err
	}
	if n.self.Has(RoleClient) {
		if n.requests, err = logfile.Create(filepath.Join(dir, RequestsFile), n.fail); err != nil {
			return err
		}
	}
	listen := net.ListenConfig{KeepAlive: -1}
	listener, err := listen.Listen(context.Background(), "tcp", n.self.Address)
	if err != nil {
		return fmt.Errorf("starting %s: %w", n.self.Name, err)
	}
	events := driver.NewEventLog(n.events, n.self.Name)
	transport := n.newTransport(listener, events)
	if machine != nil {
		n.driver, err = driver.New(driver.Config{
			Machine: machine, Application: consensus.NewApplication(n.cluster.Application.New()),
			Storage: n.storage, Recovered: recovered, Transport: transport, Events: events, OnError: n.fail,
			Names: n.cluster.names(), Initially: n.initially, OnTrace: n.trace, OnFailpoint: n.reach,
		})
		if err != nil {
			return errors.Join(fmt.Errorf("starting %s: %w", n.self.Name, err), listener.Close())
		}
	}
	n.transport = transport
	n.channel = control.NewChannel(streams.Input, streams.Output)
	hello(n.channel, n.self.Name, n.self.Roles)
	n.start()
	return nil
}

// openStorage returns what the node has to remember.
func (n *node) openStorage(dir string) (recovered storage.Recovered, err error) {
	n.disk.Set(diskFaults(n.initially.Injection))
	n.storage, recovered, err = n.disk.Open(dir, n.cluster.Storage, n.cluster.Protocol.Codec, n.fail)
	if err != nil {
		return recovered, err
	}
	if n.storage.Keeps() {
		n.log.Printf("recovered %d records, %d torn bytes dropped, a snapshot of %d bytes",
			len(recovered.Records), recovered.TornBytes, len(recovered.Snapshot))
	}
	return recovered, nil
}

func (n *node) newTransport(listener net.Listener, events *driver.EventLog) *driver.Transport {
	config := driver.TransportConfig{
		Self: n.self.ID, Protocol: n.cluster.Protocol.Name, Codec: n.cluster.Protocol.Codec,
		Listener: listener, Peers: n.cluster.Peers(n.self), Events: events, Log: n.log,
	}
	for _, other := range n.cluster.Nodes {
		config.Members = append(config.Members, other.ID)
	}
	return driver.NewTransport(config)
}

// start makes the machine and the client run.
func (n *node) start() {
	var toMachine, toClient driver.Handler
	if n.driver != nil {
		toMachine = n.driver
	}
	if n.requests != nil {
		n.client = client.NewRunner(client.RunnerConfig{
			Config: client.Config{
				Self: n.self.ID, Name: n.self.Name, First: n.cluster.IsFirstClient(n.self), Targets: n.cluster.Serving(),
			},
			Sender: n.transport.NewSender(), Requests: n.requests, Report: n.report,
		})
		toClient = n.client
	}
	n.transport.Start(toMachine, toClient)
	if n.driver != nil {
		n.driver.Start()
	}
}

// close ends what open started, as far as it came.
func (n *node) close() error {
	// The driver may wait for a slow disk, and the client for room in the inbox of a driver
	// that stalls.
	n.disk.Hurry()
	if n.driver != nil {
		n.driver.Close()
	}
	if n.client != nil {
		n.client.Close()
	}
	if n.transport != nil {
		n.transport.Close()
	}
	var err error
	if n.storage != nil {
		err = n.storage.Close()
	}
	for _, file := range n.files() {
		err = errors.Join(err, file.Close())
	}
	return err
}

func (n *node) flush() error {
	var err error
	for _, file := range n.files() {
		err = errors.Join(err, file.Flush())
	}
	return err
}

func (n *node) files() []*logfile.File {
	var files []*logfile.File
	for _, file := range []*logfile.File{n.events, n.requests} {
		if file != nil {
			files = append(files, file)
		}
	}
	return files
}

func (n *node) report(event string, progress control.Progress) {
	n.channel.Send(control.Line{Type: control.TypeEvent, Event: event, Progress: &progress})
}

// handle carries out a command of the controller.
func (n *node) handle(command control.Command) control.Line {
	var err error
	switch command.Command {
	case control.CommandStatus:
		return control.Line{Status: n.status()}
	case control.CommandSockets:
		return control.Line{Sockets: n.sockets()}
	case control.CommandStanding:
		return control.Line{Standing: n.standing()}
	case control.CommandInject:
		err = n.inject(*command.Injection)
	case control.CommandSubscribe:
		err = n.subscribe(command.Subscriptions)
	case control.CommandLoad:
		err = n.load(*command.Load)
	case control.CommandReconfigure:
		err = n.reconfigure(command.Reconfigure)
	default:
		err = fmt.Errorf("%s can't %s", n.self.Name, command.Command)
	}
	if err != nil {
		return control.Line{Error: err.Error()}
	}
	return control.Line{}
}

func (n *node) load(load control.Load) error {
	if n.client == nil {
		return fmt.Errorf("%s isn't a client", n.self.Name)
	}
	name := n.cluster.Application.Name()
	if wanted := cmp.Or(load.Application, application.Default); wanted != name {
		return fmt.Errorf("the load is for the application %s, the cluster's is %s", wanted, name)
	}
	return n.client.Load(load)
}

// administrator is the index of the client that changes of the configuration
// come from, in each process that they are handed to.
const administrator = math.MaxUint32

// reconfigure hands a change of the configuration to the protocol. Each change
// ends the session of the one before: nobody awaits a response.
func (n *node) reconfigure(change json.RawMessage) error {
	protocol := n.cluster.Protocol
	if protocol.Reconfigure == nil {
		return fmt.Errorf("%s can't be reconfigured", protocol.Name)
	}
	if !n.cluster.serves(n.self) {
		return fmt.Errorf("%s serves no clients: changes of the configuration are for those that do", n.self.Name)
	}
	operation, err := protocol.Reconfigure(n.cluster.Config(n.self.ID), change)
	if err != nil {
		return fmt.Errorf("reconfiguring: %w", err)
	}
	now := uint64(clock.Now())
	n.driver.Deliver([]consensus.Input{{
		Kind: consensus.InputCommand, From: n.self.ID,
		Command: consensus.Command{
			Kind: consensus.KindReconfigure, Client: consensus.NewClientID(n.self.ID, administrator),
			Sequence: now, FirstUnanswered: now, Operation: operation,
		},
	}})
	return nil
}

// sockets names the peers of the transport's connections.
func (n *node) sockets() *control.Sockets {
	var sockets control.Sockets
	sockets.CongestionControl, sockets.SlowStartAfterIdle = driver.TCPSettings()
	for _, s := range n.transport.Sockets() {
		for _, member := range n.cluster.Nodes {
			if member.ID == s.Peer {
				s.Socket.Peer = member.Name
			}
		}
		sockets.Connections = append(sockets.Connections, s.Socket)
	}
	return &sockets
}

func (n *node) status() *control.Status {
	counts := n.transport.Counts()
	status := &control.Status{
		Connected: counts.Connected, Peers: counts.Peers, DroppedMessages: counts.DroppedMessages,
		BadFrames: counts.BadFrames, DroppedLines: n.channel.Dropped(),
	}
	if n.driver != nil {
		status.Status, status.StateHash = n.driver.Status()
	}
	if n.client != nil {
		if status.Counters == nil {
			status.Counters = map[string]uint64{}
		}
		maps.Copy(status.Counters, n.client.Status().Counters)
	}
	n.countStorage(status)
	status.ClockNS = int64(clock.Now())
	return status
}

// countStorage adds the storage's counters, unless nothing is kept.
func (n *node) countStorage(status *control.Status) {
	if n.storage == nil || !n.storage.Keeps() {
		return
	}
	if status.Counters == nil {
		status.Counters = map[string]uint64{}
	}
	counts := n.storage.Counts()
	status.Counters["storage.records"] = counts.Records
	status.Counters["storage.writes"] = counts.Writes
	status.Counters["storage.syncs"] = counts.Syncs
	status.Counters["storage.checkpoints"] = counts.Checkpoints
}

// hello is the first line that a node writes.
func hello(channel *control.Channel, name string, roles []string) {
	channel.Send(control.Line{Type: control.TypeHello, Hello: &control.Hello{
		Version: control.Version, Name: name, Roles: roles, PID: os.Getpid(), ClockNS: int64(clock.Now()),
	}})
}

// RoleEcho is the role that an echo process gives in its hello.
const RoleEcho = "echo"

// EchoOptions say which echo process to be.
type EchoOptions struct {
	// Listen is the UDP and TCP address to answer at, Name the host's name.
	Listen, Name string
	// Dir is an existing folder for the rows of one-way streams and of round trips; empty
	// refuses those.
	Dir string
}

// echoProcess answers the commands that an echo process takes.
type echoProcess struct {
	name, dir string
	streams   *echo.Streams
}

// RunEcho answers the probes of other hosts; it makes probes, and sends and receives
// one-way streams, on command. It returns as Run does.
func RunEcho(options EchoOptions, streams Streams) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	e := &echoProcess{name: options.Name, dir: options.Dir, streams: echo.NewStreams(options.Dir)}
	defer e.streams.Close()
	channel := control.NewChannel(streams.Input, streams.Output)
	failed := make(chan error, 2)
	go func() {
		failed <- ServeEcho(ctx, options.Listen, func(string) {
			hello(channel, e.name, []string{RoleEcho})
			go func() {
				failed <- channel.Serve(func(c control.Command) control.Line { return e.handle(ctx, c) })
			}()
		})
	}()
	err := <-failed
	channel.Close()
	return err
}

func (e *echoProcess) handle(ctx context.Context, command control.Command) control.Line {
	line, err := e.carryOut(ctx, command)
	if err != nil {
		return control.Line{Error: err.Error()}
	}
	return line
}

func (e *echoProcess) carryOut(ctx context.Context, command control.Command) (control.Line, error) {
	switch command.Command {
	case control.CommandStatus:
		return control.Line{Status: &control.Status{ClockNS: int64(clock.Now())}}, nil
	case control.CommandProbe:
		probed, err := echo.Probe(ctx, *command.Probe)
		return control.Line{Probe: &probed}, err
	case control.CommandReceive:
		receiving, err := e.streams.Receive(*command.Receive)
		return control.Line{Receiving: &receiving}, err
	case control.CommandSend:
		sent, err := e.streams.Send(ctx, *command.Send)
		return control.Line{Sent: &sent}, err
	case control.CommandFinish:
		received, err := e.streams.Finish(ctx, *command.Finish)
		return control.Line{Received: &received}, err
	case control.CommandMeasure:
		measured, err := e.measure(ctx, *command.Measure)
		return control.Line{Measured: &measured}, err
	}
	return control.Line{}, fmt.Errorf("%s can't %s", e.name, command.Command)
}
