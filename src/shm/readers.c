/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See readers.h. The protocol of words and cells is in log.h. */
#include "shm/readers.h"

#include <stdlib.h>

#define ASKED_AHEAD 64u /* half of a row */

void readers_init(struct readers *readers, struct roster *roster, struct publisher_slot *publisher,
                  uint16_t incarnation) {
    *readers = (struct readers){.roster = roster, .publisher = publisher, .incarnation = incarnation};
}

void readers_free(struct readers *readers) {
    free(readers->list);
    *readers = (struct readers){0};
}

static bool grow_list(struct readers *readers) {
    if (readers->count < readers->capacity)
        return true;
    uint32_t capacity = readers->capacity ? readers->capacity * 2 : 16;
    struct reader *list = realloc(readers->list, capacity * sizeof(*list));
    if (!list)
        return false;
    readers->list = list;
    readers->capacity = capacity;
    return true;
}

static void add(struct readers *readers, struct subscriber_slot *subscriber, uint32_t slot, uint32_t state) {
    bool live = state != SLOT_LEAVING;
    readers->list[readers->count++] = (struct reader){
        .subscriber = subscriber,
        .row = roster_row(readers->roster, readers->publisher, slot),
        .slot = slot,
        .place = (uint16_t)row_place(slot),
        .live = live,
        .reliable = live && load_relaxed(&subscriber->reliable),
    };
    readers->reliable_count += readers->list[readers->count - 1].reliable;
}

static bool is_reader(uint32_t state) {
    return state == SLOT_JOINING || state == SLOT_LIVE || state == SLOT_LEAVING;
}

/* Where others follow in its slot, it is over, with all that it held. It was LIVE before this publisher was. */
static bool rebuild_only(struct readers *readers) {
    uint32_t slot = peer_slot(readers->only);
    struct subscriber_slot *subscriber = roster_subscriber(readers->roster, slot);
    if (!subscriber || !grow_list(readers))
        return false;
    uint32_t state = load_acquire(&subscriber->state);
    if (is_reader(state) && incarnation_of(&subscriber->incarnation) == peer_incarnation(readers->only))
        add(readers, subscriber, slot, state);
    return true;
}

static bool rebuild(struct readers *readers) {
    uint64_t most = 0;
    readers->count = readers->reliable_count = 0;
    if (readers->only)
        return rebuild_only(readers);
    uint32_t slots = roster_subscriber_slots(readers->roster);
    for (uint32_t slot = 0; slot < slots; slot++) {
        struct subscriber_slot *subscriber = roster_subscriber(readers->roster, slot);
        uint32_t link = load_acquire(&readers->roster->header->subscriber_blocks[slot / SUBSCRIBERS_PER_BLOCK]);
        if (!subscriber && roster_is_unreachable(readers->roster, link))
            return false;
        uint32_t state = subscriber ? load_acquire(&subscriber->state) : SLOT_FREE;
        if (!is_reader(state))
            continue;
        if (readers->count == most) /* segments are attached on the way */
            most = (uint64_t)roster_attached_blocks(readers->roster) * SUBSCRIBERS_PER_BLOCK;
        if (readers->count == most || !grow_list(readers))
            return false;
        add(readers, subscriber, slot, state);
    }
    return true;
}

bool readers_refresh(struct readers *readers) {
    /* acquire, R1: with the joiner's increment; what it wrote to its slot before is seen. */
    uint32_t changes = load_acquire(&readers->roster->header->changes);
    if (readers->known && changes == readers->changes)
        return true;
    readers->known = rebuild(readers);
    readers->changes = changes;
    return readers->known;
}

static struct reader_row *row_of(struct readers *readers, struct reader *reader) {
    if (!reader->row)
        reader->row = roster_row(readers->roster, readers->publisher, reader->slot);
    return reader->row;
}

/* The reader's word: what it may still read; 0 if it does not tell anything about this incarnation. */
static uint64_t oldest_of(struct readers *readers, struct reader *reader) {
    struct reader_row *row = row_of(readers, reader);
    /* acquire, R2: with the release that raised it; the reads of what it let go are over. */
    uint64_t oldest = row ? load_acquire(&row->oldest[reader->place]) : 0;
    return oldest == GENERATION_GONE || stamp_of(oldest) == readers->incarnation ? oldest : 0;
}

static uint64_t cursor_of(struct readers *readers, struct reader *reader) {
    struct reader_row *row = row_of(readers, reader);
    uint64_t cursor = row ? load_acquire(&row->cursor[reader->place]) : 0; /* acquire, R3 */
    return stamp_of(cursor) == readers->incarnation ? cursor & COUNT_MASK : 0;
}

uint64_t readers_reliable_cursor(struct readers *readers) {
    uint64_t least = UINT64_MAX;
    for (uint32_t i = 0; readers->reliable_count && i < readers->count; i++) {
        if (!readers->list[i].reliable)
            continue;
        uint64_t cursor = cursor_of(readers, &readers->list[i]);
        if (cursor < least)
            least = cursor;
    }
    return least;
}

/* Words that others have written arrive one after the other, unless they are asked for: so far ahead. */
static void ask_ahead(const struct readers *readers, uint32_t index) {
    const struct reader_row *row = index + ASKED_AHEAD < readers->count ? readers->list[index + ASKED_AHEAD].row : NULL;
    if (row)
        __builtin_prefetch(&row->oldest[readers->list[index + ASKED_AHEAD].place]);
}

uint64_t readers_oldest(struct readers *readers) {
    uint64_t least = GENERATION_GONE;
    for (uint32_t i = 0; i < readers->count; i++) {
        ask_ahead(readers, i);
        uint64_t oldest = oldest_of(readers, &readers->list[i]);
        if (oldest < least)
            least = oldest;
    }
    return least;
}

static void cell_holds(struct readers *readers, uint64_t cell, void (*found)(void *, extent_ref), void *context) {
    uint32_t slot = (uint32_t)(cell >> 48);
    if (cell != 0 && (uint16_t)(cell >> 32) == readers->incarnation &&
        roster_publisher(readers->roster, slot) == readers->publisher)
        found(context, (extent_ref)cell);
}

/* blocks: how many were looked at before; raised. */
static bool subscriber_holds(struct readers *readers, struct subscriber_slot *subscriber, uint32_t *blocks,
                             void (*found)(void *, extent_ref), void *context) {
    for (uint32_t i = 0; i < CELLS_INLINE; i++)
        cell_holds(readers, load_acquire(&subscriber->cells[i]), found, context); /* acquire, R4 */
    uint32_t link = load_acquire(&subscriber->cell_list);
    struct cell_list *list = roster_block(readers->roster, link);
    if (!list)
        return !roster_is_unreachable(readers->roster, link);
    for (uint32_t b = 0; b < CELL_BLOCKS_MAX; b++) {
        link = load_acquire(&list->blocks[b]);
        _Atomic uint64_t *cells = roster_block(readers->roster, link);
        if (cells ? ++*blocks > roster_attached_blocks(readers->roster) : roster_is_unreachable(readers->roster, link))
            return false;
        for (uint32_t i = 0; cells && i < CELLS_PER_BLOCK; i++)
            cell_holds(readers, load_acquire(&cells[i]), found, context);
    }
    return true;
}

bool readers_holds(struct readers *readers, uint64_t generation, void (*found)(void *context, extent_ref extent),
                   void *context) {
    uint32_t blocks = 0;
    for (uint32_t i = 0; i < readers->count; i++)
        if (oldest_of(readers, &readers->list[i]) <= generation &&
            !subscriber_holds(readers, readers->list[i].subscriber, &blocks, found, context))
            return false;
    return true;
}

static bool has_attached(struct readers *readers, struct reader *reader, uint32_t segment_count) {
    struct reader_row *row = row_of(readers, reader);
    uint32_t attached = row ? load_acquire(&row->attached[reader->place]) : 0;
    return (uint16_t)(attached >> 16) == readers->incarnation && (attached & 0xffff) >= segment_count;
}

/* Leaves a dead reader out. Another takes its index. */
static void leave_out(struct readers *readers, uint32_t index) {
    readers->reliable_count -= readers->list[index].reliable;
    readers->list[index] = readers->list[--readers->count];
}

uint32_t readers_behind(struct readers *readers, uint32_t segment_count, uint64_t sequence, bool with_keepers,
                        reader_visit *visit, void *context) {
    uint32_t behind = 0;
    for (uint32_t i = 0; i < readers->count; i++) {
        struct reader *reader = &readers->list[i];
        if (!with_keepers && load_relaxed(&reader->subscriber->role) == ROLE_KEEPER)
            continue;
        if (!reader->live || (has_attached(readers, reader, segment_count) &&
                              (!reader->reliable || cursor_of(readers, reader) >= sequence)))
            continue;
        if (visit(context, reader))
            leave_out(readers, i--);
        else
            behind++;
    }
    return behind;
}

uint32_t readers_attached(struct readers *readers, uint32_t segment_count, reader_visit *visit, void *context) {
    uint32_t attached = 0;
    for (uint32_t i = 0; i < readers->count; i++) {
        struct reader *reader = &readers->list[i];
        if (!reader->live || !has_attached(readers, reader, segment_count))
            continue;
        if (visit(context, reader))
            leave_out(readers, i--);
        else
            attached++;
    }
    return attached;
}

void readers_blocking(struct readers *readers, uint64_t generation, uint64_t sequence, reader_visit *visit,
                      void *context) {
    for (uint32_t i = 0; i < readers->count; i++) {
        struct reader *reader = &readers->list[i];
        bool blocks =
            oldest_of(readers, reader) <= generation || (reader->reliable && cursor_of(readers, reader) < sequence);
        if (blocks && visit(context, reader))
            leave_out(readers, i--);
    }
}
