#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
# limit: 240
# leaves topic files
# Everything builds for aarch64, and what is built runs in qemu-user: within one process. Two cannot talk there, because
# qemu-user makes up a start time for a process in its own /proc/self/stat, some ticks off what others see in
# /proc/<pid>/stat, so each takes the other for a dead one whose pid was used again.
. "${0%/*}/common.sh"
need aarch64-linux-gnu-gcc qemu-aarch64
built=$TARN_BUILD/aarch64

build_in aarch64 all -DCMAKE_TOOLCHAIN_FILE="$TARN_SOURCE/cmake/aarch64.cmake"
aarch64-linux-gnu-gcc -I"$TARN_SOURCE/include" -o "$scratch/consumer" "$package/consumer/consumer.c" "$built/libtarn.a"

export QEMU_LD_PREFIX=/usr/aarch64-linux-gnu
timeout 60 qemu-aarch64 "$scratch/consumer" | grep '^hello from tarn'
timeout 60 qemu-aarch64 "$built/tarn" version
