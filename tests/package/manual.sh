#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Each verb and each function has a man page that mandoc and man take without a warning, and that says what its source says.
. "${0%/*}/common.sh"
need mandoc scdoc python3
man=$TARN_BUILD/man

echo "each verb and each function has one"
for verb in $("$TARN_BIN" help | sed -n 's/^  tarn \([a-z]*\)  .*/\1/p'); do
    page=$man/tarn-$verb.1
    [ -s "$page" ] || die "no page for tarn $verb"
    mandoc -T ascii -O width=200 "$page" | col -b >"$scratch/page"
    for word in "tarn $verb" EXAMPLES $("$TARN_BIN" help "$verb" | grep -oE '^  --[a-z-]+'); do
        grep -qF -- "$word" "$scratch/page" || die "$page lacks '$word'"
    done
done
declared_functions >"$scratch/declared"
while read -r function; do
    [ -s "$man/$function.3" ] || die "no page for $function"
    grep -q "$function" "$man/$function.3" || die "the page for $function does not name it"
done <"$scratch/declared"

echo "no warnings"
mandoc -T lint -W warning "$man"/*.1 "$man"/*.3 >"$scratch/lint" || true
[ ! -s "$scratch/lint" ] || {
    head -20 "$scratch/lint"
    die "mandoc has something to say"
}
for link in $(find "$man" -type l); do
    [ -e "$link" ] || die "$link leads nowhere"
done

echo "all that the header says is there"
for page in "$man"/*.3; do
    [ -h "$page" ] || mandoc -T ascii -O width=200 "$page" | col -b
done | tr -cs '[:alnum:]' '\n' | sort -u >"$scratch/words"
sed -n '/^ \* tarn: processes/,$p' "$TARN_SOURCE/include/tarn.h" | grep -vE '^/\* ---- |^#(if|include|endif|define TARN_H)|^extern|__cplusplus|see tests/unit' |
    tr -cs '[:alnum:]' '\n' | sort -u >"$scratch/header"
missing=$(comm -23 "$scratch/header" "$scratch/words" | grep . | tr '\n' ' ')
[ -z "$missing" ] || die "words of the header that no page has: $missing"
