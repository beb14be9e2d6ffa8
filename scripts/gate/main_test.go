package main

import (
	"strings"
	"testing"
)

func TestTheGateClosesOnFailuresAndInCIOnSkippedEngines(t *testing.T) {
	pass := `{"Action":"pass","Package":"p","Test":"TestA"}`
	fail := `{"Action":"output","Package":"p","Test":"TestB","Output":"    b_test.go:3: wrong\n"}` + "\n" + `{"Action":"fail","Package":"p","Test":"TestB"}`
	skip := func(reason string) string {
		return `{"Action":"output","Package":"p","Test":"TestC","Output":"    c_test.go:7: ` + reason + `\n"}` + "\n" +
			`{"Action":"output","Package":"p","Test":"TestC","Output":"--- SKIP: TestC (0.00s)\n"}` + "\n" + `{"Action":"skip","Package":"p","Test":"TestC"}`
	}
	for _, c := range []struct {
		name, input string
		ci, good    bool
		says        string
	}{
		{"all pass", pass, true, true, "1 passed, 0 failed, 0 skipped"},
		{"nothing ran", "", false, false, "0 passed"},
		{"one fails", pass + "\n" + fail, false, false, "wrong"},
		{"engine skipped for a user", pass + "\n" + skip("engine netns: denied"), false, true, "engine netns: denied"},
		{"engine skipped in CI", pass + "\n" + skip("engine netns: denied"), true, false, "CI doesn't allow"},
		{"other skip in CI", pass + "\n" + skip("no netem"), true, true, "no netem"},
		{"a package that never ended", pass + "\n" + `{"Action":"start","Package":"q"}` + "\nsignal: killed", false, false, "never ended"},
		{"the go command failed", pass + "\n" + `{"Action":"exit-status"}`, false, false, "the go command failed"},
		{"a package that doesn't build", pass + "\n" + `{"Action":"build-output","Output":"p.go:1: syntax error\n"}` + "\n" + `{"Action":"fail","Package":"p"}`, false, false, "syntax error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			g := newGate(&out)
			if err := g.read(strings.NewReader(c.input)); err != nil {
				t.Fatal(err)
			}
			if good := g.close(c.ci); good != c.good || !strings.Contains(out.String(), c.says) {
				t.Errorf("good = %v, output:\n%s", good, out.String())
			}
		})
	}
}
