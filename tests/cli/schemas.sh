#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# What --json prints: each verb's fields are those of golden/schema (they stay as they are), and each is on its help page.
. "$(dirname "$0")/common.sh"

# paths VERB: of the JSON values on stdin, "VERB .participants[].pid"
paths() {
    python3 -c '
import json, sys
def walk(path, value):
    if isinstance(value, dict):
        for name in value: yield path + "." + name; yield from walk(path + "." + name, value[name])
    elif isinstance(value, list):
        for item in value: yield from walk(path + "[]", item)
text, decoder, found = sys.stdin.read(), json.JSONDecoder(), set()
while text.strip():
    value, end = decoder.raw_decode(text.lstrip())
    text = text.lstrip()[end:]
    found.update(walk("", value))
assert found, "no fields"
print(*(sys.argv[1] + " " + path for path in sorted(found)), sep="\n")' "$1" >>"$work/schema" || fail "$1 --json: no JSON"
}

# One of each pattern, with what is null otherwise.
mkfifo "$work/fifo"
exec 9<>"$work/fifo"
"$tarn" keep cam &
until_true alive_is keeper cam 1
"$tarn" sub cam --reliable >"$work/taken" &
until_true alive_is subscriber cam 1
"$tarn" pub cam --type point --encoding raw --timestamps --quiet <"$work/fifo" &
until_true alive_is publisher cam 1
echo one >&9
until_true lines_are "$work/taken" 1
"$tarn" listen doors >/dev/null &
until_true alive_is listener doors 1
"$tarn" notify doors 3
"$tarn" set robot speed 1.5 --quiet &
until_true "$tarn" get robot speed >/dev/null
"$tarn" push jobs a b --done --quiet 2>/dev/null &
until_true alive_is producer jobs 1
"$tarn" serve upper --quiet -- tr a-z A-Z &
until_true alive_is server upper 1
"$tarn" call upper hello >/dev/null

: >"$work/schema"
cpu=$(python3 -c 'import os; print(min(os.sched_getaffinity(0)))')
"$tarn" ls --json | paths ls
for topic in cam doors robot jobs upper; do "$tarn" info $topic --json; done | paths info
"$tarn" hz cam doors --each --json --interval 0.1 --for 0.3 | paths hz
"$tarn" bw cam --json --each --interval 0.1 --for 0.3 | paths bw
"$tarn" top --once --json --interval 0.1 | paths top
{ "$tarn" match cam --json --for 0.2 || true; } | paths match
"$tarn" sub cam --history 1 --json --count 1 | paths sub
"$tarn" echo cam --history 1 --format json --count 1 | paths echo
head -c 50 /dev/urandom | "$tarn" pub bytes --whole --wait 1 --quiet &
"$tarn" echo bytes --format json --count 1 | paths echo
"$tarn" latency cam --history 1 --json --count 1 | paths latency
"$tarn" listen doors --history --json --count 1 | paths listen
"$tarn" get robot speed --json | paths get
"$tarn" watch robot --json --count 1 | paths watch
"$tarn" gc --json | paths gc
{ "$tarn" doctor --json || true; } | paths doctor
"$tarn" bench --seconds 1 --json --cpus "$cpu,$cpu" | paths bench
[ "$(nproc)" -lt 2 ] || "$tarn" bench --quick --json | paths bench
exec 9>&-
kill $(jobs -pr)
wait
nothing_left

sort -u "$work/schema" >"$work/fields"
golden=$here/golden/schema
needs_two_cpus='^bench \.(floors\.|(latency|stream|fanout|wakeup)\[)'
[ "$(nproc)" -ge 2 ] || { golden=$work/without && grep -vE "$needs_two_cpus" "$here/golden/schema" >"$golden"; }
[ "${TARN_GOLDEN-}" != write ] || cp "$work/fields" "$golden"
diff "$golden" "$work/fields" >&2 || fail "fields of --json: golden/schema (<) says otherwise"

# section VERB: what its page says about them; some say that they have what another one has
section() {
    "$tarn" help "$1" | sed -nE '/^  (--)?json /,/^(  --[^j]|  [a-z]|$)/p'
    [ "$1" != echo ] || section sub
}
for verb in $(cut -d' ' -f1 "$work/fields" | sort -u); do
    section "$verb" >"$work/section"
    for field in $(sed -n "s/^$verb .*\.//p" "$work/fields" | sort -u); do
        grep -qw -- "$field" "$work/section" || echo "$verb $field"
    done
done >"$work/missing"
[ ! -s "$work/missing" ] || fail "fields that their help page does not name: $(cat "$work/missing")"

# And each verb whose table has --json was looked at.
for verb in $("$tarn" completion bash | sed -n "s/^    \([a-z]*\) *) options='.*--json .*/\1/p"); do
    grep -q "^$verb " "$golden" || fail "$verb has --json, and is not in golden/schema"
done
