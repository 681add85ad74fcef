/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The bell: sleeping and waking without a fence per message. One 32-bit word per topic; low bit: somebody sleeps.
 *
 *   sleeper                                        publisher
 *   v = fetch_or(bell, 1) | 1                      commit (release-store of a record's header word)
 *   barrier in all registered processes  <-- B1 --> compiler barrier (or a full fence, where not registered)
 *   look at logs and roster once more              load bell; if odd: compare-and-swap v to v + 1,
 *   futex_wait(bell, v), at most a slice              and who wins it wakes all and rings the doorbells
 *
 * B1: either the publisher's commit is before the barrier, and the sleeper's look sees it; or it is after, and then the
 * publisher's load of the bell, which the program order puts behind the commit, sees the sleeper's bit. In between the
 * futex compares: the bell was changed, so the sleeper does not sleep. Many publishers may race to ring; a
 * dead sleeper leaves a bit that costs one wake. A publisher killed between commit and ring leaves a message
 * that nobody was woken for: hence no sleep is longer than a slice.
 *
 * models/bell.pml checks this, and shows the lost wake-up without the barrier. space.h uses the same for a publisher's
 * word.
 */
#ifndef TARN_SHM_BELL_H
#define TARN_SHM_BELL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/atomics.h"
#include "base/os.h"
#include "base/points.h"

#define SLICE_NS (100 * NS_PER_MS)
#define SLICE_WITHOUT_BARRIER_NS NS_PER_MS

/* Announces a sleeper. The caller looks once more at everything it waits for, then calls bell_sleep or gives up. */
static inline uint32_t bell_arm(_Atomic uint32_t *bell, bool *ret_barrier) {
    uint32_t value = atomic_fetch_or_explicit(bell, 1, memory_order_seq_cst) | 1;
    POINT(bell_armed);
    *ret_barrier = os_barrier(); /* B1 */
    return value;
}

/* Sleeps until the bell rings, at most a slice (a short one where there is no barrier) and not beyond timeout_ns. */
static inline void bell_sleep(_Atomic uint32_t *bell, uint32_t value, bool barrier, int64_t timeout_ns) {
    int64_t slice = barrier ? SLICE_NS : SLICE_WITHOUT_BARRIER_NS;
    os_futex_wait(bell, value, timeout_ns < slice ? timeout_ns : slice);
}

/* Whether the caller has to wake the sleepers: it won the bell. Expects its change to be ordered before: B1. */
static inline bool bell_win(_Atomic uint32_t *bell) {
    uint32_t value = load_relaxed(bell); /* relaxed: B1 orders it behind the commit */
    while ((value & 1) && !compare_and_swap(bell, &value, value + 1))
        ; /* an interruption changed it, and left the bit: somebody still has to ring */
    return value & 1;
}

#endif
