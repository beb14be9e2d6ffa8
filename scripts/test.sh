#!/bin/sh
# The whole gate: lint, every test, the concurrent packages again under the race
# detector, and a closing table of what this machine could not run.
set -u
cd "$(dirname "$0")/.."
GO="${GO:-go}"
echo "lint: gofmt, go vet, staticcheck"
sh scripts/lint.sh || exit 1
gate=$(mktemp -d) || exit 1
trap 'rm -rf "$gate"' EXIT
"$GO" build -o "$gate/gate" ./scripts/gate || exit 1
{
    # One package at a time: emulated networks don't like company.
    "$GO" test -json -p 1 -timeout 20m ./... || echo '{"Action":"exit-status","Output":"go test failed"}'
    # The race detector needs a C compiler.
    if command -v gcc >/dev/null 2>&1; then
        CGO_ENABLED=1 "$GO" test -json -race -short -timeout 20m ./node/... ./results ./harness ./harness/report ./harness/measure
    else
        echo "no C compiler: the tests were not repeated under the race detector"
    fi
} 2>&1 | "$gate/gate"
