/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See arena.h. */
#include "shm/arena.h"

#include "shm/log.h"

#define NO_SEQUENCE UINT64_MAX /* depth and cursors keep nothing here: behind all there could be */

int arena_open(struct arena *arena, const struct extents_options *options, struct publisher_slot *slot,
               struct readers *readers, uint16_t incarnation, uint64_t alignment) {
    struct extents_options own = *options;
    own.places = true;
    own.depth = 1;
    arena->head = NULL;
    arena->at = NULL;
    arena->alignment = alignment;
    return extents_open(&arena->extents, &own, slot, readers, incarnation);
}

void arena_close(struct arena *arena) {
    extents_close(&arena->extents);
}

/* Small messages are packed, others start on a line, as in a log. */
static char *payload_behind(const struct arena *arena, char *at, uint64_t bytes) {
    uint64_t start = (uint64_t)(uintptr_t)at;
    if (sizeof(struct placed) + bytes > PACKED_RECORD_BYTES)
        start = round_up(start, CACHE_LINE_BYTES);
    return (char *)(uintptr_t)round_up(start + sizeof(struct placed), arena->alignment);
}

static bool fits(const struct arena *arena, char *at, const struct extent *extent, uint64_t bytes) {
    char *payload = payload_behind(arena, at, bytes), *end = extent->base + extent->bytes;
    return payload <= end && bytes <= (uint64_t)(end - payload);
}

static struct place place_at(const struct arena *arena, char *at, struct extent *extent, uint64_t bytes) {
    extent->pins++;
    return (struct place){extent, payload_behind(arena, at, bytes), bytes};
}

int arena_reserve(struct arena *arena, uint64_t bytes, enum extents_effort effort, struct place *ret) {
    if (!arena->head || !fits(arena, arena->at, arena->head, bytes)) {
        struct extent *extent;
        uint64_t size = round_up(bytes + sizeof(struct placed) + arena->alignment, CACHE_LINE_BYTES);
        int error =
            extents_take(&arena->extents, extents_size_for(&arena->extents, size), NO_SEQUENCE, effort, &extent);
        if (error)
            return error;
        extents_ready(&arena->extents, extent, NO_FIRST_SEQUENCE);
        extents_set_apart(&arena->extents, extent);
        if (size > EXTENT_BYTES_MIN) {
            *ret = place_at(arena, extent->base, extent, bytes);
            return 0;
        }
        if (arena->head)
            arena_unpin(arena->head);
        arena->head = extent;
        arena->at = extent->base;
        extent->pins++;
    }
    *ret = place_at(arena, arena->at, arena->head, bytes);
    arena->at = ret->payload + round_up(bytes, 8);
    return 0;
}

uint64_t arena_finish(struct place *place, uint64_t bytes, uint64_t number) {
    struct placed *placed = (struct placed *)(void *)(place->payload - sizeof(*placed));
    store_relaxed(&placed->bytes, bytes);
    store_relaxed(&placed->number, number);
    return place_word(place->extent->ref, (uint64_t)(place->payload - place->extent->base));
}

void arena_unpin(struct extent *extent) {
    extent->pins--;
}
