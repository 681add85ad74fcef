/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Follows one publisher's log for one subscriber. The protocol is in log.h; used by the subscriber's thread alone.
 *
 * Nothing read from the log is believed: every size, offset, index and generation is checked against the extent's
 * bounds before it is used. What does not hold is READER_DAMAGED, once; the log is not read any further.
 */
#ifndef TARN_SHM_READER_H
#define TARN_SHM_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "shm/holds.h"
#include "shm/log.h"
#include "shm/remote.h"
#include "shm/space.h"
#include "tarn.h"

/*
 * Where the log went on after an extent, the last time it was read. A publisher of large messages rotates through the
 * same extents in the same order, so the lines that a reader will need after a large message are asked for together
 * with it, rather than one after the other when it follows the jump.
 */
#define FORESEEN 64u
struct foreseen {
    const void *entry, *first_line; /* of the next extent */
};

/* What a message tells of its log, in the order in which tarn_message has it. */
struct origin {
    uint64_t publisher, lost;
    int64_t sent_ns; /* 0 */
    struct hold *held_by;
};

struct log_reader {
    /*
     * what every take touches: the position. Before the first, and after an overrun, it is at a word that is always 0
     */
    char *at; /* where the next record is */
    /* what the last plain message was like: the next one, if it is like it, need not be taken apart */
    uint64_t usual_word, usual_size, usual_bytes;
    uintptr_t usual_limit; /* behind this address, it does not fit into the extent; 0: there is more to tell with it */
    uint64_t sequence;     /* of the next message */
    uint64_t until;        /* the sequence number from which on the user must not take messages the short ways */
    _Atomic uint64_t *cursor; /* of a reliable reader: where it tells how far it is; else NULL */
    uint64_t stamp;           /* of what it tells */
    union {
        struct origin origin;
        struct {
            uint64_t identity; /* the publisher's */
            uint64_t lost;     /* just before the next message */
            int64_t not_sent_ns;
            struct hold *position;
        };
    };
    char *limit;                        /* behind it, a jump fits into the extent */
    uint64_t counted;                   /* that up to which the hold of the position was told what was taken there */
    uint64_t taken_in_all, lost_in_all; /* taken: up to counted */
    struct holder holder;               /* and whose log it is */
    extent_ref ref;                     /* of the position's extent */
    /* the rest */
    struct foreseen foreseen[FORESEEN]; /* by ref */
    bool may_attach;                    /* in take, too; else only where the subscriber says so */
    bool starting;
    bool adrift; /* starts wherever it can: what was before does not count as lost */
    bool gone;   /* the publisher left or died: the words are its slot's next owner's, and not touched any more */
    bool left;   /* it left or died, but is kept: there is no more than there is, and the words are as they were */
    bool damaged;
    bool finished; /* gone or left, and read to the end: only messages that are held keep it */
    uint32_t column;
    struct reader_row *row;
    uint64_t generation; /* of the position, or the last one; stamped */
    uint64_t word;       /* what *oldest says */
    struct holds *holds;
    struct remote *remote;
    uint64_t speaker; /* peer_word(): who writes the log, where it is addressed; else 0 */
    void *peer;       /* for the log's reader's user: what it knows of the speaker */
    int attach_error; /* why a segment could not be attached, or no cell be had, for a sentence: a negative errno */
};

extern struct log_reader log_reader_nowhere; /* one that never finds anything */

void log_reader_init(struct log_reader *reader, struct holds *holds, struct remote *remote, struct reader_row *row,
                     uint32_t column, bool reliable);

enum reader_look {
    READER_EMPTY,      /* nothing more at the moment */
    READER_MESSAGE,    /* the record at the position is a message, or a reference to one */
    READER_PENDING,    /* there is more, but not in this step: a bound was reached */
    READER_UNATTACHED, /* there is more, in a segment that is attached elsewhere, or has gone with its publisher */
    READER_DAMAGED,
    READER_NO_MEMORY, /* no cell, or the publisher's segment cannot be attached: attach_error */
};

/*
 * Starts at the end of the log, or so many messages before it. Returns false if that is not possible now (the publisher
 * retires faster than we look); then the reader starts with the oldest that is kept. Nothing counts as lost.
 */
bool log_reader_start_newest(struct log_reader *reader, uint64_t history);

/* Starts with the publisher's first message (sequence 1): those that are not there any more are counted as lost. */
void log_reader_start_first(struct log_reader *reader);

/* Moves to the next message, past records that are none. */
enum reader_look log_reader_look(struct log_reader *reader);

/* Tells the publisher how far a reliable reader is. */
SHORT_HALF void log_reader_tell(struct log_reader *reader) {
    uint64_t sequence = reader->sequence;
    if (!reader->cursor)
        return;
    /* killed here: repair takes the cursor away, and with it the claim on what is unread; behind: as for a cell */
    store_release(reader->cursor, reader->stamp | sequence); /* R3 */
    POINT(cursor_told);
    space_ring_at(reader->holder.publisher, sequence); /* S1 */
}

/*
 * How far ahead of a stream lines are asked for. A processor's own prefetching leaves alone what another core has
 * written, and without any, a stream through a few MiB has half the messages per second. Beyond an extent's end it does
 * no harm.
 */
#define READ_AHEAD_BYTES 1024u

/* What all messages of a position tell: publisher, lost, no time of sending, the hold. */
SHORT_HALF void log_reader_fill_in(const struct log_reader *reader, tarn_message *ret) {
    /* one copy: half the instructions of one for each field, and they are what limits a stream */
    memcpy((char *)ret + offsetof(tarn_message, publisher), &reader->origin, sizeof(reader->origin));
}

/* The position is behind messages that were taken. */
SHORT_HALF void log_reader_pass(struct log_reader *reader, char *next, uint64_t sequence) {
    reader->sequence = sequence;
    reader->at = next;
    __builtin_prefetch(next); /* saves some ns per message from 64 bytes up */
    __builtin_prefetch(next + READ_AHEAD_BYTES);
    log_reader_tell(reader);
}

/*
 * With a message in hand, the line that is needed next, taking it that the record starts where a line does. That of the
 * answer, which was another's; but where the record goes on on one or two more lines, the next of these: the answer's,
 * asked for at the same time, would make that later, and be gone again when it is needed, since who waits for the
 * answer looks at it all the time. (64 bytes that are read in full take 190 to 207 ns that way, and 240 the other, on
 * CPUs 140 ns apart; from four lines on it makes no difference, and who reads the first line alone loses 5 ns.)
 */
SHORT_HALF void ask_for_next(const char *at, uint64_t size) {
    if (size <= CACHE_LINE_BYTES || size > 3 * CACHE_LINE_BYTES)
        prefetch_for_write(next_write);
    else
        __builtin_prefetch(at + CACHE_LINE_BYTES);
}

/* Follows the jump at the position: READER_PENDING, or as log_reader_look(). READER_EMPTY: there is none. */
enum reader_look log_reader_follow(struct log_reader *reader);

enum reader_take {
    READER_TAKEN,
    READER_LOST,   /* it was a reference to what is no longer kept: counted, look again */
    READER_LATER,  /* nothing happened: no message is at the position, or its segment must not be attached here */
    READER_FAILED, /* as READER_NO_MEMORY: nothing happened */
};

/* Takes the message at the position, if there is one: log_reader_look() gets there, and says what else there may be. */
enum reader_take log_reader_take(struct log_reader *reader, tarn_message *ret);

/* Tells the publisher how many of its segments are attached. */
void log_reader_tell_attached(struct log_reader *reader);

/* Messages that the publisher sent, and that will not be read any more. */
uint64_t log_reader_unread(const struct log_reader *reader);

/* Whether what is not there now will never be. */
static inline bool log_reader_is_over(const struct log_reader *reader) {
    return reader->gone || reader->left;
}

/* The publisher left or died: its words are its slot's next owner's. */
void log_reader_part(struct log_reader *reader);

/* Lets the position and the words go. Messages may still be held. */
void log_reader_stop(struct log_reader *reader);

/* Whether something is at the position that was not looked at yet. */
static inline bool log_reader_sees(const struct log_reader *reader) {
    return load_acquire(word_at(reader->at, 0)) != 0; /* L1 */
}

static inline void log_reader_foresee(const struct log_reader *reader) {
    const struct foreseen *foreseen = &reader->foreseen[reader->ref % FORESEEN];
    __builtin_prefetch(foreseen->entry); /* of what is no more, it does nothing */
    __builtin_prefetch(foreseen->first_line);
}

/*
 * As log_reader_take(), for messages in place that are like the last one: so many at most. Returns how many; 0: nothing
 * happened, do it the long way.
 */
SHORT_HALF size_t log_reader_take_alike(struct log_reader *reader, tarn_message *ret, size_t count) {
    char *at = reader->at;
    uint64_t sequence = reader->sequence;
    size_t taken = 0;
    for (; taken < count; taken++, sequence++) {
        uint64_t word = load_acquire(word_at(at, 0)); /* L1 */
        if (unlikely(word != reader->usual_word) || unlikely((uintptr_t)at > reader->usual_limit) ||
            unlikely(sequence >= reader->until))
            break;
        if (count == 1)
            ask_for_next(at, reader->usual_size);
        else
            __builtin_prefetch(at + READ_AHEAD_BYTES);
        ret[taken].data = at + RECORD_HEADER_BYTES;
        ret[taken].bytes = reader->usual_bytes;
        ret[taken].sequence = sequence;
        log_reader_fill_in(reader, &ret[taken]);
        at += reader->usual_size;
    }
    if (unlikely(taken == 0))
        return 0;
    log_reader_pass(reader, at, sequence);
    return taken;
}

/* One of them. */
SHORT_HALF bool log_reader_take_usual(struct log_reader *reader, tarn_message *ret) {
    return log_reader_take_alike(reader, ret, 1) == 1;
}

/* Up to where messages like the last one may be taken the shortest way. */
static inline void log_reader_bound_usual(struct log_reader *reader) {
    reader->usual_limit = reader->lost ? 0 : (uintptr_t)reader->limit - reader->usual_size;
}

/* The message just taken told what was lost before it. */
static inline void log_reader_lost_told(struct log_reader *reader) {
    reader->lost_in_all += reader->lost;
    reader->lost = 0;
    log_reader_bound_usual(reader);
}

/* As log_reader_take(), for any message in place; until is not looked at. False: nothing happened. */
SHORT_HALF bool log_reader_take_plain(struct log_reader *reader, tarn_message *ret) {
    char *at = reader->at;
    uint64_t word = load_acquire(word_at(at, 0)); /* L1 */
    if (word >> RECORD_KIND_SHIFT != RECORD_MESSAGE)
        return false;
    uint64_t bytes = word & RECORD_SIZE_MASK, timed_bytes = word & RECORD_TIMED ? 8 : 0;
    uint64_t size = RECORD_HEADER_BYTES + timed_bytes + round_up(bytes, 8) + record_pad_bytes(word);
    if (unlikely(size > (uint64_t)(reader->limit - at)))
        return false;
    ask_for_next(at, size);
    if (unlikely(size > (uint64_t)(reader->limit - at) / 2 && size > EXTENT_BYTES_MIN / 2)) {
        log_reader_foresee(reader); /* no other like it is behind it: mostly it is in an extent of its own */
    } else if (likely(!timed_bytes)) {
        reader->usual_word = word;
        reader->usual_size = size;
        reader->usual_bytes = bytes;
        reader->usual_limit = (uintptr_t)reader->limit - size;
    }
    ret->data = at + RECORD_HEADER_BYTES + timed_bytes;
    ret->bytes = bytes;
    ret->sequence = reader->sequence;
    log_reader_fill_in(reader, ret);
    log_reader_pass(reader, at + size, reader->sequence + 1);
    if (unlikely(timed_bytes))
        ret->sent_ns = (int64_t)load_relaxed(word_at(at, RECORD_HEADER_BYTES));
    if (unlikely(reader->lost))
        log_reader_lost_told(reader);
    return true;
}

/* How many messages may be taken the short ways, at most, before this is called again. */
static inline void log_reader_allow(struct log_reader *reader, uint64_t count) {
    reader->until = reader->sequence + count;
}

/* How many of them were not taken. */
static inline uint64_t log_reader_allowed(const struct log_reader *reader) {
    return reader->until > reader->sequence ? reader->until - reader->sequence : 0;
}

/* Counts what was taken: in the position's hold, and in taken_in_all. */
void log_reader_count(struct log_reader *reader);

#endif
