#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Names, files, directories and outputs that do not work: a sentence, an exit code, and no harm to others.
. "$(dirname "$0")/common.sh"

is_one_sentence() {
    expect "lines on stderr" 1 "$(wc -l <"$work/err")"
    grep -q '^tarn: .' "$work/err" || fail "not a sentence of tarn's: $(cat "$work/err")"
}

long=$(printf 'x%.0s' {1..4096})
for topic in "" / /camera camera/ a//b .. a/../b . 'a b' $'a\nb' $'\377' "$long" 'a*'; do
    for verb in pub sub echo latency hz bw info "call x" "serve -- cat" "notify 1" listen "set k v" "get k" watch "push x" \
        "work -- true" keep match; do
        read -r verb rest <<<"$verb"
        expect_exit 1 "$tarn" "$verb" "$topic" $rest
        is_one_sentence
    done
done
expect_exit 1 "$tarn" sub /camera/front
expect_in "$work/err" "slash"

expect_exit 1 "$tarn" pub t "$work/nonexistent"
is_one_sentence
expect_in "$work/err" "'$work/nonexistent': No such file"
echo sent >"$work/file"
expect_exit 1 "$tarn" pub t "$work/file" "$work/nonexistent"
expect "topics after a mistyped file" "$TARN_DIR/default: no topics" "$("$tarn" ls)"
expect_exit 1 "$tarn" pub t "$work"
expect_in "$work/err" "directory"

# A directory that cannot be made: below a file. (A read-only one would not stop root.)
for verb in "pub t" "sub t"; do
    expect_exit 1 "$tarn" $verb --directory "$work/file/below"
    expect_in "$work/err" "$work/file/below: it, or what it is in, is no directory; choose another with TARN_DIR"
    is_one_sentence
done
expect_exit 1 "$tarn" sub t --domain ../up
is_one_sentence

# ls takes patterns, but no name that cannot be one.
expect_exit 1 "$tarn" ls /camera
expect_in "$work/err" "leave that slash out"
is_one_sentence
expect_exit 1 "$tarn" ls 't*' ..
is_one_sentence
expect_exit 0 "$tarn" ls 't*' '[a-z]/?' nobody
if [ "$(id -u)" -ne 0 ]; then
    mkdir -m 500 "$work/readonly"
    expect_exit 1 "$tarn" sub t --directory "$work/readonly"
    is_one_sentence
fi

# The type differs: both are named.
"$tarn" pub typed --type one/Type --wait 2 --quiet </dev/null &
publisher=$!
until_true alive_is publisher typed 1
expect_exit 1 "$tarn" pub typed --type other/Type
expect_in "$work/err" "one/Type"
expect_in "$work/err" "other/Type"
kill $publisher
expect_ended 143 $publisher

# What others are called, and what was typed, does nothing to a terminal.
evil=$work/$'e\033]0;x'
cp "$tarn" "$evil"
"$evil" set board key x 2>"$work/notes" &
writer=$!
until_true grep -q "set key" "$work/notes"
expect_exit 1 "$tarn" set board key y
is_one_sentence
expect_in "$work/err" 'is written by e\x1b]0;x (pid'
kill $writer
expect_ended 143 $writer
expect_exit 1 "$tarn" serve s -- $'a\nb\302\205\377'
is_one_sentence
expect_in "$work/err" "no command 'a\\nb\\xc2\\x85\\xff'"

# A message larger than the memory that it may use.
head -c 4000000 /dev/zero >"$work/big"
expect_exit 1 "$tarn" pub t --whole "$work/big" --memory 1M
is_one_sentence

# An output that fails, while messages come.
"$tarn" pub stream --repeat forever <<<"again" &
publisher=$!
until_true alive_is publisher stream 1
code=0
"$tarn" sub stream >/dev/full 2>"$work/err" || code=$?
expect "exit code with a full output" 1 $code
expect_in "$work/err" "No space left"
code=0
"$tarn" sub stream 2>"$work/err" >&- || code=$?
expect "exit code with no output" 1 $code
is_one_sentence

# A reader that has enough: quietly.
{ "$tarn" sub stream 2>"$work/err" && code=0 || code=$?; echo $code >"$work/code"; } | head -1 >"$work/out"
expect "what head -1 sees" again "$(cat "$work/out")"
expect "exit code after head -1" 141 "$(cat "$work/code")"
! grep -v 'lost' "$work/err" || fail "noise after head -1"
kill $publisher
expect_ended 143 $publisher

# The reader leaves while no message comes.
{ "$tarn" sub idle && code=0 || code=$?; echo $code >"$work/code"; } | true &
wait $!
expect "exit code when the reader leaves" 141 "$(cat "$work/code")"
code=0
"$tarn" help >/dev/full 2>"$work/err" || code=$?
expect "exit code of help into a full output" 1 $code

# An input that some other process made non-blocking (dd leaves it so) is waited for all the same.
mkfifo "$work/pipe"
"$tarn" serve same --quiet -- cat &
server=$!
until_true alive_is server same 1
# waits_for_input COMMAND...: what comes late reaches it; its output is in $work/out
waits_for_input() {
    exec 5<>"$work/pipe" 4>"$work/pipe" 3<"$work/pipe" 5>&-
    dd iflag=nonblock count=0 status=none <&3
    "$@" <&3 >"$work/out" 2>"$work/err" 3<&- 4>&- &
    local child=$!
    exec 3<&-
    sleep 0.3
    (echo late >&4) || fail "$* does not wait for its input: $(cat "$work/err")"
    exec 4>&-
    expect_ended 0 $child
}
for how in "" "--repeat 2" "--chunk 3" --whole; do
    "$tarn" sub t --raw --eof >"$work/sent" &
    subscriber=$!
    waits_for_input "$tarn" pub t --wait 1 --quiet $how
    expect_ended 0 $subscriber
    expect "what was sent with '$how'" late "$(head -c 4 "$work/sent")"
done
waits_for_input "$tarn" call same --timeout 20
expect "the answer" late "$(cat "$work/out")"
for how in "" --lines; do
    "$tarn" get board k --timeout 20 >"$work/value" &
    getter=$!
    waits_for_input "$tarn" set board k --once --quiet $how
    expect_ended 0 $getter
    expect "the value with '$how'" late "$(cat "$work/value")"
done
kill $server
expect_ended 143 $server
nothing_left
