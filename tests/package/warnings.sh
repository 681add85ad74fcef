#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
# limit: 120
# Everything compiles without a warning with gcc and clang, as a debug build too (which has the assertions).
. "${0%/*}/common.sh"
need gcc clang-14
for compiler in gcc clang-14; do
    build_in "warnings-$compiler" all -DCMAKE_C_COMPILER=$compiler -DCMAKE_BUILD_TYPE=Debug
done
