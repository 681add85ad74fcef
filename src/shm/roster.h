/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The roster: a topic's table of participants, in a chain of segments cut into blocks. It grows by blocks, and the chain
 * by segments twice as large, without a lock; anyone may do it at any time.
 *
 * Blocks. Each segment has an owner word per block that says what the block is for: which link, anywhere in the
 * roster, is to name it. A block is taken by compare-and-swap of its owner word, cleared, and then linked, by
 * compare-and-swap of the link. So nothing is lost by a death in between: a block is free again when its link names
 * another block, or when the owner it names has gone (block_is_over()). Nobody has to repair that.
 *
 * Private state of a mapping is struct roster; its base pointers are set under process_lock() and read without.
 */
#ifndef TARN_SHM_ROSTER_H
#define TARN_SHM_ROSTER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/atomics.h"
#include "shm/layout.h"
#include "shm/segment.h"

struct roster {
    _Atomic(char *) base[ROSTER_SEGMENTS_MAX];
    struct roster_header *header;
    uint64_t nonce;
    struct segment_access access;
    bool writable;
};

enum block_use {
    BLOCK_FREE = 0,
    BLOCK_SUBSCRIBERS = 1, /* place: index into subscriber_blocks */
    BLOCK_PUBLISHERS = 2,  /* place: index into publisher_blocks */
    BLOCK_ROW = 3,         /* place: publisher slot << 16 | row */
    BLOCK_CELLS = 4,       /* place: subscriber slot << 16 | incarnation; ends with that incarnation */
    BLOCK_TYPE = 5,        /* place: first block of the run */
};

/* Creates a roster (first segment, one block of slots of each kind). Returns 0 or a negative errno. */
int roster_create(struct roster *ret, struct segment_name *ret_name, uint32_t key,
                  const struct segment_access *access);

/* Attaches the roster of that name. Returns 0, or a negative errno: -EINVAL: gone; -EPROTO: another layout. */
int roster_attach(struct roster *ret, const struct segment_name *name, const struct segment_access *access,
                  bool writable);

void roster_detach(struct roster *roster);

/* Address of a block, attaching its segment if need be (then under process_lock). NULL: there is no such block. */
void *roster_block(struct roster *roster, uint32_t block);

/*
 * Finds a block for a place, clears it and links it there, unless somebody else is first. Returns the linked block's
 * number, or a negative errno. key_note: where the key of a new segment is noted meanwhile (the caller's slot), or NULL.
 */
int64_t roster_link_block(struct roster *roster, _Atomic uint32_t *link, enum block_use use, uint64_t place,
                          _Atomic uint32_t *key_note);

/* Takes a run of consecutive blocks for a type, cleared, not linked. Returns the first's number or a negative errno. */
int64_t roster_take_run(struct roster *roster, uint32_t count, _Atomic uint32_t *key_note);

/* Slots; NULL if the index is out of range or its block is not there (yet). */
struct publisher_slot *roster_publisher(struct roster *roster, uint32_t slot);
struct subscriber_slot *roster_subscriber(struct roster *roster, uint32_t slot);

/* As above, making the block if need be. */
struct publisher_slot *roster_make_publisher(struct roster *roster, uint32_t slot);
struct subscriber_slot *roster_make_subscriber(struct roster *roster, uint32_t slot);

/* The row where the subscriber's words for that publisher stand; NULL if there is none (and make is NULL). */
struct reader_row *roster_row(struct roster *roster, struct publisher_slot *publisher, uint32_t subscriber_slot);
struct reader_row *roster_make_row(struct roster *roster, struct publisher_slot *publisher, uint32_t publisher_slot,
                                   uint32_t subscriber_slot, _Atomic uint32_t *key_note);

/* Slots that were ever used: bounds for loops over all. */
uint32_t roster_publisher_slots(const struct roster *roster);
uint32_t roster_subscriber_slots(const struct roster *roster);

static inline uint16_t incarnation_of(_Atomic uint32_t *incarnation)
{
    return (uint16_t)load_acquire(incarnation);
}

#endif
