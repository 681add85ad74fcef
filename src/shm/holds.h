/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A subscriber's holds: which extents it must not lose. Hold number i owns cell i of the subscriber's cells.
 *
 * Holding is per extent. The one that a reader is in (its position) and those of messages that the user has are counted
 * together. Taking costs no locked instruction, nor does releasing in the thread that came there; in another it costs
 * one:
 *
 *   refs = POSITION_BIAS - released      while it is a position (taken and returned are private counts)
 *   refs = taken - returned - released   afterwards: leaving adds taken - returned - POSITION_BIAS
 *
 * Whoever brings refs to 0 clears the cell, then makes the hold reusable; the reads of the payload come before
 * (acq_rel). A position of which all messages were released is let go by plain stores: nobody else knows it.
 *
 * returned is counted by one thread alone, the one in which the position was begun, without a locked instruction: 3 to
 * 5 ns less for each message. A subscriber may be used from another thread later, while the first one still releases:
 *
 *   first: begins to count (returned is odd), looks whether it may, then counts, or goes back and counts in refs
 *   other: says that it may not, has all processors fence (os_barrier), then waits until it is not counting
 *
 * T1: so either the first one sees that it may not, or the other sees it counting. It waits for three instructions of a
 * thread, and only where messages are out while a subscriber moves on in a new thread. The last store to returned is
 * the first thread's last access: behind it the hold may be used again, and freed. models/release.pml checks this.
 */
#ifndef TARN_SHM_HOLDS_H
#define TARN_SHM_HOLDS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/points.h"
#include "base/process.h"
#include "shm/roster.h"

#define POSITION_BIAS (INT64_C(1) << 40)
#define PARTINGS_MAX 16u /* one is usual: of the thread that opened the subscriber */
#define HOLD_CHUNKS_MAX (1 + CELL_BLOCKS_MAX)

/* Whose holds they are, among those of one subscriber: who follows one publisher. */
struct holder {
    struct publisher_slot *publisher;
    struct holds *holds;
};

struct hold {
    _Atomic int64_t refs;
    int64_t taken;                /* of the position: by the subscriber's thread */
    _Atomic int64_t returned;     /* twice the count; odd while it is being raised */
    _Atomic(const void *) thread; /* that counts there: process_this_thread() of it; NULL: none */
    uint64_t generation;
    _Atomic uint64_t *cell;
    const struct holder *holder;
    uint32_t epoch; /* of the process: see base/process.h */
    _Atomic uint16_t active;
    bool is_position;
};

struct holds {
    struct roster *roster;
    struct subscriber_slot *subscriber;
    uint32_t slot;
    uint16_t incarnation;
    int16_t error; /* a negative errno: why hold_begin() found no cell */
    struct hold *chunks[HOLD_CHUNKS_MAX];
    uint32_t capacity;
    uint32_t high;                  /* no hold from here on is active */
    _Atomic uint32_t other_count;   /* active ones that are no position, and 1 for the open subscriber: see holds_end */
    uint32_t partings;              /* of positions from another thread that had messages there */
    void (*emptied)(void *context); /* called once: the subscriber is closed and the last hold has gone */
    void *context;
};

int holds_open(struct holds *holds, struct roster *roster, struct subscriber_slot *subscriber, uint32_t slot,
               uint16_t incarnation);
void holds_free(struct holds *holds);

/* Makes room for that many holds in all. 0 or a negative errno. */
int holds_reserve(struct holds *holds, uint32_t count);

/*
 * Names an extent in a free cell, and fences (H1). The caller validates, then keeps it or calls hold_cancel. NULL: see
 * error.
 */
struct hold *hold_begin(struct holds *holds, const struct holder *holder, uint64_t cell, uint64_t generation,
                        bool is_position);
void hold_cancel(struct hold *hold);

/* Messages of a position that the user has, as far as it is told by now: none is exact. */
static inline int64_t hold_out(struct hold *hold) {
    /* acquire, T2: with the release of each message; the reads of its payload come before. Odd: one is out yet */
    int64_t returned = load_acquire(&hold->returned) >> 1;
    return hold->taken - returned + load_acquire(&hold->refs) - POSITION_BIAS;
}

/*
 * No message of a position is out: it begins anew. Without membarrier, no thread counts by itself, nor where threads
 * take turns with the subscriber: a barrier costs more than many locked instructions, and interrupts others.
 */
static inline void hold_start(struct hold *hold, uint64_t generation) {
    hold->taken = 0;
    hold->generation = generation;
    store_relaxed(&hold->refs, POSITION_BIAS);
    store_relaxed(&hold->returned, 0);
    bool may_count = process_is_registered() && hold->holder->holds->partings < PARTINGS_MAX;
    store_relaxed(&hold->thread, may_count ? process_this_thread() : NULL);
}

/*
 * The reader moves on to an extent, of whose log it is the next, while no message of this one is out: the same cell
 * names the one instead of the other, and fences (H1). False: there are messages out, and nothing happened. The caller
 * validates, then keeps it or calls hold_leave.
 */
static inline bool hold_move(struct hold *hold, uint64_t cell, uint64_t generation) {
    if (hold_out(hold) != 0)
        return false;
    hold_start(hold, generation);
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

/* Counts a message in the thread that may do so. False: it may not, and nothing happened. */
SHORT_HALF bool hold_return(struct hold *hold) {
    const void *self = process_this_thread();
    if (unlikely(load_relaxed(&hold->thread) != self))
        return false;
    int64_t returned = load_relaxed(&hold->returned);
    store_relaxed(&hold->returned, returned + 1);
    POINT(return_begun);
    compiler_barrier(); /* T1: a full fence by part()'s os_barrier(); where we are not registered, thread is NULL */
    if (unlikely(load_relaxed(&hold->thread) != self)) {
        store_release(&hold->returned, returned);
        return false;
    }
    store_release(&hold->returned, returned + 2); /* T2 */
    return true;
}

/* One message less; from any thread. */
SHORT_HALF void hold_release(struct hold *hold) {
    if (likely(hold_return(hold)))
        return;
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
