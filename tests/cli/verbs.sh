#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# What all verbs have in common, whatever they are: found by the list that 'tarn help' prints.
. "$(dirname "$0")/common.sh"

"$tarn" help >"$work/help"
"$tarn" completion bash >"$work/completion"
verbs=$(sed -n '/^usage:/,/^exit codes/s/^  tarn \([a-z]*\)  .*/\1/p' "$work/help")
[ "$(wc -w <<<"$verbs")" -ge 19 ] || fail "verbs in the help: $verbs"

# options_of VERB: of its table, as completion has them; with the argument's name behind "=", if there is one
options_of() {
    sed -n "s/^    $1) options='\([^']*\)'.*/\1/p" "$work/completion" | tr ' ' '\n'
}

for verb in $verbs; do
    page=$work/page
    "$tarn" help "$verb" >"$page"
    "$tarn" "$verb" --help | cmp - "$page" || fail "$verb --help differs from help $verb"
    "$tarn" "$verb" -h | cmp - "$page" || fail "$verb -h differs from help $verb"

    head -1 "$page" | grep -qE "^usage: tarn $verb( |$)" || fail "$verb: the page starts with '$(head -1 "$page")'"
    [ -z "$(sed -n 2p "$page")" ] && [ -n "$(sed -n 3p "$page")" ] || fail "$verb: no text behind the usage line"
    sed -n '/^examples$/,/^$/p' "$page" | grep -qE "^  .*tarn $verb( |\$)" || fail "$verb: its page has no example of it"
    grep -qE "^  tarn $verb +[a-z]" "$work/help" || fail "$verb: no summary"
    ! grep -n '.\{121,\}' "$page" || fail "$verb: lines of more than 120 characters"
    ! grep -n ' $' "$page" || fail "$verb: spaces at the end of lines"

    # The page has the options of the table, with their arguments, and no others.
    options_of "$verb" | tr '=' ' ' | sort >"$work/table"
    sed -nE 's/^  (--[a-z-]+( [^ ]+)?)( .*|$)/\1/p' "$page" | sort >"$work/paged"
    diff "$work/table" "$work/paged" >&2 || fail "$verb: options of the table (<) and of the page (>)"
    grep -qx -- --help "$work/table" || fail "$verb: no --help in its table of options"
    for option in $(cut -d' ' -f1 "$work/table"); do
        "$tarn" "$verb" "$option" --help >/dev/null 2>"$work/err" </dev/null || true
        ! grep -q 'unrecognized' "$work/err" || fail "$verb: the page has $option, which is unknown"
    done

    expect_exit 2 "$tarn" "$verb" --nonsense
    [ ! -s "$work/out" ] || fail "$verb --nonsense printed something"
    expect_in "$work/err" "tarn: unrecognized option '--nonsense'"
    expect_in "$work/err" "see 'tarn help $verb'"
    for option in $(sed -n 's/^\(--[a-z-]*\) .*/\1/p' "$work/table"); do
        expect_exit 2 "$tarn" "$verb" "$option"
        expect_in "$work/err" "$option"
    done

    # No colour in pipes, none where NO_COLOR says so.
    ! grep -q $'\033' "$page" || fail "$verb: escapes in a page that is piped"
done

# An option of one name takes the same kind of argument everywhere; but --history is so many messages, or, of events, all.
for verb in $verbs; do options_of "$verb"; done | sed 's/=.*|.*/=WORD/' | sort -u >"$work/all"
twice=$(sed 's/=.*//' "$work/all" | uniq -d | tr '\n' ' ')
expect "options that are different things in different verbs" "--history " "$twice"
[ ! -e "$TARN_DIR" ] || nothing_left
