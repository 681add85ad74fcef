/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See queue.h. */
#include "shm/queue.h"

#include <errno.h>
#include <stdlib.h>

#include "base/os.h"
#include "base/points.h"

/* ---- cells ---------------------------------------------------------------------------------------------------- */

static bool is_capacity(uint32_t capacity) {
    return capacity && capacity <= QUEUE_CAPACITY_MAX && (capacity & (capacity - 1)) == 0;
}

static uint32_t blocks_for(uint32_t capacity) {
    return (capacity + QUEUE_CELLS_PER_BLOCK - 1) / QUEUE_CELLS_PER_BLOCK;
}

static void set_capacity(struct queue_ring *ring, uint32_t capacity) {
    ring->capacity = capacity;
    ring->shift = (uint32_t)__builtin_ctz(capacity);
}

int queue_make(struct queue_ring *ret, struct roster *roster, struct publisher_slot *slot, uint32_t capacity,
               const struct roster_taker *taker) {
    _Atomic uint32_t link = 0;
    int64_t block = roster_link_block(roster, &link, BLOCK_CELLS, 0, taker);
    struct queue_list *list = block < 0 ? NULL : roster_block(roster, (uint32_t)block);
    if (!list)
        return block < 0 ? (int)block : -EINVAL;
    for (uint32_t i = 0; i < blocks_for(capacity); i++) {
        int64_t cells = roster_link_block(roster, &list->blocks[i], BLOCK_CELLS, 0, taker);
        ret->blocks[i] = cells < 0 ? NULL : roster_block(roster, (uint32_t)cells);
        if (!ret->blocks[i])
            return cells < 0 ? (int)cells : -EINVAL;
    }
    set_capacity(ret, capacity);
    store_relaxed(&slot->queue.capacity, capacity);
    /* killed here, or above: the blocks are over with our incarnation */
    store_release(&slot->queue.list, (uint32_t)block); /* who follows it sees capacity, limits and the links */
    return 0;
}

bool queue_find(struct queue_ring *ret, struct roster *roster, struct publisher_slot *slot) {
    struct queue_list *list = roster_block(roster, load_acquire(&slot->queue.list));
    uint32_t capacity = load_relaxed(&slot->queue.capacity);
    if (!list || !is_capacity(capacity))
        return false;
    for (uint32_t i = 0; i < blocks_for(capacity); i++)
        if (!(ret->blocks[i] = roster_block(roster, load_acquire(&list->blocks[i]))))
            return false;
    set_capacity(ret, capacity);
    return true;
}

bool queue_is_unreachable(struct roster *roster, struct publisher_slot *slot) {
    uint32_t link = load_acquire(&slot->queue.list), capacity = load_relaxed(&slot->queue.capacity);
    struct queue_list *list = roster_block(roster, link);
    if (!list)
        return roster_is_unreachable(roster, link);
    for (uint32_t i = 0; is_capacity(capacity) && i < blocks_for(capacity); i++)
        if (roster_is_unreachable(roster, load_acquire(&list->blocks[i])))
            return true;
    return false;
}

void queue_put(const struct queue_ring *ring, uint64_t number, uint64_t place) {
    struct queue_cell *cell = queue_cell_of(ring, number);
    store_relaxed(&cell->place, place);
    POINT(cell_not_written);
    /* killed here, or before: the message does not exist */
    store_release(&cell->state, queue_state_word(queue_round(ring, number), 0, QUEUE_FREE, 0)); /* Q1 */
    POINT(cell_written);
    /* killed here: it is there, and who sleeps finds it in his slice */
}

bool queue_is_over(const struct queue_ring *ring, uint64_t number, bool *ret_rejected) {
    /* acquire, Q3: what its worker did before it acknowledged is over */
    uint64_t word = load_acquire(&queue_cell_of(ring, number)->state);
    enum queue_state state = queue_state_of(word);
    *ret_rejected = state == QUEUE_REJECTED;
    return queue_round_of(word) == queue_round(ring, number) && (state == QUEUE_DONE || state == QUEUE_REJECTED);
}

void queue_count_requeue(struct publisher_slot *publisher) {
    POINT(job_not_counted);
    /* killed here: the worker's end is a change, after which all start again */
    atomic_fetch_add_explicit(&publisher->queue.requeues, 1, memory_order_acq_rel); /* Q2 */
}

/* ---- a worker's way ------------------------------------------------------------------------------------------- */

int queue_scan_open(struct queue_scan *scan, struct roster *roster, struct publisher_slot *publisher, uint64_t owner) {
    *scan = (struct queue_scan){.publisher = publisher, .owner = owner};
    if (!queue_find(&scan->ring, roster, publisher))
        return -EINVAL;
    uint64_t limit = load_relaxed(&publisher->queue.claim_limit_ns);
    scan->claim_limit_ns = limit < INT64_MAX ? (int64_t)limit : 0;
    scan->attempts_max = load_relaxed(&publisher->queue.attempts_max);
    if (scan->claim_limit_ns && !(scan->notes = calloc(scan->ring.capacity, sizeof(*scan->notes))))
        return -ENOMEM;
    queue_scan_again(scan);
    return 0;
}

void queue_scan_close(struct queue_scan *scan) {
    free(scan->notes);
    scan->notes = NULL;
}

void queue_scan_again(struct queue_scan *scan) {
    /* acquire, Q2: before first and the cells, so what becomes free later is told by a later count */
    scan->requeues = load_acquire(&scan->publisher->queue.requeues);
    scan->position = load_acquire(&scan->publisher->queue.first);
    scan->awaits_others = false;
}

static bool incarnation_is_over(struct roster *roster, uint64_t state) {
    uint32_t slot = (uint32_t)(state >> 16 & 0x1fff);
    struct subscriber_slot *subscriber = roster_subscriber(roster, slot);
    if (!subscriber) /* nothing may be concluded where it just cannot be attached; else somebody wrote nonsense */
        return !roster_is_unreachable(roster,
                                      load_acquire(&roster->header->subscriber_blocks[slot / SUBSCRIBERS_PER_BLOCK]));
    return incarnation_of(&subscriber->incarnation) != (uint16_t)state;
}

/* Whether a claim of somebody who lives has been there, as far as we know, for longer than the producer allows. */
static bool is_overdue(struct queue_scan *scan, uint64_t state) {
    if (!scan->notes || (state & QUEUE_OWNER_MASK) == scan->owner)
        return false;
    struct queue_note *note = &scan->notes[scan->position & (scan->ring.capacity - 1)];
    int64_t now = os_now_ns();
    if (note->word != state) {
        *note = (struct queue_note){state, now};
        return false;
    }
    return now - note->since_ns >= scan->claim_limit_ns;
}

static bool can_be_claimed(struct queue_scan *scan, struct roster *roster, uint64_t state) {
    switch (queue_state_of(state)) {
    case QUEUE_FREE:
        return true;
    case QUEUE_OWNED:
        return incarnation_is_over(roster, state) || is_overdue(scan, state);
    case QUEUE_DONE:
    case QUEUE_REJECTED:
        break;
    }
    return false;
}

static void describe(const struct queue_scan *scan, struct queue_cell *cell, uint64_t state, struct queue_found *ret) {
    uint32_t attempts = queue_attempts_of(state);
    *ret = (struct queue_found){.cell = cell, .number = scan->position, .state = state};
    ret->place = load_relaxed(&cell->place); /* Q1: written before state, and looked at again once it is claimed */
    ret->is_exhausted = scan->attempts_max && attempts >= scan->attempts_max;
    ret->claimed = queue_state_word(queue_round_of(state), attempts < QUEUE_ATTEMPTS_MAX ? attempts + 1 : attempts,
                                    QUEUE_OWNED, scan->owner);
}

/* The position's cell belongs to a later message by now: goes on at the first that is not over. */
static void catch_up(struct queue_scan *scan) {
    uint64_t first = load_acquire(&scan->publisher->queue.first); /* told before the cell was used again */
    scan->position = (int64_t)(first - scan->position) > 0 ? first : scan->position + 1;
}

bool queue_scan_look(struct queue_scan *scan, struct roster *roster, struct queue_found *ret) {
    if (load_acquire(&scan->publisher->queue.requeues) != scan->requeues)
        queue_scan_again(scan);
    if (scan->notes) {
        int64_t now = os_now_ns();
        if (now >= scan->again_ns) {
            queue_scan_again(scan);
            scan->again_ns = now + scan->claim_limit_ns / 4;
        }
    }
    for (uint64_t steps = 0; steps <= scan->ring.capacity; steps++) { /* more only if the producer writes nonsense */
        struct queue_cell *cell = queue_cell_of(&scan->ring, scan->position);
        uint64_t state = load_acquire(&cell->state); /* Q1 */
        uint64_t ahead = (queue_round_of(state) - queue_round(&scan->ring, scan->position)) & QUEUE_ROUND_MASK;
        if (ahead > QUEUE_ROUND_MASK / 2)
            return false; /* not written yet */
        if (ahead) {
            catch_up(scan);
        } else if (can_be_claimed(scan, roster, state)) {
            describe(scan, cell, state, ret);
            return true;
        } else {
            scan->awaits_others |= queue_state_of(state) == QUEUE_OWNED && (state & QUEUE_OWNER_MASK) != scan->owner;
            queue_scan_pass(scan);
        }
    }
    return false;
}
