/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* What a waitset waits for: see struct waitable. */
#ifndef TARN_CORE_WAITABLES_H
#define TARN_CORE_WAITABLES_H

#include "core/waiter.h"

extern const struct waitable client_waitable, server_waitable;

#endif
