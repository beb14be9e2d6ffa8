package topologies

import (
	"fmt"
	"time"
)

// WANSpec is a network of regions.
type WANSpec struct {
	Regions []string
	// OneWay[i][j] is the delay of frames from region i to region j, 0 where i is j.
	OneWay [][]time.Duration
	// At has the index of each host's region.
	At []int
	// Access is the link between a host and its region, both directions. A frame between
	// two hosts passes two of them besides what OneWay says.
	Access Parameters
	// Between is what links between regions do besides their delay, which must be 0.
	Between Parameters
	// Notes go to Topology.Notes.
	Notes []string
}

// WAN makes a switch for each region, named as the region, a link for each pair of
// them (eu-us), and hosts h1 and so on with links to their regions (h1-eu). Frames
// between two regions take the link between them, even if a detour would be shorter:
// the declared delay is what they meet. With that link down they take the detour.
func WAN(spec WANSpec) (*Topology, error) {
	n := len(spec.Regions)
	if err := checkHosts(len(spec.At)); err != nil {
		return nil, err
	}
	if n < 1 || n*(n-1)/2 > MaxLinks {
		return nil, fmt.Errorf("topology: %d regions: want at least 1, and at most %d links between them", n, MaxLinks)
	}
	if err := checkMatrix(spec.Regions, spec.OneWay); err != nil {
		return nil, err
	}
	if spec.Between.Delay != 0 {
		return nil, fmt.Errorf("topology: the links between regions have a delay of %v: want none beside the matrix", spec.Between.Delay)
	}
	b := newBuilder("wan")
	b.t.Routing, b.t.Switches = RoutingHops, append([]string(nil), spec.Regions...)
	b.t.Notes = append([]string(nil), spec.Notes...)
	for i, region := range spec.At {
		if region < 0 || region >= n {
			return nil, fmt.Errorf("topology: host h%d is in region %d: want 0 to %d", i+1, region, n-1)
		}
		b.link(b.host(), spec.Regions[region], spec.Access)
	}
	for i, from := range spec.Regions {
		for j := i + 1; j < n; j++ {
			link := Link{Name: from + "-" + spec.Regions[j], A: from, B: spec.Regions[j], AToB: spec.Between, BToA: spec.Between}
			link.AToB.Delay, link.BToA.Delay = spec.OneWay[i][j], spec.OneWay[j][i]
			b.t.Links = append(b.t.Links, link)
		}
	}
	return b.checked()
}

// checkMatrix tells why a matrix isn't one of delays between regions.
func checkMatrix(regions []string, matrix [][]time.Duration) error {
	if len(matrix) != len(regions) {
		return fmt.Errorf("topology: the matrix of delays has %d rows: want one for each of the %d regions", len(matrix), len(regions))
	}
	for i, row := range matrix {
		if err := CheckName("region", regions[i]); err != nil {
			return err
		}
		if len(row) != len(regions) {
			return fmt.Errorf("topology: row %d (%s) of the matrix of delays has %d values: want one for each of the %d regions",
				i+1, regions[i], len(row), len(regions))
		}
		for j, delay := range row {
			switch {
			case i == j && delay != 0:
				return fmt.Errorf("topology: row %d of the matrix has %v from %s to itself: want 0, the delay within a region is that of its hosts' links", i+1, delay, regions[i])
			case delay < 0 || delay > MaxDelay:
				return fmt.Errorf("topology: row %d of the matrix has %v from %s to %s: want 0 to %v", i+1, delay, regions[i], regions[j], MaxDelay)
			}
		}
	}
	return nil
}

// RegionIndexes finds the hosts' regions by name, for WANSpec.At.
func RegionIndexes(regions, at []string) ([]int, error) {
	index := make(map[string]int, len(regions))
	for i, region := range regions {
		index[region] = i
	}
	var indexes []int
	for i, region := range at {
		found, ok := index[region]
		if !ok {
			return nil, fmt.Errorf("topology: host h%d is in region %q: want one of %v", i+1, region, regions)
		}
		indexes = append(indexes, found)
	}
	return indexes, nil
}

// HalfRTT takes half of each round-trip time as the delay one way: an assumption, since
// what was measured is only their sum. Where the time measured from one end differs
// from that of the other, each direction takes its own sender's.
func HalfRTT(rtt [][]time.Duration) [][]time.Duration {
	oneWay := make([][]time.Duration, len(rtt))
	for i, row := range rtt {
		for _, delay := range row {
			oneWay[i] = append(oneWay[i], delay/2)
		}
	}
	return oneWay
}
