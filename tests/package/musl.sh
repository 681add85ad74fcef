#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
# limit: 500
# leaves topic files
# Library and command line build with musl, statically, run, and talk with what glibc built.
. "${0%/*}/common.sh"
need musl-gcc

# Debian's musl-gcc does not see the kernel's headers, which lie among glibc's.
headers=$TARN_BUILD/musl-headers
mkdir -p "$headers"
ln -sfn /usr/include/linux "$headers/linux"
ln -sfn /usr/include/asm-generic "$headers/asm-generic"
ln -sfn "/usr/include/$(gcc -print-multiarch)/asm" "$headers/asm"

build_in musl all -DCMAKE_C_COMPILER=musl-gcc -DCMAKE_C_FLAGS="-isystem $headers" \
    -DCMAKE_EXE_LINKER_FLAGS=-static -DTARN_SHARED=OFF -DTARN_TESTS=OFF
musl-gcc -static -I"$TARN_SOURCE/include" -o "$scratch/consumer" "$package/consumer/consumer.c" "$TARN_BUILD/musl/libtarn.a"
"$scratch/consumer" | grep '^hello from tarn'
"$TARN_BUILD/musl/tarn" version

echo "a pipe in both directions between musl and glibc"
for pair in "$TARN_BUILD/musl/tarn $TARN_BIN" "$TARN_BIN $TARN_BUILD/musl/tarn"; do
    set -- $pair
    "$1" sub pipe --raw --reliable --eof >"$scratch/out" &
    "$2" pub pipe "$TARN_BUILD/libtarn.a" --reliable --chunk 64K
    wait $!
    cmp "$scratch/out" "$TARN_BUILD/libtarn.a"
done
