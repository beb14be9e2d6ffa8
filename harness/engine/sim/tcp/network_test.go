package tcp

import (
	"container/heap"
	"testing"
	"time"
)

const ms = int64(time.Millisecond)

// arrival is a frame on its way.
type arrival struct {
	atNS  int64
	order int
	frame Frame
}

type arrivals []arrival

func (a arrivals) Len() int { return len(a) }
func (a arrivals) Less(i, j int) bool {
	return a[i].atNS < a[j].atNS || a[i].atNS == a[j].atNS && a[i].order < a[j].order
}
func (a arrivals) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *arrivals) Push(x any)   { *a = append(*a, x.(arrival)) }
func (a *arrivals) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}

// delivery is a message that has arrived.
type delivery struct {
	id   uint64
	atNS int64
}

// sentFrame is a frame that was put onto the network.
type sentFrame struct {
	Frame
	atNS int64
}

// network drives a connection over a scripted network.
type network struct {
	t    *testing.T
	c    *Connection
	now  int64
	out  Output
	wire arrivals
	sent int
	// fate tells how long a frame takes; it is lost if that is negative. A second
	// copy arrives if more than one time is given.
	fate func(n *network, f Frame) []int64

	frames    []sentFrame
	delivered []delivery
	dropped   int
}

// newNetwork connects over a network that takes 40 ms each way.
func newNetwork(t *testing.T, config Config) *network {
	n := &network{t: t, c: New(config)}
	n.fate = func(*network, Frame) []int64 { return []int64{40 * ms} }
	return n
}

// apply puts an output's frames onto the network.
func (n *network) apply() {
	for _, f := range n.out.Frames {
		n.frames = append(n.frames, sentFrame{f, n.now})
		for _, delay := range n.fate(n, f) {
			if delay >= 0 {
				n.sent++
				heap.Push(&n.wire, arrival{n.now + delay, n.sent, f})
			}
		}
	}
	for _, id := range n.out.Delivered {
		n.delivered = append(n.delivered, delivery{id, n.now})
	}
	n.dropped += n.out.Dropped
	n.out.Reset()
}

func (n *network) open() { n.c.Open(n.now, &n.out); n.apply() }

func (n *network) send(id uint64, bytes int) { n.c.Send(n.now, id, bytes, &n.out); n.apply() }

// runUntil lets virtual time pass.
func (n *network) runUntil(untilNS int64) {
	for {
		at, set := n.c.Deadline()
		timer := set && at <= untilNS
		if len(n.wire) > 0 && n.wire[0].atNS <= untilNS && (!timer || n.wire[0].atNS <= at) {
			a := heap.Pop(&n.wire).(arrival)
			n.now = max(n.now, a.atNS)
			n.c.Receive(n.now, a.frame, &n.out)
			n.apply()
			continue
		}
		if !timer {
			n.now = untilNS
			return
		}
		if at < n.now {
			n.t.Fatalf("at %d the deadline is %d, which is past", n.now, at)
		}
		n.now = at
		n.c.Expire(n.now, &n.out)
		n.apply()
	}
}

// connect opens the connection and lets it settle until 1 s.
func (n *network) connect() {
	n.t.Helper()
	n.open()
	n.runUntil(1000 * ms)
	if !n.c.Connected() {
		n.t.Fatal("not connected after a second")
	}
	n.frames = nil
}

// grow makes the connection one that has sent a window's worth just now.
func (n *network) grow(window int) {
	s := &n.c.current.sender
	s.window, s.lastSendNS, s.windowNS = window, n.now, n.now
}

// data are the data frames sent since connect, with when.
func (n *network) data() (frames []sentFrame) {
	for _, f := range n.frames {
		if f.kind == kindData {
			frames = append(frames, f)
		}
	}
	return frames
}
