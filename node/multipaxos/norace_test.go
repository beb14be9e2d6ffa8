//go:build !race

package multipaxos

// raced says whether the race detector is on.
const raced = false
