# SPDX-License-Identifier: Apache-2.0 OR MIT
# What the scripts of this folder share. They run from CTest, which sets TARN_SOURCE, TARN_BUILD and TARN_GENERATOR.
set -eu
: "${TARN_SOURCE:?is set by CTest: run this with ctest -R package_}"
package=$TARN_SOURCE/tests/package

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

die() {
    echo "$*"
    exit 1
}

# Fails unless the given commands are there: script/bootstrap --test installs them.
need() {
    for command; do
        command -v "$command" >/dev/null || die "$command is missing; script/bootstrap --test installs it"
    done
}

# build_in FOLDER TARGETS OPTION...: a build of its own in build/FOLDER, warnings being errors. Shows only what goes wrong.
build_in() {
    folder=$TARN_BUILD/$1 targets=$2
    shift 2
    log=$scratch/log
    { cmake -S "$TARN_SOURCE" -B "$folder" -G "$TARN_GENERATOR" -DTARN_WERROR=ON -DTARN_PACKAGE_TESTS=OFF "$@" &&
        cmake --build "$folder" --target $targets -j 2; } >"$log" 2>&1 || {
        cat "$log"
        die "the build in $folder failed"
    }
}

# The functions that tarn.h declares, sorted.
declared_functions() {
    gcc -E -P "$TARN_SOURCE/include/tarn.h" | grep -oE '\btarn_[a-z_]+\(' | tr -d '(' | sort -u
}
