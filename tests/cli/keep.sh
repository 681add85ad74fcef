#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# tarn keep: what outlives those who sent it, and for how long. Work queues are in queue.sh, too.
. "$(dirname "$0")/common.sh"

# Messages: published and gone before anybody subscribes, then read by some, as often as they like.
"$tarn" keep news robot &
keeper=$!
until_true alive_is keeper news 1
until_true alive_is keeper robot 1
seq 100 | "$tarn" pub news
expect_exit 0 "$tarn" sub news --history 3 --eof
expect "what was kept" "98 99 100" "$(tr '\n' ' ' <"$work/out" | sed 's/ $//')"
echo later | "$tarn" pub news
expect_exit 0 "$tarn" sub news --history 1000 --eof
expect "of both, which take turns" "$( (seq 100; echo later) | sort)" "$(sort "$work/out")"
expect_exit 3 "$tarn" sub news --for 0.3 --eof
expect "without history" "" "$(cat "$work/out")"

# A killed publisher; and a subscriber that was there gets each message once.
"$tarn" sub news --raw >"$work/present" &
present=$!
until_true alive_is subscriber news 1
mkfifo "$work/fifo"
exec 9<>"$work/fifo"
"$tarn" pub news --quiet <"$work/fifo" &
publisher=$!
echo from the grave >&9
until_true has_bytes "$work/present"
kill -9 $publisher
exec 9>&-
until_true alive_is publisher news 0
expect_exit 0 "$tarn" sub news --history 1 --eof
expect_in "$work/out" "from the grave"
expect "once each" 3 "$(wc -l <"$work/out")"
sleep 0.3
expect "what who was there got" "from the grave" "$(cat "$work/present")"
kill $present
expect_ended 143 $present

# One that is stopped: who it is, and that a closing publisher waits for it, is told.
kill -STOP $keeper
until_true is_stopped $keeper
"$tarn" pub news --quiet <"$work/fifo" &
publisher=$!
exec 9>"$work/fifo"
until_true alive_is publisher news 1
lacks="keeper $keeper (tarn), which is stopped ('kill -CONT $keeper' continues it), has attached 0 of 1 segments of publisher $publisher (tarn)"
"$tarn" info news >"$work/out"
expect_in "$work/out" "$lacks: what is in the others ends with that one, which waits for it up to a second when it closes"
expect_in "$work/out" "    keeps     0 of 1 segments of publisher $publisher (tarn)"
"$tarn" info news --json | grep -q '"segments": 1, "attached": 0}' || fail "info --json does not say what is not kept"
kill -CONT $keeper
keeps_all() { "$tarn" info news >"$work/out" && grep -q "keeps     all memory of publisher $publisher" "$work/out"; }
until_true keeps_all
! grep -qE "[0-9] segments of" "$work/out" || fail "a keeper that goes on lacks something: $(cat "$work/out")"
exec 9>&-
expect_ended 0 $publisher

# A blackboard, whose writer is killed.
"$tarn" set robot speed 1.5 --quiet &
writer=$!
until_true alive_is writer robot 1
until_true "$tarn" get robot speed >/dev/null
kill -9 $writer
expect_exit 0 "$tarn" get robot speed
expect "the value" 1.5 "$(cat "$work/out")"
kill $keeper
expect_ended 143 $keeper
expect_exit 3 "$tarn" sub news --history 1 --for 0.1 --eof
expect "after the keeper" "" "$(cat "$work/out")"
nothing_left

# Bounds, of which it says that they are reached.
"$tarn" keep news --left 2 2>"$work/keeper" &
keeper=$!
until_true alive_is keeper news 1
for i in 1 2 3 4 5; do echo "$i" | "$tarn" pub news; done
until_true has_bytes "$work/keeper"
until_true grep -q "let go of what 2 publishers of 'news'" "$work/keeper"
expect_exit 0 "$tarn" sub news --history 1 --eof
expect "the newest" "4 5" "$(sort "$work/out" | tr '\n' ' ' | sed 's/ $//')"
kill $keeper
expect_ended 143 $keeper
nothing_left

# One that is larger than the bound by itself.
"$tarn" keep news --memory 1K 2>"$work/keeper" &
keeper=$!
until_true alive_is keeper news 1
echo 1 | "$tarn" pub news
until_true has_bytes "$work/keeper"
expect "what is said" "tarn: let go of what the last publisher of 'news' had left: it had more memory than --memory allows for all; next said at 2" \
    "$(cat "$work/keeper")"
kill $keeper
expect_ended 143 $keeper
nothing_left

# What cannot be kept, and mistakes.
"$tarn" listen bell --for 20 >/dev/null &
listener=$!
until_true alive_is listener bell 1
expect_exit 1 "$tarn" keep bell
expect_in "$work/err" "nothing to keep"
kill $listener
expect_ended 143 $listener
expect_exit 2 "$tarn" keep
expect_exit 2 "$tarn" keep news --left 0
expect_exit 0 "$tarn" keep news --for 0.1
nothing_left
