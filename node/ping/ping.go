// Package ping measures round trips from one machine to others, probe by probe, by
// UDP, TCP or ICMP; answers the probes of others; and measures on behalf of a
// controller elsewhere. It promises that no round trip is reported shorter than it
// was, and that every probe gives exactly one row, answered or not.
package ping

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"quorumlab/node/control"
)

// Protocols by which probes travel.
const (
	// UDP and TCP probes are answered by an echo process at the peer's port. Those by
	// TCP use one connection a peer, made before the first probe and again when it is
	// lost; what TCP sends again is late, not lost.
	UDP = "udp"
	TCP = "tcp"
	// ICMP probes are answered by the peer's kernel; the port doesn't matter. The
	// sender's kernel must permit them: to root, to users with CAP_NET_RAW, or to the
	// groups of net.ipv4.ping_group_range.
	ICMP = "icmp"
)

// Protocols lists them all.
var Protocols = []string{UDP, TCP, ICMP}

// Bounds of orders.
const (
	// HeaderBytes is the least size of a probe: what tells it from others.
	HeaderBytes = 16
	MaxBytes    = 1400
	MaxCount    = 10_000_000
	MaxPeers    = 1000
	// MinInterval bounds the probes that a host sends, whoever asks for them.
	MinInterval = 100 * time.Microsecond
	// MaxDuration bounds what all rounds take.
	MaxDuration = 366 * 24 * time.Hour
)

// handingInterval is how often rows are handed out.
const handingInterval = 50 * time.Millisecond

// Check tells why an order makes no sense, naming the field and what would be right.
func Check(order control.Measure) error {
	switch {
	case order.Protocol != UDP && order.Protocol != TCP && order.Protocol != ICMP:
		return field("protocol", "is %q: want udp, tcp or icmp", order.Protocol)
	case len(order.Peers) == 0 || len(order.Peers) > MaxPeers:
		return field("peers", "are %d: want 1 to %d", len(order.Peers), MaxPeers)
	case order.Count < 1 || order.Count > MaxCount:
		return field("count", "is %d: want 1 to %d probes a peer", order.Count, MaxCount)
	case time.Duration(order.IntervalNS) < MinInterval*time.Duration(len(order.Peers)) || time.Duration(order.IntervalNS) > time.Hour:
		return field("interval", "is %v: want %v for %d peers, to 1h", time.Duration(order.IntervalNS),
			MinInterval*time.Duration(len(order.Peers)), len(order.Peers))
	case order.IntervalNS > int64(MaxDuration)/int64(order.Count):
		return field("count", "with this interval is too long: %d probes a peer, one each %v, take longer than %d days: want fewer, or more often",
			order.Count, time.Duration(order.IntervalNS), MaxDuration/(24*time.Hour))
	case order.TimeoutNS <= 0 || time.Duration(order.TimeoutNS) > time.Minute:
		return field("timeout", "is %v: want above 0 and at most 1m", time.Duration(order.TimeoutNS))
	case order.Bytes < HeaderBytes || order.Bytes > MaxBytes:
		return field("size", "is %d bytes: want %d to %d", order.Bytes, HeaderBytes, MaxBytes)
	}
	return nil
}

// FieldError tells what is wrong with a field of an order.
type FieldError struct{ Field, Text string }

func (e *FieldError) Error() string { return "the " + e.Field + " " + e.Text }

func field(name, format string, values ...any) error {
	return &FieldError{name, fmt.Sprintf(format, values...)}
}

// Row is one probe.
type Row struct {
	// Peer indexes the order's peers, Round counts the probes to it from 0.
	Peer, Round int
	// SentNS is when the probe was sent, by the sender's CLOCK_REALTIME, RTTNS how long
	// its answer took; 0 if none came in time.
	SentNS, RTTNS int64
}

// prober sends probes and hears their answers.
type prober interface {
	// send sends a probe; an error means that it can't be answered.
	send(peer, round int) error
	// close ends it, and the goroutines that hear answers.
	close()
}

// Measure carries out an order: in each round of order.IntervalNS one probe to each
// peer, evenly spread. A few times a second it hands out the rows of the probes that
// were answered or given up, in that order; however slow take is, no probe is late for
// it. It returns take's first error or the context's cause, once all rows there are were
// handed out; rows of probes without a verdict by then are left out.
func Measure(ctx context.Context, order control.Measure, take func([]Row) error) error {
	if err := Check(order); err != nil {
		return fmt.Errorf("measuring round trips: %w", err)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	m, err := newMeasurement(ctx, order)
	if err != nil {
		return fmt.Errorf("measuring round trips: %w", err)
	}
	measured := make(chan struct{})
	var working sync.WaitGroup
	working.Go(func() { m.expire(measured) })
	var refused error
	handing := make(chan struct{})
	go func() {
		defer close(handing)
		if refused = m.handOut(take, measured); refused != nil {
			stop(refused)
		}
	}()
	if err = m.sendAll(ctx); err == nil {
		err = m.settle(ctx)
	}
	m.prober.close()
	close(measured)
	working.Wait()
	<-handing
	if refused != nil {
		return refused
	}
	return err
}

// measurement is an order at work.
type measurement struct {
	order  control.Measure
	prober prober

	mu      sync.Mutex
	pending map[probe]time.Time
	// queue has the pending probes, and answered ones, in the order of their sending.
	queue []probe
	// rows have to be handed out.
	rows []Row
	// changed is sent to when the last pending probe is gone.
	changed chan struct{}
}

type probe struct{ peer, round int }

func newMeasurement(ctx context.Context, order control.Measure) (*measurement, error) {
	m := &measurement{order: order, pending: map[probe]time.Time{}, changed: make(chan struct{}, 1)}
	addresses := make([]netip.AddrPort, len(order.Peers))
	for i, peer := range order.Peers {
		var err error
		if addresses[i], err = resolve(ctx, peer.Address); err != nil {
			return nil, fmt.Errorf("the address of %s: %w", peer.Name, err)
		}
	}
	var err error
	switch order.Protocol {
	case UDP:
		m.prober, err = newUDP(addresses, order.Bytes, m.answered)
	case TCP:
		m.prober = newTCP(ctx, addresses, order.Bytes, time.Duration(order.TimeoutNS), m.answered)
	case ICMP:
		m.prober, err = newICMP(addresses, order.Bytes, m.answered)
	}
	return m, err
}

// resolve finds the IPv4 address of a host:port, as this machine knows it.
func resolve(ctx context.Context, address string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" {
		return netip.AddrPort{}, fmt.Errorf("%q, want host:port", address)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 {
		return netip.AddrPort{}, fmt.Errorf("%q has the port %q, want 1 to 65535", address, port)
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		if !ip.Unmap().Is4() {
			return netip.AddrPort{}, fmt.Errorf("%q is no IPv4 address", address)
		}
		return netip.AddrPortFrom(ip.Unmap(), uint16(number)), nil
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", host)
	if ctx.Err() != nil {
		return netip.AddrPort{}, context.Cause(ctx)
	}
	if err != nil {
		return netip.AddrPort{}, err
	}
	return netip.AddrPortFrom(found[0].Unmap(), uint16(number)), nil
}

// handOut hands out rows now and then, and once more when all was measured.
func (m *measurement) handOut(take func([]Row) error, measured <-chan struct{}) error {
	ticker := time.NewTicker(handingInterval)
	defer ticker.Stop()
	for last := false; !last; {
		select {
		case <-ticker.C:
		case <-measured:
			last = true
		}
		m.mu.Lock()
		rows := m.rows
		m.rows = nil
		m.mu.Unlock()
		if len(rows) == 0 {
			continue
		}
		if err := take(rows); err != nil {
			return err
		}
	}
	return nil
}

// sendAll sends all probes at their times.
func (m *measurement) sendAll(ctx context.Context) error {
	began := time.Now()
	gap := time.Duration(m.order.IntervalNS) / time.Duration(len(m.order.Peers))
	timer := time.NewTimer(0)
	defer timer.Stop()
	for round := range m.order.Count {
		for peer := range m.order.Peers {
			due := began.Add(time.Duration(round)*time.Duration(m.order.IntervalNS) + time.Duration(peer)*gap)
			if wait := time.Until(due); wait > 0 {
				timer.Reset(wait)
				select {
				case <-timer.C:
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			} else if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			m.sendOne(probe{peer, round})
		}
	}
	return nil
}

func (m *measurement) sendOne(p probe) {
	m.mu.Lock()
	m.pending[p] = time.Now()
	m.queue = append(m.queue, p)
	m.mu.Unlock()
	// A probe that can't be sent is one without an answer: it is given up in time.
	_ = m.prober.send(p.peer, p.round)
}

// answered notes an answer; one that is late or comes twice counts for nothing.
func (m *measurement) answered(at time.Time, peer, round int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := probe{peer, round}
	sent, waits := m.pending[p]
	if !waits {
		return
	}
	rtt := at.Sub(sent)
	if rtt > time.Duration(m.order.TimeoutNS) {
		return // expire gives it up
	}
	m.finish(p, Row{Peer: peer, Round: round, SentNS: sent.UnixNano(), RTTNS: max(int64(rtt), 1)})
}

// finish keeps a probe's row to hand out; the mutex is held.
func (m *measurement) finish(p probe, row Row) {
	delete(m.pending, p)
	m.rows = append(m.rows, row)
	if len(m.pending) == 0 {
		select {
		case m.changed <- struct{}{}:
		default:
		}
	}
}

// expire gives probes up until it is stopped.
func (m *measurement) expire(stop <-chan struct{}) {
	ticker := time.NewTicker(min(time.Duration(m.order.TimeoutNS)/4+1, 50*time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			m.giveUp(time.Now().Add(-time.Duration(m.order.TimeoutNS)))
		case <-stop:
			return
		}
	}
}

// giveUp ends the probes that were sent before a time.
func (m *measurement) giveUp(before time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.queue) > 0 {
		p := m.queue[0]
		sent, waits := m.pending[p]
		if waits && sent.After(before) {
			return
		}
		if waits {
			m.finish(p, Row{Peer: p.peer, Round: p.round, SentNS: sent.UnixNano()})
		}
		m.queue = m.queue[1:]
	}
}

// settle waits for the answers that are awaited still.
func (m *measurement) settle(ctx context.Context) error {
	for {
		m.mu.Lock()
		left := len(m.pending)
		m.mu.Unlock()
		if left == 0 {
			return nil
		}
		select {
		case <-m.changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
