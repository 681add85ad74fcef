/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Writes a publisher's log. The protocol is in log.h; the state here is private to the publisher's thread.
 *
 * Between calls the head (extent and at) is where the next record will start, its header word is zero, and a jump
 * still fits there.
 *
 * Most messages take an easy way, inline below: the record fits, and so do more like it behind it, so nothing has to be
 * decided, and they are not timed. The long way in writer.c does the rest. Both write the same: an easy way may refuse, and
 * nothing happened.
 */
#ifndef TARN_SHM_WRITER_H
#define TARN_SHM_WRITER_H

#include <string.h>

#include "base/compiler.h"
#include "shm/extents.h"
#include "shm/log.h"

/* A message's place in the log, while it is a loan. */
struct place {
    struct extent *extent;
    char *payload;
    uint64_t bytes; /* reserved for the payload */
};

struct writer {
    /* what every send touches */
    char *at;                /* where the next record will start */
    char *cleared;           /* a word at the head that is known to be zero already, or NULL */
    char *easy_end;          /* records that end here or before fit, as fits() would say; NULL: the long way */
    char *packed_end;        /* likewise for packed ones, with another behind; NULL: there are none, or the long way */
    uint64_t easy_least;     /* smaller payloads would waste the head's extent */
    uint64_t sequence;       /* of the next message */
    _Atomic uint64_t *sent;  /* for tools */
    struct place *head_loan; /* the open loan that lies at the head, or NULL */
    uint64_t packed_grain, line_grain, origin; /* see place_grain() */
    /* what only the long way needs */
    struct extent *head;
    struct extent *ahead; /* readied for when the head's extent is full, or NULL */
    char *ahead_at;       /* where at the head the jump to it stands already, or NULL */
    uint64_t dropped;     /* messages dropped since the last record */
    uint64_t header_bytes; /* 8, or 16 with a time of sending */
    uint64_t alignment;   /* of payloads, 8 or more */
    struct extents extents;
};

int writer_open(struct writer *writer, const struct extents_options *options, struct publisher_slot *slot,
                struct readers *readers, uint16_t incarnation, uint64_t alignment, bool timed);
void writer_close(struct writer *writer);

/*
 * Finds the place for a payload of so many bytes at the head. An open loan there is overtaken (its place becomes a hole).
 * Returns 0, -EAGAIN (full, or not without more effort), or a negative errno.
 */
int writer_reserve(struct writer *writer, uint64_t bytes, enum extents_effort effort, struct place *ret);

/* Commits the place at the head as a message of so many bytes, at most those reserved. sent_ns: where header_bytes is 16. */
void writer_commit(struct writer *writer, const struct place *place, uint64_t bytes, int64_t sent_ns);

/* Commits a place that was overtaken, as a reference. Returns as writer_reserve; on failure nothing happened. */
int writer_refer(struct writer *writer, const struct place *place, uint64_t bytes, int64_t sent_ns,
                 enum extents_effort effort);

/* Makes the place at the head a hole, so that the log can go on behind an open loan. */
void writer_overtake(struct writer *writer);

/* A message is not sent, for want of space: readers will be told. */
void writer_drop(struct writer *writer);

/* Gives a place at the head back. */
void writer_unreserve(struct writer *writer);

/* Tells readers of messages dropped since the last record, if that is possible without waiting. */
void writer_report_drops(struct writer *writer);

/*
 * Called after a commit, off its critical path: readies what the next message needs if it is like the last one. That is
 * the cleared header word behind it, or the jump to a new extent, whose lines would otherwise be fetched from the reader's
 * cache before the commit.
 */
void writer_look_ahead(struct writer *writer, uint64_t bytes);

/* ---- the easy ways -------------------------------------------------------------------------------------------- */

/* How far ahead of a stream of packed records lines are fetched, so that several are under way from the reader's cache. */
#define STREAM_AHEAD_BYTES 1024u
#define PACKED_PAYLOAD_BYTES (PACKED_RECORD_BYTES - RECORD_HEADER_BYTES)

/*
 * Where records start, chosen as if the next one were like the last: at multiples of grain, counted from origin bytes
 * before an extent. A wrong guess costs only speed: records may start anywhere, as long as their payload is aligned.
 * Extents start at pages, so addresses are aligned as offsets are.
 */
SHORT_HALF uint64_t place_grain(const struct writer *writer, uint64_t record_bytes) {
    return record_bytes > PACKED_RECORD_BYTES ? writer->line_grain : writer->packed_grain;
}

/* Where the record behind one that ends at end starts, if it is like that one, of record_bytes. */
SHORT_HALF char *next_place(const struct writer *writer, const char *end, uint64_t record_bytes) {
    uint64_t place = (uint64_t)(uintptr_t)end + writer->origin;
    return (char *)(uintptr_t)(round_up(place, place_grain(writer, record_bytes)) - writer->origin);
}

static inline bool is_same_line(const char *a, const char *b) {
    return (((uintptr_t)a ^ (uintptr_t)b) & ~(uintptr_t)(CACHE_LINE_BYTES - 1)) == 0;
}

/* Commits a record of a message at the head, next being where the log goes on, and zero. Killed before: it is absent. */
SHORT_HALF void store_message(struct writer *writer, char *next, uint64_t word) {
    store_release(word_at(writer->at, 0), word); /* L1 */
    /* killed here: the message is there; sleepers find it in their slice. */
    store_relaxed(writer->sent, writer->sequence);
    writer->sequence++;
    writer->at = next;
}

/* All of it for a copy of at most PACKED_PAYLOAD_BYTES. */
SHORT_HALF bool writer_send_packed(struct writer *writer, const void *data, uint64_t bytes) {
    char *at = writer->at, *end = at + RECORD_HEADER_BYTES + round_up(bytes, 8);
    if (end > writer->packed_end || writer->head_loan)
        return false;
    if (bytes == 8)
        memcpy(at + RECORD_HEADER_BYTES, data, 8);
    else
        memcpy(at + RECORD_HEADER_BYTES, data, bytes);
    if (end != writer->cleared)
        store_relaxed(word_at(end, 0), 0);
    store_message(writer, end, record_word(RECORD_MESSAGE, bytes, 0, 0));
    char *after = end + (end - at);
    if (!is_same_line(after, end)) { /* as writer_look_ahead() */
        prefetch_for_write(after + STREAM_AHEAD_BYTES);
        store_relaxed(word_at(after, 0), 0);
        writer->cleared = after;
    }
    return true;
}

/* As writer_reserve(), where the record fits and nothing stands in the way. */
SHORT_HALF bool writer_reserve_easily(const struct writer *writer, uint64_t bytes, struct place *ret) {
    char *payload = writer->at + RECORD_HEADER_BYTES;
    if (unlikely(writer->head_loan || bytes < writer->easy_least || payload + bytes > writer->easy_end))
        return false;
    ret->extent = writer->head;
    ret->payload = payload;
    ret->bytes = bytes;
    return true;
}

/* As writer_commit() and writer_look_ahead(), where two more like it fit behind it. */
SHORT_HALF bool writer_commit_easily(struct writer *writer, const struct place *place, uint64_t bytes) {
    uint64_t record_bytes = RECORD_HEADER_BYTES + bytes, grain = place_grain(writer, record_bytes);
    char *end = place->payload + round_up(bytes, 8);
    char *next = next_place(writer, end, record_bytes), *after = next + round_up(record_bytes, grain);
    if (unlikely(after + record_bytes > writer->easy_end))
        return false;
    if (next != writer->cleared || place->payload + place->bytes > next) /* the user may have written there */
        store_relaxed(word_at(next, 0), 0);
    writer->head_loan = NULL;
    store_message(writer, next, record_word(RECORD_MESSAGE, bytes, (uint64_t)(next - end) / 8, 0));
    if (!is_same_line(after, next)) {
        store_relaxed(word_at(after, 0), 0);
        writer->cleared = after;
    }
    return true;
}

#endif
