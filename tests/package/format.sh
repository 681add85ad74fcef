#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
. "${0%/*}/common.sh"
"$TARN_SOURCE/script/format"
