package experiment

import ("testing";"time";"fmt";"strings")

func TestZZ(t *testing.T) {
	for _, e := range []string{"{name: degrade, links: '*', loss: 5%, at: 1s, for: 1s}", "{name: degrade, whom: all, loss: 5%, at: 1s, for: 1s}", "{name: partition, whom: minority, at: 1s, for: 1s}", "{name: bridge, whom: leader1, at: 1s, for: 1s}", "{name: pause, whom: random(3) of followers, at: 1s, for: 1s}", "{name: majorities_ring, at: 1s, for: 1s}","{name: cut, from: all, to: all, at: 1s, for: 1s}"} {
		for _, n := range []int{10, 300} {
		start := time.Now()
		_, err := Parse("x.yaml", []byte("version: 1\nsystem: {roles: {acceptors: 900}}\nphases: {measure: 60s}\nfaults:\n"+strings.Repeat("  - "+e+"\n", n)), testOverrides())
		fmt.Println(e, n, time.Since(start), err)
		}
	}
}
