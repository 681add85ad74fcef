#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# tarn info: what it tells of a topic of each pattern, what it finds wrong, and what it does with what it cannot read.
. "$(dirname "$0")/common.sh"

normalise_info() {
    normalise | sed -E -e 's/"(bytes_mapped|slot|load)": [0-9]+/"\1": N/g' -e 's/"user": "[^"]*"/"user": "USER"/' -e 's/"id": "[0-9a-f]{16}"/"id": "IDENTITY"/' \
        -e 's/^(publisher|subscriber|producer|worker|notifier|writer|reader) [0-9]+  (.*)  of .*, here for ([0-9]+ (ms|s|min) ?)+/\1 PID  \2  of USER, here for AGE/' \
        -e 's/(publisher|subscriber|producer|worker|writer) [0-9]+ \(/\1 PID (/g' -e 's/memory    .*/memory    MEMORY/'
}

# Exact: a publisher that waits for input, and a reliable subscriber.
mkfifo "$work/fifo"
"$tarn" pub cam/a --type sensor_msgs/Image --encoding cdr <"$work/fifo" &
publisher=$!
exec 3>"$work/fifo"
until_true alive_is publisher cam/a 1
"$tarn" sub cam/a --reliable >"$work/taken" &
subscriber=$!
until_true alive_is subscriber cam/a 1
printf 'one\ntwo\nthree\n' >&3
until_true lines_are "$work/taken" 3
has_taken() { "$tarn" ls --json cam/a | grep -q '"role": "subscriber".*"messages": 3,'; }
until_true has_taken
"$tarn" ls --json cam/a >"$work/before"
"$tarn" info cam/a >"$work/out"
normalise_info <"$work/out" >"$work/info"
expect_golden info "$work/info"
"$tarn" info cam/a --json >"$work/json"
python3 -m json.tool "$work/json" >/dev/null || fail "info --json is no JSON: $(cat "$work/json")"
normalise_info <"$work/json" >"$work/info"
expect_golden info-json "$work/info"

# Whoever looks takes no place.
for i in 1 2 3; do "$tarn" info cam/a >/dev/null; done
"$tarn" ls --json cam/a | cmp - "$work/before" || fail "a look has changed what is to be seen"

# It is stopped, and blocks; then it has died.
kill -STOP $subscriber
until_true is_stopped $subscriber
seq 100000 >&3 &
"$tarn" pub cam/a --memory 1M --depth 4 --repeat forever --quiet <<<"$(head -c 100000 /dev/zero | tr '\0' x)" 2>/dev/null &
other=$!
blocks() { "$tarn" info cam/a >"$work/out" && grep -q 'waits for space' "$work/out"; }
until_true blocks
expect_in "$work/out" "waits for space: reliable subscriber $subscriber (tarn), which is stopped ('kill -CONT $subscriber' continues"
expect_in "$work/out" "of publisher $other (tarn), which waits for it"
expect_in "$work/out" "options   depth 4, memory limit 1.0 MiB, waits up to 200 ms when full"
"$tarn" info cam/a --json | grep -q '"blocks": true' || fail "info --json does not say who blocks"
kill -STOP $publisher $other
until_true is_stopped $other
kill -9 $subscriber
expect_ended 137 $subscriber
"$tarn" info cam/a >"$work/out"
expect_in "$work/out" "subscriber $subscriber (tarn) has died, and its place awaits repair"
kill -9 $publisher $other
exec 3>&-
wait
"$tarn" info cam/a >"$work/out"
expect_in "$work/out" "nobody is left in it: 'tarn gc' removes the file"
nothing_left

# Losses.
"$tarn" sub losses >/dev/null 2>&1 &
subscriber=$!
until_true alive_is subscriber losses 1
kill -STOP $subscriber
until_true is_stopped $subscriber
"$tarn" pub losses --memory 1M --repeat 200 --linger 0 --quiet <<<"$(head -c 100000 /dev/zero | tr '\0' x)" 2>/dev/null || true
"$tarn" pub losses --memory 1M <"$work/fifo" & # so that what was lost is told
exec 3>"$work/fifo"
kill -CONT $subscriber
"$tarn" pub losses --memory 1M --repeat forever --quiet <<<"$(head -c 100000 /dev/zero | tr '\0' x)" &
other=$!
has_lost() { "$tarn" info losses >"$work/out" && grep -q 'has lost' "$work/out"; }
stumble() { kill -STOP $subscriber && sleep 0.05 && kill -CONT $subscriber && has_lost; }
until_true stumble
expect_in "$work/out" "it is slower than what is sent"
kill $other $subscriber
exec 3>&-
wait
nothing_left

# Damaged memory: told, and survived. damage PID FROM: all that this process made, from there on
damage() {
    python3 - "$1" "$2" <<'END'
import ctypes, sys
libc = ctypes.CDLL(None)
libc.shmat.restype = ctypes.c_void_p
for line in list(open("/proc/sysvipc/shm"))[1:]:
    fields = line.split()
    if fields[4] == sys.argv[1]:
        start = int(sys.argv[2])
        ctypes.memset(libc.shmat(int(fields[1]), None, 0) + start, 0x5a, min(int(fields[3]), 131072) - start)
END
}
"$tarn" sub damaged >/dev/null 2>&1 &
subscriber=$!
until_true alive_is subscriber damaged 1
"$tarn" pub damaged <"$work/fifo" &
publisher=$!
exec 3>"$work/fifo"
until_true alive_is publisher damaged 1
damage $publisher 0
"$tarn" info damaged >"$work/out"
expect_in "$work/out" "the memory of publisher $publisher (tarn) cannot be looked at: it is damaged"
damage $subscriber 8192
"$tarn" info damaged >"$work/out"
"$tarn" hz damaged --once --interval 0.1 >"$work/out"
damage $subscriber 0
"$tarn" info damaged >"$work/out"
expect_in "$work/out" "cannot be looked into"
kill -9 $subscriber $publisher
exec 3>&-
wait
nothing_left

# The other patterns.
"$tarn" listen doors >/dev/null 2>&1 &
listener=$!
until_true alive_is listener doors 1
"$tarn" notify doors 3
"$tarn" notify doors 3
"$tarn" info doors >"$work/out"
expect_in "$work/out" "event     3, raised 2 times"
"$tarn" set robot speed 1.5 2>"$work/set" &
writer=$!
until_true has_bytes "$work/set"
"$tarn" info robot >"$work/out"
expect_in "$work/out" "key       speed, version 1, 3 bytes, of writer $writer (tarn)"
"$tarn" set gripper grip 1 2>"$work/set-one" &
until_true has_bytes "$work/set-one"
"$tarn" info gripper >"$work/out"
expect_in "$work/out" "key       grip, version 1, 1 byte, of writer $! (tarn)"
kill $!
"$tarn" push jobs a b c --done --quiet 2>/dev/null &
producer=$!
jobs_wait() { "$tarn" info jobs >"$work/out" 2>/dev/null && grep -q '3 waiting, 0 in work' "$work/out"; }
until_true jobs_wait
expect_in "$work/out" "3 jobs wait, and there is no worker: start one with 'tarn work jobs -- COMMAND'"
"$tarn" serve upper --quiet -- tr a-z A-Z &
server=$!
until_true alive_is server upper 1
expect "the answer" HELLO "$("$tarn" call upper hello)"
"$tarn" info upper >"$work/out"
expect_in "$work/out" "pattern   service"
kill $listener $writer $producer $server
wait
nothing_left

# What is not there, or cannot be read, is said.
expect_exit 1 "$tarn" info nowhere
expect_in "$work/err" 'there is no topic "nowhere" in'
expect_exit 1 "$tarn" info 'no such name'
expect_exit 2 "$tarn" info
expect_exit 2 "$tarn" info a b

"$tarn" sub private >/dev/null &
subscriber=$!
until_true alive_is subscriber private 1
"$tarn" sub wrong >/dev/null &
other=$!
until_true alive_is subscriber wrong 1
printf 'tarn topic, layout 9999.1\n' | dd of="$TARN_DIR/default/wrong" conv=notrunc status=none
"$tarn" info wrong >"$work/out"
expect_in "$work/out" "cannot be looked into: it has another memory layout. Use the same version of tarn everywhere"
printf 'nonsense' | dd of="$TARN_DIR/default/wrong" conv=notrunc status=none
"$tarn" info wrong >"$work/out"
expect_in "$work/out" "cannot be looked into: its file is damaged"
"$tarn" info wrong --json | grep -q '"problem": "its file is damaged"' || fail "info --json does not say why"
mkdir "$TARN_DIR/default/folder"
"$tarn" info folder >"$work/out"
expect_in "$work/out" "cannot be looked into: what has its name is not a plain file. tarn did not make it: remove it"
"$tarn" hz folder --once --interval 0.1 >"$work/out"
expect_in "$work/out" "folder  what has its name is not a plain file"
"$tarn" doctor >"$work/out" || true
expect_in "$work/out" "tarn did not make it: remove it from the directory"
rmdir "$TARN_DIR/default/folder"
if unshare -ir true 2>/dev/null; then
    unshare -ir "$tarn" info private >"$work/out"
    expect_in "$work/out" "its memory is not found: it is used in another IPC namespace. Look at it from where it is used"
fi
if [ "$(id -u)" -eq 0 ] && setpriv --reuid 65534 --clear-groups true 2>/dev/null; then
    chmod 711 "$work" && chmod 755 "$TARN_DIR" "$TARN_DIR/default"
    setpriv --reuid 65534 --regid 65534 --clear-groups "$tarn" info private >"$work/out"
    expect_in "$work/out" "cannot be looked into: this user may not open its file. The group and mode of the directory"
fi
kill $subscriber $other
wait
nothing_left
