/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See handle.h. */
#include "core/handle.h"

#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "shm/layout.h"

#define CLOSED_KEPT 16u

static uint64_t numbers;

void *handle_allocate(struct closed_handles *closed, size_t bytes, uint32_t mark) {
    bytes = (bytes + CACHE_LINE_BYTES - 1) / CACHE_LINE_BYTES * CACHE_LINE_BYTES;
    struct handle *handle = NULL;
    if (closed->count > CLOSED_KEPT) {
        handle = closed->head;
        closed->head = handle->next;
        closed->count--;
    } else if (!(handle = aligned_alloc(CACHE_LINE_BYTES, bytes)))
        return NULL;
    store_relaxed(&handle->mark, HANDLE_CLOSED);
    memset((char *)handle + sizeof(handle->mark), 0, bytes - sizeof(handle->mark));
    handle->epoch = *process_mark;
    handle->number = ++numbers;
    store_release(&handle->mark, mark); /* is_open() in waitset.c: who had the one that was here before */
    return handle;
}

void handle_free(struct closed_handles *closed, struct handle *handle) {
    store_relaxed(&handle->mark, HANDLE_CLOSED);
    handle->next = NULL;
    if (closed->count++)
        closed->tail->next = handle;
    else
        closed->head = handle;
    closed->tail = handle;
}

const char *handle_kind_text(uint32_t mark) {
    switch (mark) {
    case HANDLE_PUBLISHER:
        return "publisher";
    case HANDLE_SUBSCRIBER:
        return "subscriber";
    case HANDLE_CLIENT:
        return "client";
    case HANDLE_SERVER:
        return "server";
    case HANDLE_NOTIFIER:
        return "notifier";
    case HANDLE_LISTENER:
        return "listener";
    case HANDLE_WRITER:
        return "writer";
    case HANDLE_READER:
        return "reader";
    case HANDLE_PRODUCER:
        return "producer";
    case HANDLE_WORKER:
        return "worker";
    case HANDLE_MONITOR:
        return "monitor";
    case HANDLE_KEEPER:
        return "keeper";
    case HANDLE_WAITSET:
        return "waitset";
    default:
        return "handle";
    }
}

int handle_explain(const struct handle *handle, uint32_t mark) {
    const char *what = handle_kind_text(mark);
    if (!handle)
        return fail(TARN_ERROR_ARGUMENT, "the %s is NULL", what);
    uint32_t is = load_relaxed(&handle->mark);
    if (is == HANDLE_CLOSED)
        return fail(TARN_ERROR_CLOSED, "the %s was closed", what);
    if (is != mark)
        return fail(TARN_ERROR_CLOSED, "this is not a %s", what);
    return fail(TARN_ERROR_FORKED, "this %s was opened before fork() and belongs to the parent: open another here",
                what);
}

int options_copy(void *ret, size_t known_bytes, const void *options, const char *what) {
    size_t struct_bytes; /* the first field of all of them */
    memset(ret, 0, known_bytes);
    if (!options)
        return 0;
    memcpy(&struct_bytes, options, sizeof(struct_bytes));
    if (struct_bytes < sizeof(size_t) || struct_bytes > 1u << 16)
        return fail(TARN_ERROR_ARGUMENT, "%s.struct_bytes is %zu: set it to sizeof(%s)", what, struct_bytes, what);
    for (size_t i = known_bytes; i < struct_bytes; i++)
        if (((const char *)options)[i])
            return fail(TARN_ERROR_ARGUMENT, "%s has fields set that this version of tarn does not know", what);
    memcpy(ret, options, struct_bytes < known_bytes ? struct_bytes : known_bytes);
    return 0;
}

int64_t options_time_ns(int64_t value, int64_t default_ns) {
    return value == 0 ? default_ns : value == TARN_IMMEDIATELY ? 0 : value;
}
