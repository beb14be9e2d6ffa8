package driver

import "quorumlab/node/consensus"

// timers are a machine's timers, the earliest first: a binary heap with an
// index by timer, so that one can be moved.
type timers struct {
	heap  []timerEntry
	index map[consensus.Timer]int
	// made counts the timers set, to break ties in the order of setting.
	made uint64
}

type timerEntry struct {
	timer consensus.Timer
	at    consensus.Time
	made  uint64
}

func (e timerEntry) before(other timerEntry) bool {
	if e.at != other.at {
		return e.at < other.at
	}
	return e.made < other.made
}

func newTimers() *timers { return &timers{index: map[consensus.Timer]int{}} }

// set adds the timer, or moves it if it is set.
func (t *timers) set(timer consensus.Timer, at consensus.Time) {
	t.cancel(timer)
	t.made++
	t.heap = append(t.heap, timerEntry{timer, at, t.made})
	t.index[timer] = len(t.heap) - 1
	t.up(len(t.heap) - 1)
}

// cancel removes the timer if it is set.
func (t *timers) cancel(timer consensus.Timer) {
	if i, set := t.index[timer]; set {
		t.remove(i)
	}
}

// next is when the earliest timer fires.
func (t *timers) next() (at consensus.Time, any bool) {
	if len(t.heap) == 0 {
		return 0, false
	}
	return t.heap[0].at, true
}

// pop removes the earliest timer if it is due.
func (t *timers) pop(now consensus.Time) (timer consensus.Timer, due bool) {
	if len(t.heap) == 0 || t.heap[0].at > now {
		return consensus.Timer{}, false
	}
	timer = t.heap[0].timer
	t.remove(0)
	return timer, true
}

func (t *timers) remove(i int) {
	last := len(t.heap) - 1
	t.swap(i, last)
	delete(t.index, t.heap[last].timer)
	t.heap = t.heap[:last]
	if i < last {
		t.down(i)
		t.up(i)
	}
}

func (t *timers) swap(i, j int) {
	t.heap[i], t.heap[j] = t.heap[j], t.heap[i]
	t.index[t.heap[i].timer] = i
	t.index[t.heap[j].timer] = j
}

func (t *timers) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !t.heap[i].before(t.heap[parent]) {
			return
		}
		t.swap(i, parent)
		i = parent
	}
}

func (t *timers) down(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(t.heap); child++ {
			if t.heap[child].before(t.heap[least]) {
				least = child
			}
		}
		if least == i {
			return
		}
		t.swap(i, least)
		i = least
	}
}
