#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
# limit: 240
# leaves topic files
# The tests for data races (threads on one mapping) with ThreadSanitizer.
. "${0%/*}/common.sh"
build_in tsan race_tests -DTARN_SANITIZE=thread -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS=-O1 \
    -DTARN_PROGRAMS=OFF -DTARN_SHARED=OFF
export TSAN_OPTIONS="halt_on_error=1 second_deadlock_stack=1" TARN_LIMIT_FACTOR=4
# With more than 28 random bits in addresses, gcc 12's ThreadSanitizer does not start; without random addresses it does.
fixed_addresses=
if setarch -R true 2>/dev/null; then
    fixed_addresses="setarch -R"
fi
$fixed_addresses ctest --test-dir "$TARN_BUILD/tsan" -L race --output-on-failure --no-tests=error -j 2
