#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
# limit: 900
# Spin finds no error in the models of the protocols, and one in each broken variant.
. "${0%/*}/common.sh"
need spin gcc
"$TARN_SOURCE/models/run"
