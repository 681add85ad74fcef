/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A work queue: each message of a producer goes to one worker, who acknowledges it, gives it back, or rejects it.
 *
 * A producer has a ring of cells in the roster, one per message that is not over: message n is in cell n mod capacity.
 * What became of it is one word, so that a claim and whose it is appear at once, and nobody's death leaves one without
 * the other. The message itself lies at a place in the producer's arena (arena.h).
 *
 *                         claim                         acknowledge
 *   written --> FREE ----------------> OWNED by worker -------------> DONE ------+
 *                ^                        |   |  ^                                +--> cell of message n + capacity
 *                +------- give back ------+   |  | its incarnation is over,       |
 *                                    reject --|--+ or its time: another claims    |
 *                                             +----------------------> REJECTED --+
 *
 *   producer                                  worker
 *   write the message                         load state (acquire, Q1): of the round expected, and FREE, or OWNED by
 *   place = where it is                         an incarnation that is over
 *   state = round, FREE (release, Q1)         load place; name its extent in a cell of the worker's; full fence (P1)
 *   ring the bell (B1)                        compare-and-swap state to OWNED, attempts + 1
 *   ...                                         failed: somebody else has it, or it is over: let go of the hold
 *   state is DONE (acquire, Q3): unpin          done: it is ours; nobody writes there while the hold lasts
 *                                             ... compare-and-swap to DONE (release, Q3), FREE or REJECTED
 *
 * The hold comes first, since a claim alone does not keep the memory: another may take it over when the time for it has
 * run out, and acknowledge it, while its first worker still reads. If the swap succeeds, the message was not over then,
 * so the producer unpins it later, and sees the hold (P1).
 *
 * Rounds. The word has 25 bits of n / capacity + 1. A worker that is stopped between its load and its swap, while the
 * producer goes through 2^25 rounds of the ring, may claim a later message than it looked at. So it looks at the place
 * again when the cell is its own, and at the number beside the message: if either is another, the message is given
 * back. A stale acknowledgement finds its own claim only if its worker claimed that cell again in the meantime, 2^25
 * rounds later, with the same attempts.
 *
 * Followers. Cells are over with their producer's incarnation, and may be another producer's next, whose words look the
 * same. So who has claimed looks whether that incarnation is still on: if so, the cell was its producer's. If not, he
 * who follows there is given back what was his (the swap acquires what he wrote, and he saw the incarnation end).
 *
 * Order. A worker goes through a producer's ring by a position of its own, so it sees its messages in order. Cells that
 * become free behind it are told by two counters, and when one has moved since it looked last, it starts again at the
 * first that is not over: requeues, raised after a cell was made FREE (release, Q2), and the roster's changes, raised
 * when an incarnation ended (R1). Who dies between the two leaves a change; who repairs it and dies in between,
 * nothing: so a worker that waits also starts again with each look at its peers.
 *
 * models/queue.pml checks this, and shows a message lost, or done twice, when claim and note are apart, and a read
 * of memory that is used again when the claim comes before the hold.
 */
#ifndef TARN_SHM_QUEUE_H
#define TARN_SHM_QUEUE_H

#include "shm/roster.h"

/* A producer's cells as mapped here. */
struct queue_ring {
    struct queue_cell *blocks[QUEUE_BLOCKS_MAX];
    uint64_t capacity;
    uint32_t shift; /* its logarithm */
};

static inline struct queue_cell *queue_cell_of(const struct queue_ring *ring, uint64_t number) {
    uint64_t index = number & (ring->capacity - 1);
    return &ring->blocks[index / QUEUE_CELLS_PER_BLOCK][index % QUEUE_CELLS_PER_BLOCK];
}

static inline uint64_t queue_round(const struct queue_ring *ring, uint64_t number) {
    return ((number >> ring->shift) + 1) & QUEUE_ROUND_MASK;
}

/* The producer makes its cells. capacity: a power of two up to QUEUE_CAPACITY_MAX. 0 or a negative errno. */
int queue_make(struct queue_ring *ret, struct roster *roster, struct publisher_slot *slot, uint32_t capacity,
               const struct roster_taker *taker);

/* A worker finds them. False: there are none (yet), or what is said there cannot be. */
bool queue_find(struct queue_ring *ret, struct roster *roster, struct publisher_slot *slot);

/* Where queue_find() said no: whether that is only because some of it cannot be attached now. */
bool queue_is_unreachable(struct roster *roster, struct publisher_slot *slot);

/* The producer hands over message number, whose memory is written. */
void queue_put(const struct queue_ring *ring, uint64_t number, uint64_t place);

/* Whether a message is over; by the producer. ret_rejected: and how. */
bool queue_is_over(const struct queue_ring *ring, uint64_t number, bool *ret_rejected);

/* Whose claims a worker meets. */
struct queue_note {
    uint64_t word;
    int64_t since_ns; /* since when we have known it */
};

/* A worker's way through one producer's ring. */
struct queue_scan {
    struct queue_ring ring;
    struct publisher_slot *publisher;
    uint64_t position;
    uint64_t owner;    /* queue_owner() of the worker */
    uint32_t requeues; /* when it started at first */
    uint32_t attempts_max;
    bool awaits_others; /* since it started at first, it met claims of others who may die with them */
    int64_t claim_limit_ns;
    int64_t again_ns;         /* with a limit: when it starts at first again */
    struct queue_note *notes; /* with a limit: one per cell */
};

/* Begins at the first message that is not over. 0, -ENOMEM, or -EINVAL: there is no queue (yet). */
int queue_scan_open(struct queue_scan *scan, struct roster *roster, struct publisher_slot *publisher, uint64_t owner);
void queue_scan_close(struct queue_scan *scan);

/* Something may have become free behind its position. */
void queue_scan_again(struct queue_scan *scan);

struct queue_found {
    struct queue_cell *cell;
    uint64_t number, state, place;
    uint64_t claimed;  /* what state is to be swapped to */
    bool is_exhausted; /* it was delivered as often as allowed: who claims it rejects it */
};

/* The next message that can be claimed, which the position then stands at. */
bool queue_scan_look(struct queue_scan *scan, struct roster *roster, struct queue_found *ret);

static inline void queue_scan_pass(struct queue_scan *scan) {
    scan->position++;
}

/* How a worker's claim ends: the word that is to replace it. */
static inline uint64_t queue_ended(uint64_t claimed, enum queue_state state) {
    return queue_state_word(queue_round_of(claimed), queue_attempts_of(claimed), state, 0);
}

/* After a cell was made FREE again. The caller rings the bell. */
void queue_count_requeue(struct publisher_slot *publisher);

#endif
