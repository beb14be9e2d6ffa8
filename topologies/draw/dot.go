package draw

import (
	"fmt"
	"io"
	"strings"
)

// dotScale makes inches of pixels, with room for Graphviz's larger shapes.
const dotScale = 1.6 / 72

// DOT writes the topology in the language of Graphviz: an undirected graph whose
// links are labelled, asymmetric ones at both ends with what leaves there. Hosts name
// their processes. Nodes are where SVG has them; without layout and pos Graphviz
// finds places itself.
func DOT(w io.Writer, p Picture) error {
	n, err := newNetwork(p)
	if err != nil {
		return err
	}
	var b strings.Builder
	s := newScene(n)
	fmt.Fprintf(&b, "graph %s {\n", quoted(p.Topology.Kind))
	b.WriteString("  graph [layout=neato, fontname=\"Helvetica\", fontsize=10")
	caption := strings.Join(notEmpty(p.Title, n.legend(s.common)), "\n")
	if caption != "" {
		fmt.Fprintf(&b, ", label=%s", quoted(caption))
	}
	b.WriteString("];\n")
	b.WriteString("  node [fontname=\"Helvetica\", fontsize=10, width=0.4, height=0.3, margin=0.06, style=filled, fillcolor=white];\n")
	b.WriteString("  edge [fontname=\"Helvetica\", fontsize=9];\n")
	for i, node := range n.nodes {
		at := s.layout.at[i].times(dotScale)
		fmt.Fprintf(&b, "  %s [%s, pos=\"%.2f,%.2f!\"];\n", quoted(node.name), n.dotNode(node), at.x, -at.y)
	}
	for _, l := range n.links {
		fmt.Fprintf(&b, "  %s -- %s%s;\n", quoted(l.A), quoted(l.B), dotLink(l, s.common))
	}
	b.WriteString("}\n")
	_, err = io.WriteString(w, b.String())
	return err
}

func (n *network) dotNode(node node) string {
	if node.isSwitch {
		return "shape=box, fillcolor=\"#444444\", fontcolor=white"
	}
	attributes := "shape=ellipse, label=" + quoted(strings.Join(append([]string{node.name}, node.processes...), "\n"))
	switch len(node.roles) {
	case 0:
	case 1:
		r := n.roles[node.roles[0]]
		attributes += fmt.Sprintf(", fillcolor=%q, fontcolor=%q", r.fill, r.ink)
	default:
		var fills []string
		for _, i := range node.roles {
			fills = append(fills, n.roles[i].fill)
		}
		attributes += fmt.Sprintf(", style=wedged, fillcolor=%q", strings.Join(fills, ":"))
	}
	return attributes
}

func dotLink(l link, common string) string {
	var attributes []string
	switch {
	case !l.alike():
		attributes = append(attributes, "taillabel="+quoted(l.there), "headlabel="+quoted(l.back), "labeldistance=2.5")
	case l.there != common:
		attributes = append(attributes, "label="+quoted(l.there))
	}
	attributes = append(attributes, "tooltip="+quoted(l.Name))
	if l.AToB.Down && l.BToA.Down {
		attributes = append(attributes, "style=dashed")
	}
	return " [" + strings.Join(attributes, ", ") + "]"
}

// quoted is a string of DOT; a new line is "\n" there.
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}

func notEmpty(texts ...string) []string {
	var out []string
	for _, s := range texts {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}
