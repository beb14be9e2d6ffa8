//go:build linux

package link

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"

	"quorumlab/topologies"
)

// settleRounds bounds how many batches of frames are carried before a change.
const settleRounds = 64

// errLoopEnded is met by commands that come as the loop fails, which says why.
var errLoopEnded = errors.New("link emulator: it has ended")

// commander does what standard input asks of an emulator, on a goroutine of its own.
type commander struct {
	emulator *emulator
	// topology is the one in force.
	topology *topologies.Topology
	// dropped is what the interfaces had dropped before.
	dropped uint64
	// captures are the latest of each link that had one.
	captures map[int]*capture
	// stages are the emulator's, in their order; stageOf finds one by its pair.
	stages  []pairStage
	stageOf map[int]int
	// missed counts, by direction, what captures that have ended lack.
	missed []uint64
}

func newCommander(e *emulator) (*commander, error) {
	dropped, err := e.droppedByInterfaces()
	if err != nil {
		return nil, err
	}
	topology := *e.fabric.topology
	topology.Links = slices.Clone(topology.Links)
	return &commander{
		emulator: e, topology: &topology, dropped: dropped,
		captures: map[int]*capture{}, stageOf: map[int]int{}, missed: make([]uint64, len(e.models)),
	}, nil
}

// execute does what one line asks and returns the answer.
func (c *commander) execute(line []byte) (answer any, err error) {
	command, err := parseCommand(line)
	if err != nil {
		return nil, err
	}
	switch command.Command {
	case CommandReport:
		return c.report()
	case CommandSetPairs:
		err := c.setPairs(command.Pairs)
		return EmulatorAnswer{Done: err == nil}, err
	}
	link := slices.IndexFunc(c.topology.Links, func(l topologies.Link) bool { return l.Name == command.Link })
	if link < 0 {
		return nil, fmt.Errorf("link emulator: there is no link %q", command.Link)
	}
	switch command.Command {
	case CommandSet:
		err = c.set(link, *command.AToB, *command.BToA)
	case CommandCapture:
		err = c.capture(link, command.Path)
	case CommandEndCapture:
		err = c.endCapture(link)
	}
	return EmulatorAnswer{Done: err == nil}, err
}

// parseCommand checks all of a command line but the link's name.
func parseCommand(line []byte) (EmulatorCommand, error) {
	var command EmulatorCommand
	if err := json.Unmarshal(line, &command); err != nil {
		return command, fmt.Errorf("link emulator: a command is not JSON: %w", err)
	}
	switch command.Command {
	case CommandReport, CommandEndCapture:
	case CommandSet:
		if command.AToB == nil || command.BToA == nil {
			return command, fmt.Errorf("link emulator: %q of link %q without both a_to_b and b_to_a", CommandSet, command.Link)
		}
		if err := command.AToB.Check(); err != nil {
			return command, fmt.Errorf("link emulator: link %q from a to b: %w", command.Link, err)
		}
		if err := command.BToA.Check(); err != nil {
			return command, fmt.Errorf("link emulator: link %q from b to a: %w", command.Link, err)
		}
	case CommandSetPairs:
		for _, p := range command.Pairs {
			if p.From == p.To {
				return command, fmt.Errorf("link emulator: %q from host %q to itself", CommandSetPairs, p.From)
			}
			if p.Parameters == nil {
				continue
			}
			if err := p.Parameters.Check(); err != nil {
				return command, fmt.Errorf("link emulator: host %q to host %q: %w", p.From, p.To, err)
			}
		}
	case CommandCapture:
		if command.Path == "" {
			return command, fmt.Errorf("link emulator: %q of link %q without a path", CommandCapture, command.Link)
		}
	default:
		return command, fmt.Errorf("link emulator: the command is %q, want %q, %q, %q, %q or %q",
			command.Command, CommandReport, CommandSet, CommandSetPairs, CommandCapture, CommandEndCapture)
	}
	return command, nil
}

// do has the loop do something, and waits until it is done.
func (c *commander) do(what func() error) error {
	done := make(chan struct{})
	c.emulator.request(func() error {
		defer close(done)
		return what()
	})
	select {
	case <-done:
		return nil
	case <-c.emulator.gone:
		return errLoopEnded
	}
}

// report reads the counters.
func (c *commander) report() (EmulatorReport, error) {
	e := c.emulator
	var counted counters
	err := c.do(func() error {
		e.counters.receiveDrops += e.socket.overflows()
		counted = e.counters.clone()
		return nil
	})
	if err != nil {
		return EmulatorReport{}, err
	}
	dropped, err := e.droppedByInterfaces()
	if err != nil {
		return EmulatorReport{}, err
	}
	// A kernel may tell of a frame that an interface dropped by the send's error,
	// by the interface's counter, or by both.
	counted.sendFailures += max(counted.interfaceDrops, dropped-min(dropped, c.dropped))
	report := counted.report(c.topology)
	report.Pairs = c.pairReports(counted.directions[len(report.Directions):])
	for i := range report.Directions {
		report.Directions[i].CaptureMissed = c.missed[i]
		if capture := c.captures[i/2]; capture != nil {
			report.Directions[i].CaptureMissed += capture.missed[i%2].Load()
		}
	}
	return report, nil
}

// set changes a link.
func (c *commander) set(link int, aToB, bToA topologies.Parameters) error {
	changed := *c.topology
	changed.Links = slices.Clone(changed.Links)
	l := &changed.Links[link]
	var paths [][]uint32
	rerouted := l.AToB.Down != aToB.Down || l.BToA.Down != bToA.Down
	// The loop need not compare long traces.
	if sameTrace(l.AToB.Trace, aToB.Trace) {
		aToB.Trace = l.AToB.Trace
	}
	if sameTrace(l.BToA.Trace, bToA.Trace) {
		bToA.Trace = l.BToA.Trace
	}
	l.AToB, l.BToA = aToB, bToA
	if rerouted {
		var err error
		if paths, err = findPaths(&changed); err != nil {
			return err
		}
	}
	c.topology = &changed
	return c.do(func() error { return c.emulator.change(link, aToB, bToA, paths) })
}

// change is set on the loop; paths are nil if they stay.
func (e *emulator) change(link int, aToB, bToA topologies.Parameters, paths [][]uint32) error {
	if err := e.settle(); err != nil {
		return err
	}
	e.changeAt(e.clock.nowNS(), link, aToB, bToA, paths)
	return nil
}

// changeAt changes a link for the frames that come to it from nowNS on.
func (e *emulator) changeAt(nowNS int64, link int, aToB, bToA topologies.Parameters, paths [][]uint32) {
	e.unfold(nowNS)
	for i, p := range []topologies.Parameters{aToB, bToA} {
		direction := uint32(2*link + i)
		e.models[direction].update(nowNS, e.arrivedNS(direction), p)
	}
	for _, model := range e.models {
		model.forget(nowNS)
	}
	for i := range e.ports {
		// What is stamped before the change has been read, or comes after it.
		e.ports[i].arrivedNS = max(e.ports[i].arrivedNS, nowNS)
	}
	if paths != nil {
		e.reroute(paths)
	}
	e.refold()
}

// settle carries the frames that have come, and those that are due: what holds now
// holds for them.
func (e *emulator) settle() error {
	for range settleRounds {
		n, err := e.receive()
		if err != nil {
			return err
		}
		e.forwardDue()
		if n < batch && (e.events.len() == 0 || e.events.nextNS() > e.clock.nowNS()) {
			return nil
		}
	}
	return nil
}

// capture begins a link's capture.
func (c *commander) capture(link int, path string) error {
	name := c.topology.Links[link].Name
	if former := c.captures[link]; former != nil {
		if former.state.Load() == captureWrites {
			return fmt.Errorf("link emulator: link %q is being captured already", name)
		}
		// Its file takes no more: it has ended by itself.
		_ = c.endCapture(link)
	}
	e := c.emulator
	begun, err := openCapture(c.topology.Links[link], path, e.clock.realtimeOffsetNS())
	if err != nil {
		return fmt.Errorf("link emulator: capturing link %q: %w", name, err)
	}
	c.captures[link] = begun
	return c.do(func() error {
		if err := e.settle(); err != nil {
			return err
		}
		e.unfold(e.clock.nowNS())
		e.taps[2*link], e.taps[2*link+1] = begun, begun
		e.refold()
		return nil
	})
}

// endCapture ends a link's capture, if it has one.
func (c *commander) endCapture(link int) error {
	ending := c.captures[link]
	if ending == nil {
		return nil
	}
	e := c.emulator
	// If the loop has ended it puts nothing more either.
	_ = c.do(func() error {
		e.unfold(e.clock.nowNS())
		e.taps[2*link], e.taps[2*link+1] = nil, nil
		for _, planned := range e.events.events {
			if planned.frame.capture == ending {
				planned.frame.capture = nil
			}
		}
		e.refold()
		return nil
	})
	err := ending.end()
	delete(c.captures, link)
	for i := range ending.missed {
		c.missed[2*link+i] += ending.missed[i].Load()
	}
	if err != nil {
		return fmt.Errorf("link emulator: capture of link %q: %w", c.topology.Links[link].Name, err)
	}
	return nil
}

// endCaptures ends all captures.
func (c *commander) endCaptures() error {
	var errs []error
	for link := range c.topology.Links {
		errs = append(errs, c.endCapture(link))
	}
	return errors.Join(errs...)
}

// droppedByInterfaces sums the frames that the ports' interfaces took and then
// dropped, because the host's end was down or its backlog full.
func (e *emulator) droppedByInterfaces() (uint64, error) {
	devices, err := netlink.LinkList()
	if err != nil {
		return 0, fmt.Errorf("link emulator: reading the interfaces' counters: %w", err)
	}
	var dropped uint64
	for _, device := range devices {
		attributes := device.Attrs()
		if _, ours := e.byInterface[int32(attributes.Index)]; ours && attributes.Statistics != nil {
			dropped += attributes.Statistics.TxDropped
		}
	}
	return dropped, nil
}
