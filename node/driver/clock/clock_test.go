package clock

import (
	"testing"
	"time"
)

func TestNowIsTheSystemsMonotonicClock(t *testing.T) {
	best := int64(time.Hour)
	for range 1000 {
		before := systemNS()
		now := int64(Now())
		after := systemNS()
		if after-before > best {
			continue
		}
		best = after - before
		// Half a microsecond allows for the calibration's own error.
		if now < before-500 || now > after+500 {
			t.Errorf("Now is %d, the system says %d to %d", now, before, after)
		}
	}
}

func TestSleepUntilNeverReturnsEarly(t *testing.T) {
	pacer, err := NewPacer()
	if err != nil {
		t.Fatal(err)
	}
	defer pacer.Close()
	for range 20 {
		at := Now().Add(200 * time.Microsecond)
		pacer.SleepUntil(at)
		if now := Now(); now < at {
			t.Errorf("returned %d ns early", at-now)
		}
	}
	before := Now()
	pacer.SleepUntil(before - 1)
	pacer.SleepUntil(0)
}

func BenchmarkOvershoot(b *testing.B) {
	pacer, err := NewPacer()
	if err != nil {
		b.Fatal(err)
	}
	defer pacer.Close()
	var late int64
	for b.Loop() {
		at := Now().Add(500 * time.Microsecond)
		pacer.SleepUntil(at)
		late += int64(Now() - at)
	}
	b.ReportMetric(float64(late)/float64(b.N), "late-ns/op")
}

func BenchmarkNow(b *testing.B) {
	for b.Loop() {
		Now()
	}
}
