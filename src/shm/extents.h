/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A publisher's memory: its chain of segments, cut into extents, and the life of each extent. All of this struct is
 * private memory, so no crash of anybody can corrupt it; shared are only the table entries (layout.h).
 *
 *   cold --carve--> FREE --take--> AHEAD --append--> LOG --retire--> RETIRED --nobody holds it--> FREE ...
 *     ^               |                                                |  ^
 *     +---- give back +               |                loan sent late  v  | its message is no longer kept
 *                                      +--- loan sent late --------> DETACHED
 *
 * cold: addresses without memory behind them. FREE extents are warm and reused first. The memory limit counts all that
 * is not cold, and not kept only because readers hold it. Segments are added, each twice the last, and stay until the
 * publisher closes.
 *
 * Which FREE extent is taken decides the bandwidth. What the other core has read, and has in its private cache yet, is
 * slower to get back than what only the shared cache has: large messages, and streams of small ones, rotate through
 * more than that private cache holds. Who sends little uses few extents over and over, the last freed first.
 */
#ifndef TARN_SHM_EXTENTS_H
#define TARN_SHM_EXTENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/layout.h"
#include "shm/readers.h"
#include "shm/segment.h"

#define SMALL_RETENTION_BYTES (256u * 1024)
#define MEMORY_LIMIT_MIN (512u * 1024)
#define MEMORY_LIMIT_MAX (UINT64_C(1) << 46)
/*
 * Beyond the limit: the extent where small messages go and what surrounds one, so that one as large as the limit fits.
 */
#define LIMIT_SLACK_BYTES (3 * EXTENT_BYTES_MIN)
#define QUICK_TAKES_MAX 16u

/* Where a message lies that is in no log, or not in order. */
struct place {
    struct extent *extent;
    char *payload;
    uint64_t bytes; /* reserved */
};

enum extent_held { HELD_AT_ALL = 1, HELD_BY_NAME = 2 }; /* by anything; by a cell that names it */

enum extent_state { EXTENT_FREE = 0, EXTENT_AHEAD, EXTENT_LOG, EXTENT_RETIRED, EXTENT_DETACHED };

struct extent {
    /* a line with what sending goes through */
    _Alignas(CACHE_LINE_BYTES) struct extent *next; /* in the queue of its state */
    char *base;
    struct extent_entry *entry;
    uint64_t bytes;
    uint64_t generation; /* the last one given, stamped */
    uint64_t first_sequence;
    uint64_t end_sequence; /* behind its last message; of the log's last extent told when it ends */
    extent_ref ref;
    uint16_t state; /* enum extent_state */
    uint8_t held;   /* scratch of one look at the cells: enum extent_held */
    /* the rest */
    uint64_t late_end; /* behind the last message of a loan that was sent late from it; 0: there is none */
    int64_t freed_ns;
    uint64_t least_bytes; /* of records that do not waste it; of the head, and the one ahead */
    uint32_t pins;        /* open loans in it; messages that are not over, where there is no log */
};

struct extent_queue {
    struct extent *head, *tail;
    uint64_t bytes;
};

struct cold_range {
    struct cold_range *next; /* by offset, never adjacent */
    uint64_t offset, bytes;
};

struct owned_segment {
    char *base;
    uint64_t bytes;
    struct extent *extents; /* one per table entry */
    uint32_t extent_count;
    uint32_t unused_count;
    uint32_t *unused; /* stack of indices without an extent */
    struct cold_range *cold;
};

struct extents_options {
    struct segment_access access;
    uint64_t depth;          /* 0: the default, which gives way to the memory limit */
    uint64_t limit_bytes;    /* 0: the machine's, looked up when it may matter */
    uint64_t slack_bytes;    /* beyond the limit: LIMIT_SLACK_BYTES */
    uint64_t rotation_bytes; /* 0: the machine's, looked up with the first large message or stream */
    bool realtime;
    bool places; /* there is no log: each message keeps the extent that it lies in by a pin, see arena.h */
};

struct extents {
    struct extents_options options;
    struct publisher_slot *slot; /* segment references and the note of a key go there */
    struct readers *readers;
    uint16_t incarnation;
    bool is_held_long; /* the first RETIRED one, since the trim before last: whoever holds it may be dead */
    uint32_t segment_count;
    uint32_t segments_needed; /* behind the last of them that the log has left */
    struct owned_segment segments[SEGMENTS_MAX];
    struct extent_queue log, retired, detached;
    struct extent_queue free, free_large; /* up to EXTENT_BYTES_MIN, and larger; the first is taken first */
    uint64_t generation;                  /* count of the last one given */
    uint64_t warm_bytes;                  /* of all extents */
    uint64_t held_bytes; /* of RETIRED ones that readers' cells name: charged beyond the limit, as the cells bound it */
    uint64_t sized_record_bytes, sized; /* what extents_size_for() said last */
    int64_t trimmed_ns;
    int64_t taken_ns;      /* when the last one for small messages was taken */
    int64_t taken_quickly; /* since, without a look at the clock */
    bool streams;          /* and the one before it shortly before */
    uint32_t quick_takes;  /* since the clock was last looked at */
    bool is_sparse;        /* large messages came faster than they could be written, not long ago */
    int64_t paced_ns, sparse_ns;
    uint64_t records_at_once; /* what extents_records_at_once() said last */
    uint64_t passed_bytes;    /* that large messages had of their extents since paced_ns */
    bool cannot_grow;         /* early: it failed once */
    bool cannot_share;        /* for such an extent no memory was to be had once */
    uint32_t held_generation; /* of the first RETIRED one, when trimmed last: its low bits */
};

/* Makes the first segment. Returns 0 or a negative errno. */
int extents_open(struct extents *extents, const struct extents_options *options, struct publisher_slot *slot,
                 struct readers *readers, uint16_t incarnation);
void extents_close(struct extents *extents);

static inline struct segment_header *extents_header(struct extents *extents) {
    return (struct segment_header *)(void *)extents->segments[0].base;
}

/* The limit without slack, looked up if need be: reading what cgroups allow takes 100 us. */
uint64_t extents_limit(struct extents *extents);

uint64_t extents_size_for_large(struct extents *extents, uint64_t record_bytes);

/* Size of extent that a record of so many bytes (jump included) gets when it needs a new one. */
static inline uint64_t extents_size_for(struct extents *extents, uint64_t record_bytes) {
    if (record_bytes <= EXTENT_BYTES_MIN)
        return EXTENT_BYTES_MIN;
    return record_bytes == extents->sized_record_bytes ? extents->sized : extents_size_for_large(extents, record_bytes);
}

/*
 * How many segments have to be attached to read all that was sent: those up to the last that the log went through, also
 * without a message, as who reads comes that way. head: where it is, with that sequence number next; without a message
 * it does not count.
 */
static inline uint32_t extents_segments_needed(const struct extents *extents, const struct extent *head,
                                               uint64_t sequence) {
    uint32_t with_head = extent_ref_segment(head->ref) + 1;
    return with_head > extents->segments_needed && sequence > head->first_sequence ? with_head
                                                                                   : extents->segments_needed;
}

enum extents_effort {
    EFFORT_QUICK,   /* what is FREE already, or, where messages rotate, cold */
    EFFORT_RECLAIM, /* and what can be retired and freed now, or is cold; or a segment, where it pays to have more */
    EFFORT_ALL,     /* and new segments, up to the limit, and giving up default retention for it */
};

/* Of FREE extents of that size, where they are used in turn: else, NULL, it takes a longer look. */
static inline struct extent_queue *extents_in_turn(struct extents *extents, uint64_t size) {
    return size > EXTENT_BYTES_MIN ? &extents->free_large : extents->streams ? &extents->free : NULL;
}

/* The FREE extent that will probably be taken next, if its size is wanted; or NULL. */
static inline struct extent *extents_next(struct extents *extents, uint64_t size) {
    struct extent_queue *queue = extents_in_turn(extents, size);
    return queue && queue->head && queue->head->bytes == size ? queue->head : NULL;
}

/*
 * Takes it, as extents_take() does; or NULL, now and then for no other reason than that memory not needed is given
 * back.
 */
static inline struct extent *extents_take_next(struct extents *extents, uint64_t size) {
    struct extent *extent = extents_next(extents, size);
    if (!extent || extents->quick_takes++ >= QUICK_TAKES_MAX)
        return NULL;
    extents->taken_quickly += size <= EXTENT_BYTES_MIN;
    struct extent_queue *queue = extents_in_turn(extents, size);
    queue->head = extent->next;
    if (!extent->next)
        queue->tail = NULL;
    queue->bytes -= extent->bytes;
    extent->state = EXTENT_AHEAD;
    return extent;
}

/*
 * How many records of that size an extent should have room for. An extent for each large message costs as much as ten
 * small ones, and is worth it where memory is written; where hardly any is, several share one.
 */
uint64_t extents_records_at_once(struct extents *extents, uint64_t record_bytes);

/*
 * An extent for several records could not be had, for that reason. False: it was to be for one. Else so are the next,
 * until messages are found to be sparse again; or for good, where there was no memory.
 */
bool extents_share_no_more(struct extents *extents, int error);

/*
 * Takes an extent of at least size bytes out of the queues: it is AHEAD, and the caller's. Messages from next_sequence
 * - depth on are kept from retiring.
 * Returns 0, -EAGAIN (full: the limit is reached; or not to be had with that effort), or a negative errno.
 */
int extents_take(struct extents *extents, uint64_t size, uint64_t next_sequence, enum extents_effort effort,
                 struct extent **ret);

/*
 * Readies an extent that is AHEAD, for a log that goes on there with first_sequence: first header word cleared, table
 * entry written, a new generation, valid (release, L2). Not yet jumped to. May be done again, if first_sequence was
 * wrong.
 */
void extents_ready(struct extents *extents, struct extent *extent, uint64_t first_sequence);

/* Leaves it to messages that are in no log: it stays as long as it has pins. */
void extents_set_apart(struct extents *extents, struct extent *extent);

/* Makes it the log's last. */
void extents_append(struct extents *extents, struct extent *extent);

/* Whether it would help that the log, which ends in that extent, went on in a small one elsewhere. */
bool extents_is_in_the_way(const struct extents *extents, const struct extent *extent);

/* The log goes on behind it, with that sequence. used_bytes: up to where it went in it. */
void extents_end(struct extents *extents, struct extent *extent, uint64_t sequence, uint64_t used_bytes);

/* Gives back an extent that is AHEAD and was not used. */
void extents_put_back(struct extents *extents, struct extent *extent);

/* Returns to the kernel what is free, where somebody has the rest from now on: nobody else could. */
void extents_give_back(struct extents *extents);

/* Retires what is no longer kept and frees what nobody holds. relaxed: default retention gives way. */
void extents_reclaim(struct extents *extents, uint64_t next_sequence, bool relaxed);

/* An extent in which a loan is being sent: makes it enterable if it was retired. The message gets that sequence. */
void extents_reenter(struct extents *extents, struct extent *extent, uint64_t sequence);

/* The highest generation of those that are retired and not free yet; 0: there is none. */
uint64_t extents_youngest_retired(const struct extents *extents);

/*
 * The generation up to which, and the sequence before which, readers keep the log's oldest extent from being free, or,
 * with realtime, anything that is retired.
 */
void extents_blockage(struct extents *extents, uint64_t *ret_generation, uint64_t *ret_sequence);

/*
 * The sequence that reliable readers should reach before a publisher that waits for space is woken: with small messages
 * that of several extents, as sleeping and waking for each would take longer than filling it. Whoever waits looks again
 * in each slice, so a slow reader is not waited for that long.
 */
uint64_t extents_wanted(const struct extents *extents);

#endif
