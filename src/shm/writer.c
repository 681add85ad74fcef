/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See writer.h and log.h. */
#include "shm/writer.h"

#include <errno.h>

/* Whether such a record, and behind it a jump, fits at a place of the extent. */
static bool fits(const struct writer *writer, const struct extent *extent, const char *at, uint64_t record_bytes) {
    return next_place(writer, at + record_bytes, record_bytes) + RECORD_JUMP_BYTES <= extent->base + extent->bytes;
}

/* Says up to where the easy ways may go: a little less than what fits() allows. */
static void open_easy_ways(struct writer *writer) {
    struct extent *head = writer->head;
    char *end = head->base + head->bytes - RECORD_JUMP_BYTES - (writer->line_grain - 1);
    bool easy = writer->header_bytes == RECORD_HEADER_BYTES && !writer->dropped;
    writer->easy_end = easy ? end : NULL;
    writer->packed_end =
        easy && head->bytes == EXTENT_BYTES_MIN && writer->alignment == 8 ? end - PACKED_RECORD_BYTES : NULL;
    writer->easy_least = head->least_bytes;
}

_Thread_local const char *next_write; /* see log.h */

/* A new extent's size for such a record: behind the hole that aligns it, and with what fits() asks for. */
static uint64_t extent_bytes_for(struct writer *writer, uint64_t record_bytes) {
    /* aligning costs up to one step each for the first hole, a report of drops, and the place behind the record */
    uint64_t slack = writer->alignment > 8 ? 3 * (writer->alignment + CACHE_LINE_BYTES) : 2 * CACHE_LINE_BYTES;
    uint64_t stride = round_up(record_bytes, writer->line_grain);
    uint64_t others = extents_records_at_once(&writer->extents, record_bytes) - 1;
    return extents_size_for(&writer->extents,
                            record_bytes + others * stride + slack + 2 * RECORD_REFERENCE_BYTES + RECORD_JUMP_BYTES);
}

/* An extent with room for large messages would be pinned, and all of it be written, by small ones. */
static uint64_t least_bytes_for(const struct writer *writer, const struct extent *extent, uint64_t record_bytes) {
    if (extent->bytes <= EXTENT_BYTES_MIN)
        return 0;
    return writer->extents.records_at_once > 1 ? record_bytes / 2 : extent->bytes / 8;
}

static bool is_wasteful(const struct writer *writer, uint64_t record_bytes) {
    const struct extent *head = writer->head;
    bool is_empty = writer->sequence == head->first_sequence && !head->pins;
    return record_bytes < head->least_bytes &&
           (is_empty || (uint64_t)(head->base + head->bytes - writer->at) > head->least_bytes);
}

/* The first record of an extent starts at offset 0, or, for aligned payloads, behind a hole. */
static inline void begin_extent(const struct writer *writer, struct extent *extent) {
    if (writer->alignment <= 8)
        return;
    char *start = next_place(writer, extent->base + RECORD_HEADER_BYTES, 0);
    store_relaxed(word_at(start, 0), 0);
    uint64_t pad = (uint64_t)(start - extent->base - RECORD_HEADER_BYTES) / 8;
    /* release, L1: a joiner that found the extent by its generation may be there already. */
    store_release(word_at(extent->base, 0), record_word(RECORD_HOLE, 0, pad, 0));
}

/* Writes a jump's body, and returns its word for the caller to store. */
static uint64_t prepare_jump(char *at, const struct extent *next) {
    struct record_jump *jump = (struct record_jump *)(void *)(at + RECORD_HEADER_BYTES);
    store_relaxed(&jump->generation, next->generation);
    store_relaxed(&jump->first_line, load_relaxed(&next->entry->offset));
    store_relaxed(&jump->extent, next->ref);
    return record_word(RECORD_JUMP, 0, 0, 0);
}

static void move_head(struct writer *writer, struct extent *next) {
    if (writer->head)
        extents_end(&writer->extents, writer->head, writer->sequence, (uint64_t)(writer->at - writer->head->base));
    extents_append(&writer->extents, next);
    if (writer->ahead == next)
        writer->ahead = NULL;
    writer->head = next;
    writer->at = writer->alignment > 8 ? next_place(writer, next->base + RECORD_HEADER_BYTES, 0) : next->base;
    writer->cleared = writer->ahead_at = NULL;
    writer->jumps = false;
    next_write = writer->at;
    open_easy_ways(writer);
    /* release: a joiner that goes there finds everything before it committed, so it misses nothing sent later. */
    store_release(&extents_header(&writer->extents)->newest, next->ref);
    POINT(newest_told);
}

/*
 * Asks for the lines of the extent behind the next one that will be written when that is readied: readers have them.
 * Stores wait for their lines one after the other, and a reader's fence in this thread waits for all of them.
 */
static inline void fetch_next(struct writer *writer, uint64_t extent_bytes, uint64_t record_bytes) {
    const struct extent *next = extents_next(&writer->extents, extent_bytes);
    if (!next)
        return;
    prefetch_for_write(next->entry);
    prefetch_for_write(next->base);
    prefetch_for_write(next_place(writer, next->base + record_bytes, record_bytes));
}

/* Has an extent ready for a record of that size, for a log that goes on there with first_sequence. */
static int ready_ahead(struct writer *writer, uint64_t record_bytes, uint64_t first_sequence,
                       enum extents_effort effort) {
    uint64_t size = extent_bytes_for(writer, record_bytes);
    struct extent *ahead = writer->ahead;
    if (ahead && (ahead->bytes < size || ahead->bytes / 8 > size)) {
        extents_put_back(&writer->extents, ahead);
        ahead = writer->ahead = NULL;
        writer->ahead_at = NULL;
    }
    if (!ahead) {
        int error = extents_take(&writer->extents, size, writer->sequence, effort, &ahead);
        if (error && effort == EFFORT_ALL && extents_share_no_more(&writer->extents, error))
            error = extents_take(&writer->extents, extent_bytes_for(writer, record_bytes), writer->sequence, effort,
                                 &ahead);
        if (error)
            return error;
        ahead->generation = 0;
        writer->ahead = ahead;
        fetch_next(writer, ahead->bytes, record_bytes);
    }
    ahead->least_bytes = least_bytes_for(writer, ahead, record_bytes);
    if (!ahead->generation || (writer->head && ahead->generation <= writer->head->generation) ||
        ahead->first_sequence != first_sequence) {
        extents_ready(&writer->extents, ahead, first_sequence);
        begin_extent(writer, ahead);
        writer->ahead_at = NULL;
    }
    return 0;
}

/* Ends the head's extent, and goes on in a new one for a record of that size. */
static int advance(struct writer *writer, uint64_t record_bytes, enum extents_effort effort) {
    int error = ready_ahead(writer, record_bytes, writer->sequence, effort);
    if (error)
        return error;
    /* killed here: the log ends where it did. */
    if (writer->head) {
        uint64_t word = prepare_jump(writer->at, writer->ahead);
        store_release(word_at(writer->at, 0), word); /* L1 */
        POINT(jump_written);
    } else
        store_release(&extents_header(&writer->extents)->oldest, writer->ahead->ref);
    move_head(writer, writer->ahead);
    return 0;
}

/* Commits a record that takes no sequence number, or many, at the head; it fits. */
static void commit_plain(struct writer *writer, enum record_kind kind, uint64_t bytes, uint64_t record_bytes) {
    char *end = writer->at + round_up(record_bytes, 8);
    char *next = next_place(writer, end, record_bytes);
    store_relaxed(word_at(next, 0), 0);
    store_release(word_at(writer->at, 0), record_word(kind, bytes, (uint64_t)(next - end) / 8, 0)); /* L1 */
    writer->at = next;
    writer->cleared = writer->ahead_at = NULL; /* the user may have written there */
}

/* Makes the place at the head a hole, so that the log can go on behind an open loan. */
static void overtake(struct writer *writer) {
    *writer->loan = (struct place){writer->head, writer_payload(writer), writer->reserved};
    writer->loan = NULL;
    writer->head->pins++;
    uint64_t hole_bytes = writer->header_bytes - RECORD_HEADER_BYTES + writer->reserved;
    commit_plain(writer, RECORD_HOLE, hole_bytes, RECORD_HEADER_BYTES + hole_bytes);
}

void writer_unreserve(struct writer *writer) {
    writer->loan = NULL;
    writer->planned_at = writer->cleared = writer->ahead_at = NULL; /* the user may have written there */
}

void writer_drop(struct writer *writer) {
    writer->dropped++;
    writer->easy_end = writer->packed_end = writer->planned_at = NULL;
}

/* Makes room at the head for a record of that size, and one that reports drops before it. */
static int make_room(struct writer *writer, uint64_t record_bytes, enum extents_effort effort) {
    char *at = writer->at;
    writer->planned_at = NULL;
    if (writer->dropped)
        at = next_place(writer, at + RECORD_HEADER_BYTES, RECORD_HEADER_BYTES);
    bool has_room = fits(writer, writer->head, at, record_bytes);
    if (!has_room || is_wasteful(writer, record_bytes)) {
        int error = advance(writer, record_bytes, effort);
        if (error && (!has_room || effort != EFFORT_ALL))
            return error;
    }
    if (writer->dropped) {
        commit_plain(writer, RECORD_DROPPED, writer->dropped, RECORD_HEADER_BYTES);
        writer->sequence += writer->dropped;
        writer->dropped = 0;
        open_easy_ways(writer);
    }
    return 0;
}

bool writer_report_drops(struct writer *writer) {
    if (!writer->dropped)
        return true;
    if (writer->loan)
        overtake(writer);
    return make_room(writer, RECORD_HEADER_BYTES, EFFORT_ALL) == 0; /* where it goes on in place if there is no other */
}

/*
 * Readies the word behind the planned record: zero, or, when no other like it fits and an extent is at hand, the jump
 * there, so that readers wait where the next message will arrive. True: the log goes on in ahead.
 */
static bool ready_next(struct writer *writer, char *next, uint64_t record_bytes, enum extents_effort effort) {
    if (!fits(writer, writer->head, next, record_bytes)) {
        if (writer->ahead_at == next && writer->ahead->first_sequence == writer->sequence + 1)
            return true;
        if (ready_ahead(writer, record_bytes, writer->sequence + 1, effort) == 0) {
            uint64_t word = prepare_jump(next, writer->ahead);
            store_relaxed(word_at(next, 0), word);
            writer->ahead_at = next;
            writer->cleared = NULL;
            return true;
        }
    }
    if (next != writer->cleared)
        store_relaxed(word_at(next, 0), 0);
    writer->cleared = next;
    writer->ahead_at = NULL;
    return false;
}

/* Plans a record at the head, where it fits. */
static void plan(struct writer *writer, uint64_t word, uint64_t record_bytes, enum extents_effort effort) {
    char *end = writer->at + round_up(record_bytes, 8);
    writer->next = next_place(writer, end, record_bytes);
    writer->after = NULL;
    writer->jumps = ready_next(writer, writer->next, record_bytes, effort);
    writer->word = word | (uint64_t)(writer->next - end) / 8 << RECORD_PAD_SHIFT;
}

static void plan_message(struct writer *writer, uint64_t bytes, enum extents_effort effort) {
    uint64_t flags = writer->header_bytes > RECORD_HEADER_BYTES ? RECORD_TIMED : 0;
    writer->reserved = bytes;
    plan(writer, record_word(RECORD_MESSAGE, bytes, 0, flags), writer->header_bytes + bytes, effort);
}

int writer_reserve(struct writer *writer, uint64_t bytes, enum extents_effort effort) {
    if (writer->loan)
        overtake(writer);
    int error = make_room(writer, writer->header_bytes + bytes, effort);
    /* The log's end may be in what is wanted, or in the middle of it: then it goes on elsewhere, and readers leave. */
    if (error == -EAGAIN && effort == EFFORT_ALL && extents_is_in_the_way(&writer->extents, writer->head) &&
        advance(writer, writer->header_bytes, EFFORT_ALL) == 0)
        error = make_room(writer, writer->header_bytes + bytes, effort);
    if (!error)
        plan_message(writer, bytes, EFFORT_QUICK);
    return error;
}

void writer_shrink(struct writer *writer, uint64_t bytes) {
    writer->cleared = writer->ahead_at = NULL;
    plan_message(writer, bytes, EFFORT_QUICK);
}

void writer_stamp(struct writer *writer, int64_t sent_ns) {
    store_relaxed(word_at(writer->at, RECORD_HEADER_BYTES), (uint64_t)sent_ns);
}

int writer_refer(struct writer *writer, const struct place *place, uint64_t bytes, int64_t sent_ns,
                 enum extents_effort effort) {
    if (writer->loan)
        overtake(writer);
    int error = make_room(writer, RECORD_REFERENCE_BYTES, effort);
    if (error)
        return error;
    place->extent->pins--;
    extents_reenter(&writer->extents, place->extent, writer->sequence);
    struct record_reference *reference = (struct record_reference *)(void *)(writer->at + RECORD_HEADER_BYTES);
    store_relaxed(&reference->generation, place->extent->generation);
    store_relaxed(&reference->offset, (uint64_t)(place->payload - place->extent->base));
    store_relaxed(&reference->sent_ns, (uint64_t)sent_ns);
    store_relaxed(&reference->extent, place->extent->ref);
    plan(writer, record_word(RECORD_REFERENCE, bytes, 0, 0), RECORD_REFERENCE_BYTES, EFFORT_QUICK);
    writer->reserved = RECORD_REFERENCE_BYTES - writer->header_bytes; /* what the next may be like */
    writer_commit(writer);
    return 0;
}

/*
 * What writer_settle() comes down to, where one message fills an extent and the next one is planned like the last: the
 * plan stays as it is, one extent further. False: nothing happened.
 */
static bool settle_alike(struct writer *writer, uint64_t record_bytes) {
    if (!writer->jumps || writer->word != writer->alike_word || writer->dropped)
        return false;
    struct extent *ahead = extents_take_next(&writer->extents, writer->ahead->bytes);
    if (!ahead)
        return false;
    move_head(writer, writer->ahead);
    writer->ahead = ahead;
    ahead->least_bytes = writer->head->least_bytes;
    extents_ready(&writer->extents, ahead, writer->sequence + 1);
    begin_extent(writer, ahead);
    fetch_next(writer, ahead->bytes, record_bytes);
    writer->next = writer->ahead_at = writer->at + writer->alike_stride;
    store_relaxed(word_at(writer->next, 0), prepare_jump(writer->next, ahead));
    writer->jumps = true;
    writer->planned_at = writer->at;
    return true;
}

void writer_settle(struct writer *writer) {
    uint64_t record_bytes = writer->header_bytes + writer->reserved;
    if (settle_alike(writer, record_bytes))
        return;
    bool jumped = writer->jumps;
    if (jumped)
        move_head(writer, writer->ahead);
    if (!fits(writer, writer->head, writer->at, record_bytes)) {
        /* Memory is short: then at least let readers leave the large extent, so that it can be used again. */
        if (advance(writer, record_bytes, EFFORT_RECLAIM) != 0 && writer->head->bytes > EXTENT_BYTES_MIN)
            advance(writer, writer->header_bytes, EFFORT_RECLAIM);
        return;
    }
    char *next = next_place(writer, writer->at + record_bytes, record_bytes);
    if (writer->dropped || is_wasteful(writer, record_bytes) || is_same_line(next, writer->at))
        return; /* the line that readers look at now is written when it is ours anyway */
    plan_message(writer, writer->reserved, EFFORT_RECLAIM);
    writer->planned_at = writer->at;
    writer->alike_word = jumped && writer->jumps ? writer->word : 0;
    writer->alike_stride = (uint64_t)(writer->next - writer->at);
}

int writer_open(struct writer *writer, const struct extents_options *options, struct publisher_slot *slot,
                struct readers *readers, uint16_t incarnation, uint64_t alignment, bool timed) {
    *writer = (struct writer){
        .sequence = 1,
        .alignment = alignment,
        .packed_grain = alignment,
        .line_grain = alignment > 8 ? alignment : CACHE_LINE_BYTES,
        .origin = alignment <= 8 ? 0
                  : timed        ? 2 * RECORD_HEADER_BYTES
                                 : RECORD_HEADER_BYTES,
        .header_bytes = timed ? 2 * RECORD_HEADER_BYTES : RECORD_HEADER_BYTES,
    };
    int error = extents_open(&writer->extents, options, slot, readers, incarnation);
    if (error)
        return error;
    writer->sent = &extents_header(&writer->extents)->sent;
    error = advance(writer, writer->header_bytes, EFFORT_RECLAIM);
    if (error)
        extents_close(&writer->extents);
    return error;
}

void writer_close(struct writer *writer) {
    extents_close(&writer->extents);
}
