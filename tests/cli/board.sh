#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# set, get and watch: a blackboard from the command line.
. "$(dirname "$0")/common.sh"

expect_exit 1 "$tarn" get board speed
expect_in "$work/err" "has no key 'speed'"
[ ! -s "$work/out" ] || fail "get wrote something"

# A value stays while its writer does.
"$tarn" set board speed 1.5 2>"$work/set" &
writer=$!
until_true has_bytes "$work/set"
expect_in "$work/set" "key 'speed' of topic 'board'"
expect "the value" "1.5" "$("$tarn" get board speed)"
expect_exit 1 "$tarn" set board speed 2
expect_in "$work/err" "which lives"
expect_exit 1 "$tarn" get board other
expect "about it" '{"topic": "board", "key": "speed", "version": 1, "writer": "IDENTITY", "bytes": 3}' \
    "$("$tarn" get board speed --json | sed -E 's/"writer": "[0-9a-f]{16}"/"writer": "IDENTITY"/')"
kill $writer
expect_ended 143 $writer
expect_exit 1 "$tarn" get board speed
nothing_left

# get waits, and is a time-out if in vain.
"$tarn" get board late --timeout 20 >"$work/late" &
getter=$!
until_true alive_is reader board 1
printf 'a\0b' | "$tarn" set board late --once --quiet
expect_ended 0 $getter
expect "what was waited for" "$(printf 'a\0b' | od -c)" "$(od -c <"$work/late")"
expect_exit 3 "$tarn" get board late --timeout 0.2
expect_exit 3 "$tarn" get board late --timeout 0

# The topic's file is deleted: who had joined goes on, and says so.
mkfifo "$work/fifo"
"$tarn" set board late --lines --quiet <"$work/fifo" &
writer=$!
exec 3>"$work/fifo"
"$tarn" get board late --timeout 60 >"$work/late" 2>"$work/err" &
getter=$!
until_true alive_is writer board 1
until_true alive_is reader board 1
rm "$TARN_DIR/default/board"
until_true grep -q 'was deleted' "$work/err"
echo value >&3
expect_ended 0 $getter
expect "the value of who had joined" value "$(cat "$work/late")"
kill $writer
expect_ended 143 $writer
exec 3>&-

# watch prints all keys, and each change; a value outlives its writer with it.
"$tarn" watch board >"$work/watched" &
watcher=$!
until_true alive_is reader board 1
"$tarn" set board a one --once --quiet
until_true lines_are "$work/watched" 1
printf '1\n2\n' | "$tarn" set board b --lines --for 0.5 --quiet
until_true grep -qx 'b 2' "$work/watched"
expect "kept by the watcher" one "$("$tarn" get board a)"
expect "the first line" "a one" "$(head -1 "$work/watched")"
kill -9 $watcher
expect_ended 137 $watcher

# --lines: --for and --once end it while there is more to read. Input that has no value is no success.
expect_exit 1 timeout 20 "$tarn" set board k --lines
expect "stderr" "tarn: nothing was read from standard input: key 'k' of topic 'board' is not set" "$(cat "$work/err")"
exec 3<>"$work/fifo"
# ends_in_time CODE OPTION...: while nothing comes, and its input has not ended
ends_in_time() {
    local wanted=$1 code=0
    shift
    timeout 20 "$tarn" set board k --for 0.2 "$@" <"$work/fifo" 2>"$work/err" || code=$?
    expect "exit code of set $*" "$wanted" $code
}
ends_in_time 0 --lines
ends_in_time 3 --lines --once
ends_in_time 3
expect_in "$work/err" "standard input did not end in time: key 'k' of topic 'board' is not set"
timeout 20 "$tarn" set board k --lines --once --quiet <"$work/fifo" &
writer=$!
until_true alive_is writer board 1
echo first >&3
expect "the first line" first "$("$tarn" get board k --timeout 20)"
expect_ended 0 $writer
"$tarn" set board k --lines <"$work/fifo" &
writer=$!
value_is() { [ "$("$tarn" get board k 2>/dev/null)" = "$1" ]; }
printf 'second\nthi' >&3
until_true value_is second
printf 'rd\n' >&3
until_true value_is third
kill $writer
expect_ended 143 $writer
exec 3<&-
head -c 200000 /dev/zero | tr '\0' x | timeout 20 "$tarn" set board k --lines --once --quiet &
expect "bytes of a long line without its newline" 200000 "$("$tarn" get board k --timeout 20 | wc -c)"
wait

head -c 3000000 /dev/urandom >"$work/big"
"$tarn" set board big <"$work/big" --quiet &
writer=$!
"$tarn" get board big --timeout 20 | cmp - "$work/big"
"$tarn" watch board big --count 1 --json >"$work/out"
expect_in "$work/out" '"key": "big", "version": 1'
expect_exit 3 "$tarn" watch board nothing --count 1 --for 0.2
expect_exit 3 "$tarn" set board c x --once --for 0.2
kill -9 $writer
expect_ended 137 $writer

expect_exit 2 "$tarn" set board
expect_exit 2 "$tarn" set board a b c
expect_exit 2 "$tarn" set board a b --lines
expect_exit 2 "$tarn" get board
expect_exit 2 "$tarn" get board a b
expect_exit 2 "$tarn" watch
expect_exit 1 "$tarn" set board "a b" x
expect_in "$work/err" "is not a key's name"
nothing_left
