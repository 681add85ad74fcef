/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See source.h. */
#include "shm/source.h"

#include "shm/space.h"

void source_init(struct source *source, struct holds *holds, struct remote *remote, struct reader_row *row,
                 uint32_t column) {
    *source = (struct source){
        .holder = {remote->publisher, holds}, .holds = holds, .remote = remote, .row = row, .column = column};
    /* The lowest there is: what the publisher retires is never below it, so it always looks at our cells. */
    store_release(&row->oldest[column], stamped(remote->incarnation, 0));
    source_tell_attached(source);
}

void source_tell_attached(struct source *source) {
    uint32_t word = (uint32_t)source->remote->incarnation << 16 | load_acquire(&source->remote->attached);
    if (source->gone || load_relaxed(&source->row->attached[source->column]) == word)
        return;
    store_release(&source->row->attached[source->column], word);
    space_ring(source->holder.publisher); /* S1 */
}

void source_stop(struct source *source) {
    if (source->position)
        hold_leave(source->position);
    source->position = NULL;
    if (source->gone)
        return;
    store_relaxed(&source->row->attached[source->column], 0);
    /*
     * killed here, or before: repair says the same. Cells of messages that are held stay, and are looked at: see below
     */
    if (holds_oldest(source->holds, &source->holder) == GENERATION_GONE)
        store_release(&source->row->oldest[source->column], GENERATION_GONE); /* R2 */
}

static struct hold *hold(struct source *source, extent_ref ref) {
    if (source->position && source->ref == ref) {
        source->position->taken++;
        return source->position;
    }
    /* generation 0: below all, as what the row says */
    uint64_t cell = hold_cell(source->remote->slot, source->remote->incarnation, ref);
    if (!source->position || !hold_move(source->position, cell, 0)) {
        if (source->position)
            hold_leave(source->position);
        source->position = hold_begin(source->holds, &source->holder, cell, 0, true);
        if (!source->position)
            return NULL;
    }
    source->ref = ref;
    source->position->taken++;
    return source->position;
}

struct hold *source_hold(struct source *source, uint64_t word) {
    return hold(source, place_extent(word));
}

struct hold *source_hold_all(struct source *source) {
    return hold(source, EXTENT_NONE);
}

void source_narrow(struct source *source, uint64_t word) {
    source->ref = place_extent(word);
    /*
     * killed here: all that is retired from now on stays until this slot is repaired. No fence: it was named before,
     * too
     */
    store_release(source->position->cell, hold_cell(source->remote->slot, source->remote->incarnation, source->ref));
}

void source_unhold(struct hold *hold) {
    hold->taken--;
}

enum view_result source_view(const struct source *source, uint64_t word, struct view *ret) {
    struct remote_segment *segment;
    if (!remote_has_segment_of(source->remote, place_extent(word)))
        return VIEW_UNATTACHED;
    struct extent_entry *entry = remote_entry(source->remote, place_extent(word), &segment);
    if (!entry)
        return VIEW_DAMAGED;
    uint64_t start = load_relaxed(&entry->offset), size = load_relaxed(&entry->bytes), offset = place_offset(word);
    if (start % EXTENT_GRAIN || start < segment->data_offset || start > segment->bytes ||
        size > segment->bytes - start || offset < sizeof(struct placed) || offset > size)
        return VIEW_DAMAGED;
    char *payload = load_relaxed(&segment->base) + start + offset;
    struct placed *placed = (struct placed *)(void *)(payload - sizeof(*placed));
    *ret = (struct view){payload, load_relaxed(&placed->bytes), load_relaxed(&placed->number)};
    return ret->bytes > size - offset ? VIEW_DAMAGED : VIEW_SEEN;
}
