#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
# leaves topic files
# The examples compile without a warning with gcc and clang, do what their first lines say, and are what README.md shows.
. "${0%/*}/common.sh"
need gcc clang-14
examples=$TARN_SOURCE/examples

for source in "$examples"/*.c; do
    name=$(basename "$source" .c)
    for compiler in gcc clang-14; do
        $compiler -std=gnu11 -O2 -Wall -Wextra -Werror -I"$TARN_SOURCE/include" -o "$scratch/$name" "$source" \
            "$TARN_BUILD/libtarn.a"
    done
done

# within SECONDS COMMAND...: tries until it succeeds
within() {
    tries=$(($1 * 20))
    shift
    until "$@"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || die "in vain: $*"
        sleep 0.05
    done
}
subscribers() {
    [ "$("$TARN_BIN" ls --json | grep -c '"role": "subscriber"')" -eq "$1" ]
}

echo "hello_pub, hello_sub"
timeout 20 "$scratch/hello_sub" >"$scratch/said" &
sub=$!
within 10 subscribers 1
timeout 20 "$scratch/hello_pub"
within 10 grep -qx 'Hello, world' "$scratch/said"
kill $sub
wait $sub || true

echo "poll"
mkfifo "$scratch/typed"
timeout 20 "$scratch/poll" <"$scratch/typed" >"$scratch/said" &
exec 3>"$scratch/typed"
within 10 subscribers 1
echo abc >&3
timeout 20 "$scratch/hello_pub"
within 10 grep -qx 'message: Hello, world' "$scratch/said"
within 10 grep -qx 'typed: abc' "$scratch/said"
exec 3>&-
wait $! || die "poll failed"

echo "board"
timeout 20 "$scratch/board" >"$scratch/said" &
reader=$!
timeout 20 "$scratch/board" set 1.5 &
writer=$!
within 10 grep -qx 'speed 1.5' "$scratch/said"
kill $writer
wait $writer || true
timeout 20 "$scratch/board" set 2 &
writer=$!
within 10 grep -qx 'speed 2' "$scratch/said"
kill $writer $reader
wait $writer $reader || true

echo "loan"
[ "$(timeout 20 "$scratch/loan")" = "1024x768, pixel 1000 is 42" ] || die "loan said something else"

echo "reliable_pipe"
head -c 20000000 /dev/urandom >"$scratch/file"
timeout 60 "$scratch/reliable_pipe" receive >"$scratch/copy1" &
first=$!
timeout 60 "$scratch/reliable_pipe" receive >"$scratch/copy2" &
second=$!
within 10 subscribers 2
timeout 60 "$scratch/reliable_pipe" send <"$scratch/file" || die "send failed"
wait $first && wait $second || die "receive failed"
cmp "$scratch/file" "$scratch/copy1"
cmp "$scratch/file" "$scratch/copy2"

echo "README.md"
for name in hello_pub hello_sub; do
    sed '1,2d' "$examples/$name.c" | while IFS= read -r line; do
        [ -z "$line" ] || grep -qxF -- "$line" "$TARN_SOURCE/README.md" || die "README.md lacks '$line' of $name.c"
    done
done
