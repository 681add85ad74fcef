/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * See points.h. All is relaxed, and nothing is locked: who passes a point must not be ordered with others by that, or
 * ThreadSanitizer would see fewer races with points than without.
 */
#include "base/points.h"

#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/atomics.h"

#define NAME_OF(name) #name,
const char *const point_names[POINT_COUNT] = {POINT_LIST(NAME_OF)};
_Atomic uint32_t *point_counts;

static _Atomic bool is_set;
static _Atomic uint64_t seed; /* 0: no delays */
static _Atomic int kill_at;   /* a point, or -1 */
static _Atomic uint32_t kill_left;
static _Atomic uint32_t threads; /* that have passed a point */

static _Thread_local uint32_t thread;
static _Thread_local uint32_t passed[POINT_COUNT];

static int point_of(const char *name, size_t bytes) {
    for (int point = 0; point < POINT_COUNT; point++)
        if (strlen(point_names[point]) == bytes && memcmp(point_names[point], name, bytes) == 0)
            return point;
    abort(); /* a test that would test nothing */
}

void points_set(const char *seed_text, const char *kill_text) {
    store_relaxed(&seed, seed_text ? strtoull(seed_text, NULL, 0) : 0);
    const char *colon = kill_text ? strchr(kill_text, ':') : NULL;
    store_relaxed(&kill_left, colon ? (uint32_t)strtoul(colon + 1, NULL, 0) : 1);
    store_relaxed(&kill_at, kill_text ? point_of(kill_text, strcspn(kill_text, ":")) : -1);
    store_relaxed(&is_set, true);
}

static uint64_t mixed(uint64_t value) {
    value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
    return value ^ value >> 31;
}

/*
 * A seed disturbs some points much, rather than all of them a little: what goes wrong needs one that is much too late.
 */
static void delay(uint64_t of, enum point point) {
    if (mixed(of + (uint64_t)point) % 4 != 0)
        return;
    uint64_t chance = mixed(of ^ (uint64_t)thread << 48 ^ (uint64_t)point << 32 ^ passed[point]++);
    uint64_t amount = chance >> 32;
    if (chance % 128 == 0)
        nanosleep(&(struct timespec){0, (long)(amount % 50000)}, NULL);
    else if (chance % 128 < 16)
        sched_yield();
    else if (chance % 128 < 32)
        for (uint64_t i = amount % 500; i > 0; i--)
            spin_pause();
}

void point_reached(enum point point) {
    if (!load_relaxed(&is_set))
        points_set(getenv("TARN_POINTS_SEED"), getenv("TARN_POINTS_KILL"));
    if (point_counts)
        atomic_fetch_add_explicit(&point_counts[point], 1, memory_order_relaxed);
    if ((int)point == load_relaxed(&kill_at) && atomic_fetch_sub_explicit(&kill_left, 1, memory_order_relaxed) == 1)
        kill(getpid(), SIGKILL);
    uint64_t of = load_relaxed(&seed);
    if (!of)
        return;
    if (!thread)
        thread = atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed) + 1;
    delay(of, point);
}
