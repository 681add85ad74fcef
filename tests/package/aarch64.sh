#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
# limit: 240
# leaves topic files
# Everything builds for aarch64, and runs in qemu-user as far as that goes.
. "${0%/*}/common.sh"
need aarch64-linux-gnu-gcc qemu-aarch64

build_in aarch64 all -DCMAKE_TOOLCHAIN_FILE="$TARN_SOURCE/cmake/aarch64.cmake"
aarch64-linux-gnu-gcc -I"$TARN_SOURCE/include" -o "$scratch/consumer" "$package/consumer/consumer.c" \
    "$TARN_BUILD/aarch64/libtarn.a"
qemu-aarch64 -L /usr/aarch64-linux-gnu "$scratch/consumer" | grep '^hello from tarn'
