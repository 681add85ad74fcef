/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The roster: a topic's table of participants, in a chain of segments cut into blocks. It grows by blocks, and the
 * chain by segments twice as large, without a lock; anyone may do it at any time.
 *
 * Blocks. Each segment has an owner word per block that says what the block is for (which link, anywhere in the roster,
 * is to name it), and who took it (slot and incarnation). A block is taken by compare-and-swap of its owner word,
 * cleared, and then linked, by compare-and-swap of the link; who loses that race gives it back. A block is over, and
 * may be taken again, when its taker's incarnation is over and its link does not name it: so a death in between loses
 * nothing, and nobody has to repair it. Only blocks of slots, which are taken by those who have no slot yet, and those
 * of the topic's pattern stay: a death in those few instructions, the race being lost, costs a block for as long as the
 * roster lives.
 *
 * Private state of a mapping is struct roster; its base pointers are set once, by compare-and-swap, from any thread.
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
    int32_t id; /* of the first segment */
    uint64_t nonce;
    struct segment_access access;
    bool writable;
};

enum block_use {
    BLOCK_FREE = 0,
    BLOCK_SUBSCRIBERS = 1, /* place: index into subscriber_blocks */
    BLOCK_PUBLISHERS = 2,  /* place: index into publisher_blocks */
    BLOCK_ROW = 3,         /* place: publisher slot << 8 | row */
    BLOCK_CELLS = 4,       /* place: 0; ends with its taker */
    BLOCK_TYPE = 5,        /* place: first block of the run */
    BLOCK_PATTERN = 6,     /* place: 0; what a topic's pattern has for all participants; stays */
};

/* Who takes a block: a slot of its own, and the note there for the key of a segment being created. */
struct roster_taker {
    bool publisher; /* else a subscriber */
    uint32_t slot;
    uint16_t incarnation; /* 0: nobody that has a slot yet */
    _Atomic uint32_t *key_note;
};

/* Creates a roster (its first segment). Returns 0 or a negative errno. */
int roster_create(struct roster *ret, struct segment_name *ret_name, const struct segment_access *access);

/* Attaches the roster of that name. Returns 0, or a negative errno: -EINVAL: gone; -EPROTO: another layout. */
int roster_attach(struct roster *ret, const struct segment_name *name, const struct segment_access *access,
                  bool writable);

void roster_detach(struct roster *roster);

/* Address of a block, attaching its segment if need be. NULL: there is no such block. */
void *roster_block(struct roster *roster, uint32_t block);

/*
 * Finds a block for a place, clears it and links it there, unless somebody else is first. Returns the linked block's
 * number, or a negative errno.
 */
int64_t roster_link_block(struct roster *roster, _Atomic uint32_t *link, enum block_use use, uint64_t place,
                          const struct roster_taker *taker);

/* Whether a link names a block that exists, but cannot be attached now: nothing may be concluded from its absence. */
bool roster_is_unreachable(struct roster *roster, uint32_t link);

/* Not so in an IPC namespace that this process came to later: there nothing of the topic is found, nor has gone. */
bool roster_is_at_home(const struct roster *roster);

/* Takes a run of consecutive blocks for a type, cleared, not linked. Returns the first's number or a negative errno. */
int64_t roster_take_run(struct roster *roster, uint32_t count, const struct roster_taker *taker);

/* Slots; NULL if the index is out of range or its block is not there (yet). */
struct publisher_slot *roster_publisher(struct roster *roster, uint32_t slot);
struct subscriber_slot *roster_subscriber(struct roster *roster, uint32_t slot);

/*
 * Make the block that it is in, if need be. 0 or a negative errno, but not -EINVAL: -ENOSPC: no segment is left for
 * that; -EOVERFLOW: the roster cannot grow any more.
 */
int roster_make_publisher(struct roster *roster, uint32_t slot);
int roster_make_subscriber(struct roster *roster, uint32_t slot);

/* The row where the subscriber's words for that publisher stand; NULL if there is none. */
struct reader_row *roster_row(struct roster *roster, struct publisher_slot *publisher, uint32_t subscriber_slot);
/* As that, making it if need be. 0 or a negative errno, as above. */
int roster_make_row(struct reader_row **ret, struct roster *roster, struct publisher_slot *publisher,
                    uint32_t publisher_slot, const struct roster_taker *subscriber);

/* Blocks of the segments that are attached: links that are right name each of them once at most. */
uint32_t roster_attached_blocks(const struct roster *roster);

/*
 * Attaches the segments from that number on. Returns that of the first which was never made, or cannot be attached now.
 */
uint32_t roster_attach_from(struct roster *roster, uint32_t number);

/* Number of the segment in which a block lies. */
uint32_t roster_segment_of(uint32_t block);

/* Slots that were ever used: bounds for loops over all. */
uint32_t roster_publisher_slots(const struct roster *roster);
uint32_t roster_subscriber_slots(const struct roster *roster);

static inline uint16_t incarnation_of(_Atomic uint32_t *incarnation) {
    return (uint16_t)load_acquire(incarnation);
}

/*
 * What a publisher's slot says of that life. SLOT_FREE: also where it changes hands at this moment, which is counted as
 * a change behind it: of LIVE and LEAVING one must not be taken for another life's.
 */
static inline uint32_t publisher_state(struct publisher_slot *publisher, uint16_t *ret_incarnation) {
    *ret_incarnation = incarnation_of(&publisher->incarnation);
    uint32_t state = load_acquire(&publisher->state); /* V1, of LEAVING */
    return incarnation_of(&publisher->incarnation) == *ret_incarnation ? state : SLOT_FREE;
}

#endif
