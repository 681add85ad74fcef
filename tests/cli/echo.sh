#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# How echo shows messages, by format, struct, type and filter; and that it slows nobody down.
. "$(dirname "$0")/common.sh"

# echoed NAME INPUT... -- OPTION...: what echo shows of the input, a message per file, into $work/NAME
pub_options=()
echoed() {
    local name=$1 files=()
    shift
    while [ "$1" != -- ]; do
        files+=("$1")
        shift
    done
    shift
    "$tarn" echo t --eof "$@" >"$work/$name" 2>"$work/err" &
    "$tarn" pub t --wait 1 --whole "${pub_options[@]}" "${files[@]}" || fail "pub"
    code=0
    wait $! || code=$?
}

# shows NAME INPUT... -- OPTION...: the same, compared with golden output
shows() {
    echoed "$@"
    expect "exit code of $1" 0 $code
    expect "stderr of $1" "" "$(cat "$work/err")"
    normalise <"$work/$1" | sed -E 's/\b[0-9a-f]{16}\b/IDENTITY/g' >"$work/golden"
    expect_golden "$1" "$work/golden"
}

# ---- formats without a struct -------------------------------------------------------------------------------------

printf 'Hello, "world"\ncaf\303\251 \033[31mred\t' >"$work/text"
printf '\000\001\377 binary' >"$work/binary"
: >"$work/empty"
for format in auto text hex json csv; do
    shows echo-$format "$work/text" "$work/empty" "$work/binary" -- --format $format
    [[ $format != [hj]* ]] || shows echo-$format "$work/text" "$work/empty" "$work/binary" -- --$format
done
shows echo-meta "$work/text" "$work/binary" -- --meta

# The newline of a line ends the line that is shown; it is no text, and no empty line to search in.
printf 'one, and\n' >"$work/line"
printf '\n' >"$work/empty-line"
echoed lines "$work/line" "$work/empty-line" "$work/line" --
printf 'one, and\n\none, and\n' | cmp - "$work/lines" || fail "lines as text: $(cat "$work/lines")"
echoed lines "$work/line" "$work/empty-line" -- --format csv
printf 'text\n"one, and"\n\n' | cmp - "$work/lines" || fail "lines as CSV: $(cat "$work/lines")"
echoed lines "$work/line" "$work/empty-line" "$work/line" -- --grep '^$'
expect "empty lines" "$(printf '\n.')" "$(cat "$work/lines"; printf .)"
shows echo-csv-meta "$work/text" -- --format csv --meta

# A topic whose encoding is json: the message is the data, if it is what it says.
printf '{"a": [1, 2.5e3, null],\n "b": "\\u00e9\\n"}\n' >"$work/json"
printf '{"a": 01}' >"$work/wrong"
printf '[1, 2] x' >"$work/behind"
pub_options=(--type Thing --encoding json)
shows echo-json-encoding "$work/json" "$work/wrong" "$work/behind" -- --format json
! command -v python3 >/dev/null || python3 -c 'import json, sys; [json.loads(line) for line in sys.stdin]' \
    <"$work/echo-json-encoding" || fail "not JSON"
shows echo-json-auto "$work/json" -- --meta

# ---- structs ------------------------------------------------------------------------------------------------------

# id, xyz, name, corners of pose N: little-endian, as this machine is
pose() {
    printf "\\x0$1\0\0\0\0\0\0\0" # u32 id, and the padding before the first f64
    printf '\0\0\0\0\0\0\370\077' # 1.5
    printf '\0\0\0\0\0\0\370\177' # NaN
    printf '\232\231\231\231\231\231\271\277' # -0.1
    printf "a\"b,\n$1\0\377" # char name[8]: what is behind the zero does not count
    printf '\377\377\377\377\377\377\377\377' # u64
    printf '\001\000\376\377\003\000\004\000' # i16 pairs
}
struct='u32 id; f64 xyz[3]; char name[8]; u64 most; struct { i16 x, y; } corners[2];'
for id in 1 2 3; do pose $id >"$work/pose$id"; done
poses=("$work/pose1" "$work/pose2" "$work/pose3")
pub_options=()
for format in auto json csv; do
    shows echo-struct-$format "${poses[@]}" -- --format $format --struct "$struct"
done
shows echo-struct-meta "$work/pose1" -- --format csv --meta --struct "struct pose { $struct };"
printf 'big-endian: \001\002' >"$work/big"
shows echo-struct-big "$work/big" -- --struct 'packed big-endian char text[12]; u16 number;'
! command -v python3 >/dev/null || python3 - "$work" <<'PYTHON' || fail "not what was sent"
import csv, json, sys
work = sys.argv[1]
lines = [json.loads(line) for line in open(work + "/echo-struct-json")]
rows = list(csv.DictReader(open(work + "/echo-struct-csv", newline="")))
assert [line["data"]["id"] for line in lines] == [1, 2, 3] == [int(row["id"]) for row in rows]
assert lines[2]["data"]["name"] == 'a"b,\n3' == rows[2]["name"]
assert lines[0]["data"]["most"] == 2**64 - 1 and lines[0]["data"]["xyz"] == [1.5, None, -0.1]
assert rows[0]["corners[0].y"] == "-2" and rows[0]["xyz[1]"] == "nan"
PYTHON

# The same from the topic's type, also when its publisher comes after an untyped one; on a terminal nothing garbles it.
pub_options=(--type Pose --schema "$struct")
echoed schema "${poses[@]}" --
cmp "$work/schema" "$work/echo-struct-auto" || fail "the topic's schema is not used"
echoed schema "${poses[@]}" -- --format csv
cmp "$work/schema" "$work/echo-struct-csv" || fail "the topic's schema is not used for CSV"
script -qefc "'$tarn' echo t --eof --format csv" /dev/null >"$work/terminal" </dev/null &
"$tarn" pub t --wait 1 --whole "${pub_options[@]}" "$work/pose1"
wait $!
tr -d '\r' <"$work/terminal" >"$work/golden"
expect_golden echo-terminal "$work/golden"

# A schema that is none is said, with the place, and the message shown without.
pub_options=(--type Pose --schema 'message Pose { required int32 id = 1; }')
echoed schema "$work/text" --
expect "the exit code" 0 $code
expect_in "$work/err" "tarn: the topic's schema is no description of a struct, so it is not used: 'message' is no type"
grep -qF 'Hello, "world"\ncaf' "$work/schema" || fail "not shown: $(cat "$work/schema")"
expect_exit 0 "$tarn" pub t "$work/text" "${pub_options[@]}"
expect_in "$work/err" "tarn: --schema is no description of a struct, so 'tarn echo' will not decode by it: 'message' is no type"
expect_exit 0 "$tarn" pub t "$work/text" "${pub_options[@]}" --encoding protobuf
expect "stderr with another encoding" "" "$(cat "$work/err")"
expect_exit 0 "$tarn" pub t "$work/text" --type Pose --schema "$struct"
expect "stderr with a struct" "" "$(cat "$work/err")"

# ---- filters ------------------------------------------------------------------------------------------------------

pub_options=()
# ids WHAT EXPECTED OPTION...: the poses that pass
ids() {
    local what=$1 expected=$2
    shift 2
    echoed ids "${poses[@]}" -- --struct "$struct" "$@"
    expect "poses with $what" "$expected" "$(sed -nE 's/^id: ([0-9]+),.*/\1/p' "$work/ids" | xargs)"
}
ids "an id" "2" --where 'id = 2'
ids "another id" "1 3" --where 'id!=2'
ids "a range of ids" "2" --where 'id > 1' --where 'id<3'
ids "an exact number" "1 2 3" --where 'most = 18446744073709551615'
ids "the next number" "" --where 'most = 18446744073709551614'
ids "a hexadecimal number" "1 2 3" --where 'most == 0xffffffffffffffff'
ids "a number as the field has it" "1 2 3" --where 'xyz[2] = -0.1'
ids "no number" "" --where 'xyz[1] <= 1' 
ids "a part of a struct" "1 2 3" --where 'corners[0].y = -2' --where 'corners[1].y >= 4'
ids "a letter" "1 2 3" --where 'name[0] = a'
ids "text of a length" "" --where 'name = "a"'
ids "a size" "1 2 3" --where "bytes = $(stat -c %s "$work/pose1")"
ids "a sequence number" "2 3" --where 'sequence >= 2'
ids "no losses" "1 2 3" --where 'lost = 0' --where 'publisher != 0'
ids "a pattern" "2" --grep '^2$'
ids "another pattern" "1 3" --grep '^[13]$'
ids "every second" "1 3" --every 2
ids "one of every second" "1" --every 2 --count 1
ids "every second of some" "2" --every 2 --where 'id > 1'

echoed ids "${poses[@]}" -- --where 'id = 1'
expect "a field of no known struct" 1 $code
expect_in "$work/err" "the messages' struct is not known: give --struct"

# ---- mistakes -----------------------------------------------------------------------------------------------------

# A message that is shorter: said, and the others shown. One that is longer: said once.
echoed short "$work/pose1" "$work/text" "$work/text" "$work/pose2" -- --struct "$struct"
expect "the exit code" 1 $code
lines_are "$work/short" 2 || fail "the others are not shown"
expect_in "$work/err" "has $(stat -c %s "$work/text") bytes, the struct has 56: messages that are shorter are not shown"
expect_in "$work/err" "2 messages were shorter than the struct"
echoed long "${poses[@]}" -- --struct 'u32 id'
expect "the exit code" 0 $code
expect "lines" "id: 1 id: 2 id: 3" "$(xargs <"$work/long")"
expect "notes on longer messages" 1 "$(grep -c 'what is behind them is not shown' "$work/err")"

expect_exit 2 "$tarn" echo t --struct 'u32 id; foo x[3]'
expect "a mistake and its place" "tarn: --struct: 'foo' is no type; types are such as u32, i64, f32, f64, char, bool, uint32_t, int, double, struct {...}
  u32 id; foo x[3]
          ^" "$(cat "$work/err")"
refused() {
    expect_exit 2 "$tarn" echo t "${@:2}"
    expect_in "$work/err" "$1"
}
refused "there is no field 'y'; there are id, x" --struct 'u32 id; u8 x[2]' --where 'y = 1'
refused "'x' is an array" --struct 'u32 id; u8 x[2]' --where 'x = 1'
refused "the value is none" --struct 'u32 id' --where 'id = one'
refused "starts with no field" --where '= 3'
refused "none of = != < <= > >=" --where 'id ~ 3'
refused "a value is missing" --where 'id ='
refused "nothing is less than, equal to or more than nan" --struct 'f64 x' --where 'x > nan'
expect_exit 2 "$tarn" echo t --struct ''
expect "an empty struct" "tarn: --struct: it is empty: a field is missing, such as u32 id;" "$(cat "$work/err")"
refused "equal or not" --struct 'u8 id' --where 'publisher > 1'
refused "is no regular expression" --grep '('
refused "'tarn sub --raw'" --format raw
refused "none of auto, text, hex, json, csv" --format xml
refused "exclude each other" --json --format text
refused "--every" --every 0
refused "--rate" --rate 0
refused "only one topic" u

# Other patterns have verbs of their own.
"$tarn" listen doors >/dev/null &
until_true alive_is listener doors 1
expect_exit 1 "$tarn" echo doors
expect_in "$work/err" "topic \"doors\" is in use for events: 'tarn listen doors' prints them"
"$tarn" watch robot >/dev/null &
until_true alive_is reader robot 1
expect_exit 1 "$tarn" echo robot
expect_in "$work/err" "'tarn watch robot'"
"$tarn" serve upper -- tr a-z A-Z &
until_true alive_is server upper 1
expect_exit 1 "$tarn" echo upper
expect_in "$work/err" "'tarn call upper'"
kill $(jobs -p)
wait || true

# ---- pace ---------------------------------------------------------------------------------------------------------

# --rate: the newest only. 200 messages in 0.5 s, 5 a second: some four, the last one among them.
"$tarn" echo pace --eof --rate 5 >"$work/out" &
seq 200 | "$tarn" pub pace --wait 1 --rate 400
wait $!
expect "the last one" 200 "$(tail -1 "$work/out")"
[ "$(wc -l <"$work/out")" -ge 2 ] && [ "$(wc -l <"$work/out")" -le 20 ] || fail "--rate 5: $(xargs <"$work/out")"
sort -nc "$work/out"

# The one that waits for its time is shown at the end, and counts.
"$tarn" echo pace --rate 0.1 --count 2 --for 0.5 >"$work/out" &
echo=$!
seq 3 | "$tarn" pub pace --wait 1
expect_ended 0 $echo
expect "what is shown" "1 3" "$(xargs <"$work/out")"
"$tarn" echo pace --rate 0.1 --count 3 --for 0.5 >"$work/out" &
echo=$!
seq 3 | "$tarn" pub pace --wait 1
expect_ended 3 $echo

# A publisher whose reliable end waits does not wait for an echo that is stopped, and the losses are told.
mkfifo "$work/fifo"
"$tarn" echo pace --eof >"$work/out" 2>"$work/err" &
echo=$!
"$tarn" pub pace --wait 1 --memory 1M --reliable <"$work/fifo" &
publisher=$!
exec 3>"$work/fifo"
echo first >&3
until_true lines_are "$work/out" 1
kill -STOP $echo
seq 300000 >&3
sent_all() { "$tarn" ls --json pace | grep -q '"messages": 300001'; }
until_true sent_all
kill -CONT $echo
exec 3>&-
expect_ended 0 $publisher
expect_ended 0 $echo
lost=$(sed -nE 's/^tarn: lost ([0-9]+) messages in all, took ([0-9]+)/\1 \2/p' "$work/err")
expect "messages lost and taken" 300001 $((${lost% *} + ${lost#* }))
expect "messages shown" "${lost#* }" "$(wc -l <"$work/out")"

# While there is always more to take, what passes is seen soon, not when it fills a buffer; so is that nobody reads it.
# The backlog is one of a minute, as this expression is slow.
"$tarn" pub pace --chunk 4140 --depth 4000 --quiet <"$work/fifo" &
publisher=$!
exec 3>"$work/fifo"
{ echo found && yes 'nothing that is sought'; } 2>/dev/null | head -c $((4000 * 4140)) >&3 || true
sent_backlog() { "$tarn" ls --json pace | grep -q '"messages": 4000'; }
until_true sent_backlog
"$tarn" echo pace --history 4000 --grep '([^x]*)([^x]*)\1found' >"$work/found" 2>/dev/null &
echo=$!
until_true has_bytes "$work/found"
kill $echo
expect_ended 143 $echo
{
    code=0
    timeout 20 "$tarn" echo pace --history 4000 --grep '([^x]*)([^x]*)\1missing' 2>/dev/null || code=$?
    echo $code >"$work/code"
} | true
expect "the exit code where nobody reads what does not come" 141 "$(cat "$work/code")"
exec 3>&-
expect_ended 0 $publisher

# A closed pipe, and time-outs.
yes | "$tarn" pub pace --rate 1000 &
publisher=$!
code=0
{ "$tarn" echo pace || code=$?; echo $code >"$work/code"; } | head -3 >/dev/null
expect "the exit code with a closed pipe" 141 "$(cat "$work/code")"
expect_exit 0 "$tarn" echo pace --count 5
expect "lines" 5 "$(wc -l <"$work/out")"
expect_exit 3 "$tarn" echo pace --grep n --count 1 --for 0.2
expect_exit 0 "$tarn" echo pace --for 0.2
kill $publisher
wait || true
nothing_left
