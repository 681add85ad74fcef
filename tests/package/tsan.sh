#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
# limit: 500
# leaves topic files
# With ThreadSanitizer and named points (src/base/points.h): the tests with threads on one mapping, as they are and delayed at
# points; deaths at each of the points; and unit tests that go everywhere. TARN_POINTS_SEED=n replays the delays of a seed, or several.
. "${0%/*}/common.sh"
SEEDS=1
build_in tsan "race_tests named_tests unit_property unit_plans unit_holds" -DTARN_SANITIZE=thread -DTARN_POINTS=ON \
    -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS=-O1 -DTARN_PROGRAMS=OFF -DTARN_SHARED=OFF
export TSAN_OPTIONS="halt_on_error=1 second_deadlock_stack=1" TARN_LIMIT_FACTOR=4
# With more than 28 random bits in addresses, gcc 12's ThreadSanitizer does not start; without random addresses it does.
fixed_addresses=
if setarch -R true 2>/dev/null; then
    fixed_addresses="setarch -R"
fi

run() {
    $fixed_addresses ctest --test-dir "$TARN_BUILD/tsan" --output-on-failure --no-tests=error -j 2 "$@"
}

seeds=${TARN_POINTS_SEED-}
if [ -z "$seeds" ]; then
    run -R '^(race_.*|named_.*|unit_holds|unit_property|unit_plans)$'
    seeds=$(od -A n -t u4 -N $((4 * SEEDS)) /dev/urandom)
fi
for seed in $seeds; do
    TARN_POINTS_SEED=$seed run -R '^(race_.*|unit_holds)$' ||
        die "with delays at named points: TARN_POINTS_SEED=$seed ctest -R package_tsan does the same delays again"
done
echo "delayed at named points with the seeds$(printf ' %s' $seeds)"
