// Package node is one process of a system under test: it reads the cluster
// file, runs the machine of its roles and the client, if it is one, over TCP,
// and obeys its control channel. docs/node-protocol.md describes it from
// outside.
//
// It promises to end at once when its standard input does, and to leave rows
// and events on disk then.
package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"os"
	"path/filepath"
	"time"

	"quorumlab/node/client"
	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/node/driver"
	"quorumlab/node/driver/clock"
	"quorumlab/node/driver/logfile"
	"quorumlab/node/echo"
	"quorumlab/node/kv"
)

// Files in a node's folder.
const (
	EventsFile   = "events.jsonl"
	RequestsFile = "requests.csv"
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
	channel   *control.Channel
	transport *driver.Transport
	events    *logfile.File
	// failed takes the error that ends the node.
	failed chan error

	// driver is nil for a mere client, client and requests for all others.
	driver   *driver.Driver
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
	n := &node{self: self, failed: make(chan error, 1)}
	if err := n.open(cluster, options.Dir, streams); err != nil {
		return errors.Join(err, n.close())
	}
	hello(n.channel, self.Name, self.Roles)
	go func() { n.fail(n.channel.Serve(n.handle)) }()
	err = <-n.failed
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
func (n *node) open(cluster *Cluster, dir string, streams Streams) error {
	var machine consensus.Machine
	var err error
	if participates(n.self) {
		if machine, err = cluster.Protocol.New(cluster.Config(n.self.ID)); err != nil {
			return fmt.Errorf("starting %s: %w", n.self.Name, err)
		}
	}
	if n.events, err = logfile.Create(filepath.Join(dir, EventsFile), n.fail); err != nil {
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
	n.channel = control.NewChannel(streams.Input, streams.Output)
	events := driver.NewEventLog(n.events, n.self.Name)
	config := driver.TransportConfig{
		Self: n.self.ID, Protocol: cluster.Protocol.Name, Codec: cluster.Protocol.Codec,
		Listener: listener, Peers: cluster.Peers(n.self), Events: events,
		Log: log.New(streams.Log, n.self.Name+": ", log.LstdFlags|log.Lmicroseconds|log.Lmsgprefix),
	}
	for _, other := range cluster.Nodes {
		config.Members = append(config.Members, other.ID)
	}
	n.transport = driver.NewTransport(config)
	n.start(cluster, machine, events)
	return nil
}

// start makes the machine and the client run.
func (n *node) start(cluster *Cluster, machine consensus.Machine, events *driver.EventLog) {
	var toMachine, toClient driver.Handler
	if machine != nil {
		n.driver = driver.New(driver.Config{
			Machine: machine, Application: consensus.NewApplication(kv.New()),
			Transport: n.transport, Events: events,
		})
		toMachine = n.driver
	}
	if n.requests != nil {
		n.client = client.NewRunner(client.RunnerConfig{
			Config: client.Config{
				Self: n.self.ID, Name: n.self.Name, First: cluster.IsFirstClient(n.self), Targets: cluster.Serving(),
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
	if n.client != nil {
		n.client.Close()
	}
	if n.driver != nil {
		n.driver.Close()
	}
	if n.transport != nil {
		n.transport.Close()
	}
	var err error
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
	switch command.Command {
	case control.CommandStatus:
		return control.Line{Status: n.status()}
	case control.CommandLoad:
		if n.client == nil {
			return control.Line{Error: n.self.Name + " isn't a client"}
		}
		if err := n.client.Load(*command.Load); err != nil {
			return control.Line{Error: err.Error()}
		}
		return control.Line{}
	}
	return control.Line{Error: fmt.Sprintf("%s can't %s", n.self.Name, command.Command)}
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
	status.ClockNS = int64(clock.Now())
	return status
}

// hello is the first line that a node writes.
func hello(channel *control.Channel, name string, roles []string) {
	channel.Send(control.Line{Type: control.TypeHello, Hello: &control.Hello{
		Version: control.Version, Name: name, Roles: roles, PID: os.Getpid(), ClockNS: int64(clock.Now()),
	}})
}

// RoleEcho is the role that an echo process gives in its hello.
const RoleEcho = "echo"

// RunEcho answers the probes of other hosts and makes probes on command. It
// returns as Run does.
func RunEcho(listen, name string, streams Streams) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	channel := control.NewChannel(streams.Input, streams.Output)
	failed := make(chan error, 2)
	go func() {
		failed <- echo.Serve(ctx, listen, func() {
			hello(channel, name, []string{RoleEcho})
			go func() {
				failed <- channel.Serve(func(c control.Command) control.Line { return echoHandle(ctx, name, c) })
			}()
		})
	}()
	err := <-failed
	channel.Close()
	return err
}

func echoHandle(ctx context.Context, name string, command control.Command) control.Line {
	switch command.Command {
	case control.CommandStatus:
		return control.Line{Status: &control.Status{ClockNS: int64(clock.Now())}}
	case control.CommandProbe:
		probed, err := echo.Probe(ctx, *command.Probe)
		if err != nil {
			return control.Line{Error: err.Error()}
		}
		return control.Line{Probe: &probed}
	}
	return control.Line{Error: fmt.Sprintf("%s can't %s", name, command.Command)}
}
