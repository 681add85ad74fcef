/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See extents.h for the states, log.h for the protocol of retiring. */
#include "shm/extents.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/machine.h"
#include "base/os.h"
#include "base/points.h"
#include "shm/log.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define FIRST_SEGMENT_DATA_BYTES (512u * 1024)
#define DEFAULT_DEPTH 8u
#define STREAM_NS (10 * NS_PER_MS) /* who needs the next extent for small messages sooner sends a stream */
#define RETIRED_AT_ONCE 6u
#define READERS_PER_RETIRED 16u /* retiring looks at a word of each reader: so many more at once */
#define RETIRED_BYTES_MAX (8u * 1024 * 1024)
#define WRITTEN_PER_NS_MAX 100u         /* bytes: no processor writes more into memory */
#define WANTED_BYTES_MAX (1024u * 1024) /* that a publisher waits for at once */
/* In an extent, where large ones share one: fewer, but not fewer than that, where they would have more bytes than */
#define RECORDS_AT_ONCE 64u
#define RECORDS_AT_ONCE_MIN 4u
#define SHARED_BYTES_MAX                                                                                               \
    (64u * 1024 * 1024)  /* as all of it is written for a while, if all of each message suddenly is */
#define EXTENTS_ROUND 4u /* there, beside those that are kept */
#define PACED_AT_ONCE 8u /* extents, for a look at how fast they are used */
#define TRIM_INTERVAL_NS NS_PER_SECOND
#define TRIM_AGE_NS (5 * NS_PER_SECOND)

/* ---- queues --------------------------------------------------------------------------------------------------- */

static void push_tail(struct extent_queue *queue, struct extent *extent) {
    extent->next = NULL;
    if (queue->tail)
        queue->tail->next = extent;
    else
        queue->head = extent;
    queue->tail = extent;
    queue->bytes += extent->bytes;
}

static void push_head(struct extent_queue *queue, struct extent *extent) {
    extent->next = queue->head;
    queue->head = extent;
    if (!queue->tail)
        queue->tail = extent;
    queue->bytes += extent->bytes;
}

static struct extent *remove_after(struct extent_queue *queue, struct extent *previous) {
    struct extent *extent = previous ? previous->next : queue->head;
    if (previous)
        previous->next = extent->next;
    else
        queue->head = extent->next;
    if (queue->tail == extent)
        queue->tail = previous;
    queue->bytes -= extent->bytes;
    extent->next = NULL;
    return extent;
}

static void make_free(struct extents *extents, struct extent *extent) {
    extent->state = EXTENT_FREE;
    extent->freed_ns = extents->trimmed_ns; /* close enough: the clock is read at most once an interval */
    if (extent->bytes > EXTENT_BYTES_MIN)
        push_tail(&extents->free_large, extent);
    else if (extents->streams)
        push_tail(&extents->free, extent); /* rotate */
    else
        push_head(&extents->free, extent); /* few lines */
}

/* ---- segments ------------------------------------------------------------------------------------------------- */

static void write_reference(struct segment_ref *ref, const struct segment_name *name) {
    store_relaxed(&ref->nonce, name->nonce);
    store_relaxed(&ref->bytes, name->bytes);
    store_relaxed(&ref->id, name->id);
    store_release(&ref->backend, name->backend); /* whoever sees a backend sees the rest */
}

static int prepare_private(struct owned_segment *segment, uint32_t extent_count, uint64_t data_offset) {
    segment->extents = aligned_alloc(CACHE_LINE_BYTES, extent_count * sizeof(*segment->extents));
    segment->unused = malloc(extent_count * sizeof(*segment->unused));
    segment->cold = malloc(sizeof(*segment->cold));
    if (!segment->extents || !segment->unused || !segment->cold) {
        free(segment->extents);
        free(segment->unused);
        free(segment->cold);
        return -ENOMEM;
    }
    memset(segment->extents, 0, extent_count * sizeof(*segment->extents));
    segment->extent_count = segment->unused_count = extent_count;
    for (uint32_t i = 0; i < extent_count; i++)
        segment->unused[i] = extent_count - 1 - i;
    *segment->cold = (struct cold_range){NULL, data_offset, segment->bytes - data_offset};
    return 0;
}

static uint64_t data_offset_for(uint32_t extent_count) {
    return round_up(sizeof(struct segment_header) + (uint64_t)extent_count * sizeof(struct extent_entry), EXTENT_GRAIN);
}

static int add_segment(struct extents *extents, uint64_t data_bytes) {
    uint32_t number = extents->segment_count;
    uint32_t extent_count = (uint32_t)(data_bytes / EXTENT_BYTES_MIN);
    if (number >= SEGMENTS_MAX || data_bytes / EXTENT_BYTES_MIN >= 1u << EXTENT_INDEX_BITS)
        return -ENOSPC;
    struct owned_segment *segment = &extents->segments[number];
    struct segment_name name = {BACKEND_SYSV, 0, data_offset_for(extent_count) + data_bytes, os_random()};
    void *base;
    int error =
        segment_create(&base, &name.id, name.bytes, &extents->slot->pending_key, &extents->options.access, false);
    if (error)
        return error;
    *segment = (struct owned_segment){.base = base, .bytes = name.bytes};
    error = prepare_private(segment, extent_count, data_offset_for(extent_count));
    if (error) {
        segment_detach(base);
        return error;
    }
    struct segment_header *header = base;
    header->layout_major = TARN_LAYOUT_MAJOR;
    header->layout_minor = TARN_LAYOUT_MINOR;
    header->nonce = name.nonce;
    header->bytes = name.bytes;
    header->number = number;
    header->extent_count = extent_count;
    header->table_offset = sizeof(*header);
    header->data_offset = data_offset_for(extent_count);
    store_relaxed(&header->newest, EXTENT_NONE);
    store_relaxed(&header->oldest, EXTENT_NONE);
    store_release(&header->magic, SEGMENT_MAGIC);
    if (extents->options.realtime)
        madvise(base, name.bytes, MADV_POPULATE_WRITE); /* before Linux 5.14: faults come at first touch */
    /* killed here, or anywhere above: the kernel frees a segment that nobody else knows. */
    POINT(segment_not_referred_to);
    write_reference(number == 0 ? &extents->slot->segment : &extents_header(extents)->chain[number], &name);
    extents->segment_count = number + 1;
    store_release(&extents_header(extents)->segment_count, number + 1);
    POINT(segment_referred_to);
    atomic_fetch_add_explicit(&extents->readers->roster->header->changes, 1, memory_order_acq_rel);
    return 0;
}

int extents_open(struct extents *extents, const struct extents_options *options, struct publisher_slot *slot,
                 struct readers *readers, uint16_t incarnation) {
    memset(extents, 0, sizeof(*extents));
    extents->options = *options;
    extents->slot = slot;
    extents->readers = readers;
    extents->incarnation = incarnation;
    extents->trimmed_ns = os_now_ns();
    extents->segments_needed = 1;
    store_relaxed(&slot->depth, options->places ? 0 : options->depth);
    store_relaxed(&slot->limit_bytes, options->limit_bytes);
    store_relaxed(&slot->realtime, options->realtime);
    uint64_t first = options->realtime ? options->limit_bytes + options->slack_bytes : FIRST_SEGMENT_DATA_BYTES;
    return add_segment(extents, first & ~(uint64_t)(EXTENT_GRAIN - 1));
}

void extents_close(struct extents *extents) {
    for (uint32_t i = 0; i < extents->segment_count; i++) {
        struct owned_segment *segment = &extents->segments[i];
        while (segment->cold) {
            struct cold_range *next = segment->cold->next;
            free(segment->cold);
            segment->cold = next;
        }
        free(segment->extents);
        free(segment->unused);
        segment_detach(segment->base);
    }
    extents->segment_count = 0;
}

/* ---- cold and warm -------------------------------------------------------------------------------------------- */

static void account(struct extents *extents, int64_t bytes) {
    extents->warm_bytes += (uint64_t)bytes;
    store_relaxed(&extents_header(extents)->bytes_held, extents->warm_bytes); /* for tools, no order needed */
}

uint64_t extents_limit(struct extents *extents) {
    if (!extents->options.limit_bytes)
        extents->options.limit_bytes = machine_memory_limit();
    return extents->options.limit_bytes;
}

uint64_t extents_size_for_large(struct extents *extents, uint64_t record_bytes) {
    uint64_t grain =
        (UINT64_C(1) << (63 - __builtin_clzll(record_bytes))) / 8; /* 8 sizes to an octave: they get reused */
    uint64_t size = round_up(record_bytes, grain < EXTENT_GRAIN ? EXTENT_GRAIN : grain);
    bool tight = size + 2 * EXTENT_BYTES_MIN > extents_limit(extents) + extents->options.slack_bytes;
    extents->sized_record_bytes = record_bytes;
    extents->sized = tight ? round_up(record_bytes, EXTENT_GRAIN) : size;
    return extents->sized;
}

static uint64_t kept_messages(const struct extents *extents) {
    return extents->options.depth ? extents->options.depth : DEFAULT_DEPTH;
}

static uint64_t between(uint64_t least, uint64_t value, uint64_t most) {
    return value < least ? least : value > most ? most : value;
}

/* As each message that is kept may keep all of its extent, no more than a quarter of the memory limit does for that. */
uint64_t extents_records_at_once(struct extents *extents, uint64_t record_bytes) {
    uint64_t records = 1, kept = kept_messages(extents);
    if (extents->is_sparse && !extents->cannot_share && record_bytes > EXTENT_BYTES_MIN / 2 &&
        extents->warm_bytes <= extents_limit(extents) / 4) {
        uint64_t fit = extents_limit(extents) / 4 / record_bytes;
        uint64_t each = fit > kept ? fit / (kept + EXTENTS_ROUND) : 1;
        uint64_t most = between(RECORDS_AT_ONCE_MIN, SHARED_BYTES_MAX / record_bytes, RECORDS_AT_ONCE);
        records = between(1, each, most);
    }
    extents->records_at_once = records;
    return records;
}

bool extents_share_no_more(struct extents *extents, int error) {
    if (extents->records_at_once <= 1)
        return false;
    extents->is_sparse = false;
    extents->sparse_ns = 0;
    extents->cannot_share |= error != -EAGAIN;
    return true;
}

static struct extent *carve_from(struct extents *extents, uint32_t number, struct cold_range **link, uint64_t bytes) {
    struct owned_segment *segment = &extents->segments[number];
    struct cold_range *range = *link;
    uint32_t index = segment->unused[--segment->unused_count];
    struct extent *extent = &segment->extents[index];
    struct extent_entry *table = (struct extent_entry *)(void *)(segment->base + sizeof(struct segment_header));
    *extent = (struct extent){
        .base = segment->base + range->offset,
        .entry = &table[index],
        .bytes = bytes,
        .ref = extent_ref_make(number, index),
    };
    store_relaxed(&extent->entry->offset, range->offset); /* generation is 0: nobody enters */
    range->offset += bytes;
    range->bytes -= bytes;
    if (range->bytes == 0) {
        *link = range->next;
        free(range);
    }
    account(extents, (int64_t)bytes);
    return extent;
}

static bool is_within_limit(struct extents *extents, uint64_t more_bytes) {
    if (!extents->options.limit_bytes && extents->warm_bytes + more_bytes <= FIRST_SEGMENT_DATA_BYTES)
        return true; /* the least that a limit may be */
    return extents->warm_bytes + more_bytes <=
           extents_limit(extents) + extents->options.slack_bytes + extents->held_bytes;
}

static struct extent *carve(struct extents *extents, uint64_t bytes) {
    if (!is_within_limit(extents, bytes))
        return NULL;
    for (uint32_t i = 0; i < extents->segment_count; i++) {
        struct owned_segment *segment = &extents->segments[i];
        if (segment->unused_count == 0)
            continue;
        for (struct cold_range **link = &segment->cold; *link; link = &(*link)->next)
            if ((*link)->bytes >= bytes)
                return carve_from(extents, i, link, bytes);
    }
    return NULL;
}

/* Returns an extent's memory to the kernel and its addresses to cold. False: no memory to note that. */
static bool give_back(struct extents *extents, struct extent *extent) {
    struct owned_segment *segment = &extents->segments[extent_ref_segment(extent->ref)];
    uint64_t offset = (uint64_t)(extent->base - segment->base);
    struct cold_range *range = malloc(sizeof(*range));
    if (!range)
        return false;
    if (!extents->options.realtime) /* what is locked into memory stays, but may be cut anew all the same */
        madvise(extent->base, extent->bytes, MADV_REMOVE);
    struct cold_range **link = &segment->cold, *before = NULL;
    for (; *link && (*link)->offset < offset; link = &(*link)->next)
        before = *link;
    *range = (struct cold_range){*link, offset, extent->bytes};
    *link = range;
    if (range->next && range->offset + range->bytes == range->next->offset) {
        struct cold_range *after = range->next;
        range->bytes += after->bytes;
        range->next = after->next;
        free(after);
    }
    if (before && before->offset + before->bytes == range->offset) {
        before->bytes += range->bytes;
        before->next = range->next;
        free(range);
    }
    segment->unused[segment->unused_count++] = extent_ref_index(extent->ref);
    account(extents, -(int64_t)extent->bytes);
    return true;
}

static void give_back_of(struct extents *extents, struct extent_queue *queue, int64_t before_ns) {
    struct extent *previous = NULL;
    for (struct extent *extent = queue->head; extent;) {
        struct extent *next = extent->next;
        if (extent->freed_ns < before_ns) {
            remove_after(queue, previous);
            if (!give_back(extents, extent)) {
                push_head(queue, extent);
                return;
            }
        } else
            previous = extent;
        extent = next;
    }
}

/* Gives FREE extents back that were not needed since before_ns. */
static void give_back_free(struct extents *extents, int64_t before_ns) {
    give_back_of(extents, &extents->free, before_ns);
    give_back_of(extents, &extents->free_large, before_ns);
}

void extents_give_back(struct extents *extents) {
    give_back_free(extents, INT64_MAX);
}

/*
 * What comes faster than it could be written is written in part: then its extents have little memory, and may be more.
 */
static void look_at_pace(struct extents *extents, uint64_t size, int64_t now) {
    uint64_t records = extents->records_at_once > 1 ? extents->records_at_once : 1;
    extents->is_sparse &= now - extents->sparse_ns < TRIM_AGE_NS; /* though too little comes for a look */
    if (size <= EXTENT_BYTES_MIN || extents->passed_bytes < PACED_AT_ONCE * size / records)
        return;
    uint64_t elapsed_ns = (uint64_t)(now - extents->paced_ns);
    if (extents->passed_bytes / WRITTEN_PER_NS_MAX > elapsed_ns)
        extents->sparse_ns = now;
    extents->is_sparse = extents->sparse_ns && now - extents->sparse_ns < TRIM_AGE_NS;
    extents->paced_ns = now;
    extents->passed_bytes = 0;
}

static void trim(struct extents *extents, uint64_t size, uint64_t next_sequence) {
    extents->quick_takes = 0;
    if (extents->options.realtime)
        return;
    int64_t now = os_now_ns();
    bool was_sparse = extents->is_sparse;
    look_at_pace(extents, size, now);
    bool is_over = was_sparse && !extents->is_sparse;
    if (now - extents->trimmed_ns < TRIM_INTERVAL_NS && !is_over)
        return;
    extents->trimmed_ns = now;
    extents_reclaim(extents, next_sequence, false); /* what is not kept any more starts to age */
    uint32_t generation = extents->retired.head ? (uint32_t)extents->retired.head->generation : 0;
    extents->is_held_long = generation && generation == extents->held_generation;
    extents->held_generation = generation;
    give_back_free(extents, is_over ? INT64_MAX : now - TRIM_AGE_NS);
}

/* ---- retiring and freeing ------------------------------------------------------------------------------------- */

/*
 * Whether the policy still keeps an extent, whose messages end before end: depth, small retention, reliable readers.
 * younger_bytes: of the log behind it.
 */
static bool is_kept(const struct extents *extents, uint64_t end, uint64_t next_sequence, uint64_t younger_bytes,
                    uint64_t reliable_cursor, bool relaxed) {
    if (reliable_cursor < end)
        return true;
    if (extents->options.depth)
        return next_sequence - end < extents->options.depth;
    return !relaxed && (next_sequence - end < DEFAULT_DEPTH || younger_bytes < SMALL_RETENTION_BYTES);
}

static struct extent *extent_of(struct extents *extents, extent_ref ref) {
    uint32_t number = extent_ref_segment(ref), index = extent_ref_index(ref);
    if (number >= extents->segment_count || index >= extents->segments[number].extent_count)
        return NULL;
    return &extents->segments[number].extents[index];
}

static void mark_held(void *context, extent_ref ref) {
    struct extents *extents = context;
    struct extent *extent = extent_of(extents, ref);
    if (extent)
        extent->held |= HELD_BY_NAME;
    for (extent = extents->retired.head; extent && ref == EXTENT_NONE; extent = extent->next)
        extent->held |=
            HELD_AT_ALL; /* a reader that is about to choose, and may be stopped there: see source_hold_all() */
}

/* Frees RETIRED extents that nobody holds. The caller's fence (H1) lies between their retiring and this look. */
static void free_unheld(struct extents *extents) {
    if (!extents->retired.head || !readers_refresh(extents->readers))
        return;
    uint64_t oldest = readers_oldest(extents->readers);
    uint64_t highest = 0;
    for (struct extent *extent = extents->retired.head; extent; extent = extent->next) {
        extent->held = extent->pins > 0 ? HELD_AT_ALL : 0;
        if (extent->generation >= oldest && extent->generation > highest)
            highest = extent->generation;
    }
    if (highest && !readers_holds(extents->readers, highest, mark_held, extents))
        return;
    POINT(cells_read);
    struct extent *previous = NULL;
    extents->held_bytes = 0;
    for (struct extent *extent = extents->retired.head; extent;) {
        struct extent *next = extent->next;
        if (extent->held) {
            previous = extent;
            extents->held_bytes +=
                extent->held & HELD_BY_NAME && !extent->pins && !extents->options.realtime ? extent->bytes : 0;
        } else
            make_free(extents, remove_after(&extents->retired, previous));
        extent = next;
    }
}

static void retire(struct extents *extents, struct extent *extent) {
    /* release: H1 needs the fence behind it; the jump out of this extent was written long before. */
    store_release(&extent->entry->generation, 0);
    POINT(extent_retired);
    extent->state = EXTENT_RETIRED;
    push_tail(&extents->retired, extent);
}

/*
 * Leaves an extent open to readers, but no longer as a part of the log: it can be entered by a reference from now on.
 * Who enters it as such at this moment reads on there like anyone else who was in it.
 */
static void detach(struct extents *extents, struct extent *extent) {
    /*
     * relaxed, and no fence: either value is right for who enters, and its memory is not used again before it is
     * retired
     */
    store_relaxed(&extent->entry->first_sequence, NO_FIRST_SEQUENCE);
    POINT(extent_detached);
    /* killed here, or just before: all of this publisher goes; readers keep what they have mapped. */
    extent->end_sequence = extent->late_end;
    extent->state = EXTENT_DETACHED;
    push_tail(&extents->detached, extent);
}

static bool retire_log(struct extents *extents, uint64_t next_sequence, uint64_t reliable_cursor, bool relaxed) {
    struct extent *keep = extents->log.head;
    uint64_t younger_bytes = extents->log.bytes;
    while (keep && keep != extents->log.tail) { /* the one being written stays */
        younger_bytes -= keep->bytes;
        if (is_kept(extents, keep->end_sequence, next_sequence, younger_bytes, reliable_cursor, relaxed))
            break;
        keep = keep->next;
    }
    bool any = keep != extents->log.head;
    if (any) /* before retiring, so that who reads a stale one finds its generation 0, and looks again */
        store_release(&extents_header(extents)->oldest, keep->ref);
    POINT(oldest_told);
    while (extents->log.head != keep) {
        struct extent *extent = remove_after(&extents->log, NULL);
        /* messages sent late from it would keep all that follows, were it to stay in the log */
        if (extent->late_end > extent->end_sequence)
            detach(extents, extent);
        else
            retire(extents, extent);
    }
    return any;
}

static bool retire_detached(struct extents *extents, uint64_t next_sequence, uint64_t reliable_cursor, bool relaxed) {
    bool any = false;
    struct extent *previous = NULL;
    for (struct extent *extent = extents->detached.head; extent;) {
        struct extent *next = extent->next;
        /* Where the log still refers to it, it is kept, so that who reads there does not lose it. */
        bool referred = !relaxed && extents->log.head && extent->end_sequence > extents->log.head->first_sequence;
        bool pinned = extents->options.places && extent->pins > 0;
        if (referred || pinned ||
            is_kept(extents, extent->end_sequence, next_sequence, UINT64_MAX, reliable_cursor, relaxed))
            previous = extent;
        else {
            retire(extents, remove_after(&extents->detached, previous));
            any = true;
        }
        extent = next;
    }
    return any;
}

void extents_reclaim(struct extents *extents, uint64_t next_sequence, bool relaxed) {
    full_fence(); /* H2: jumps written so far are seen by any joiner that the next line does not see */
    POINT(reclaim_fenced);
    if (!readers_refresh(extents->readers))
        return;
    uint64_t cursor = readers_reliable_cursor(extents->readers);
    bool any = retire_log(extents, next_sequence, cursor, relaxed);
    any |= retire_detached(extents, next_sequence, cursor, relaxed);
    if (any)
        full_fence(); /* H1 */
    POINT(retiring_fenced);
    /* killed here: all of this publisher goes; readers keep what they have mapped. */
    free_unheld(extents);
}

void extents_reenter(struct extents *extents, struct extent *extent, uint64_t sequence) {
    if (extent->state == EXTENT_LOG) {
        extent->late_end = sequence + 1;
        return;
    }
    extent->end_sequence = sequence + 1;
    if (extent->state != EXTENT_RETIRED)
        return;
    struct extent *previous = NULL;
    for (struct extent *e = extents->retired.head; e != extent; e = e->next)
        previous = e;
    remove_after(&extents->retired, previous);
    extent->state = EXTENT_DETACHED;
    extent->generation = stamped(extents->incarnation, ++extents->generation);
    push_tail(&extents->detached, extent);
    store_relaxed(&extent->entry->first_sequence, NO_FIRST_SEQUENCE);
    POINT(loan_entered_again);
    /* killed here, or behind: nobody refers to it yet, so nobody enters */
    store_release(&extent->entry->generation, extent->generation); /* L2: who acquires it sees the line above */
    POINT(loan_valid_again);
}

uint64_t extents_youngest_retired(const struct extents *extents) {
    uint64_t youngest = 0;
    for (const struct extent *extent = extents->retired.head; extent; extent = extent->next)
        if (extent->generation > youngest)
            youngest = extent->generation;
    return youngest;
}

void extents_blockage(struct extents *extents, uint64_t *ret_generation, uint64_t *ret_sequence) {
    struct extent *first = extents->retired.head ? extents->retired.head : extents->log.head;
    *ret_generation = first ? first->generation : 0;
    /* whose memory is fixed, for him each counts that is held, not the oldest alone */
    if (extents->options.realtime && extents->retired.head)
        *ret_generation = extents_youngest_retired(extents);
    *ret_sequence = extents->log.head != extents->log.tail ? extents->log.head->end_sequence : 0;
}

uint64_t extents_wanted(const struct extents *extents) {
    const struct extent *wanted = extents->log.head;
    if (wanted == extents->log.tail)
        return 0;
    uint64_t bytes = 0;
    while (wanted->next != extents->log.tail && (bytes += wanted->bytes) < extents->log.bytes / 4 &&
           bytes < WANTED_BYTES_MAX)
        wanted = wanted->next;
    return wanted->end_sequence;
}

/* ---- taking --------------------------------------------------------------------------------------------------- */

/* The smallest FREE extent that is large enough and not wastefully large. */
static struct extent *take_free(struct extents *extents, uint64_t size) {
    if (size <= EXTENT_BYTES_MIN && extents->free.head)
        return remove_after(&extents->free, NULL);
    struct extent *best = NULL, *best_previous = NULL, *previous = NULL;
    for (struct extent *extent = extents->free_large.head; extent; previous = extent, extent = extent->next) {
        if (extent->bytes < size || extent->bytes / 4 >= size || (best && extent->bytes >= best->bytes))
            continue;
        best = extent;
        best_previous = previous;
        if (extent->bytes == size)
            break;
    }
    return best ? remove_after(&extents->free_large, best_previous) : NULL;
}

/*
 * How many more extents of small messages are used where many readers have to be looked at for each that is retired.
 * Not of large ones: writing them where caches have not got them costs more than looking.
 */
static uint64_t more_for_readers(const struct extents *extents, uint64_t size) {
    return size <= EXTENT_BYTES_MIN ? extents->readers->count / READERS_PER_RETIRED : 0;
}

static uint64_t rotation_bytes(struct extents *extents) {
    if (!extents->options.rotation_bytes)
        extents->options.rotation_bytes = machine_rotation_bytes();
    return extents->options.rotation_bytes;
}

/*
 * Where large messages have extents of their own, or share them, which is the same with fewer, and one more that is
 * being filled: there are to be as many as are kept, and as many as are retired at once; but no more bytes of them than
 * that is worth: what it costs to write megabytes is not that, nor what lies in no cache any more.
 */
static bool is_worth_another(struct extents *extents, uint64_t size) {
    uint64_t kept = kept_messages(extents), more = RETIRED_AT_ONCE - 1, records = extents->records_at_once;
    if (records > 1)
        return extents->warm_bytes / size < (kept + records - 1) / records + 1 + 1 + more / records;
    uint64_t rotation = rotation_bytes(extents),
             most_bytes = rotation < RETIRED_BYTES_MAX ? rotation : RETIRED_BYTES_MAX;
    if (!extents->is_sparse && more > most_bytes / size)
        more = most_bytes / size;
    return extents->warm_bytes / size < kept + 1 + more;
}

/*
 * Whether half of the memory limit does for one more. It is looked up only where the least that it may be does not do.
 */
static bool is_within_half(struct extents *extents, uint64_t size) {
    uint64_t wanted = extents->warm_bytes + size;
    return wanted <= MEMORY_LIMIT_MIN / 2 || wanted <= extents_limit(extents) / 2;
}

/*
 * Whether messages should rather get new memory than used memory: until they rotate through enough; and so that several
 * extents are retired at once, which readers notice less than one at a time, and which costs a publisher with many
 * readers less.
 */
static bool wants_more(struct extents *extents, uint64_t size) {
    uint64_t more = more_for_readers(extents, size);
    /* realtime: what small messages use in the middle of its one segment, large ones cannot have */
    bool rotates = size > EXTENT_BYTES_MIN || (extents->streams && !extents->options.realtime);
    if (!rotates && more == 0)
        return false;
    if (!is_within_half(extents, size))
        return false;
    if (!rotates)
        return extents->warm_bytes < SMALL_RETENTION_BYTES + more * size;
    return extents->warm_bytes < rotation_bytes(extents) ||
           (size > EXTENT_BYTES_MIN && is_worth_another(extents, size));
}

static struct extent *take_quick(struct extents *extents, uint64_t size) {
    /* who sends little uses up what is free first; then all readers are looked at */
    bool waits = size <= EXTENT_BYTES_MIN && !extents->streams && extents->free.head;
    struct extent *extent = !waits && wants_more(extents, size) ? carve(extents, size) : NULL;
    return extent ? extent : take_free(extents, size);
}

/* Twice the last one, or what is needed. */
static uint64_t usual_segment_bytes(const struct extents *extents, uint64_t size) {
    uint64_t twice = extents->segments[extents->segment_count - 1].bytes * 2;
    return twice > size ? round_up(twice, EXTENT_GRAIN) : size;
}

/* Without more memory: what is FREE is cut anew; then the default retention gives way. NULL: neither does. */
static struct extent *make_way(struct extents *extents, uint64_t size, uint64_t next_sequence) {
    give_back_free(extents, INT64_MAX);
    struct extent *extent = carve(extents, size);
    /* nothing is given up for several to share one: that for a single record may yet be had */
    if (extent || extents->records_at_once > 1)
        return extent;
    extents_reclaim(extents, next_sequence, true);
    if ((extent = take_free(extents, size)))
        return extent;
    give_back_free(extents, INT64_MAX);
    return carve(extents, size);
}

static int take_growing(struct extents *extents, uint64_t size, uint64_t next_sequence, struct extent **ret) {
    if (!is_within_limit(extents, size) || extents->options.realtime) { /* which has no more than it has */
        if ((*ret = make_way(extents, size, next_sequence)))
            return 0;
        if (!is_within_limit(extents, size))
            return -EAGAIN;
    }
    if (extents->options.realtime)
        return -EAGAIN; /* fragmented: what is held has to be let go first */
    uint64_t wanted = usual_segment_bytes(extents, size);
    int error = add_segment(extents, wanted);
    if (error && wanted > size)
        error = add_segment(extents, size); /* address space or overcommit is short: just what is needed */
    if (error)
        return (*ret = make_way(extents, size, next_sequence)) ? 0 : error;
    *ret = carve(extents, size);
    return *ret ? 0 : -EAGAIN;
}

/*
 * A segment is worth it where what it adds has hardly any memory: but only one that is as large as is usual: there are
 * few.
 */
static struct extent *grow_early(struct extents *extents, uint64_t size) {
    bool pays = size > EXTENT_BYTES_MIN && extents->is_sparse;
    if (!pays || extents->options.realtime || extents->options.places || extents->cannot_grow ||
        !is_within_half(extents, size) || !is_worth_another(extents, size))
        return NULL;
    extents->cannot_grow = add_segment(extents, usual_segment_bytes(extents, size)) != 0;
    return extents->cannot_grow ? NULL : carve(extents, size);
}

static int find_extent(struct extents *extents, uint64_t size, uint64_t next_sequence, enum extents_effort effort,
                       struct extent **ret) {
    /* Where little is sent first, so that the latest freed is taken, and those not needed can age. */
    bool first =
        effort != EFFORT_QUICK && size <= EXTENT_BYTES_MIN && !extents->streams && more_for_readers(extents, size) == 0;
    if (effort != EFFORT_QUICK)
        trim(extents, size, next_sequence);
    if (first)
        extents_reclaim(extents, next_sequence, false);
    if ((*ret = take_quick(extents, size)))
        return 0;
    if (effort != EFFORT_QUICK && (*ret = grow_early(extents, size)))
        return 0;
    if (effort != EFFORT_QUICK && !first) {
        extents_reclaim(extents, next_sequence, false);
        if ((*ret = take_free(extents, size)))
            return 0;
    }
    if (effort != EFFORT_QUICK && (*ret = carve(extents, size))) /* not at once: first what was used before */
        return 0;
    return effort == EFFORT_ALL ? take_growing(extents, size, next_sequence, ret) : -EAGAIN;
}

int extents_take(struct extents *extents, uint64_t size, uint64_t next_sequence, enum extents_effort effort,
                 struct extent **ret) {
    if ((*ret = extents_take_next(extents, size)))
        return 0; /* whether more are wanted is looked at when there are none */
    int64_t now = size <= EXTENT_BYTES_MIN ? os_now_ns() : 0;
    if (now)
        extents->streams = now - extents->taken_ns < STREAM_NS * (1 + extents->taken_quickly);
    int error = find_extent(extents, size, next_sequence, effort, ret);
    if (error)
        return error;
    (*ret)->state = EXTENT_AHEAD;
    if (now) {
        extents->taken_ns = now;
        extents->taken_quickly = 0;
    }
    return 0;
}

void extents_ready(struct extents *extents, struct extent *extent, uint64_t first_sequence) {
    extent->generation = stamped(extents->incarnation, ++extents->generation);
    extent->first_sequence = extent->end_sequence = first_sequence;
    extent->late_end = 0;
    store_relaxed(word_at(extent->base, 0), 0);
    store_relaxed(&extent->entry->first_sequence, first_sequence);
    store_relaxed(&extent->entry->bytes, extent->bytes);
    POINT(extent_not_valid);
    store_release(&extent->entry->generation, extent->generation); /* L2: who acquires it sees the three above */
    POINT(extent_valid);
}

void extents_set_apart(struct extents *extents, struct extent *extent) {
    extent->state = EXTENT_DETACHED;
    push_tail(&extents->detached, extent);
}

void extents_append(struct extents *extents, struct extent *extent) {
    extent->state = EXTENT_LOG;
    push_tail(&extents->log, extent);
}

bool extents_is_in_the_way(const struct extents *extents, const struct extent *extent) {
    if (extent->bytes > EXTENT_BYTES_MIN)
        return true;
    const struct owned_segment *segment = &extents->segments[extent_ref_segment(extent->ref)];
    const struct cold_range *first = segment->cold;
    /* new ones are cut from the lowest address, so that all that is not used lies behind them */
    return extents->options.realtime && first && first->bytes >= EXTENT_BYTES_MIN &&
           segment->base + first->offset < extent->base;
}

void extents_end(struct extents *extents, struct extent *extent, uint64_t sequence, uint64_t used_bytes) {
    uint32_t segments = extent_ref_segment(extent->ref) + 1;
    extent->end_sequence = sequence;
    if (sequence > extent->first_sequence)
        extents->passed_bytes += used_bytes;
    if (segments > extents->segments_needed)
        extents->segments_needed = segments;
}

void extents_put_back(struct extents *extents, struct extent *extent) {
    store_release(&extent->entry->generation, 0); /* nobody jumped there, but a hold is proof against everything */
    full_fence();                                 /* H1 */
    extent->state = EXTENT_RETIRED;
    push_tail(&extents->retired, extent);
}
