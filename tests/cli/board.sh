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
