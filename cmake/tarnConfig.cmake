# SPDX-License-Identifier: Apache-2.0 OR MIT
# find_package(tarn) gives tarn::tarn (shared) and tarn::tarn_static.
include("${CMAKE_CURRENT_LIST_DIR}/tarnTargets.cmake")
