package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"quorumlab/faults"
	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/node/driver/clock"
	"quorumlab/results"
)

const (
	// leadersTimeout bounds how long a fault waits to learn who leads.
	leadersTimeout = 50 * time.Millisecond
	// effectTimeout is how long after the load effects may still be proved, healTimeout how
	// long faults may take to be healed and proved to be.
	effectTimeout = 5 * time.Second
	healTimeout   = 20 * time.Second
)

// errNotIdle says that orders or proofs are under way yet.
var errNotIdle = errors.New("faults are being carried out or proved yet")

// breaker carries out a trial's schedule of faults in a lab, beside the load, and
// measures what came of them. One goroutine, the loop, talks to the director; whatever takes time
// is done by others, which tell the loop.
type breaker struct {
	t        *labTrial
	director *faults.Director
	// subscriptions are what each node is told to report, from its start on.
	subscriptions map[string][]control.Subscription

	// steps are what the loop shall do next; what they return is carried out.
	steps chan func() []faults.Order
	// working are the loop and all that it has begun; ctx is theirs, ended by stop.
	working sync.WaitGroup
	ctx     context.Context
	stop    context.CancelCauseFunc
	// startNS is when the load begins, on CLOCK_MONOTONIC.
	startNS atomic.Int64

	// What follows belongs to the loop. What was reported before begin waits in early.
	begun bool
	early []func() []faults.Order
	// busy counts orders that are being carried out, proofs that are awaited.
	busy  int
	lines map[string]*line
	// healing is closed, for each occurrence, once its healing is ordered.
	healing map[int]chan struct{}

	nodes map[string]*brokenNode
	net   brokenNetwork
	// streams is the folder of the echo processes, trains numbers what they send;
	// offsets are by how much the hosts' clocks are ahead of ours.
	streams string
	trains  atomic.Uint64
	offsets map[string]time.Duration
	// batches are the probes that each host is about to send.
	batching sync.Mutex
	batches  map[string]*batch
	// effectsOver and healingOver are closed when proofs of these may be awaited no longer.
	effectsOver, healingOver chan struct{}
}

// newBreaker is nil for a trial without faults.
func newBreaker(t *labTrial) *breaker {
	if len(t.schedule) == 0 {
		return nil
	}
	b := &breaker{
		t: t, steps: make(chan func() []faults.Order, 64),
		lines: map[string]*line{}, healing: map[int]chan struct{}{}, nodes: map[string]*brokenNode{},
		effectsOver: make(chan struct{}), healingOver: make(chan struct{}),
		offsets: map[string]time.Duration{}, batches: map[string]*batch{}, subscriptions: map[string][]control.Subscription{},
	}
	b.startNS.Store(int64(clock.Now()) + int64(time.Hour))
	b.director = faults.NewDirector(t.schedule, t.world, t.planned.Seed, b.leaders)
	for _, node := range t.cluster.Nodes {
		b.nodes[node.Name] = &brokenNode{b: b, name: node.Name, share: 1}
		b.subscriptions[node.Name] = b.director.Needs(node.Name)
	}
	return b
}

// run starts the loop in a lab that is up; it ends with the context or by close. Until
// begin the time is negative.
func (b *breaker) run(ctx context.Context, streams string) error {
	for _, host := range b.t.network.Hosts {
		offset, _, err := b.t.lab.ClockOffset(ctx, host.Name)
		if err != nil {
			return err
		}
		b.offsets[host.Name] = offset
	}
	ctx, b.stop = context.WithCancelCause(ctx)
	b.ctx, b.streams = ctx, streams
	b.net.reset(b.t)
	b.working.Go(func() { b.loop(ctx) })
	return nil
}

func (b *breaker) loop(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		var due <-chan time.Time
		if at, planned := b.director.Next(); planned && b.begun {
			timer.Reset(at - b.now())
			due = timer.C
		}
		select {
		case <-due:
			b.issue(ctx, b.director.Advance(b.now()))
		case step := <-b.steps:
			b.issue(ctx, step())
		case <-ctx.Done():
			return
		}
	}
}

// now is the time since the load began.
func (b *breaker) now() time.Duration { return b.at(clock.Now()) }

func (b *breaker) at(instant consensus.Time) time.Duration {
	return time.Duration(int64(instant) - b.startNS.Load())
}

// tell has the loop do something; it does nothing once the loop has ended.
func (b *breaker) tell(ctx context.Context, step func() []faults.Order) {
	select {
	case b.steps <- step:
	case <-ctx.Done():
	}
}

// ask is tell, and waits until it is done.
func (b *breaker) ask(ctx context.Context, step func() []faults.Order) error {
	done := make(chan struct{})
	b.tell(ctx, func() []faults.Order {
		defer close(done)
		return step()
	})
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// arm has the failpoints armed, before the load.
func (b *breaker) arm(ctx context.Context) error {
	if err := b.ask(ctx, func() []faults.Order { return b.director.Begin() }); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, answerTimeout, fmt.Errorf("the failpoints were not armed within %v", answerTimeout))
	defer cancel()
	return b.idle(ctx)
}

// begin lets the times run: the load begins at startNS.
func (b *breaker) begin(ctx context.Context, startNS int64) error {
	return b.ask(ctx, func() []faults.Order {
		b.startNS.Store(startNS)
		b.begun = true
		var orders []faults.Order
		for _, step := range b.early {
			orders = append(orders, step()...)
		}
		b.early = nil
		return orders
	})
}

// idle waits until all orders are carried out and all proofs are there.
func (b *breaker) idle(ctx context.Context) error {
	for {
		idle := false
		if err := b.ask(ctx, func() []faults.Order { idle = b.busy == 0; return nil }); err != nil || idle {
			return err
		}
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
}

// end heals what is to be healed once the load is over, at its time, and waits until it
// is. What isn't proved by then remains unproved.
func (b *breaker) end(ctx context.Context) error {
	over := b.t.loadTime()
	if err := sleep(ctx, over-b.now()); err != nil {
		return err
	}
	if err := b.ask(ctx, func() []faults.Order { return b.director.End(max(over, b.now())) }); err != nil {
		return err
	}
	for _, last := range []struct {
		limit  time.Duration
		giveUp chan struct{}
	}{{effectTimeout, b.effectsOver}, {healTimeout - effectTimeout, b.healingOver}, {effectTimeout, nil}} {
		err := b.idleWithin(ctx, last.limit)
		if err == nil || !errors.Is(err, errNotIdle) {
			return err
		}
		if last.giveUp != nil {
			close(last.giveUp)
		}
	}
	return nil // what hangs is part of some fault that is unproved
}

func (b *breaker) idleWithin(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errNotIdle)
	defer cancel()
	return b.idle(ctx)
}

// close ends the loop and all that it has begun. It may be called twice, and by a trial
// without faults.
func (b *breaker) close() {
	if b == nil || b.stop == nil {
		return
	}
	b.stop(errors.New("the trial's faults are over"))
	b.working.Wait()
}

// deaf lists the nodes of which events were missed that faults may have waited for.
func (b *breaker) deaf() []string {
	var names []string
	for _, node := range b.t.cluster.Nodes {
		s := b.t.members.live(node.Name)
		if s != nil && !slices.Contains(b.t.clients(), node.Name) && s.missed.Load() > 0 {
			names = append(names, node.Name)
		}
	}
	return names
}

// records are what became of the schedule; the loop must have ended.
func (b *breaker) records() []results.Fault { return b.director.Records() }

// issue has orders carried out, each thing's one after the other.
func (b *breaker) issue(ctx context.Context, orders []faults.Order) {
	for _, order := range orders {
		b.busy++
		if order.Heal {
			b.heal(order.Occurrence)
		}
		p := &parts{b: b, order: order, left: 1, baseline: b.net.state()}
		for _, node := range order.Nodes {
			n := b.nodes[node.Node]
			if node.Down {
				n.note(func(n *brokenNode) { n.killing++ })
			}
			b.line(ctx, p, "node "+node.Node, func() error { return n.set(ctx, p, node) })
		}
		for _, link := range order.Links {
			b.line(ctx, p, "link "+link.Link, func() error { return b.net.setLink(ctx, link) })
		}
		if len(order.Pairs) > 0 {
			b.line(ctx, p, "pairs", func() error { return b.net.setPairs(ctx, order.Pairs) })
		}
		if order.Reconfigure != nil {
			b.line(ctx, p, "reconfigure", func() error { return b.reconfigure(ctx, p, *order.Reconfigure) })
		}
		p.done(ctx, 0, nil)
	}
}

// heal notes that an occurrence is to end: what proves it must have been seen by now.
func (b *breaker) heal(occurrence int) { closeOnce(b.untilHealed(occurrence)) }

func (b *breaker) untilHealed(occurrence int) chan struct{} {
	if b.healing[occurrence] == nil {
		b.healing[occurrence] = make(chan struct{})
	}
	return b.healing[occurrence]
}

func closeOnce(c chan struct{}) {
	select {
	case <-c:
	default:
		close(c)
	}
}

// line does a part of an order once those before it about the same thing are done.
func (b *breaker) line(ctx context.Context, p *parts, thing string, do func() error) {
	p.more()
	b.thing(thing).add(&b.working, func() {
		err := do()
		p.done(ctx, p.inForceAt(thing), err)
	})
}

func (b *breaker) thing(name string) *line {
	if b.lines[name] == nil {
		b.lines[name] = &line{}
	}
	return b.lines[name]
}

// line does things one after the other, in a goroutine that lives while there are some.
type line struct {
	mu      sync.Mutex
	waiting []func()
	running bool
}

func (l *line) add(working *sync.WaitGroup, do func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = append(l.waiting, do)
	if !l.running {
		l.running = true
		working.Go(l.run)
	}
}

func (l *line) run() {
	for {
		l.mu.Lock()
		if len(l.waiting) == 0 {
			l.running = false
			l.mu.Unlock()
			return
		}
		do := l.waiting[0]
		l.waiting = l.waiting[1:]
		l.mu.Unlock()
		do()
	}
}

// parts is an order on its way.
type parts struct {
	b     *breaker
	order faults.Order
	// baseline is how the network was before; carried is when the order had been carried
	// out.
	baseline *networkState
	carried  time.Time
	// sessions are the processes that it is about, standings where they stood before.
	sessions  map[string]*session
	standings map[string]control.Standing
	// sizes are those of their files then.
	sizes map[string]int64
	// configuration was in force before a reconfiguration.
	configuration uint64

	mu    sync.Mutex
	left  int
	at    time.Duration
	fails []error
	// inForce is since when parts have been in force that took longer to be carried out,
	// by what they are about.
	inForce map[string]time.Duration
}

// since notes that a part is in force, though it isn't carried out yet.
func (p *parts) since(thing string, at time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.inForce == nil {
		p.inForce = map[string]time.Duration{}
	}
	p.inForce[thing] = at
}

// inForceAt is since when a part that was carried out has been in force.
func (p *parts) inForceAt(thing string) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at, known := p.inForce[thing]; known {
		return at
	}
	return p.b.now()
}

func (p *parts) more() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left++
}

// done notes that a part was carried out; after the last one the director learns of it,
// and the evidence is looked for.
func (p *parts) done(ctx context.Context, at time.Duration, err error) {
	p.mu.Lock()
	p.left--
	p.at = max(p.at, at)
	if err != nil {
		p.fails = append(p.fails, err)
	}
	last := p.left == 0
	p.mu.Unlock()
	if !last {
		return
	}
	if p.at == 0 {
		p.at = p.b.now()
	}
	p.carried = time.Now()
	// The loop itself may be the caller.
	p.b.working.Go(func() {
		p.b.tell(ctx, func() []faults.Order { return p.b.carriedOut(ctx, p) })
	})
}

func (b *breaker) carriedOut(ctx context.Context, p *parts) []faults.Order {
	b.busy--
	err := errors.Join(p.fails...)
	orders := b.director.Done(p.order, p.at, err)
	if err == nil {
		b.prove(ctx, p)
	}
	b.show(p.order, p.at, err)
	return orders
}

// show tells whoever watches.
func (b *breaker) show(order faults.Order, at time.Duration, err error) {
	if f, known := b.director.Record(order.Occurrence); known && (f.AppliedNS != nil || err != nil) {
		b.t.progress.Fault(describeFault(f, order.Heal, at, err))
	}
}

// describeFault says in a line what has just been carried out.
func describeFault(f results.Fault, heal bool, at time.Duration, err error) string {
	what := fmt.Sprintf("%.1f s: %s", at.Seconds(), f.ID)
	hit := slices.Concat(f.Nodes, f.Links, f.Pairs)
	if more := len(hit) - 4; more > 0 {
		hit = append(hit[:4:4], fmt.Sprintf("%d more", more))
	}
	switch {
	case err != nil:
		return what + " failed: " + err.Error()
	case heal:
		what += " is healed"
	case len(hit) > 0:
		what += " hit"
	}
	if len(hit) > 0 {
		what += ": " + strings.Join(hit, ", ")
	}
	return what
}

// leaders asks all live nodes who leads; the one with the highest round comes first.
func (b *breaker) leaders() []string {
	ctx, cancel := context.WithTimeoutCause(context.Background(), leadersTimeout, errors.New("no answer"))
	defer cancel()
	standings := make([]*control.Standing, len(b.t.cluster.Nodes))
	var asking sync.WaitGroup
	for i, node := range b.t.cluster.Nodes {
		s := b.t.members.live(node.Name)
		if s == nil || !b.nodes[node.Name].answers() || slices.Contains(b.t.clients(), node.Name) {
			continue
		}
		asking.Go(func() {
			if standing, err := s.standing(ctx); err == nil {
				standings[i] = &standing
			}
		})
	}
	asking.Wait()
	type leader struct {
		name  string
		round uint64
	}
	var leading []leader
	for i, standing := range standings {
		if standing != nil && standing.Leading {
			leading = append(leading, leader{b.t.cluster.Nodes[i].Name, standing.Round})
		}
	}
	slices.SortStableFunc(leading, func(x, y leader) int { return compareDown(x.round, y.round) })
	names := make([]string, len(leading))
	for i, l := range leading {
		names[i] = l.name
	}
	return names
}

func compareDown(x, y uint64) int {
	switch {
	case x > y:
		return -1
	case x < y:
		return 1
	}
	return 0
}

// reconfigure hands a change to the first of the nodes that lives.
func (b *breaker) reconfigure(ctx context.Context, p *parts, change faults.Reconfiguration) error {
	for _, name := range change.Nodes {
		s := b.t.members.live(name)
		if s == nil || !b.nodes[name].answers() {
			continue
		}
		asking, cancel := answering(ctx)
		defer cancel()
		before, err := s.standing(asking)
		if err != nil {
			return fmt.Errorf("reconfiguring: %w", err)
		}
		p.configuration = before.Configuration
		if _, err := s.call(asking, control.Command{Command: control.CommandReconfigure, Reconfigure: json.RawMessage(change.Change)}); err != nil {
			return fmt.Errorf("reconfiguring: %w", err)
		}
		return nil
	}
	return fmt.Errorf("reconfiguring: none of %s lives", strings.Join(change.Nodes, ", "))
}
