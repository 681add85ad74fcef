/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * What one subscriber reads in one publisher's arena (arena.h): places, by the words that name them. Holding is per
 * extent, as in a log: reading in the extent that was read last costs no fence. Nothing read there is believed: what
 * does not lie within the publisher's segments is refused. Used by the subscriber's thread alone.
 */
#ifndef TARN_SHM_SOURCE_H
#define TARN_SHM_SOURCE_H

#include "shm/holds.h"
#include "shm/remote.h"

struct source {
    struct holder holder;
    struct holds *holds;
    struct remote *remote;
    struct reader_row *row;
    uint32_t column;
    struct hold *position; /* the extent that was read last, or NULL */
    extent_ref ref;        /* of the position */
    bool gone;             /* the publisher's slot is another's by now: its words are not touched any more */
};

/* Tells the publisher that we may hold any of its extents from now on, and what is attached. */
void source_init(struct source *source, struct holds *holds, struct remote *remote, struct reader_row *row,
                 uint32_t column);

/* Tells how many segments are attached. */
void source_tell_attached(struct source *source);

/* Nothing more is read. Messages may still be held. */
void source_stop(struct source *source);

/*
 * Names the place's extent in a cell, and fences (P1). The caller makes sure that the place was not over, then gives
 * the hold to the user, or to source_unhold(). NULL: no memory for a cell.
 */
struct hold *source_hold(struct source *source, uint64_t word);
void source_unhold(struct hold *hold);

/*
 * For who found the place to be over too often: the cell names all of the publisher's extents (P1), so that whatever
 * place is read next is safe; then, at once, source_narrow() to the one that it lies in, which cannot fail. As
 * source_hold().
 */
struct hold *source_hold_all(struct source *source);
void source_narrow(struct source *source, uint64_t word);

struct view {
    const char *data;
    uint64_t bytes, number;
};

enum view_result {
    VIEW_SEEN,
    VIEW_UNATTACHED, /* it is in a segment that is not attached here: under process_lock(), remote_attach_all() */
    VIEW_DAMAGED,    /* it lies nowhere */
};

/* What is at a place that the caller holds. */
enum view_result source_view(const struct source *source, uint64_t word, struct view *ret);

#endif
