#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# tarn ls of a topic of each pattern, with participants of each kind: exact, for people and for programs.
. "$(dirname "$0")/common.sh"

# begin ROLE TOPIC COMMAND...: waits until one more of that role is there
begin() {
    local role=$1 topic=$2 before
    shift 2
    before=$(alive "$role" "$topic")
    "$@" </dev/null >>"$work/said" 2>&1 3>&- 4>&- &
    until_true alive_is "$role" "$topic" $((before + 1))
}

# has ROLE TOPIC MESSAGES: somebody of that role has sent or taken so many
has() { "$tarn" ls --json "$2" | grep -q "\"role\": \"$1\".*\"messages\": $3[,}]"; }

# Columns stay where they are.
normalise_rows() {
    normalise | awk '/^  [a-z]+ +[0-9]+  /{printf "  %-10s %7s  %s\n", $1, "PID", substr($0, 23); next} {print}'
}

# messages
mkfifo "$work/fifo" "$work/end"
exec 3<>"$work/fifo" 4<>"$work/end"
"$tarn" pub camera --type sensor_msgs/Image --encoding cdr --quiet <"$work/fifo" 3>&- 4>&- &
until_true alive_is publisher camera 1
begin subscriber camera "$tarn" sub camera --reliable
begin keeper camera "$tarn" keep camera
begin monitor camera "$tarn" match camera
printf 'one\ntwo\nthree\n' >&3
until_true has publisher camera 3
until_true has subscriber camera 3

# events
begin listener doors "$tarn" listen doors
begin notifier doors "$tarn" notify doors 4 --wait 9
begin monitor doors "$tarn" match doors
"$tarn" notify doors 3 --count 2
until_true has listener doors 1

# requests: one, that is not answered
begin server upper "$tarn" serve upper --quiet -- sh -c "read word <'$work/end'"
begin client upper "$tarn" call upper hello --quiet
begin monitor upper "$tarn" match upper
until_true has server upper 1
until_true alive_is log upper 2

# a blackboard
begin writer robot "$tarn" set robot speed 1.5
begin reader robot "$tarn" watch robot
begin keeper robot "$tarn" keep robot
begin monitor robot "$tarn" match robot
until_true has reader robot 1

# a work queue: one job is in work, one waits
begin keeper jobs "$tarn" keep jobs
begin producer jobs "$tarn" push jobs a b --done --quiet
begin worker jobs "$tarn" work jobs -- sh -c "read word <'$work/end'"
begin monitor jobs "$tarn" match jobs
until_true has producer jobs 2
until_true has worker jobs 1

"$tarn" ls | normalise_rows >"$work/golden"
expect_golden ls-patterns "$work/golden"
! "$tarn" ls | sed 1d | grep -n '.\{81\}' || fail "ls: lines of more than 80 columns"
"$tarn" ls --json >"$work/json"
python3 -m json.tool "$work/json" >/dev/null || fail "ls --json is no JSON: $(cat "$work/json")"
normalise <"$work/json" >"$work/golden"
expect_golden ls-patterns-json "$work/golden"

exec 3>&- 4>&-
kill $(jobs -p) 2>/dev/null || true # some have ended already
wait
nothing_left
