package tcp

import "testing"

func TestTimersExpireOnTheTickThatTheWheelRoundsThemTo(t *testing.T) {
	w := wheel{tickNS: 4 * ms}
	for _, c := range []struct{ now, ticks, want int64 }{
		{0, 1, 8 * ms},                     // never early: the tick that is running doesn't count
		{3 * ms, 1, 8 * ms},                //
		{4 * ms, 10, 48 * ms},              // a delayed acknowledgement: 40 to 44 ms
		{1000 * ms, 62, 1252 * ms},         // the last of the first level
		{1000 * ms, 63, 1280 * ms},         // the second level counts by 32 ms: 313 -> 320
		{1000 * ms, 70, 1312 * ms},         // 320 -> 328: a whole bucket late
		{1000*ms - 1, 70, 1280 * ms},       // 319 -> 320
		{0, 503, 504 * 4 * ms},             // the last of the second level
		{0, 504, 512 * 4 * ms},             // the third level counts by 256 ms
		{0, 30_000, 30_208 * 4 * ms},       // the fourth by 2 s
		{0, 20_000_000, 20971520 * 4 * ms}, // the last
	} {
		if got := w.expiry(c.now, c.ticks); got != c.want {
			t.Errorf("%d ticks set at %d ns expire at %d, want %d", c.ticks, c.now, got, c.want)
		}
	}
	shifted := wheel{tickNS: 4 * ms, phaseNS: 1 * ms}
	if got := shifted.expiry(0, 1); got != 7*ms {
		t.Errorf("with a phase of 1 ms: %d, want 7 ms", got)
	}
}

func TestDurationsAreRoundedUpToTicks(t *testing.T) {
	w := wheel{tickNS: 4 * ms}
	for ns, want := range map[int64]int64{0: 0, 1: 1, 4 * ms: 1, 4*ms + 1: 2, 280 * ms: 70} {
		if got := w.ticks(ns); got != want {
			t.Errorf("%d ns are %d ticks, want %d", ns, got, want)
		}
	}
}
