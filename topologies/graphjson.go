package topologies

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// jsonFile reads a graph in JSON: an object with "nodes" and "edges" (or "links").
//
//   - "nodes" is a list of names, or of objects with an "id" or "name" and attributes;
//     or, as in the files of Coracle, the simulator of consensus protocols, a number n:
//     then they are the hosts h1 to hn, joined each with each unless there are edges,
//     and "loss" is the share of messages lost between two of them.
//   - "edges" is a list of pairs [a, b], or of objects with "source" and "target" (or
//     "from" and "to") and attributes.
//   - "directed" is true or false.
//
// Other keys are left alone.
type jsonFile struct {
	*graphFile
	decoder *json.Decoder
	data    []byte
	// counted is where line has counted to.
	counted, lines int
	// values counts those read.
	values int
}

// maxJSONValues bounds the values of a file, for each takes memory.
const maxJSONValues = 300_000

func (f *graphFile) readJSON(data []byte) error {
	r := &jsonFile{graphFile: f, decoder: json.NewDecoder(bytes.NewReader(data)), data: data}
	r.decoder.UseNumber()
	root, err := r.value(0)
	if err != nil {
		return err
	}
	if _, err := r.decoder.Token(); !errors.Is(err, io.EOF) {
		return r.errorAt(r.line(), "something follows after the object")
	}
	if root.kind != jsonObject {
		return r.errorAt(1, "want an object with nodes and edges")
	}
	return r.graph(root)
}

type jsonKind int

const (
	jsonScalar jsonKind = iota
	jsonObject
	jsonList
)

// jsonValue is a value and where it stands.
type jsonValue struct {
	kind jsonKind
	line int
	// text is a scalar's; number is true if it was one without quotes.
	text   string
	number bool
	// keys are an object's, values its or a list's.
	keys   []string
	values []jsonValue
}

func (v jsonValue) get(keys ...string) (jsonValue, bool) {
	for _, key := range keys {
		for i := len(v.keys) - 1; i >= 0; i-- {
			if v.keys[i] == key {
				return v.values[i], true
			}
		}
	}
	return jsonValue{}, false
}

// attributes are an object's scalars.
func (v jsonValue) attributes() attributes {
	a := attributes{}
	for i, key := range v.keys {
		if v.values[i].kind == jsonScalar {
			a[strings.ToLower(key)] = v.values[i].text
		}
	}
	return a
}

// line is that of what was read last. Offsets ascend, so that each byte is looked at
// once.
func (r *jsonFile) line() int {
	to := min(int(r.decoder.InputOffset()), len(r.data))
	r.lines += bytes.Count(r.data[r.counted:to], []byte("\n"))
	r.counted = to
	return r.lines + 1
}

func (r *jsonFile) value(depth int) (jsonValue, error) {
	token, err := r.decoder.Token()
	v := jsonValue{line: r.line()}
	if err != nil {
		return v, r.errorAt(v.line, "%s", jsonError(err))
	}
	if r.values++; r.values > maxJSONValues {
		return v, r.errorAt(v.line, "more than %d values", maxJSONValues)
	}
	if depth > maxNesting {
		return v, r.errorAt(v.line, "values stand more than %d deep in each other", maxNesting)
	}
	switch token := token.(type) {
	case json.Delim:
		return r.compound(v, token, depth)
	case json.Number:
		v.text, v.number = token.String(), true
	case string:
		v.text = token
	case nil:
	default:
		v.text = fmt.Sprint(token)
	}
	return v, nil
}

func jsonError(err error) string {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "the file ends too early"
	}
	return err.Error()
}

// compound reads an object or list of which the bracket has been read.
func (r *jsonFile) compound(v jsonValue, open json.Delim, depth int) (jsonValue, error) {
	v.kind = jsonList
	if open == '{' {
		v.kind = jsonObject
	}
	for r.decoder.More() {
		if v.kind == jsonObject {
			key, err := r.value(depth + 1)
			if err != nil {
				return v, err
			}
			v.keys = append(v.keys, key.text)
		}
		value, err := r.value(depth + 1)
		if err != nil {
			return v, err
		}
		v.values = append(v.values, value)
	}
	if _, err := r.decoder.Token(); err != nil {
		return v, r.errorAt(r.line(), "%s", jsonError(err))
	}
	return v, nil
}

func (r *jsonFile) graph(root jsonValue) error {
	if directed, ok := root.get("directed"); ok {
		r.directed = directed.text == "true"
	}
	nodes, ok := root.get("nodes")
	if !ok {
		return r.errorAt(root.line, "nodes is missing: want a list of nodes, or a number of hosts")
	}
	edges, hasEdges := root.get("edges", "links")
	if hasEdges && edges.kind != jsonList {
		return r.errorAt(edges.line, "edges is no list")
	}
	if nodes.number {
		if err := r.hosts(root, nodes, hasEdges); err != nil {
			return err
		}
	} else if nodes.kind != jsonList {
		return r.errorAt(nodes.line, "nodes is %.64q: want a list of nodes, or a number of hosts", nodes.text)
	}
	for _, node := range nodes.values {
		if err := r.node(node); err != nil {
			return err
		}
	}
	for _, edge := range edges.values {
		if err := r.edge(edge); err != nil {
			return err
		}
	}
	return nil
}

// hosts makes n hosts, each joined with each if nothing else is said.
func (r *jsonFile) hosts(root, nodes jsonValue, hasEdges bool) error {
	n, err := strconv.Atoi(nodes.text)
	if err != nil || n < 1 || n > MaxNodes {
		return r.errorAt(nodes.line, "nodes is %.64s: want 1 to %d hosts", nodes.text, MaxNodes)
	}
	if links := n * (n - 1) / 2; !hasEdges && links > MaxLinks {
		return r.errorAt(nodes.line, "%d nodes joined each with each make %d links: want at most %d", n, links, MaxLinks)
	}
	for i := range n {
		if err := r.addNode(fileNode{id: fmt.Sprintf("h%d", i+1), line: nodes.line, attributes: attributes{"type": "host"}}); err != nil {
			return err
		}
	}
	loss, _ := root.get("loss")
	link := attributes{"loss": loss.text}
	for i := range n {
		for j := i + 1; j < n && !hasEdges; j++ {
			if err := r.addEdge(fileEdge{source: r.nodes[i].id, target: r.nodes[j].id, line: nodes.line, attributes: link}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *jsonFile) node(node jsonValue) error {
	if node.kind == jsonScalar {
		return r.addNode(fileNode{id: node.text, line: node.line, attributes: attributes{}})
	}
	id, ok := node.get("id", "name")
	if node.kind != jsonObject || !ok || id.kind != jsonScalar {
		return r.errorAt(node.line, `want a name, or an object with an "id" or "name"`)
	}
	return r.addNode(fileNode{id: id.text, line: node.line, attributes: node.attributes()})
}

func (r *jsonFile) edge(edge jsonValue) error {
	const want = `want a pair of nodes, or an object with "source" and "target"`
	source, okSource := edge.get("source", "from")
	target, okTarget := edge.get("target", "to")
	if edge.kind == jsonList && len(edge.values) == 2 {
		source, target, okSource, okTarget = edge.values[0], edge.values[1], true, true
	}
	if !okSource || !okTarget || source.kind != jsonScalar || target.kind != jsonScalar {
		return r.errorAt(edge.line, want)
	}
	return r.addEdge(fileEdge{source: r.nodeID(source), target: r.nodeID(target), line: edge.line, attributes: edge.attributes()})
}

// nodeID lets a number mean a host where nodes are a number of hosts.
func (r *jsonFile) nodeID(v jsonValue) string {
	if _, known := r.ids[v.text]; !known && v.number {
		return "h" + v.text
	}
	return v.text
}
