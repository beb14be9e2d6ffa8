package node

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"quorumlab/node/consensus"
	"quorumlab/node/control"
)

// member is a line of a cluster file.
func member(id consensus.NodeID, name, address string, roles ...string) control.Node {
	return control.Node{Member: consensus.Member{ID: id, Name: name, Roles: roles}, Address: address}
}

// goodCluster has a server, one that only serves, one that only backs up, and
// two clients, of which one shares a process.
func goodCluster() control.Cluster {
	return control.Cluster{Protocol: "relay", Seed: 3, Nodes: []control.Node{
		member(4, "client2", "127.0.0.1:7004", "client"),
		member(1, "primary", "127.0.0.1:7001", "server"),
		member(3, "both", "127.0.0.1:7003", "server", "client"),
		member(2, "spare", "127.0.0.1:7002", "backup"),
	}}
}

func encode(t testing.TB, value any) []byte {
	t.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestAClusterFileSaysWhoTalksToWhom(t *testing.T) {
	cluster, err := ParseCluster(encode(t, goodCluster()))
	if err != nil {
		t.Fatal(err)
	}
	if got := cluster.Serving(); !slices.Equal(got, []consensus.NodeID{1, 3}) {
		t.Errorf("serving: %v, want 1 and 3", got)
	}
	for name, want := range map[string]struct {
		peers []consensus.NodeID
		first bool
	}{
		"primary": {[]consensus.NodeID{2, 3, 4}, false},
		"spare":   {[]consensus.NodeID{1, 3}, false},
		"both":    {[]consensus.NodeID{1, 2, 4}, true},
		"client2": {[]consensus.NodeID{1, 3}, false},
	} {
		node, err := cluster.Find(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := slices.Sorted(maps.Keys(cluster.Peers(node))); !slices.Equal(got, want.peers) {
			t.Errorf("%s sends to %v, want %v", name, got, want.peers)
		}
		if got := cluster.IsFirstClient(node); got != want.first {
			t.Errorf("%s is the first client: %v", name, got)
		}
	}
	config := cluster.Config(3)
	if config.Self != 3 || config.Seed != 3 || len(config.Members) != 4 || config.Members[0].Name != "primary" {
		t.Errorf("the machine's configuration is %+v", config)
	}
	if cluster.Application.Name() != "kv" || cluster.Storage != control.StorageMemory {
		t.Errorf("by default: application %s, storage %s", cluster.Application.Name(), cluster.Storage)
	}
	if _, err := cluster.Find("absent"); err == nil || !strings.Contains(err.Error(), "primary, spare, both, client2") {
		t.Errorf("an unknown name gives %v, want a list of the known ones", err)
	}
}

func TestBadClusterFilesAreRefusedWithWhatIsWrong(t *testing.T) {
	change := func(f func(*control.Cluster)) string {
		c := goodCluster()
		f(&c)
		return string(encode(t, c))
	}
	for name, c := range map[string]struct{ file, want string }{
		"no JSON":          {"protocol: relay", "invalid character"},
		"nothing":          {"", "EOF"},
		"trailing":         {string(encode(t, goodCluster())) + "{}", "something follows"},
		"unknown field":    {`{"protocol": "relay", "disk": "large"}`, `unknown field "disk"`},
		"unknown protocol": {change(func(c *control.Cluster) { c.Protocol = "raft3" }), `protocol is "raft3", want one of relay`},
		"no application":   {change(func(c *control.Cluster) { c.Application = "sql" }), `application: unknown application: "sql", want counter or kv`},
		"no storage":       {change(func(c *control.Cluster) { c.Storage = "tape" }), `storage is "tape", want one of memory, disk, fsync`},
		"a spare client":   {change(func(c *control.Cluster) { c.Nodes[0].Spare = true }), "client2 is a client, which can't be spare"},
		"bad numbers": {change(func(c *control.Cluster) {
			c.Nodes[1].Roles, c.Nodes[2].Roles = []string{"backup"}, []string{"server", "backup"}
		}), "relay: 1 servers don't need 3 backups"},
		"bad option":     {change(func(c *control.Cluster) { c.Options = map[string]any{"speed": 9} }), "option speed is 9, want none"},
		"no nodes":       {change(func(c *control.Cluster) { c.Nodes = nil }), "nodes is empty"},
		"id 0":           {change(func(c *control.Cluster) { c.Nodes[0].ID = 0 }), "client2: id is 0"},
		"negative id":    {`{"protocol": "relay", "nodes": [{"id": -1}]}`, "cannot unmarshal number -1"},
		"same id":        {change(func(c *control.Cluster) { c.Nodes[1].ID = 4 }), "client2 and primary both have id 4"},
		"same name":      {change(func(c *control.Cluster) { c.Nodes[1].Name = "client2" }), "two nodes are named client2"},
		"path as a name": {change(func(c *control.Cluster) { c.Nodes[1].Name = "../x" }), `name is "../x"`},
		"same address":   {change(func(c *control.Cluster) { c.Nodes[1].Address = "127.0.0.1:7004" }), "client2 and primary both have the address"},
		"no port":        {change(func(c *control.Cluster) { c.Nodes[1].Address = "127.0.0.1" }), `primary: address is "127.0.0.1"`},
		"port 0":         {change(func(c *control.Cluster) { c.Nodes[1].Address = "127.0.0.1:0" }), `primary: address is "127.0.0.1:0"`},
		"host name":      {change(func(c *control.Cluster) { c.Nodes[1].Address = "localhost:7000" }), `primary: address is "localhost:7000"`},
		"no role":        {change(func(c *control.Cluster) { c.Nodes[1].Roles = nil }), "primary has no roles"},
		"unknown role":   {change(func(c *control.Cluster) { c.Nodes[1].Roles = []string{"boss"} }), `role is "boss", want one of server, backup, client`},
		"role twice":     {change(func(c *control.Cluster) { c.Nodes[1].Roles = []string{"server", "server"} }), "primary has the role server twice"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseCluster([]byte(c.file))
			if !errors.Is(err, ErrCluster) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want ErrCluster with %q", err, c.want)
			}
		})
	}
}

func TestAMissingClusterFileIsAnErrorThatNamesIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "absent.json")
	if _, err := LoadCluster(path); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
}

func FuzzParseCluster(f *testing.F) {
	f.Add(encode(f, goodCluster()))
	f.Add([]byte(`{"protocol": "relay", "options": {"a": [1, null]}, "nodes": [{"id": 1, "name": "a", "roles": ["server"], "address": "[::1]:1"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		cluster, err := ParseCluster(data)
		if err != nil {
			if !errors.Is(err, ErrCluster) {
				t.Errorf("%v isn't ErrCluster", err)
			}
			return
		}
		for i, node := range cluster.Nodes {
			if i > 0 && node.ID <= cluster.Nodes[i-1].ID {
				t.Error("nodes aren't in ascending order")
			}
			if _, toItself := cluster.Peers(node)[node.ID]; toItself {
				t.Errorf("%s is its own peer", node.Name)
			}
			if found, err := cluster.Find(node.Name); err != nil || found.ID != node.ID {
				t.Errorf("%s isn't found: %v", node.Name, err)
			}
		}
	})
}
