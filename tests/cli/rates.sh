#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# tarn hz and tarn bw: counts are exact whatever the pattern, sizes are those of the messages, and how they end.
. "$(dirname "$0")/common.sh"

plain="env --default-signal=INT"

# sum FIELD FILE: of all lines but the summary
sum() { grep -v '"summary"' "$2" | grep -oE "\"$1\": [0-9.]+" | awk '{ sum += $2 } END { printf "%.0f\n", sum }'; }
counts() { [ "$(sum messages "$1")" = "$2" ]; }
has_lines() { [ -s "$1" ]; }

# watch_with NAME VERB ARGUMENT...: in the background, until end_watch
watch_with() {
    $plain "$tarn" "$2" "${@:3}" --json --interval 0.1 >"$work/$1" &
    watcher=$!
    until_true has_lines "$work/$1"
}
end_watch() {
    kill -INT $watcher
    expect_ended 130 $watcher
}

# Messages of one size: exact counts, exact bytes. The topic comes later than the look.
mkfifo "$work/fifo"
watch_with hz hz cam/a
! "$tarn" hz nobody --interval 0.1 --for 0.15 | grep -n "^\$" || fail "an empty line, and no summary behind it"
expect_in "$work/hz" '"topic": "cam/a", "what": null, "label": "(no such topic now)"'
"$tarn" pub cam/a <"$work/fifo" &
publisher=$!
exec 3>"$work/fifo"
for i in $(seq 500); do echo "123456789"; done >&3
until_true counts "$work/hz" 500
"$tarn" bw cam/a --json --interval 0.1 --for 1 >"$work/bw" &
bandwidth=$!
until_true has_lines "$work/bw"
for i in $(seq 200); do echo "123456789"; done >&3
expect_ended 0 $bandwidth
until_true counts "$work/hz" 700
end_watch
expect "messages seen by bw" 200 "$(sum messages "$work/bw")"
bytes=$(grep -v summary "$work/bw" | sed -E 's/.*"interval_ns": ([0-9]+).*"bytes_per_s": ([0-9.]+).*/\1 \2/' |
    awk '{ sum += $1 * $2 / 1e9 } END { printf "%.0f", sum }')
[ "$bytes" -ge 1795 ] && [ "$bytes" -le 1805 ] || fail "200 messages of 9 bytes: bw saw $bytes bytes"
grep -q '"summary": true, "seconds": .*"least": 0.000' "$work/bw" || fail "no summary: $(tail -1 "$work/bw")"
python3 -c 'import json, sys; [json.loads(line) for line in sys.stdin]' <"$work/bw" || fail "bw --json is no JSON"

# One by one, in words, and once.
"$tarn" hz cam/a --each --once --interval 0.1 >"$work/out"
expect_in "$work/out" "cam/a  messages of publisher $publisher (tarn)"
expect "lines with --once" 2 "$(wc -l <"$work/out")"
"$tarn" bw cam/a --for 0.3 --interval 0.1 >"$work/out"
grep -qE '^cam/a  messages: min 0 B/s, mean 0 B/s, max 0 B/s, in 0\.[0-9] s$' "$work/out" || fail "bw: $(cat "$work/out")"

# After a stop there is one long interval, and none behind it that is over already: each has half its length at least.
watch_with stalled hz cam/a
kill -STOP $watcher
until_true is_stopped $watcher
sleep 1
lines=$(wc -l <"$work/stalled")
kill -CONT $watcher
has_five_more() { [ "$(wc -l <"$work/stalled")" -ge $((lines + 5)) ]; }
until_true has_five_more
end_watch
shortest=$(grep -v summary "$work/stalled" | sed -E 's/.*"interval_ns": ([0-9]+).*/\1/' | sort -n | head -1)
[ "$shortest" -ge 50000000 ] || fail "an interval of 0.1 s lasted $shortest ns: $(cat "$work/stalled")"

# Looking leaves no trace in the list of participants.
"$tarn" ls --json cam/a >"$work/before"
"$tarn" hz cam/a --interval 0.01 >/dev/null &
watcher=$!
sleep 0.3
"$tarn" ls --json cam/a | cmp - "$work/before" || fail "who looks is to be seen"
kill $watcher
expect_ended 143 $watcher
exec 3>&-
wait $publisher

# A topic made anew counts from its start.
watch_with again hz again
for i in 1 2; do
    "$tarn" pub again <"$work/fifo" &
    exec 3>"$work/fifo"
    seq 30 >&3
    until_true counts "$work/again" $((30 * i))
    exec 3>&-
    wait $!
done
end_watch

# Events, values, jobs, requests.
"$tarn" listen doors >/dev/null 2>&1 &
listener=$!
until_true alive_is listener doors 1
watch_with doors hz doors --each
"$tarn" notify doors 3
"$tarn" notify doors 7 --count 5
until_true counts "$work/doors" 6
end_watch
expect_in "$work/doors" '"what": "events", "label": "event 7", "id": 7'
# Events have no bytes: that is no rate of 0, in lines or in the summary.
watch_with bytes bw doors
"$tarn" notify doors 3
until_true counts "$work/bytes" 1
end_watch
expect_in "$work/bytes" '"bytes_per_s": null'
expect_in "$work/bytes" '"least": null, "mean": null, "most": null'
$plain "$tarn" bw doors --interval 0.1 >"$work/lines" &
watcher=$!
until_true has_lines "$work/lines"
"$tarn" notify doors 3
until_true grep -q '^ *? ' "$work/lines"
end_watch
expect_in "$work/lines" "doors  events: min ?, mean ?, max ?, in "
"$tarn" watch robot >/dev/null &
reader=$!
until_true alive_is reader robot 1
watch_with robot bw robot --each
"$tarn" set robot speed 1.5 --quiet &
writer=$!
until_true counts "$work/robot" 1
end_watch
expect_in "$work/robot" '"what": "values", "label": "speed", "id": 0'
watch_with jobs hz jobs
"$tarn" work jobs --quiet -- cat >/dev/null &
worker=$!
"$tarn" push jobs $(seq 20) --quiet &
producer=$!
until_true counts "$work/jobs" 20
end_watch
watch_with upper hz upper
"$tarn" serve upper --quiet -- sh -c 'sleep 0.3 && tr a-z A-Z' & # so that the client is there long enough to be seen
server=$!
until_true alive_is server upper 1
expect "the answer" HELLO "$("$tarn" call upper hello)"
end_watch
for what in requests responses; do
    grep "\"what\": \"$what\"" "$work/upper" >"$work/out" || fail "no $what: $(tail -1 "$work/upper")"
done
grep '"what": "requests"' "$work/upper" >"$work/out"
expect "requests" 1 "$(sum messages "$work/out")"
kill $listener $reader $writer $worker $server
wait
nothing_left

# Ends.
expect_exit 2 "$tarn" hz
expect_exit 2 "$tarn" hz t --interval 0
expect_exit 2 "$tarn" bw t --interval forever
expect_exit 1 "$tarn" hz 'no name'
code=0
"$tarn" hz t --interval 0.01 --json | head -1 >/dev/null || code=${PIPESTATUS[0]}
expect "the reader goes away" 141 $code
