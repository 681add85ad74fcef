/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * An arena: a publisher's memory for messages that are in no log, and end in any order: those of a queue, the values of
 * a blackboard. Each lies at a place, behind a struct placed, and is named by a word (layout.h) that the pattern keeps
 * in the roster. Small ones share an extent, which is filled front to back; one larger than that has an extent of its
 * own. The state here is private to the publisher's thread.
 *
 * An extent is kept by a pin for each message in it that is not over. When the last one is, the extent is retired, and
 * used again when no cell names it (H1 of log.h). There is no generation to look at for who wants to read: he names the
 * extent in a cell, and then makes sure, by the word that named the place, that the message was not over:
 *
 *   reader                                   publisher
 *   word = the pattern's                     the pattern's word says that the message is over
 *   cell = extent                            unpin; retire; full fence (H1)
 *   full fence            <-- P1 -->         free once no cell names it
 *   the pattern's word as it was?
 *
 *   P1: at least one of them sees the other. Where the reader changes the pattern's word by compare-and-swap (a claim),
 *   that is the look: the publisher, which has seen a later value, sees the cell.
 */
#ifndef TARN_SHM_ARENA_H
#define TARN_SHM_ARENA_H

#include "shm/extents.h"

struct arena {
    struct extent *head; /* where small messages are placed; pinned by that; NULL: none yet */
    char *at;            /* from here on */
    uint64_t alignment;
    struct extents extents;
};

/*
 * options: limits; the rest is the arena's. alignment of payloads: a power of two from 8 to 4096. 0 or a negative
 * errno.
 */
int arena_open(struct arena *arena, const struct extents_options *options, struct publisher_slot *slot,
               struct readers *readers, uint16_t incarnation, uint64_t alignment);
void arena_close(struct arena *arena);

/* Finds a place. It is pinned. 0, -EAGAIN (full, or not without more effort), or a negative errno. */
int arena_reserve(struct arena *arena, uint64_t bytes, enum extents_effort effort, struct place *ret);

/*
 * Writes what stands before the payload. Returns the word that names the place, for the caller to publish by a release.
 */
uint64_t arena_finish(struct place *place, uint64_t bytes, uint64_t number);

/* The message is over, or was never sent. */
void arena_unpin(struct extent *extent);

#endif
