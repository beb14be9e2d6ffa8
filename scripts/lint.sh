#!/bin/sh
# gofmt, go vet and staticcheck over everything but generated files.
set -eu
cd "$(dirname "$0")/.."
GO="${GO:-go}"
files=$(git ls-files --cached --others --exclude-standard '*.go' 2>/dev/null || find . -name '*.go')
unformatted=$(printf '%s\n' "$files" | grep -v '\.pb\.go$' | xargs gofmt -l)
if [ -n "$unformatted" ]; then
    printf 'not gofmt-clean:\n%s\n' "$unformatted" >&2
    exit 1
fi
"$GO" vet ./...
"$GO" tool staticcheck ./...
