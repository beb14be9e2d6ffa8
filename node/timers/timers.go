// Package timers holds the timers of one process, for whoever drives its machine:
// in real time or in virtual time alike. It promises that timers come out in the
// order of their times, and in the order of setting where these are equal.
package timers

import (
	"math"

	"quorumlab/node/consensus"
)

// Never is later than any timer.
const Never consensus.Time = math.MaxInt64

// Set holds timers by their keys: a binary heap, the earliest first, with an
// index, so that one can be moved. The zero Set is empty.
type Set[K comparable] struct {
	heap  []entry[K]
	index map[K]int
	made  uint64
}

// entry is a timer that is set; made breaks ties in the order of setting.
type entry[K comparable] struct {
	key  K
	at   consensus.Time
	made uint64
}

func (e *entry[K]) before(other *entry[K]) bool {
	return e.at < other.at || e.at == other.at && e.made < other.made
}

// Len is the number of timers.
func (s *Set[K]) Len() int { return len(s.heap) }

// Cap is how many timers it has memory for.
func (s *Set[K]) Cap() int { return cap(s.heap) }

// Made counts the timers that were set so far.
func (s *Set[K]) Made() uint64 { return s.made }

// Next is when the earliest timer is due, or Never.
func (s *Set[K]) Next() consensus.Time {
	if len(s.heap) == 0 {
		return Never
	}
	return s.heap[0].at
}

// Set adds the timer, or moves it if it is set.
func (s *Set[K]) Set(key K, at consensus.Time) {
	s.made++
	added := entry[K]{key: key, at: at, made: s.made}
	if i, known := s.index[key]; known {
		s.heap[i] = added
		s.settle(i)
		return
	}
	if s.index == nil {
		s.index = map[K]int{}
	}
	s.heap = append(s.heap, added)
	s.index[key] = len(s.heap) - 1
	s.up(len(s.heap) - 1)
}

// Cancel removes the timer if it is set.
func (s *Set[K]) Cancel(key K) {
	if i, known := s.index[key]; known {
		s.remove(i)
	}
}

// CancelFunc removes the timers for whose keys unwanted is true.
func (s *Set[K]) CancelFunc(unwanted func(K) bool) {
	for i := 0; i < len(s.heap); {
		if !unwanted(s.heap[i].key) {
			i++
			continue
		}
		s.remove(i)
		i = 0 // others have moved
	}
}

// Pop removes the earliest timer if it is due, and was among the first made that
// were set.
func (s *Set[K]) Pop(now consensus.Time, made uint64) (key K, due bool) {
	if len(s.heap) == 0 || s.heap[0].at > now || s.heap[0].made > made {
		return key, false
	}
	key = s.heap[0].key
	s.remove(0)
	return key, true
}

// Clear removes all timers.
func (s *Set[K]) Clear() {
	s.heap = s.heap[:0]
	clear(s.index)
}

func (s *Set[K]) remove(i int) {
	last := len(s.heap) - 1
	delete(s.index, s.heap[i].key)
	moved := s.heap[last]
	s.heap = s.heap[:last]
	if i < last {
		s.heap[i] = moved
		s.index[moved.key] = i
		s.settle(i)
	}
}

// settle moves the i-th entry to where it belongs.
func (s *Set[K]) settle(i int) {
	key := s.heap[i].key
	s.down(i)
	s.up(s.index[key])
}

func (s *Set[K]) swap(i, j int) {
	s.heap[i], s.heap[j] = s.heap[j], s.heap[i]
	s.index[s.heap[i].key] = i
	s.index[s.heap[j].key] = j
}

func (s *Set[K]) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !s.heap[i].before(&s.heap[parent]) {
			return
		}
		s.swap(i, parent)
		i = parent
	}
}

func (s *Set[K]) down(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(s.heap); child++ {
			if s.heap[child].before(&s.heap[least]) {
				least = child
			}
		}
		if least == i {
			return
		}
		s.swap(i, least)
		i = least
	}
}
