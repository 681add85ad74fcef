/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Follows one publisher's log for one subscriber. The protocol is in log.h; used by the subscriber's thread alone.
 *
 * Nothing read from the log is believed: every size, offset, index and generation is checked against the extent's bounds
 * before it is used. What does not hold is READER_DAMAGED, once; the log is not read any further.
 */
#ifndef TARN_SHM_READER_H
#define TARN_SHM_READER_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/holds.h"
#include "shm/remote.h"
#include "tarn.h"

struct log_reader {
    /* the position: extent NULL before the first and after an overrun */
    char *extent;
    uint64_t offset;   /* of the next record */
    uint64_t end;      /* of the extent */
    uint64_t sequence; /* of the next message */
    uint64_t lost;     /* just before it */
    struct hold *position;
    uint64_t generation; /* of the position, or the last one; stamped */
    uint64_t word;       /* what *oldest says */
    uint64_t cursor_said;
    struct holds *holds;
    struct remote *remote;
    struct publisher_slot *publisher;
    struct reader_row *row;
    uint32_t column;
    uint64_t lost_in_all;
    int attach_error; /* why a segment could not be attached, for a sentence; 0: no cell was to be had */
    bool reliable;
    bool may_attach; /* in take, too; else only where the subscriber says so */
    bool starting;
    bool adrift; /* starts wherever it can: what was before does not count as lost */
    bool gone;   /* the publisher left or died: the words are its slot's next owner's, and not touched any more */
    bool damaged;
    bool finished; /* gone, and read to the end: only messages that are held keep it */
};

enum reader_look {
    READER_EMPTY,   /* nothing more at the moment */
    READER_MESSAGE, /* the record at the position is a message, or a reference to one */
    READER_PENDING, /* there is more, but not in this step: a bound was reached, or a segment is to be attached */
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

enum reader_take {
    READER_TAKEN,
    READER_LOST,   /* it was a reference to what is no longer kept: counted, look again */
    READER_LATER,  /* nothing happened: no message is at the position, or its segment must not be attached here */
    READER_FAILED, /* as READER_NO_MEMORY: nothing happened */
};

/* Takes the message at the position, if there is one: log_reader_look() gets there, and says what else there may be. */
enum reader_take log_reader_take(struct log_reader *reader, tarn_message *ret);

/* Tells the publisher how far it is, if that changed since. */
void log_reader_tell(struct log_reader *reader);

/* Tells the publisher how many of its segments are attached. */
void log_reader_tell_attached(struct log_reader *reader);

/* Messages that the publisher sent, and that will not be read any more. */
uint64_t log_reader_unread(const struct log_reader *reader);

/* Lets the position and the words go. Messages may still be held. */
void log_reader_stop(struct log_reader *reader);

static inline struct publisher_slot *log_reader_publisher(const struct log_reader *reader) {
    return reader->publisher;
}

#endif
