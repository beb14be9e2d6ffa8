package topologies

import (
	"html"
	"strings"
)

// gml reads GML (Himsolt, "GML: A portable Graph File Format", 1997): keys, each with a
// number, a string in quotes, or a list in brackets. Of a file it takes the nodes and
// edges of the list graph.
type gml struct {
	*graphFile
	text string
	at   int
	line int
}

func (f *graphFile) readGML(data []byte) error {
	r := gml{graphFile: f, text: string(data), line: 1}
	sawGraph := false
	err := r.list(false, func(key string, value gmlValue) error {
		if key != "graph" || !value.list || sawGraph {
			return r.skip(value)
		}
		sawGraph = true
		return r.graph()
	})
	if err == nil && !sawGraph {
		err = r.errorAt(1, "no list graph: want GML")
	}
	return err
}

// gmlValue is the value of a key. The entries of a list are still to be read.
type gmlValue struct {
	list bool
	text string
	line int
}

func (r *gml) graph() error {
	return r.list(true, func(key string, value gmlValue) error {
		switch {
		case key == "directed":
			r.directed = value.text == "1"
		case key == "node" && value.list:
			a, err := r.attributes()
			if err != nil {
				return err
			}
			return r.addNode(fileNode{id: a["id"], line: value.line, attributes: a})
		case key == "edge" && value.list:
			a, err := r.attributes()
			if err != nil {
				return err
			}
			return r.addEdge(fileEdge{source: a["source"], target: a["target"], line: value.line, attributes: a})
		}
		return r.skip(value)
	})
}

// attributes reads the list of a node or edge.
func (r *gml) attributes() (attributes, error) {
	a := attributes{}
	err := r.list(true, func(key string, value gmlValue) error {
		if value.list {
			return r.skip(value)
		}
		a[key] = value.text
		return nil
	})
	return a, err
}

// skip passes over a list, with the lists in it.
func (r *gml) skip(value gmlValue) error {
	if !value.list {
		return nil
	}
	for depth := 1; depth > 0; {
		if depth >= maxNesting {
			return r.errorAt(r.line, "lists stand more than %d deep in each other", maxNesting)
		}
		token, _ := r.token()
		switch token {
		case "":
			return r.errorAt(r.line, "the list of line %d isn't closed", value.line)
		case "[":
			depth++
		case "]":
			depth--
		}
	}
	return nil
}

// list reads keys and values up to the bracket that closes the list, or to the end of
// the file.
func (r *gml) list(closes bool, entry func(key string, value gmlValue) error) error {
	begun := r.line
	for {
		key, quoted := r.token()
		switch {
		case key == "" && closes:
			return r.errorAt(r.line, "the list of line %d isn't closed", begun)
		case key == "":
			return nil
		case key == "]" && closes:
			return nil
		case quoted || !isKey(key):
			return r.errorAt(r.line, "%.64q: want a key", key)
		}
		line := r.line
		text, quoted := r.token()
		if text == "" || text == "]" && !quoted {
			return r.errorAt(r.line, "the key %.64q has no value", key)
		}
		value := gmlValue{list: text == "[" && !quoted, text: text, line: line}
		if quoted {
			value.text = html.UnescapeString(strings.Trim(text, `"`))
		}
		if err := entry(strings.ToLower(key), value); err != nil {
			return err
		}
	}
}

// isKey is for what isn't in quotes.
func isKey(token string) bool {
	for i, r := range token {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return true
}

// token is the next bracket, key, number, or string with its quotes; "" at the end.
func (r *gml) token() (token string, quoted bool) {
	for r.at < len(r.text) {
		switch c := r.text[r.at]; {
		case c == '\n':
			r.line++
			r.at++
		case c == ' ' || c == '\t' || c == '\r' || c == '\f':
			r.at++
		case c == '#':
			r.skipLine()
		case c == '[' || c == ']':
			r.at++
			return string(c), false
		case c == '"':
			return r.quoted(), true
		default:
			begin := r.at
			for r.at < len(r.text) && !strings.ContainsRune(" \t\r\n\f[]\"", rune(r.text[r.at])) {
				r.at++
			}
			return r.text[begin:r.at], false
		}
	}
	return "", false
}

func (r *gml) skipLine() {
	for r.at < len(r.text) && r.text[r.at] != '\n' {
		r.at++
	}
}

// quoted is a string with its quotes, or what is left of the file if it isn't closed.
func (r *gml) quoted() string {
	begin := r.at
	r.at++
	for r.at < len(r.text) && r.text[r.at] != '"' {
		if r.text[r.at] == '\n' {
			r.line++
		}
		r.at++
	}
	r.at = min(r.at+1, len(r.text))
	return r.text[begin:r.at]
}
