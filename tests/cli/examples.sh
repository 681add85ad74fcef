#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The examples of the help pages and of README.md: no option in them is wrong, and a pipe with many readers is one.
. "$(dirname "$0")/common.sh"

readme=$here/../../README.md
sed -n '/^## The command line/,/^## /p' "$readme" | sed -n '/^```sh/,/^```$/p' | sed '/^```/d; s/ *#.*//' >"$work/readme"
[ "$(wc -l <"$work/readme")" -ge 10 ] || fail "README.md: no commands below 'The command line'"

# ---- options --------------------------------------------------------------------------------------------------------

# In place of tarn: what a command line's options and their arguments are is looked at, and no more done.
mkdir "$work/bin" "$work/files"
cat >"$work/bin/tarn" <<'END_OF_STUB'
#!/bin/bash
words=()
for word; do
    [ "$word" != -- ] || break
    words+=("$word")
done
echo "$*" >>../calls
"$TARN_BIN" "${words[@]}" --help >/dev/null 2>../said || echo "tarn $*: $(cat ../said)" >>../wrong
END_OF_STUB
chmod +x "$work/bin/tarn"
touch "$work/files/photo.jpg" "$work/files/map.bin"
echo 'u32 id; f64 xyz[3]; char name[16];' >"$work/files/pose.h"

# parse WHAT: each line of stdin; programs beside tarn need not be there
parse() {
    rm -f "$work/calls" "$work/wrong"
    while read -r line; do
        (cd "$work/files" && PATH=$work/bin:/bin:/usr/bin bash -c "$line" >/dev/null 2>&1 </dev/null) || true
        grep -q tarn <<<"$line" || fail "$1: '$line' is no example"
    done
    [ ! -e "$work/wrong" ] || fail "$1: $(cat "$work/wrong")"
    [ -e "$work/calls" ] || fail "$1: nothing was tried"
}
{ cat "$work/readme" && grep -o '`tarn [^`]*`' "$readme" | tr -d '`'; } >"$work/lines"
parse README.md <"$work/lines"
for verb in $("$tarn" help | sed -n '/^usage:/,/^exit codes/s/^  tarn \([a-z]*\)  .*/\1/p'); do
    "$tarn" help "$verb" | sed -n '/^examples$/,/^$/p' | sed -E '/^(examples)?$/d; s/^ +//; s/^in another terminal: //; s/ {2,}.*//' |
        parse "help $verb"
done

# ---- a pipe with many readers ---------------------------------------------------------------------------------------

seq 100000 >"$work/input"
tarn() { "$tarn" "$@"; }
producer() { cat "$work/input"; }
consumer() { cat >"$work/copy$copy"; }

# pipes FILE: has both lines
pipes() {
    local copy reader writer
    reader=$(grep -o 'tarn sub .*| consumer' "$1")
    writer=$(grep -oE 'producer \| tarn pub [a-z0-9A-Z -]*' "$1")
    for copy in 1 2; do
        eval "$reader" &
    done
    until_true alive_is subscriber t 2
    eval "$writer"
    wait
    for copy in 1 2; do
        cmp "$work/input" "$work/copy$copy" || fail "$1: $reader, $writer: other bytes"
    done
}
"$tarn" help >"$work/help"
pipes "$work/readme"
pipes "$work/help"
nothing_left
