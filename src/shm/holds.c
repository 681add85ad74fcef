/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See holds.h. */
#include "shm/holds.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "base/process.h"
#include "shm/space.h"

#define FIRST_CHUNK CELLS_INLINE
#define NAP_NS (NS_PER_MS / 10)

static int add_chunk(struct holds *holds, uint32_t chunk, _Atomic uint64_t *cells, uint32_t count) {
    /* aligned: each on one line, as other threads release messages of its neighbours */
    _Static_assert(sizeof(*holds->chunks[0]) % CACHE_LINE_BYTES == 0, "private layout");
    struct hold *made = aligned_alloc(CACHE_LINE_BYTES, count * sizeof(*made));
    if (!made)
        return -ENOMEM;
    memset(made, 0, count * sizeof(*made));
    for (uint32_t i = 0; i < count; i++) {
        made[i].cell = &cells[i];
        made[i].epoch = *process_mark;
    }
    holds->chunks[chunk] = made;
    holds->capacity += count;
    return 0;
}

int holds_open(struct holds *holds, struct roster *roster, struct subscriber_slot *subscriber, uint32_t slot,
               uint16_t incarnation) {
    memset(holds, 0, sizeof(*holds));
    holds->roster = roster;
    holds->subscriber = subscriber;
    holds->slot = slot;
    holds->incarnation = incarnation;
    holds->other_count = 1;
    return add_chunk(holds, 0, subscriber->cells, CELLS_INLINE);
}

void holds_free(struct holds *holds) {
    for (uint32_t i = 0; i < HOLD_CHUNKS_MAX; i++)
        free(holds->chunks[i]);
    memset(holds->chunks, 0, sizeof(holds->chunks));
}

static int add_block(struct holds *holds) {
    struct subscriber_slot *subscriber = holds->subscriber;
    struct roster_taker taker = {false, holds->slot, holds->incarnation, &subscriber->pending_key};
    uint32_t number = (holds->capacity - FIRST_CHUNK) / CELLS_PER_BLOCK;
    if (number >= CELL_BLOCKS_MAX)
        return -ENOSPC;
    int64_t block = roster_link_block(holds->roster, &subscriber->cell_list, BLOCK_CELLS, 0, &taker);
    struct cell_list *list = block < 0 ? NULL : roster_block(holds->roster, (uint32_t)block);
    if (!list)
        return block < 0 ? (int)block : -EINVAL;
    block = roster_link_block(holds->roster, &list->blocks[number], BLOCK_CELLS, 0, &taker);
    _Atomic uint64_t *cells = block < 0 ? NULL : roster_block(holds->roster, (uint32_t)block);
    if (!cells)
        return block < 0 ? (int)block : -EINVAL;
    return add_chunk(holds, 1 + number, cells, CELLS_PER_BLOCK);
}

int holds_reserve(struct holds *holds, uint32_t count) {
    while (holds->capacity < count) {
        int error = add_block(holds);
        if (error)
            return error;
    }
    return 0;
}

static inline struct hold *hold_at(struct holds *holds, uint32_t index) {
    if (index < FIRST_CHUNK)
        return &holds->chunks[0][index];
    index -= FIRST_CHUNK;
    return &holds->chunks[1 + index / CELLS_PER_BLOCK][index % CELLS_PER_BLOCK];
}

static struct hold *find_free(struct holds *holds) {
    for (uint32_t i = 0;; i++) {
        if (i == holds->capacity && (holds->error = (int16_t)holds_reserve(holds, i + 1)) != 0)
            return NULL;
        struct hold *hold = hold_at(holds, i);
        if (load_acquire(&hold->active)) /* acquire: with the release of whoever cleared it */
            continue;
        if (i >= holds->high)
            holds->high = i + 1;
        return hold;
    }
}

struct hold *hold_begin(struct holds *holds, const struct holder *holder, uint64_t cell, uint64_t generation,
                        bool is_position) {
    struct hold *hold = find_free(holds);
    if (!hold)
        return NULL;
    hold->holder = holder;
    hold->is_position = is_position;
    hold_start(hold, generation);
    if (!is_position) {
        store_relaxed(&hold->refs, 1);
        store_relaxed(&hold->thread, NULL);
    }
    store_relaxed(&hold->active, 1);
    if (!is_position)
        fetch_add_acq_rel(&holds->other_count, 1);
    store_release(hold->cell, cell);
    POINT(cell_named);
    full_fence(); /* H1 */
    POINT(cell_fenced);
    /* killed here: the cell keeps an extent until this slot is repaired. */
    return hold;
}

/* The hold may be used again afterwards. */
static void clear_cell(struct hold *hold) {
    struct publisher_slot *publisher = hold->holder->publisher;
    POINT(cell_not_cleared);
    /* killed here: the cell keeps its extent until our slot is repaired */
    store_release(hold->cell, 0); /* R4: with the publisher's look at the cells */
    POINT(cell_cleared);
    /* killed here: a publisher that waits for this finds it in its slice */
    space_ring(publisher); /* S1 */
    store_release(&hold->active, 0);
}

void hold_clear(struct hold *hold) {
    struct holds *holds = hold->holder->holds; /* before: who takes it again may be another's */
    clear_cell(hold);
    if (fetch_sub_acq_rel(&holds->other_count, 1) == 1)
        holds->emptied(holds->context);
}

void hold_cancel(struct hold *hold) {
    if (hold->is_position)
        clear_cell(hold); /* for a moment it may have been what the publisher waits for */
    else
        hold_clear(hold);
}

static void nap(void) {
    _Atomic uint32_t word = 0;
    for (int64_t until_ns = os_now_ns() + NAP_NS; os_now_ns() < until_ns;)
        os_futex_wait(&word, 0, NAP_NS);
}

/* No thread counts what it releases by itself any more. Returns what was counted so. */
static int64_t part(struct hold *hold) {
    const void *thread = load_relaxed(&hold->thread);
    store_relaxed(&hold->thread, NULL);
    if (thread && thread != process_this_thread()) {
        hold->holder->holds->partings++;
        if (!os_barrier()) /* T1 */
            nap();         /* a filter that came later: each store before is seen by then */
    }
    POINT(hold_parted);
    int64_t returned;
    while ((returned = load_acquire(&hold->returned)) & 1) /* T2 */
        nap();                                             /* it may have less priority than we */
    return returned >> 1;
}

void hold_leave(struct hold *hold) {
    if (hold_out(hold) == 0) {
        clear_cell(hold);
        return;
    }
    int64_t change = hold->taken - part(hold) - POSITION_BIAS;
    hold->is_position = false;
    fetch_add_acq_rel(&hold->holder->holds->other_count, 1);
    if (fetch_add_acq_rel(&hold->refs, change) + change == 0)
        hold_clear(hold);
}

uint64_t holds_outstanding(struct holds *holds) {
    int64_t outstanding = 0;
    uint32_t high = 0;
    for (uint32_t i = 0; i < holds->high; i++) {
        struct hold *hold = hold_at(holds, i);
        if (!load_acquire(&hold->active))
            continue;
        high = i + 1;
        outstanding += hold->is_position ? hold_out(hold) : load_acquire(&hold->refs);
    }
    holds->high = high;
    return (uint64_t)outstanding;
}

uint64_t holds_oldest(struct holds *holds, const struct holder *holder) {
    uint64_t oldest = GENERATION_GONE;
    for (uint32_t i = 0; i < holds->high; i++) {
        struct hold *hold = hold_at(holds, i);
        /* acquire: if it was just cleared by another thread, its reads are before what we release next. */
        if (load_acquire(&hold->active) && hold->holder == holder && hold->generation < oldest)
            oldest = hold->generation;
    }
    return oldest;
}

void holds_end(struct holds *holds) {
    if (fetch_sub_acq_rel(&holds->other_count, 1) == 1)
        holds->emptied(holds->context);
}
