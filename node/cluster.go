package node

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"

	"quorumlab/node/application"
	"quorumlab/node/consensus"
	"quorumlab/node/control"
)

// RoleClient is the role of processes that generate load; it belongs to no
// protocol.
const RoleClient = "client"

// storages are those that a cluster file may name.
var storages = []string{control.StorageMemory, control.StorageDisk, control.StorageFsync}

// ErrCluster is wrapped by errors about a cluster file that can't be used.
var ErrCluster = errors.New("bad cluster file")

// namePattern is what a node's name looks like: it becomes part of file names.
var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// Cluster is a cluster file that has been checked.
type Cluster struct {
	Protocol *consensus.Protocol
	// Options are the protocol's, as JSON; nil if the file gives none.
	Options json.RawMessage
	// Application is what the cluster replicates.
	Application application.Application
	// Storage is one of control's, never empty.
	Storage string
	Seed    uint64
	// Nodes are in ascending order of ID.
	Nodes []control.Node
}

// LoadCluster reads a cluster file.
func LoadCluster(path string) (*Cluster, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the cluster file: %w", err)
	}
	cluster, err := ParseCluster(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return cluster, nil
}

// ParseCluster checks the contents of a cluster file: a control.Cluster in
// JSON without unknown fields. The error wraps ErrCluster.
func ParseCluster(data []byte) (*Cluster, error) {
	var file control.Cluster
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&file); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCluster, err)
	}
	if decoder.More() {
		return nil, fmt.Errorf("%w: something follows the object", ErrCluster)
	}
	cluster := &Cluster{
		Storage: cmp.Or(file.Storage, control.StorageMemory), Seed: file.Seed, Nodes: file.Nodes,
	}
	var known bool
	if cluster.Protocol, known = consensus.Lookup(file.Protocol); !known {
		return nil, fmt.Errorf("%w: protocol is %q, want one of %s", ErrCluster, file.Protocol, strings.Join(consensus.Names(), ", "))
	}
	var err error
	if cluster.Application, err = application.Find(file.Application); err != nil {
		return nil, fmt.Errorf("%w: application: %w", ErrCluster, err)
	}
	if !slices.Contains(storages, cluster.Storage) {
		return nil, fmt.Errorf("%w: storage is %q, want one of %s", ErrCluster, cluster.Storage, strings.Join(storages, ", "))
	}
	if err := cluster.setOptions(file.Options); err != nil {
		return nil, err
	}
	if err := cluster.checkNodes(); err != nil {
		return nil, err
	}
	slices.SortFunc(cluster.Nodes, func(a, b control.Node) int { return int(int64(a.ID) - int64(b.ID)) })
	if check := cluster.Protocol.CheckConfig; check != nil {
		if err := check(cluster.Config(cluster.Nodes[0].ID)); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrCluster, cluster.Protocol.Name, err)
		}
	}
	return cluster, nil
}

func (c *Cluster) setOptions(options map[string]any) error {
	if options != nil {
		data, err := json.Marshal(options)
		if err != nil {
			return fmt.Errorf("%w: options: %w", ErrCluster, err)
		}
		c.Options = data
	}
	if c.Protocol.CheckOptions == nil {
		return nil
	}
	if err := c.Protocol.CheckOptions(c.Options); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrCluster, c.Protocol.Name, err)
	}
	return nil
}

func (c *Cluster) checkNodes() error {
	if len(c.Nodes) == 0 {
		return fmt.Errorf("%w: nodes is empty", ErrCluster)
	}
	ids, names, addresses := map[consensus.NodeID]string{}, map[string]bool{}, map[string]string{}
	for i, node := range c.Nodes {
		if !namePattern.MatchString(node.Name) {
			return fmt.Errorf("%w: nodes[%d]: name is %q, want letters, digits, dots, dashes, underscores", ErrCluster, i, node.Name)
		}
		if names[node.Name] {
			return fmt.Errorf("%w: two nodes are named %s", ErrCluster, node.Name)
		}
		names[node.Name] = true
		if node.ID == 0 {
			return fmt.Errorf("%w: %s: id is 0, want at least 1", ErrCluster, node.Name)
		}
		if other, taken := ids[node.ID]; taken {
			return fmt.Errorf("%w: %s and %s both have id %v", ErrCluster, other, node.Name, node.ID)
		}
		ids[node.ID] = node.Name
		if address, err := netip.ParseAddrPort(node.Address); err != nil || address.Port() == 0 {
			return fmt.Errorf("%w: %s: address is %q, want an IP address with a port, such as 198.18.0.1:7000", ErrCluster, node.Name, node.Address)
		}
		if other, taken := addresses[node.Address]; taken {
			return fmt.Errorf("%w: %s and %s both have the address %s", ErrCluster, other, node.Name, node.Address)
		}
		addresses[node.Address] = node.Name
		if err := c.checkRoles(node); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) checkRoles(node control.Node) error {
	if len(node.Roles) == 0 {
		return fmt.Errorf("%w: %s has no roles", ErrCluster, node.Name)
	}
	if node.Spare && node.Has(RoleClient) {
		return fmt.Errorf("%w: %s is a client, which can't be spare", ErrCluster, node.Name)
	}
	for i, role := range node.Roles {
		isRole := func(spec consensus.RoleSpec) bool { return spec.Name == role }
		if role != RoleClient && !slices.ContainsFunc(c.Protocol.Roles, isRole) {
			return fmt.Errorf("%w: %s: role is %q, want one of %s", ErrCluster, node.Name, role, strings.Join(c.roleNames(), ", "))
		}
		if slices.Contains(node.Roles[:i], role) {
			return fmt.Errorf("%w: %s has the role %s twice", ErrCluster, node.Name, role)
		}
	}
	return nil
}

func (c *Cluster) roleNames() []string {
	var names []string
	for _, spec := range c.Protocol.Roles {
		names = append(names, spec.Name)
	}
	return append(names, RoleClient)
}

// Find is the node of a name.
func (c *Cluster) Find(name string) (control.Node, error) {
	var names []string
	for _, node := range c.Nodes {
		if node.Name == name {
			return node, nil
		}
		names = append(names, node.Name)
	}
	return control.Node{}, fmt.Errorf("no node is named %q, want one of %s", name, strings.Join(names, ", "))
}

// Config is what the protocol makes a node's machine of.
func (c *Cluster) Config(self consensus.NodeID) consensus.Config {
	config := consensus.Config{Self: self, Options: c.Options, Seed: c.Seed}
	for _, node := range c.Nodes {
		config.Members = append(config.Members, node.Member)
	}
	return config
}

// Serving lists the nodes that clients send their requests to.
func (c *Cluster) Serving() []consensus.NodeID {
	var ids []consensus.NodeID
	for _, node := range c.Nodes {
		if c.serves(node) {
			ids = append(ids, node.ID)
		}
	}
	return ids
}

func (c *Cluster) serves(node control.Node) bool {
	return slices.ContainsFunc(c.Protocol.Roles, func(spec consensus.RoleSpec) bool {
		return spec.Serves && node.Has(spec.Name)
	})
}

// participates tells whether the node has any role of the protocol.
func participates(node control.Node) bool {
	return slices.ContainsFunc(node.Roles, func(role string) bool { return role != RoleClient })
}

// IsFirstClient tells whether the node is the client with the lowest ID.
func (c *Cluster) IsFirstClient(node control.Node) bool {
	for _, other := range c.Nodes {
		if other.Has(RoleClient) {
			return other.ID == node.ID
		}
	}
	return false
}

// Peers maps the nodes that self sends to, to their addresses: those with a
// role of the protocol to each other; clients to those that serve, and back.
func (c *Cluster) Peers(self control.Node) map[consensus.NodeID]string {
	peers := map[consensus.NodeID]string{}
	for _, other := range c.Nodes {
		needed := participates(self) && participates(other) ||
			self.Has(RoleClient) && c.serves(other) ||
			c.serves(self) && other.Has(RoleClient)
		if needed && other.ID != self.ID {
			peers[other.ID] = other.Address
		}
	}
	return peers
}
