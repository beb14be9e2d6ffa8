package topologies

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func times(milliseconds ...float64) []time.Duration {
	var all []time.Duration
	for _, value := range milliseconds {
		all = append(all, time.Duration(value*1e6))
	}
	return all
}

const pingD = `PING 198.18.0.2 (198.18.0.2) 56(84) bytes of data.
[1700000000.000100] 64 bytes from 198.18.0.2: icmp_seq=1 ttl=64 time=20.0 ms
[1700000001.000100] 64 bytes from 198.18.0.2: icmp_seq=2 ttl=64 time=24 ms
[1700000001.000200] 64 bytes from 198.18.0.2: icmp_seq=2 ttl=64 time=25 ms (DUP!)
[1700000002.000100] no answer yet for icmp_seq=3
[1700000003.000100] From 198.18.0.9 icmp_seq=4 Destination Host Unreachable
[1700000004.000100] 64 bytes from 198.18.0.2: icmp_seq=5 ttl=64 time=30.5 ms

--- 198.18.0.2 ping statistics ---
5 packets transmitted, 3 received, 40% packet loss, time 4004ms
rtt min/avg/max/mdev = 20.000/24.833/30.500/1.000 ms
`

func TestTracesAreReadFromManyKindsOfRows(t *testing.T) {
	for name, test := range map[string]struct {
		text   string
		least  time.Duration
		times  []time.Duration
		excess []time.Duration
	}{
		"comma":                     {"0,20\n1,24\n2,30.5\n", 10 * ms, times(0, 1000, 2000), times(0, 2, 5.25)},
		"comments":                  {"# RTTs\n\n0,20\n  # more\n1,24\n", 10 * ms, times(0, 1000), times(0, 2)},
		"spaces":                    {" 0   20\r\n 1 24\r\n", 10 * ms, times(0, 1000), times(0, 2)},
		"tabs":                      {"0\t20\n1\t24", 10 * ms, times(0, 1000), times(0, 2)},
		"semicolons":                {"0; 20\n1; 24", 10 * ms, times(0, 1000), times(0, 2)},
		"byte order mark":           {"\ufefft,rtt\n0,20\n1,24", 10 * ms, times(0, 1000), times(0, 2)},
		"units":                     {"time_ms,rtt_us\n500,20000\n1500,24000\n", 10 * ms, times(0, 1000), times(0, 2)},
		"nanoseconds":               {"time_ns,rtt_ns\n1700000000000000001,20000000\n1700000000000000003,20000002\n", 10 * ms, []time.Duration{0, 2}, []time.Duration{0, 1}},
		"since 1970":                {"1700000000.000000001,20\n1700000000.000000004,24\n", 10 * ms, []time.Duration{0, 3}, times(0, 2)},
		"below 0":                   {"-1.5,20\n-0.5,24\n0.5,20\n", 10 * ms, times(0, 1000, 2000), times(0, 2, 0)},
		"exponents":                 {"0,2e1\n1e0,2.4e1\n", 10 * ms, times(0, 1000), times(0, 2)},
		"other columns":             {`"src","RTT_ms","Time_s"` + "\na,20,0\nb,24,1\n", 10 * ms, times(0, 1000), times(0, 2)},
		"one way":                   {"time,one_way_ms\n0,20\n1,24\n", 20 * ms, times(0, 1000), times(0, 4)},
		"no answers":                {"time,rtt\n0,20\n1,\n2,-\n3,*\n4,timeout\n5,24\n6,NaN\n", 10 * ms, times(0, 1000, 5000, 6000), []time.Duration{0, -1, 2 * ms, -1}},
		"none at the end of spaces": {"time rtt\n0 20\n1\n2 24\n", 10 * ms, times(0, 1000, 2000), []time.Duration{0, -1, 2 * ms}},
		"ping -D":                   {pingD, 10 * ms, times(0, 1000, 2000, 4000), []time.Duration{0, 2 * ms, -1, 5250 * time.Microsecond}},
		"one row":                   {"5,20\n", 10 * ms, times(0), times(0)},
	} {
		t.Run(name, func(t *testing.T) {
			least, trace, err := ParseTrace("x.csv", []byte(test.text), AlignRandom, GapLose, 7*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if least != test.least || !slices.Equal(trace.Times, test.times) || !slices.Equal(trace.Excess, test.excess) {
				t.Errorf("least %v, times %v, excess %v", least, trace.Times, trace.Excess)
			}
			if trace.Name != "x.csv" || trace.Align != AlignRandom || trace.Gap != GapLose || trace.GapAfter != 7*time.Second {
				t.Errorf("%+v", trace)
			}
		})
	}
}

func TestATraceBeginsAgainOneTypicalIntervalAfterItsLastRow(t *testing.T) {
	_, trace, err := ParseTrace("x", []byte("0 1\n1 1\n3 1\n5 1\n61 1\n63 -\n65 -\n"), AlignStart, GapHold, 0)
	if err != nil {
		t.Fatal(err)
	}
	if trace.Period != 67*time.Second || trace.GapAfter != 10*time.Second {
		t.Errorf("period %v, gap after %v", trace.Period, trace.GapAfter)
	}
}

func TestBadTracesSayTheLine(t *testing.T) {
	for text, want := range map[string][]string{
		"":                          {"x:", "no row"},
		"# nothing\n":               {"x:", "no row"},
		"0,-\n1,-\n":                {"x:", "no row"},
		"20\n24\n":                  {"x:1:", "one column"},
		"1,2,3\n":                   {"x:1:", "3 columns", "time_s,rtt_ms"},
		"a,b\n":                     {"x:1:", "no column of round-trip times", `"a,b"`, "rtt_ms"},
		"seq,rtt\n1,2\n":            {"x:1:", "no column of times", "time_s"},
		"0,20\n1,24,5\n":            {"x:2:", "3 columns: want 2"},
		"0,20\n1,x\n":               {"x:2:", `"x"`, "number"},
		"0,20\nx,20\n":              {"x:2:", `the time is "x"`},
		"0,20\n1,-4\n":              {"x:2:", `"-4"`},
		"0,20\n1,1e300\n":           {"x:2:", `"1e300"`},
		"0,20\n1,7300000\n":         {"x:2:", `"7300000"`},
		"time,one_way\n0,3700000\n": {"x:2:", "1h1m40s", "at most 1h"},
		"0,20\n0,20\n":              {"x:2:", "isn't after"},
		"1,20\n\n0,20\n":            {"x:3:", "isn't after"},
		"0,20\n1e18,20\n":           {"x:2:", "time"},
		"0,20\n100000000,20\n":      {"x:", "1000 days"},
		"-4e9,20\n4e9,20\n":         {"x:", "1000 days"}, "9e9,20\n": {"x:1:", "146 years"},
		strings.Replace(pingD, "[1700000001.000100] ", "", 1):   {"x:3:", "ping -D"},
		strings.Replace(pingD, "time=24 ms", "time=many ms", 1): {"x:3:", `"many"`},
	} {
		_, _, err := ParseTrace("x", []byte(text), AlignStart, GapHold, time.Second)
		wantError(t, err, want...)
	}
	_, _, err := ParseTrace("x", []byte("0,1\n"), "middle", GapHold, time.Second)
	wantError(t, err, "x:", "align")
	_, _, err = ParseTrace("x", make([]byte, 4*MaxFileBytes+1), AlignStart, GapHold, time.Second)
	wantError(t, err, "x:", "at most")
	if testing.Short() {
		return // the last case takes a million rows
	}
	var rows strings.Builder
	for i := range MaxRows + 1 {
		fmt.Fprintln(&rows, i, 1)
	}
	_, _, err = ParseTrace("x", []byte(rows.String()), AlignStart, GapHold, time.Second)
	wantError(t, err, "x:1000001:", "1000000 rows")
}

func TestTablesAreReadFromRoundTripTimes(t *testing.T) {
	for name, text := range map[string]string{
		"one a row":  "24\n20\n# and\n30.5\n",
		"with times": "0,24\n1,20\n2,timeout\n2,30.5\n",
		"named":      "pair,rtt_us\na,24000\nb,20000\nc,30500\n",
		"ping":       strings.NewReplacer("[1700000000.000100] ", "", "[1700000001.000100] ", "", "[1700000004.000100] ", "").Replace(pingD),
		"ping -D":    pingD,
	} {
		least, table, err := ParseTable("x", []byte(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if least != 10*ms || !slices.Equal(table.Excess, times(0, 2, 5.25)) || table.Name != "x" {
			t.Errorf("%s: least %v, %v", name, least, table.Excess)
		}
		if err := (Parameters{Delay: least, JitterTable: table, JitterDistribution: JitterTable}).Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, _, err := ParseTable("x", []byte("a\nb\n"))
	wantError(t, err, "x:1:", "rtt")
	_, _, err = ParseTable("x", []byte("1\nb\n"))
	wantError(t, err, "x:2:", `"b"`)
}

func FuzzParseTrace(f *testing.F) {
	for _, text := range []string{pingD, "time_s,rtt_ms\n0,20\n1,-\n", "0 1\n", "1700000000.5;1e1\n", "t\trtt_ns\n1\t5", "[1] 64 bytes from a: time<1 ms", "5\n"} {
		f.Add([]byte(text), false)
		f.Add([]byte(text), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, interpolate bool) {
		gap := GapLose
		if interpolate {
			gap = GapInterpolate
		}
		least, trace, err := ParseTrace("x", data, AlignStart, gap, 0)
		if err == nil {
			p := Parameters{Delay: least, Trace: trace}
			if err := p.Check(); err != nil {
				t.Errorf("a trace that was read: %v", err)
			}
			if mean := p.MeanDelay(); mean < least || mean > 2*MaxDelay {
				t.Errorf("mean %v, least %v", mean, least)
			}
		} else if !strings.HasPrefix(err.Error(), "x:") {
			t.Errorf("error without a file: %v", err)
		}
		least, table, err := ParseTable("x", data)
		if err == nil {
			if err := (Parameters{Delay: least, JitterTable: table, JitterDistribution: JitterTable}).Check(); err != nil {
				t.Errorf("a table that was read: %v", err)
			}
		} else if !strings.HasPrefix(err.Error(), "x:") {
			t.Errorf("error without a file: %v", err)
		}
	})
}
