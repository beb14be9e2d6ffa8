package harness

import (
	"context"
	"fmt"
	"math"
	"time"

	"quorumlab/faults"
	"quorumlab/node/control"
	"quorumlab/results"
)

const (
	// lookInterval is how long a proof waits before it looks again.
	lookInterval = 20 * time.Millisecond
	// A process that is to have a share of a processor must be stopped for the rest of
	// slowTime, give or take slowTolerance; of leastSlowTime if the fault is over by then.
	slowTime      = 500 * time.Millisecond
	leastSlowTime = 100 * time.Millisecond
	slowTolerance = 0.15
	// It must be stopped for half of what is wanted at least and, healed, for mostStopped of
	// the time at most, since that is 0 but for what is measured at the edges.
	leastStopped = 0.5
	mostStopped  = 0.01
	// A node's clock may be off by clockShare of its rate over clockTime, by clockJump
	// after a jump, and by half of what the fault changes.
	clockTime   = 100 * time.Millisecond
	clockShare  = 0.05
	healedShare = 0.005
	clockJump   = 20 * time.Millisecond
	// leastConsidered is of how many messages a share must have been ignored, unless there
	// aren't so many until the fault is over: of a few, any share may be.
	leastConsidered = 20
	// settledTime is how long nothing more may happen for an injection to count as over.
	settledTime = 60 * time.Millisecond
)

// proof is one piece of evidence that is looked for.
type proof struct {
	*breaker
	faults.Expectation
	order *parts
	heal  bool
	// hit is the process that the order was about, if it was about a node.
	hit *session
	// healing is closed when the occurrence's end is ordered: what proves its effect must
	// have been seen by then. It is nil for a healing. Once giveUp is closed nothing is
	// awaited any longer.
	healing, giveUp <-chan struct{}
	// inForce is true once the node has said that it ignores messages, idle if nothing came
	// so far that the fault could have shown itself by.
	inForce, idle bool
}

// look looks for evidence once; the text says what was measured.
type look func(ctx context.Context) (found bool, text string, err error)

// prove begins to look for what an order has led to expect.
func (b *breaker) prove(ctx context.Context, of *parts) {
	for _, expected := range of.order.Expect {
		p := &proof{breaker: b, Expectation: expected, order: of, heal: of.order.Heal, hit: of.session(expected.Node)}
		if p.giveUp = b.healingOver; !p.heal {
			p.healing, p.giveUp = b.untilHealed(of.order.Occurrence), b.effectsOver
		}
		b.busy++
		b.working.Go(func() {
			evidence, counts := p.find(ctx)
			at := b.now()
			b.tell(ctx, func() []faults.Order {
				b.busy--
				if counts {
					b.director.Prove(of.order.Occurrence, at, evidence)
				}
				return nil
			})
		})
	}
}

// find looks again and again until the evidence is there, or can't come any more. It
// returns false if there is none since other faults hide it.
func (p *proof) find(ctx context.Context) (evidence results.Evidence, counts bool) {
	evidence = results.Evidence{Healed: p.heal, Kind: string(p.Kind), Target: p.Target()}
	once, every := p.look()
	for {
		last := p.over() // what is looked at now is the last that can be seen
		found, text, err := once(ctx)
		if err != nil && (text == "" || ctx.Err() == nil) {
			text = err.Error()
		}
		if evidence.Found, evidence.Text = found && err == nil, text; evidence.Found {
			return evidence, true
		}
		evidence.Idle = p.idle && !p.heal
		if moot, err := p.moot(ctx); moot || last || err != nil {
			return evidence, !moot
		}
		select {
		case <-time.After(every):
		case <-p.healing: // for a last look: what was counted still tells
		case <-p.giveUp:
		case <-ctx.Done():
			return evidence, true
		}
	}
}

// moot asks whether other faults hide the evidence.
func (p *proof) moot(ctx context.Context) (moot bool, err error) {
	err = p.ask(ctx, func() []faults.Order {
		moot = p.director.Moot(p.order.order, p.Expectation)
		return nil
	})
	return moot, err
}

// over tells whether what is seen from now on proves nothing.
func (p *proof) over() bool {
	select {
	case <-p.healing:
		return true
	case <-p.giveUp:
		return true
	default:
		return false
	}
}

// look chooses how to look, and how often.
func (p *proof) look() (look, time.Duration) {
	switch p.Kind {
	case faults.ExpectDown:
		if p.heal {
			return p.lives, lookInterval
		}
		return p.gone, lookInterval
	case faults.ExpectPaused:
		return p.paused, lookInterval
	case faults.ExpectSlow:
		return p.slow, lookInterval
	case faults.ExpectCut:
		return p.cut(), trainInterval
	case faults.ExpectLink, faults.ExpectPair:
		return p.treated(), trainInterval
	case faults.ExpectIgnored:
		return p.ignored, lookInterval
	case faults.ExpectSlowSync:
		return p.slowSync, lookInterval
	case faults.ExpectClock:
		return p.clock, lookInterval
	case faults.ExpectRefused:
		if p.heal {
			return p.lives, lookInterval
		}
		return p.refused, lookInterval
	case faults.ExpectDisk:
		return p.disk, lookInterval
	case faults.ExpectConfiguration:
		return p.configured, lookInterval
	}
	return func(context.Context) (bool, string, error) {
		return false, "", fmt.Errorf("nothing is known that would prove %q", p.Kind)
	}, lookInterval
}

// gone looks whether the process is.
func (p *proof) gone(ctx context.Context) (bool, string, error) {
	if p.hit == nil {
		return false, "it had ended before", nil
	}
	state, err := p.hit.process.State(ctx)
	if err != nil {
		return false, "", err
	}
	select {
	case <-p.hit.process.Done():
	default:
		return false, fmt.Sprintf("the kernel still has the process, in state %s", state.Letter), nil
	}
	text := "the kernel has no such process any more: " + describeExit(p.hit.process.Exit())
	if life := p.nodes[p.Node].lastLife(); life.session == p.hit && life.signalled > 0 {
		text += fmt.Sprintf(", signalled %.3f s after the load's begin, gone %.1f ms later",
			life.signalled.Seconds(), float64(life.gone-life.signalled)/1e6)
	}
	return state.Letter == "", text, nil
}

// lives looks whether the node lives and has connections to all that it can reach.
func (p *proof) lives(ctx context.Context) (bool, string, error) {
	s, standing, err := p.standing(ctx)
	if err != nil {
		return false, "", err
	}
	state, err := s.process.State(ctx)
	if err != nil {
		return false, "", err
	}
	want := max(standing.Peers-p.absent(p.Node), 0)
	text := fmt.Sprintf("the process is in state %s, with %d of %d connections, %d of them to processes that live and can be reached",
		state.Letter, standing.Connected, standing.Peers, want)
	return state.Letter != "" && standing.Connected >= want, text, nil
}

// absent counts the processes that a node can't be connected to.
func (b *breaker) absent(name string) int {
	absent, network := 0, b.net.state()
	for _, node := range b.t.cluster.Nodes {
		if node.Name == name {
			continue
		}
		if b.t.members.live(node.Name) == nil || !b.nodes[node.Name].answers() || !network.reach(b.t.hosts[name], b.t.hosts[node.Name]) {
			absent++
		}
	}
	return absent
}

// standing asks the process that now has the expectation's node.
func (p *proof) standing(ctx context.Context) (*session, control.Standing, error) {
	s := p.t.members.live(p.Node)
	if s == nil {
		return nil, control.Standing{}, fmt.Errorf("%s doesn't live", p.Node)
	}
	ctx, cancel := answering(ctx)
	defer cancel()
	standing, err := s.standing(ctx)
	return s, standing, err
}

func isStopped(letter string) bool { return letter == "T" || letter == "t" }

// paused looks whether the kernel has stopped the process or, healed, lets it run.
func (p *proof) paused(ctx context.Context) (bool, string, error) {
	if p.hit == nil {
		return false, "the process doesn't live", nil
	}
	state, err := p.hit.process.State(ctx)
	if err != nil {
		return false, "", err
	}
	stopped := isStopped(state.Letter)
	text := fmt.Sprintf("the kernel has the process in state %s", state.Letter)
	return stopped != p.heal && state.Letter != "", text, nil
}

// slow looks how much of the time the process is stopped.
func (p *proof) slow(ctx context.Context) (bool, string, error) {
	if p.hit == nil {
		return false, "the process doesn't live", nil
	}
	want := 1 - p.Share
	before, err := p.hit.process.State(ctx)
	began := time.Now()
	if err != nil {
		return false, "", err
	}
	for time.Since(began) < slowTime && !(time.Since(began) >= leastSlowTime && p.over()) {
		if err := sleep(ctx, lookInterval); err != nil {
			return false, "", err
		}
	}
	after, err := p.hit.process.State(ctx)
	if err != nil {
		return false, "", err
	}
	elapsed, stopped := time.Since(began), time.Duration(after.StoppedNS-before.StoppedNS)
	share := stopped.Seconds() / elapsed.Seconds()
	text := fmt.Sprintf("the kernel had the process stopped for %v of %v, which is %.0f%% (%.0f%% is wanted)",
		stopped.Round(time.Millisecond), elapsed.Round(time.Millisecond), 100*share, 100*want)
	return stoppedEnough(share, want), text, nil
}

// stoppedEnough tells whether a process was stopped for a share of the time that proves
// that it was to be for another; one that nobody stops doesn't pass for one that is slowed
// a little, nor that one for healed.
func stoppedEnough(share, want float64) bool {
	if want == 0 {
		return share <= mostStopped
	}
	return share >= max(want-slowTolerance, leastStopped*want) && share <= want+slowTolerance
}

// countedSince is what injections did since the order, going by two standings; a process that
// was started again counts from 0.
func countedSince(now, before uint64) uint64 {
	if now < before {
		return now
	}
	return now - before
}

// ignored looks whether the node ignores messages or, healed, no longer does.
func (p *proof) ignored(ctx context.Context) (bool, string, error) {
	if p.heal {
		found, text, err := p.settled(ctx, "messages were ignored", func(i control.Injected) uint64 { return i.Ignored })
		if found { // which proves little where none came
			_, now, failed := p.standing(ctx)
			found, err = !now.Injected.Ignoring, failed
		}
		return found, text, err
	}
	_, now, err := p.standing(ctx)
	if err != nil {
		return false, "", err
	}
	before := p.order.standing(p.Node).Injected
	ignored, considered := countedSince(now.Injected.Ignored, before.Ignored), countedSince(now.Injected.Considered, before.Considered)
	text := fmt.Sprintf("the node ignored %d of %d messages that a rule was about", ignored, considered)
	p.inForce = p.inForce || now.Injected.Ignoring
	p.idle = p.inForce && ignored == 0 && faults.TooFew(considered, p.Share)
	if p.Share <= 0 || considered == 0 {
		return ignored > 0, text, nil
	}
	if considered < leastConsidered && !p.over() {
		return false, text, nil
	}
	off := math.Abs(float64(ignored)/float64(considered) - p.Share)
	return ignored > 0 && off <= 5*math.Sqrt(p.Share*(1-p.Share)/float64(considered))+1/float64(considered), text, nil
}

// slowSync looks whether the node's syncs take as long as they shall.
func (p *proof) slowSync(ctx context.Context) (bool, string, error) {
	if p.heal {
		return p.settled(ctx, "syncs were delayed", func(i control.Injected) uint64 { return i.SlowSyncs })
	}
	_, now, err := p.standing(ctx)
	if err != nil {
		return false, "", err
	}
	syncs := countedSince(now.Injected.SlowSyncs, p.order.standing(p.Node).Injected.SlowSyncs)
	least := time.Duration(now.Injected.LeastSyncNS)
	text := fmt.Sprintf("%d syncs were delayed, the shortest took %v (at least %v is wanted)", syncs, least.Round(time.Microsecond), p.Delay)
	p.idle = syncs == 0 && p.unwritten()
	return syncs > 0 && least >= p.Delay, text, nil
}

// unwritten tells whether the node has written nothing since the order, going by its files;
// once the fault is over that says nothing more than before.
func (p *proof) unwritten() bool {
	if p.over() {
		return p.idle
	}
	return p.order.size(p.Node) == filesSize(p.nodes[p.Node].disk())
}

// settled looks whether an injection's counter stands still.
func (p *proof) settled(ctx context.Context, what string, counter func(control.Injected) uint64) (bool, string, error) {
	_, first, err := p.standing(ctx)
	if err == nil {
		err = sleep(ctx, settledTime)
	}
	if err != nil {
		return false, "", err
	}
	_, second, err := p.standing(ctx)
	if err != nil {
		return false, "", err
	}
	more := countedSince(counter(second.Injected), counter(first.Injected))
	return more == 0, fmt.Sprintf("%d %s in %v", more, what, settledTime), nil
}

// clock looks at what the node takes the time for.
func (p *proof) clock(ctx context.Context) (bool, string, error) {
	_, first, err := p.standing(ctx)
	if err != nil {
		return false, "", err
	}
	if p.Jump != 0 {
		before := p.order.standing(p.Node)
		ahead := time.Duration((first.MachineNS - first.ClockNS) - (before.MachineNS - before.ClockNS))
		text := fmt.Sprintf("the node's clock has jumped by %v (%v is wanted)", ahead.Round(time.Microsecond), p.Jump)
		return (ahead - p.Jump).Abs() <= min(clockJump, p.Jump.Abs()/2), text, nil
	}
	if err := sleep(ctx, clockTime); err != nil {
		return false, "", err
	}
	_, second, err := p.standing(ctx)
	if err != nil {
		return false, "", err
	}
	want := p.Rate
	if want == 0 {
		want = 1
	}
	passed := second.ClockNS - first.ClockNS
	rate := float64(second.MachineNS-first.MachineNS) / float64(max(passed, 1))
	text := fmt.Sprintf("in %.1f ms the node's clock ran at %.3f times its rate (%.3g is wanted)", float64(passed)/1e6, rate, want)
	return clockFits(rate, want, p.heal), text, nil
}

// clockFits tells whether a clock's rate proves the one that is wanted. Its own rate proves
// no other one, however close; nor another one that the clock is healed.
func clockFits(rate, want float64, healed bool) bool {
	tolerance := min(clockShare*want, math.Abs(want-1)/2)
	if healed {
		tolerance = healedShare
	}
	return math.Abs(rate-want) <= tolerance
}

// refused looks whether the process has ended since its disk took no more.
func (p *proof) refused(ctx context.Context) (bool, string, error) {
	if p.hit == nil {
		return false, "it had ended before", nil
	}
	select {
	case <-p.hit.process.Done():
	default:
		_, now, err := p.standing(ctx)
		p.idle = err == nil && now.Injected.RefusedBytes == p.order.standing(p.Node).Injected.RefusedBytes && p.unwritten()
		return false, fmt.Sprintf("the process lives, its disk has refused %d bytes", now.Injected.RefusedBytes), err
	}
	life := p.nodes[p.Node].lastLife()
	if life.session != p.hit || life.failed.Standing == nil {
		return false, "the process has ended without a word about its disk: " + describeExit(p.hit.process.Exit()), nil
	}
	refused := life.failed.Standing.Injected.RefusedBytes
	return refused > 0, fmt.Sprintf("the disk refused %d bytes; the process said %q, and %s", refused, life.failed.Error, describeExit(p.hit.process.Exit())), nil
}

// disk looks at what the disk of the process that has ended has lost.
func (p *proof) disk(context.Context) (bool, string, error) {
	life := p.nodes[p.Node].lastLife()
	if life.session != p.hit || p.hit == nil {
		return false, "the process hasn't ended", nil
	}
	if life.disk != p.Disk {
		return false, fmt.Sprintf("its disk is %q", life.disk), nil
	}
	text := fmt.Sprintf("its files had %d bytes when it ended, and %d then; %d bytes of its log's %d were synced",
		life.bytes[0], life.bytes[1], life.log[2], life.log[0])
	switch p.Disk {
	case faults.DiskEmpty:
		return life.bytes[1] == 0, text, nil
	case faults.DiskLostUnsynced:
		return life.log[1] == life.log[2] && life.bytes[0]-life.bytes[1] == life.log[0]-life.log[1], text, nil
	case faults.DiskTorn:
		torn := life.log[1] > life.log[2] || life.log[0] == 0
		return torn && life.bytes[0]-life.bytes[1] == life.log[0]-life.log[1], text, nil
	}
	return true, text, nil
}

// configured looks whether a further configuration is in force.
func (p *proof) configured(ctx context.Context) (bool, string, error) {
	var names []string
	if p.Node != "" {
		names = []string{p.Node}
	} else if p.order.order.Reconfigure != nil {
		names = p.order.order.Reconfigure.Nodes
	}
	var highest uint64
	for _, name := range names {
		s := p.t.members.live(name)
		if s == nil || !p.nodes[name].answers() {
			continue
		}
		asking, cancel := answering(ctx)
		standing, err := s.standing(asking)
		cancel()
		if err == nil {
			highest = max(highest, standing.Configuration)
		}
	}
	text := fmt.Sprintf("configuration %d is in force, %d was before", highest, p.order.configuration)
	return highest > p.order.configuration, text, nil
}

// session is the process of a node that an order was about.
func (p *parts) session(node string) *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sessions[node]
}

// standing is where a node stood before the order was carried out.
func (p *parts) standing(node string) control.Standing {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.standings[node]
}

// about notes the process that an order is about.
func (p *parts) about(node string, s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sessions == nil {
		p.sessions = map[string]*session{}
	}
	p.sessions[node] = s
}

// size is how large a node's files were before the order was carried out.
func (p *parts) size(node string) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sizes[node]
}

// stood notes where a node stood before, and how large its files were.
func (p *parts) stood(node string, standing control.Standing, size int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.standings == nil {
		p.standings, p.sizes = map[string]control.Standing{}, map[string]int64{}
	}
	p.standings[node], p.sizes[node] = standing, size
}
