#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# sub --eof ends when the last publisher has left or died, and not before.
. "$(dirname "$0")/common.sh"

# The publisher leaves: 20 times, as the race of the last message and the leaving is what could go wrong.
for round in {1..20}; do
    "$tarn" sub end --reliable --eof >"$work/out" &
    seq 1000 | "$tarn" pub end --reliable
    expect_ended 0 $!
    seq 1000 | cmp - "$work/out" || fail "round $round: messages are missing"
done

# It waits for the first publisher, and one that says nothing counts.
"$tarn" sub end --eof >"$work/out" &
subscriber=$!
until_true alive_is subscriber end 1
sleep 0.3
! is_gone $subscriber || fail "--eof ended before there was a publisher"
"$tarn" pub end </dev/null
expect_ended 0 $subscriber
expect "messages of a publisher that says nothing" "" "$(cat "$work/out")"

# One that came and went between two looks counts, and one that had gone before does not: somebody else is in the topic.
"$tarn" sub end >/dev/null &
other=$!
until_true alive_is subscriber end 1
for round in {1..5}; do
    "$tarn" sub end --eof >"$work/out" &
    subscriber=$!
    until_true alive_is subscriber end 2
    sleep 0.2
    ! is_gone $subscriber || fail "round $round: --eof ended for a publisher that was there before"
    "$tarn" pub end --linger 0 </dev/null
    expect_ended 0 $subscriber
done
kill $other
expect_ended 143 $other

# The publisher is killed: what it had sent is read.
mkfifo "$work/fifo" "$work/fifo2"
"$tarn" sub end --reliable --eof >"$work/out" &
subscriber=$!
"$tarn" pub end --wait 1 <"$work/fifo" &
publisher=$!
exec 3>"$work/fifo"
seq 1000 >&3
until_true lines_are "$work/out" 1000
kill -9 $publisher
expect_ended 137 $publisher
exec 3>&-
expect_ended 0 $subscriber

# Of two publishers, the last one counts.
"$tarn" sub end --reliable --eof >"$work/out" &
subscriber=$!
"$tarn" pub end --wait 1 <"$work/fifo" &
exec 3>"$work/fifo"
"$tarn" pub end --wait 1 <"$work/fifo2" 3>&- &
exec 4>"$work/fifo2"
echo first >&3
until_true lines_are "$work/out" 1
echo second >&4
until_true lines_are "$work/out" 2
exec 3>&-
until_true alive_is publisher end 1
sleep 0.3
! is_gone $subscriber || fail "--eof ended while a publisher was there"
echo third >&4
exec 4>&-
expect_ended 0 $subscriber
expect "messages of two publishers" "first second third" "$(tr '\n' ' ' <"$work/out" | sed 's/ $//')"
wait
nothing_left
