/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See counters.h. */
#include "shm/counters.h"

#include <errno.h>
#include <string.h>

#include "base/points.h"

#define DEATH_TRIES 65536u /* each failure is another's success, of whom there are PUBLISHERS_MAX; or a broken peer */
#define MARK_TRIES 16u

int counters_open(struct counters *counters, struct roster *roster, const struct roster_taker *taker) {
    memset(counters, 0, sizeof(*counters));
    int64_t block = roster_link_block(roster, &roster->header->pattern_block, BLOCK_PATTERN, 0, taker);
    if (block < 0)
        return (int)block;
    counters->roster = roster;
    counters->directory = roster_block(roster, (uint32_t)block);
    return counters->directory ? 0 : -ENOMEM;
}

int counters_make(struct counters *counters, uint32_t id, const struct roster_taker *taker) {
    uint32_t index = id / EVENT_IDS_PER_BLOCK;
    _Atomic uint32_t *ids = &counters->directory->ids;
    if (!counters->blocks[index]) {
        int64_t block =
            roster_link_block(counters->roster, &counters->directory->blocks[index], BLOCK_PATTERN, 0, taker);
        if (block < 0)
            return (int)block;
        counters->blocks[index] = roster_block(counters->roster, (uint32_t)block);
        if (!counters->blocks[index])
            return -ENOMEM;
        uint32_t segments = roster_segment_of((uint32_t)block) + 1;
        if (counters->segments < segments)
            counters->segments = segments;
    }
    for (uint32_t seen = load_relaxed(ids); seen <= id && !compare_and_swap(ids, &seen, id + 1);)
        ;
    POINT(ids_raised);
    /* killed here: listeners look at a counter that is 0 */
    counters_look(counters);
    return 0;
}

struct event_counter *counters_find_block(struct counters *counters, uint32_t id, bool *ret_unreachable) {
    uint32_t index = id / EVENT_IDS_PER_BLOCK;
    if (index >= EVENT_BLOCKS_MAX)
        return NULL;
    uint32_t link = load_acquire(&counters->directory->blocks[index]);
    struct event_counter *block = link ? roster_block(counters->roster, link) : NULL;
    if (!block && roster_is_unreachable(counters->roster, link))
        *ret_unreachable = true;
    counters->blocks[index] = block;
    return block;
}

/* ---- deaths --------------------------------------------------------------------------------------------------- */

/* The death of that life has raised its event. Nothing to do when the life is over: nobody asks any more. */
static void mark(struct roster *roster, uint32_t slot, uint16_t incarnation) {
    struct publisher_slot *publisher = roster_publisher(roster, slot);
    for (uint32_t i = 0; publisher && incarnation && i < MARK_TRIES; i++) {
        uint64_t marked = load_acquire(&publisher->pattern_words[EVENT_WORD_RAISED]);
        if (marked == incarnation || incarnation_of(&publisher->incarnation) != incarnation)
            return;
        POINT(death_not_marked);
        if (compare_and_swap(&publisher->pattern_words[EVENT_WORD_RAISED], &marked, incarnation)) /* E2 */
            return;
    }
}

static bool is_raised(struct roster *roster, uint64_t word, uint32_t slot, uint16_t incarnation) {
    struct publisher_slot *publisher = roster_publisher(roster, slot);
    return (deaths_last_slot(word) == slot && (uint16_t)word == incarnation) || !publisher ||
           load_acquire(&publisher->pattern_words[EVENT_WORD_RAISED]) == incarnation; /* behind the word: E2 */
}

bool counters_raise_death(struct roster *roster, uint32_t id, uint32_t slot, uint16_t incarnation) {
    bool unreachable = false;
    uint32_t link = load_acquire(&roster->header->pattern_block);
    struct counters counters = {.roster = roster, .directory = roster_block(roster, link)};
    if (!counters.directory)
        return !roster_is_unreachable(roster, link);
    struct event_counter *block = counters_find_block(&counters, id, &unreachable);
    if (!block)
        return !unreachable;
    _Atomic uint64_t *deaths = &block[id % EVENT_IDS_PER_BLOCK].deaths;
    for (uint32_t i = 0; i < DEATH_TRIES; i++) {
        uint64_t word = load_acquire(deaths); /* E2 */
        if (is_raised(roster, word, slot, incarnation))
            break;
        mark(roster, deaths_last_slot(word), (uint16_t)word);
        POINT(death_not_counted);
        /* killed here, and before: it is not counted, the next one starts over */
        if (!compare_and_swap(deaths, &word, deaths_word(deaths_count(word) + 1, slot, incarnation)))
            continue;
        POINT(death_counted);
        /* killed here: the word says so, and who replaces it sets the mark first */
        break;
    }
    mark(roster, slot, incarnation);
    POINT(death_marked);
    /* killed here, and until the incarnation is raised: the next one finds the mark */
    return true;
}
