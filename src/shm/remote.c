/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See remote.h. */
#include "shm/remote.h"

#include <errno.h>
#include <string.h>

#include "shm/log.h"
#include "shm/segment.h"

static int attach(struct remote *remote, uint32_t number, struct segment_ref *ref) {
    if (load_acquire(&ref->backend) != BACKEND_SYSV)
        return -EINVAL;
    int32_t id = load_relaxed(&ref->id);
    uint64_t nonce = load_relaxed(&ref->nonce), bytes = load_relaxed(&ref->bytes);
    if (bytes < sizeof(struct segment_header))
        return -EINVAL;
    void *base;
    int error = segment_attach(&base, id, bytes, false);
    if (error)
        return error;
    struct segment_header *header = base;
    if (!segment_header_is_sound(header, nonce, number, bytes)) {
        segment_detach(base);
        return -EINVAL;
    }
    /* The publisher could still change these: read them once more into private memory, with the same checks. */
    struct remote_segment *segment = &remote->segments[number];
    segment->bytes = bytes;
    segment->table_offset = sizeof(*header);
    segment->data_offset = header->data_offset;
    segment->extent_count = header->extent_count;
    uint64_t table_bytes = (uint64_t)segment->extent_count * sizeof(struct extent_entry);
    if (segment->data_offset > bytes || segment->extent_count >= 1u << EXTENT_INDEX_BITS ||
        segment->table_offset + table_bytes > segment->data_offset) {
        segment_detach(base);
        return -EINVAL;
    }
    store_release(&segment->base, (char *)base);
    store_release(&remote->attached, number + 1);
    return 0;
}

static int open_first(struct remote *ret, struct publisher_slot *publisher, uint32_t slot, uint16_t incarnation) {
    memset(ret, 0, sizeof(*ret));
    ret->publisher = publisher;
    ret->slot = slot;
    ret->incarnation = incarnation;
    int error = attach(ret, 0, &publisher->segment);
    /* behind the reference, before which they were written: else they may be a predecessor's yet */
    ret->number = publisher->who.number;
    ret->pid = publisher->who.pid;
    ret->namespaces = publisher->who.namespaces;
    if (!error && incarnation_of(&publisher->incarnation) != incarnation) /* its successor's segment, then */
        error = -EINVAL;
    return error;
}

int remote_open(struct remote *ret, struct publisher_slot *publisher, uint32_t slot, uint16_t incarnation) {
    int error = open_first(ret, publisher, slot, incarnation);
    if (!error)
        error = remote_attach_all(ret);
    if (error)
        remote_close(ret);
    return error;
}

int remote_open_in_part(struct remote *ret, struct publisher_slot *publisher, uint32_t slot, uint16_t incarnation) {
    int error = open_first(ret, publisher, slot, incarnation);
    if (!error)
        error = remote_attach_all(ret);
    if (error == -EINVAL && load_relaxed(&ret->attached) > 0 && incarnation_of(&publisher->incarnation) == incarnation)
        return 0; /* who attaches does so from the first on, so nobody has what is behind the one that is gone */
    if (error)
        remote_close(ret);
    return error;
}

int remote_attach_all(struct remote *remote) {
    struct segment_header *header = remote_header(remote);
    uint32_t count = load_acquire(&header->segment_count);
    for (uint32_t number = load_relaxed(&remote->attached); number < count && number < SEGMENTS_MAX; number++) {
        int error = attach(remote, number, &header->chain[number]);
        if (error)
            return error;
    }
    return 0;
}

void remote_close(struct remote *remote) {
    for (uint32_t i = 0; i < SEGMENTS_MAX; i++)
        segment_detach(load_relaxed(&remote->segments[i].base));
    memset(remote->segments, 0, sizeof(remote->segments));
}
