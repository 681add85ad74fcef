#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# sub's --count, --for and --history, and the exit codes that go with them.
. "$(dirname "$0")/common.sh"

"$tarn" sub bounds --count 3 >"$work/out" &
subscriber=$!
seq 100 | "$tarn" pub bounds --wait 1
expect_ended 0 $subscriber
expect "--count 3" "1 2 3" "$(xargs <"$work/out")"

# A time-out is one only if something else was asked for, too.
expect_exit 0 "$tarn" sub bounds --for 0.2
expect_exit 3 "$tarn" sub bounds --for 0.2 --count 1
expect_exit 3 "$tarn" sub bounds --for 0.2 --eof
expect_exit 0 "$tarn" sub bounds --for 0

# --for ends a stream that never pauses.
"$tarn" pub bounds --repeat forever <<<"again" &
publisher=$!
until_true alive_is publisher bounds 1
expect_exit 0 "$tarn" sub bounds --for 0.3
has_bytes "$work/out" || fail "--for 0.3 saw nothing of a stream"
expect_exit 3 "$tarn" sub bounds --for 0.3 --count 9000000000000
expect_exit 0 "$tarn" sub bounds --for 20 --count 1000
expect "--count 1000 of a stream" 1000 "$(wc -l <"$work/out")"
kill $publisher
expect_ended 143 $publisher

# History: as much as there is, in order, then what comes.
mkfifo "$work/fifo"
"$tarn" pub bounds <"$work/fifo" &
publisher=$!
exec 3>"$work/fifo"
seq 50 >&3
sent_50() { "$tarn" ls --json bounds | grep -q '"messages": 50'; }
until_true sent_50
expect_exit 0 "$tarn" sub bounds --history 5 --count 5
expect "--history 5" "46 47 48 49 50" "$(xargs <"$work/out")"
expect_exit 0 "$tarn" sub bounds --history 1000 --count 50 --reliable
seq 50 | cmp - "$work/out" || fail "--history 1000: $(xargs <"$work/out")"
expect_exit 3 "$tarn" sub bounds --count 1 --for 0.2
"$tarn" sub bounds --history 1 --count 2 >"$work/out" &
subscriber=$!
until_true alive_is subscriber bounds 1
echo new >&3
expect_ended 0 $subscriber
expect "history, then what is new" "50 new" "$(xargs <"$work/out")"
exec 3>&-
wait $publisher

# --depth: so many are kept for who joins later, of messages that are larger than an extent; fewer and more than the default.
sent_20() { "$tarn" ls --json bounds | grep -q '"messages": 20,'; }
for depth in 2 12; do
    "$tarn" pub bounds --depth $depth <"$work/fifo" &
    publisher=$!
    exec 3>"$work/fifo"
    for i in {1..20}; do
        printf '%s %0100000d\n' "$i" 0
    done >&3
    until_true sent_20
    expect_exit 0 "$tarn" sub bounds --history 1000 --count $depth --for 20
    expect "--depth $depth" "$(seq $((21 - depth)) 20)" "$(cut -d ' ' -f 1 "$work/out")"
    exec 3>&-
    wait $publisher
done

# --depth that does not fit into --memory: that is said, also where a subscriber is there, which keeps nothing of it.
"$tarn" sub bounds --raw >/dev/null &
subscriber=$!
until_true alive_is subscriber bounds 1
head -c 3000000 /dev/zero >"$work/zeros"
base64 -w 60000 "$work/zeros" >"$work/lines"
for input in "zeros --chunk 64K" lines; do
    expect_exit 1 timeout 60 "$tarn" pub bounds $work/$input --depth 100 --memory 1M --quiet
    expect_in "$work/err" "kept by the publisher's depth"
done
kill $subscriber
expect_ended 143 $subscriber

# --whole --rate: a file is read when its turn comes, and not a period before.
echo one >"$work/one"
echo two >"$work/two"
exec 4<>"$work/fifo"
echo two >&4
# opened PID FILE: sets $descriptor
opened() {
    for descriptor in /proc/"$1"/fd/*; do
        [ ! "$descriptor" -ef "$2" ] || return 0
    done
    return 1
}
for file in two fifo; do
    "$tarn" pub bounds "$work/one" "$work/$file" --whole --rate 0.001 4>&- &
    publisher=$!
    until_true opened $publisher "$work/$file"
    sleep 0.3
    [ $file = fifo ] || expect_in "/proc/$publisher/fdinfo/${descriptor##*/}" $'pos:\t0'
    kill $publisher
    expect_ended 143 $publisher
done
IFS= read -r -t 5 line <&4 || fail "--whole --rate has read a FIFO before its turn"
expect "what is left in a FIFO" two "$line"
exec 4>&-

# --wait: nothing is sent before they are there.
seq 3 | "$tarn" pub bounds --wait 2 2>"$work/err" &
publisher=$!
waits() { grep -q "waiting for subscribers of 'bounds': 1 of 2 are there" "$work/err"; }
"$tarn" sub bounds --eof >"$work/out1" &
until_true waits
"$tarn" sub bounds --eof >"$work/out2" &
wait
expect "the first of --wait 2" "1 2 3" "$(xargs <"$work/out1")"
expect "the second of --wait 2" "1 2 3" "$(xargs <"$work/out2")"
nothing_left
