#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# What tarn doctor finds where something was broken on purpose, and that it leaves everything as it was.
. "$(dirname "$0")/common.sh"

# examine [COMMAND...]: a report as JSON in $work/json, by tarn doctor as run by the command
examine() {
    local code=0
    "$@" "$tarn" doctor --json >"$work/json" 2>"$work/err" || code=$?
    [ ! -s "$work/err" ] || fail "stderr: $(cat "$work/err")"
    python3 - "$work/json" $code <<'END'
import json, sys
report = json.load(open(sys.argv[1]))
problems = [c["name"] for c in report["checks"] if c["state"] == "problem"]
assert set(report) == {"version", "directory", "problems", "notes", "checks"}, report.keys()
assert report["problems"] == len(problems) and int(sys.argv[2]) == (1 if problems else 0), report
assert report["notes"] == sum(c["state"] == "note" for c in report["checks"])
for check in report["checks"]:
    assert list(check) == ["group", "name", "state", "text", "advice"], check
    assert check["state"] in ("ok", "note", "problem") and check["text"] and "\n" not in check["text"], check
    assert check["advice"] or check["state"] != "problem", check
END
}

# found NAME STATE [TEXT]
found() {
    local line
    line=$(grep -F "\"name\": \"$1\"," "$work/json") || fail "no check $1"
    grep -qF "\"state\": \"$2\"" <<<"$line" && grep -qF -- "${3-}" <<<"$line" || fail "expected $2 '${3-}': $line"
}

# ---- as it is -------------------------------------------------------------------------------------------------------

examine
expect "names of checks" \
    "kernel segments segment_limits locks fork membarrier futex deaths timeouts files addresses locked_memory memory \
directory file_system trial namespaces topics participants left logout cpus cores clock frequency virtual" \
    "$(sed -n 's/.*"name": "\([a-z_]*\)".*/\1/p' "$work/json" | paste -sd' ')"
found directory ok "is not there yet"
found trial ok "a message went from one process to another"
[ ! -e "$TARN_DIR" ] || fail "left behind: $(find "$TARN_DIR")"

"$tarn" listen doors &
listener=$!
until_true alive_is listener doors 1
examine
found directory ok "private to user"
found topics ok "1 in use"
found participants ok '"1"'
found left ok "nothing"
expect "directories" "default" "$(ls "$TARN_DIR")"

# ---- for people -----------------------------------------------------------------------------------------------------

"$tarn" doctor >"$work/text" || true
! grep -q $'\033' "$work/text" || fail "colours in a pipe"
expect_in "$work/text" "topics are in $TARN_DIR/default"
grep -qE '^  ok       trial           a message' "$work/text" || fail "the trial: $(cat "$work/text")"
tail -1 "$work/text" | grep -qE '^[0-9]+ problems?, [0-9]+ notes?$' || fail "the last line: $(tail -1 "$work/text")"
TERM=xterm script -qec "'$tarn' doctor" /dev/null </dev/null >"$work/terminal" || true
expect_in "$work/terminal" $'\033[32mok\033[0m       trial'
NO_COLOR=1 TERM=xterm script -qec "'$tarn' doctor" /dev/null </dev/null >"$work/terminal" || true
! grep -q $'\033' "$work/terminal" || fail "colours in spite of NO_COLOR"

# On a terminal, sentences are broken between words: no line is too long, and no word is lost.
NO_COLOR=1 script -qec "stty cols 72; '$tarn' doctor" /dev/null </dev/null | tr -d '\r' >"$work/terminal" || true
! grep -n '.\{73\}' "$work/terminal" || fail "lines of more than 72 columns"
expect "lines that go on below their text" "27" "$(sed -n 's/^\( \{20,\}\)[^ -].*/\1/p' "$work/terminal" | head -1 | tr -d '\n' | wc -c)"
words() { tr -s ' \n' '\n' <"$1" | grep -v '[0-9]' | paste -sd' '; }
expect "the words" "$(words "$work/text")" "$(words "$work/terminal")"
expect_exit 2 "$tarn" doctor a

# ---- what the dead have left ----------------------------------------------------------------------------------------

"$tarn" notify doors 1 --wait 2 &
victim=$!
until_true alive_is notifier doors 1
kill -STOP $listener # it would repair the other's place
until_true is_stopped $listener
{ kill -9 $victim && wait $victim; } 2>/dev/null || true
"$tarn" sub gone &
victim=$!
until_true alive_is subscriber gone 1
{ kill -9 $victim && wait $victim; } 2>/dev/null || true
examine
found left note "topic files that nobody is in: 1; places in others: 1; segments that nobody attaches: 0"
expect_in "$work/json" "'tarn gc' sweeps it"
"$tarn" gc >/dev/null
examine
found left ok
kill -CONT $listener

# ---- other IPC namespaces, and damage -------------------------------------------------------------------------------

if unshare --ipc true 2>/dev/null; then
    examine unshare --ipc
    found topics problem "another IPC namespace"
    found namespaces note "ipc"
else
    echo "no right to make namespaces: not tested"
fi
echo nonsense >"$TARN_DIR/default/doors"
examine
found topics problem "first 'doors': its file is damaged"
kill $listener && wait $listener || true
rm -f "$TARN_DIR/default/doors"

# ---- who may --------------------------------------------------------------------------------------------------------

rmdir "$TARN_DIR/default"
chmod 2770 "$TARN_DIR"
examine
found directory ok "shared by user"
found trial ok
chmod 0777 "$TARN_DIR"
examine
found directory note "anyone on this machine may take part"
chmod 0755 "$TARN_DIR"
examine
found directory note "others may not take part, but read"
ln -s nowhere "$TARN_DIR/default"
examine
found directory problem "a symbolic link"
found topics note "see directory"
rm "$TARN_DIR/default"
chmod 0700 "$TARN_DIR" "$work"
if [ "$(id -u)" -eq 0 ]; then
    chmod 0755 "$work"
    tarn=$work/tarn
    install -m 755 "$TARN_BIN" "$tarn"
    examine setpriv --reuid 65534 --regid 65534 --clear-groups
    tarn=$TARN_BIN
    found directory problem "may not be used by this user"
    found trial problem
fi

# ---- what a process may ---------------------------------------------------------------------------------------------

(ulimit -n 12 && examine && found files problem "12 open files")
(ulimit -v 500000 && examine && found addresses note "RLIMIT_AS")
refuse() {
    examine strace -f -o /dev/null -e inject="$1":error="$2"
}
if strace -o /dev/null true 2>/dev/null; then
    refuse shmget ENOSYS
    found segments problem "Function not implemented"
    found trial problem "Function not implemented"
    refuse membarrier EPERM
    found membarrier note "a memory fence"
    found trial ok
    refuse futex EPERM
    found futex note "once a millisecond"
    refuse madvise EINVAL
    found fork problem "MADV_WIPEONFORK"
    found fork problem "a kernel from 4.14 on"
    found trial problem "Linux 4.14 or newer is needed"
    TARN_DIR=$work/no_locks refuse fcntl EINVAL # the file of its trial stays: that nobody is in it cannot be known
    found locks problem "a kernel from 4.14 on"
    refuse pidfd_open ENOSYS
    found deaths note
    refuse epoll_pwait2 ENOSYS
    found timeouts note
    refuse clone,clone3 EAGAIN
    found trial problem "a second process could not be started"
else
    echo "strace does not work here (script/bootstrap --test installs it): refusals were not tested"
fi
TARN_DIR=/dev/null examine
found directory problem
expect "directories" "" "$(ls "$TARN_DIR")"
nothing_left
