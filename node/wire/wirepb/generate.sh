#!/bin/sh
# Generates Go code from every .proto file below node/, with the plugins whose
# versions go.mod pins and the protoc that is installed. Run it from anywhere.
set -eu
cd "$(dirname "$0")/../../.."
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
go build -o "$bin" google.golang.org/protobuf/cmd/protoc-gen-go \
    github.com/planetscale/vtprotobuf/cmd/protoc-gen-go-vtproto
# shellcheck disable=SC2046 # the paths have no spaces
protoc -I . \
    --plugin=protoc-gen-go="$bin/protoc-gen-go" --go_out=. --go_opt=module=quorumlab \
    --plugin=protoc-gen-go-vtproto="$bin/protoc-gen-go-vtproto" --go-vtproto_out=. \
    --go-vtproto_opt=module=quorumlab,features=marshal+unmarshal+size \
    $(find node -name '*.proto' | sort)
