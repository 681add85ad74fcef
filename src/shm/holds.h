/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A subscriber's holds: which extents it must not lose. Hold number i owns cell i of the subscriber's cells.
 *
 * Holding is per extent. The one that a reader is in (its position) and those of messages that the user has are counted
 * together, so that taking costs no atomic instruction and releasing costs one, from any thread:
 *
 *   refs = POSITION_BIAS - released      while it is a position (taken is the reader's private count)
 *   refs = taken - released              afterwards: leaving adds taken - POSITION_BIAS
 *
 * Whoever brings refs to 0 clears the cell, then makes the hold reusable; the reads of the payload come before (acq_rel).
 * A position of which all messages were released is let go by plain stores: nobody else knows it.
 */
#ifndef TARN_SHM_HOLDS_H
#define TARN_SHM_HOLDS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/points.h"
#include "shm/roster.h"

#define POSITION_BIAS (INT64_C(1) << 40)
#define HOLD_CHUNKS_MAX (1 + CELL_BLOCKS_MAX)

/* Whose holds they are, among those of one subscriber: who follows one publisher. */
struct holder {
    struct publisher_slot *publisher;
};

struct hold {
    _Atomic int64_t refs;
    int64_t taken; /* of the position: by the subscriber's thread */
    _Atomic uint32_t active;
    bool is_position;
    uint32_t epoch; /* of the process: see base/process.h */
    uint64_t generation;
    _Atomic uint64_t *cell;
    const struct holder *holder;
    struct holds *holds;
};

struct holds {
    struct roster *roster;
    struct subscriber_slot *subscriber;
    uint32_t slot;
    uint16_t incarnation;
    struct hold *chunks[HOLD_CHUNKS_MAX];
    uint32_t capacity;
    uint32_t high;                  /* no hold from here on is active */
    _Atomic uint32_t other_count;   /* active ones that are no position, and 1 for the open subscriber: see holds_end */
    void (*emptied)(void *context); /* called once: the subscriber is closed and the last hold has gone */
    void *context;
};

int holds_open(struct holds *holds, struct roster *roster, struct subscriber_slot *subscriber, uint32_t slot,
               uint16_t incarnation);
void holds_free(struct holds *holds);

/* Makes room for that many holds in all. 0 or a negative errno. */
int holds_reserve(struct holds *holds, uint32_t count);

/* Names an extent in a free cell, and fences (H1). The caller validates, then keeps it or calls hold_cancel. */
struct hold *hold_begin(struct holds *holds, const struct holder *holder, uint64_t cell, uint64_t generation,
                        bool is_position);
void hold_cancel(struct hold *hold);

/*
 * The reader moves on to an extent, of whose log it is the next, while no message of this one is out: the same cell names the
 * one instead of the other, and fences (H1). False: there are messages out, and nothing happened. The caller validates,
 * then keeps it or calls hold_leave.
 */
static inline bool hold_move(struct hold *hold, uint64_t cell, uint64_t generation) {
    /* acquire: with the releases of messages by other threads; their reads come before. */
    if (load_acquire(&hold->refs) != POSITION_BIAS - hold->taken)
        return false;
    store_relaxed(&hold->refs, POSITION_BIAS);
    hold->taken = 0;
    hold->generation = generation;
    /* release, R4: the reads of the extent that is left come before. killed here, or behind: as in hold_begin */
    store_release(hold->cell, cell);
    POINT(cell_moved);
    full_fence(); /* H1 */
    return true;
}

/* The reader moves on; messages of the extent may still be out. */
void hold_leave(struct hold *hold);

/* Whether all that this subscriber holds are positions in logs. */
static inline bool holds_positions_only(const struct holds *holds) {
    return load_acquire(&holds->other_count) == 1;
}

/* The cell of a hold that nothing refers to any more is cleared, and the hold may be used again. */
void hold_clear(struct hold *hold);

/* One message less; from any thread. */
SHORT_HALF void hold_release(struct hold *hold) {
    if (unlikely(fetch_sub_acq_rel(&hold->refs, 1) == 1))
        hold_clear(hold);
}

/* Messages that the user has. Exact for those released before the call. */
uint64_t holds_outstanding(struct holds *holds);

/* Oldest generation that this holder's active holds have; GENERATION_GONE if there are none. */
uint64_t holds_oldest(struct holds *holds, const struct holder *holder);

/* The subscriber is closed: calls emptied now, or when the last message is released. */
void holds_end(struct holds *holds);

#endif
