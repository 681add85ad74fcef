#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
# limit: 240
# leaves topic files
# The unit tests with AddressSanitizer, its leak checker, and UndefinedBehaviorSanitizer.
. "${0%/*}/common.sh"
build_in asan unit_tests -DTARN_SANITIZE=address,undefined -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS=-O1 \
    -DTARN_PROGRAMS=OFF -DTARN_SHARED=OFF
export ASAN_OPTIONS=detect_stack_use_after_return=1 UBSAN_OPTIONS=print_stacktrace=1 TARN_LIMIT_FACTOR=4
ctest --test-dir "$TARN_BUILD/asan" -L unit --output-on-failure --no-tests=error -j 2
