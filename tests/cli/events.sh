#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# notify, listen and match: counts arrive, filters and ends work, ls and gc know such topics.
. "$(dirname "$0")/common.sh"

"$tarn" listen doors --count 3 >"$work/all" &
all=$!
"$tarn" listen doors 3 500 --count 2 --json >"$work/some" &
some=$!
until_true alive_is listener doors 2
"$tarn" notify doors 3 --wait 2
until_true lines_are "$work/some" 1
until_true lines_are "$work/all" 1
"$tarn" notify doors 4 --count 10
until_true lines_are "$work/all" 2
"$tarn" notify doors 500 --count 2
expect_ended 0 $all
expect_ended 0 $some
expect "listen" "$(printf '3 1\n4 10\n500 2')" "$(cat "$work/all")"
expect "listen --json of some" \
    "$(printf '{"topic": "doors", "event": 3, "count": 1, "total": 1}\n{"topic": "doors", "event": 500, "count": 2, "total": 2}')" \
    "$(cat "$work/some")"
nothing_left

# Counts live with the topic; history tells them.
"$tarn" listen doors >"$work/keeper" &
keeper=$!
until_true alive_is listener doors 1
"$tarn" notify doors 7 --count 5
until_true lines_are "$work/keeper" 1
"$tarn" notify doors 7
until_true lines_are "$work/keeper" 2
counted() { "$tarn" ls --json doors | grep -q '"messages": 2'; } # when it has run dry
until_true counted
expect_exit 0 "$tarn" listen doors --history --count 1
expect "history" "7 6" "$(cat "$work/out")"
expect_exit 3 "$tarn" listen doors --count 1 --for 0.1
expect_exit 0 "$tarn" listen doors --for 0.1

# ls and gc.
"$tarn" listen doors >"$work/victim" &
victim=$!
until_true alive_is listener doors 2
"$tarn" match doors >"$work/match" &
match=$!
until_true alive_is monitor doors 1
normalise_roles() { normalise | sed -E 's/^(  (listener|monitor)) +[0-9]+  /\1 PID  /'; }
"$tarn" ls doors | normalise_roles >"$work/golden"
expect_golden ls-events "$work/golden"
"$tarn" ls --json doors | normalise >"$work/golden"
expect_golden ls-events-json "$work/golden"
until_true lines_are "$work/match" 2
kill -9 $victim
until_true lines_are "$work/match" 3
expect "who died" "$victim" "$(awk '$1 == "died" { print $3 }' "$work/match")"
"$tarn" gc >/dev/null
expect "listeners" 1 "$(alive listener doors)"
kill -INT $match 2>/dev/null || true
kill -TERM $match
expect_ended 143 $match
kill -TERM $keeper
expect_ended 143 $keeper

# Who may miss an event is said: it is stopped, and the topic's first memory is full.
"$tarn" listen far >/dev/null &
far=$!
until_true alive_is listener far 1
kill -STOP $far
for ((id = 0; id < 10000; id += 256)); do
    code=0
    "$tarn" notify far $id 2>"$work/err" || code=$?
    [ $code = 0 ] || break
done
expect "exit code" 1 $code
expect_in "$work/err" "1 listener of 'far' may miss the event"
kill -CONT $far
expect_exit 0 "$tarn" notify far $id
kill -TERM $far
expect_ended 143 $far

# A topic is for one thing.
"$tarn" listen doors >/dev/null &
listener=$!
until_true alive_is listener doors 1
expect_exit 1 "$tarn" pub doors
expect_in "$work/err" "events"
expect_exit 1 "$tarn" sub doors --for 0
kill $listener
wait $listener || true

# match of plain publishers and subscribers.
"$tarn" match news --json --count 4 >"$work/match" &
match=$!
until_true alive_is monitor news 1
expect "monitors are no subscribers" 1 "$("$tarn" ls --json news | grep -c '"subscribers": 0, "monitors": 1')"
"$tarn" sub news --count 1 >"$work/out" &
subscriber=$!
until_true alive_is subscriber news 1
# who comes and goes at once may be missed, so the publisher stays until it was seen
publisher_seen() { grep -q '"role": "publisher"' "$work/match"; }
{ echo hello && until_true publisher_seen; } | "$tarn" pub news --wait 1
expect_ended 0 $subscriber
expect_ended 0 $match
expect "matches" 4 "$(wc -l <"$work/match")"
expect "joined" 2 "$(grep -c '"match": "joined", "missed": 0' "$work/match")"
expect "left" 2 "$(grep -c '"match": "left", "missed": 0' "$work/match")"
if command -v python3 >/dev/null; then
    python3 -c 'import json, sys; [json.loads(line) for line in sys.stdin]' <"$work/match" || fail "match --json is not JSON"
fi
nothing_left
