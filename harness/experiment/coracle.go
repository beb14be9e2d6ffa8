package experiment

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"quorumlab/harness/engine"
	"quorumlab/node/consensus"
)

// The keys of a file of Coracle, the simulator of consensus protocols;
// docs/experiment.md says what they mean.
const (
	coracleNodes       = "nodes"
	coracleLoss        = "loss"
	coracleTermination = "termination"
	coracleConsensus   = "consensus"
	coracleProtocol    = "protocol"
	coracleTimeout     = "timeout"
)

var coracleKeys = []string{coracleNodes, coracleLoss, coracleTermination, coracleConsensus}

// minTermination is the time of one request at the default rate.
const minTermination = 50 * time.Millisecond

// isCoracle tells a file of Coracle from an experiment, which has a version and
// none of these keys.
func isCoracle(root *node) bool {
	if _, ok := root.entry("version"); ok {
		return false
	}
	return slices.ContainsFunc([]string{coracleNodes, coracleTermination, coracleConsensus}, func(key string) bool {
		_, ok := root.entry(key)
		return ok
	})
}

// coracle makes the experiment that a file of Coracle means. The values keep
// their places, so that whatever is wrong with them later is said of the file.
type coracle struct {
	decoder
	root *node
	// names maps the experiment's paths to those in the file.
	names map[string]string
}

// experiment converts the file:
//
//   - as many processes of the protocol's one role as there are nodes, on a star,
//     in the simulator, whose messages are sent once, and one client;
//   - loss is the share of messages lost between two processes. Each crosses two
//     links, so a link loses 1-sqrt(1-loss);
//   - the load lasts until termination, in milliseconds of virtual time;
//   - what the protocol is told beside its name are its options, of which
//     timeout is in milliseconds.
func (c *coracle) experiment() (*node, error) {
	for _, e := range c.root.entries {
		if !slices.Contains(coracleKeys, e.key) {
			return nil, errorAt(c.file, e.at, Error{Path: e.key, Want: strings.Join(coracleKeys, ", "),
				Message: fmt.Sprintf("unknown key %s: want one of %s, as in a file of Coracle; an experiment would begin with version: 1",
					printable(e.key), strings.Join(coracleKeys, ", "))})
		}
	}
	experiment := &node{kind: kindMapping, at: c.root.at}
	set := func(path string, value *node) { experiment, _, _ = experiment.with(path, value) }
	set("version", &node{kind: kindScalar, at: c.root.at, text: "1", value: uint64(1)})
	set("engine", c.word(c.root.at, EngineSim))
	set("system.transport", c.word(c.root.at, engine.TransportDatagram))
	set("phases.warmup", c.word(c.root.at, "0s"))

	section, err := c.value(c.root, "", coracleConsensus, `an object, such as {"protocol": "raft", "timeout": 300}`)
	if err != nil {
		return nil, err
	}
	protocol, name, err := c.protocol(section)
	if err != nil {
		return nil, err
	}
	set("system.protocol", name)
	options, err := c.options(section)
	if err != nil {
		return nil, err
	}
	set("system.options", options)
	for _, field := range []struct {
		key, path string
		convert   func() (*node, error)
	}{
		{coracleNodes, "system.roles." + plural(protocol.Roles[0].Name), c.nodes},
		{coracleLoss, "topology.link.loss", c.loss},
		{coracleTermination, "phases.measure", c.termination},
	} {
		value, err := field.convert()
		if err != nil {
			return nil, err
		}
		c.names[field.path] = field.key
		set(field.path, value)
	}
	return experiment, nil
}

// value finds a key that must be there.
func (c *coracle) value(in *node, parent, key, want string) (*node, error) {
	if in.kind != kindMapping {
		return nil, c.bad(in, parent, "an object with the key "+key)
	}
	e, ok := in.entry(key)
	if !ok {
		path := join(parent, key)
		return nil, errorAt(c.file, in.at, Error{Path: path, Want: want, Message: path + " is missing: want " + want})
	}
	return e.value, nil
}

func (c *coracle) word(at origin, text string) *node {
	return &node{kind: kindScalar, at: at, text: text, value: text}
}

// protocol finds the protocol, whose processes must all have the same role.
func (c *coracle) protocol(section *node) (*consensus.Protocol, *node, error) {
	var alike, others []string
	for _, name := range consensus.Names() {
		if len(lookup(name).Roles) == 1 {
			alike = append(alike, name)
		} else {
			others = append(others, name)
		}
	}
	want := wantProtocol(alike, others)
	name, err := c.value(section, coracleConsensus, coracleProtocol, want)
	if err != nil {
		return nil, nil, err
	}
	if name.kind != kindScalar || !slices.Contains(alike, name.text) {
		return nil, nil, c.bad(name, join(coracleConsensus, coracleProtocol), want)
	}
	c.names["system.protocol"] = join(coracleConsensus, coracleProtocol)
	return lookup(name.text), name, nil
}

// wantProtocol describes the protocols whose processes are all alike, given
// those and the others that there are.
func wantProtocol(alike, others []string) string {
	const want = "a protocol whose nodes are all alike"
	if len(alike) == 0 {
		return want + "; this version of bench has none yet, only " + strings.Join(others, ", ")
	}
	return want + ": one of " + strings.Join(alike, ", ")
}

func lookup(name string) *consensus.Protocol {
	protocol, ok := consensus.Lookup(name)
	if !ok {
		panic("experiment: not a registered protocol: " + name)
	}
	return protocol
}

// options are what the protocol is told, its name apart.
func (c *coracle) options(section *node) (*node, error) {
	c.names["system.options"] = coracleConsensus
	options := section.without(coracleProtocol)
	for i, e := range options.entries {
		if e.key != coracleTimeout {
			continue
		}
		timeout, err := c.milliseconds(e.value, join(coracleConsensus, e.key), time.Millisecond)
		if err != nil {
			return nil, err
		}
		options.entries[i].value = timeout
	}
	return options, nil
}

func (c *coracle) nodes() (*node, error) {
	const want = "a whole number of nodes, such as 50"
	value, err := c.value(c.root, "", coracleNodes, want)
	if err != nil {
		return nil, err
	}
	if count, err := strconv.Atoi(value.text); !isNumber(value) || !wholeNumber.MatchString(value.text) || err != nil || count < 1 {
		return nil, c.bad(value, coracleNodes, want)
	}
	return value, nil
}

func (c *coracle) loss() (*node, error) {
	const want = "the share of messages that are lost, from 0 to 1, such as 0.01"
	value, err := c.value(c.root, "", coracleLoss, want)
	if err != nil {
		return nil, err
	}
	loss, err := strconv.ParseFloat(value.text, 64)
	if !isNumber(value) || err != nil || !(loss >= 0 && loss <= 1) {
		return nil, c.bad(value, coracleLoss, want)
	}
	const links = 2                                            // between two hosts of a star
	perLink := math.Abs(math.Expm1(math.Log1p(-loss) / links)) // 1 - (1-loss)^(1/links), exact for small ones
	return c.word(value.at, strconv.FormatFloat(perLink, 'g', -1, 64)), nil
}

func (c *coracle) termination() (*node, error) {
	value, err := c.value(c.root, "", coracleTermination, "a whole number of milliseconds, such as 1000")
	if err != nil {
		return nil, err
	}
	return c.milliseconds(value, coracleTermination, minTermination)
}

// milliseconds reads a time without a unit, as Coracle has them.
func (c *coracle) milliseconds(value *node, path string, least time.Duration) (*node, error) {
	count, err := strconv.ParseInt(value.text, 10, 64)
	if !isNumber(value) || !wholeNumber.MatchString(value.text) || err != nil ||
		count < least.Milliseconds() || count > maxPhase.Milliseconds() {
		return nil, c.bad(value, path, fmt.Sprintf("a whole number of milliseconds from %d to %d (24h)",
			least.Milliseconds(), maxPhase.Milliseconds()))
	}
	return c.word(value.at, strconv.FormatInt(count, 10)+"ms"), nil
}

// rename says in the file's own terms what is wrong with the experiment made of
// it.
func (c *coracle) rename(err error) error {
	var bad *Error
	if !errors.As(err, &bad) || bad.Flag != "" {
		return err // --set has the experiment's terms
	}
	renamed := *bad
	for path, key := range c.names {
		if rest, ok := strings.CutPrefix(bad.Path, path); ok && (rest == "" || rest[0] == '.') {
			renamed.Path = key + rest
		}
		renamed.Message = strings.ReplaceAll(renamed.Message, path, key)
	}
	return &renamed
}
