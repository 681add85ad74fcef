/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * What publishers and subscribers have in common as things that users hold: a mark that tells a handle from anything else,
 * and from a closed one; the epoch of the process that made it. The memory of closed handles is kept for a while, so that
 * use after close is an error more often than a crash.
 */
#ifndef TARN_CORE_HANDLE_H
#define TARN_CORE_HANDLE_H

#include <stddef.h>
#include <stdint.h>

#include "base/atomics.h"
#include "base/process.h"

struct handle {
    _Atomic uint32_t mark; /* HANDLE_..., or HANDLE_CLOSED */
    uint32_t epoch;
    struct handle *next; /* among closed ones */
};

enum { HANDLE_CLOSED = 0x0c105ed0, HANDLE_PUBLISHER = 0x7a26b001, HANDLE_SUBSCRIBER = 0x7a265ab5 };

struct closed_handles {
    struct handle *head, *tail;
    unsigned count;
};

/* Zeroed memory for a handle, aligned to a cache line; NULL: none. Under process_lock(), as is handle_free. */
void *handle_allocate(struct closed_handles *closed, size_t bytes, uint32_t mark);
void handle_free(struct closed_handles *closed, struct handle *handle);

/* 0, or the status (with its sentence) that says why this is no handle of this process. */
int handle_explain(const struct handle *handle, uint32_t mark);

SHORT_HALF bool handle_is(const struct handle *handle, uint32_t mark) {
    return handle && load_relaxed(&handle->mark) == mark && process_is_epoch(handle->epoch);
}

static inline int handle_check(const struct handle *handle, uint32_t mark) {
    if (likely(handle_is(handle, mark)))
        return 0;
    return handle_explain(handle, mark);
}

/* Whether an options struct of a newer build has fields set that this one does not know. 0 or a status. */
int options_check(const void *options, size_t struct_bytes, size_t known_bytes, const char *what);

#endif
