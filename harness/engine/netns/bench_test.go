//go:build linux

package netns

import (
	"fmt"
	"testing"
	"time"

	"quorumlab/harness/engine"
	"quorumlab/topologies"
)

// BenchmarkBuild is the time until a lab is up, its emulator forwarding. The
// time to close it isn't counted.
func BenchmarkBuild(b *testing.B) {
	for _, hosts := range []int{10, 100, 500} {
		b.Run(fmt.Sprintf("hosts=%d", hosts), func(b *testing.B) {
			for b.Loop() {
				design := blueprint(hosts, topologies.Parameters{Delay: 20 * time.Millisecond})
				design.Links = engine.LinksUserspace
				l, err := netnsEngine{}.Build(b.Context(), design)
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := l.Close(); err != nil {
					b.Fatal(err)
				}
				// The kernel takes namespaces apart after their end, in the background.
				time.Sleep(time.Duration(hosts) * 5 * time.Millisecond)
				b.StartTimer()
			}
		})
	}
}
