#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
# selftest.sh PROGRAM: what the harness says about each test of selftest.c.
set -eu
program=$1
output=$(mktemp)
trap 'rm -f "$output"' EXIT

# expect EXIT-CODE TEST PATTERN: how the test ends, and what is said about it.
expect() {
    code=0
    "$program" "$2" >"$output" 2>&1 || code=$?
    if [ "$code" -ne "$1" ] || ! grep -q -- "$3" "$output"; then
        echo "$2: exit code $code (expected $1), and this, which should have \"$3\":"
        cat "$output"
        exit 1
    fi
}

expect 1 fails_check 'selftest.c:[0-9]* .*CHECK(1 + 1 == 3)'
expect 1 fails_check_int 'CHECK_INT(1 + 1, ==, 3): 2 against 3'
expect 1 fails_check_status 'CHECK_STATUS(tarn_message_release(NULL), 0): -1001 (.*), not 0; tarn_error: '
expect 1 fails_pattern 'differs in the 8 bytes from byte 96 of 100'
expect 1 leaks_descriptor 'leaked descriptor [0-9]*: /dev/null'
expect 1 leaks_segment 'leaked segment [0-9]* of 4096 bytes'
expect 1 leaks_segment_of_child 'leaked segment [0-9]* of 4096 bytes'
expect 1 leaks_file 'leaked file .*/left of 0 bytes'
expect 1 leaves_child 'surviving process: [0-9]* (.*selftest)'
expect 1 leaves_child_in_other_session 'surviving process: [0-9]* (.*selftest)'
expect 1 hangs 'time limit of [0-9]* s is over'
expect 1 crashes 'killed by signal 11'
expect 1 fails_by_child 'in the child: so'
expect 1 waits_for_slow_child 'has not ended within 1 s'
expect 1 waits_at_closed_gate 'nobody opened the gate within 1 s'
expect 0 passes '^passes  *ok '
expect 0 passes_and_leaves_file ' ok '
expect 77 skips 'skipped: because of it'
expect 0 pattern_holds ' ok '
expect 0 role_answers ' ok '
expect 0 killed_child_is_no_leak ' ok '
expect 2 no_such_test 'no such test'

# A failure names the seed, and the seed gives the same numbers again.
drawn() {
    TARN_SEED=$1 "$program" prints_random | grep drew
}
first=$(drawn 42)
[ "$first" = "$(drawn 42)" ]
[ "$first" != "$(drawn 43)" ]
export TARN_SEED=42
expect 1 fails_check 'TARN_SEED=42 .*fails_check'

echo "the harness reports what it should"
