#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# How sub writes messages, and ls topics: golden output.
. "$(dirname "$0")/common.sh"

printf 'Hello, world\n\ncaf\303\251 \342\202\254\tok\n\033[31mred\r\377\000\300\257 \302\205\342\200\256\n0123456789abcdefghi' \
    >"$work/input"

# How pub sends; with --reliable lines keep their newlines.
how="--linger 20"

# through NAME OPTION...: the input as a subscriber with these options writes it
through() {
    local name=$1
    shift
    "$tarn" sub format --reliable --eof "$@" >"$work/$name" &
    "$tarn" pub format --wait 1 $how <"$work/input"
    wait $! || fail "sub $*"
}

through text
{ cat "$work/input" && echo; } | cmp - "$work/text" || fail "a pipe gets other bytes"
through raw --raw
tr -d '\n' <"$work/input" | cmp - "$work/raw" || fail "--raw changes bytes"
for format in hex json; do
    through $format --$format
    normalise <"$work/$format" >"$work/golden"
    expect_golden sub-$format "$work/golden"
    through $format --format $format
    normalise <"$work/$format" >"$work/golden"
    expect_golden sub-$format "$work/golden"
done
through text --format text
{ cat "$work/input" && echo; } | cmp - "$work/text" || fail "--format text"
through raw --format raw --raw
tr -d '\n' <"$work/input" | cmp - "$work/raw" || fail "--format raw"
expect_exit 2 "$tarn" sub format --format csv
expect_in "$work/err" "'csv' is none of text, raw, hex, json"
expect_in "$work/err" "'tarn echo --format csv' looks at what is in messages"

# On a terminal, nothing reaches it that would garble it.
for how in "--linger 20" --reliable; do
    script -qefc "'$tarn' sub format --reliable --eof" /dev/null >"$work/terminal" </dev/null &
    "$tarn" pub format --wait 1 $how <"$work/input"
    wait $! || fail "sub on a terminal"
    tr -d '\r' <"$work/terminal" >"$work/golden"
    expect_golden sub-terminal "$work/golden"
done

# With their newlines, they are the same lines, and --raw has all bytes.
how=--reliable
through text
{ cat "$work/input" && echo; } | cmp - "$work/text" || fail "lines with their newlines"
through raw --raw
cmp "$work/input" "$work/raw" || fail "--raw of lines with their newlines"

# Times of sending, where asked for, rise.
"$tarn" sub format --reliable --eof --json >"$work/times" &
"$tarn" pub format --wait 1 --reliable --timestamps <"$work/input"
wait $!
sed -E 's/.*"sent_ns": ([0-9]+)}/\1/' "$work/times" | sort -nc || fail "times of sending: $(cat "$work/times")"
expect "messages with a time of sending" 5 "$(grep -c '"sent_ns": [1-9]' "$work/times")"

# ls: nothing, then two topics.
export TARN_DIR=$work/other
"$tarn" ls | normalise >"$work/golden"
expect_golden ls-empty "$work/golden"
"$tarn" ls --json | normalise >"$work/golden"
expect_golden ls-empty-json "$work/golden"

mkfifo "$work/fifo"
"$tarn" sub camera/front --reliable >"$work/sub1" &
until_true alive_is subscriber camera/front 1
"$tarn" sub camera/front >"$work/sub2" &
until_true alive_is subscriber camera/front 2
"$tarn" pub camera/front --wait 2 --type sensor_msgs/Image --encoding cdr <"$work/fifo" &
publisher=$!
exec 3>"$work/fifo"
printf 'one\ntwo\nthree\n' >&3
"$tarn" sub lidar >"$work/sub3" 3>&- &
until_true alive_is subscriber lidar 1
until_true lines_are "$work/sub1" 3
until_true lines_are "$work/sub2" 3

all_counted() { [ "$("$tarn" ls --json camera/front | grep -c '"messages": 3')" -eq 3 ]; }
until_true all_counted
"$tarn" ls | normalise >"$work/golden"
expect_golden ls-table "$work/golden"
! "$tarn" ls | sed 1d | grep -n '.\{81\}' || fail "ls: lines of more than 80 columns"
"$tarn" ls --json | normalise >"$work/golden"
expect_golden ls-json "$work/golden"
"$tarn" ls 'li*' | normalise >"$work/golden"
expect_golden ls-one "$work/golden"
expect "ls of what is not there" "$TARN_DIR/default: no topics of that name" "$("$tarn" ls nobody)"
expect "ls of another domain" "$TARN_DIR/other: no topics" "$("$tarn" ls --domain other)"
expect "the directory option" "$TARN_DIR/default: no topics of that name" \
    "$(env -u TARN_DIR "$tarn" ls --directory "$TARN_DIR" nobody)"
if command -v python3 >/dev/null; then
    "$tarn" ls --json | python3 -m json.tool >/dev/null || fail "ls --json is not JSON"
fi

exec 3>&-
wait $publisher || fail "pub"
kill $(jobs -p)
wait || true
nothing_left
