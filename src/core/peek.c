/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See peek.h. */
#include "core/peek.h"

#include <errno.h>
#include <stdlib.h>

#include "shm/log.h"
#include "shm/source.h"

#define ENTRIES_MAX 65536u /* of a segment's table, looked at; in honest ones those come first that were used first */
#define STEPS_MAX 65536u   /* records in one look */
#define NEWEST 1024u       /* messages looked at, where so many are there */

/* ---- the log's extents ---------------------------------------------------------------------------------------- */

static int by_generation(const void *a, const void *b) {
    uint64_t left = ((const struct peek_extent *)a)->generation, right = ((const struct peek_extent *)b)->generation;
    return left < right ? -1 : left > right;
}

static uint32_t entries_of(const struct remote_segment *segment) {
    return !load_relaxed(&segment->base)         ? 0
           : segment->extent_count < ENTRIES_MAX ? segment->extent_count
                                                 : ENTRIES_MAX;
}

/* The extent, if it is part of the log. */
static bool look_at_extent(struct peek *peek, extent_ref ref, struct peek_extent *ret) {
    struct remote_segment *segment;
    struct extent_entry *entry = remote_entry(&peek->remote, ref, &segment);
    ret->ref = ref;
    ret->generation = load_acquire(&entry->generation); /* L2 */
    ret->first_sequence = load_relaxed(&entry->first_sequence);
    return stamp_of(ret->generation) == peek->remote.incarnation && ret->first_sequence < NO_FIRST_SEQUENCE;
}

static int list_extents(struct peek *peek) {
    uint64_t most = 0;
    for (uint32_t number = 0; number < SEGMENTS_MAX; number++)
        most += entries_of(&peek->remote.segments[number]);
    peek->extents = malloc((most + 1) * sizeof(*peek->extents));
    if (!peek->extents)
        return -ENOMEM;
    for (uint32_t number = 0; number < SEGMENTS_MAX; number++)
        for (uint32_t i = 0, entries = entries_of(&peek->remote.segments[number]); i < entries; i++)
            peek->count += look_at_extent(peek, extent_ref_make(number, i), &peek->extents[peek->count]);
    qsort(peek->extents, peek->count, sizeof(*peek->extents), by_generation);
    return 0;
}

int peek_open(struct peek *ret, struct publisher_slot *publisher, uint32_t slot, uint16_t incarnation) {
    *ret = (struct peek){0};
    int error = remote_open_in_part(&ret->remote, publisher, slot, incarnation);
    if (error)
        return error;
    for (uint32_t number = 0; number < SEGMENTS_MAX; number++)
        ret->mapped_bytes += ret->remote.segments[number].bytes;
    error = list_extents(ret);
    if (error)
        peek_close(ret);
    return error;
}

void peek_close(struct peek *peek) {
    remote_close(&peek->remote);
    free(peek->extents);
    *peek = (struct peek){0};
}

/* ---- records -------------------------------------------------------------------------------------------------- */

/* A way through the log. What an extent adds counts when the extent is found to be what it was. */
struct walk {
    struct peek *peek;
    uint64_t from; /* messages before it are passed; those behind sent, too: the counter does not tell of them yet */
    uint64_t sequence; /* the next message's */
    uint32_t steps;
    struct inspect_traffic traffic;
    uint64_t next_generation; /* 0: the log ends here */
    extent_ref next;
};

static char *extent_base(const struct remote_segment *segment, struct extent_entry *entry, uint64_t *ret_bytes) {
    uint64_t offset = load_relaxed(&entry->offset), bytes = load_relaxed(&entry->bytes);
    if (offset % EXTENT_GRAIN || offset < segment->data_offset || offset > segment->bytes ||
        bytes > segment->bytes - offset || bytes < EXTENT_GRAIN)
        return NULL;
    *ret_bytes = bytes;
    return load_relaxed(&segment->base) + offset;
}

static void count_message(struct walk *walk, uint64_t bytes, int64_t sent_ns) {
    uint64_t sequence = walk->sequence++;
    if (sequence < walk->from || sequence > walk->traffic.sent)
        return;
    walk->traffic.seen++;
    walk->traffic.seen_bytes += bytes;
    walk->traffic.last_seen = sequence == walk->traffic.sent;
    walk->traffic.last_bytes = bytes;
    walk->traffic.last_sent_ns = sent_ns;
}

static void follow_jump(struct walk *walk, char *at) {
    struct record_jump *jump = (struct record_jump *)(void *)(at + RECORD_HEADER_BYTES);
    walk->next = load_relaxed(&jump->extent); /* relaxed: the record's word was acquired, L1 */
    walk->next_generation = load_relaxed(&jump->generation);
}

/* Takes a record that is no jump; returns how long it is, 0 if that cannot be. */
static uint64_t pass_record(struct walk *walk, char *at, uint64_t word, uint64_t space) {
    enum record_kind kind = word >> RECORD_KIND_SHIFT;
    uint64_t bytes = word & RECORD_SIZE_MASK, body = kind == RECORD_DROPPED ? 0 : bytes;
    if (kind == RECORD_REFERENCE)
        body = sizeof(struct record_reference);
    else if (kind != RECORD_DROPPED && word & RECORD_TIMED)
        body += 8;
    uint64_t size = RECORD_HEADER_BYTES + round_up(body, 8) + record_pad_bytes(word);
    if (size > space || kind < RECORD_MESSAGE || kind > RECORD_DROPPED || bytes > walk->peek->mapped_bytes)
        return 0;
    if (kind == RECORD_MESSAGE)
        count_message(walk, bytes, word & RECORD_TIMED ? (int64_t)load_relaxed(word_at(at, RECORD_HEADER_BYTES)) : 0);
    else if (kind == RECORD_REFERENCE)
        count_message(walk, bytes,
                      (int64_t)load_relaxed(&((struct record_reference *)(void *)(at + RECORD_HEADER_BYTES))->sent_ns));
    else if (kind == RECORD_DROPPED)
        walk->sequence += bytes;
    return size;
}

/* False: it makes no sense. */
static bool walk_records(struct walk *walk, char *base, uint64_t bytes) {
    uint64_t limit = bytes - RECORD_JUMP_BYTES;
    for (uint64_t at = 0; at <= limit && walk->steps < STEPS_MAX; walk->steps++) {
        uint64_t word = load_acquire(word_at(base, at)); /* L1 */
        if (word == 0)
            return true;
        if (word >> RECORD_KIND_SHIFT == RECORD_JUMP) {
            follow_jump(walk, base + at);
            return true;
        }
        uint64_t size = pass_record(walk, base + at, word, limit - at);
        if (size == 0)
            return false;
        at += size;
    }
    return walk->steps == STEPS_MAX;
}

/* False: it is not that extent any more, or makes no sense: nothing of it counts. */
static bool walk_extent(struct walk *walk, extent_ref ref, uint64_t generation) {
    struct remote_segment *segment;
    struct extent_entry *entry = remote_entry(&walk->peek->remote, ref, &segment);
    struct walk before = *walk;
    uint64_t bytes;
    walk->next_generation = 0;
    if (entry && load_acquire(&entry->generation) == generation) { /* L2 */
        walk->sequence = load_relaxed(&entry->first_sequence);
        char *base = extent_base(segment, entry, &bytes);
        bool makes_sense = base && walk_records(walk, base, bytes);
        full_fence();
        if (makes_sense && load_relaxed(&entry->generation) == generation)
            return true;
    }
    uint32_t steps = walk->steps;
    *walk = before;
    walk->steps = steps;
    return false;
}

/* Where to start, so that messages from that one on come by. NULL: there is no log. */
static const struct peek_extent *extent_for(const struct peek *peek, uint64_t sequence) {
    const struct peek_extent *start = peek->count ? &peek->extents[0] : NULL;
    for (uint32_t i = peek->count; i > 0; i--)
        if (peek->extents[i - 1].first_sequence <= sequence)
            return &peek->extents[i - 1]; /* of several that start with it the last has the messages */
    return start;
}

void peek_log(struct peek *peek, struct inspect_traffic *ret) {
    struct walk walk = {.peek = peek};
    uint64_t sent = walk.traffic.sent = load_acquire(&remote_header(&peek->remote)->sent) & COUNT_MASK;
    walk.from = sent >= NEWEST ? sent + 1 - NEWEST : 1;
    const struct peek_extent *start = extent_for(peek, walk.from);
    extent_ref ref = start ? start->ref : EXTENT_NONE;
    uint64_t generation = start ? start->generation : 0;
    for (; generation && walk.sequence <= sent && walk.steps < STEPS_MAX; walk.steps++) {
        if (!walk_extent(&walk, ref, generation))
            break;
        bool onwards = walk.next_generation > generation;
        generation = onwards ? walk.next_generation : 0;
        ref = walk.next;
    }
    *ret = walk.traffic;
}

bool peek_behind(const struct peek *peek, uint64_t generation, uint64_t sent, uint64_t *ret_least, uint64_t *ret_most) {
    struct peek_extent key = {.generation = generation};
    const struct peek_extent *found =
        peek->count ? bsearch(&key, peek->extents, peek->count, sizeof(key), by_generation) : NULL;
    if (!found)
        return false;
    uint64_t first = found->first_sequence, end = sent + 1;
    if (found + 1 < peek->extents + peek->count)
        end = found[1].first_sequence;
    *ret_most = sent >= first ? sent + 1 - first : 0;
    *ret_least = sent >= end ? sent + 1 - end : 0;
    return true;
}

/* ---- places --------------------------------------------------------------------------------------------------- */

bool peek_place(struct peek *peek, uint64_t place, uint64_t *ret_bytes, uint64_t *ret_number) {
    struct source source = {.remote = &peek->remote};
    struct view view;
    if (source_view(&source, place, &view) != VIEW_SEEN)
        return false;
    *ret_bytes = view.bytes;
    *ret_number = view.number;
    return true;
}
