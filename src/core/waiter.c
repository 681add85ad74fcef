/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See waiter.h. */
#include "core/waiter.h"

#include <inttypes.h>

#include "base/compiler.h"
#include "base/os.h"
#include "base/process.h"
#include "base/status.h"
#include "core/reaper.h"
#include "shm/bell.h"

#define DEFAULT_SPIN_NS 10000
#define LOOKS_PER_THOROUGH 10u /* looks at peers' locks, for each at their processes */

int waiter_check_options(uint32_t strategy, int64_t spin_ns) {
    if (strategy > TARN_WAIT_SLEEP)
        return fail(TARN_ERROR_ARGUMENT, "wait_strategy is %" PRIu32 ": see enum tarn_wait_strategy", strategy);
    if (spin_ns < TARN_IMMEDIATELY)
        return fail(TARN_ERROR_ARGUMENT, "spin_ns is negative");
    return 0;
}

int64_t waiter_spin_ns(int64_t option_ns) {
    return option_ns == TARN_IMMEDIATELY ? 0 : option_ns ? option_ns : DEFAULT_SPIN_NS;
}

int waiter_join(struct waiter *waiter, const char *topic, const char *directory, const char *domain,
                enum pattern pattern, uint32_t strategy, int64_t spin_ns) {
    struct topic *joined;
    uint32_t number;
    int status = topic_join(&joined, &number, topic, directory, domain, SUBSCRIBER, pattern);
    if (status)
        return status;
    struct subscriber_slot *slot = roster_subscriber(&joined->roster, number);
    if (!slot) {
        status = topic_say_damaged(joined);
        topic_leave(joined, SUBSCRIBER, number);
        return status;
    }
    *waiter = (struct waiter){
        .topic = joined,
        .slot = slot,
        .slot_number = number,
        .looks_at_once = strategy == TARN_WAIT_SLEEP ? 1 : LOOKS_PER_CLOCK,
        .strategy = strategy,
        .spin_ns = waiter_spin_ns(spin_ns),
        .slice_ns = SLICE_NS,
        .looked_ns = os_now_ns(),
        .bell = topic_pattern(joined) == PATTERN_SERVICE ? &slot->bell : &joined->roster.header->bell,
    };
    return 0;
}

/* Whether some of them were dead. */
static bool look_at(struct waiter *waiter, enum slot_kind kind, bool thorough, uint32_t share) {
    struct roster *roster = &waiter->topic->roster;
    uint32_t slots = kind == PUBLISHER ? roster_publisher_slots(roster) : roster_subscriber_slots(roster);
    uint32_t count = share && share < slots ? share : slots;
    bool any = false;
    for (uint32_t i = 0; i < count; i++)
        any |= slot_reap(waiter->topic, kind, (waiter->next[kind] + i) % slots, thorough);
    waiter->next[kind] += count;
    return any;
}

bool waiter_look_at_peers(struct waiter *waiter) {
    bool thorough = waiter->looks++ % LOOKS_PER_THOROUGH == 0;
    waiter->thorough = thorough;
    waiter->looked_ns = os_now_ns();
    process_lock();
    /* not our own peers alone, since one that died while opening or before we attached it is nobody's reader */
    bool any = look_at(waiter, PUBLISHER, thorough, waiter->share);
    if (waiter->subscribers_too)
        any |= look_at(waiter, SUBSCRIBER, thorough, waiter->share);
    if (any && waiter->share) {
        look_at(waiter, PUBLISHER, thorough, 0);
        look_at(waiter, SUBSCRIBER, thorough, 0);
    }
    waiter->removed = !topic_is_in_place(waiter->topic);
    process_unlock();
    return !waiter->removed;
}

static int fail_removed(const struct waiter *waiter) {
    return fail(
        TARN_ERROR_TOPIC_REMOVED,
        "topic \"%s\": its file in %s was deleted or replaced; those who join from now on meet elsewhere. Those who "
        "had joined go on, but should be started again",
        waiter->topic->name, waiter->topic->directory.path);
}

int waiter_say_removed(struct waiter *waiter) {
    waiter->removal_told = true;
    return fail_removed(waiter);
}

int waiter_removal_for_waitset(struct waiter *waiter) {
    if (!waiter->removed || waiter->removal_told)
        return 0;
    waiter->removal_reported = true;
    return fail_removed(waiter);
}

int waiter_say_interrupted(const struct waiter *waiter) {
    return fail(TARN_ERROR_INTERRUPTED, "topic \"%s\": the wait was interrupted", waiter->topic->name);
}

int waiter_look_around(struct waiter *waiter, int64_t now) {
    if (waiter_was_interrupted(waiter))
        return waiter_say_interrupted(waiter);
    if (now - waiter->looked_ns >= waiter->slice_ns)
        waiter_look_at_peers(waiter);
    return waiter->removed && !waiter->removal_told ? waiter_say_removed(waiter) : 0;
}

struct wait waiter_begin(const struct waiter *waiter, int64_t now, int64_t timeout_ns) {
    int64_t sleep_from_ns = waiter->strategy == TARN_WAIT_SPIN    ? INT64_MAX
                            : waiter->strategy == TARN_WAIT_SLEEP ? now
                                                                  : os_time_after(now, waiter->spin_ns);
    return (struct wait){os_time_after(now, timeout_ns), sleep_from_ns};
}

static int look_often(const struct waiter *waiter, waiter_ready *ready, void *owner) {
    for (uint32_t i = 0; i < waiter->looks_at_once; i++) {
        int status = ready(owner);
        if (status)
            return status;
        spin_pause();
    }
    return 0;
}

int waiter_sleep(struct waiter *waiter, waiter_ready *ready, void *owner, int64_t deadline_ns) {
    bool barrier;
    uint32_t value = bell_arm(waiter->bell, &barrier); /* B1, I1 */
    int status = ready(owner);
    if (status || load_acquire(&waiter->interrupted))
        return status; /* the bit stays: it costs one needless wake */
    int64_t now = os_now_ns(), left_ns = deadline_ns - now;
    if (left_ns > 0)
        bell_sleep(waiter->bell, value, barrier, left_ns < waiter->slice_ns ? left_ns : waiter->slice_ns);
    return 0;
}

int waiter_wait(struct waiter *waiter, waiter_ready *ready, void *owner, int64_t timeout_ns) {
    if (timeout_ns <= 0) {
        int status = ready(owner);
        return status ? status : waiter_look_around(waiter, os_now_ns());
    }
    struct wait wait = waiter_begin(waiter, os_now_ns(), timeout_ns);
    for (;;) {
        int status = look_often(waiter, ready, owner);
        if (status)
            return status;
        int64_t now = os_now_ns();
        status = waiter_look_around(waiter, now);
        if (status)
            return status;
        if (now >= wait.deadline_ns) /* what the look found counts, too */
            return ready(owner);
        status = now >= wait.sleep_from_ns ? waiter_sleep(waiter, ready, owner, wait.deadline_ns) : 0;
        if (status)
            return status;
    }
}

static int make_quiet(struct waiter *waiter, waiter_ready *ready, void *owner) {
    struct doorbell *doorbell = &waiter->doorbell;
    if (!doorbell->open)
        return 0;
    if (doorbell_drain(doorbell))
        waiter_look_at_peers(waiter);
    POINT(doorbell_drained);
    doorbell_arm(doorbell, waiter->slot, waiter->bell, waiter->slice_ns);
    int status = ready(owner);
    if (status)
        doorbell_ring_self(doorbell);
    return status;
}

int waiter_make_quiet(struct waiter *waiter, waiter_ready *ready, void *owner) {
    int status = make_quiet(waiter, ready, owner);
    return !status && waiter->removal_reported && !waiter->removal_told ? waiter_say_removed(waiter) : status;
}

int waiter_interrupt(struct waiter *waiter) {
    _Atomic uint32_t *bell = waiter->bell;
    store_release(&waiter->interrupted, 1);
    POINT(interrupt_said);
    full_fence(); /* I1: either we see the sleeper's bit, or it sees the flag */
    uint32_t value = load_relaxed(bell);
    /* The bit stays, as doorbells rely on whoever takes it away to ring them, which a signal handler should not. */
    while ((value & 1) && !compare_and_swap(bell, &value, value + 2))
        ;
    if (value & 1)
        os_futex_wake_all(bell);
    return 0;
}

int waiter_fd(struct waiter *waiter) {
    if (waiter->doorbell.open)
        return waiter->doorbell.epoll;
    process_lock();
    int fd = doorbell_open(&waiter->doorbell, waiter->topic, waiter->slot, waiter->slot_number);
    process_unlock();
    if (fd >= 0)
        doorbell_ring_self(&waiter->doorbell); /* readable until a take finds nothing, and arms it */
    return fd;
}
