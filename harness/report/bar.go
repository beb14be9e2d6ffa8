package report

import (
	"fmt"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// barProgress draws a bar for the trial that runs, and lines for those that
// have ended. Each trial's bar has a container of its own, so that nothing
// draws between trials. Trials side by side share a bar.
type barProgress struct {
	lineProgress
	container *mpb.Progress
	bar       *mpb.Bar
	// shares are how much is done of the trials that run side by side, of
	// wholeTrial each; sum is their sum.
	shares map[int]int64
	sum    int64

	// live is what the bar's decorators show; they run in goroutines of their
	// own, while mu may be held by one who waits for them.
	live struct {
		sync.Mutex
		phase string
		// standing is how many trials are done, of those side by side.
		standing string
		elapsed  time.Duration
		total    time.Duration
		rps      float64
		latency  time.Duration
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
	p.draw(0, func() string { return name + p.phase() }, p.numbers)
}

// draw begins a bar with texts before and behind it. One without a total doesn't
// complete by itself; clear removes it.
func (p *barProgress) draw(total int64, before, behind func() string) {
	p.container = mpb.New(mpb.WithOutput(p.w), mpb.WithAutoRefresh())
	p.bar = p.container.New(total, mpb.BarStyle(),
		mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return before() })),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return behind() })),
		mpb.BarRemoveOnComplete())
}

// wholeTrial is a trial's part of the bar that trials side by side share. The
// bar is one longer than all of them, so that it doesn't complete by itself.
const wholeTrial = 1000

func (p *barProgress) TrialsStart(total int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	if p.closed {
		return
	}
	p.total, p.done, p.void = total, 0, 0
	p.shares, p.sum = map[int]int64{}, 0
	p.showStanding()
	p.draw(int64(total)*wholeTrial+1, p.standingNow, func() string { return "" })
	p.above = p.container
}

func (p *barProgress) TrialsLive(trial int, elapsed, total time.Duration) {
	if total <= 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil && p.shares != nil {
		p.share(trial, int64(float64(wholeTrial)*min(max(elapsed.Seconds()/total.Seconds(), 0), 1)))
	}
}

// share moves the bar on, never back.
func (p *barProgress) share(trial int, done int64) {
	p.sum += max(done, p.shares[trial]) - p.shares[trial]
	p.shares[trial] = max(done, p.shares[trial])
	p.bar.SetCurrent(p.sum)
}

func (p *barProgress) TrialsDone(trial int, description, verdict string, valid bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar == nil || p.shares == nil {
		return
	}
	p.ended(trial, description, verdict, valid)
	p.showStanding()
	p.share(trial, wholeTrial)
	if p.done == p.total {
		p.clear()
		p.print(p.standing())
	}
}

// showStanding hands to the bar how many trials are done.
func (p *barProgress) showStanding() {
	p.live.Lock()
	defer p.live.Unlock()
	p.live.standing = p.standing()
}

func (p *barProgress) standingNow() string {
	p.live.Lock()
	defer p.live.Unlock()
	return p.live.standing + " "
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

func (p *barProgress) Fault(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.container == nil || p.shares != nil {
		return
	}
	p.above = p.container
	p.tell(text)
	p.above = nil
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
	p.container, p.bar, p.above, p.shares = nil, nil, nil, nil
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
