# SPDX-License-Identifier: Apache-2.0 OR MIT
# What the tests of the command line share. Each sources this first: it gets a time limit, a topic directory of its own,
# and at the end a check that nothing was left behind. TARN_BIN is the program; TARN_GOLDEN=write renews golden output.
set -eu -o pipefail

: "${TARN_BIN:?set TARN_BIN to the tarn program to test}"
[ "${TARN_TIMED-}" ] || TARN_TIMED=1 exec timeout -k 5 100 bash "$0" "$@"

tarn=$TARN_BIN
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
export TARN_DIR=$work/topics
unset TARN_DOMAIN

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

clean_up() {
    local code=$?
    local children
    children=$(jobs -p)
    [ -z "$children" ] || { kill -9 $children && wait; } 2>/dev/null || true
    rm -rf "$work"
    [ $code -ne 124 ] || echo "FAILED: out of time" >&2
    exit $code
}
trap clean_up EXIT
trap 'echo "FAILED: $0 line $LINENO: $BASH_COMMAND" >&2' ERR

# expect WHAT EXPECTED ACTUAL
expect() {
    [ "$2" = "$3" ] || fail "$1: expected '$(printf %s "$2" | head -c 500)', got '$(printf %s "$3" | head -c 500)'"
}

# expect_exit CODE COMMAND...: its output goes to $work/out and $work/err
expect_exit() {
    local wanted=$1 code=0
    shift
    "$@" >"$work/out" 2>"$work/err" </dev/null || code=$?
    [ $code -eq "$wanted" ] || fail "exit code of '$*': expected $wanted, got $code; stderr: $(cat "$work/err")"
}

# expect_in FILE TEXT: a fixed string
expect_in() {
    grep -qF -- "$2" "$1" || fail "expected '$2' in: $(head -c 1000 "$1")"
}

# expect_golden NAME FILE
expect_golden() {
    local golden=$here/golden/$1
    [ "${TARN_GOLDEN-}" != write ] || cp "$2" "$golden"
    diff -u "$golden" "$2" >&2 || fail "output differs from golden/$1 (TARN_GOLDEN=write renews it)"
}

# expect_ended CODE PID: of a child that is about to end
expect_ended() {
    local code=0
    wait "$2" || code=$?
    expect "exit code" "$1" "$code"
}

# until_true COMMAND...: waits for it, at most 20 s
until_true() {
    local tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ $tries -lt 1000 ] || fail "not within 20 s: $*"
        sleep 0.02
    done
}

# alive ROLE TOPIC: how many of them are there; dead: the same of those that await repair
alive() { participants "$1" "$2" true; }
dead() { participants "$1" "$2" false; }
participants() {
    "$tarn" ls --json "$2" | grep -c "\"role\": \"$1\", \"alive\": $3" || true
}

alive_is() { [ "$(alive "$1" "$2")" -eq "$3" ]; }
lines_are() { [ -e "$1" ] && [ "$(wc -l <"$1")" -eq "$2" ]; }
has_bytes() { [ -s "$1" ]; }
is_stopped() { grep -q '^State:.T' "/proc/$1/status"; }
is_gone() { ! kill -0 "$1" 2>/dev/null; }

# What only differs from run to run: pids, identities, times, memory, the directory.
normalise() {
    sed -E -e "s#$TARN_DIR#TARN_DIR#g" -e 's/"(pid|uid|opened_ns|bytes_held)": [0-9]+/"\1": N/g' \
        -e 's/"(publisher|identity)": "[0-9a-f]{16}"/"\1": "IDENTITY"/g' -e 's/ of [0-9a-f]{16}/ of IDENTITY/g' \
        -e 's/^(  publisher |  subscriber) +[0-9]+  /\1     PID  /' -e 's/ +[0-9.]+ ([KMG]i)?B( +-)/       HELD\2/'
}

# nothing_left: after all participants are gone and a sweep, the topic directory has no file
nothing_left() {
    "$tarn" gc >/dev/null || fail "tarn gc"
    local left
    left=$(find "$TARN_DIR" ! -type d 2>/dev/null || true)
    [ -z "$left" ] || fail "left behind: $left"
}
