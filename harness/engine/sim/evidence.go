package sim

import (
	"fmt"
	"math"
	"slices"
	"time"

	"quorumlab/faults"
	"quorumlab/node/consensus"
	"quorumlab/results"
)

const (
	// pollInterval is how often evidence is looked for. Going by it, a slow process is
	// seen at all points of its rhythm alike.
	pollInterval = int64(1700 * time.Microsecond)
	// probeInterval is how often probes are sent anew that have proved nothing.
	probeInterval = int64(50 * time.Millisecond)
	// slowSamples is how often a slow process is looked at, slowTolerance by how much the
	// share of the looks that found it standing still may be off.
	slowSamples   = 60
	slowTolerance = 0.05
	// clockTime is for how long a clock's rate is measured, clockTolerance by how much, of
	// itself, it may be off; jumpTolerance likewise of jumps.
	clockTime      = int64(20 * time.Millisecond)
	clockTolerance = 0.001
	jumpTolerance  = time.Millisecond
	// leastConsidered is of how many messages a share must have been ignored, unless there
	// aren't so many until the fault is over: of a few, any share may be.
	leastConsidered = 20
	// settledTime is for how long nothing may go wrong where nothing does any more.
	settledTime = int64(60 * time.Millisecond)
	// proofTime is how long after the load evidence is waited for.
	proofTime = int64(20 * time.Second)
)

// watch is one piece of evidence that is looked for.
type watch struct {
	order  *faults.Order
	expect faults.Expectation
	// process is the expectation's node, if it has one.
	process *process
	// since is when the order was carried out, before how things were then.
	since  int64
	before reading
	// first is how the process's clock stood when the present measurement began.
	first clockReading
	// looks counts those at the process, still those that found it standing still.
	looks, still int
	// nextAt is when there is no use in looking before.
	nextAt int64
}

// reading is how things are that evidence is compared with.
type reading struct {
	injected
	clock clockReading
	// durable is what a sync had made durable, written what was on the disk at all.
	durable, written uint64
	configuration    uint64
}

// clockReading is what a process takes the time for, at a time.
type clockReading struct {
	real  int64
	local consensus.Time
}

// watch reads how things are before an order is carried out.
func (s *trial) watch(order *faults.Order) (watches []*watch) {
	for _, e := range order.Expect {
		w := &watch{order: order, expect: e, since: s.now}
		if p, known := s.byName(e.Node); known {
			w.process = p
			w.before = reading{
				injected: p.condition.counters, clock: s.readClock(p),
				durable: p.storage.durable, written: p.storage.last(),
			}
		}
		w.before.configuration = s.configuration()
		watches = append(watches, w)
	}
	return watches
}

func (s *trial) readClock(p *process) clockReading { return clockReading{s.now, p.local(s.now)} }

// configuration is the latest that any process is in.
func (s *trial) configuration() (latest uint64) {
	for _, p := range s.processes {
		if p.machine != nil {
			latest = max(latest, p.machine.Status().Configuration)
		}
	}
	return latest
}

// lookFor looks for evidence for the first time, and again later if it isn't there.
func (s *trial) lookFor(watches []*watch) {
	f := s.faulting
	for _, w := range watches {
		if !s.judge(w, false) {
			f.watches = append(f.watches, w)
		}
	}
	s.poll()
}

// poll has evidence looked for again.
func (s *trial) poll() {
	if f := s.faulting; len(f.watches) > 0 && f.pollAt == never && !s.over {
		f.pollAt = s.now + pollInterval
		s.schedule(f.pollAt, eventPoll, 0)
	}
}

// pollEvidence is the event of looking again.
func (s *trial) pollEvidence() {
	f := s.faulting
	f.pollAt = never
	s.conclude(false, func(*watch) bool { return true })
	s.poll()
	s.mayEnd()
}

// conclude judges some of the evidence that is awaited, for the last time or not.
func (s *trial) conclude(last bool, which func(*watch) bool) {
	f := s.faulting
	kept := f.watches[:0]
	for _, w := range f.watches {
		if !which(w) || !s.judge(w, last) {
			kept = append(kept, w)
		}
	}
	clear(f.watches[len(kept):])
	f.watches = kept
}

// concludeHealed judges what was to prove an occurrence that is about to be healed.
func (s *trial) concludeHealed(occurrence int) {
	s.conclude(true, func(w *watch) bool { return w.order.Occurrence == occurrence && !w.order.Heal })
}

// concludeFaults judges all that is awaited still, at the end of the trial.
func (s *trial) concludeFaults() {
	if s.faulting != nil {
		s.conclude(true, func(*watch) bool { return true })
	}
}

// proving tells whether evidence is awaited that may still come.
func (s *trial) proving() bool {
	f := s.faulting
	return f != nil && (f.fulfilling || len(f.watches) > 0 && s.now < f.endAt+proofTime)
}

// judge looks once and tells whether that decides the matter. The last look does.
func (s *trial) judge(w *watch, last bool) (decided bool) {
	if s.now < w.nextAt && !last {
		return false
	}
	found, text := s.measure(w, last)
	if !found && s.faulting.director.Moot(*w.order, w.expect) {
		switch w.expect.Kind {
		case faults.ExpectIgnored: // what was ignored before counts
			found, text = s.measure(w, true)
		case faults.ExpectRefused: // once the process is started again its disk may still show it
			if !last {
				return false
			}
		}
		if !found {
			return true
		}
	}
	if !found && !last {
		return false
	}
	evidence := w.order.Evidence(w.expect, found, text)
	evidence.Idle = !found && s.idle(w)
	s.trace.event(s.now, markEvidence, int32(w.order.Occurrence), s.fingerprint(evidence))
	s.faulting.director.Prove(w.order.Occurrence, s.elapsed(), evidence)
	return true
}

// idle tells whether nothing came since the order by which the fault could have shown
// itself, or too little. It goes by what would have come without the fault too, or by whether
// it is in force.
func (s *trial) idle(w *watch) bool {
	p := w.process
	if p == nil || !p.alive || w.order.Heal {
		return false
	}
	c := p.condition
	switch w.expect.Kind {
	case faults.ExpectIgnored:
		return c.filter.Active() && c.counters.ignored == w.before.ignored &&
			faults.TooFew(c.counters.considered-w.before.considered, w.expect.Share)
	case faults.ExpectSlowSync:
		return c.counters.syncAt <= w.since
	case faults.ExpectRefused:
		return c.counters.refusedBytes == w.before.refusedBytes && p.storage.last() == w.before.written
	}
	return false
}

// measure tells whether what is expected is there, and what was found.
func (s *trial) measure(w *watch, last bool) (found bool, text string) {
	p, heal := w.process, w.order.Heal
	switch kind := w.expect.Kind; {
	case kind == faults.ExpectCut:
		return s.lookAtCut(w)
	case kind == faults.ExpectLink, kind == faults.ExpectPair:
		return s.lookAtFrames(w)
	case kind == faults.ExpectConfiguration:
		now := s.configuration()
		return now > w.before.configuration, fmt.Sprintf("configuration %d is in force, %d was before", now, w.before.configuration)
	case p == nil:
		return false, fmt.Sprintf("nothing is known that would prove %q at %q", kind, w.expect.Target())
	case kind == faults.ExpectDisk:
		return lookAtDisk(w)
	case heal && (kind == faults.ExpectDown || kind == faults.ExpectRefused):
		return s.lives(p)
	case kind == faults.ExpectDown:
		return !p.alive, describeLife(p)
	case kind == faults.ExpectRefused:
		refused := p.condition.counters.refusedBytes - w.before.refusedBytes
		return refused > 0 && !p.alive, fmt.Sprintf("the disk has refused %d bytes; %s", refused, describeLife(p))
	case kind == faults.ExpectIgnored:
		return s.lookAtIgnored(w, last)
	case !p.alive:
		return false, describeLife(p)
	case kind == faults.ExpectPaused:
		paused := p.condition.paused
		return paused != heal, fmt.Sprintf("the process is stopped: %v; %d inputs wait", paused, p.inbox.count)
	case kind == faults.ExpectSlow:
		return s.lookAtRhythm(w, last)
	case kind == faults.ExpectClock:
		return s.lookAtClock(w, last)
	case kind == faults.ExpectSlowSync:
		return s.lookAtSyncs(w)
	}
	return false, fmt.Sprintf("nothing is known that would prove %q", w.expect.Kind)
}

func describeLife(p *process) string {
	if p.alive {
		return "the process lives"
	}
	return "the process is gone"
}

// lives tells whether a process lives and has connections to all that it can reach.
func (s *trial) lives(p *process) (found bool, text string) {
	if !p.alive {
		return false, describeLife(p)
	}
	wanted, connected := 0, 0
	for _, other := range s.processes {
		if other == p || !peers(p, other) || !other.alive || other.condition.still() ||
			s.severed(p.host, other.host) || s.severed(other.host, p.host) {
			continue
		}
		wanted++
		if p.connected(other) && other.connected(p) {
			connected++
		}
	}
	return connected == wanted, fmt.Sprintf("the process lives, and has connections with %d of %d that live and can be reached", connected, wanted)
}

// severed tells whether all frames from one host to another are lost.
func (s *trial) severed(from, to int) bool {
	directions, ok := s.network.directionsBetween(from, to)
	return !ok || slices.ContainsFunc(directions, func(d int32) bool {
		return s.network.directions[d].parameters.MeanLoss() >= 1
	})
}

// lookAtRhythm counts how often a process stands still.
func (s *trial) lookAtRhythm(w *watch, last bool) (found bool, text string) {
	if s.now > w.since { // at the very beginning it hasn't begun to run
		w.looks++
		if w.process.stopped(s.now) {
			w.still++
		}
	}
	least := slowSamples
	if last {
		least = slowSamples / 10
	}
	if w.looks < least {
		return false, fmt.Sprintf("the process's core was looked at %d times, want at least %d", w.looks, least)
	}
	share, want := float64(w.still)/float64(w.looks), 1-w.expect.Share
	// A few looks more or less at the ends of the rhythm make that much.
	tolerance := slowTolerance + 2/float64(w.looks)
	return math.Abs(share-want) <= tolerance, fmt.Sprintf("the process's core stood still at %d of %d looks, which is %.0f%%, want %.0f%%",
		w.still, w.looks, 100*share, 100*want)
}

func (s *trial) lookAtIgnored(w *watch, last bool) (found bool, text string) {
	now := &w.process.condition.counters
	ignored, considered := now.ignored-w.before.ignored, now.considered-w.before.considered
	text = fmt.Sprintf("%d of %d messages were ignored", ignored, considered)
	if w.order.Heal {
		return w.process.alive && ignored == 0 && !w.process.condition.filter.Active() && s.now-w.since >= settledTime, text
	}
	n, share := float64(considered), w.expect.Share
	if considered == 0 || share <= 0 { // with several rules the share isn't one of them
		return ignored > 0, text
	}
	if considered < leastConsidered && !last {
		return false, text
	}
	// Five standard deviations, and one message.
	off := math.Abs(float64(ignored)/n - share)
	return ignored > 0 && off <= 5*math.Sqrt(share*(1-share)/n)+1/n, text
}

func (s *trial) lookAtClock(w *watch, last bool) (found bool, text string) {
	now := s.readClock(w.process)
	if jump := w.expect.Jump; jump != 0 {
		ahead := now.local.Sub(w.before.clock.local) - time.Duration(now.real-w.before.clock.real)
		return (ahead - jump).Abs() <= jumpTolerance, fmt.Sprintf("the process's clock has jumped by %v, want %v", ahead, jump)
	}
	if w.first == (clockReading{}) {
		w.first = now
	}
	passed := now.real - w.first.real
	if passed < clockTime && !(last && passed > 0) {
		return false, fmt.Sprintf("the process's clock was watched for %v, want %v", time.Duration(passed), time.Duration(clockTime))
	}
	rate := float64(now.local.Sub(w.first.local)) / float64(passed)
	w.first = now // another fault's jump spoils one measurement only
	return math.Abs(rate-w.expect.Rate) <= clockTolerance*w.expect.Rate,
		fmt.Sprintf("in %v the process's clock ran at %.4f times its rate, want %.4g", time.Duration(passed), rate, w.expect.Rate)
}

func (s *trial) lookAtSyncs(w *watch) (found bool, text string) {
	c := &w.process.condition.counters
	slow := c.syncAt > w.since && c.syncTook >= int64(w.expect.Delay)
	switch {
	case c.syncAt <= w.since:
		text = "there was no sync since"
	default:
		text = fmt.Sprintf("the latest sync took %v, want %v or more while the fault lasts", time.Duration(c.syncTook), w.expect.Delay)
	}
	if w.order.Heal {
		return !slow && s.now-w.since >= settledTime, text
	}
	return slow, text
}

// lookAtDisk compares what is left on the disk of a process that has ended with what
// should be.
func lookAtDisk(w *watch) (found bool, text string) {
	st := &w.process.storage
	last := st.last()
	text = fmt.Sprintf("%d of %d writes are on the disk, %d were durable; %s", last, w.before.written, w.before.durable, describeLife(w.process))
	if w.process.alive {
		return false, text
	}
	if w.expect.Disk == faults.DiskEmpty {
		return last == 0, text
	}
	return last == w.before.durable, text
}

// faultRecords are what became of the schedule; nil if there was none.
func (s *trial) faultRecords() []results.Fault {
	if s.faulting == nil {
		return nil
	}
	return s.faulting.director.Records()
}
