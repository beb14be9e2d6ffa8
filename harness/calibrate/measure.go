package calibrate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"quorumlab/harness/link"
	"quorumlab/node/control"
	"quorumlab/node/driver/clock"
	"quorumlab/results"
	"quorumlab/topologies"
)

// Echo is the control channel of a host's echo process.
type Echo interface {
	Call(ctx context.Context, command control.Command) (control.Line, error)
}

// Lab is what is to be measured.
type Lab struct {
	// Topology is the declaration, with monitors.
	Topology *topologies.Topology
	// Echoes are the echo processes of at least the Stations by the hosts' names.
	Echoes map[string]Echo
	// Dir is the folder that all of them write to. Rows that were read are removed.
	Dir string
	// Seed is that of the network. It started within StartedNS, on this process's
	// CLOCK_MONOTONIC; {0, 0} if that isn't known.
	Seed      uint64
	StartedNS [2]int64
	// ClockOffset is engine.Lab's.
	ClockOffset func(ctx context.Context, host string) (offset, uncertainty time.Duration, err error)
	// Load, unless nil, tells how the machine has fared so far: no link is blamed for frames
	// that the machine made late.
	Load func(ctx context.Context) (Load, error)
}

// Options say how thoroughly to measure.
type Options struct {
	// Budget is about how long it may take; what fails is tried again beyond it.
	Budget time.Duration
	// FalseAlarm is the probability that any of a lab's links fails though all are as
	// declared, apart from a machine that is too busy.
	FalseAlarm float64
	// Tries is how often what fails is measured: a busy moment of the machine makes
	// frames late, but only a wrong link makes them late each time.
	Tries int
	// Short is the form that comes before each trial: only what is random is measured, and
	// a few rates.
	Short bool
	// Progress, unless nil, is told what is being measured.
	Progress func(text string)
}

// Defaults.
const (
	// FalseAlarm is the probability of a false alarm of a calibration, ShortFalseAlarm of
	// the short form before a trial.
	FalseAlarm      = 1e-4
	ShortFalseAlarm = 1e-6
	// Tries is how often what fails is measured.
	Tries = 3
	// Budget is how long a calibration takes.
	Budget = 30 * time.Second
	// ShortBudget is how long the streams of the short form take, shortTrains its trains.
	ShortBudget = 700 * time.Millisecond
	shortTrains = 100 * time.Millisecond
	shortTrain  = 20 * time.Millisecond
	// mostShortTrain bounds the frames of a train that is cheap.
	mostShortTrain = 500
)

const (
	// testsEach is at most how many judgements there are about a direction.
	testsEach = 10
	// streamShare is the streams' of the budget.
	streamShare = 0.6
	// callTime is about how long it takes to arrange a stream.
	callTime = 5 * time.Millisecond
	// longestWait is for a trace's gap to end.
	longestWait = 5 * time.Second
)

// measurer is a calibration at work.
type measurer struct {
	lab        Lab
	options    Options
	addresses  map[string]string
	directions []direction

	mu sync.Mutex
	// found has the rows by the number of the direction and the kind of what was sent.
	found  map[int]map[string][]results.LinkCheck
	counts map[string]func() counts
	// starts has judge.startsNS by the number of the direction, once its stream has told.
	starts map[int][]int64
}

// task is what to send onto a direction.
type task struct {
	direction int
	order     order
}

// Measure measures the links and returns one row for each parameter of each direction,
// in the topology's order. If the context ends early the rows are those of what was
// measured, and the error is the context's cause.
func Measure(ctx context.Context, lab Lab, options Options) ([]results.LinkCheck, error) {
	m, err := newMeasurer(lab, options)
	if err != nil {
		return nil, err
	}
	err = m.run(ctx)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return m.rows(), err
}

// Stations are the hosts, monitors among them, that Measure would have send or receive: of
// the lab the topology and the seed are given. No others need an echo process for it.
func Stations(lab Lab, options Options) (map[string]bool, error) {
	m, err := newMeasurer(lab, options)
	if err != nil {
		return nil, err
	}
	stations := map[string]bool{}
	streams, trains := m.chosen()
	for _, t := range trains {
		streams = append(streams, t.direction)
	}
	for _, i := range streams {
		stations[m.directions[i].sender], stations[m.directions[i].receiver] = true, true
	}
	return stations, nil
}

func newMeasurer(lab Lab, options Options) (*measurer, error) {
	all, err := directions(lab.Topology)
	if err != nil {
		return nil, err
	}
	m := &measurer{
		lab: lab, options: options, directions: all, addresses: map[string]string{},
		found: map[int]map[string][]results.LinkCheck{}, counts: map[string]func() counts{}, starts: map[int][]int64{},
	}
	for _, host := range lab.Topology.Hosts {
		m.addresses[host.Name] = host.Address.String()
	}
	return m, nil
}

func (m *measurer) run(ctx context.Context) error {
	streams, trains := m.chosen()
	budget := time.Duration(streamShare * float64(m.options.Budget))
	if m.options.Short {
		budget = m.options.Budget
	}
	waves := max(1, (len(streams)+together-1)/together)
	for wave := range slices.Chunk(streams, together) {
		if err := m.streams(ctx, wave, budget/time.Duration(waves), 0); err != nil {
			return err
		}
	}
	left := m.options.Budget - budget
	for _, t := range trains {
		// Short trains fit into a budget of their own.
		if left -= t.order.lasts(m.declared(t)) + callTime; left < 0 && !m.options.Short {
			m.untested(t, "there was no time left; allow more")
			continue
		}
		began := time.Now()
		if err := m.measure(ctx, t, 0, min(left, longestWait)); err != nil {
			return err
		}
		if gaps(m.declared(t)) { // it may have waited
			left -= max(0, time.Since(began)-t.order.lasts(m.declared(t))-callTime)
		}
	}
	return m.again(ctx, trains)
}

func (m *measurer) declared(t task) topologies.Parameters { return m.directions[t.direction].declared }

// chosen lists the directions to have streams, and the trains and bursts that follow one
// after the other.
func (m *measurer) chosen() (streams []int, trains []task) {
	for i := range m.directions {
		d := &m.directions[i]
		p := d.declared
		if d.untestable != "" {
			if !m.options.Short {
				m.note(i, kindStream, m.judge(i).untested("delay", "ms", d.untestable))
			}
			continue
		}
		if !m.options.Short || !steady(p) {
			streams = append(streams, i)
		}
		if p.RateBPS == 0 || p.Down {
			continue
		}
		if m.options.Short {
			trains = append(trains, task{i, planTrain(p, shortTrain)})
			continue
		}
		trains = append(trains, task{i, planTrain(p, trainLasts(p))})
		trains = append(trains, m.bursts(i)...)
	}
	if m.options.Short {
		return m.sampled(streams), m.cheap(trains)
	}
	return streams, trains
}

// steady tells whether a direction treats each frame alike.
func steady(p topologies.Parameters) bool {
	p.RateBPS = 0
	return p.DelayOnly()
}

// bursts are those that a direction's queue takes.
func (m *measurer) bursts(i int) []task {
	d := &m.directions[i]
	p := d.declared
	var tasks []task
	for _, kind := range []string{kindBurst, kindBurstBytes} {
		unit := "frames"
		if kind == kindBurstBytes {
			unit = "bytes"
		}
		if kind == kindBurst && p.QueueFrames == 0 || kind == kindBurstBytes && p.QueueBytes == 0 {
			continue
		}
		o, reason := planBurst(p, kind)
		if reason != "" {
			m.note(i, kind, m.judge(i).untested("queue", unit, reason))
			continue
		}
		tasks = append(tasks, task{i, o})
	}
	return tasks
}

// sampled draws the directions whose streams fit into the short form, other ones before
// each trial.
func (m *measurer) sampled(streams []int) []int {
	if len(streams) <= together {
		return streams
	}
	random := rand.New(rand.NewPCG(m.lab.Seed, 0x73686f7274)) // "short"
	random.Shuffle(len(streams), func(i, k int) { streams[i], streams[k] = streams[k], streams[i] })
	streams = streams[:together]
	slices.Sort(streams)
	return streams
}

// cheap draws the trains that the short form has time for.
func (m *measurer) cheap(trains []task) []task {
	random := rand.New(rand.NewPCG(m.lab.Seed, 0x747261696e)) // "train"
	random.Shuffle(len(trains), func(i, k int) { trains[i], trains[k] = trains[k], trains[i] })
	left := shortTrains
	var chosen []task
	for _, t := range trains {
		if takes := t.order.lasts(m.declared(t)) + callTime; takes <= left && t.order.frames <= mostShortTrain {
			left -= takes
			chosen = append(chosen, t)
		}
	}
	return chosen
}

// streams measures directions side by side, and judges them when all is quiet again.
func (m *measurer) streams(ctx context.Context, wave []int, window time.Duration, try int) error {
	var declared []topologies.Parameters
	for _, i := range wave {
		declared = append(declared, m.directions[i].declared)
	}
	m.tell(fmt.Sprintf("delay and loss, %d directions at once", len(wave)))
	orders := planStreams(declared, window)
	shown := make([]shown, len(wave))
	before, err := m.load(ctx)
	if err != nil {
		return err
	}
	sending, sendingCtx := errgroup.WithContext(ctx)
	for k, o := range orders {
		sending.Go(func() (err error) {
			shown[k], err = m.show(sendingCtx, task{wave[k], o}, try)
			return err
		})
	}
	if err := sending.Wait(); err != nil {
		return err
	}
	after, err := m.load(ctx)
	if err != nil {
		return err
	}
	judging, judgingCtx := errgroup.WithContext(ctx)
	judging.SetLimit(runtime.GOMAXPROCS(0))
	for k, o := range orders {
		judging.Go(func() error {
			if judgingCtx.Err() != nil {
				return context.Cause(judgingCtx)
			}
			j := m.judge(wave[k])
			j.uncertainty, j.strain, j.startsNS = shown[k].uncertainty, since(before, after), nil
			m.note(wave[k], kindStream, j.stream(shown[k].record, o)...)
			m.mu.Lock()
			m.starts[wave[k]] = j.startsNS
			m.mu.Unlock()
			return nil
		})
	}
	return judging.Wait()
}

// again measures once more what failed, or couldn't be judged.
func (m *measurer) again(ctx context.Context, trains []task) error {
	for try := 1; try < m.options.Tries; try++ {
		var wave []int
		for i := range m.directions {
			if m.failed(i, kindStream) {
				wave = append(wave, i)
			}
		}
		for part := range slices.Chunk(wave, together) {
			if err := m.streams(ctx, part, m.options.Budget/2, try); err != nil {
				return err
			}
		}
		for _, t := range trains {
			if !m.failed(t.direction, t.order.kind) {
				continue
			}
			if err := m.measure(ctx, t, try, longestWait); err != nil {
				return err
			}
		}
	}
	return nil
}

// failed tells whether to measure again: not what was never measured, and in the short
// form not what couldn't be judged.
func (m *measurer) failed(direction int, kind string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.ContainsFunc(m.found[direction][kind], func(c results.LinkCheck) bool {
		return c.Finding == results.LinkFail || c.Finding == results.LinkNotTested && c.Frames > 0 && !m.options.Short
	})
}

// untested notes why a train or a burst tells nothing.
func (m *measurer) untested(t task, reason string) {
	parameter, unit := "rate", "bit/s"
	switch t.order.kind {
	case kindBurst:
		parameter, unit = "queue", "frames"
	case kindBurstBytes:
		parameter, unit = "queue", "bytes"
	}
	m.note(t.direction, t.order.kind, m.judge(t.direction).untested(parameter, unit, reason))
}

// shown is what came of a task.
type shown struct {
	record      *record
	uncertainty time.Duration
}

// show carries out a task.
func (m *measurer) show(ctx context.Context, t task, try int) (shown, error) {
	d := &m.directions[t.direction]
	r, uncertainty, err := m.send(ctx, t, try)
	if err != nil {
		return shown{}, fmt.Errorf("measuring %s: %w", d, err)
	}
	if len(r.sentNS) == 0 {
		return shown{}, fmt.Errorf("measuring %s: %s could send nothing", d, d.sender)
	}
	return shown{r, uncertainty}, nil
}

// measure sends a train or a burst and judges what it shows; before, it waits so long at
// most for a gap of a trace to end.
func (m *measurer) measure(ctx context.Context, t task, try int, most time.Duration) error {
	m.tell(fmt.Sprintf("%s on %s", t.order.kind, &m.directions[t.direction]))
	j := m.judge(t.direction)
	if m.options.Short {
		most = 0
	}
	wait, open := j.opening(t.order, int64(clock.Now()), most)
	if !open {
		m.untested(t, "its trace loses what is sent, for longer than there is time to wait")
		return nil
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(wait):
	}
	s, err := m.show(ctx, t, try)
	if err != nil {
		return err
	}
	j.uncertainty = s.uncertainty
	if t.order.kind == kindTrain {
		m.note(t.direction, kindTrain, j.train(s.record))
	} else {
		m.note(t.direction, t.order.kind, j.queue(s.record, t.order.kind == kindBurstBytes))
	}
	return nil
}

func (m *measurer) judge(direction int) *judge {
	d := &m.directions[direction]
	m.mu.Lock()
	starts := m.starts[direction]
	m.mu.Unlock()
	return &judge{
		direction: d, alpha: m.options.FalseAlarm / float64(testsEach*max(len(m.directions), 1)),
		earliestNS: m.lab.StartedNS[0], latestNS: m.lab.StartedNS[1], startsNS: starts,
		seed: link.DirectionSeed(m.lab.Seed, d.index, d.reverse), counted: m.countsOf,
	}
}

// countsOf draws each kind of direction's counts once.
func (m *measurer) countsOf(p topologies.Parameters, o order, lag int) counts {
	key := fmt.Sprintf("%+v %+v %+v", p, p.GilbertElliott, o)
	m.mu.Lock()
	drawn := m.counts[key]
	if drawn == nil {
		drawn = sync.OnceValue(func() counts { return drawCounts(p, nominal(o), lag) })
		m.counts[key] = drawn
	}
	m.mu.Unlock()
	return drawn()
}

// note keeps rows in place of earlier ones of the same kind.
func (m *measurer) note(direction int, kind string, rows ...results.LinkCheck) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.found[direction] == nil {
		m.found[direction] = map[string][]results.LinkCheck{}
	}
	m.found[direction][kind] = rows
}

// rows are all that was found, in the topology's order.
func (m *measurer) rows() []results.LinkCheck {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []results.LinkCheck
	for i := range m.directions {
		for _, kind := range []string{kindStream, kindTrain, kindBurst, kindBurstBytes} {
			all = append(all, m.found[i][kind]...)
		}
	}
	return all
}

func (m *measurer) tell(text string) {
	if m.options.Progress != nil {
		m.options.Progress(text)
	}
}

var errNoAnswer = errors.New("an answer without what was asked for")
