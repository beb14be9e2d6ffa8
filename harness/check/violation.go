package check

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"quorumlab/results"
)

// Files that Violation.Write makes.
const (
	JSONFile = "violation.json"
	HTMLFile = "violation.html"
)

// Violation is a history that can't be, as small as it could be made. The
// requests that were left out make it no more possible.
type Violation struct {
	// Reason says in a sentence what is wrong.
	Reason string `json:"reason"`
	// Label is that of the options.
	Label       string `json:"label,omitempty"`
	Application string `json:"application"`
	// Initial is the state before the requests: a value, "absent", or "unknown".
	// InitialValues are then those values among the ones read here that it may have
	// been.
	Initial       string   `json:"initial,omitempty"`
	InitialValues []string `json:"initial_values,omitempty"`
	// Requests are in the order in which they were sent.
	Requests []Request `json:"requests"`

	picture []byte
}

// Request is one request of a violation.
type Request struct {
	Client    string `json:"client"`
	Sequence  uint64 `json:"seq"`
	Operation string `json:"op"`
	Key       uint64 `json:"key"`
	Value     string `json:"value,omitempty"`
	SentNS    int64  `json:"sent_ns"`
	// DoneNS is null if the answer came after the end of what is shown, or never:
	// the request may then have taken effect at any time after it was sent, or not
	// at all.
	DoneNS  *int64 `json:"done_ns"`
	Outcome string `json:"outcome,omitempty"`
	Result  string `json:"result,omitempty"`
	Slot    uint64 `json:"slot,omitempty"`
	Index   uint32 `json:"index,omitempty"`
}

// Write writes the violation into a folder, which it makes if there is none:
// violation.json, to read, and violation.html, porcupine's picture.
func (v *Violation) Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("writing a violation: %w", err)
	}
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding a violation: %w", err)
	}
	for name, content := range map[string][]byte{JSONFile: append(text, '\n'), HTMLFile: v.page()} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return fmt.Errorf("writing a violation: %w", err)
		}
	}
	return nil
}

// page is the picture, with the label above it and in its title.
func (v *Violation) page() []byte {
	if v.Label == "" {
		return v.picture
	}
	label := html.EscapeString(v.Label)
	page := bytes.Replace(v.picture, []byte("<title>"), []byte("<title>"+label+": "), 1)
	return bytes.Replace(page, []byte("<body>"), []byte("<body>\n    <p><strong>"+label+"</strong></p>"), 1)
}

// unexplained describes a history that no order explains.
func (r *recording) unexplained(ctx context.Context, h history) *Violation {
	v := &Violation{Application: r.application.name, Initial: r.describeState(h.initial)}
	if h.initial.known != exact {
		v.InitialValues = r.initialValues(&h)
	}
	for i := range h.operations {
		v.Requests = append(v.Requests, r.request(&h.operations[i], h.key))
	}
	state := v.Initial
	if h.initial.known != exact {
		state = "in whatever state it was"
	}
	v.Reason = fmt.Sprintf("key %d isn't linearizable: %s at first, no order in real time explains what these requests returned: %s",
		h.key, state, r.sentence(h.operations))
	v.picture = r.picture(ctx, &h)
	return v
}

// disordered describes two requests whose places in the log contradict each
// other.
func (r *recording) disordered(d *disorder) *Violation {
	v := &Violation{Application: r.application.name}
	first, second := r.describeIn(d.first), r.describeIn(d.second)
	if d.first.slot == d.second.slot && d.first.index == d.second.index {
		v.Reason = fmt.Sprintf("two requests were applied at one place of the log: %s, and %s", first, second)
	} else {
		v.Reason = fmt.Sprintf("the log's order contradicts real time: %s, was called only after the answer to %s", first, second)
	}
	for _, p := range [...]place{d.first, d.second} {
		v.Requests = append(v.Requests, r.request(p.operation, p.key()))
	}
	slices.SortStableFunc(v.Requests, func(a, b Request) int { return cmp.Compare(a.SentNS, b.SentNS) })
	v.picture = r.pictureOfLog(d)
	return v
}

// request puts an operation's numbers into words.
func (r *recording) request(o *operation, key uint64) Request {
	request := Request{
		Client: r.clients.text(int64(o.client)), Sequence: o.sequence, Operation: o.kind.String(), Key: key,
		SentNS: o.call, Slot: o.slot, Index: o.index,
	}
	if o.kind == create || o.kind == update {
		request.Value = r.values.text(o.argument)
	}
	if o.pending() {
		return request
	}
	request.DoneNS = &o.done
	request.Outcome = results.OutcomeOK
	if o.failed {
		request.Outcome = results.OutcomeFail
	}
	request.Result = r.result(o)
	return request
}

// result is what the operation returned, if anything.
func (r *recording) result(o *operation) string {
	switch {
	case o.pending() || o.failed || o.kind == nop:
		return ""
	case o.garbled:
		return r.values.text(o.result)
	case o.kind == read || o.kind == increment || o.kind == decrement:
		return r.application.describe(&r.values, o.result)
	}
	return ""
}

// describeOperation is short, such as "read = x" or "update(x) timed out".
func (r *recording) describeOperation(o *operation) string {
	text := o.kind.String()
	if o.kind == create || o.kind == update {
		text += "(" + r.values.text(o.argument) + ")"
	}
	result := r.result(o)
	switch {
	case o.pending():
		return text + " without an answer"
	case o.failed:
		return text + " failed"
	case o.garbled:
		return text + " = " + strconv.Quote(result)
	case result != "" || o.kind == read:
		return text + " = " + result
	}
	return text + " ok"
}

func (r *recording) describeIn(p place) string {
	subject := ""
	if p.object != nil {
		subject = fmt.Sprintf(" of key %d", p.object.key)
	}
	return fmt.Sprintf("slot %d, index %d, %s%s by %s",
		p.slot, p.index, r.describeOperation(p.operation), subject, r.clients.text(int64(p.client)))
}

func (p place) key() uint64 {
	if p.object == nil {
		return 0
	}
	return p.object.key
}

func (r *recording) describeState(s state) string {
	switch s.known {
	case nothing:
		return "unknown"
	case present:
		return "present"
	}
	return r.application.describe(&r.values, s.value)
}

// initialValues are those that the unknown initial state may be, among those
// read. A counter may have had any.
func (r *recording) initialValues(h *history) []string {
	var values []string
	for i := range h.operations {
		if o := &h.operations[i]; o.observes() && h.possible(o.result) {
			values = append(values, r.values.text(o.result))
		}
	}
	slices.Sort(values)
	return slices.Compact(values)
}

// maxSentence is how many requests a sentence lists.
const maxSentence = 6

func (r *recording) sentence(operations []operation) string {
	var parts []string
	for i := range operations {
		if i == maxSentence {
			parts = append(parts, fmt.Sprintf("and %d more", len(operations)-i))
			break
		}
		parts = append(parts, r.describeOperation(&operations[i]))
	}
	return strings.Join(parts, ", ")
}
