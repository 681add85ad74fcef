/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Monitors, for the waitset: see monitor.c. */
#ifndef TARN_CORE_MONITOR_H
#define TARN_CORE_MONITOR_H

#include "core/waiter.h"

extern const struct waitable monitor_waitable;

#endif
