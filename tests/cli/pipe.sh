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

# Lines, too: each gets its newline back.
base64 "$work/random" >"$work/lines"
"$tarn" sub pipe --reliable --eof | cksum >"$work/sum1" &
"$tarn" pub pipe "$work/lines" --reliable --wait 1
wait $!
expect "cksum of lines" "$(cksum <"$work/lines")" "$(cat "$work/sum1")"

# A reader of the output that is slow to start holds the publisher back; nothing is lost.
"$tarn" sub pipe --raw --reliable --eof 2>"$work/err" | { sleep 1 && cksum; } >"$work/sum1" &
"$tarn" pub pipe "$work/random" --reliable --wait 1 --chunk 10000 --memory 1M --quiet
wait $!
expect "cksum behind a slow reader" "$sum" "$(cat "$work/sum1")"
expect "stderr of a reliable subscriber" "" "$(cat "$work/err")"
nothing_left
