package draw

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"quorumlab/topologies"
)

func tableOf(t *testing.T, p Picture, which string, width int) string {
	t.Helper()
	var b bytes.Buffer
	if err := Table(&b, p, which, width); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func expect(t *testing.T, got, want string) {
	t.Helper()
	if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// uneven has a lossy, slow direction, jitter, and an idle host.
func uneven() Picture {
	m := starOf(3, withRate(ms(20), 1e9))
	m.Links[1].AToB = withRate(ms(40), 1e7)
	m.Links[1].AToB.Loss = 0.001
	m.Links[0].BToA.Jitter, m.Links[0].BToA.JitterDistribution = 3*time.Millisecond, topologies.JitterExponential
	return Picture{Topology: m.Topology, Processes: roles("server", "client")}
}

func TestTheTableHasARowForEachPairOfHostsThatRunProcesses(t *testing.T) {
	expect(t, tableOf(t, uneven(), TableSummary, 100), `
from        to          via  hops  delay  s.d.  loss     RTT       rate  rate x RTT
h1 server1  h2 client1  s1      2  40 ms  0 ms    0%  103 ms   1 Gbit/s     12.9 MB
h2 client1  h1 server1  s1      2  63 ms  3 ms  0.1%  103 ms  10 Mbit/s      129 kB
`)
}

func TestAllPathsIncludeThoseOfIdleHosts(t *testing.T) {
	if got := tableOf(t, uneven(), TableAll, 100); strings.Count(got, "\n") != 1+3*2 || !strings.Contains(got, "h3          h1 server1") {
		t.Error(got)
	}
}

func TestColumnsInWhichNothingHappensAreLeftOut(t *testing.T) {
	expect(t, tableOf(t, Picture{Topology: starOf(2, ms(1)).Topology}, TableSummary, 100), `
from  to  via  hops  delay   RTT
h1    h2  s1      2   2 ms  4 ms
h2    h1  s1      2   2 ms  4 ms
`)
}

func TestManyPathsAreSummedUpByRoles(t *testing.T) {
	m := linear()
	got := tableOf(t, Picture{Topology: m.Topology, Processes: eight()}, TableSummary, 100)
	for _, want := range []string{
		"replica   replica       2     2   40 ms   80 ms  1 Gbit/s       10 MB\n",
		"replica   acceptor      6     4   80 ms  160 ms  1 Gbit/s       20 MB\n",
		"client    replica       2     5  100 ms  200 ms  1 Gbit/s       25 MB\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no row %q in\n%s", want, got)
		}
	}
	m.Links[0].AToB.Delay += 10 * time.Millisecond // h1 to s1
	got = tableOf(t, Picture{Topology: m.Topology, Processes: eight()}, TableSummary, 100)
	if want := "replica   acceptor      6     4    80–90 ms  160–170 ms"; !strings.Contains(got, want) {
		t.Errorf("no row %q in\n%s", want, got)
	}
}

func TestPathsThatAreAllAlikeTakeOneRow(t *testing.T) {
	p := Picture{Topology: starOf(8, ms(20)).Topology, Processes: eight()}
	expect(t, tableOf(t, p, TableSummary, 100), `
from      to         pairs  hops  delay    RTT
any host  any other     56     2  40 ms  80 ms
`)
}

func TestTheWayIsLeftOutWhereTheTableIsTooWide(t *testing.T) {
	wide := Picture{Topology: linear().Topology, Processes: eight()}
	for width, want := range map[int]bool{200: true, 60: false} {
		if got := tableOf(t, wide, TableProcesses, width); strings.Contains(got, "via") != want {
			t.Errorf("width %d:\n%s", width, got)
		}
	}
	long := Picture{Topology: longRow().Topology}
	if got := tableOf(t, long, TableProcesses, 200); !strings.Contains(got, "s1 s2 … s30") {
		t.Errorf("a long way isn't cut:\n%.500s", got)
	}
}

func TestAPathThatIsCutIsSaidToBe(t *testing.T) {
	m := starOf(3, ms(1))
	m.Links[1].AToB.Down = true
	got := tableOf(t, Picture{Topology: m.Topology}, TableSummary, 100)
	if !strings.Contains(got, "h2    h1  no path     -      -     -\n") || strings.Count(got, "no path") != 2 ||
		!strings.Contains(got, "h1    h2  s1          2   2 ms     -\n") { // no way back, so no RTT
		t.Error(got)
	}
	many := starOf(9, ms(1))
	many.Links[1].AToB.Down = true
	if got := tableOf(t, Picture{Topology: many.Topology}, TableSummary, 100); !strings.Contains(got, "72 (8 cut)") {
		t.Error(got)
	}
}

func TestPathsOfATopologyWithoutHostsAreThoseBetweenItsSwitches(t *testing.T) {
	m := begin("file").switches("a", "b", "c").link("a", "b", ms(5)).link("b", "c", ms(7))
	expect(t, tableOf(t, Picture{Topology: m.Topology}, TableSummary, 100), `
from  to  via     hops  delay    RTT
a     b   direct     1   5 ms  10 ms
a     c   b          2  12 ms  24 ms
b     a   direct     1   5 ms  10 ms
b     c   direct     1   7 ms  14 ms
c     a   b          2  12 ms  24 ms
c     b   direct     1   7 ms  14 ms
`)
	islands := begin("file").switches("a", "b", "c").link("a", "b", ms(5))
	if err := Table(&bytes.Buffer{}, Picture{Topology: islands.Topology}, TableSummary, 100); err == nil {
		t.Error("islands have paths")
	}
}

func TestASummaryOfManyHostsFollowsPathsFromSomeOfThem(t *testing.T) {
	p := Picture{Topology: starOf(maxSources+1, ms(1)).Topology}
	if got := tableOf(t, p, TableSummary, 100); !strings.HasSuffix(got, fmt.Sprintf("(paths from %d of the %d hosts, to all)\n", maxSources, maxSources+1)) {
		t.Error(got)
	}
}

func TestADeviationThatIsInfiniteIsSaidToBe(t *testing.T) {
	m := starOf(2, ms(1))
	m.Links[0].AToB.Jitter, m.Links[0].AToB.JitterDistribution, m.Links[0].AToB.JitterShape = time.Millisecond, topologies.JitterPareto, 1.5
	p := Picture{Topology: m.Topology}
	if got := tableOf(t, p, TableSummary, 100); !strings.Contains(got, "∞") {
		t.Error(got)
	}
	routes, err := Routes(p, true)
	if err != nil {
		t.Fatal(err)
	}
	for route := range routes {
		if (route.DeviationNS == nil) != (route.From == "h1") {
			t.Errorf("from %s: deviation %v", route.From, route.DeviationNS)
		}
	}
}
