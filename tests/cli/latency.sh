#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# How long messages are on their way: numbers that belong together, and what is said where there are none.
. "$(dirname "$0")/common.sh"

number() { grep -oE "\"$1\": [0-9]+" "$work/out" | head -1 | grep -oE '[0-9]+$'; }

# JSON: all are counted, and percentiles rise.
for spin in '' --spin; do
    "$tarn" latency t --eof --json $spin >"$work/out" &
    seq 500 | "$tarn" pub t --wait 1 --timestamps --rate 2000
    wait $! || fail "latency --json $spin"
    expect "messages" 500 "$(number messages)"
    ! command -v python3 >/dev/null || python3 -m json.tool <"$work/out" >"$work/json" || fail "not JSON"
    last=1
    for key in min p50 p90 p99 p99_9 max; do
        value=$(number ${key}_ns)
        [ "$value" -ge $last ] || fail "$key is $value, after $last: $(cat "$work/out")"
        last=$value
    done
    [ "$last" -lt 20000000000 ] || fail "longer than this test: $last ns"
    rows=$(grep -oE '"from_ns": [0-9]+, "messages": [0-9]+' "$work/out" | awk '{ sum += $4 } END { print sum }')
    expect "messages in rows" 500 "$rows"
done

# What it shows is what there is: messages that were kept for 0.3 s took that long.
"$tarn" latency t --eof --json >"$work/out" &
latency=$!
mkfifo "$work/fifo"
"$tarn" pub t --wait 1 --timestamps <"$work/fifo" &
exec 3>"$work/fifo"
until_true alive_is subscriber t 1
kill -STOP $latency
until_true is_stopped $latency
seq 100 >&3
sent_all() { "$tarn" ls --json t | grep -q '"messages": 100'; }
until_true sent_all
sleep 0.3
kill -CONT $latency
exec 3>&-
expect_ended 0 $latency
wait
expect "messages" 100 "$(number messages)"
[ "$(number min_ns)" -ge 300000000 ] || fail "they were kept for 0.3 s: $(cat "$work/out")"

# Text, and on a terminal while it goes on; bars as the locale has characters.
shown() { sed -E -e 's/[0-9.]+ (ns|us|ms|s)\b/TIME/g' -e 's/TIME +\.\. +TIME +[0-9]+  .*/ROW/' -e 's/ +(TIME|ROW)/ \1/g' "$1" | uniq; }
LC_ALL=C "$tarn" latency t --eof >"$work/out" &
seq 100 | "$tarn" pub t --wait 1 --timestamps
wait $! || fail "latency"
expect "the text" "t: 100 messages in TIME, sleeping between them
 ROW
min TIME  p50 TIME  p90 TIME  p99 TIME  p99.9 TIME  max TIME" "$(shown "$work/out")"
grep -q '#' "$work/out" || fail "no bars: $(cat "$work/out")"
# on_terminal COLUMNS ROWS KIND: what it shows of 100 messages, in $work/terminal
on_terminal() {
    LC_ALL=C.UTF-8 TERM=$3 script -qefc "stty cols $1 rows $2; '$tarn' latency t --eof" /dev/null >"$work/terminal" </dev/null &
    terminal=$!
    seq 100 | "$tarn" pub t --wait 1 --timestamps --rate 200
    expect_ended 0 $terminal
}
for narrow in "79 50 xterm" "80 2 xterm" "80 50 dumb"; do
    on_terminal $narrow
    expect "results on a terminal of $narrow" 1 "$(grep -c 'messages in' "$work/terminal")"
    grep -q $'\033' "$work/terminal" && fail "it is drawn over on a terminal of $narrow: $(cat "$work/terminal")"
done
on_terminal 80 50 xterm
grep -q '█' "$work/terminal" || fail "no blocks: $(cat "$work/terminal")"
[ "$(grep -c 'messages in' "$work/terminal")" -ge 3 ] || fail "it was not drawn anew: $(cat "$work/terminal")"
grep -q $'\033\\[[0-9]*A\033\\[Jt: 100 messages in' "$work/terminal" || fail "the last: $(cat "$work/terminal")"

# A line on stderr is not drawn over, and no title stays behind for it: what the terminal shows at the end.
LC_ALL=C.UTF-8 TERM=xterm script -qefc "stty cols 120 rows 50; '$tarn' latency t --eof; exit" /dev/null \
    >"$work/terminal" </dev/null &
terminal=$!
"$tarn" pub t --wait 1 --timestamps --memory 1M --quiet <"$work/fifo" &
publisher=$!
exec 3>"$work/fifo"
echo first >&3
until_true grep -q '1 message in' "$work/terminal"
latency=$("$tarn" ls --json t | sed -nE 's/.*"subscriber".* "pid": ([0-9]+),.*/\1/p')
kill -STOP $latency
seq 300000 >&3
sent_all() { "$tarn" ls --json t | grep -q '"messages": 300001'; }
until_true sent_all
kill -CONT $latency
exec 3>&-
expect_ended 0 $publisher
expect_ended 0 $terminal
python3 -c '
import re, sys
screen, row = [""] * 1000, 0
for text, up in re.findall(r"([^\033\n]+|\n)|\033\[(\d*)[A-Z]", sys.stdin.read()):
    if up:
        row -= int(up)
    elif text == "\n":
        row += 1
    elif text:
        screen[row] += text.strip("\r")
    else:
        screen[row:] = [""] * (1000 - row)
print("\n".join(screen[: row + 1]))' <"$work/terminal" >"$work/screen"
expect "titles on the screen" 1 "$(grep -c 'messages\? in [0-9]' "$work/screen")"
grep -qE '^tarn: lost [0-9]+ messages of publisher' "$work/screen" || fail "no loss is seen: $(cat "$work/screen")"
expect_in "$work/screen" "messages in all, took"

# Messages that carry no time.
(seq 1000 | "$tarn" pub t --wait 1 --rate 400 || true) &
expect_exit 1 "$tarn" latency t --for 10
expect_in "$work/err" "carry no time of sending: start publishers with timestamps, by 'tarn pub --timestamps'"
expect "sentences" 1 "$(wc -l <"$work/err")"
wait

# Ends as others do.
expect_exit 3 "$tarn" latency t --count 1 --for 0.1
expect_exit 0 "$tarn" latency t --for 0.1
"$tarn" pub t --timestamps --rate 1000 < <(yes) &
publisher=$!
expect_exit 0 "$tarn" latency t --count 10 --json
expect "messages" 10 "$(number messages)"
"$tarn" latency t >"$work/out" &
latency=$!
until_true alive_is subscriber t 1
sleep 0.2
kill -TERM $latency
expect_ended 143 $latency
grep -q '^min' "$work/out" || fail "SIGTERM lost the result: $(cat "$work/out")"
kill $publisher
wait || true
expect_exit 2 "$tarn" latency
expect_exit 2 "$tarn" latency a b
nothing_left
