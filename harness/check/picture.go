package check

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"quorumlab/node/consensus"
)

// maxPictureTime bounds the search whose orders a picture shows.
const maxPictureTime = 3 * time.Second

// picture has porcupine draw the orders that explain most of the history.
func (r *recording) picture(ctx context.Context, h *history) []byte {
	p := newProblem(h)
	s := newSearch(len(p.tasks), within(ctx, maxPictureTime))
	// porcupine keeps orders, each of which may be as long as the history.
	s.stepBytes += 8 * int64(len(p.tasks))
	model := s.model(r.application, p.initial)
	model.DescribeOperation = func(input, _ any) string { return r.describeTask(input.(*task)) }
	model.DescribeState = func(s any) string { return r.describeState(s.(state)) }
	return draw(model, r.arrange(p.operations()), s.unbind)
}

// pictureOfLog draws two requests whose places contradict each other, as
// operations on a log that only grows: there is no order for both.
func (r *recording) pictureOfLog(d *disorder) []byte {
	var operations []porcupine.Operation
	for _, p := range [...]place{d.first, d.second} {
		t := &task{operation: p.operation, call: p.call, done: p.done}
		operations = append(operations, porcupine.Operation{Input: t, Call: t.call, Return: t.done})
	}
	model := porcupine.Model{
		Init: func() any { return operation{} },
		Step: func(before, input, _ any) (bool, any) {
			last, next := before.(operation), *input.(*task).operation
			return cmp.Or(cmp.Compare(next.slot, last.slot), cmp.Compare(next.index, last.index)) > 0 || last.slot == 0, next
		},
		DescribeOperation: func(input, _ any) string {
			o := input.(*task).operation
			return fmt.Sprintf("slot %d, index %d: %s", o.slot, o.index, r.describeOperation(o))
		},
		DescribeState: func(s any) string {
			o := s.(operation)
			return fmt.Sprintf("the log up to slot %d, index %d", o.slot, o.index)
		},
	}
	return draw(model, r.arrange(operations), func() {})
}

// draw runs porcupine and returns its page. It calls unbind between the search
// and the drawing, which goes through the orders that were found once more.
func draw(model porcupine.Model, operations []porcupine.Operation, unbind func()) []byte {
	model.DescribeOperationMetadata = func(metadata any) string { return fmt.Sprint(metadata) }
	_, info := porcupine.CheckOperationsVerbose(model, operations, 0)
	unbind()
	var page bytes.Buffer
	if err := porcupine.Visualize(model, info, &page); err != nil {
		panic("check: porcupine's picture can't be written to memory: " + err.Error())
	}
	return page.Bytes()
}

func (r *recording) describeTask(t *task) string {
	if t.kind == end {
		return "end: what is ordered later never took effect"
	}
	return r.describeOperation(t.operation)
}

// arrange names each operation's client and gives it a line of the picture:
// clients may have several requests under way, so a client has as many lines as
// it needs for them not to overlap.
func (r *recording) arrange(operations []porcupine.Operation) []porcupine.Operation {
	type line struct {
		client uint32
		free   int64
	}
	var lines []line
	slices.SortStableFunc(operations, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	for i := range operations {
		o := &operations[i]
		client := uint32(0)
		o.Metadata = ""
		if recorded := o.Input.(*task).operation; recorded != nil {
			client = recorded.client
			o.Metadata = r.metadata(recorded)
		}
		o.ClientId = slices.IndexFunc(lines, func(l line) bool { return l.client == client && l.free < o.Call })
		if o.ClientId < 0 {
			o.ClientId = len(lines)
			lines = append(lines, line{client: client})
		}
		lines[o.ClientId].free = o.Return
	}
	return operations
}

func (r *recording) metadata(o *operation) string {
	text := fmt.Sprintf("request %d of %s", o.sequence, r.clients.text(int64(o.client)))
	switch {
	case !o.placed():
		return text
	case o.index == consensus.IndexRead:
		return text + fmt.Sprintf(", after slot %d", o.slot)
	}
	return text + fmt.Sprintf(", slot %d, index %d", o.slot, o.index)
}
