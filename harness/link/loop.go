//go:build linux

package link

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const (
	defaultBufferBytes = 512 << 20
	// overheadBytes is what the process may use besides BufferBytes before the
	// garbage collector, else off, wakes up.
	overheadBytes = 256 << 20
	// maxQueueingNS bounds how long ago a frame's receive stamp may be: more
	// tells of a stepped clock, not of a long wait.
	maxQueueingNS = 100_000_000
	// maxLeadNS bounds how long before a deadline the thread gets up. It spins
	// only for as long as the kernel wakes it sooner than it usually does.
	maxLeadNS = 100_000
	// dueAtOnce bounds the events handled between two looks at the socket.
	dueAtOnce = 4 * batch
)

// emulator is the forwarding loop. Everything belongs to its one thread but
// requests, wake and asked.
type emulator struct {
	*fabric
	clock    clock
	pool     framePool
	socket   *socket
	events   eventHeap
	counters counters
	// emptyNS is when the socket was last known to be empty.
	emptyNS int64
	// leadNS is how long before a deadline to get up. It stays 0 if there is no
	// processor to spare.
	leadNS int64
	spare  bool
	// queued counts the frames in the socket's send slots.
	queued int
	// taps are the captures of the directions' links, nil where there is none.
	taps []*capture
	// stages are those of pairs that there ever were; ending counts those that end.
	stages []stage
	ending int
	// places says which bits of frames are flipped.
	places *rand.Rand

	// requests are done by the loop once asked is set and wake, an eventfd, is
	// written. A nil request ends the loop.
	requests chan func() error
	// gone is closed once the loop has ended.
	gone  chan struct{}
	asked atomic.Bool
	wake  int
}

func newEmulator(config EmulatorConfig) (*emulator, error) {
	clock := newClock()
	fabric, err := newFabric(config, clock.nowNS(), interfaceIndex)
	if err != nil {
		return nil, err
	}
	if config.BufferBytes == 0 {
		config.BufferBytes = defaultBufferBytes
	}
	e := &emulator{
		fabric:   fabric,
		clock:    clock,
		pool:     framePool{budgetBytes: config.BufferBytes},
		counters: counters{directions: make([]directionCounters, len(fabric.models))},
		taps:     make([]*capture, len(fabric.models)),
		places:   rand.New(rand.NewPCG(config.Seed, 0x666c6970)), // "flip"
		requests: make(chan func() error, 1),
		gone:     make(chan struct{}),
		spare:    runtime.NumCPU() > 1,
	}
	if e.wake, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return nil, fmt.Errorf("link emulator: making an eventfd: %w", err)
	}
	if e.socket, err = openSocket(&e.pool); err != nil {
		_ = unix.Close(e.wake)
		return nil, err
	}
	return e, nil
}

func (e *emulator) close() {
	e.socket.close()
	_ = unix.Close(e.wake)
}

// run forwards frames on the calling thread until a nil request comes. It calls
// started once it has its priority.
func (e *emulator) run(started func(scheduling string)) error {
	defer close(e.gone)
	runtime.LockOSThread() // never unlocked: the thread's priority dies with it
	started(prioritise())
	for {
		if e.ending > 0 {
			e.retire(e.clock.nowNS())
		}
		n, err := e.receive()
		if err != nil {
			return err
		}
		e.forwardDue()
		if e.asked.Load() {
			if ended, err := e.answer(); ended || err != nil {
				return err
			}
		}
		if n < batch {
			if err := e.wait(); err != nil {
				return err
			}
		}
	}
}

// receive reads a batch of frames and puts them onto their first links.
func (e *emulator) receive() (int, error) {
	beganNS := e.clock.nowNS()
	n, err := e.socket.receive()
	if n == 0 || err != nil {
		e.emptyNS = beganNS
		return 0, err
	}
	offsetNS := e.clock.realtimeOffsetNS()
	nowNS := e.clock.nowNS()
	for i := range n {
		e.enter(i, offsetNS, nowNS)
		e.socket.prepareReceive(i)
	}
	if n < batch {
		e.emptyNS = beganNS
	}
	return n, nil
}

// wait sleeps until the next event, frame or request.
func (e *emulator) wait() error {
	var timeout *unix.Timespec
	var untilNS int64
	if e.events.len() > 0 {
		nextNS := e.events.nextNS()
		untilNS = nextNS - e.leadNS
		leftNS := untilNS - e.clock.nowNS()
		if leftNS <= 0 {
			e.spin(nextNS)
			return nil
		}
		left := unix.NsecToTimespec(leftNS)
		timeout = &left
	}
	descriptors := [...]unix.PollFd{
		{Fd: int32(e.socket.descriptor), Events: unix.POLLIN},
		{Fd: int32(e.wake), Events: unix.POLLIN},
	}
	ready, err := unix.Ppoll(descriptors[:], timeout, nil)
	if err != nil && err != unix.EINTR {
		return fmt.Errorf("link emulator: waiting for frames: %w", err)
	}
	if ready == 0 && err == nil {
		e.overslept(e.clock.nowNS() - untilNS)
	}
	return nil
}

// spin passes the rest of the lead; frames that come meanwhile have their stamps.
func (e *emulator) spin(untilNS int64) {
	for e.clock.nowNS() < untilNS {
	}
}

// overslept adapts the lead to how late the kernel wakes the thread up: leaving an
// idle processor takes 30 us, and up to 100 us in a virtual machine. So little is
// left to spin, and next to nothing on a busy processor.
func (e *emulator) overslept(lateNS int64) {
	if !e.spare {
		return
	}
	e.leadNS += (min(lateNS, maxLeadNS) - e.leadNS) / 8
}

// answer does what was requested; ended is true if the loop shall end.
func (e *emulator) answer() (ended bool, err error) {
	e.asked.Store(false)
	var count [8]byte
	_, _ = unix.Read(e.wake, count[:])
	for {
		select {
		case request := <-e.requests:
			if request == nil {
				return true, nil
			}
			if err := request(); err != nil {
				return false, err
			}
		default:
			return false, nil
		}
	}
}

// request hands the loop something to do, which fails only if the loop can't go on;
// nil ends the loop. It may be called from one other goroutine. A loop that has ended
// does nothing any more.
func (e *emulator) request(do func() error) {
	select {
	case e.requests <- do:
	case <-e.gone:
		return
	}
	e.asked.Store(true)
	// An eventfd's counter overflows after 2^64 writes: it can't fail.
	_, _ = unix.Write(e.wake, binary.NativeEndian.AppendUint64(nil, 1))
}

// quietMemory turns the garbage collector off until the process uses far more
// than the emulator's bound, and returns what undoes that. A collection would make
// frames late. Forwarding makes no garbage; see collector for what commands make.
func quietMemory(bufferBytes int64) (restore func()) {
	if bufferBytes == 0 {
		bufferBytes = defaultBufferBytes
	}
	runtime.GC()
	limit := debug.SetMemoryLimit(bufferBytes + overheadBytes)
	percent := debug.SetGCPercent(-1)
	return func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	}
}
