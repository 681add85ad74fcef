#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# tarn top: the table of --once, and the full screen as a terminal shows it: sizes, keys, colours, how it ends.
. "$(dirname "$0")/common.sh"

mkfifo "$work/fifo"
"$tarn" pub camera/front <"$work/fifo" &
publisher=$!
exec 3>"$work/fifo"
"$tarn" sub camera/front --reliable >"$work/taken" &
subscriber=$!
"$tarn" listen doors >/dev/null &
listener=$!
"$tarn" push jobs a b c --done --quiet 2>/dev/null &
producer=$!
until_true alive_is subscriber camera/front 1
until_true alive_is publisher camera/front 1
until_true alive_is listener doors 1
jobs_wait() { "$tarn" top --once --interval 0.1 | grep -q ' 3 .*! jobs$'; }
until_true jobs_wait

# Once.
without_memory() { sed -E 's/ +[0-9.]+ ([KMG]i)?B( +[0-9]+ [a-z-]+ )/       MEM\2/'; }
"$tarn" top --once --interval 0.1 | without_memory >"$work/top"
expect_golden top "$work/top"
"$tarn" top --once --interval 0.1 --json | sed -E -e 's/("interval_ns|"bytes_held)": [0-9]+/\1": N/' -e "s#$TARN_DIR#TARN_DIR#" >"$work/json"
expect_golden top-json "$work/json"
python3 -m json.tool "$work/json" >/dev/null 2>&1 || sed 's/: N/: 0/' "$work/json" | python3 -m json.tool >/dev/null ||
    fail "top --once --json is no JSON"
expect "the topics with --filter" "camera/front" "$("$tarn" top --once --interval 0.1 --filter cam | awk 'NR > 1 { print $NF }')"
expect "the topics by lag" "jobs" "$("$tarn" top --once --interval 0.1 --sort lag | awk 'NR == 2 { print $NF }')"
"$tarn" top --once --interval 0.5 --json >"$work/json" &
once=$!
sleep 0.2
printf '%s\n' 12345 12345 12345 >&3
expect_ended 0 $once
grep -E '"camera/front".*"messages_per_s": [56]\.[0-9]+, "bytes_per_s": (2[5-9]|30)\.' "$work/json" >/dev/null ||
    fail "3 messages of 5 bytes in half a second: $(cat "$work/json")"
expect_exit 2 "$tarn" top --sort size
expect_exit 2 "$tarn" top --json
expect_exit 2 "$tarn" top camera
expect_exit 2 "$tarn" top --interval 0
"$tarn" ls --json >"$work/before"

# Without a terminal, or with one that can do nothing.
expect_exit 1 "$tarn" top
if grep -q 'without ncurses' "$work/err"; then
    echo "this build has no full screen"
    exit 77
fi
expect_in "$work/err" "top needs a terminal for its input and output; 'tarn top --once' prints a table instead"
command -v tmux >/dev/null || { echo "tmux is missing; script/bootstrap --test installs it" && exit 77; }

tmux() { command tmux -f /dev/null -S "$work/tmux" "$@" 3>&-; }
trap 'code=$?; set +e; trap - ERR; tmux kill-server 2>/dev/null; (exit $code); clean_up' EXIT

# start COLUMNS ROWS SETTING...: tarn top in a terminal of that size; when it ends, its exit code and the terminal's settings
start() {
    tmux new-session -d -x "$1" -y "$2" \
        "trap : INT; cd '$work'; stty -a >stty-before; env ${*:3} '$tarn' top --interval 0.2 2>err; echo \$? >code; stty -a >stty-after; cat"
    until_true shows 'WHO'
}
screen() { tmux capture-pane -p "$@"; }
shows() { screen | grep -qE -- "$1"; }
type_keys() { tmux send-keys "$@"; }
# ended CODE: and the terminal is as it was
ended() {
    until_true test -s "$work/stty-after"
    expect "exit code of top" "$1" "$(cat "$work/code")"
    cmp "$work/stty-before" "$work/stty-after" || fail "the terminal's settings have changed"
    expect "what top said" "" "$(cat "$work/err")"
    expect "the screen afterwards" "" "$(screen | xargs)"
    tmux kill-session
    rm "$work/code" "$work/stty-after"
}

start 80 24 LANG=C
until_true shows '^tarn top  3 topics, 4 participants, 0 messages/s'
until_true shows '^! jobs +0 +0 B +3 +0 '
expect "the help line" "Enter details  up/down move  left/right sort  / filter  p pause  q quit  ? help" "$(screen | tail -1)"
screen | without_memory | sed '/^$/d' >"$work/top"
expect_golden top-80x24 "$work/top"
for size in 40x8 20x3 1x1 120x40 80x24; do
    tmux resize-window -x ${size%x*} -y ${size#*x}
    sleep 0.1
done
until_true shows 'WHO$'
screen | without_memory | sed '/^$/d' | cmp - "$work/top" || fail "after changes of size it looks otherwise: $(screen)"
type_keys Down Down Enter
until_true shows '^! 3 jobs wait, and there is no worker'
until_true shows '^producer +[0-9]+ tarn .* 3 +-$'
type_keys Escape
until_true shows '^  TOPIC\*'
type_keys l
until_true shows 'LAG\*'
expect "the first by lag" "! jobs" "$(screen | sed -n 3p | cut -c 1-6)"
type_keys / c a m
until_true shows '^filter: cam_'
! shows jobs || fail "the filter shows 'jobs'"
type_keys Escape
until_true shows '^! jobs'
type_keys p
until_true shows '\(paused\)'
type_keys p '?'
until_true shows 'any key: back'
for end in "lost, memory" "what is typed" "tells what"; do
    shows "[a-z ]$end( |\$)" || fail "the help is cut off: $(screen)"
done
type_keys x q
ended 0

# It comes and goes in the picture; Ctrl-C and SIGTERM.
start 120 30 LANG=C.UTF-8 NO_COLOR=1
until_true shows 'PATTERN +RATE, AS IT WAS$'
"$tarn" sub late >/dev/null &
late=$!
until_true shows '^  late .* 1  messages'
kill $late
expect_ended 143 $late
late_is_gone() { ! shows '^  late '; }
until_true late_is_gone
for i in $(seq 200); do echo $i >&3; done
until_true shows '█'
! screen -e | grep -qE $'\e\\[[0-9;]*(3[0-7]|38;5;[0-9]+)m' || fail "colours in spite of NO_COLOR"
type_keys C-c
ended 130
start 80 24 LANG=C
until_true shows '^! jobs'
screen -e | grep -qE $'\e\\[[0-9;]*3[0-7]m' || fail "no colours: $(screen -e)"
kill -TERM "$(pgrep -P "$(tmux display-message -p '#{pane_pid}')" -f 'top --interval')"
ended 143

# One that has no second screen, and sends keys that its description does not have.
start 80 24 TERM=vt100
until_true shows '^! jobs'
type_keys End Enter
until_true shows '^tarn top  jobs '
type_keys PageUp Home
sleep 0.3
shows '^tarn top  jobs ' || fail "PageUp and Home left the page: $(screen)"
type_keys q
until_true test -s "$work/stty-after"
expect "exit code of top" 0 "$(cat "$work/code")"
expect "the line of the prompt" "" "$(screen | tail -1)"
tmux kill-session
rm "$work/code" "$work/stty-after"

# A terminal of which nothing is known.
tmux new-session -d -x 80 -y 24 "TERM=dumb '$tarn' top 2>'$work/err'; TERM=nonsense '$tarn' top 2>>'$work/err'; touch '$work/both'"
until_true test -e "$work/both"
expect_in "$work/err" "this terminal (TERM=dumb) cannot show a full screen"
expect_in "$work/err" "this terminal (TERM=nonsense) is not known here"

# All the while nobody was seen who looks.
same() { "$tarn" ls --json | sed 's/"messages": [0-9]*/M/; s/"bytes_held": [0-9]*/B/' >"$work/now" && cmp -s "$work/now" "$work/before"; }
sed -i 's/"messages": [0-9]*/M/; s/"bytes_held": [0-9]*/B/' "$work/before"
until_true same
kill $listener $producer $subscriber
exec 3>&-
wait
nothing_left
