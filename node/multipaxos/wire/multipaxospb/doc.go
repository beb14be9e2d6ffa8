// Package multipaxospb is generated from the .proto file beside it by `make generate`.
package multipaxospb
