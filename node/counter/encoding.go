package counter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// ErrMalformed is returned for bytes that are no operation, result or snapshot.
var ErrMalformed = errors.New("counter: malformed")

// The first byte of a result.
const (
	success = 1
	failure = 2
)

// AppendOperation appends the encoding of an operation: one byte for the kind,
// the key as a varint.
func AppendOperation(dst []byte, operation Operation) []byte {
	dst = append(slices.Grow(dst, 1+binary.MaxVarintLen64), byte(operation.Kind))
	return binary.AppendUvarint(dst, operation.Key)
}

// DecodeOperation reads what AppendOperation wrote; the error wraps
// ErrMalformed.
func DecodeOperation(src []byte) (Operation, error) {
	if len(src) == 0 {
		return Operation{}, fmt.Errorf("%w operation: no bytes", ErrMalformed)
	}
	kind := Kind(src[0])
	if kind < Nop || kind > Read {
		return Operation{}, fmt.Errorf("%w operation: %v", ErrMalformed, kind)
	}
	key, n := binary.Uvarint(src[1:])
	if n <= 0 || n != len(src)-1 {
		return Operation{}, fmt.Errorf("%w operation: %d bytes are no key", ErrMalformed, len(src)-1)
	}
	return Operation{Kind: kind, Key: key}, nil
}

// AppendResult appends the encoding of a result: one byte that says whether the
// operation succeeded, the value as it is.
func AppendResult(dst []byte, result Result) []byte {
	if !result.OK {
		return append(dst, failure)
	}
	dst = append(slices.Grow(dst, 1+len(result.Value)), success)
	return append(dst, result.Value...)
}

// DecodeResult reads what AppendResult wrote; the error wraps ErrMalformed.
func DecodeResult(src []byte) (Result, error) {
	switch {
	case len(src) == 1 && src[0] == failure:
		return Result{}, nil
	case len(src) == 0 || src[0] != success:
		return Result{}, fmt.Errorf("%w result: %d bytes without a status", ErrMalformed, len(src))
	case len(src) == 1:
		return Result{OK: true}, nil
	}
	value := string(src[1:])
	if n, err := strconv.ParseInt(value, 10, 64); err != nil || strconv.FormatInt(n, 10) != value {
		return Result{}, fmt.Errorf("%w result: %q is no value", ErrMalformed, value)
	}
	return Result{OK: true, Value: value}, nil
}
