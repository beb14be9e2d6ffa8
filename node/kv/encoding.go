package kv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// ErrMalformed is returned for bytes that are no operation, result or
// snapshot.
var ErrMalformed = errors.New("kv: malformed")

// AppendOperation appends the encoding of an operation: one byte for the kind,
// the key as a varint, the value as it is.
func AppendOperation(dst []byte, operation Operation) []byte {
	dst = append(slices.Grow(dst, 1+binary.MaxVarintLen64+len(operation.Value)), byte(operation.Kind))
	dst = binary.AppendUvarint(dst, operation.Key)
	return append(dst, operation.Value...)
}

// DecodeOperation reads what AppendOperation wrote; the error is ErrMalformed.
func DecodeOperation(src []byte) (Operation, error) {
	if len(src) == 0 {
		return Operation{}, fmt.Errorf("%w operation: no bytes", ErrMalformed)
	}
	kind := Kind(src[0])
	if kind < Nop || kind > Remove {
		return Operation{}, fmt.Errorf("%w operation: %v", ErrMalformed, kind)
	}
	key, n := binary.Uvarint(src[1:])
	if n <= 0 {
		return Operation{}, fmt.Errorf("%w operation: the key's varint is cut short or too long", ErrMalformed)
	}
	return Operation{Kind: kind, Key: key, Value: string(src[1+n:])}, nil
}

// AppendResult appends the encoding of a result: one byte for the status, the
// value as it is.
func AppendResult(dst []byte, result Result) []byte {
	dst = append(slices.Grow(dst, 1+len(result.Value)), byte(result.Status))
	return append(dst, result.Value...)
}

// bare are the encodings of results without a value, which all share.
var bare = [...][]byte{Success: {byte(Success)}, Failure: {byte(Failure)}}

// encode is AppendResult to nothing, but without an allocation where there is no
// value. Nobody may change the bytes.
func encode(result Result) []byte {
	if result.Status == ReadSuccess {
		return AppendResult(nil, result)
	}
	return bare[result.Status]
}

// DecodeResult reads what AppendResult wrote; the error is ErrMalformed.
func DecodeResult(src []byte) (Result, error) {
	if len(src) == 0 {
		return Result{}, fmt.Errorf("%w result: no bytes", ErrMalformed)
	}
	status := Status(src[0])
	if status < Success || status > ReadSuccess {
		return Result{}, fmt.Errorf("%w result: status %d", ErrMalformed, status)
	}
	if status != ReadSuccess && len(src) > 1 {
		return Result{}, fmt.Errorf("%w result: a value where there is none to return", ErrMalformed)
	}
	return Result{Status: status, Value: string(src[1:])}, nil
}
