/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See writer.h and log.h. */
#include "shm/writer.h"

#include <errno.h>
#include <string.h>

#include "shm/log.h"

/* How far ahead of a stream of packed records lines are fetched: a third more messages per second. */
#define STREAM_AHEAD_BYTES 1024u

/*
 * Where the record behind one that ends at end starts, chosen as if it were like that one, of record_bytes. A wrong guess
 * costs only speed: records may start anywhere, as long as their payload is aligned.
 */
static inline uint64_t next_place(const struct writer *writer, uint64_t end, uint64_t record_bytes) {
    if (writer->alignment > 8)
        return round_up(round_up(end, 8) + writer->header_bytes, writer->alignment) - writer->header_bytes;
    return round_up(end, record_bytes > PACKED_RECORD_BYTES ? CACHE_LINE_BYTES : 8);
}

/* Whether such a record, and behind it a jump, fits at an offset. */
static inline bool fits(const struct writer *writer, const struct extent *extent, uint64_t offset,
                        uint64_t record_bytes) {
    return next_place(writer, offset + record_bytes, record_bytes) + RECORD_JUMP_BYTES <= extent->bytes;
}

/* A new extent's size for such a record: behind the hole that aligns it, and with what fits() asks for. */
static uint64_t extent_bytes_for(struct writer *writer, uint64_t record_bytes) {
    /* aligning costs up to one step each for the first hole, a report of drops, and the place behind the record */
    uint64_t slack = writer->alignment > 8 ? 3 * (writer->alignment + CACHE_LINE_BYTES) : 2 * CACHE_LINE_BYTES;
    return extents_size_for(&writer->extents, record_bytes + slack + 2 * RECORD_REFERENCE_BYTES + RECORD_JUMP_BYTES);
}

/* An empty extent that was readied for large messages would be pinned by a few small ones. */
static bool is_wasteful(const struct writer *writer, uint64_t record_bytes) {
    return writer->head->bytes > EXTENT_BYTES_MIN && writer->head->end_sequence == writer->head->first_sequence &&
           !writer->head->pins && record_bytes < writer->head->bytes / 8;
}

/* The first record of an extent starts at offset 0, or, for aligned payloads, behind a hole. */
static void begin_extent(const struct writer *writer, struct extent *extent) {
    if (writer->alignment <= 8)
        return;
    uint64_t start = next_place(writer, RECORD_HEADER_BYTES, 0);
    store_relaxed(word_at(extent->base, start), 0);
    uint64_t pad = (start - RECORD_HEADER_BYTES) / 8;
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
    extents_append(&writer->extents, next);
    if (writer->ahead == next)
        writer->ahead = NULL;
    writer->head = next;
    writer->offset = writer->alignment > 8 ? next_place(writer, RECORD_HEADER_BYTES, 0) : 0;
    writer->cleared = writer->ahead_at = 0;
    /* release: a joiner that goes there finds everything before it committed, so it misses nothing sent later. */
    store_release(&extents_header(&writer->extents)->newest, next->ref);
}

/* Has an extent ready for a record of that size, for a log that goes on there with first_sequence. */
static int ready_ahead(struct writer *writer, uint64_t record_bytes, uint64_t first_sequence,
                       enum extents_effort effort) {
    uint64_t size = extent_bytes_for(writer, record_bytes);
    struct extent *ahead = writer->ahead;
    if (ahead && (ahead->bytes < size || ahead->bytes / 8 > size)) {
        extents_put_back(&writer->extents, ahead);
        ahead = writer->ahead = NULL;
        writer->ahead_at = 0;
    }
    if (!ahead) {
        int error = extents_take(&writer->extents, size, writer->sequence, effort, &ahead);
        if (error)
            return error;
        ahead->generation = 0;
        writer->ahead = ahead;
    }
    if (!ahead->generation || (writer->head && ahead->generation <= writer->head->generation) ||
        ahead->first_sequence != first_sequence) {
        extents_ready(&writer->extents, ahead, first_sequence);
        begin_extent(writer, ahead);
        writer->ahead_at = 0;
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
        char *at = writer->head->base + writer->offset;
        uint64_t word = prepare_jump(at, writer->ahead);
        store_release(word_at(at, 0), word); /* L1 */
    } else
        store_release(&extents_header(&writer->extents)->oldest, writer->ahead->ref);
    move_head(writer, writer->ahead);
    return 0;
}

/* The head moves on, and with it what was readied for just one message behind it. */
static inline void pass_head(struct writer *writer, uint64_t offset) {
    writer->offset = offset;
    writer->cleared = writer->ahead_at = 0;
}

/* Commits a record that takes no sequence number, or many, at the head; it fits. */
static void commit_plain(struct writer *writer, enum record_kind kind, uint64_t bytes, uint64_t record_bytes) {
    uint64_t end = round_up(writer->offset + record_bytes, 8);
    uint64_t next = next_place(writer, end, record_bytes);
    store_relaxed(word_at(writer->head->base, next), 0);
    store_release(word_at(writer->head->base, writer->offset), record_word(kind, bytes, (next - end) / 8, 0)); /* L1 */
    pass_head(writer, next);
}

void writer_overtake(struct writer *writer) {
    struct place *loan = writer->head_loan;
    writer->head_loan = NULL;
    loan->extent->pins++;
    uint64_t reserved = loan->offset + loan->bytes - (writer->offset + RECORD_HEADER_BYTES);
    commit_plain(writer, RECORD_HOLE, reserved, RECORD_HEADER_BYTES + reserved);
}

/* Makes room at the head for a record of that size, and one that reports drops before it. */
static int make_room(struct writer *writer, uint64_t record_bytes, enum extents_effort effort) {
    uint64_t offset = writer->offset;
    if (writer->dropped)
        offset = next_place(writer, offset + RECORD_HEADER_BYTES, RECORD_HEADER_BYTES);
    if (__builtin_expect(!fits(writer, writer->head, offset, record_bytes), 0) || is_wasteful(writer, record_bytes)) {
        int error = advance(writer, record_bytes, effort);
        if (error)
            return error;
    }
    if (writer->dropped) {
        commit_plain(writer, RECORD_DROPPED, writer->dropped, RECORD_HEADER_BYTES);
        writer->sequence += writer->dropped;
        writer->dropped = 0;
    }
    return 0;
}

void writer_report_drops(struct writer *writer) {
    if (!writer->dropped)
        return;
    if (writer->head_loan)
        writer_overtake(writer);
    make_room(writer, RECORD_HEADER_BYTES, EFFORT_RECLAIM);
}

int writer_reserve(struct writer *writer, uint64_t bytes, enum extents_effort effort, struct place *ret) {
    if (writer->head_loan)
        writer_overtake(writer);
    int error = make_room(writer, writer->header_bytes + bytes, effort);
    if (error)
        return error;
    *ret = (struct place){writer->head, writer->offset + writer->header_bytes, bytes};
    if (ret->offset + bytes > writer->cleared)
        writer->cleared = 0; /* the user may write there, and shrink the loan then */
    if (ret->offset + bytes > writer->ahead_at)
        writer->ahead_at = 0;
    return 0;
}

/*
 * Readies the word behind the record that is about to be committed: zero, or, when no other like it fits and an extent is
 * at hand, the jump there, so that readers wait where the next message will arrive. True: the log goes on in ahead.
 */
static inline bool ready_next(struct writer *writer, uint64_t next, uint64_t record_bytes) {
    struct extent *head = writer->head;
    if (__builtin_expect(!fits(writer, head, next, record_bytes), 0)) {
        if (writer->ahead_at == next && writer->ahead->first_sequence == writer->sequence + 1)
            return true;
        if (ready_ahead(writer, record_bytes, writer->sequence + 1, EFFORT_QUICK) == 0) {
            uint64_t word = prepare_jump(head->base + next, writer->ahead);
            store_relaxed(word_at(head->base, next), word);
            return true;
        }
    }
    if (next != writer->cleared)
        store_relaxed(word_at(head->base, next), 0);
    return false;
}

/* Commits the record of a message at the head: word has its kind, size and flags. */
static inline void commit_message(struct writer *writer, uint64_t word, uint64_t record_bytes) {
    struct extent *head = writer->head;
    uint64_t end = round_up(writer->offset + record_bytes, 8);
    uint64_t next = next_place(writer, end, record_bytes);
    bool jumps = ready_next(writer, next, record_bytes);
    /* killed here: the message is absent; nobody looks behind a word that is 0. */
    store_release(word_at(head->base, writer->offset), word | (next - end) / 8 << RECORD_PAD_SHIFT); /* L1 */
    /* killed here: the message is there; sleepers find it in their slice. */
    store_relaxed(writer->sent, writer->sequence);
    head->end_sequence = ++writer->sequence;
    pass_head(writer, next);
    if (__builtin_expect(jumps, 0))
        move_head(writer, writer->ahead);
}

void writer_commit(struct writer *writer, const struct place *place, uint64_t bytes, int64_t sent_ns) {
    uint64_t flags = 0;
    if (writer->header_bytes > RECORD_HEADER_BYTES) {
        flags = RECORD_TIMED;
        store_relaxed(word_at(place->extent->base, writer->offset + RECORD_HEADER_BYTES), (uint64_t)sent_ns);
    }
    writer->head_loan = NULL;
    commit_message(writer, record_word(RECORD_MESSAGE, bytes, 0, flags), writer->header_bytes + bytes);
}

bool writer_send_packed(struct writer *writer, const void *data, uint64_t bytes) {
    struct extent *head = writer->head;
    uint64_t at = writer->offset;
    uint64_t next = round_up(at + RECORD_HEADER_BYTES + bytes, 8), after = next + (next - at);
    if (writer->head_loan || writer->dropped || writer->alignment > 8 || writer->header_bytes > RECORD_HEADER_BYTES ||
        next - at > PACKED_RECORD_BYTES || head->bytes > EXTENT_BYTES_MIN || after + RECORD_JUMP_BYTES > head->bytes)
        return false;
    char *payload = head->base + at + RECORD_HEADER_BYTES;
    if (bytes == 8)
        memcpy(payload, data, 8);
    else if (bytes)
        memcpy(payload, data, bytes);
    if (next != writer->cleared)
        store_relaxed(word_at(head->base, next), 0);
    /* killed here: the message is absent; killed behind: it is there */
    store_release(word_at(head->base, at), record_word(RECORD_MESSAGE, bytes, 0, 0)); /* L1 */
    store_relaxed(writer->sent, writer->sequence);
    head->end_sequence = ++writer->sequence;
    pass_head(writer, next);
    if (after / CACHE_LINE_BYTES != next / CACHE_LINE_BYTES) { /* as writer_look_ahead() */
        prefetch_for_write(head->base + after + STREAM_AHEAD_BYTES);
        store_relaxed(word_at(head->base, after), 0);
        writer->cleared = after;
    }
    return true;
}

int writer_refer(struct writer *writer, const struct place *place, uint64_t bytes, int64_t sent_ns,
                 enum extents_effort effort) {
    if (writer->head_loan)
        writer_overtake(writer);
    int error = make_room(writer, RECORD_REFERENCE_BYTES, effort);
    if (error)
        return error;
    place->extent->pins--;
    extents_reenter(&writer->extents, place->extent, writer->sequence);
    char *at = writer->head->base + writer->offset;
    struct record_reference *reference = (struct record_reference *)(void *)(at + RECORD_HEADER_BYTES);
    store_relaxed(&reference->generation, place->extent->generation);
    store_relaxed(&reference->offset, place->offset);
    store_relaxed(&reference->sent_ns, (uint64_t)sent_ns);
    store_relaxed(&reference->extent, place->extent->ref);
    commit_message(writer, record_word(RECORD_REFERENCE, bytes, 0, 0), RECORD_REFERENCE_BYTES);
    return 0;
}

void writer_look_ahead(struct writer *writer, uint64_t bytes) {
    struct extent *head = writer->head;
    uint64_t record_bytes = writer->header_bytes + bytes;
    if (__builtin_expect(!fits(writer, head, writer->offset, record_bytes), 0)) {
        /* Memory is short: then at least let readers leave the large extent, so that it can be used again. */
        if (advance(writer, record_bytes, EFFORT_RECLAIM) != 0 && head->bytes > EXTENT_BYTES_MIN)
            advance(writer, writer->header_bytes, EFFORT_RECLAIM);
        return;
    }
    uint64_t next = next_place(writer, writer->offset + record_bytes, record_bytes);
    if (next / CACHE_LINE_BYTES == writer->offset / CACHE_LINE_BYTES)
        return; /* readers look at this line now: it is cleared when it is ours anyway */
    if (__builtin_expect(!fits(writer, head, next, record_bytes), 0)) {
        if (ready_ahead(writer, record_bytes, writer->sequence + 1, EFFORT_RECLAIM) == 0) {
            uint64_t word = prepare_jump(head->base + next, writer->ahead);
            store_relaxed(word_at(head->base, next), word);
            writer->ahead_at = next;
        }
        return;
    }
    store_relaxed(word_at(head->base, next), 0);
    writer->cleared = next;
}

int writer_open(struct writer *writer, const struct extents_options *options, struct publisher_slot *slot,
                struct readers *readers, uint16_t incarnation, uint64_t alignment, bool timed) {
    *writer = (struct writer){
        .sequence = 1,
        .alignment = alignment,
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
