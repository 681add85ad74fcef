/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A publisher's view of its topic's subscribers: which slots are in use, and what their words and cells say.
 * Private memory of one publisher; brought up to date by readers_refresh() when the roster's change counter moved.
 */
#ifndef TARN_SHM_READERS_H
#define TARN_SHM_READERS_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/roster.h"

struct reader {
    struct subscriber_slot *subscriber;
    struct reader_row *row; /* NULL until its reader or a neighbour attached */
    uint32_t slot;
    uint16_t place; /* of its words in a row */
    bool live;      /* else LEAVING: holds messages, reads nothing more */
    bool reliable;  /* and live */
};

struct readers {
    struct roster *roster;
    struct publisher_slot *publisher;
    uint16_t incarnation; /* the publisher's */
    uint64_t only;        /* peer_word() of the only one that there is, of an addressed publisher; 0: all are */
    uint32_t changes;     /* the counter that the list belongs to */
    bool known;           /* the list is whole */
    struct reader *list;
    uint32_t count, capacity;
    uint32_t reliable_count;
};

void readers_init(struct readers *readers, struct roster *roster, struct publisher_slot *publisher,
                  uint16_t incarnation);
void readers_free(struct readers *readers);

/*
 * Rebuilds the list if participants changed. False: no memory for it, or more participants than the roster has room
 * for, as links that were damaged name a block again and again; then nothing may be retired or freed.
 */
bool readers_refresh(struct readers *readers);

/* The next sequence number that every reliable reader has left behind; UINT64_MAX without reliable readers. */
uint64_t readers_reliable_cursor(struct readers *readers);

/* Generations below it may be read by nobody, as far as the words tell. */
uint64_t readers_oldest(struct readers *readers);

/*
 * Calls found(context, extent) for each extent of this publisher that a reader holds whose word is not above
 * generation. False: some cells could not be read, or there are more than the roster has room for, so nothing may be
 * freed.
 */
bool readers_holds(struct readers *readers, uint64_t generation, void (*found)(void *context, extent_ref extent),
                   void *context);

/* Returns whether the reader is dead: then it is left out until the list is made anew. */
typedef bool reader_visit(void *context, const struct reader *reader);

/*
 * Live readers that have not attached segment_count segments, or are reliable and have not taken all before sequence:
 * calls visit for each, and returns their number. with_keepers: those who read nothing count, too.
 */
uint32_t readers_behind(struct readers *readers, uint32_t segment_count, uint64_t sequence, bool with_keepers,
                        reader_visit *visit, void *context);

/* How many live readers have attached so many segments. Calls visit for each that seems to have. */
uint32_t readers_attached(struct readers *readers, uint32_t segment_count, reader_visit *visit, void *context);

/* Calls visit for each reader that keeps memory of a generation up to that, or is reliable and before sequence. */
void readers_blocking(struct readers *readers, uint64_t generation, uint64_t sequence, reader_visit *visit,
                      void *context);

#endif
