#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
# limit: 500
# leaves topic files
# The fuzz targets, for as long as a test may take. tests/fuzz/run has more time for it.
. "${0%/*}/common.sh"
need clang-14
"$TARN_SOURCE/tests/fuzz/run" 24 1
