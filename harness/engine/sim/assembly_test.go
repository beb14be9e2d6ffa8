package sim

import (
	"math/rand/v2"
	"testing"

	"quorumlab/node/consensus"
)

func TestAMessageIsWholeOnceAllItsSegmentsHaveArrivedInAnyOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 3))
	for range 200 {
		p := &path{}
		sizes, missing := map[uint32]int32{}, map[uint32]map[int32]bool{}
		var wire []frame
		for number := uint32(1); number <= 5; number++ {
			sizes[number] = 1 + int32(random.IntN(200*segmentBytes))
			missing[number] = map[int32]bool{}
			for segment := range segments(sizes[number]) {
				f := frame{number: number, size: sizes[number], segment: segment}
				if segment == segments(sizes[number])-1 {
					f.message = &stored{uint64(number)}
				}
				missing[number][segment] = true
				wire = append(wire, f)
				if random.IntN(4) == 0 {
					wire = append(wire, f)
				}
			}
		}
		random.Shuffle(len(wire), func(i, j int) { wire[i], wire[j] = wire[j], wire[i] })
		seen := 0
		for i := range wire {
			f := &wire[i]
			if len(missing[f.number]) == 0 {
				continue // a second copy of what was whole before begins anew
			}
			delete(missing[f.number], f.segment)
			message, whole := p.assemble(f)
			if whole != (len(missing[f.number]) == 0) {
				t.Fatalf("message %d of %d segments: whole %v, %d are missing", f.number, segments(f.size), whole, len(missing[f.number]))
			}
			if whole {
				seen++
				if got, ok := message.(*stored); !ok || got.slot != uint64(f.number) {
					t.Fatalf("message %d is %v", f.number, message)
				}
			}
		}
		if seen != 5 || len(p.assemblies) != 0 {
			t.Fatalf("%d messages were whole, %d are kept", seen, len(p.assemblies))
		}
	}
}

func TestMessagesThatNeverGetWholeAreForgotten(t *testing.T) {
	p := &path{}
	const size = 2 * segmentBytes
	for number := range uint32(1000) {
		p.assemble(&frame{number: number, size: size})
	}
	if len(p.assemblies) != maxDisorder || cap(p.assemblies) > 4*maxDisorder {
		t.Errorf("%d of 1000 are kept, in room for %d", len(p.assemblies), cap(p.assemblies))
	}
	for _, c := range []struct {
		number uint32
		whole  bool
	}{{999, true}, {1000 - maxDisorder, true}, {1000 - maxDisorder - 1, false}} {
		if _, whole := p.assemble(&frame{number: c.number, size: size, segment: 1, message: consensus.Message(&stored{})}); whole != c.whole {
			t.Errorf("message %d is whole: %v", c.number, whole)
		}
	}
}
