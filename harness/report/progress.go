package report

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// Progress shows how far a run has come. Trials come one after the other; the
// methods may be called from several goroutines, and after Close they do
// nothing. They don't report write errors: the run matters more than its
// display.
type Progress interface {
	// Plan shows what is about to run, line by line.
	Plan(lines []string)
	// TrialStart begins trial number trial, from 1, of total; the description
	// says what it is about, such as "replicas=3, repeat 2".
	TrialStart(trial, total int, description string)
	// TrialPhase names what the trial is doing, such as "warmup".
	TrialPhase(name string)
	// TrialLive tells how much of the trial's time has passed, the answers a
	// second and their mean latency (0 if there were none).
	TrialLive(elapsed, total time.Duration, answeredRPS float64, meanLatency time.Duration)
	// TrialEnd tells the trial's verdict in a few words.
	TrialEnd(verdict string)
	// Close leaves the terminal as a program should, at any moment. It may be
	// called twice.
	Close()
}

// NewProgress shows progress on w: on a terminal as a live bar, else as a line
// at the start and the end of each trial, and not at all if quiet.
func NewProgress(w io.Writer, isTerminal, quiet bool) Progress {
	if quiet {
		w, isTerminal = io.Discard, false
	}
	if isTerminal {
		return &barProgress{lineProgress: lineProgress{w: w}}
	}
	return &lineProgress{w: w}
}

// lineProgress writes lines.
type lineProgress struct {
	mu     sync.Mutex
	w      io.Writer
	name   string
	closed bool
}

func (p *lineProgress) Plan(lines []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range lines {
		p.print(line)
	}
}

func (p *lineProgress) TrialStart(trial, total int, description string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rename(trial, total, description)
	p.print(p.name + ": started")
}

func (p *lineProgress) TrialPhase(string) {}

func (p *lineProgress) TrialLive(time.Duration, time.Duration, float64, time.Duration) {}

func (p *lineProgress) TrialEnd(verdict string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.print(p.name + ": " + verdict)
}

func (p *lineProgress) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
}

func (p *lineProgress) rename(trial, total int, description string) {
	p.name = fmt.Sprintf("trial %d/%d", trial, total)
	if description != "" {
		p.name += " " + description
	}
}

// print must be called with the lock held.
func (p *lineProgress) print(line string) {
	if !p.closed {
		fmt.Fprintln(p.w, harmless(line))
	}
}

// barProgress draws a bar for the trial that runs, and lines for those that
// have ended. Each trial's bar has a container of its own, so that nothing
// draws between trials.
type barProgress struct {
	lineProgress
	container *mpb.Progress
	bar       *mpb.Bar

	// live is what the bar's decorators show; they run in goroutines of their
	// own, while mu may be held by one who waits for them.
	live struct {
		sync.Mutex
		phase   string
		elapsed time.Duration
		total   time.Duration
		rps     float64
		latency time.Duration
	}
}

func (p *barProgress) TrialStart(trial, total int, description string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	if p.closed {
		return
	}
	p.rename(trial, total, description)
	p.live.Lock()
	p.live.phase, p.live.elapsed, p.live.total, p.live.rps, p.live.latency = "", 0, 0, 0, 0
	p.live.Unlock()
	name := harmless(p.name)
	p.container = mpb.New(mpb.WithOutput(p.w), mpb.WithAutoRefresh())
	// A bar without a total doesn't complete by itself: TrialEnd does that.
	p.bar = p.container.New(0, mpb.BarStyle(),
		mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return name + p.phase() })),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return p.numbers() })),
		mpb.BarRemoveOnComplete())
}

func (p *barProgress) TrialPhase(name string) {
	p.live.Lock()
	defer p.live.Unlock()
	p.live.phase = name
}

func (p *barProgress) TrialLive(elapsed, total time.Duration, answeredRPS float64, meanLatency time.Duration) {
	p.live.Lock()
	p.live.elapsed, p.live.total = elapsed, total
	p.live.rps, p.live.latency = answeredRPS, meanLatency
	p.live.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar == nil || total <= 0 {
		return
	}
	p.bar.SetTotal(int64(total), false)
	p.bar.SetCurrent(int64(min(max(elapsed, 0), total)))
}

func (p *barProgress) TrialEnd(verdict string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	p.print(p.name + ": " + verdict)
}

func (p *barProgress) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	p.closed = true
}

// clear removes the bar from the screen and ends its goroutines. It must be
// called with mu held.
func (p *barProgress) clear() {
	if p.container == nil {
		return
	}
	p.bar.Abort(true)
	p.container.Wait()
	p.container, p.bar = nil, nil
}

func (p *barProgress) phase() string {
	p.live.Lock()
	defer p.live.Unlock()
	if p.live.phase == "" {
		return " "
	}
	return ", " + harmless(p.live.phase) + " "
}

func (p *barProgress) numbers() string {
	p.live.Lock()
	defer p.live.Unlock()
	if p.live.total <= 0 {
		return ""
	}
	text := fmt.Sprintf(" %.0f/%.0f s", p.live.elapsed.Seconds(), p.live.total.Seconds())
	if p.live.rps > 0 {
		text += "  " + perSecond(p.live.rps) + "/s"
	}
	if p.live.latency > 0 {
		text += "  " + milliseconds(float64(p.live.latency)/float64(time.Millisecond)) + " ms"
	}
	return text
}
