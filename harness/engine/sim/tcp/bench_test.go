package tcp

import "testing"

// BenchmarkMessage is a message sent, delivered and acknowledged without loss.
func BenchmarkMessage(b *testing.B) {
	c := New(Default())
	var out Output
	now := int64(0)
	c.Open(now, &out)
	settle := func() {
		for len(out.Frames) > 0 {
			f := out.Frames[0]
			out.Frames = append(out.Frames[:0], out.Frames[1:]...)
			now += ms / 10
			c.Receive(now, f, &out)
		}
		out.Reset()
	}
	settle()
	b.ReportAllocs()
	for i := range b.N {
		c.Send(now, uint64(i), 100, &out)
		settle()
		c.Deadline()
	}
}
