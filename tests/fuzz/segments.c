/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Segments for fuzz targets, in place of src/shm/segment.c. Each is one memory that is mapped three times, between
 * guards:
 *
 *     guard | base: attached writable | guard | view: attached read-only | guard | raw: ours | guard
 *
 * What is not attached at the moment is poisoned for AddressSanitizer, and so are the guards, which nobody can access
 * anyway. So a read beyond the end, a read after detaching, and a write to what is mapped read-only are all seen.
 */
#include <errno.h>
#include <sanitizer/asan_interface.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common.h"

#define AREAS_MAX 64
#define GUARD_BYTES (UINT64_C(1) << 20)
#define SEGMENT_BYTES_MAX (UINT64_C(4) << 20) /* larger ones: no memory */

enum mapping { BASE, VIEW, RAW, MAPPINGS };

struct area {
    uint64_t bytes;
    char *mapped[MAPPINGS];
    unsigned attached[RAW], attached_before[RAW];
    char *kept; /* contents as kept; NULL: not of the image */
    bool exists;
};

static struct area areas[AREAS_MAX];
static unsigned area_count;

static void poison(struct area *area, enum mapping mapping, bool bad) {
    if (bad)
        __asan_poison_memory_region(area->mapped[mapping], area->bytes);
    else
        __asan_unpoison_memory_region(area->mapped[mapping], area->bytes);
}

static struct area *make_area(uint64_t bytes) {
    EXPECT(area_count < AREAS_MAX);
    struct area *area = &areas[area_count++];
    uint64_t step = bytes + GUARD_BYTES, whole = MAPPINGS * step + GUARD_BYTES;
    int fd = memfd_create("segment", MFD_CLOEXEC);
    EXPECT(fd >= 0 && ftruncate(fd, (off_t)bytes) == 0);
    char *start = mmap(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    EXPECT(start != MAP_FAILED);
    __asan_poison_memory_region(start, whole);
    *area = (struct area){.bytes = bytes};
    for (enum mapping i = BASE; i < MAPPINGS; i++) {
        area->mapped[i] = start + GUARD_BYTES + i * step;
        int protection = i == VIEW ? PROT_READ : PROT_READ | PROT_WRITE;
        EXPECT(mmap(area->mapped[i], bytes, protection, MAP_SHARED | MAP_FIXED, fd, 0) == area->mapped[i]);
    }
    poison(area, RAW, false);
    close(fd);
    return area;
}

static struct area *area_for(uint64_t bytes) {
    for (unsigned i = 0; i < area_count; i++)
        if (!areas[i].exists && !areas[i].kept && areas[i].bytes == bytes) {
            memset(areas[i].mapped[RAW], 0, bytes);
            return &areas[i];
        }
    return make_area(bytes);
}

static void attach(struct area *area, enum mapping mapping) {
    if (area->attached[mapping]++ == 0)
        poison(area, mapping, false);
}

static void detach(struct area *area, enum mapping mapping) {
    EXPECT(area->attached[mapping] > 0);
    if (--area->attached[mapping] == 0)
        poison(area, mapping, true);
    if (area->attached[BASE] + area->attached[VIEW] == 0 && !area->kept)
        area->exists = false;
}

static struct area *area_of(const volatile void *address, enum mapping *ret) {
    uintptr_t at = (uintptr_t)address;
    for (unsigned i = 0; i < area_count; i++)
        for (enum mapping k = BASE; k < MAPPINGS; k++)
            if (at - (uintptr_t)areas[i].mapped[k] < areas[i].bytes) {
                *ret = k;
                return &areas[i];
            }
    die("%p is in no segment", (void *)at);
}

/* ---- as in shm/segment.h ---------------------------------------------------------------------------------------- */

int segment_create(void **ret_base, int32_t *ret_id, uint64_t bytes, _Atomic uint32_t *key_note,
                   const struct segment_access *access, bool others_write) {
    (void)access;
    (void)others_write;
    if (key_note)
        store_relaxed(key_note, 0);
    if (bytes > SEGMENT_BYTES_MAX)
        return -ENOMEM;
    struct area *area = area_for(round_up(bytes, BLOCK_BYTES));
    area->exists = true;
    attach(area, BASE);
    *ret_base = area->mapped[BASE];
    *ret_id = SEGMENT_FIRST_ID + (int32_t)(area - areas);
    return 0;
}

int segment_attach(void **ret_base, int32_t id, uint64_t bytes, bool writable) {
    int64_t i = (int64_t)id - SEGMENT_FIRST_ID;
    if (i < 0 || i >= area_count || !areas[i].exists || areas[i].bytes < bytes)
        return -EINVAL;
    enum mapping mapping = writable ? BASE : VIEW;
    attach(&areas[i], mapping);
    *ret_base = areas[i].mapped[mapping];
    return 0;
}

void segment_detach(void *base) {
    enum mapping mapping;
    if (!base)
        return;
    struct area *area = area_of(base, &mapping);
    EXPECT(base == area->mapped[mapping]);
    detach(area, mapping);
}

bool segment_sweep(uint32_t key_seed, uint32_t key_noted) {
    (void)key_seed;
    (void)key_noted;
    return false;
}

uint32_t segment_sweep_all(uint32_t key_seed) {
    (void)key_seed;
    return 0;
}

/* ---- the image -------------------------------------------------------------------------------------------------- */

void *segment_raw(const volatile void *attached) {
    enum mapping mapping;
    struct area *area = area_of(attached, &mapping);
    return area->mapped[RAW] + ((uintptr_t)attached - (uintptr_t)area->mapped[mapping]);
}

void *segment_base_of(int32_t id) {
    return areas[id - SEGMENT_FIRST_ID].mapped[BASE];
}

int32_t segment_next_id(void) {
    return SEGMENT_FIRST_ID + (int32_t)area_count;
}

void segments_keep(void) {
    for (unsigned i = 0; i < area_count; i++)
        if (areas[i].exists) {
            EXPECT((areas[i].kept = malloc(areas[i].bytes)) != NULL);
            memcpy(areas[i].kept, areas[i].mapped[RAW], areas[i].bytes);
        }
}

static bool is_roster(const struct area *area) {
    return *(const uint64_t *)(const void *)area->kept == ROSTER_MAGIC;
}

void segments_restore(void) {
    for (unsigned i = 0; i < area_count; i++) {
        struct area *area = &areas[i];
        /* a publisher's is written by itself alone, which does nothing more, and damage is undone word by word */
        if (area->kept && is_roster(area))
            memcpy(area->mapped[RAW], area->kept, area->bytes);
        memcpy(area->attached_before, area->attached, sizeof area->attached);
    }
}

void segments_restore_all(void) {
    for (unsigned i = 0; i < area_count; i++)
        if (areas[i].kept)
            memcpy(areas[i].mapped[RAW], areas[i].kept, areas[i].bytes);
}

void segments_expect_none_left(void) {
    for (unsigned i = 0; i < area_count; i++)
        if (memcmp(areas[i].attached, areas[i].attached_before, sizeof areas[i].attached) != 0)
            die("segment %u is attached %u + %u times, not %u + %u", i, areas[i].attached[BASE],
                areas[i].attached[VIEW], areas[i].attached_before[BASE], areas[i].attached_before[VIEW]);
}
