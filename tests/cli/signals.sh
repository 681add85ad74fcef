#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# SIGINT and SIGTERM end a verb wherever it waits, with 130 or 143.
. "$(dirname "$0")/common.sh"

# A background child of a script ignores SIGINT, unless told otherwise.
plain="env --default-signal=INT"
# has_sent TOPIC COUNT: its first publisher or producer
has_sent() { "$tarn" ls --json "$1" | grep -qE "\"role\": \"(publisher|producer)\".*\"messages\": $2,"; }

for signal in INT TERM; do
    [ $signal = INT ] && code=130 || code=143

    # waiting for messages
    $plain "$tarn" sub quiet &
    child=$!
    until_true alive_is subscriber quiet 1
    kill -$signal $child
    expect_ended $code $child

    # waiting for subscribers
    $plain "$tarn" pub quiet --wait 1 --quiet </dev/null &
    child=$!
    until_true alive_is publisher quiet 1
    kill -$signal $child
    expect_ended $code $child

    # waiting for input
    [ -p "$work/fifo" ] || mkfifo "$work/fifo"
    $plain "$tarn" pub quiet <"$work/fifo" &
    child=$!
    exec 3>"$work/fifo"
    until_true alive_is publisher quiet 1
    kill -$signal $child
    expect_ended $code $child
    exec 3>&-

    # waiting for who writes to a FIFO
    $plain "$tarn" pub quiet "$work/fifo" 2>"$work/err" &
    child=$!
    until_true alive_is publisher quiet 1
    kill -$signal $child
    expect_ended $code $child
    expect "stderr of a pub that opened a FIFO" "" "$(cat "$work/err")"

    # lingering, as a subscriber is stopped
    for how in --reliable "--linger 1000"; do
        "$tarn" sub quiet ${how/--linger*/} >/dev/null 2>&1 &
        subscriber=$!
        until_true alive_is subscriber quiet 1
        kill -STOP $subscriber
        until_true is_stopped $subscriber
        $plain "$tarn" pub quiet $how <<<x 2>/dev/null &
        child=$!
        until_true has_sent quiet 1
        sleep 0.2
        kill -$signal $child
        expect_ended $code $child
        kill -TERM $subscriber
        kill -CONT $subscriber
        expect_ended 143 $subscriber
    done

    # waiting for its next turn: what it has read is not sent on the way out
    for how in "" "--chunk 2"; do
        rm -f "$work/sent"
        "$tarn" sub quiet --eof >"$work/sent" &
        subscriber=$!
        $plain "$tarn" pub quiet --rate 0.001 --wait 1 $how <<<$'1\n2\n3\n4' &
        child=$!
        until_true has_bytes "$work/sent"
        kill -$signal $child
        expect_ended $code $child
        expect_ended 0 $subscriber
        expect "what was sent of a stopped pub $how" 1 "$(xargs <"$work/sent")"
    done
    "$tarn" keep jobs >/dev/null &
    keeper=$!
    until_true alive_is keeper jobs 1
    $plain "$tarn" push jobs 1 2 3 4 --rate 0.001 &
    child=$!
    until_true has_sent jobs 1
    kill -$signal $child
    expect_ended $code $child
    "$tarn" work jobs --empty -- cat >"$work/sent"
    expect "what was sent of a stopped push" 1 "$(cat "$work/sent")"
    kill $keeper
    expect_ended 143 $keeper
done

# A reader of sub's output that does not read; a publisher that waits for it.
mkfifo "$work/stuck"
"$tarn" sub stuck --reliable --raw >"$work/stuck" &
subscriber=$!
exec 4<"$work/stuck"
"$tarn" pub stuck --reliable --memory 1M --chunk 64K --repeat forever "$TARN_BIN" 2>"$work/err" &
publisher=$!
is_held() { grep -q '^tarn: waiting: .*reliable subscriber' "$work/err"; }
until_true is_held
kill -TERM $publisher
expect_ended 143 $publisher
kill -TERM $subscriber
expect_ended 143 $subscriber
exec 4<&-
expect "lines on stderr of a publisher that waited" 1 "$(grep -vc 'had not yet' "$work/err")"

# A reliable subscriber that is stopped holds the publisher; killed, it sets it free.
"$tarn" sub stuck --reliable --raw >/dev/null &
subscriber=$!
until_true alive_is subscriber stuck 1
kill -STOP $subscriber
head -c 8000000 /dev/zero | "$tarn" pub stuck --reliable --memory 1M --chunk 64K 2>"$work/err2" &
publisher=$!
is_held() { grep -q '^tarn: waiting: .*reliable subscriber' "$work/err2"; }
until_true is_held
kill -9 $subscriber
expect_ended 0 $publisher
expect_ended 137 $subscriber
nothing_left
