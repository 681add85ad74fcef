#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# After kill -9 of everybody, ls shows it and gc leaves nothing.
. "$(dirname "$0")/common.sh"

# segments PID...: how many that these processes made are still there
segments() {
    awk -v pids=" $* " '$5 > 0 && index(pids, " " $5 " ") { n++ } END { print n + 0 }' /proc/sysvipc/shm
}

expect "gc of nothing" "nothing to sweep" "$("$tarn" gc)"

mkfifo "$work/fifo"
"$tarn" sub a/b --reliable >"$work/out" &
subscriber=$!
"$tarn" sub a/b >/dev/null &
other=$!
"$tarn" pub a/b --wait 2 <"$work/fifo" &
publisher=$!
exec 3>"$work/fifo"
echo hello >&3
until_true lines_are "$work/out" 1

# While they live, a sweep does nothing to them.
expect "gc beside the living" "nothing to sweep" "$("$tarn" gc)"
echo again >&3
until_true lines_are "$work/out" 2

[ "$(segments $publisher)" -gt 0 ] || fail "no memory segment of the publisher is to be seen"

# One is dead: marked until it is repaired. The others, stopped, cannot do it; gc does.
kill -STOP $publisher $subscriber
until_true is_stopped $publisher
until_true is_stopped $subscriber
kill -9 $other
expect_ended 137 $other
expect "subscribers alive and dead" "1 1" "$(alive subscriber a/b) $(dead subscriber a/b)"
"$tarn" ls >"$work/ls"
expect_in "$work/ls" "dead, awaits repair"
expect "gc beside a dead one" "1 place of a dead participant repaired" "$("$tarn" gc)"
expect "subscribers alive and dead" "1 0" "$(alive subscriber a/b) $(dead subscriber a/b)"
kill -CONT $publisher $subscriber
echo more >&3
until_true lines_are "$work/out" 3

kill -9 $publisher $subscriber
expect_ended 137 $publisher
expect_ended 137 $subscriber
exec 3>&-
expect "the living, after kill -9 of all" "0 0" "$(alive subscriber a/b) $(alive publisher a/b)"
"$tarn" ls >"$work/ls"
expect_in "$work/ls" "a/b"
expect_in "$work/ls" "left over"
"$tarn" gc --json >"$work/gc"
grep -qE '"topics_removed": [1-9]' "$work/gc" || fail "gc --json: $(cat "$work/gc")"
expect "ls after gc" "$TARN_DIR/default: no topics" "$("$tarn" ls)"
nothing_left
expect "shared memory segments" 0 "$(segments $publisher $subscriber $other)"

# What is not tarn's is left alone, wherever it is named to be.
mkdir -p "$work/other/default"
echo 'my notes' >"$work/other/default/notes"
expect_exit 1 "$tarn" gc --directory "$work/other"
expect_in "$work/err" "no topic's file"
expect "a file that is no topic's" "my notes" "$(cat "$work/other/default/notes")"

# A topic of that name works as before.
"$tarn" sub a/b --eof >"$work/out" &
echo anew | "$tarn" pub a/b --wait 1
wait $!
expect "a topic made anew" anew "$(cat "$work/out")"
nothing_left
