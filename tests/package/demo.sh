#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
# limit: 400
# script/demo shows what it says, and fails where one of these things is not so. In a tree of its own, whose script/build and
# programs are stubs or the ones that are built already; there it may not change what other tests use meanwhile.
. "${0%/*}/common.sh"
need bash
tree=$scratch/tree said=$scratch/said shm_file=/dev/shm/${scratch##*/} bench_folder=/dev/shm/tarn-bench-${scratch##*/}
trap 'rm -rf "$scratch" "$shm_file" "$bench_folder"' EXIT
mkdir -p "$tree/script" "$tree/build" "$tree/tmp"
ln -s "$TARN_SOURCE/script/demo" "$tree/script"

# program PATH TEXT: a shell script in the tree
program() {
    rm -f "$tree/$1"
    printf '#!/bin/sh\nreal=%s scratch=%s\n%s\n' "$TARN_BIN" "$scratch" "$2" >"$tree/$1"
    chmod +x "$tree/$1"
}

# demo CODE [ARGUMENT]: how it ends, with no file left
demo() {
    wanted=$1 code=0
    shift
    TMPDIR=$tree/tmp "$tree/script/demo" "$@" >"$said" 2>&1 </dev/null || code=$?
    [ $code -eq "$wanted" ] || die "exit code $code, not $wanted: $(cat "$said")"
    [ -z "$(ls "$tree/tmp")" ] || die "left: $(find "$tree/tmp")"
}

# says PATTERN...: what it said
says() {
    for pattern; do
        grep -qE -- "$pattern" "$said" || die "'$pattern' is not in: $(cat "$said")"
    done
}

# fails_with SENTENCE TEXT: where that is what a tarn does first that is not quite tarn
fails_with() {
    echo "$1"
    program build/tarn "$2
exec \$real \"\$@\""
    demo 1
    says "^demo: .*$1"
}

# What a tarn has left running.
end_survivor() {
    kill -9 "$(cat "$scratch/survivor")"
    rm "$scratch/survivor"
}

program script/build ''
ln -s "$TARN_BUILD/bench_demo" "$tree/build"

echo "all of it holds, also where somebody else begins a benchmark meanwhile"
program build/tarn "[ \"\$1 \$2\" != 'ls demo/endless' ] || mkdir -p $bench_folder || :
exec \$real \"\$@\""
demo 0
sums=$(sed -nE "s/^  (sha256 of the file|subscriber [123]'s copy) +([0-9a-f]{40})\.\.\.$/\2/p" "$said")
[ "$(echo "$sums" | wc -l)" -eq 4 ] && [ "$(echo "$sums" | uniq | wc -l)" -eq 1 ] || die "sums differ: $(cat "$said")"
says '^  Equal, all 3' '^  The same to /dev/null' \
    ' [1-9][0-9]* segments, [1-9][0-9]* MB' '^ *processes +none$' '^ *segments.* none$' '^ *files in /dev/shm +none$' \
    '^  The topic directory is empty' '^All of it held'
if [ "$(nproc)" -ge 2 ]; then
    sizes=$(sed -nE 's/^ *([0-9]+ [KM]?B)  tarn +[0-9.]+ [num]?s  .*/\1/p' "$said" | paste -sd,)
    [ "$sizes" = "64 B,1 KB,16 KB,64 KB,256 KB,1 MB,4 MB,16 MB" ] || die "the table has the sizes $sizes: $(cat "$said")"
    [ "$(grep -cE '^ +pipe +[0-9.]+ [num]?s  .*  [0-9.]+ x$' "$said")" -eq 8 ] || die "pipes: $(cat "$said")"
    program build/bench_demo 'exit 1'
    demo 1
    says '^demo: the measurement failed'
fi
program build/bench_demo ''

echo "arguments"
demo 0 --help
says '^script/demo: ' 'kill -9'
demo 2 --fast
says '^script/demo: '

fails_with "what subscriber 1 received is not what was sent" '[ $1 != sub ] || { $real "$@" | tr a b; exit; }'
fails_with "a process of the transfer failed" '[ $1 != pub ] || exit 1'
fails_with "processes are left" '[ "$1 $2" != "pub demo/endless" ] || { sleep 600 >/dev/null 2>&1 & echo $! >$scratch/survivor; }'
end_survivor
# Stopped, as it would soon let go of what the dead have left; and its TARN_DIR reads otherwise.
fails_with "segments are left" 'if [ "$1 $2" = "ls demo/endless" ] && [ ! -e $scratch/survivor ]; then
    TARN_DIR=$TARN_DIR/ $real sub demo/endless >/dev/null 2>&1 &
    until $real ls --json demo/endless | grep -q "\"pid\": $!,"; do sleep 0.05; done
    kill -STOP $!
    echo $! >$scratch/survivor
fi'
end_survivor
[ ! -w /dev/shm ] || fails_with "files are left in /dev/shm: +$shm_file" "[ \$1 != sub ] || exec 9>$shm_file"

echo "script/build fails"
program script/build 'echo "no compiler"; exit 1'
demo 1
says '^no compiler$' '^demo: script/build failed'
