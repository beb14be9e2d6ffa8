package consensus

import (
	"maps"
	"math"
	"slices"
	"testing"
)

func TestForgetDeletesTheRangeAlone(t *testing.T) {
	for _, c := range []struct {
		first, end uint64
		want       []uint64
	}{
		{3, 5, []uint64{1, 2, 5, 9}},
		{0, 3, []uint64{3, 4, 5, 9}},
		{0, math.MaxUint64, nil}, // takes for ever if it counts up
		{5, 5, []uint64{1, 2, 3, 4, 5, 9}},
		{5, 3, []uint64{1, 2, 3, 4, 5, 9}},
		{2, 1 << 40, []uint64{1}},
	} {
		m := map[uint64]bool{1: true, 2: true, 3: true, 4: true, 5: true, 9: true}
		Forget(m, c.first, c.end)
		if got := slices.Sorted(maps.Keys(m)); !slices.Equal(got, c.want) {
			t.Errorf("Forget(%d, %d) leaves %v, want %v", c.first, c.end, got, c.want)
		}
	}
}
