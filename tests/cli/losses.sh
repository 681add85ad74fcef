#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# What a slow subscriber loses is counted exactly, and said.
. "$(dirname "$0")/common.sh"

mkfifo "$work/fifo"
"$tarn" sub losses --eof --json >"$work/out" 2>"$work/err" &
subscriber=$!
"$tarn" pub losses --wait 1 --memory 1M <"$work/fifo" &
publisher=$!
exec 3>"$work/fifo"
echo first >&3
until_true lines_are "$work/out" 1
kill -STOP $subscriber
seq 300000 >&3
sent_all() { "$tarn" ls --json losses | grep -q '"messages": 300001'; }
until_true sent_all
kill -CONT $subscriber
exec 3>&-
expect_ended 0 $publisher
expect_ended 0 $subscriber

took=$(wc -l <"$work/out")
lost=$(sed -E 's/.*"lost": ([0-9]+),.*/\1/' "$work/out" | awk '{ sum += $1 } END { print sum }')
[ "$lost" -gt 0 ] || fail "a stopped subscriber lost nothing of 300000 messages in 1 MiB"
expect "messages taken and lost" 300001 $((took + lost))
expect "the last message" 300001 "$(tail -1 "$work/out" | sed -E 's/.*"sequence": ([0-9]+),.*/\1/')"
expect_in "$work/err" "tarn: lost $lost messages in all, took $took"
grep -qE '^tarn: lost [0-9]+ messages? of publisher [0-9a-f]{16}$' "$work/err" || fail "stderr: $(cat "$work/err")"

# ls shows it while it happens.
"$tarn" sub losses >"$work/out" 2>/dev/null &
subscriber=$!
"$tarn" pub losses --wait 1 --memory 1M <"$work/fifo" &
exec 3>"$work/fifo"
echo first >&3
until_true lines_are "$work/out" 1
kill -STOP $subscriber
seq 300000 >&3
until_true sent_all
kill -CONT $subscriber
has_losses() { "$tarn" ls --json losses | grep -qE '"lost": [1-9]'; }
until_true has_losses
kill $subscriber
expect_ended 143 $subscriber
exec 3>&-
wait
nothing_left
