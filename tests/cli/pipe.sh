#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# producer | tarn pub, and three tarn sub | consumer: a pipe with many readers, bytes unchanged and complete.
. "$(dirname "$0")/common.sh"

head -c 20000000 /dev/urandom >"$work/random"
sum=$(cksum <"$work/random")

# pipe SUB_OPTIONS PUB_OPTIONS
pipe() {
    local subs=() i
    for i in 1 2 3; do
        "$tarn" sub pipe --raw --reliable --eof $1 | cksum >"$work/sum$i" &
        subs+=($!)
    done
    cat "$work/random" | "$tarn" pub pipe --reliable --wait 3 $2 || fail "pub $2"
    for i in 1 2 3; do
        wait "${subs[i - 1]}" || fail "sub $i $1"
        expect "cksum of subscriber $i with '$1' from pub '$2'" "$sum" "$(cat "$work/sum$i")"
    done
}

pipe "" "--chunk 64K"
pipe "" "--chunk 1M"
pipe "" "--chunk 1000 --memory 2M"
pipe "" "--whole"
pipe "--held 10" "--chunk 100000"

# Lines as they come, with one at the end that lacks its newline, empty ones, and zeros.
{ seq 3 && printf '\n\n\0\n \n' && head -c 3000000 "$work/random" && printf 'no newline'; } >"$work/lines"
subs=()
for i in 1 2; do
    "$tarn" sub pipe --raw --reliable --eof >"$work/out$i" &
    subs+=($!)
done
cat "$work/lines" | "$tarn" pub pipe --reliable --wait 2 || fail "pub of lines"
for i in 1 2; do
    wait "${subs[i - 1]}" || fail "sub $i of lines"
    cmp "$work/lines" "$work/out$i" || fail "a pipe of lines: other bytes at its end $i"
done

# Without --raw each is a line, whether its newline was kept or not.
base64 "$work/random" >"$work/lines"
"$tarn" sub pipe --reliable --eof | cksum >"$work/sum1" &
"$tarn" pub pipe "$work/lines" --reliable --wait 1
wait $!
expect "cksum of lines" "$(cksum <"$work/lines")" "$(cat "$work/sum1")"
"$tarn" sub pipe --count 3 >"$work/out1" &
until_true alive_is subscriber pipe 1
printf 'a\n\nb\n' | "$tarn" pub pipe
wait $!
printf 'a\n\nb\n' | cmp - "$work/out1" || fail "lines that lost their newlines do not get them back"

# A reader of the output that is slow to start holds the publisher back; nothing is lost.
"$tarn" sub pipe --raw --reliable --eof 2>"$work/err" | { sleep 1 && cksum; } >"$work/sum1" &
"$tarn" pub pipe "$work/random" --reliable --wait 1 --chunk 10000 --memory 1M --quiet
wait $!
expect "cksum behind a slow reader" "$sum" "$(cat "$work/sum1")"
expect "stderr of a reliable subscriber" "" "$(cat "$work/err")"
nothing_left
