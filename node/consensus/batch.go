package consensus

import (
	"encoding/binary"
	"errors"
)

// ErrBatch is returned for a batch that can't be decoded.
var ErrBatch = errors.New("malformed batch of commands")

// NewBatch makes one command of several, none of which is a batch itself, so
// that one slot decides them all.
func NewBatch(commands []Command) Command {
	size := 0
	for i := range commands {
		size += 4*binary.MaxVarintLen64 + 1 + len(commands[i].Operation)
	}
	operation := make([]byte, 0, size)
	for _, c := range commands {
		if c.Kind == KindBatch {
			panic("consensus: a batch within a batch")
		}
		operation = append(operation, byte(c.Kind))
		operation = binary.AppendUvarint(operation, uint64(c.Client))
		operation = binary.AppendUvarint(operation, c.Sequence)
		operation = binary.AppendUvarint(operation, c.FirstUnanswered)
		operation = binary.AppendUvarint(operation, uint64(len(c.Operation)))
		operation = append(operation, c.Operation...)
	}
	return Command{Kind: KindBatch, Operation: operation}
}

// Each calls visit for every command of a batch, in order, with its index; for
// any other command once, with index 0. The commands share the batch's memory.
// A batch that can't be decoded is ErrBatch, after the commands before the
// fault; all replicas see the same ones.
func (c Command) Each(visit func(index uint32, command Command)) error {
	if c.Kind != KindBatch {
		visit(0, c)
		return nil
	}
	for index, rest := uint32(0), c.Operation; len(rest) > 0; index++ {
		command, tail, ok := cutCommand(rest)
		if !ok {
			return ErrBatch
		}
		visit(index, command)
		rest = tail
	}
	return nil
}

// cutCommand decodes the first command of a batch's rest.
func cutCommand(rest []byte) (command Command, tail []byte, ok bool) {
	command.Kind, rest = CommandKind(rest[0]), rest[1:]
	if command.Kind >= KindBatch {
		return command, nil, false
	}
	var numbers [4]uint64
	for i := range numbers {
		n, size := binary.Uvarint(rest)
		if size <= 0 {
			return command, nil, false
		}
		numbers[i], rest = n, rest[size:]
	}
	length := numbers[3]
	if length > uint64(len(rest)) {
		return command, nil, false
	}
	command.Client, command.Sequence, command.FirstUnanswered = ClientID(numbers[0]), numbers[1], numbers[2]
	command.Operation = rest[:length:length]
	return command, rest[length:], true
}
