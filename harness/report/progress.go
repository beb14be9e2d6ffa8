package report

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// Progress shows how far a run has come. Trials come one after the other
// (TrialStart) or side by side (TrialsStart), never both; the methods may be
// called from several goroutines, and after Close they do nothing. They don't
// report write errors: the run matters more than its display.
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
	// Fault tells what broke or was healed in the trial that runs, such as "60.0 s:
	// kill-leader hit leader1".
	Fault(text string)
	// TrialEnd tells the trial's verdict in a few words.
	TrialEnd(verdict string)
	// TrialsStart begins so many trials that run side by side.
	TrialsStart(total int)
	// TrialsLive tells how much of the time of one of them has passed.
	TrialsLive(trial int, elapsed, total time.Duration)
	// TrialsDone tells that one of them has ended, what it was about, and its
	// verdict in a few words.
	TrialsDone(trial int, description, verdict string, valid bool)
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

	// faults counts those of the trial that runs.
	faults int
	// above, if not nil, takes lines while a bar is below them.
	above io.Writer
	// Of trials side by side: how many there are, have ended, and are void.
	total, done, void int
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

func (p *lineProgress) Fault(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tell(text)
}

// Of one trial's faults, maxFaultLines get a line each.
const maxFaultLines = 20

// tell writes a line about a fault. It must be called with the lock held.
func (p *lineProgress) tell(text string) {
	switch p.faults++; {
	case p.faults < maxFaultLines:
		p.print(p.name + ": " + text)
	case p.faults == maxFaultLines:
		p.print(p.name + ": " + text + "; further faults are in its faults.json")
	}
}

func (p *lineProgress) TrialEnd(verdict string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.print(p.name + ": " + verdict)
}

// Of many trials side by side, lineProgress writes a line for each tenth that is
// done, and one for each void trial up to maxVoidLines.
const maxVoidLines = 20

func (p *lineProgress) TrialsStart(total int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.total, p.done, p.void = total, 0, 0
}

func (p *lineProgress) TrialsLive(int, time.Duration, time.Duration) {}

func (p *lineProgress) TrialsDone(trial int, description, verdict string, valid bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended(trial, description, verdict, valid)
	if p.done*10/p.total > (p.done-1)*10/p.total {
		p.print(p.standing())
	}
}

// ended counts a trial, and names it if it is void.
func (p *lineProgress) ended(trial int, description, verdict string, valid bool) {
	p.done++
	if valid {
		return
	}
	if p.void++; p.void > maxVoidLines {
		return
	}
	p.rename(trial, p.total, description)
	p.print(p.name + ": " + verdict)
	if p.void == maxVoidLines {
		p.print("further void trials are only counted")
	}
}

// standing is how many of the trials side by side are done.
func (p *lineProgress) standing() string {
	text := fmt.Sprintf("%d of %s done", p.done, plural(p.total, "trial"))
	if p.void > 0 {
		text += fmt.Sprintf(", %d void", p.void)
	}
	return text
}

func (p *lineProgress) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
}

func (p *lineProgress) rename(trial, total int, description string) {
	p.faults = 0
	p.name = fmt.Sprintf("trial %d/%d", trial, total)
	if description != "" {
		p.name += " " + description
	}
}

// print must be called with the lock held.
func (p *lineProgress) print(line string) {
	switch {
	case p.closed:
	case p.above != nil:
		fmt.Fprintln(p.above, harmless(line))
	default:
		fmt.Fprintln(p.w, harmless(line))
	}
}
