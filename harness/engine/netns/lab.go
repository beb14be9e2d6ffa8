//go:build linux

package netns

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"quorumlab/harness/engine"
	"quorumlab/harness/passing"
	"quorumlab/topologies"
)

// lab implements engine.Lab.
type lab struct {
	init       *initProcess
	topology   *topologies.Topology
	nodeBinary string
	executor   string
	reason     string
	// segments is true if hosts send single segments.
	segments bool
	// emulator is nil if the kernel executes the links.
	emulator *emulator

	mutex       sync.Mutex
	lastProcess uint64
	// processes are those that haven't ended.
	processes map[uint64]ending
	// outputs are our ends of the processes' standard output, as long as they are open.
	outputs map[*os.File]bool
}

// ending is told of its end.
type ending interface{ end(engine.Exit) }

// newLab starts the init of a lab that has no network yet.
func newLab(ctx context.Context, blueprint engine.Blueprint) (*lab, hello, error) {
	l := &lab{
		topology: blueprint.Topology, nodeBinary: blueprint.NodeBinary, processes: map[uint64]ending{}, outputs: map[*os.File]bool{},
	}
	init, greeting, err := startInit(ctx, blueprint.Log, l.processExited)
	if err != nil {
		return nil, greeting, err
	}
	l.init = init
	go func() {
		<-init.gone
		l.endProcesses()
	}()
	return l, greeting, nil
}

func (l *lab) Links() (executor, reason string) { return l.executor, l.reason }

func (l *lab) Start(ctx context.Context, host string, command engine.Command) (engine.Process, error) {
	if err := l.checkStart(host); err != nil {
		return nil, fmt.Errorf("starting %s on %s: %w", command.Name, host, err)
	}
	p, err := l.start(ctx, command.Name, startRequest{
		Host: host, Path: passing.Text(l.nodeBinary), Arguments: passing.Texts(append([]string{l.nodeBinary}, command.Arguments...)),
	}, command.Log)
	if err != nil {
		return nil, fmt.Errorf("starting %s on %s: %w", command.Name, host, err)
	}
	return p, nil
}

// checkStart tells why nothing can be started on a host.
func (l *lab) checkStart(host string) error {
	if err := l.checkHost(host); err != nil {
		return err
	}
	if l.emulator != nil {
		return l.emulator.ended()
	}
	return nil
}

// start runs a process in the lab; without a log, its standard error goes to
// the lab's own. With one, it has more files after the three.
func (l *lab) start(ctx context.Context, name string, q startRequest, log *os.File, more ...*os.File) (*process, error) {
	p, files, err := newProcess(l, name)
	if err != nil {
		return nil, err
	}
	defer files.close()
	theirs := []*os.File{files.stdin, files.stdout}
	if log != nil {
		theirs = append(append(theirs, log), more...)
	}
	l.mutex.Lock()
	l.outputs[p.stdout] = true
	l.mutex.Unlock()
	if err := l.launch(ctx, p, p.running, q, theirs...); err != nil {
		p.closePipes()
		return nil, err
	}
	return p, nil
}

// launch has the init start what then runs in the lab, and tells told of its end.
func (l *lab) launch(ctx context.Context, told ending, r *running, q startRequest, files ...*os.File) error {
	// It must be known before it can end.
	l.mutex.Lock()
	l.lastProcess++
	r.id = l.lastProcess
	l.processes[r.id] = told
	l.mutex.Unlock()
	q.Process = r.id
	_, err := l.init.call(ctx, request{Start: &q}, files...)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		// The init may be about to start it; it takes requests in their order.
		go func() { _ = r.Signal(os.Kill) }()
	}
	l.mutex.Lock()
	delete(l.processes, r.id)
	l.mutex.Unlock()
	return err
}

// processExited is called from the goroutine that hears the init.
func (l *lab) processExited(e exited) {
	l.mutex.Lock()
	p := l.processes[e.Process]
	delete(l.processes, e.Process)
	l.mutex.Unlock()
	if p != nil {
		p.end(e.Exit)
	}
}

// closeOutput closes our end of a process's standard output.
func (l *lab) closeOutput(output *os.File) {
	l.mutex.Lock()
	delete(l.outputs, output)
	l.mutex.Unlock()
	output.Close()
}

// endProcesses tells the processes that died with the init.
func (l *lab) endProcesses() {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	for id, p := range l.processes {
		delete(l.processes, id)
		p.end(engine.Exit{Code: -1, Signal: "SIGKILL"})
	}
}

func (l *lab) Report(ctx context.Context) (engine.LinkReport, error) {
	if l.emulator != nil {
		return l.emulator.report(ctx)
	}
	answer, err := l.init.call(ctx, request{Report: &reportRequest{}})
	if err != nil {
		return engine.LinkReport{}, fmt.Errorf("reading the links' counters: %w", err)
	}
	return *answer.Report, nil
}

// ErrNoHost is met by calls that name a host that the lab doesn't have.
var ErrNoHost = errors.New("the lab has no such host")

func (l *lab) checkHost(name string) error {
	for _, host := range l.topology.Hosts {
		if host.Name == name {
			return nil
		}
	}
	return fmt.Errorf("%w: %q", ErrNoHost, name)
}

// ClockOffset is nothing, exactly: all hosts share the caller's kernel.
func (l *lab) ClockOffset(_ context.Context, host string) (offset, uncertainty time.Duration, err error) {
	return 0, 0, l.checkHost(host)
}

func (l *lab) Close() error {
	l.init.close()
	l.endProcesses()
	l.mutex.Lock()
	defer l.mutex.Unlock()
	for output := range l.outputs {
		output.Close()
	}
	clear(l.outputs)
	return nil
}
