package sim

import (
	"slices"

	"quorumlab/node/consensus"
)

// timerKey names a timer of a process: the protocol's machine and the client
// have names of their own.
type timerKey struct {
	timer  consensus.Timer
	client bool
}

// timerEntry is a timer that is set; made breaks ties in the order of setting.
type timerEntry struct {
	key  timerKey
	at   int64
	made uint64
}

func (e *timerEntry) before(other *timerEntry) bool {
	return e.at < other.at || e.at == other.at && e.made < other.made
}

// timers are those of one process: a binary heap, the earliest first, with an
// index, so that a timer can be moved.
type timers struct {
	heap  []timerEntry
	index map[timerKey]int
	made  uint64
}

// next is when the earliest timer is due, or never.
func (t *timers) next() int64 {
	if len(t.heap) == 0 {
		return never
	}
	return t.heap[0].at
}

// set adds the timer, or moves it if it is set.
func (t *timers) set(key timerKey, at int64) {
	t.made++
	entry := timerEntry{key: key, at: at, made: t.made}
	if i, known := t.index[key]; known {
		t.heap[i] = entry
		t.down(i)
		t.up(t.index[key])
		return
	}
	if t.index == nil {
		t.index = map[timerKey]int{}
	}
	t.heap = append(t.heap, entry)
	t.index[key] = len(t.heap) - 1
	t.up(len(t.heap) - 1)
}

// cancel removes the timer if it is set.
func (t *timers) cancel(key timerKey) {
	if i, known := t.index[key]; known {
		t.remove(i)
	}
}

// pop removes the earliest timer if it is due.
func (t *timers) pop(now int64) (key timerKey, due bool) {
	if t.next() > now {
		return timerKey{}, false
	}
	key = t.heap[0].key
	t.remove(0)
	return key, true
}

// clear forgets all timers.
func (t *timers) clear() {
	t.heap = t.heap[:0]
	clear(t.index)
}

func (t *timers) remove(i int) {
	last := len(t.heap) - 1
	delete(t.index, t.heap[i].key)
	moved := t.heap[last]
	t.heap = t.heap[:last]
	if i < last {
		t.heap[i] = moved
		t.index[moved.key] = i
		t.down(i)
		t.up(t.index[moved.key])
	}
}

func (t *timers) swap(i, j int) {
	t.heap[i], t.heap[j] = t.heap[j], t.heap[i]
	t.index[t.heap[i].key] = i
	t.index[t.heap[j].key] = j
}

func (t *timers) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !t.heap[i].before(&t.heap[parent]) {
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
			if t.heap[child].before(&t.heap[least]) {
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

// cancelClient removes the client's timers.
func (t *timers) cancelClient() {
	for {
		i := slices.IndexFunc(t.heap, func(e timerEntry) bool { return e.key.client })
		if i < 0 {
			return
		}
		t.remove(i)
	}
}
