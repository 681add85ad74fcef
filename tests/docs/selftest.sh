#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# run_page follows a page that is right, and fails for each way in which one can be wrong. Pages are written with ''' for ```.
set -eu -o pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OUTPUT_S=1

# expect OUTCOME WHY: the page on standard input; what it must print to the end, if it must not succeed
expect() {
    local outcome=succeeds
    sed "s/'''/\`\`\`/" >"$work/page.md"
    "$here/run_page" "$work/page.md" >"$work/said" 2>&1 || outcome=fails
    if [ $outcome != "$1" ] || ! grep -qF -- "$2" "$work/said"; then
        echo "FAILED: a page $outcome, and should say '$2' when it $1:"
        cat "$work/page.md" "$work/said"
        exit 1
    fi
}

expect succeeds 'shown as the page says' <<'PAGE'
In a second terminal:
'''sh terminal=2
tarn sub hello
'''
In the first:
'''sh
cd /
here=$PWD
'''
'''sh
echo "I am in $here" | tarn pub hello
'''
The second shows
'''text terminal=2
I am in ...
'''
and after Ctrl-C it can be used for something else:
'''sh terminal=2
seq 4
'''
'''text terminal=2
1
...
4
'''
PAGE

expect succeeds 'not run: no daemon' <<'PAGE'
'''sh not-run="no daemon"
docker run --ipc shareable debian
'''
<!-- instead
echo tried
-->
'''text
tried
'''
'''sh needs=there-is-no-such-command
false
'''
'''text
what it would say
'''
'''sh fails
false
'''
PAGE

expect succeeds 'hello.c is written' <<'PAGE'
'''c
/* hello.c: says which version it is */
#include <stdio.h>
#include <tarn.h>

int main(void) {
    return puts(tarn_version()) < 0;
}
'''
'''sh
cc hello.c -o hello $(pkg-config --cflags --libs tarn)
./hello
'''
'''text numbers=any
9.9.9
'''
PAGE

expect fails 'a block of kind "perl"' <<'PAGE'
'''perl
print
'''
PAGE
expect fails 'a block of kind ""' <<'PAGE'
'''
what is this
'''
PAGE
expect fails 'the word "termnal"' <<'PAGE'
'''sh termnal=2
true
'''
PAGE
expect fails 'a block that does not end' <<'PAGE'
'''sh
true
PAGE
expect fails 'an indented block' <<'PAGE'
- a list
  '''sh
  true
  '''
PAGE
expect fails 'false: exit code 1' <<'PAGE'
'''sh
false
true
'''
PAGE
expect fails 'exit code 127' <<'PAGE'
'''sh terminal=2
trn sub hello
'''
PAGE
expect fails 'nothing failed' <<'PAGE'
'''sh fails
true
'''
PAGE
expect fails 'but shown was' <<'PAGE'
'''sh
echo Hello
echo world
'''
'''text
Hello
'''
PAGE
expect fails 'but shown was' <<'PAGE'
'''sh
echo 3 of 5
'''
'''text numbers=any
3 of
'''
PAGE
expect fails 'but shown was' <<'PAGE'
'''sh
echo 3 lost
'''
'''text numbers=any
0 lost
'''
PAGE
expect fails 'nothing was typed' <<'PAGE'
'''text
Hello
'''
PAGE
expect fails 'no file name' <<'PAGE'
'''c
int main(void) { return 0; }
'''
PAGE
expect fails 'nothing uses lonely.c' <<'PAGE'
'''c
/* lonely.c: compiled by nobody */
int main(void) { return 0; }
'''
PAGE
expect fails 'without a reason' <<'PAGE'
'''sh not-run
true
'''
PAGE
expect fails 'syntax error' <<'PAGE'
'''sh not-run="no daemon"
docker run (
'''
PAGE
expect fails 'a link to nowhere.md' <<'PAGE'
See [this](nowhere.md).
PAGE
expect fails 'systemd-analyze says' <<'PAGE'
'''ini
# a.service
[Service]
ExceStart=/bin/true
'''
PAGE
echo "run_page fails where it should"
