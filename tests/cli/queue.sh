#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# tarn push, tarn work and tarn keep: who gets a message, what becomes of it, when they end.
. "$(dirname "$0")/common.sh"

export OUT=$work/done
collect='echo "$(cat)" >>$OUT' # one write

# Lines of the input; push stays until they are done.
"$tarn" work q --count 100 -- sh -c "$collect" &
worker=$!
seq 100 | "$tarn" push q --done
expect_ended 0 $worker
expect "the messages, in order" "$(seq 100)" "$(cat "$OUT")"
nothing_left

# Arguments, and several commands at a time; each message to one of two workers.
rm "$OUT"
"$tarn" work q --jobs 3 --quiet -- sh -c "$collect" &
one=$!
"$tarn" work q -- sh -c "$collect" &
two=$!
"$tarn" push q $(seq 50) --done
kill -TERM $one $two
expect_ended 143 $one
expect_ended 143 $two
expect "the messages" "$(seq 50)" "$(sort -n "$OUT")"
nothing_left

# Waits, saying so, until somebody has the message; then ends, whether it is done or not.
rm "$OUT"
"$tarn" push q hello 2>"$work/err" &
push=$!
until_true has_bytes "$work/err"
expect_in "$work/err" "waiting for a worker or keeper of 'q' to have 1 message"
kill -0 $push
expect_exit 0 "$tarn" work q --count 1 -- sh -c "$collect"
expect_ended 0 $push
expect "the message" hello "$(cat "$OUT")"
expect_exit 1 "$tarn" push q hello --no-wait
expect_in "$work/err" "nobody has the messages of 'q': 1 is lost"
nothing_left

# A keeper has them for those who come later, and for a second topic; killed producers, too.
"$tarn" keep q p &
keeper=$!
until_true alive_is keeper p 1
"$tarn" push q a b c --no-wait
"$tarn" push p x
head -c 300000 /dev/zero | "$tarn" push p --whole
rm "$OUT"
expect_exit 0 "$tarn" work q --empty -- sh -c "$collect"
expect "what was kept" "a b c" "$(tr '\n' ' ' <"$OUT" | sed 's/ $//')"
rm "$OUT"
expect_exit 0 "$tarn" work p --empty -- sh -c 'wc -c >>$OUT'
expect "their sizes" "1 300000" "$(sort -n "$OUT" | tr '\n' ' ' | sed 's/ $//')"
kill $keeper
expect_ended 143 $keeper
nothing_left

# Started by somebody who ignores SIGCHLD.
env --ignore-signal=CHLD timeout 20 "$tarn" push q a --done &
push=$!
expect_exit 0 timeout 20 env --ignore-signal=CHLD "$tarn" work q --count 1 -- cat
expect_ended 0 $push

# A command that fails gives back; one that fails often enough rejects, by the worker's choice or the producer's.
rm "$OUT"
"$tarn" work q -- sh -c 'echo $TARN_JOB_ATTEMPTS >>$OUT; [ $TARN_JOB_ATTEMPTS -eq 2 ]' 2>"$work/work.err" &
worker=$!
"$tarn" push q again --done
kill $worker
expect_ended 143 $worker
expect "attempts" "1 2" "$(tr '\n' ' ' <"$OUT" | sed 's/ $//')"
expect_in "$work/work.err" "attempt 1: 'sh' ended with 1; given back"
"$tarn" work q --attempts 2 -- false 2>"$work/work.err" &
worker=$!
expect_exit 1 "$tarn" push q bad --done
expect_in "$work/err" "1 message of 'q' was rejected"
expect_in "$work/work.err" "attempt 2: 'false' ended with 1; rejected"
kill $worker
expect_ended 143 $worker
"$tarn" work q --quiet -- false &
worker=$!
expect_exit 1 "$tarn" push q bad --attempts 2 --done
kill $worker
expect_ended 143 $worker

# A worker that is killed: its message goes to another.
rm "$OUT"
"$tarn" work q -- sh -c 'echo $$ >>$OUT; exec sleep 20' &
worker=$!
"$tarn" push q job 2>/dev/null
until_true has_bytes "$OUT"
"$tarn" work q --count 1 -- sh -c 'cat; echo " $TARN_JOB_ATTEMPTS"' >"$work/second" &
second=$!
until_true alive_is worker q 2 # has it attached
kill -9 $worker
kill "$(cat "$OUT")" # the command goes on without it
expect_ended 0 $second
expect "the message" "job 2" "$(cat "$work/second")"

# A worker whose commands run, or that pauses after one that failed, has the messages of who comes meanwhile.
wait_for_go='echo "$(cat)" >>$OUT; while [ -e $OUT ] && [ ! -e $GO ]; do sleep 0.02; done'
export GO=$work/go
for how in "--jobs 1 --count 2" "--jobs 2 --empty"; do
    rm -f "$OUT" "$GO"
    "$tarn" push q first --quiet &
    push=$!
    until_true alive_is producer q 1
    "$tarn" work q $how -- sh -c "$wait_for_go" &
    worker=$!
    until_true has_bytes "$OUT"
    expect_ended 0 $push
    expect_exit 0 "$tarn" push q second --no-wait
    touch "$GO"
    expect_ended 0 $worker
    expect "the messages" "first second" "$(tr '\n' ' ' <"$OUT" | sed 's/ $//')"
done
rm "$OUT"
"$tarn" work q --quiet -- sh -c '[ "$(cat)" = good ] || { echo $TARN_JOB_ATTEMPTS >>$OUT; exit 1; }' &
worker=$!
"$tarn" push q bad
until_true lines_are "$OUT" 6 # a pause of 0.6 s begins
expect_exit 0 "$tarn" push q good --no-wait
kill $worker
expect_ended 143 $worker
until_true nothing_left

# Mistakes.
expect_exit 2 "$tarn" push
expect_exit 2 "$tarn" work q
expect_in "$work/err" "a command is missing"
expect_exit 2 "$tarn" keep
expect_exit 2 "$tarn" push q --done --no-wait
expect_exit 2 "$tarn" push q x --no-wait --limit 0
expect_in "$work/err" "--limit: '0' leaves a worker no time"
expect_exit 3 "$tarn" work q --count 1 --for 0.05 -- true
"$tarn" keep q &
keeper=$!
until_true alive_is keeper q 1
expect_exit 1 "$tarn" work q -- "$work/no-such-command"
expect_in "$work/err" "there is no command '$work/no-such-command'"
# It is sought where execvp() seeks it: without PATH in /bin, where PATH has an empty name in the working directory.
printf '#!/bin/sh\n' >"$work/here"
chmod +x "$work/here"
for path in : /nowhere: :/nowhere ""; do
    (cd "$work" && expect_exit 3 env PATH="$path" "$tarn" work sought --count 1 --for 0.05 -- here)
done
expect_exit 3 env -u PATH "$tarn" work sought --count 1 --for 0.05 -- true
expect_exit 1 env PATH=/nowhere "$tarn" work q -- here
expect_in "$work/err" "there is no command 'here' in the directories of PATH"
"$tarn" push q x
printf '#!/no/such/interpreter\n' >"$work/broken"
chmod +x "$work/broken"
expect_exit 1 "$tarn" work q -- "$work/broken"
expect_in "$work/err" "cannot run"
# Not the message's fault: it is given back, whatever --attempts says. That this ends it is said with --quiet, too.
for code in 126 127; do
    expect_exit 1 "$tarn" work q --quiet --attempts 1 -- sh -c "exit $code"
    expect_in "$work/err" "'sh' ended with $code; given back, and this worker ends: so ends what cannot be run"
done
expect_exit 0 "$tarn" work q --count 1 -- cat
expect "the message, given back" x "$(cat "$work/out")"
kill $keeper
expect_ended 143 $keeper
until_true nothing_left
