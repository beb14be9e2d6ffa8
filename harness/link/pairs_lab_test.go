//go:build linux

package link

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"quorumlab/harness/engine"
	"quorumlab/topologies"
)

// memory reads how much memory the emulator's process holds, in bytes.
func (l *lab) emulatorMemory() int64 {
	l.t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", l.emulatorPID))
	if err != nil {
		l.t.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(data))[1], 10, 64)
	if err != nil {
		l.t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

func TestMem(t *testing.T) {
	l := newLab(t, topologies.Star(10, topologies.Parameters{Delay: time.Millisecond}))
	remote := l.emulate(EmulatorConfig{})
	down := topologies.Parameters{Down: true}
	var partition, heal []engine.PairChange
	for from := range 5 {
		for to := range 5 {
			c := engine.PairChange{From: fmt.Sprintf("h%d", from+1), To: fmt.Sprintf("h%d", to+6), Parameters: &down}
			partition = append(partition, c)
			c.Parameters = nil
			heal = append(heal, c)
		}
	}
	began := time.Now()
	for i := range 6000 {
		var err error
		switch i % 4 {
		case 0:
			err = remote.SetPairs(partition)
		case 1:
			err = remote.SetPairs(heal)
		case 2:
			err = remote.SetLink("h1-s1", down, down)
		case 3:
			err = remote.SetLink("h1-s1", topologies.Parameters{}, topologies.Parameters{})
		}
		if err != nil {
			t.Fatal(err)
		}
		if i%1000 == 999 {
			t.Logf("%d: %d MB, %v", i+1, l.emulatorMemory()>>20, time.Since(began))
		}
	}
}

var _ = binary.BigEndian
