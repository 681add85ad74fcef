#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
# limit: 500
# Everything compiles without a warning with clang too. (With gcc it does so in the main build and, with assertions, in
# asan.sh's.)
. "${0%/*}/common.sh"
need clang-14
build_in clang all -DCMAKE_C_COMPILER=clang-14 -DCMAKE_BUILD_TYPE=Debug
