#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# How pub makes messages of its input: lines, chunks, whole files, repeats, rates.
. "$(dirname "$0")/common.sh"
shopt -s lastpipe # the last command of a pipe sets variables of this shell

# How pub sends; with --reliable lines keep their newlines.
how="--reliable"

# through PUB_ARGUMENT...: standard input goes through; $work/out gets the bytes, $sizes the sizes of the messages
through() {
    "$tarn" sub split --reliable --eof --raw >"$work/out" &
    local raw=$!
    "$tarn" sub split --reliable --eof --json >"$work/json" &
    local json=$!
    "$tarn" pub split $how --wait 2 "$@" || fail "pub $*"
    wait $raw && wait $json || fail "sub"
    sizes=$(sed -E 's/.*"bytes": ([0-9]+),.*/\1/' "$work/json" | xargs)
}

printf 'a\n\n\nbcd\nno newline' | through
expect "lines of a pipe" "2 1 1 4 10" "$sizes"
printf 'a\n\n\nbcd\nno newline' | cmp - "$work/out" || fail "bytes of a pipe are changed"
how="--linger 20"
printf 'a\n\n\nbcd\nno newline' | through
expect "lines" "1 0 0 3 10" "$sizes"
expect "bytes of lines" "abcdno newline" "$(cat "$work/out")"
printf '\n' | through
expect "one empty line" "0" "$sizes"
through </dev/null
expect "empty input" "" "$sizes"
printf 'a\0b\n\0\n' | through
expect "lines with NUL" "3 1" "$sizes"
printf 'a\0b\0' | cmp - "$work/out" || fail "NUL bytes are changed"

# Lines around the size of one read, and one of 10 MB.
for bytes in 131071 131072 262143 262144 262145 10000000; do
    head -c $bytes /dev/zero | tr '\0' x >"$work/long"
    { cat "$work/long" && printf '\nend\n'; } | through
    expect "sizes of a line of $bytes bytes" "$bytes 3" "$sizes"
    { cat "$work/long" && printf end; } | cmp - "$work/out" || fail "a line of $bytes bytes is changed"
done
how="--reliable"

printf '0123456789' >"$work/ten"
through --chunk 4 "$work/ten"
expect "--chunk 4 of a file" "4 4 2" "$sizes"
{ printf 01 && sleep 0.2 && printf 23456789; } | through --chunk 5
expect "--chunk 5 of a pipe that pauses" "5 5" "$sizes"
expect "bytes of chunks" 0123456789 "$(cat "$work/out")"
head -c 5000 /dev/zero | through --chunk 2K
expect "--chunk 2K" "2048 2048 904" "$sizes"
through --chunk 4 </dev/null
expect "--chunk of nothing" "" "$sizes"

: >"$work/empty"
through --whole "$work/ten" "$work/empty" "$work/ten"
expect "--whole" "10 0 10" "$sizes"
{ cat "$work/ten" && sleep 0.1 && cat "$work/ten"; } | through --whole
expect "--whole of a pipe" "20" "$sizes"
cat "$work/ten" | through --whole "$work/ten" - "$work/ten"
expect "--whole with standard input among files" "10 10 10" "$sizes"
through --whole /proc/self/status
[ "$sizes" -gt 100 ] || fail "--whole of a file in /proc: $sizes bytes"

through --repeat 3 --chunk 6 "$work/ten" "$work/ten"
expect "--repeat 3" "6 4 6 4 6 4 6 4 6 4 6 4" "$sizes"
printf 'a\nbc\n' | through --repeat 2
expect "--repeat 2 of a pipe" "2 3 2 3" "$sizes"
{ read -r -n 4 && through --repeat 2 --whole; } <"$work/ten"
expect "--repeat 2 of a file as standard input, from where it is" "6 6" "$sizes"
through --repeat 2 --whole <"$work/ten"
expect "--repeat 2 of a file as standard input" "10 10" "$sizes"
through --repeat forever </dev/null
expect "nothing, forever" "" "$sizes"

# At 50 per second, 21 messages need 0.4 s at least.
before=$(date +%s%N)
seq 21 | through --rate 50
after=$(date +%s%N)
expect "--rate sends all" 21 "$(wc -w <<<"$sizes")"
[ $(((after - before) / 1000000)) -ge 400 ] || fail "--rate 50: 21 messages in $(((after - before) / 1000000)) ms"
nothing_left
