#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# tarn call and tarn serve: answers, any bytes, commands that fail, servers that die, signals.
. "$(dirname "$0")/common.sh"

plain="env --default-signal=INT"
serving() { [ "$(alive server "$1")" -ge "$2" ]; }

# serve TOPIC COMMAND...: sets $server
serve() {
    local topic=$1
    shift
    $plain "$tarn" serve "$topic" --quiet -- "$@" &
    server=$!
    until_true serving "$topic" 1
}
end_server() {
    kill -TERM $server
    expect_ended 143 $server
}

serve upper tr a-z A-Z
expect "an answer" "HELLO, WORLD" "$("$tarn" call upper 'hello, world')"
expect "an answer to stdin" "HELLO" "$(echo hello | "$tarn" call upper)"
expect "an answer to -" "HELLO" "$(printf hello | "$tarn" call upper -)"
expect "the answer to nothing" "" "$("$tarn" call upper '' )"
end_server

# bytes as they are, more than pipes and buffers hold
head -c 3000000 /dev/urandom >"$work/random"
serve same cat
"$tarn" call same <"$work/random" | cmp - "$work/random" || fail "3 MB came back differently"
"$tarn" call same </dev/null >"$work/out"
[ ! -s "$work/out" ] || fail "nothing came back as something"
# a reader that goes away
"$tarn" call same <"$work/random" | head -c 10 >/dev/null || true
for i in 1 2 3 4 5; do
    "$tarn" call same "$i" >"$work/answer$i" &
done
wait -f $(jobs -p | grep -vx $server) || fail "calls side by side"
for i in 1 2 3 4 5; do
    expect "answer $i" "$i" "$(cat "$work/answer$i")"
done
end_server

# a command that reads nothing, and writes much
serve much sh -c 'head -c 1000000 /dev/zero'
expect "bytes" 1000000 "$("$tarn" call much <"$work/random" | wc -c)"
end_server

# commands that fail: no answer, and the server goes on
"$tarn" serve fails -- sh -c 'read -r code; exit $code' 2>"$work/notes" &
server=$!
until_true serving fails 1
expect_exit 1 "$tarn" call fails 3
expect_in "$work/err" "without an answer"
expect_in "$work/notes" "exit code 3"
expect_exit 0 "$tarn" call fails '0
'
end_server

for name in '' /tmp ./nowhere; do
    expect_exit 1 "$tarn" serve fails -- "$name"
    expect_in "$work/err" "no command '$name'"
done

# a command that has ended, and whose child has its output: neither who gives up nor who ends it waits for that
serve child sh -c 'sleep 60 & echo $! >>"$1"; echo hi' sh "$work/children"
expect_exit 3 "$tarn" call child x --timeout 0.2
expect_exit 3 "$tarn" call child x --timeout 0.2
two_children() { [ "$(wc -l <"$work/children")" -eq 2 ]; }
until_true two_children
kill -TERM $server
timeout 5 tail --pid=$server -f /dev/null || fail "it waits for its command's child"
expect_ended 143 $server
kill $(cat "$work/children")

# started by somebody who ignores SIGCHLD
env --ignore-signal=CHLD "$tarn" serve ignored --count 1 -- cat &
server=$!
until_true serving ignored 1
expect "an answer" "x" "$("$tarn" call ignored x --timeout 5)"
expect_ended 0 $server

# --count, --timeout
"$tarn" serve counted --count 2 -- cat &
server=$!
until_true serving counted 1
"$tarn" call counted a >/dev/null
"$tarn" call counted b >/dev/null
expect_ended 0 $server
expect_exit 3 "$tarn" call counted c --timeout 0.2
serve slow sh -c 'while sleep 0.1; do echo; done' # ends when nobody reads
expect_exit 3 "$tarn" call slow x --timeout 0.2
# the command whose client gave up is stopped, and the next one comes
expect_exit 3 "$tarn" call slow x --timeout 0.2

# a server that dies: at once, and said
"$tarn" call slow x 2>"$work/err" &
call=$!
sleep 0.3
kill -9 $server
expect_ended 137 $server
expect_ended 1 $call
expect_in "$work/err" "died"

# a client that is killed: its command is stopped, and the next one comes
serve long sh -c '[ "$(cat)" = x ] || exit 0; echo $$ >"$1"; exec sleep 60' sh "$work/long"
"$tarn" call long x &
call=$!
until_true has_bytes "$work/long"
kill -9 $call
expect_ended 137 $call
until_true is_gone "$(cat "$work/long")"
"$tarn" call long y --timeout 10
end_server

# The topic's file is deleted: who had joined goes on, and says so.
"$tarn" serve gone -- sh -c 'touch "$1.runs"; until [ -e "$1" ]; do sleep 0.02; done; cat' sh "$work/go" \
    2>"$work/notes" &
server=$!
until_true serving gone 1
"$tarn" call gone answer >"$work/answer" 2>"$work/err" &
call=$!
until_true test -e "$work/go.runs"
rm "$TARN_DIR/default/gone"
until_true grep -q 'was deleted' "$work/err"
touch "$work/go"
expect_ended 0 $call
expect "the answer" answer "$(cat "$work/answer")"
until_true grep -q 'was deleted' "$work/notes"
end_server

# A client whose memory is damaged ends the server for nobody else. It is stopped while that is done to the request.
serve same cat 2>"$work/notes"
kill -STOP $server
until_true is_stopped $server
"$tarn" call same x 2>/dev/null &
call=$!
has_sent() { "$tarn" ls --json same | grep -q '"role": "log".*"messages": 1,'; }
until_true has_sent
memory=$(ipcs -m -p | awk -v pid="$call" '$3 == pid { print $1 }')
python3 -c "import ctypes
libc = ctypes.CDLL(None)
libc.shmat.restype = ctypes.c_void_p
ctypes.memset(libc.shmat($memory, None, 0) + 4096, 255, 60000)"
kill -CONT $server
until_true grep -q 'wrote what is no message' "$work/notes"
expect "an answer to another client" y "$("$tarn" call same y --timeout 20)"
kill $call
expect_ended 143 $call
end_server

# signals
for signal in INT TERM; do
    [ $signal = INT ] && code=130 || code=143
    serve quiet sleep 60
    $plain "$tarn" call quiet x &
    call=$!
    sleep 0.2
    kill -$signal $call
    expect_ended $code $call
    kill -$signal $server
    expect_ended $code $server
    $plain "$tarn" call quiet x --quiet & # waits for a server
    call=$!
    until_true alive_is client quiet 1
    kill -$signal $call
    expect_ended $code $call
done
nothing_left
