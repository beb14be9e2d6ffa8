package topologies

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// graphML reads GraphML (graphml.graphdrawing.org), of which the Topology Zoo's files
// are the main use: keys, and the nodes and edges of the graph with their data. Ports,
// hyperedges and graphs within nodes aren't read.
type graphML struct {
	*graphFile
	decoder *xml.Decoder
	// keys has the name of each key's attribute in lower case, defaults the attributes
	// of nodes and edges that have a default.
	keys     map[string]string
	defaults map[string]attributes
	// open are the elements around.
	open []string
	// into are the attributes of the node or edge around; nil outside.
	into attributes
	// key is that of the data element, or default of a key element, around.
	key, keyFor string
	text        strings.Builder
}

func (f *graphFile) readGraphML(data []byte) error {
	r := graphML{graphFile: f, decoder: xml.NewDecoder(bytes.NewReader(data)), keys: map[string]string{}, defaults: map[string]attributes{}}
	r.decoder.CharsetReader = func(charset string, _ io.Reader) (io.Reader, error) {
		return nil, fmt.Errorf("the encoding is %.32q: want UTF-8", charset)
	}
	sawGraph := false
	for {
		token, err := r.decoder.RawToken()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return r.syntax(err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			sawGraph = sawGraph || token.Name.Local == "graph"
			err = r.start(token)
		case xml.EndElement:
			err = r.end(token.Name.Local)
		case xml.CharData:
			if r.key != "" {
				r.text.Write(token)
			}
		}
		if err != nil {
			return err
		}
	}
	if len(r.open) > 0 {
		return r.errorAt(r.line(), "the element %.64q isn't closed", r.open[len(r.open)-1])
	}
	if !sawGraph {
		return r.errorAt(1, "no element graph: want GraphML")
	}
	return r.applyDefaults()
}

func (r *graphML) line() int {
	line, _ := r.decoder.InputPos()
	return line
}

func (r *graphML) syntax(err error) error {
	var syntax *xml.SyntaxError
	if errors.As(err, &syntax) {
		return r.errorAt(syntax.Line, "%s", syntax.Msg)
	}
	return r.errorAt(r.line(), "%v", err)
}

func (r *graphML) start(element xml.StartElement) error {
	name, line := element.Name.Local, r.line()
	if len(r.open) == maxNesting {
		return r.errorAt(line, "elements stand more than %d deep in each other", maxNesting)
	}
	r.open = append(r.open, name)
	// Only what stands in the graph itself counts: graphml/graph/node.
	depth := len(r.open)
	switch {
	case name == "key" && depth == 2:
		r.keyFor = attribute(element, "for")
		r.keys[attribute(element, "id")] = strings.ToLower(attribute(element, "attr.name"))
		r.key = attribute(element, "id")
		r.text.Reset()
	case name == "default" && depth == 3:
		r.text.Reset() // of the description before it
	case name == "graph" && depth == 2:
		r.directed = attribute(element, "edgedefault") == "directed"
	case name == "node" && depth == 3:
		r.into = attributes{}
		return r.addNode(fileNode{id: attribute(element, "id"), line: line, attributes: r.into})
	case name == "edge" && depth == 3:
		r.into = attributes{}
		return r.addEdge(fileEdge{source: attribute(element, "source"), target: attribute(element, "target"), line: line, attributes: r.into})
	case name == "data" && depth == 4 && r.into != nil:
		r.key = attribute(element, "key")
		r.text.Reset()
	}
	return nil
}

func attribute(element xml.StartElement, name string) string {
	for _, a := range element.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

func (r *graphML) end(name string) error {
	if len(r.open) == 0 || r.open[len(r.open)-1] != name {
		return r.errorAt(r.line(), "</%.64s> closes what isn't open", name)
	}
	depth := len(r.open)
	r.open = r.open[:depth-1]
	switch {
	case name == "default" && depth == 3 && r.key != "":
		for _, kind := range []string{"node", "edge"} {
			if r.keyFor == kind || r.keyFor == "all" || r.keyFor == "" {
				if r.defaults[kind] == nil {
					r.defaults[kind] = attributes{}
				}
				r.defaults[kind][r.keys[r.key]] = r.text.String()
			}
		}
	case name == "data" && depth == 4 && r.into != nil:
		attribute := r.keys[r.key]
		if attribute == "" {
			attribute = strings.ToLower(r.key) // a file without keys
		}
		r.into[attribute] = r.text.String()
		r.key = ""
	case name == "key" && depth == 2:
		r.key = ""
	case depth == 3:
		r.into = nil
	}
	return nil
}

// applyDefaults gives nodes and edges what keys say for those that have no data.
func (r *graphML) applyDefaults() error {
	fill := func(into attributes, kind string) {
		for key, value := range r.defaults[kind] {
			if _, ok := into[key]; !ok {
				into[key] = value
			}
		}
	}
	for _, node := range r.nodes {
		fill(node.attributes, "node")
	}
	for _, edge := range r.edges {
		fill(edge.attributes, "edge")
	}
	return nil
}
