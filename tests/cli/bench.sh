#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# tarn bench: what it prints and refuses, and that it leaves nothing. No time decides anything here.
. "$(dirname "$0")/common.sh"

# folder_of PID: where its topics are. Other runs on this machine have their own.
folder_of() {
    find "/proc/$1/fd" -printf '%l\n' 2>/dev/null | sed -n 's#^\(/.*/tarn-bench-[A-Za-z0-9]*\)/default$#\1#p' | head -1
}
has_folder() { folder=$(folder_of "$1") && [ -n "$folder" ]; }
is_removed() { [ ! -e "$1" ]; }
# Or a zombie that nobody has waited for yet: whoever adopts orphans here does that at the end only.
is_dead() { is_gone "$1" || grep -q '^State:.Z' "/proc/$1/status"; }

# Figures and the verdict differ from run to run.
structure() {
    sed -E -e '1s/.*/MACHINE, KERNEL, CPUS/' -e '/^\* /,$d' -e 's/ !$//' \
        -e 's/-?[0-9]+(\.[0-9]+)? ([num]?s|[kM]\/s)( |$)/N\3/g' -e 's/ -?[0-9]+\.[0-9]+( |$)/ N\1/g' -e 's/ +/ /g' \
        "$1" | sed '$d'
}
cpus() { python3 -c 'import os; print(len(os.sched_getaffinity(0)))'; }

expect_exit 2 "$tarn" bench nonsense
expect_in "$work/err" "'nonsense' is none of latency, stream, fanout, wakeup"
for arguments in "--cpus 0" "--cpus 0,1,2" "--cpus a,b" "--cpus -1,0" "--seconds 0" "--seconds 0.5" "--seconds 61" \
    "--seconds x"; do
    expect_exit 2 "$tarn" bench $arguments
    expect_in "$work/err" "${arguments% *}"
done
expect_exit 2 "$tarn" bench --quick --seconds 2
expect_exit 2 "$tarn" bench --directory /tmp
expect_exit 1 "$tarn" bench --cpus 0,1000
expect_in "$work/err" "CPU 1000 cannot be used"
expect_exit 1 "$tarn" bench --cpus 0,100000
first=$(python3 -c 'import os; print(min(os.sched_getaffinity(0)))')
for part in stream fanout; do
    expect_exit 1 taskset -c "$first" "$tarn" bench $part
    expect_in "$work/err" "$part needs two CPUs, and this process may use one only"
    expect_exit 1 "$tarn" bench latency $part --cpus "$first,$first"
    expect_in "$work/err" "$part needs two CPUs, and --cpus names one"
done

# On one CPU.
expect_exit 0 taskset -c "$first" "$tarn" bench --seconds 1
expect "stderr that is no terminal" "" "$(cat "$work/err")"
expect_in "$work/out" "Only CPU $first may be used"
structure "$work/out" >"$work/structure"
expect_golden bench-one-cpu "$work/structure"
expect_exit 0 "$tarn" bench wakeup --seconds 1 --json --cpus "$first,$first"
python3 - "$work/out" <<'END' || fail "--json on one CPU"
import json, sys
found = json.load(open(sys.argv[1]))
assert [row["bytes"] for row in found["asleep"]] == [8, 4096, 65536, 1048576]
assert all(row["p50_ns"] > 0 and row["pipe_p50_ns"] > 0 for row in found["asleep"])
assert all(found[part] is None for part in ("floors", "latency", "stream", "fanout", "wakeup"))
assert found["verdict"][0]["name"] == "one_cpu"
END

# On two.
if [ "$(cpus)" -ge 2 ]; then
    expect_exit 0 "$tarn" bench --seconds 1
    expect "stderr that is no terminal" "" "$(cat "$work/err")"
    ! grep -n '.\{81,\}' "$work/out" || fail "lines of more than 80 columns"
    ! grep -n ' $' "$work/out" || fail "lines that end with a space"
    grep -q '^\* ' "$work/out" || fail "no verdict"
    structure "$work/out" >"$work/structure"
    expect_golden bench "$work/structure"

    expect_exit 0 "$tarn" bench --seconds 1 --json
    python3 - "$work/out" <<'END' || fail "--json"
import json, sys
found = json.load(open(sys.argv[1]))
assert [row["bytes"] for row in found["latency"]] == [8, 64, 4096, 65536, 1048576]
assert [row["bytes"] for row in found["stream"]] == [8, 65536]
assert [row["subscribers"] for row in found["fanout"]] == [1, 16, 256]
assert [row["asleep_in"] for row in found["wakeup"]] == ["futex", "receive", "fifo", "fd"]
assert found["asleep"] is None
for row in found["latency"] + found["wakeup"]:
    assert 0 < row["p50_ns"] <= row["p99_ns"] <= row["max_ns"] and row["samples"] > 0, row
for row in found["latency"] + found["stream"]:
    assert row["standing_ns"] > 0 and row["walking_ns"] > 0, row
assert all(row["messages_per_s"] > 0 and row["bytes_per_s"] > 0 for row in found["stream"])
assert found["floors"]["measured"] > 0 and 0 < found["floors"]["walking_p10_ns"] <= found["floors"]["walking_p90_ns"]
assert len(found["cpus"]) == 2 and found["machine"]["cpu_model"] and found["machine"]["kernel"]
assert found["verdict"] and all(it["name"] and it["text"] for it in found["verdict"])
END

    # Parts alone, twice, and in any order.
    expect_exit 0 "$tarn" bench wakeup stream wakeup --seconds 1 --json
    python3 - "$work/out" <<'END' || fail "--json of two parts"
import json, sys
found = json.load(open(sys.argv[1]))
assert found["stream"] and found["wakeup"] and found["latency"] is None and found["fanout"] is None
END

    # The reader goes away: quietly, and long before it is done.
    code=0
    "$tarn" bench --seconds 60 2>"$work/err" | head -1 >"$work/out" || code=$?
    expect "exit code of a closed pipe" 141 $code
    expect "stderr" "" "$(cat "$work/err")"
    expect_exit 1 bash -c '"$0" bench latency --seconds 1 >/dev/full' "$tarn"
    expect_in "$work/err" "cannot write to standard output"
fi

# However it ends, processes and folder go with it, and all that is said is nothing.
for signal in TERM KILL; do
    "$tarn" bench --seconds 60 >"$work/out" 2>"$work/err" &
    bench=$!
    until_true has_folder $bench
    children=$(pgrep -P $bench)
    [ -n "$children" ] || fail "no other process was started"
    kill -$signal $bench
    expect_ended $((128 + $(kill -l $signal))) $bench
    for child in $children; do
        until_true is_dead "$child"
    done
    expect "stderr after SIG$signal" "" "$(cat "$work/err")"
    until_true is_removed "$folder"
done
expect "topics" "" "$(find "$TARN_DIR" 2>/dev/null || true)"
