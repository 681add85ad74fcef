/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * What all handles have in common as things that users hold: a mark that tells a handle from anything else, and from a
 * closed one; the epoch of the process that made it. The memory of closed handles is kept for a while, so that
 * use after close is an error more often than a crash.
 */
#ifndef TARN_CORE_HANDLE_H
#define TARN_CORE_HANDLE_H

#include <stddef.h>
#include <stdint.h>

#include "base/atomics.h"
#include "base/process.h"

struct tarn_loan;

/* How loans of others than publishers are sent and dropped: tarn_loan_send() and _drop() find it by loan->loaned_by. */
struct loan_calls {
    int (*send)(struct tarn_loan *loan);
    int (*drop)(struct tarn_loan *loan);
};

struct handle {
    _Atomic uint32_t mark; /* HANDLE_..., or HANDLE_CLOSED */
    uint32_t epoch;
    uint64_t number; /* no other handle of this process has, or had: its memory may be another's by now */
    union {
        struct handle *next;            /* among closed ones */
        const struct loan_calls *loans; /* of an open one that lends, but is no publisher; else NULL */
    };
};

/* Each kind's mark: unlikely values, as anything may be passed for a handle. */
enum {
    HANDLE_CLOSED = 0x0c105ed0,
    HANDLE_PUBLISHER = 0x7a26b001,
    HANDLE_SUBSCRIBER = 0x7a265ab5,
    HANDLE_CLIENT = 0x7a26c11e,
    HANDLE_SERVER = 0x7a265e75,
    HANDLE_NOTIFIER = 0x7a260071,
    HANDLE_LISTENER = 0x7a26115e,
    HANDLE_WRITER = 0x7a263717,
    HANDLE_READER = 0x7a263ead,
    HANDLE_PRODUCER = 0x7a269d0c,
    HANDLE_WORKER = 0x7a263042,
    HANDLE_MONITOR = 0x7a263017,
    HANDLE_KEEPER = 0x7a26cee9,
    HANDLE_WAITSET = 0x7a263a17,
};

struct closed_handles {
    struct handle *head, *tail;
    unsigned count;
};

/* Zeroed memory for a handle, aligned to a cache line; NULL: none. Under process_lock(), as is handle_free. */
void *handle_allocate(struct closed_handles *closed, size_t bytes, uint32_t mark);
void handle_free(struct closed_handles *closed, struct handle *handle);

/* 0, or the status (with its sentence) that says why this is no handle of this process. */
const char *handle_kind_text(uint32_t mark); /* "publisher"; "handle" for what is none */
int handle_explain(const struct handle *handle, uint32_t mark);

SHORT_HALF bool handle_is(const struct handle *handle, uint32_t mark) {
    return likely(handle) && likely(load_relaxed(&handle->mark) == mark) && likely(process_is_epoch(handle->epoch));
}

static inline int handle_check(const struct handle *handle, uint32_t mark) {
    if (likely(handle_is(handle, mark)))
        return 0;
    return handle_explain(handle, mark);
}

/*
 * What the user's options say, with zeros where there are none, or where they are an older build's. Refused if they are
 * a newer one's with fields set that this one does not know. 0 or a status. what: the struct's name.
 */
int options_copy(void *ret, size_t known_bytes, const void *options, const char *what);

/* A time of options: 0 is the default, TARN_IMMEDIATELY is zero. */
int64_t options_time_ns(int64_t value, int64_t default_ns);

#endif
