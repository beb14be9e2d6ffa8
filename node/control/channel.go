package control

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// maxLineBytes bounds a command.
	maxLineBytes = 1 << 20
	// maxWaitingLines is how many lines wait for the controller to read them.
	maxWaitingLines = 256
	// closeTimeout is how long Close waits for the controller to read on.
	closeTimeout = 100 * time.Millisecond
)

// Channel is a node's end of the control channel.
type Channel struct {
	input   io.Reader
	lines   chan waiting
	written chan struct{}
	dropped atomic.Uint64
}

// waiting is a line that is to be written; one without data is the end.
type waiting struct {
	data []byte
	// written is closed once it is; nil if nobody awaits that.
	written chan struct{}
}

// Handler carries out a command and returns the answer, whose Type and ID the
// channel fills in. It is called in a goroutine of the command's own; those of one of
// CommandInject and CommandSubscribe follow one another, as they came.
type Handler func(command Command) Line

// NewChannel speaks on a node's standard input and output.
func NewChannel(input io.Reader, output io.Writer) *Channel {
	c := &Channel{input: input, lines: make(chan waiting, maxWaitingLines), written: make(chan struct{})}
	go c.write(output)
	return c
}

// Send writes a line, or drops it, and counts it, if too many wait already. It
// never waits.
func (c *Channel) Send(line Line) {
	select {
	case c.lines <- waiting{data: encode(line)}:
	default:
		c.dropped.Add(1)
	}
}

func encode(line Line) []byte {
	data, err := json.Marshal(line)
	if err != nil {
		panic("control: a line that is no JSON: " + err.Error())
	}
	return append(data, '\n')
}

// SendSoon sends a line and returns once it was written, but after the given time at the
// latest: true if it was written.
func (c *Channel) SendSoon(line Line, within time.Duration) bool {
	limit := time.After(within)
	done := make(chan struct{})
	select {
	case c.lines <- waiting{encode(line), done}:
	case <-limit:
		c.dropped.Add(1)
		return false
	}
	select {
	case <-done:
		return true
	case <-limit:
		return false
	}
}

// Dropped counts the lines that were dropped.
func (c *Channel) Dropped() uint64 { return c.dropped.Load() }

// Serve hands commands to the handler until the controller says stop or closes
// its end, which is no error. Lines that are no commands are answered with an
// error.
func (c *Channel) Serve(handle Handler) error {
	var order turns
	scanner := bufio.NewScanner(c.input)
	scanner.Buffer(make([]byte, 4096), maxLineBytes)
	for scanner.Scan() {
		if len(bytes.TrimSpace(scanner.Bytes())) == 0 {
			continue
		}
		command, err := ParseCommand(scanner.Bytes())
		switch {
		case err != nil:
			c.Send(Line{Type: TypeAnswer, ID: command.ID, Error: err.Error()})
		case command.Command == CommandStop:
			c.Send(Line{Type: TypeAnswer, ID: command.ID})
			return nil
		default:
			go c.carryOut(handle, command, order.next(command))
		}
	}
	if err := scanner.Err(); err != nil {
		return fmt.Errorf("reading the control channel: %w", err)
	}
	return nil
}

// carryOut handles a command in its turn, and answers it.
func (c *Channel) carryOut(handle Handler, command Command, turn turn) {
	<-turn.before
	answer := handle(command)
	close(turn.done)
	answer.Type, answer.ID = TypeAnswer, command.ID
	// The answer waits for room: a controller that asked reads on.
	select {
	case c.lines <- waiting{data: encode(answer)}:
	case <-c.written:
	}
}

// turns put commands that take the place of each other in the order in which they came.
type turns struct {
	last map[string]chan struct{}
}

// turn begins once before is closed, and closes done.
type turn struct{ before, done chan struct{} }

func (t *turns) next(command Command) turn {
	free := make(chan struct{})
	close(free)
	mine := turn{free, make(chan struct{})}
	if command.Command != CommandInject && command.Command != CommandSubscribe {
		return mine
	}
	if t.last == nil {
		t.last = map[string]chan struct{}{}
	}
	if last, ok := t.last[command.Command]; ok {
		mine.before = last
	}
	t.last[command.Command] = mine.done
	return mine
}

// Close waits a moment for what was sent to be written. What is sent afterwards
// is lost.
func (c *Channel) Close() {
	limit := time.After(closeTimeout)
	select {
	case c.lines <- waiting{}: // the end
	case <-limit:
		return
	}
	select {
	case <-c.written:
	case <-limit:
	}
}

// write writes lines until Close. A controller that no longer reads ends the
// node through its standard input, so errors of writing mean nothing here.
func (c *Channel) write(output io.Writer) {
	defer close(c.written)
	for line := range c.lines {
		if line.data == nil {
			return
		}
		if _, err := output.Write(line.data); err != nil {
			c.dropped.Add(1)
		}
		if line.written != nil {
			close(line.written)
		}
	}
}

// commands are all that a node may be told.
var commands = []string{
	CommandStatus, CommandLoad, CommandProbe, CommandReceive, CommandSend, CommandFinish, CommandMeasure, CommandReconfigure, CommandSockets,
	CommandInject, CommandSubscribe, CommandStanding, CommandStop,
}

// hasStream tells whether the field of a command about a stream is there.
func (c Command) hasStream() bool {
	switch c.Command {
	case CommandReceive:
		return c.Receive != nil
	case CommandSend:
		return c.Send != nil
	}
	return c.Finish != nil
}

// checkFaults checks the field of a command about faults.
func (c Command) checkFaults() error {
	err := CheckSubscriptions(c.Subscriptions)
	if c.Command == CommandInject {
		if c.Injection == nil {
			return fmt.Errorf("%w: inject without the field injection", errNoCommand)
		}
		err = c.Injection.Check()
	}
	if err != nil {
		return fmt.Errorf("%w: %s: %w", errNoCommand, c.Command, err)
	}
	return nil
}

var errNoCommand = errors.New("a line that is no command")

// ParseCommand reads a line of the controller. What it could read comes back
// with the error too, for the answer's sake.
func ParseCommand(line []byte) (Command, error) {
	var command Command
	if err := json.Unmarshal(line, &command); err != nil {
		return command, fmt.Errorf("%w: %w", errNoCommand, err)
	}
	switch command.Command {
	case CommandStatus, CommandSockets, CommandStanding, CommandStop:
	case CommandLoad:
		if command.Load == nil {
			return command, fmt.Errorf("%w: load without the field load", errNoCommand)
		}
	case CommandProbe:
		if command.Probe == nil {
			return command, fmt.Errorf("%w: probe without the field probe", errNoCommand)
		}
	case CommandReceive, CommandSend, CommandFinish:
		if !command.hasStream() {
			return command, fmt.Errorf("%w: %s without the field %[2]s", errNoCommand, command.Command)
		}
	case CommandMeasure:
		if command.Measure == nil {
			return command, fmt.Errorf("%w: measure without the field measure", errNoCommand)
		}
	case CommandReconfigure:
		if len(command.Reconfigure) == 0 || string(command.Reconfigure) == "null" {
			return command, fmt.Errorf("%w: reconfigure without the field reconfigure", errNoCommand)
		}
	case CommandInject, CommandSubscribe:
		return command, command.checkFaults()
	default:
		return command, fmt.Errorf("%w: command is %q, want one of %s", errNoCommand, command.Command, strings.Join(commands, ", "))
	}
	return command, nil
}
