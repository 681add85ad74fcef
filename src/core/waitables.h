/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* The kinds of handles that a waitset waits for: each is defined beside its handle, and listed once in waitset.c. */
#ifndef TARN_CORE_WAITABLES_H
#define TARN_CORE_WAITABLES_H

#include "core/waiter.h"

extern const struct waitable subscriber_waitable, client_waitable, server_waitable, listener_waitable, reader_waitable,
    worker_waitable, monitor_waitable, keeper_waitable;

#endif
