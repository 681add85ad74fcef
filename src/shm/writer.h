/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Writes a publisher's log. The protocol is in log.h; the state here is private to the publisher's thread.
 *
 * Between calls the head (extent and at) is where the next record will start, its header word is zero, and a jump
 * still fits there. A message takes two steps:
 *
 *   reserve   finds room, and plans: the record's word, where the log goes on, what stands there (0, or a jump).
 *   commit    stores the word.
 *
 * Then, off the message's critical path, what the next one needs is readied, if it is like the last. Both steps have an
 * easy way, inline below, for where the record fits and more like it do behind it; writer.c has the long way.
 */
#ifndef TARN_SHM_WRITER_H
#define TARN_SHM_WRITER_H

#include <string.h>

#include "base/compiler.h"
#include "base/points.h"
#include "shm/extents.h"
#include "shm/log.h"

struct writer {
    /* what every message touches */
    char *at;               /* where the next record will start */
    char *easy_end;         /* what ends here or before fits, as fits() would say; NULL: the long way */
    char *cleared;          /* a word at the head that is known to be zero, or NULL */
    uint64_t sequence;      /* of the next message */
    _Atomic uint64_t *sent; /* for tools */
    struct place *loan;     /* the head is lent out: where to note its place if it is overtaken; else NULL */
    /* the plan for the record that starts at the head */
    uint64_t word;
    uint64_t reserved; /* bytes of payload */
    char *next;        /* where the log will go on */
    char *after;       /* where it will after one more like it, if that is easy; else NULL: writer_settle() */
    bool jumps;        /* the log will go on in ahead */
    uint64_t alike_word, alike_stride; /* records of that word fill an extent each, up to there; 0: none do */
    char *planned_at;                  /* what writer_settle() planned for is there, and no reserving was needed yet */
    /* how records are placed: see place_grain() */
    uint64_t packed_grain, line_grain, origin;
    uint64_t header_bytes; /* 8, or 16 with a time of sending */
    uint64_t easy_least;   /* smaller payloads would waste the head's extent */
    char *packed_end;      /* as easy_end, for packed records with another behind; NULL: there are none */
    /* what only the long way needs */
    struct extent *head;
    struct extent *ahead; /* readied for when the head's extent is full, or NULL */
    char *ahead_at;       /* where at the head the jump to it stands already, or NULL */
    uint64_t dropped;     /* messages dropped since the last record */
    uint64_t alignment;   /* of payloads, 8 or more */
    struct extents extents;
};

int writer_open(struct writer *writer, const struct extents_options *options, struct publisher_slot *slot,
                struct readers *readers, uint16_t incarnation, uint64_t alignment, bool timed);
void writer_close(struct writer *writer);

/*
 * Finds the place for a payload of so many bytes at the head: writer_payload(). If the head is lent out, the loan is
 * overtaken: its place becomes a hole, and is noted. Returns 0, -EAGAIN (full, or not without more effort), or a
 * negative errno.
 */
int writer_reserve(struct writer *writer, uint64_t bytes, enum extents_effort effort);

static inline char *writer_payload(const struct writer *writer) {
    return writer->at + writer->header_bytes;
}

/* Fewer bytes than reserved will be committed; their owner may have written all of them. */
void writer_shrink(struct writer *writer, uint64_t bytes);

/* The time of sending, for where header_bytes is 16. */
void writer_stamp(struct writer *writer, int64_t sent_ns);

/* Gives what is reserved back. */
void writer_unreserve(struct writer *writer);

/*
 * After a commit that said so: goes on to where it jumped, and readies what the next message needs if it is like the
 * last.
 */
void writer_settle(struct writer *writer);

/*
 * Commits a message whose place was overtaken, as a reference. writer_settle() is due. Returns as writer_reserve; on
 * failure nothing happened.
 */
int writer_refer(struct writer *writer, const struct place *place, uint64_t bytes, int64_t sent_ns,
                 enum extents_effort effort);

/* A message is not sent, for want of space: readers will be told. */
void writer_drop(struct writer *writer);

/* Tells readers of messages dropped since the last record. False: there is no space for that now. */
bool writer_report_drops(struct writer *writer);

/* ---- the easy ways -------------------------------------------------------------------------------------------- */

/*
 * How far ahead of a stream of packed records lines are fetched, so that several are under way from the reader's cache.
 */
#define STREAM_AHEAD_BYTES 1024u
#define PACKED_PAYLOAD_BYTES (PACKED_RECORD_BYTES - RECORD_HEADER_BYTES)
#define SHORT_PAYLOAD_BYTES 256u

/*
 * Where records start, chosen as if the next one were like the last: at multiples of grain, counted from origin bytes
 * before an extent. A wrong guess costs only speed: records may start anywhere, as long as their payload is aligned.
 * Extents start at pages, so addresses are aligned as offsets are.
 */
SHORT_HALF uint64_t place_grain(const struct writer *writer, uint64_t record_bytes) {
    return record_bytes > PACKED_RECORD_BYTES ? writer->line_grain : writer->packed_grain;
}

/* The first place from there on where a record may start with that grain. */
SHORT_HALF char *place_from(const struct writer *writer, const char *from, uint64_t grain) {
    uint64_t place = (uint64_t)(uintptr_t)from + writer->origin;
    return (char *)(uintptr_t)(round_up(place, grain) - writer->origin);
}

/* Where the record behind one that ends at end starts, if it is like that one, of record_bytes. */
SHORT_HALF char *next_place(const struct writer *writer, const char *end, uint64_t record_bytes) {
    return place_from(writer, end, place_grain(writer, record_bytes));
}

static inline bool is_same_line(const char *a, const char *b) {
    return (((uintptr_t)a ^ (uintptr_t)b) & ~(uintptr_t)(CACHE_LINE_BYTES - 1)) == 0;
}

/*
 * As writer_reserve(), where the record fits, another like it does, and nothing stands in the way; or where it is of
 * the size that writer_settle() planned for. Else nothing happened.
 */
SHORT_HALF bool writer_reserve_easily(struct writer *writer, uint64_t bytes) {
    uint64_t record_bytes = RECORD_HEADER_BYTES + bytes, grain = place_grain(writer, record_bytes);
    char *end = writer->at + round_up(record_bytes, 8);
    char *next = next_place(writer, end, record_bytes), *after = next + round_up(record_bytes, grain);
    if (unlikely(writer->loan || bytes < writer->easy_least || next + record_bytes > writer->easy_end))
        return writer->planned_at == writer->at && bytes == writer->reserved && !writer->loan;
    if (next != writer->cleared) {
        store_relaxed(word_at(next, 0), 0);
        writer->cleared = next;
    }
    writer->word = record_word(RECORD_MESSAGE, bytes, (uint64_t)(next - end) / 8, 0);
    writer->reserved = bytes;
    writer->next = next;
    writer->after = after + record_bytes > writer->easy_end ? NULL : after;
    writer->jumps = false;
    return true;
}

/* Sends the message at the head, which is at: stores its record's word. The log goes on at next. */
SHORT_HALF void store_word(struct writer *writer, char *at, uint64_t word, char *next) {
    /* killed here: the message is absent; nobody looks behind a word that is 0. */
    POINT(record_not_committed);
    store_release(word_at(at, 0), word); /* L1 */
    POINT(record_committed);
    /* killed here: the message is there; sleepers find it in their slice. */
    store_relaxed(writer->sent, writer->sequence);
    writer->sequence++;
    writer->at = next;
    next_write = next;
}

/* Commits as planned. False: writer_settle() is due, after those who sleep were woken. */
SHORT_HALF bool writer_commit(struct writer *writer) {
    char *next = writer->next, *after = writer->after;
    store_word(writer, writer->at, writer->word, next);
    writer->loan = NULL;
    if (unlikely(!after))
        return false;
    if (!is_same_line(after, next)) { /* readers look at next's line now; and it is cleared when it is ours anyway */
        store_relaxed(word_at(after, 0), 0);
        writer->cleared = after;
    }
    return true;
}

/* Sends the record whose payload is at the head, which is at; the log goes on at end. Of the ways below. */
SHORT_HALF void commit_packed(struct writer *writer, char *at, uint64_t bytes, uint64_t pad_words, char *end) {
    if (end != writer->cleared)
        store_relaxed(word_at(end, 0), 0);
    char *after = end + (end - at);
    store_word(writer, at, record_word(RECORD_MESSAGE, bytes, pad_words, 0), end);
    if (!is_same_line(after, end)) {
        prefetch_for_write(after + STREAM_AHEAD_BYTES);
        store_relaxed(word_at(after, 0), 0);
        writer->cleared = after;
    }
}

SHORT_HALF void copy_packed(char *to, const void *data, uint64_t bytes) {
    if (bytes == 8)
        memcpy(to, data, 8);
    else
        memcpy(to, data, bytes);
}

/* All of it for a copy of at most PACKED_PAYLOAD_BYTES, where all of that is easy. False: nothing happened. */
SHORT_HALF bool writer_send_packed(struct writer *writer, const void *data, uint64_t bytes) {
    char *at = writer->at, *end = at + RECORD_HEADER_BYTES + round_up(bytes, 8);
    if (unlikely(end > writer->packed_end || writer->loan))
        return false;
    copy_packed(at + RECORD_HEADER_BYTES, data, bytes);
    commit_packed(writer, at, bytes, 0, end);
    return true;
}

/*
 * As writer_send_packed(), for at most SHORT_PAYLOAD_BYTES. A record of a line and a word takes two lines wherever it
 * starts: close together, such share them, and a stream of 64 bytes is twice as fast. (128 bytes gain nothing by that,
 * of 256 each comes later where its reader waits, and so do loans of 64, which are stored long before the word is.)
 */
SHORT_HALF bool writer_send_short(struct writer *writer, const void *data, uint64_t bytes) {
    uint64_t record_bytes = RECORD_HEADER_BYTES + round_up(bytes, 8);
    bool shares = record_bytes == CACHE_LINE_BYTES + RECORD_HEADER_BYTES;
    char *at = writer->at, *record_end = at + record_bytes;
    char *end = place_from(writer, record_end, shares ? writer->packed_grain : writer->line_grain);
    if (unlikely(writer->loan || bytes < writer->easy_least || end + record_bytes > writer->easy_end))
        return false;
    memcpy(at + RECORD_HEADER_BYTES, data, bytes);
    commit_packed(writer, at, bytes, (uint64_t)(end - record_end) / 8, end);
    return true;
}

/*
 * As writer_send_packed(), with a word before the data, which may be 8 bytes less then. As most such records are of 24
 * bytes, and come one at a time, each is on one line: one that is on two takes a reader who waits for it half as long
 * again.
 */
SHORT_HALF bool writer_send_packed_led(struct writer *writer, uint64_t lead, const void *data, uint64_t bytes) {
    char *at = writer->at, *record_end = at + RECORD_HEADER_BYTES + sizeof(lead) + round_up(bytes, 8);
    char *end = (char *)(uintptr_t)round_up((uint64_t)(uintptr_t)record_end, PACKED_RECORD_BYTES);
    if (unlikely(end > writer->packed_end || writer->loan))
        return false;
    memcpy(at + RECORD_HEADER_BYTES, &lead, sizeof(lead));
    if (bytes)
        copy_packed(at + RECORD_HEADER_BYTES + sizeof(lead), data, bytes);
    commit_packed(writer, at, sizeof(lead) + bytes, (uint64_t)(end - record_end) / 8, end);
    return true;
}

#endif
