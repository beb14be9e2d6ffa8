package consensus

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// allowedImports of a protocol: nothing that reaches a clock, a network, a
// file, another goroutine, or a part of ours beyond the contract and quorums.
var allowedImports = map[string]bool{
	"bytes": true, "cmp": true, "encoding/json": true, "errors": true, "fmt": true, "maps": true,
	"math": true, "math/rand/v2": true, "slices": true, "strconv": true, "strings": true, "time": true,
	"quorumlab/node/consensus": true, "quorumlab/node/quorum": true,
}

// allowedSelectors are what may be used of packages that have a pure and an
// impure part.
var allowedSelectors = map[string]map[string]bool{
	"time": {"Duration": true, "Nanosecond": true, "Microsecond": true, "Millisecond": true,
		"Second": true, "Minute": true, "Hour": true, "ParseDuration": true},
	"rand": {"Rand": true, "New": true, "NewPCG": true, "Source": true},
}

// impurities lists what a file does that a protocol may not.
func impurities(file *ast.File) []string {
	var found []string
	for _, spec := range file.Imports {
		if path, _ := strconv.Unquote(spec.Path.Value); !allowedImports[path] || spec.Name != nil {
			found = append(found, "imports "+spec.Path.Value)
		}
	}
	ast.Inspect(file, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.GoStmt:
			found = append(found, "starts a goroutine")
		case *ast.ChanType:
			found = append(found, "uses a channel")
		case *ast.SelectorExpr:
			if name, ok := node.X.(*ast.Ident); ok && name.Obj == nil {
				if allowed, restricted := allowedSelectors[name.Name]; restricted && !allowed[node.Sel.Name] {
					found = append(found, fmt.Sprintf("uses %s.%s", name.Name, node.Sel.Name))
				}
			}
		}
		return true
	})
	return found
}

// Every package that has a wire sub-package is a protocol.
func TestProtocolsArePure(t *testing.T) {
	protocols, err := filepath.Glob("../*/wire/wire.go")
	if err != nil || len(protocols) == 0 {
		t.Fatalf("found no protocols: %v", err)
	}
	for _, codec := range protocols {
		sources, _ := filepath.Glob(filepath.Join(filepath.Dir(filepath.Dir(codec)), "*.go"))
		for _, source := range sources {
			if strings.HasSuffix(source, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), source, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, impurity := range impurities(file) {
				t.Errorf("%s %s", source, impurity)
			}
		}
	}
}

func TestImpuritiesAreFound(t *testing.T) {
	for _, body := range []string{
		`import "net"`, `import "os"`, `import "sync"`, `import "quorumlab/node/driver"`,
		`import t "time"`,
		`import "time"; var x = time.Now()`, `import "math/rand/v2"; var x = rand.IntN(3)`,
		`func f() { go f() }`, `var c chan int`,
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "p.go", "package p; "+body, 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(impurities(file)) == 0 {
			t.Errorf("%s passed", body)
		}
	}
}
