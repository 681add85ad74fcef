/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Another participant's segments as mapped, read-only, into this process: one per publisher, shared by all readers of
 * the process. Sizes are checked once when a segment is attached, and kept in private memory.
 *
 * Base pointers are set under process_lock() and read without.
 */
#ifndef TARN_SHM_REMOTE_H
#define TARN_SHM_REMOTE_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/roster.h"

struct remote_segment {
    _Atomic(char *) base; /* set last */
    uint64_t bytes, table_offset, data_offset;
    uint32_t extent_count;
};

struct remote {
    struct remote *next; /* of the topic */
    unsigned users;
    uint32_t slot;
    uint16_t incarnation;
    struct publisher_slot *publisher;
    uint64_t number;           /* the publisher's identity */
    int32_t pid;               /* for sentences */
    _Atomic uint32_t attached; /* segments, from the first on; raised under process_lock() */
    struct remote_segment segments[SEGMENTS_MAX];
    uint64_t namespaces; /* in which pid is its number: see os_namespaces() */
};

/* Attaches the first segment of the publisher in that slot. 0 or a negative errno (-EINVAL: gone or damaged). */
int remote_open(struct remote *ret, struct publisher_slot *publisher, uint32_t slot, uint16_t incarnation);
/*
 * As much as there is, the first segment at least, of a publisher that may have died before others attached the rest.
 */
int remote_open_in_part(struct remote *ret, struct publisher_slot *publisher, uint32_t slot, uint16_t incarnation);
void remote_close(struct remote *remote);

/* Attaches all further segments that the publisher has by now. Under process_lock(). 0 or a negative errno. */
int remote_attach_all(struct remote *remote);

static inline struct segment_header *remote_header(struct remote *remote) {
    return (struct segment_header *)(void *)load_acquire(&remote->segments[0].base);
}

/* The table entry of an extent, with its segment; NULL if that is not attached, or there is no such extent. */
static inline struct extent_entry *remote_entry(struct remote *remote, extent_ref ref,
                                                struct remote_segment **ret_segment) {
    uint32_t number = extent_ref_segment(ref), index = extent_ref_index(ref);
    if (number >= SEGMENTS_MAX)
        return NULL;
    struct remote_segment *segment = &remote->segments[number];
    char *base = load_acquire(&segment->base);
    if (!base || index >= segment->extent_count)
        return NULL;
    *ret_segment = segment;
    return (struct extent_entry *)(void *)(base + segment->table_offset) + index;
}

static inline bool remote_has_segment_of(struct remote *remote, extent_ref ref) {
    uint32_t number = extent_ref_segment(ref);
    return number < SEGMENTS_MAX && load_acquire(&remote->segments[number].base);
}

#endif
