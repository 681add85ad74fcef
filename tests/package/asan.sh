#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
# limit: 500
# leaves topic files
# The unit tests with AddressSanitizer, its leak checker, and UndefinedBehaviorSanitizer. Then, without the leak checker,
# which would take longer than the many short processes do, those in which a peer or a file says anything.
. "${0%/*}/common.sh"
build_in asan "unit_tests multi_hostile multi_hostile_patterns multi_hostile_publisher multi_hostile_queue multi_topic_file tarn_cli" \
    -DTARN_SANITIZE=address,undefined -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS=-O1 -DTARN_SHARED=OFF
export ASAN_OPTIONS=detect_stack_use_after_return=1 UBSAN_OPTIONS=print_stacktrace=1 TARN_LIMIT_FACTOR=4
ctest --test-dir "$TARN_BUILD/asan" -L unit --output-on-failure --no-tests=error -j 2
ASAN_OPTIONS=detect_leaks=0
ctest --test-dir "$TARN_BUILD/asan" -R '^multi_(hostile|hostile_patterns|hostile_publisher|hostile_queue|topic_file)$' --output-on-failure \
    --no-tests=error -j 2
