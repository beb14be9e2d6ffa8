//go:build !linux

// Package passing carries lines and open files over Unix sockets, for labs; without
// Linux there are none.
package passing
