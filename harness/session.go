package harness

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"quorumlab/harness/engine"
	"quorumlab/node/control"
)

// errEnded is returned by calls to a process that has ended.
var errEnded = errors.New("the process has ended")

// session is the controller's end of one process's control channel.
type session struct {
	process engine.Process
	hello   chan control.Hello
	events  chan control.Line
	// finished is closed when everything that the process wrote has been read.
	finished chan struct{}
	// missed counts the events that nobody took.
	missed atomic.Uint64

	mu      sync.Mutex
	next    uint64
	pending map[uint64]chan control.Line
}

// newSession starts to read what the process writes. Its goroutine ends with
// the process.
func newSession(process engine.Process) *session {
	s := &session{
		process: process, hello: make(chan control.Hello, 1),
		events: make(chan control.Line, 1024), finished: make(chan struct{}), pending: map[uint64]chan control.Line{},
	}
	go s.read()
	return s
}

func (s *session) read() {
	defer close(s.finished)
	defer close(s.events)
	scanner := bufio.NewScanner(s.process.Stdout())
	scanner.Buffer(make([]byte, 64<<10), 16<<20)
	for scanner.Scan() {
		var line control.Line
		if json.Unmarshal(scanner.Bytes(), &line) != nil {
			continue // a foreign program may print what it likes
		}
		switch {
		case line.Type == control.TypeHello && line.Hello != nil:
			select {
			case s.hello <- *line.Hello:
			default:
			}
		case line.Type == control.TypeAnswer:
			s.answer(line)
		case line.Type == control.TypeEvent:
			select {
			case s.events <- line:
			default: // nobody listens any more
				s.missed.Add(1)
			}
		}
	}
}

func (s *session) answer(line control.Line) {
	s.mu.Lock()
	waiting := s.pending[line.ID]
	delete(s.pending, line.ID)
	s.mu.Unlock()
	if waiting != nil {
		waiting <- line
	}
}

// greet awaits the process's first line: it listens.
func (s *session) greet(ctx context.Context) (control.Hello, error) {
	select {
	case hello := <-s.hello:
		if hello.Version != control.Version {
			return hello, fmt.Errorf("%s speaks version %d of the control channel, want %d", s.process.Name(), hello.Version, control.Version)
		}
		return hello, nil
	case <-s.finished:
		return control.Hello{}, fmt.Errorf("%s did not start: %s", s.process.Name(), s.howEnded())
	case <-ctx.Done():
		return control.Hello{}, fmt.Errorf("%s did not report that it listens: %w", s.process.Name(), context.Cause(ctx))
	}
}

// call sends a command and awaits its answer.
func (s *session) call(ctx context.Context, command control.Command) (control.Line, error) {
	answer := make(chan control.Line, 1)
	s.mu.Lock()
	s.next++
	command.ID = s.next
	s.pending[command.ID] = answer
	data, err := json.Marshal(command)
	if err == nil {
		_, err = s.process.Stdin().Write(append(data, '\n'))
	}
	s.mu.Unlock()
	if err != nil {
		s.mu.Lock()
		delete(s.pending, command.ID)
		s.mu.Unlock()
		// Its standard input is gone, and so is the process, or will be.
		return control.Line{}, fmt.Errorf("%s: sending the command %s: %w: %w", s.process.Name(), command.Command, errEnded, err)
	}
	select {
	case line := <-answer:
		return s.checked(command, line)
	case <-s.finished:
		select {
		case line := <-answer: // its last words
			return s.checked(command, line)
		default:
			return control.Line{}, fmt.Errorf("%s: %s: %w", s.process.Name(), command.Command, errEnded)
		}
	case <-ctx.Done():
		return control.Line{}, fmt.Errorf("%s: awaiting the answer to %s: %w", s.process.Name(), command.Command, context.Cause(ctx))
	}
}

// checked turns an answer that says what failed into an error.
func (s *session) checked(command control.Command, line control.Line) (control.Line, error) {
	if line.Error != "" {
		return line, fmt.Errorf("%s: %s: %s", s.process.Name(), command.Command, line.Error)
	}
	return line, nil
}

// exitTimeout is how long a process may take to end once it has closed its
// control channel.
const exitTimeout = 2 * time.Second

// howEnded says how a process ended that has closed its control channel.
func (s *session) howEnded() string {
	select {
	case <-s.process.Done():
		return describeExit(s.process.Exit())
	case <-time.After(exitTimeout):
		return "it closed its control channel and lives on"
	}
}

// status asks where the process stands.
func (s *session) status(ctx context.Context) (control.Status, error) {
	line, err := s.call(ctx, control.Command{Command: control.CommandStatus})
	if err != nil {
		return control.Status{}, err
	}
	if line.Status == nil {
		return control.Status{}, fmt.Errorf("%s: answered status without one", s.process.Name())
	}
	return *line.Status, nil
}

// standing asks where the process stands, which it answers quickly.
func (s *session) standing(ctx context.Context) (control.Standing, error) {
	line, err := s.call(ctx, control.Command{Command: control.CommandStanding})
	if err != nil {
		return control.Standing{}, err
	}
	if line.Standing == nil {
		return control.Standing{}, fmt.Errorf("%s: answered standing without one", s.process.Name())
	}
	return *line.Standing, nil
}

func describeExit(exit engine.Exit) string {
	if exit.Signal != "" {
		return "it was ended by " + exit.Signal
	}
	return fmt.Sprintf("it ended with status %d", exit.Code)
}
