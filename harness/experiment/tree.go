package experiment

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds on what is read. They are far above any sensible experiment and keep
// hostile files from costing time or memory: the YAML library recurses with the
// nesting and takes time quadratic in the tokens.
const (
	maxFileBytes = 1 << 20
	maxTokens    = 20_000
	maxNesting   = 100
)

type kind uint8

const (
	kindNull kind = iota
	kindScalar
	kindList
	kindMapping
)

// node is a value of a YAML file, with where it stands. Nodes are never
// modified once made: sweeps and overrides make changed copies.
type node struct {
	kind kind
	at   origin
	// text is a scalar as written, but without quotes; value is what YAML makes
	// of it: a string, bool, int64, uint64 or float64.
	text    string
	value   any
	quoted  bool
	entries []entry
	items   []*node
}

// entry is a key of a mapping and its value.
type entry struct {
	key   string
	at    origin
	value *node
}

// describe shows the node in an error.
func (n *node) describe() string {
	switch n.kind {
	case kindNull:
		return "empty"
	case kindList:
		return "a list"
	case kindMapping:
		return "a mapping"
	}
	if n.quoted && (anyNumber.MatchString(n.text) || n.text == "true" || n.text == "false") {
		return strconv.Quote(n.text) // else nothing tells it from what is no text
	}
	return printable(n.text)
}

// plain gives the value as JSON knows it.
func (n *node) plain() any {
	switch n.kind {
	case kindList:
		list := make([]any, len(n.items))
		for i, item := range n.items {
			list[i] = item.plain()
		}
		return list
	case kindMapping:
		object := make(map[string]any, len(n.entries))
		for _, e := range n.entries {
			object[e.key] = e.value.plain()
		}
		return object
	default:
		return n.value
	}
}

// entry finds a key of a mapping.
func (n *node) entry(key string) (entry, bool) {
	for _, e := range n.entries {
		if e.key == key {
			return e, true
		}
	}
	return entry{}, false
}

// reader turns the text of a file, or of an override, into nodes.
type reader struct {
	file string
	// flag is the override that the text comes from, if any.
	flag string
	// path is the field that the text is for, if it isn't a whole experiment.
	path string
}

const noAnchors = "anchors, aliases and merges (&, *, <<) are not supported: write the value out"

// fail makes an error at a token, or without a position if it has none.
func (r *reader) fail(tk *token.Token, message string) *Error {
	return errorAt(r.file, r.origin(tk), Error{Message: message})
}

func (r *reader) origin(tk *token.Token) origin {
	if r.flag != "" || tk == nil || tk.Position == nil {
		return origin{flag: r.flag}
	}
	return origin{line: tk.Position.Line, column: tk.Position.Column}
}

// read parses one YAML document; an empty one gives a null node.
func (r *reader) read(data []byte) (root *node, err error) {
	if len(data) > maxFileBytes {
		return nil, r.fail(nil, fmt.Sprintf("is larger than %d bytes: want an experiment file", maxFileBytes))
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(data) || bytes.ContainsFunc(data, isBinary) {
		return nil, r.fail(nil, "is not a text file: want an experiment in YAML")
	}
	if err := r.checkJSON(data); err != nil {
		return nil, err
	}
	file, err := r.parse(string(data))
	if err != nil {
		return nil, err
	}
	var body ast.Node
	for _, document := range file.Docs {
		if document.Body == nil {
			continue
		}
		if body != nil {
			return nil, r.fail(document.Body.GetToken(), "a second document: want one experiment a file")
		}
		body = document.Body
	}
	if body == nil {
		return &node{at: r.origin(nil)}, nil
	}
	return r.convert(body, r.path, 0)
}

// checkJSON refuses what isn't JSON in a file that calls itself that: YAML, in
// which JSON is read, makes something else of a forgotten comma.
func (r *reader) checkJSON(data []byte) error {
	if r.flag != "" || !strings.EqualFold(filepath.Ext(r.file), ".json") || len(bytes.TrimSpace(data)) == 0 {
		return nil
	}
	var value json.RawMessage
	err := json.Unmarshal(data, &value)
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		return nil
	}
	before := data[:max(0, min(int(syntax.Offset), len(data))-1)]
	at := origin{
		line:   bytes.Count(before, []byte("\n")) + 1,
		column: utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1,
	}
	return errorAt(r.file, at, Error{Message: "is not valid JSON: " + syntax.Error(), Err: err})
}

func isBinary(r rune) bool { return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0x7f }

// parse runs the YAML library. What it should panic about is bad YAML too.
func (r *reader) parse(text string) (file *ast.File, err error) {
	defer func() {
		if recover() != nil {
			file, err = nil, r.fail(nil, "is not valid YAML")
		}
	}()
	tokens := lexer.Tokenize(text)
	if len(tokens) > maxTokens {
		return nil, r.fail(tokens[maxTokens], fmt.Sprintf("has more than %d words and signs: want a shorter experiment", maxTokens))
	}
	if deep := tooDeep(tokens); deep != nil {
		return nil, r.fail(deep, r.tooDeep())
	}
	file, err = parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err == nil {
		return file, nil
	}
	var syntax yaml.Error
	if errors.As(err, &syntax) {
		message := syntax.GetMessage()
		if message == "non-map value is specified" {
			message = "want key: value in every line" // the library's is hard to understand
		}
		return nil, r.fail(syntax.GetToken(), "is not valid YAML: "+message)
	}
	return nil, r.fail(nil, "is not valid YAML: "+err.Error())
}

func (r *reader) tooDeep() string {
	return fmt.Sprintf("is nested more than %d levels deep: want a flatter experiment", maxNesting)
}

// tooDeep finds a token that is nested too deeply for the library, which
// recurses. In block style the columns of the signs tell the depth, nearly:
// convert counts exactly.
func tooDeep(tokens token.Tokens) *token.Token {
	flow := 0
	var columns []int
	for _, tk := range tokens {
		switch tk.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow--
		case token.SequenceEntryType, token.MappingKeyType, token.MappingValueType:
			if flow > 0 {
				continue
			}
			for len(columns) > 0 && columns[len(columns)-1] >= tk.Position.Column {
				columns = columns[:len(columns)-1]
			}
			columns = append(columns, tk.Position.Column)
		}
		if flow+len(columns) > 2*maxNesting {
			return tk
		}
	}
	return nil
}

// convert makes nodes of the library's, refusing what has no place in an
// experiment. The path is that of the node.
func (r *reader) convert(from ast.Node, path string, depth int) (*node, error) {
	tk := from.GetToken()
	if depth > maxNesting {
		return nil, r.fail(tk, r.tooDeep())
	}
	n := &node{kind: kindScalar, at: r.origin(tk)}
	switch v := from.(type) {
	case *ast.NullNode:
		n.kind = kindNull
	case *ast.StringNode:
		n.text, n.value = v.Value, v.Value
		n.quoted = tk.Type == token.SingleQuoteType || tk.Type == token.DoubleQuoteType
	case *ast.LiteralNode:
		n.text, n.value = v.Value.Value, v.Value.Value
	case *ast.BoolNode:
		n.text, n.value = tk.Value, v.Value
	case *ast.IntegerNode:
		n.text, n.value = tk.Value, v.Value
	case *ast.FloatNode:
		n.text, n.value = tk.Value, v.Value
		if math.IsInf(v.Value, 0) || math.IsNaN(v.Value) {
			return nil, r.fail(tk, printable(tk.Value)+" is too large a number: want a finite one")
		}
	case *ast.InfinityNode, *ast.NanNode:
		return nil, r.fail(tk, printable(tk.Value)+" is not a finite number: want one")
	case *ast.SequenceNode:
		return r.convertList(v, n, path, depth)
	case *ast.MappingNode:
		return r.convertMapping(v.Values, v.IsFlowStyle, n, path, depth)
	case *ast.MappingValueNode:
		return r.convertMapping([]*ast.MappingValueNode{v}, false, n, path, depth)
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode:
		return nil, r.fail(tk, noAnchors)
	case *ast.TagNode:
		return nil, r.fail(tk, "tags (!) are not supported: leave it out")
	default:
		return nil, r.fail(tk, "is not valid YAML here: want a value, a list or a mapping")
	}
	return n, nil
}

func (r *reader) convertList(list *ast.SequenceNode, n *node, path string, depth int) (*node, error) {
	n.kind = kindList
	for i, value := range list.Values {
		item, err := r.convert(value, join(path, strconv.Itoa(i)), depth+1)
		if err != nil {
			return nil, err
		}
		n.items = append(n.items, item)
	}
	return n, nil
}

func (r *reader) convertMapping(values []*ast.MappingValueNode, flow bool, n *node, path string, depth int) (*node, error) {
	n.kind = kindMapping
	seen := make(map[string]origin, len(values))
	for i, value := range values {
		tk := value.Key.GetToken()
		e := entry{key: tk.Value, at: r.origin(tk)}
		switch value.Key.(type) {
		case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		case *ast.MergeKeyNode:
			return nil, r.fail(tk, noAnchors)
		default:
			return nil, r.fail(tk, "is not a plain key: want key: value")
		}
		if i == 0 && !flow {
			n.at = e.at // a block mapping starts at its first key, not at the colon
		}
		if first, twice := seen[e.key]; twice {
			return nil, r.duplicate(join(path, e.key), e.at, first)
		}
		seen[e.key] = e.at
		var err error
		if e.value, err = r.convert(value.Value, join(path, e.key), depth+1); err != nil {
			return nil, err
		}
		n.entries = append(n.entries, e)
	}
	return n, nil
}

func (r *reader) duplicate(path string, at, first origin) *Error {
	message := printable(path) + " stands twice: want it once"
	if first.line > 0 {
		message += fmt.Sprintf(" (it was given in line %d already)", first.line)
	}
	return errorAt(r.file, at, Error{Path: path, Want: "once", Message: message})
}
