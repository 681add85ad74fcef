#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# What the command line says about itself, and about mistakes in using it. What all verbs have in common: verbs.sh.
. "$(dirname "$0")/common.sh"

"$tarn" help >"$work/help"
expect_golden help "$work/help"
"$tarn" --help | cmp - "$work/help" || fail "--help differs from help"
expect_exit 2 "$tarn"
cmp "$work/out" "$work/help" || fail "no arguments: the help was expected"

for verb in $(sed -n '/^usage:/,/^exit codes/s/^  tarn \([a-z]*\)  .*/\1/p' "$work/help"); do
    "$tarn" help $verb >"$work/help-$verb"
    expect_golden help-$verb "$work/help-$verb"
done

expect "version" "$("$tarn" version)" "$("$tarn" --version)"
"$tarn" version | grep -qE '^tarn [0-9]+\.[0-9]+\.[0-9]+$' || fail "version: $("$tarn" version)"

suggests() {
    expect_exit 2 "$tarn" "$1"
    expect_in "$work/err" "did you mean 'tarn $2'?"
}
suggests sbu sub
suggests pup pub
suggests publish pub
suggests list ls
suggests lss ls
suggests ehco echo
suggests latncy latency
suggests vresion version
expect_exit 2 "$tarn" xyzzy
expect "an unknown verb" "tarn: there is no 'xyzzy'; see 'tarn help'" "$(cat "$work/err")"
expect_exit 2 "$tarn" help xyzzy
expect_exit 2 "$tarn" ""

expect_exit 2 "$tarn" sub t --nonsense
expect_in "$work/err" "see 'tarn help sub'"
expect_exit 2 "$tarn" sub
expect_in "$work/err" "a topic is missing"
expect_exit 2 "$tarn" sub a b
expect_exit 2 "$tarn" pub
expect_exit 2 "$tarn" notify t
expect_exit 2 "$tarn" notify t 1 2
expect_exit 2 "$tarn" notify t 65536
expect_in "$work/err" "'65536' is no event: these are numbers from 0 to 65535"
expect_exit 2 "$tarn" notify t x
expect_exit 2 "$tarn" notify t 1 --count 0
expect_exit 2 "$tarn" listen
expect_exit 2 "$tarn" listen t 1 -2
expect_exit 2 "$tarn" listen t --for x
expect_exit 2 "$tarn" match
expect_exit 2 "$tarn" info
expect_exit 2 "$tarn" hz
expect_exit 2 "$tarn" bw
expect_exit 2 "$tarn" match a b
expect_exit 2 "$tarn" gc a
expect_exit 2 "$tarn" version a
expect_exit 2 "$tarn" help pub sub
expect_exit 2 "$tarn" completion
expect_exit 2 "$tarn" completion fish
expect_in "$work/err" "'fish' is none of bash, zsh"
expect_exit 2 "$tarn" ls --json --names
expect_exit 2 "$tarn" call
expect_exit 2 "$tarn" call a b c
expect_exit 2 "$tarn" call a b --timeout x
expect_exit 2 "$tarn" serve
expect_exit 2 "$tarn" serve a
expect_in "$work/err" "a command is missing"
expect_exit 1 "$tarn" serve a -- no-such-command-as-this
expect_in "$work/err" "there is no command 'no-such-command-as-this' in the directories of PATH"
expect_exit 2 "$tarn" sub t --raw --hex
expect_exit 2 "$tarn" sub t --format text --hex
expect_exit 2 "$tarn" pub t --chunk 4 --whole
expect_exit 2 "$tarn" pub t --encoding cdr
for arguments in "--chunk 0" "--chunk -1" "--chunk 1T" "--chunk 99999999999G" "--rate 0" "--rate x" "--repeat -1" \
    "--wait many" "--depth 0" "--memory 1KB" "--linger -1" "--linger nan" "--rate inf"; do
    expect_exit 2 "$tarn" pub t $arguments
    expect_in "$work/err" "${arguments% *}"
done
for arguments in "--count 0" "--count 1x" "--count 99999999999999999999" "--for x" "--history -1" "--held 70000"; do
    expect_exit 2 "$tarn" sub t $arguments
    expect_in "$work/err" "${arguments% *}"
done
[ ! -e "$TARN_DIR" ] || nothing_left
