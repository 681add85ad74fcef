/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Writes a publisher's log. The protocol is in log.h; the state here is private to the publisher's thread.
 *
 * Between calls the head (extent and offset) is where the next record will start, its header word is zero, and a jump
 * still fits there.
 */
#ifndef TARN_SHM_WRITER_H
#define TARN_SHM_WRITER_H

#include "shm/extents.h"

/* A message's place in the log, while it is a loan. */
struct place {
    struct extent *extent;
    uint64_t offset; /* of the payload in the extent */
    uint64_t bytes;  /* reserved for the payload */
};

struct writer {
    struct extents extents;
    struct extent *head;
    uint64_t offset;
    uint64_t cleared;        /* offset at the head that is known to be zero already, 0: none */
    struct extent *ahead;    /* readied for when the head's extent is full, or NULL */
    uint64_t ahead_at;       /* offset at the head where the jump to it stands already, 0: nowhere */
    uint64_t sequence;       /* of the next message */
    uint64_t dropped;        /* messages dropped since the last record */
    uint64_t alignment;      /* of payloads, 8 or more */
    uint64_t header_bytes;   /* 8, or 16 with a time of sending */
    _Atomic uint64_t *sent;  /* for tools */
    struct place *head_loan; /* the open loan that lies at the head, or NULL */
};

int writer_open(struct writer *writer, const struct extents_options *options, struct publisher_slot *slot,
                struct readers *readers, uint16_t incarnation, uint64_t alignment, bool timed);
void writer_close(struct writer *writer);

/*
 * Finds the place for a payload of so many bytes at the head. An open loan there is overtaken (its place becomes a hole).
 * Returns 0, -EAGAIN (full, or not without more effort), or a negative errno.
 */
int writer_reserve(struct writer *writer, uint64_t bytes, enum extents_effort effort, struct place *ret);

/* Commits the place at the head as a message of so many bytes, at most those reserved. */
void writer_commit(struct writer *writer, const struct place *place, uint64_t bytes, int64_t sent_ns);

/* Commits a place that was overtaken, as a reference. Returns as writer_reserve; on failure nothing happened. */
int writer_refer(struct writer *writer, const struct place *place, uint64_t bytes, int64_t sent_ns,
                 enum extents_effort effort);

/* Makes the place at the head a hole, so that the log can go on behind an open loan. */
void writer_overtake(struct writer *writer);

/* Tells readers of messages dropped since the last record, if that is possible without waiting. */
void writer_report_drops(struct writer *writer);

/*
 * All of the above for the smallest messages, where nothing stands in the way: at once, and as little as can be. False: do
 * it the long way.
 */
bool writer_send_packed(struct writer *writer, const void *data, uint64_t bytes);

/*
 * Called after a commit, off its critical path: readies what the next message needs if it is like the last one. That is
 * the cleared header word behind it, or the jump to a new extent, whose lines would otherwise be fetched from the reader's
 * cache before the commit.
 */
void writer_look_ahead(struct writer *writer, uint64_t bytes);

#endif
