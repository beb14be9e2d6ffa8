//go:build linux

package link

import (
	"encoding/binary"
	"fmt"
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

	// requests are answered by the loop once asked is set and wake, an eventfd,
	// is written. A nil request ends the loop.
	requests chan chan<- counters
	asked    atomic.Bool
	wake     int
}

func newEmulator(config EmulatorConfig) (*emulator, error) {
	fabric, err := newFabric(config, interfaceIndex)
	if err != nil {
		return nil, err
	}
	if config.BufferBytes == 0 {
		config.BufferBytes = defaultBufferBytes
	}
	e := &emulator{
		fabric:   fabric,
		clock:    newClock(),
		pool:     framePool{budgetBytes: config.BufferBytes},
		counters: counters{directions: make([]directionCounters, len(fabric.models))},
		requests: make(chan chan<- counters, 1),
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
	runtime.LockOSThread() // never unlocked: the thread's priority dies with it
	started(prioritise())
	for {
		n, err := e.receive()
		if err != nil {
			return err
		}
		e.forwardDue()
		if e.asked.Load() && e.answer() {
			return nil
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

// enter puts the frame in receive slot i onto the first link of its path.
func (e *emulator) enter(i int, offsetNS, nowNS int64) {
	arrival := e.socket.arrival(i)
	source, ours := e.byInterface[arrival.interfaceIndex]
	if !ours {
		return
	}
	destination, path, segments, ok := e.route(source, i, arrival)
	if !ok {
		return
	}
	f := e.socket.take(i, arrival.bytes, &e.pool)
	if f == nil {
		e.counters.memoryDrops++
		return
	}
	copy(f.small[virtioBytes:], e.ports[destination].mac[:])
	f.to, f.path, f.segments = destination, path, segments

	// The emulator's own delay cancels out if time runs from the kernel's stamp.
	// Frames of one port keep the order in which they were read.
	port := &e.ports[source]
	arrivedNS := nowNS
	if arrival.stampNS != 0 {
		arrivedNS = min(max(arrival.stampNS-offsetNS, e.emptyNS-maxQueueingNS), nowNS)
	}
	port.arrivedNS = max(port.arrivedNS, arrivedNS)
	e.advance(f, port.arrivedNS)
}

// route decides where the frame in receive slot i goes. If it goes nowhere, it
// has been counted.
func (e *emulator) route(source int32, i int, arrival arrival) (destination int32, path []uint32, segments, ok bool) {
	if arrival.truncated {
		e.counters.segmentDrops++
		return 0, nil, false, false
	}
	// The headers always fit into the small buffer.
	head := e.socket.receiving[i].frame.small[:min(max(virtioBytes+arrival.bytes, 0), smallBytes)]
	var address uint32
	if len(head) > virtioBytes {
		address, ok = frameTarget(head[virtioBytes:])
	}
	if ok {
		destination, ok = e.byAddress[address]
	}
	if ok {
		path = e.paths[int(source)*len(e.ports)+int(destination)]
	}
	if len(path) == 0 {
		e.counters.strays++
		return 0, nil, false, false
	}
	return destination, path, head[virtioGSOType] != 0, true
}

// advance takes a frame that is at a node at timeNS over the next link of its path,
// and on over the links after it as long as these only delay.
func (e *emulator) advance(f *frame, timeNS int64) {
	for {
		direction := f.path[0]
		f.path = f.path[1:]
		model := e.models[direction]
		if f.segments && !model.DelayOnly() {
			e.counters.segmentDrops++
			e.pool.put(f)
			return
		}
		fate := model.Transmit(timeNS, f.bytes)
		e.counters.transmitted(direction, f.bytes, fate.Verdict)
		if fate.Verdict != Delivered {
			e.pool.put(f)
			return
		}
		timeNS = fate.Arrivals[0].AtNS
		if len(f.path) == 0 || !e.models[f.path[0]].DelayOnly() {
			e.events.push(timeNS, f)
			return
		}
	}
}

// forwardDue handles the events whose time has come, in their order.
func (e *emulator) forwardDue() {
	nowNS := e.clock.nowNS()
	for handled := 0; e.events.len() > 0 && e.events.nextNS() <= nowNS && handled < dueAtOnce; handled++ {
		next := e.events.pop()
		if len(next.frame.path) > 0 {
			e.advance(next.frame, next.timeNS)
			continue
		}
		e.socket.queue(e.queued, next.frame, e.ports[next.frame.to].interfaceIndex, next.timeNS)
		if e.queued++; e.queued == batch {
			e.flush()
			nowNS = e.clock.nowNS()
		}
	}
	e.flush()
}

// flush sends the queued frames.
func (e *emulator) flush() {
	for from := 0; from < e.queued; {
		n, errno := e.socket.send(from, e.queued)
		sentNS := e.clock.nowNS()
		for i := from; i < from+n; i++ {
			e.counters.sent(sentNS - e.socket.sending[i].deadline)
		}
		from += n
		if errno != 0 {
			e.counters.refused(errno)
			from++
		}
	}
	for i := range e.queued {
		e.pool.put(e.socket.sending[i].frame)
	}
	e.queued = 0
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

// answer serves the requests that came; it is true if the loop shall end.
func (e *emulator) answer() (end bool) {
	e.asked.Store(false)
	var count [8]byte
	_, _ = unix.Read(e.wake, count[:])
	for {
		select {
		case request := <-e.requests:
			if request == nil {
				return true
			}
			e.counters.receiveDrops += e.socket.overflows()
			request <- e.counters.clone()
		default:
			return false
		}
	}
}

// request hands a request to the loop; it may be called from one other
// goroutine.
func (e *emulator) request(answer chan<- counters) {
	e.requests <- answer
	e.asked.Store(true)
	// An eventfd's counter overflows after 2^64 writes: it can't fail.
	_, _ = unix.Write(e.wake, binary.NativeEndian.AppendUint64(nil, 1))
}

// quietMemory turns the garbage collector off until the process uses far more
// than the emulator's bound, and returns what undoes that. A collection would make
// frames late.
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
