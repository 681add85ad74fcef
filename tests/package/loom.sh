#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
# limit: 500
# The memory orders of the protocols hold under the C11 memory model, and each weakened one is caught.
. "${0%/*}/common.sh"
"$TARN_SOURCE/models/loom/run"
