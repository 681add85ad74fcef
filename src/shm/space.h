/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Space: how a publisher waits for its readers, at no cost to them while it does not. One word per publisher; low bit:
 * it sleeps. Beside it the sequence number that it waits for reliable readers to reach.
 *
 *   publisher                                       reader, when it drops a hold or has taken a message
 *   wanted = sequence                               cell = 0, or cursor = next sequence (release)
 *   v = fetch_or(space, 1) | 1                      compiler barrier (or a full fence, where not registered)
 *   barrier in all registered processes <-- S1 -->  load space; if odd, and this may be what it waits for:
 *   try once more                                     compare-and-swap to v + 1, and wake
 *   futex_wait(space, v), at most a slice
 *
 * S1 is B1 of bell.h with the roles exchanged: either the reader's change is before the barrier, and the publisher's
 * try sees it; or it is after, and then so is the reader's load, which sees the bit and, as both were stored before,
 * wanted. A reader that takes one message of many does not wake a publisher that needs all of them: cursors count from
 * wanted on.
 *
 * models/space.pml checks this, and shows the lost wake-up without the barrier.
 */
#ifndef TARN_SHM_SPACE_H
#define TARN_SHM_SPACE_H

#include "base/process.h"
#include "shm/bell.h"
#include "shm/layout.h"

/* Announces that the publisher will sleep. The caller tries once more, then calls space_sleep or goes on. */
static inline uint32_t space_arm(struct publisher_slot *publisher, uint64_t wanted_sequence, bool *ret_barrier) {
    store_relaxed(&publisher->wanted, wanted_sequence);
    POINT(wanted_told);
    /* killed here, or asleep: the bit stays, and costs the readers one needless wake each */
    return bell_arm(&publisher->space, ret_barrier); /* S1 */
}

static inline void space_sleep(struct publisher_slot *publisher, uint32_t value, bool barrier, int64_t timeout_ns) {
    bell_sleep(&publisher->space, value, barrier, timeout_ns);
}

/* After a hold was dropped, or a reader went: wakes the publisher if it sleeps. */
static inline void space_ring(struct publisher_slot *publisher) {
    light_fence(); /* S1 */
    POINT(space_not_looked_at);
    if (bell_win(&publisher->space)) {
        POINT(space_won);
        os_futex_wake_all(&publisher->space);
    }
}

LONG_HALF void space_ring_if_wanted(struct publisher_slot *publisher, uint64_t sequence) {
    if (sequence >= load_relaxed(&publisher->wanted) && bell_win(&publisher->space))
        os_futex_wake_all(&publisher->space);
}

/* After a reliable reader's cursor was told. */
SHORT_HALF void space_ring_at(struct publisher_slot *publisher, uint64_t sequence) {
    light_fence(); /* S1 */
    if (unlikely(load_acquire(&publisher->space) & 1))
        space_ring_if_wanted(publisher, sequence);
}

#endif
