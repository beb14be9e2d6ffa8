package faults

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"quorumlab/topologies"
)

func TestFaultsOfTheNetworkNameWhomTheyCutOff(t *testing.T) {
	tree := testWorld()
	var err error
	if tree.Topology, err = topologies.Tree(10, 2, 0, declared); err != nil {
		t.Fatal(err)
	}
	together := testWorld()
	together.Hosts["leader1"] = "h1" // as replica1
	lay := Parameters{Link: slower}
	for name, c := range map[string]struct {
		world World
		fault Fault
		want  string
	}{
		"isolate":                 {testWorld(), Fault{Kind: "isolate", Whom: []string{"leader2"}}, "leader2"},
		"isolate a shared host":   {together, Fault{Kind: "isolate", Whom: []string{"leader1"}}, "replica1 leader1"},
		"isolate a client":        {testWorld(), Fault{Kind: "isolate", Whom: []string{"clients"}}, "client1"},
		"partition whom":          {testWorld(), Fault{Kind: "partition", Whom: []string{"leader2", "acceptor3"}}, "leader2 acceptor3"},
		"partition groups":        {testWorld(), Fault{Kind: "partition", Parameters: Parameters{Groups: [][]string{{"leader1"}, {"leader2", "acceptor1"}, {"client1"}}}}, "leader1 client1"},
		"partition, equal groups": {testWorld(), Fault{Kind: "partition", Parameters: Parameters{Groups: [][]string{{"leader1"}, {"leader2"}}}}, ""},
		"link_down":               {testWorld(), Fault{Kind: "link_down", Parameters: Parameters{Links: []string{"h[12]-s1"}}}, "replica1 replica2"},
		"link_down one way":       {testWorld(), Fault{Kind: "link_down", Parameters: Parameters{Links: []string{"h4-s1"}, LinksFrom: []string{"h4"}}}, "leader2"},
		"link_down, all":          {testWorld(), Fault{Kind: "link_down", Parameters: Parameters{Links: []string{"*"}}}, "client1"},
		"degrade whom":            {testWorld(), Fault{Kind: "degrade", Whom: []string{"leader1"}, Parameters: lay}, "leader1"},
		"degrade links":           {testWorld(), Fault{Kind: "degrade", Parameters: Parameters{Links: []string{"h3-s1"}, Link: slower}}, "leader1"},
		"degrade pairs":           {testWorld(), Fault{Kind: "degrade", Parameters: Parameters{From: []string{"leader1"}, To: []string{"leader2"}, Link: slower}}, ""},
		"degrade a switch's link": {tree, Fault{Kind: "degrade", Parameters: Parameters{Links: []string{"s1-s3"}, Link: slower}}, ""},
		"cut":                     {testWorld(), Fault{Kind: "cut", Parameters: Parameters{From: []string{"leader1"}, To: []string{"leader2"}}}, ""},
		"bridge":                  {testWorld(), Fault{Kind: "bridge", Whom: []string{"leader1"}}, ""},
		"majorities_ring":         {testWorld(), Fault{Kind: "majorities_ring"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c.fault.Trigger = at(time.Second)
			l := newLab(t, c.world, c.fault)
			l.until(time.Second)
			same(t, "hit", l.record(0).Nodes, strings.Fields(c.want))
		})
	}
	below := newLab(t, tree, Fault{Kind: "isolate_subtree", Parameters: Parameters{Switch: "s3"}, Trigger: at(time.Second)})
	below.until(time.Second)
	gone := newLab(t, tree, Fault{Kind: "link_down", Parameters: Parameters{Links: []string{"s1-s3"}}, Trigger: at(time.Second)})
	gone.until(time.Second)
	var want []string
	for _, node := range tree.Cluster.Nodes {
		if under(tree.Topology, tree.Hosts[node.Name], "s3") {
			want = append(want, node.Name)
		}
	}
	if len(want) == 0 || len(want) >= len(tree.Cluster.Nodes) {
		t.Fatalf("below s3 are %v", want)
	}
	same(t, "below the switch", below.record(0).Nodes, want)
	same(t, "behind the link", gone.record(0).Nodes, want)
}

// under tells whether the way from a host or switch of a tree to the root leads by a switch.
func under(tree *topologies.Topology, at, by string) bool {
	if at == by {
		return true
	}
	for _, link := range tree.Links {
		if link.A == at && strings.HasPrefix(at, "h") {
			return under(tree, link.B, by)
		}
		if link.B == at && strings.HasPrefix(link.A, "s") {
			return under(tree, link.A, by)
		}
	}
	return false
}

func TestChangesOfTheConfigurationNameWhoseRolesChange(t *testing.T) {
	l := newLab(
		t, testWorld(),
		Fault{Kind: "add_server", Whom: []string{"acceptor4"}, Trigger: at(1 * time.Second)},
		Fault{Kind: "remove_server", Whom: []string{"acceptor1"}, Trigger: at(2 * time.Second)},
		Fault{Kind: "reconfigure", Parameters: Parameters{Change: json.RawMessage(`{"leaders": ["leader3", "leader1"]}`)}, Trigger: at(3 * time.Second)},
	)
	l.until(3 * time.Second)
	for i, want := range [][]string{{"acceptor4"}, {"acceptor1"}, {"leader2", "leader3"}} {
		same(t, l.record(i).ID, l.record(i).Nodes, want)
	}
}

func TestAFaultWithoutEffectNamesNobody(t *testing.T) {
	l := newLab(t, testWorld(), Fault{Kind: "partition", Whom: []string{"random(9)"}, Trigger: at(time.Second), Optional: true})
	l.until(time.Second)
	if record := l.record(0); record.Outcome != "hit_nobody" || record.Nodes != nil {
		t.Errorf("got %+v", record)
	}
}
