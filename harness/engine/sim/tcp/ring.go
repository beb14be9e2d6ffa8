package tcp

// ring is a queue that grows by doubling, and only while it holds more than
// ever before.
type ring[T any] struct {
	items []T // its length is 0 or a power of two
	head  int
	count int
}

// at is the i-th item from the front; valid until the ring changes.
func (r *ring[T]) at(i int) *T { return &r.items[(r.head+i)&(len(r.items)-1)] }

func (r *ring[T]) push(item T) {
	if r.count == len(r.items) {
		grown := make([]T, max(16, 2*len(r.items)))
		for i := range r.count {
			grown[i] = *r.at(i)
		}
		r.items, r.head = grown, 0
	}
	r.count++
	*r.at(r.count - 1) = item
}

// drop removes the first n items.
func (r *ring[T]) drop(n int) {
	if n == 0 {
		return
	}
	r.head = (r.head + n) & (len(r.items) - 1)
	r.count -= n
}

// remove takes out the i-th item.
func (r *ring[T]) remove(i int) {
	for ; i < r.count-1; i++ {
		*r.at(i) = *r.at(i + 1)
	}
	r.count--
}

func (r *ring[T]) clear() { r.head, r.count = 0, 0 }
