package experiment

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"quorumlab/topologies"
)

// checkNames refuses names that can't be, or that stand twice. taken says what has which
// name already.
func checkNames(at, what string, names []string, taken map[string]string) error {
	for i, name := range names {
		place := []string{join(at, strconv.Itoa(i)), at}
		if err := topologies.CheckName(what, name); err != nil {
			return &problem{path: at, at: place, message: plainly(err), err: err}
		}
		if other, twice := taken[name]; twice {
			return &problem{path: at, at: place, message: fmt.Sprintf("%s has %s, and there is a %s of that name already", at, printable(name), other), want: "each name once"}
		}
		taken[name] = what
	}
	return nil
}

// name is the link's, if only by default.
func (l CustomLink) name() string {
	if l.Name == "" && len(l.Between) == 2 {
		return l.Between[0] + "-" + l.Between[1]
	}
	return l.Name
}

// check refuses names and links that make no sense.
func (custom Custom) check() error {
	const at = "topology.custom"
	if len(custom.Hosts)+len(custom.Switches) == 0 {
		return &problem{path: at, at: []string{at, "topology.kind"}, message: at + " has neither hosts nor switches", want: "hosts, switches and links between them"}
	}
	nodes := map[string]string{}
	if err := checkNames(at+".hosts", "host", custom.Hosts, nodes); err != nil {
		return err
	}
	if err := checkNames(at+".switches", "switch", custom.Switches, nodes); err != nil {
		return err
	}
	names, pairs := map[string]bool{}, map[[2]string]string{}
	for i, link := range custom.Links {
		path := join(at+".links", strconv.Itoa(i))
		between := join(path, "between")
		if len(link.Between) != 2 {
			return &problem{path: between, at: []string{between, path}, message: fmt.Sprintf("%s has %s", between, count(len(link.Between), "end")), want: "two: [a, b]"}
		}
		for j, end := range link.Between {
			if nodes[end] == "" {
				return &problem{path: between, at: []string{join(between, strconv.Itoa(j)), between}, message: fmt.Sprintf("%s has %s, which isn't there", between, printable(end)),
					want: "one of " + list(slices.Sorted(maps.Keys(nodes)))}
			}
		}
		pair := [2]string{min(link.Between[0], link.Between[1]), max(link.Between[0], link.Between[1])}
		name := []string{join(path, "name"), between}
		switch {
		case pair[0] == pair[1]:
			return &problem{path: between, message: fmt.Sprintf("%s joins %s with itself", between, pair[0]), want: "two different hosts or switches"}
		case topologies.CheckName("link", link.name()) != nil:
			return &problem{path: name[0], at: name, message: plainly(topologies.CheckName("link", link.name()))}
		case names[link.name()]:
			return &problem{path: name[0], at: name, message: "two links have the name " + link.name(), want: "each name once"}
		case pairs[pair] != "":
			return &problem{path: between, message: fmt.Sprintf("%s and %s both join %s and %s", pairs[pair], link.name(), link.Between[0], link.Between[1]), want: "one link between two nodes"}
		}
		names[link.name()], pairs[pair] = true, link.name()
	}
	return nil
}
