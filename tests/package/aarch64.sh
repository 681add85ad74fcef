#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
# limit: 500
# leaves topic files
# Everything builds for aarch64, and what is built runs in qemu-user, several processes included: deaths at named points
# (src/base/points.h). That shows that it works there, not that its memory orders hold: the processor underneath is an x86,
# which reorders less. For those see models/loom.
. "${0%/*}/common.sh"
need aarch64-linux-gnu-gcc qemu-aarch64
built=$TARN_BUILD/aarch64

build_in aarch64 all -DTARN_POINTS=ON -DCMAKE_TOOLCHAIN_FILE="$TARN_SOURCE/cmake/aarch64.cmake"
aarch64-linux-gnu-gcc -I"$TARN_SOURCE/include" -o "$scratch/consumer" "$package/consumer/consumer.c" "$built/libtarn.a"

export QEMU_LD_PREFIX=/usr/aarch64-linux-gnu
timeout 60 qemu-aarch64 "$scratch/consumer" | grep '^hello from tarn'
timeout 60 qemu-aarch64 "$built/tarn" version
TARN_LIMIT_FACTOR=4 timeout 240 qemu-aarch64 "$built/tests/named_deaths"
echo "it works under emulation, on $(uname -m); whether its memory orders hold on aarch64 that does not show"
