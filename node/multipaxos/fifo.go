package multipaxos

import "slices"

// fifo is a queue that reuses its memory.
type fifo[T any] struct {
	items []T
	head  int
}

func (q *fifo[T]) len() int { return len(q.items) - q.head }

// first is the oldest item; the queue must not be empty.
func (q *fifo[T]) first() T { return q.items[q.head] }

func (q *fifo[T]) push(item T) {
	if q.head > 0 && len(q.items) == cap(q.items) && q.head >= len(q.items)/2 {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, item)
}

// pop removes the oldest item.
func (q *fifo[T]) pop() T {
	var zero T
	item := q.items[q.head]
	q.items[q.head] = zero
	if q.head++; q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	}
	return item
}

// drop removes the items for which unwanted is true.
func (q *fifo[T]) drop(unwanted func(T) bool) {
	n := copy(q.items, slices.DeleteFunc(q.items[q.head:], unwanted))
	clear(q.items[n:])
	q.items, q.head = q.items[:n], 0
}
