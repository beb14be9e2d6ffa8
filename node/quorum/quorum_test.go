package quorum

import (
	"math/bits"
	"testing"
)

// The defining property, against all sets: any two majorities intersect, and
// of one fewer some don't (off by one shows at even n).
func TestMajoritiesIntersectAndFewerDoNot(t *testing.T) {
	for n := 1; n <= 9; n++ {
		for _, c := range []struct {
			size      int
			intersect bool
		}{{Majority(n), true}, {Majority(n) - 1, false}} {
			if c.size == 0 {
				continue
			}
			all := true
			for a := range uint(1) << n {
				for b := range uint(1) << n {
					if bits.OnesCount(a) == c.size && bits.OnesCount(b) == c.size && a&b == 0 {
						all = false
					}
				}
			}
			if all != c.intersect {
				t.Errorf("n = %d: all sets of %d intersect: %v, want %v", n, c.size, all, c.intersect)
			}
		}
	}
}
