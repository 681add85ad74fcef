/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* What the rest of the library knows of work queues. The protocol is in shm/queue.h. */
#ifndef TARN_CORE_QUEUE_H
#define TARN_CORE_QUEUE_H

#include "core/waiter.h"

extern const struct waitable worker_waitable;

#endif
