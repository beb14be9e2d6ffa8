#!/bin/sh
# Runs the tests of kernel links on a kernel that has netem: Debian's user-mode Linux,
# an ordinary process. It sees the host's file system read-only and no network. Needs no
# root. The package user-mode-linux must be installed; UML_ROOT may name a folder that it
# was unpacked into (apt-get download user-mode-linux; dpkg -x *.deb FOLDER).
# Exits with the tests' status; 0 without the package, but 1 if CI=true.
set -u
cd "$(dirname "$0")/.."
GO="${GO:-go}"
CI="${CI:-}"
UML_ROOT="${UML_ROOT:-}"
limit_seconds=280

cannot() {
    printf '\nskipped on this machine:\n  %-40s %s\n' "tests of kernel links" "$1"
    [ "$CI" != true ] || { printf '\nkernel links were skipped, which CI does not allow\n'; exit 1; }
    exit 0
}

kernel=linux.uml
[ -z "$UML_ROOT" ] || kernel=$UML_ROOT/usr/bin/linux.uml
command -v "$kernel" >/dev/null 2>&1 || cannot "user-mode Linux is missing: sudo apt-get install user-mode-linux"
modules=$(ls -d "$UML_ROOT"/usr/lib/uml/modules/*/modules.dep 2>/dev/null | tail -n 1)
[ -n "$modules" ] || cannot "user-mode Linux has no modules in $UML_ROOT/usr/lib/uml/modules"
modules=$(cd "$(dirname "$modules")" && pwd)

work=$(mktemp -d) || exit 1
work=$(cd "$work" && pwd -P)
running=
finish() {
    [ -z "$running" ] || kill "$running" 2>/dev/null
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM HUP

# Its memory is a file that it maps and has unlinked; memory is faster than a disk.
memory=$work
[ "$(df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 { print $4 }')" -gt 1200000 ] 2>/dev/null && memory=/dev/shm

echo "kernel links: building"
CGO_ENABLED=0 "$GO" build -o "$work/init" ./scripts/uml &&
    CGO_ENABLED=0 "$GO" build -o "$work/gate" ./scripts/gate &&
    CGO_ENABLED=0 "$GO" test -c -o "$work/link.test" ./harness/link &&
    CGO_ENABLED=0 "$GO" test -c -o "$work/netns.test" ./harness/engine/netns || exit 1
flags="-test.v=test2json -test.timeout ${limit_seconds}s -test.run"
cat >"$work/commands" <<COMMANDS
/run/work/link.test $flags Kernel|EveryExecutor
/run/work/netns.test $flags TestHostsReachEachOther|TestCheckFindsTheEngineReady
COMMANDS

echo "kernel links: running in user-mode Linux ($(basename "$modules")), about a minute"
TMPDIR=$memory HOME=$work timeout -k 5 "$limit_seconds" "$kernel" mem=1G rootfstype=hostfs rootflags=/ ro \
    init="$work/init" work="$work" modules="$modules" ci="$CI" uml_dir="$work/" umid=links \
    con=null con0=fd:0,fd:1 quiet </dev/null >"$work/console" 2>&1 &
running=$!
wait "$running"
timeout_status=$?
running=

result() {
    [ ! -f "$2" ] || "$GO" tool test2json -t -p "$1" <"$2"
}
{
    result quorumlab/harness/link "$work/output1"
    result quorumlab/harness/engine/netns "$work/output2"
} | "$work/gate"
gate_status=$?
[ ! -f "$work/table" ] || cat "$work/table"
if [ ! -f "$work/status" ]; then
    [ "$timeout_status" != 124 ] || echo "FAIL: user-mode Linux was not done within $limit_seconds s"
    echo "FAIL: user-mode Linux ended without a result; its console said:"
    cat "$work/console"
    exit 1
fi
if grep -q 'no tests to run' "$work"/output*; then
    echo "FAIL: the tests that this script names have other names now"
    exit 1
fi
status=$(cat "$work/status")
[ "$status" != 0 ] || status=$gate_status
exit "$status"
