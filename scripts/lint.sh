#!/bin/sh
# gofmt, go vet and staticcheck over everything but generated files; then whether
# the programs still compile where only the simulator works.
set -eu
cd "$(dirname "$0")/.."
GO="${GO:-go}"
files=$(git ls-files --cached --others --exclude-standard '*.go' 2>/dev/null || find . -name '*.go')
present=$(printf '%s\n' "$files" | while read -r file; do # git also lists what was just deleted
    if [ -e "$file" ]; then printf '%s\n' "$file"; fi
done)
unformatted=$(printf '%s\n' "$present" | grep -v '\.pb\.go$' | xargs gofmt -l)
if [ -n "$unformatted" ]; then
    printf 'not gofmt-clean:\n%s\n' "$unformatted" >&2
    exit 1
fi
"$GO" vet ./...
"$GO" tool staticcheck ./...
for system in darwin windows; do
    # Of several programs go build keeps nothing.
    CGO_ENABLED=0 GOOS="$system" "$GO" build ./cmd/bench ./cmd/bench-node
done
