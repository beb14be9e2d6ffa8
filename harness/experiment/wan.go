package experiment

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"quorumlab/topologies"
)

// matrix is the regions and the delays between them.
func (wan WAN) matrix() (topologies.WANSpec, error) {
	const at = "topology.wan"
	if d := wan.Link.Delay; d != nil {
		return topologies.WANSpec{}, &problem{path: at + ".link.delay", value: "given", want: "none: data, rtt or one_way say how far regions are apart"}
	}
	switch {
	case wan.Data != "" && (wan.RTT != nil || wan.OneWay != nil):
		return topologies.WANSpec{}, &problem{path: at, message: at + " has data beside a matrix of its own", want: "data, or regions with rtt or one_way"}
	case wan.Data != "":
		return wan.shipped()
	case len(wan.Regions) == 0:
		return topologies.WANSpec{}, &problem{path: at + ".regions", at: []string{at + ".regions", at, "topology.kind"}, message: at + " says nothing of regions",
			want: "data: one of " + list(topologies.WANNames()) + ", or regions with rtt or one_way"}
	case (wan.RTT == nil) == (wan.OneWay == nil):
		return topologies.WANSpec{}, &problem{path: at, message: at + " has regions without exactly one of rtt and one_way", want: "rtt, the round trips between regions, or one_way, the delays from the row's to the column's"}
	}
	if err := checkNames(at+".regions", "region", wan.Regions, map[string]string{}); err != nil {
		return topologies.WANSpec{}, err
	}
	spec := topologies.WANSpec{Regions: wan.Regions}
	if wan.OneWay != nil {
		spec.OneWay = durations(wan.OneWay)
		return spec, checkMatrix(at+".one_way", wan.Regions, wan.OneWay, topologies.MaxDelay)
	}
	spec.OneWay = topologies.HalfRTT(durations(wan.RTT))
	spec.Notes = []string{"The delays between regions are half the declared round-trip times."}
	return spec, checkMatrix(at+".rtt", wan.Regions, wan.RTT, 2*topologies.MaxDelay)
}

// shipped takes data that topologies has, of all regions or of some.
func (wan WAN) shipped() (topologies.WANSpec, error) {
	set, err := topologies.WANData(wan.Data)
	if err != nil {
		return topologies.WANSpec{}, &problem{path: "topology.wan.data", value: printable(wan.Data), want: "one of " + list(topologies.WANNames())}
	}
	if len(wan.Regions) > 0 {
		for i, region := range wan.Regions {
			if !slices.Contains(set.Regions, region) {
				return topologies.WANSpec{}, &problem{path: "topology.wan.regions", at: []string{join("topology.wan.regions", strconv.Itoa(i)), "topology.wan.regions"},
					message: fmt.Sprintf("topology.wan.regions has %s, which %s hasn't", printable(region), wan.Data), want: "some of " + list(set.Regions)}
			}
		}
		if err := checkNames("topology.wan.regions", "region", wan.Regions, map[string]string{}); err != nil {
			return topologies.WANSpec{}, err
		}
		if set, err = set.Select(wan.Regions...); err != nil {
			return topologies.WANSpec{}, err
		}
	}
	return set.Spec(), nil
}

func durations(matrix [][]Duration) [][]time.Duration {
	rows := make([][]time.Duration, len(matrix))
	for i, row := range matrix {
		for _, d := range row {
			rows[i] = append(rows[i], time.Duration(d))
		}
	}
	return rows
}

// checkMatrix refuses what isn't a delay from each region to each other.
func checkMatrix(at string, regions []string, matrix [][]Duration, most time.Duration) error {
	if len(matrix) != len(regions) {
		return &problem{path: at, message: fmt.Sprintf("%s has %s for %s", at, count(len(matrix), "row"), count(len(regions), "region")), want: "a row for each region"}
	}
	for i, row := range matrix {
		path := join(at, strconv.Itoa(i))
		if len(row) != len(regions) {
			return &problem{path: path, message: fmt.Sprintf("%s, the row of %s, has %s for %s", path, regions[i], count(len(row), "value"), count(len(regions), "region")),
				want: "a value for each region, 0 for itself"}
		}
		for j, d := range row {
			cell := join(path, strconv.Itoa(j))
			switch {
			case i == j && d != 0:
				return &problem{path: cell, value: d.String(), want: "0 from a region to itself; topology.link is the way between its hosts"}
			case d < 0 || time.Duration(d) > most:
				return &problem{path: cell, value: d.String(), want: "a duration from 0 to " + Duration(most).String()}
			}
		}
	}
	return nil
}
