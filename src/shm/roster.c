/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See roster.h. */
#include "shm/roster.h"

#include <errno.h>
#include <string.h>

#include "base/os.h"
#include "base/points.h"

/* ---- segments of the chain ------------------------------------------------------------------------------------ */

static uint32_t segment_blocks(uint32_t number) {
    return ROSTER_FIRST_BLOCKS << number;
}

static uint32_t segment_first_block(uint32_t number) {
    return ROSTER_FIRST_BLOCKS * ((1u << number) - 1);
}

uint32_t roster_segment_of(uint32_t block) {
    return 31u - (uint32_t)__builtin_clz(block / ROSTER_FIRST_BLOCKS + 1);
}

/* Follows from the first's, so that one word, the id, publishes a further segment. */
static uint64_t chain_nonce(uint64_t first, uint32_t number) {
    return number == 0 ? first : (first ^ number) * UINT64_C(0x9e3779b97f4a7c15) | 1;
}

static uint32_t usable_from(uint32_t number) {
    if (number == 0)
        return (ROSTER_HEADER_OFFSET + sizeof(struct roster_header) + BLOCK_BYTES - 1) / BLOCK_BYTES;
    return (uint32_t)((sizeof(struct roster_segment) + segment_blocks(number) * 8ull + BLOCK_BYTES - 1) / BLOCK_BYTES);
}

static _Atomic uint64_t *owner_words(char *base) {
    return (_Atomic uint64_t *)(void *)(base + sizeof(struct roster_segment));
}

static int create_segment(void **ret_base, int32_t *ret_id, uint32_t number, uint64_t first_nonce,
                          _Atomic uint32_t *key_note, const struct segment_access *access) {
    uint64_t bytes = (uint64_t)segment_blocks(number) * BLOCK_BYTES;
    void *base;
    int error = segment_create(&base, ret_id, bytes, key_note, access, true);
    if (error)
        return error;
    struct roster_segment *segment = base;
    segment->layout_major = TARN_LAYOUT_MAJOR;
    segment->layout_minor = TARN_LAYOUT_MINOR;
    segment->nonce = chain_nonce(first_nonce, number);
    segment->number = number;
    segment->blocks = segment_blocks(number);
    segment->first_block = segment_first_block(number);
    segment->usable_from = usable_from(number);
    store_release(&segment->magic, ROSTER_MAGIC); /* whoever finds it sees the rest */
    *ret_base = base;
    return 0;
}

static int attach_segment(void **ret_base, int32_t id, uint32_t number, uint64_t first_nonce, bool writable) {
    void *base;
    int error = segment_attach(&base, id, (uint64_t)segment_blocks(number) * BLOCK_BYTES, writable);
    if (error)
        return error;
    struct roster_segment *segment = base;
    if (load_acquire(&segment->magic) != ROSTER_MAGIC || segment->nonce != chain_nonce(first_nonce, number) ||
        segment->number != number)
        error = -EINVAL;
    else if (!layout_is_ours(segment->layout_major, segment->layout_minor))
        error = -EPROTO;
    if (error)
        segment_detach(base);
    else
        *ret_base = base;
    return error;
}

/* Attached base of segment number; NULL with ret_error: -ENOENT: never made, -EINVAL: gone, else why not. */
static char *segment_base_or(struct roster *roster, uint32_t number, int *ret_error) {
    *ret_error = -ENOENT;
    if (number >= ROSTER_SEGMENTS_MAX)
        return NULL;
    char *base = load_acquire(&roster->base[number]);
    uint32_t word = base || number == 0 ? 0 : load_acquire(&roster->header->chain[number]);
    if (base || word == 0)
        return base;
    void *attached;
    *ret_error = word == ROSTER_SEGMENT_GONE
                     ? -EINVAL
                     : attach_segment(&attached, (int32_t)(word - 1), number, roster->nonce, roster->writable);
    if (*ret_error)
        return NULL;
    char *expected = NULL; /* another thread may have attached it meanwhile */
    if (compare_and_swap(&roster->base[number], &expected, (char *)attached))
        return attached;
    segment_detach(attached);
    return expected;
}

static char *segment_base(struct roster *roster, uint32_t number) {
    int error;
    return segment_base_or(roster, number, &error);
}

bool roster_is_at_home(const struct roster *roster) {
    void *first;
    if (attach_segment(&first, roster->id, 0, roster->nonce, false) != 0)
        return false;
    segment_detach(first);
    return true;
}

/*
 * A segment of the chain that all have left who had attached it has gone. Nobody alive uses a block of it, but links
 * into it may stand in blocks that live: so its number is given up for good, and such links are replaced.
 */
static bool segment_is_gone(struct roster *roster, uint32_t number) {
    int error;
    if (number >= ROSTER_SEGMENTS_MAX)
        return true; /* a damaged link */
    uint32_t word = number == 0 ? 0 : load_acquire(&roster->header->chain[number]);
    if (word == 0 || segment_base_or(roster, number, &error) || error != -EINVAL)
        return false;
    if (word == ROSTER_SEGMENT_GONE)
        return true;
    if (!roster_is_at_home(roster))
        return false;
    return !roster->writable || compare_and_swap(&roster->header->chain[number], &word, ROSTER_SEGMENT_GONE) ||
           word == ROSTER_SEGMENT_GONE; /* another was first */
}

/* Makes segment number exist, unless it has gone. Returns 0 or a negative errno. */
static int grow(struct roster *roster, uint32_t number, _Atomic uint32_t *key_note) {
    uint32_t none = 0;
    int error;
    if (segment_base_or(roster, number, &error) || segment_is_gone(roster, number))
        return 0;
    if (error != -ENOENT)
        return error;
    void *base;
    int32_t id;
    error = create_segment(&base, &id, number, roster->nonce, key_note, &roster->access);
    if (error)
        return error;
    POINT(chain_not_published);
    /* killed here: the segment goes with us. killed after: see segment_is_gone(). */
    if (compare_and_swap(&roster->header->chain[number], &none, (uint32_t)id + 1)) {
        POINT(chain_published);
        store_release(&roster->base[number], (char *)base);
    } else
        segment_detach(base);
    return 0;
}

int roster_create(struct roster *ret, struct segment_name *ret_name, const struct segment_access *access) {
    uint64_t nonce = os_random();
    void *base;
    int32_t id;
    int error = create_segment(&base, &id, 0, nonce, NULL, access);
    if (error)
        return error;
    memset(ret, 0, sizeof(*ret));
    ret->base[0] = base;
    ret->header = (struct roster_header *)(void *)((char *)base + ROSTER_HEADER_OFFSET);
    ret->id = id;
    ret->nonce = nonce;
    ret->access = *access;
    ret->writable = true;
    *ret_name = (struct segment_name){BACKEND_SYSV, id, (uint64_t)segment_blocks(0) * BLOCK_BYTES, nonce};
    return 0;
}

int roster_attach(struct roster *ret, const struct segment_name *name, const struct segment_access *access,
                  bool writable) {
    if (name->backend != BACKEND_SYSV)
        return -EPROTO;
    void *base;
    int error = attach_segment(&base, name->id, 0, name->nonce, writable);
    if (error)
        return error;
    memset(ret, 0, sizeof(*ret));
    ret->base[0] = base;
    ret->header = (struct roster_header *)(void *)((char *)base + ROSTER_HEADER_OFFSET);
    ret->id = name->id;
    ret->nonce = name->nonce;
    ret->access = *access;
    ret->writable = writable;
    return 0;
}

void roster_detach(struct roster *roster) {
    for (uint32_t i = 0; i < ROSTER_SEGMENTS_MAX; i++)
        segment_detach(load_relaxed(&roster->base[i]));
    memset(roster, 0, sizeof(*roster));
}

/* ---- blocks --------------------------------------------------------------------------------------------------- */

void *roster_block(struct roster *roster, uint32_t block) {
    if (block == 0 || block / ROSTER_FIRST_BLOCKS + 1 >= 1u << ROSTER_SEGMENTS_MAX)
        return NULL;
    uint32_t number = roster_segment_of(block);
    uint32_t index = block - segment_first_block(number);
    char *base = index < usable_from(number) ? NULL : segment_base(roster, number);
    return base ? base + (uint64_t)index * BLOCK_BYTES : NULL;
}

/*
 * Owner words: bits 0..27 place, 28 the taker is a publisher, 29..41 its slot, 42..57 its incarnation, 60..62 use.
 */
static uint64_t owner_word(enum block_use use, uint64_t place, const struct roster_taker *taker) {
    return (uint64_t)use << 60 | (uint64_t)taker->incarnation << 42 | (uint64_t)(taker->slot & 0x1fff) << 29 |
           (uint64_t)taker->publisher << 28 | place;
}

static enum block_use use_of(uint64_t owner) {
    return owner >> 60;
}

static uint64_t place_of(uint64_t owner) {
    return owner & ((1u << 28) - 1);
}

static bool taker_is_over(struct roster *roster, uint64_t owner) {
    uint32_t slot = owner >> 29 & 0x1fff;
    uint16_t incarnation = (uint16_t)(owner >> 42);
    struct publisher_slot *publisher = owner >> 28 & 1 ? roster_publisher(roster, slot) : NULL;
    struct subscriber_slot *subscriber = owner >> 28 & 1 ? NULL : roster_subscriber(roster, slot);
    return (publisher && incarnation_of(&publisher->incarnation) != incarnation) ||
           (subscriber && incarnation_of(&subscriber->incarnation) != incarnation);
}

/* Whether the block is free, or what its owner word says can no longer come true. */
static bool block_is_over(struct roster *roster, uint64_t owner, uint32_t block) {
    uint64_t place = place_of(owner);
    switch (use_of(owner)) {
    case BLOCK_FREE:
        return true;
    case BLOCK_CELLS:
        return taker_is_over(roster, owner);
    case BLOCK_TYPE:
        return taker_is_over(roster, owner) && load_acquire(&roster->header->type_block) != place &&
               load_acquire(&roster->header->pattern_block) != place; /* of a service: its responses' type */
    case BLOCK_ROW: {
        struct publisher_slot *publisher = roster_publisher(roster, (uint32_t)(place >> 8));
        return publisher && taker_is_over(roster, owner) && load_acquire(&publisher->rows[place % ROWS_MAX]) != block;
    }
    case BLOCK_SUBSCRIBERS: /* whose takers cannot be asked */
    case BLOCK_PUBLISHERS:
    case BLOCK_PATTERN: /* all participants use it */
        break;
    }
    return false;
}

/* Takes count consecutive blocks of one segment. Returns the first's number, 0 if there are none. */
static uint32_t take_in_segment(struct roster *roster, uint32_t number, uint32_t count, uint64_t owner) {
    char *base = segment_base(roster, number);
    if (!base)
        return 0;
    _Atomic uint64_t *owners = owner_words(base);
    uint32_t run = 0;
    for (uint32_t i = usable_from(number); i < segment_blocks(number); i++) {
        uint32_t block = segment_first_block(number) + i;
        uint64_t seen = load_acquire(&owners[i]);
        uint64_t mine = use_of(owner) == BLOCK_TYPE ? owner + block - run : owner;
        if (!block_is_over(roster, seen, block) || !compare_and_swap(&owners[i], &seen, mine)) {
            for (; run > 0; run--)
                store_release(&owners[i - run], 0);
            continue;
        }
        POINT(block_taken);
        /* killed here, and until it is linked: over with our slot. Stopped here: nobody else takes it. */
        if (++run == count) {
            memset(base + (uint64_t)(i - run + 1) * BLOCK_BYTES, 0, (size_t)count * BLOCK_BYTES);
            return block - run + 1;
        }
    }
    for (; run > 0; run--)
        store_release(&owners[segment_blocks(number) - run], 0);
    return 0;
}

static int64_t take_blocks(struct roster *roster, uint32_t count, enum block_use use, uint64_t place,
                           const struct roster_taker *taker) {
    for (uint32_t number = 0; number < ROSTER_SEGMENTS_MAX; number++) {
        int error = number == 0 ? 0 : grow(roster, number, taker->key_note);
        if (error)
            return error;
        uint32_t block = take_in_segment(roster, number, count, owner_word(use, place, taker));
        if (block)
            return block;
    }
    return -EOVERFLOW;
}

static void give_back(struct roster *roster, uint32_t block) {
    uint32_t number = roster_segment_of(block);
    store_release(&owner_words(segment_base(roster, number))[block - segment_first_block(number)], 0);
}

bool roster_is_unreachable(struct roster *roster, uint32_t link) {
    return link && !roster_block(roster, link) && !segment_is_gone(roster, roster_segment_of(link));
}

int64_t roster_link_block(struct roster *roster, _Atomic uint32_t *link, enum block_use use, uint64_t place,
                          const struct roster_taker *taker) {
    uint32_t linked = load_acquire(link);
    if (linked && (roster_block(roster, linked) || !segment_is_gone(roster, roster_segment_of(linked))))
        return linked;
    int64_t block = take_blocks(roster, 1, use, place, taker);
    if (block < 0)
        return block;
    POINT(block_cleared);
    /* release (in the swap): whoever follows the link sees the block cleared. */
    if (compare_and_swap(link, &linked, (uint32_t)block)) {
        POINT(block_linked);
        return block;
    }
    give_back(roster, (uint32_t)block);
    return linked;
}

int64_t roster_take_run(struct roster *roster, uint32_t count, const struct roster_taker *taker) {
    return take_blocks(roster, count, BLOCK_TYPE, 0, taker);
}

/* ---- slots and rows ------------------------------------------------------------------------------------------- */

struct publisher_slot *roster_publisher(struct roster *roster, uint32_t slot) {
    if (slot >= PUBLISHERS_MAX)
        return NULL;
    char *block = roster_block(roster, load_acquire(&roster->header->publisher_blocks[slot / PUBLISHERS_PER_BLOCK]));
    return block ? (void *)(block + slot % PUBLISHERS_PER_BLOCK * (BLOCK_BYTES / PUBLISHERS_PER_BLOCK)) : NULL;
}

struct subscriber_slot *roster_subscriber(struct roster *roster, uint32_t slot) {
    if (slot >= SUBSCRIBERS_MAX)
        return NULL;
    char *block = roster_block(roster, load_acquire(&roster->header->subscriber_blocks[slot / SUBSCRIBERS_PER_BLOCK]));
    return block ? (void *)(block + slot % SUBSCRIBERS_PER_BLOCK * (BLOCK_BYTES / SUBSCRIBERS_PER_BLOCK)) : NULL;
}

/* -EINVAL is not passed on, as it means to callers that a publisher has gone. */
static int make_block(void **ret, struct roster *roster, _Atomic uint32_t *link, enum block_use use, uint64_t place,
                      const struct roster_taker *taker) {
    int64_t block = roster_link_block(roster, link, use, place, taker);
    *ret = block < 0 ? NULL : roster_block(roster, (uint32_t)block);
    return *ret ? 0 : block < 0 && block != -EINVAL ? (int)block : -ENOMEM;
}

static const struct roster_taker nobody;

int roster_make_publisher(struct roster *roster, uint32_t slot) {
    void *made;
    uint32_t index = slot / PUBLISHERS_PER_BLOCK;
    if (slot >= PUBLISHERS_MAX)
        return -EOVERFLOW;
    return make_block(&made, roster, &roster->header->publisher_blocks[index], BLOCK_PUBLISHERS, index, &nobody);
}

int roster_make_subscriber(struct roster *roster, uint32_t slot) {
    void *made;
    uint32_t index = slot / SUBSCRIBERS_PER_BLOCK;
    if (slot >= SUBSCRIBERS_MAX)
        return -EOVERFLOW;
    return make_block(&made, roster, &roster->header->subscriber_blocks[index], BLOCK_SUBSCRIBERS, index, &nobody);
}

struct reader_row *roster_row(struct roster *roster, struct publisher_slot *publisher, uint32_t subscriber_slot) {
    if (subscriber_slot >= SUBSCRIBERS_MAX)
        return NULL;
    return roster_block(roster, load_acquire(&publisher->rows[subscriber_slot / ROW_SUBSCRIBERS]));
}

int roster_make_row(struct reader_row **ret, struct roster *roster, struct publisher_slot *publisher,
                    uint32_t publisher_slot, const struct roster_taker *subscriber) {
    void *made;
    uint32_t row = subscriber->slot / ROW_SUBSCRIBERS;
    if (subscriber->slot >= SUBSCRIBERS_MAX)
        return -EOVERFLOW;
    int error =
        make_block(&made, roster, &publisher->rows[row], BLOCK_ROW, (uint64_t)publisher_slot << 8 | row, subscriber);
    *ret = made;
    return error;
}

uint32_t roster_attached_blocks(const struct roster *roster) {
    uint32_t blocks = 0;
    for (uint32_t number = 0; number < ROSTER_SEGMENTS_MAX; number++)
        blocks += load_acquire(&roster->base[number]) ? segment_blocks(number) : 0;
    return blocks;
}

uint32_t roster_attach_from(struct roster *roster, uint32_t number) {
    while (number < ROSTER_SEGMENTS_MAX && (segment_base(roster, number) || segment_is_gone(roster, number)))
        number++;
    return number;
}

static uint32_t bounded(uint32_t value, uint32_t limit) {
    return value < limit ? value : limit;
}

uint32_t roster_publisher_slots(const struct roster *roster) {
    return bounded(load_acquire(&roster->header->publisher_slots), PUBLISHERS_MAX);
}

uint32_t roster_subscriber_slots(const struct roster *roster) {
    return bounded(load_acquire(&roster->header->subscriber_slots), SUBSCRIBERS_MAX);
}
