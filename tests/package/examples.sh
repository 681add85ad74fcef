#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
# leaves topic files
# The examples compile without a warning with gcc and clang, do what their first lines say, and are what README.md shows.
. "${0%/*}/common.sh"
need gcc clang-14
examples=$TARN_SOURCE/examples

for source in "$examples"/*.c; do
    name=$(basename "$source" .c)
    libraries=
    if [ "$name" = libuv ]; then
        [ -e /usr/include/uv.h ] || continue
        libraries=-luv
    fi
    for compiler in gcc clang-14; do
        $compiler -std=gnu11 -O2 -Wall -Wextra -Werror -I"$TARN_SOURCE/include" -o "$scratch/$name" "$source" \
            "$TARN_BUILD/libtarn.a" $libraries
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
# there ROLE COUNT
there() {
    [ "$("$TARN_BIN" ls --json | grep -c "\"role\": \"$1\"")" -eq "$2" ]
}

echo "hello_pub, hello_sub"
timeout 20 "$scratch/hello_sub" >"$scratch/said" &
sub=$!
within 10 there subscriber 1
timeout 20 "$scratch/hello_pub"
within 10 grep -qx 'Hello, world' "$scratch/said"
kill $sub
wait $sub || true

echo "poll"
mkfifo "$scratch/typed"
timeout 20 "$scratch/poll" <"$scratch/typed" >"$scratch/said" &
exec 3>"$scratch/typed"
within 10 there subscriber 1
echo abc >&3
timeout 20 "$scratch/hello_pub"
within 10 grep -qx 'message: Hello, world' "$scratch/said"
within 10 grep -qx 'typed: abc' "$scratch/said"
exec 3>&-
wait $! || die "poll failed"

echo "epoll"
timeout 20 "$scratch/epoll" <"$scratch/typed" >"$scratch/said" &
exec 3>"$scratch/typed"
within 10 there subscriber 1
timeout 20 "$scratch/hello_pub"
within 10 grep -qx 'message: Hello, world' "$scratch/said"
exec 3>&-
wait $! || die "epoll failed"

if [ -e "$scratch/libuv" ]; then
    echo "libuv"
    "$scratch/libuv" >"$scratch/said" &
    loop=$!
    within 10 there subscriber 1
    timeout 20 "$scratch/hello_pub"
    within 10 grep -qx 'message: Hello, world' "$scratch/said"
    kill $loop
    wait $loop || die "libuv failed"
else
    echo "libuv: not there, so examples/libuv.c is not tried"
fi

echo "waitset"
"$scratch/waitset" >"$scratch/said" &
set=$!
within 10 there subscriber 2
timeout 20 "$scratch/hello_pub"
echo "It rains" | timeout 20 "$TARN_BIN" pub news
within 10 grep -qx 'hello: Hello, world' "$scratch/said"
within 10 grep -qx 'news: It rains' "$scratch/said"
within 10 grep -qx '2 messages' "$scratch/said"
kill $set
wait $set || die "waitset failed"

echo "listen, notify"
timeout 20 "$scratch/listen" >"$scratch/said" &
listener=$!
within 10 there listener 1
timeout 20 "$scratch/notify" 3
within 10 grep -qx 'door 3: 1' "$scratch/said"
timeout 20 "$scratch/notify" 4 die || true
within 10 grep -qx 'door 4: 1' "$scratch/said"
within 10 grep -qx 'somebody died' "$scratch/said"
kill $listener
wait $listener || true

echo "set, watch"
timeout 20 "$scratch/watch" >"$scratch/said" &
reader=$!
timeout 20 "$scratch/set" 1.5 &
writer=$!
within 10 grep -qx 'speed 1.5' "$scratch/said"
kill $writer
wait $writer || true
timeout 20 "$scratch/set" 2 &
writer=$!
within 10 grep -qx 'speed 2' "$scratch/said"
kill $writer $reader
wait $writer $reader || true

echo "match"
timeout 20 "$scratch/match" >"$scratch/said" &
monitor=$!
within 10 there monitor 1
"$scratch/hello_sub" >"$scratch/heard" &
sub=$!
within 10 grep -Eqx "subscriber hello_sub [(]pid $sub[)] joined" "$scratch/said"
kill -9 $sub
wait $sub || true
within 10 grep -Eqx "subscriber hello_sub [(]pid $sub[)] died" "$scratch/said"
kill $monitor
wait $monitor || true

echo "loan"
[ "$(timeout 20 "$scratch/loan")" = "1024x768, pixel 1000 is 42" ] || die "loan said something else"

echo "server, client"
timeout 20 "$scratch/server" &
first=$!
within 10 there server 1
[ "$(timeout 20 "$scratch/client" 'hello, world')" = "HELLO, WORLD" ] || die "client said something else"
kill $first
wait $first || true

echo "reliable_pipe"
head -c 20000000 /dev/urandom >"$scratch/file"
timeout 60 "$scratch/reliable_pipe" receive >"$scratch/copy1" &
first=$!
timeout 60 "$scratch/reliable_pipe" receive >"$scratch/copy2" &
second=$!
within 10 there subscriber 2
timeout 60 "$scratch/reliable_pipe" send <"$scratch/file" || die "send failed"
wait $first && wait $second || die "receive failed"
cmp "$scratch/file" "$scratch/copy1"
cmp "$scratch/file" "$scratch/copy2"

echo "producer, worker"
timeout 20 "$scratch/worker" >"$scratch/said" &
worker=$!
[ "$(timeout 20 "$scratch/producer" one '' two)" = "1 rejected" ] || die "producer said something else"
kill $worker
wait $worker || true
printf 'one, attempt 1\n, attempt 1\ntwo, attempt 1\n' | cmp - "$scratch/said" || die "worker said something else"

echo "keep"
timeout 20 "$scratch/keep" &
keeper=$!
within 10 there keeper 1
echo "It rains" | timeout 20 "$TARN_BIN" pub news
[ "$(timeout 20 "$TARN_BIN" sub news --history 1 --eof)" = "It rains" ] || die "keep kept nothing"
kill $keeper
wait $keeper || true

# quotes FILE NAME...: whether the file shows these examples whole, but for their first line
quotes() {
    file=$TARN_SOURCE/$1
    echo "$1"
    shift
    for name in "$@"; do
        sed '1,2d' "$examples/$name.c" | while IFS= read -r line; do
            [ -z "$line" ] || grep -qxF -- "$line" "$file" || die "$file lacks '$line' of $name.c"
        done
    done
}
quotes README.md hello_pub hello_sub
quotes docs/patterns.md client server notify listen set watch producer worker keep match waitset
