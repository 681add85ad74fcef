/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The counters of a topic for events: two words per event, in blocks that are linked when an id is used first. Reached
 * from the roster's pattern_block; a view is private to a handle, and remembers where the blocks are: they never move.
 *
 * Raising is one atomic add, so nothing is lost and nobody waits:
 *
 *   notifier                                       listener
 *   ids: at least id + 1                           load ids, bounded
 *   raised + n (release, E1), then the bell (B1)   load raised and deaths (acquire, E1); more than it saw: an event
 *
 * E1: who sees the count sees what the notifier did before. A notifier killed before the add has raised nothing; killed
 * before the bell: listeners find it in their slice.
 *
 * E3: a notifier that closes relies on it that who says that he has attached its counters' segments (release) has them
 * (acquire). Killed after that: whoever else has them keeps them, and if nobody does, nobody listens.
 *
 * Deaths. A notifier may name an event that its death raises: exactly once, though its repairer may be killed anywhere,
 * and the next one repeats its steps, while others repair other notifiers that name the same event. So a second word
 * counts deaths and says whose was the last, and the dead notifier's slot has a mark:
 *
 *   who repairs slot s, incarnation i: one at a time (the repair byte)
 *   1  w = deaths (acquire, E2); it says (s, i): done
 *   2  the mark of s says i: done
 *   3  set the mark of the slot that w names, if that life is not over yet
 *   4  compare-and-swap w to (count + 1, s, i) (E2); else again from 1
 *   5  set the mark of s
 *   then the incarnation is raised: nobody comes here again for (s, i)
 *
 * Why once: suppose that it was counted (4), and the next repairer of s counts again. In 1 it did not see (s, i), so
 * another had replaced that word, and had set the mark of s before (3). The load of 1 saw that replacement, or a later
 * one, so the load of 2, which is behind it, sees the mark (E2). Only a swap by a repairer of s puts (s, i) there, and
 * there is one at a time, so nothing comes between 2 and 4. The count makes each value of the word another.
 *
 * Marks are set by compare-and-swap from what was read, while the incarnation is i: a late one finds the mark of a
 * later life in its way. It may find 0 there, and leave an old incarnation as the later life's mark: that says nothing
 * about the later life, and is replaced. models/deaths.pml checks it.
 */
#ifndef TARN_SHM_COUNTERS_H
#define TARN_SHM_COUNTERS_H

#include "shm/roster.h"

struct counters {
    struct roster *roster;
    struct event_directory *directory;
    uint32_t ids;      /* as last seen; bounded */
    uint32_t segments; /* of the roster, from the first: where the blocks lie that were made */
    struct event_counter *blocks[EVENT_BLOCKS_MAX]; /* NULL: not seen yet */
};

/* Finds or makes the directory. 0 or a negative errno. */
int counters_open(struct counters *counters, struct roster *roster, const struct roster_taker *taker);

/* Makes the event's counter exist. 0 or a negative errno. */
int counters_make(struct counters *counters, uint32_t id, const struct roster_taker *taker);

/* How many ids may have been used: a bound for loops over all. */
static inline uint32_t counters_look(struct counters *counters) {
    uint32_t ids = load_acquire(&counters->directory->ids);
    counters->ids = ids < EVENT_IDS_MAX ? ids : EVENT_IDS_MAX;
    return counters->ids;
}

/* The block with that id's counter; NULL: never used; or, with ret_unreachable set, it cannot be attached now. */
struct event_counter *counters_find_block(struct counters *counters, uint32_t id, bool *ret_unreachable);

static inline struct event_counter *counters_block(struct counters *counters, uint32_t id, bool *ret_unreachable) {
    struct event_counter *block = counters->blocks[id / EVENT_IDS_PER_BLOCK];
    return block ? block : counters_find_block(counters, id, ret_unreachable);
}

/* How often an event was raised, deaths included. */
static inline uint64_t counter_total(struct event_counter *counter) {
    return load_acquire(&counter->raised) + deaths_count(load_acquire(&counter->deaths)); /* E1 */
}

/*
 * A repairer of the slot, which names that event, has it raised, once for this incarnation. False: its counter cannot
 * be reached now.
 */
bool counters_raise_death(struct roster *roster, uint32_t id, uint32_t slot, uint16_t incarnation);

#endif
