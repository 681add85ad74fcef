/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See topic_slots.h. */
#include "core/topic_slots.h"

#include <errno.h>

#include "base/os.h"
#include "base/points.h"
#include "base/process.h"
#include "base/status.h"
#include "core/reaper.h"

#define CLAIM_TRIES 16u /* free slots whose byte somebody has locked */
#define PROBES 4u       /* slots in use whose owner a newcomer looks after, before it takes a new one */

static uint32_t slots_of(struct topic *topic, enum slot_kind kind) {
    return kind == PUBLISHER ? roster_publisher_slots(&topic->roster) : roster_subscriber_slots(&topic->roster);
}

/* When the slot became free; UINT64_MAX: it is not. Slots never used are the freest. */
static uint64_t free_since(struct topic *topic, enum slot_kind kind, uint32_t slot) {
    if (slot_is_own(topic, kind, slot))
        return UINT64_MAX;
    if (kind == PUBLISHER) {
        struct publisher_slot *publisher = roster_publisher(&topic->roster, slot);
        return publisher && load_acquire(&publisher->state) == SLOT_FREE ? load_relaxed(&publisher->freed_ns)
                                                                         : UINT64_MAX;
    }
    struct subscriber_slot *subscriber = roster_subscriber(&topic->roster, slot);
    return subscriber && load_acquire(&subscriber->state) == SLOT_FREE ? load_relaxed(&subscriber->freed_ns)
                                                                       : UINT64_MAX;
}

/* Locks the slot's byte if the slot is free. 0; -EAGAIN: somebody else was first; or another negative errno. */
static int lock_slot(struct topic *topic, enum slot_kind kind, uint32_t slot) {
    if (slot_is_own(topic, kind, slot))
        return -EAGAIN; /* our descriptor could lock, and then unlock, it again */
    int error = os_lock(topic->fd, slot_byte(kind, slot));
    if (error)
        return error;
    POINT(slot_locked);
    if (free_since(topic, kind, slot) == UINT64_MAX) {
        os_unlock(topic->fd, slot_byte(kind, slot));
        return -EAGAIN;
    }
    topic->own[kind][slot / 64] |= UINT64_C(1) << slot % 64;
    return 0;
}

void topic_forget_slot(struct topic *topic, enum slot_kind kind, uint32_t slot) {
    topic->own[kind][slot / 64] &= ~(UINT64_C(1) << slot % 64);
    os_unlock(topic->fd, slot_byte(kind, slot));
}

/* The slot free for longest among those used before. -ENOENT: none. */
static int claim_used(struct topic *topic, enum slot_kind kind, uint32_t *ret_slot) {
    uint64_t after = 0; /* tried slots are those freed up to here; equal times are rare and cost only a new slot */
    for (uint32_t tries = 0; tries < CLAIM_TRIES; tries++) {
        uint64_t best = UINT64_MAX;
        for (uint32_t slot = 0, slots = slots_of(topic, kind); slot < slots; slot++) {
            uint64_t since = free_since(topic, kind, slot);
            if (since < best && (tries == 0 || since > after)) {
                best = since;
                *ret_slot = slot;
            }
        }
        if (best == UINT64_MAX)
            return -ENOENT;
        int error = lock_slot(topic, kind, *ret_slot);
        if (error != -EAGAIN)
            return error;
        after = best;
    }
    /* stray children may have kept the bytes of those that have been free for longest */
    for (uint32_t slot = 0, slots = slots_of(topic, kind); slot < slots; slot++) {
        *ret_slot = slot;
        int error = free_since(topic, kind, slot) == UINT64_MAX ? -EAGAIN : lock_slot(topic, kind, slot);
        if (error != -EAGAIN)
            return error;
    }
    return -ENOENT;
}

static int make_slot(struct topic *topic, enum slot_kind kind, uint32_t slot) {
    return kind == PUBLISHER ? roster_make_publisher(&topic->roster, slot)
                             : roster_make_subscriber(&topic->roster, slot);
}

static int claim_new(struct topic *topic, enum slot_kind kind, uint32_t *ret_slot) {
    _Atomic uint32_t *used =
        kind == PUBLISHER ? &topic->roster.header->publisher_slots : &topic->roster.header->subscriber_slots;
    uint32_t limit = kind == PUBLISHER ? PUBLISHERS_MAX : SUBSCRIBERS_MAX;
    for (uint32_t slot = slots_of(topic, kind); slot < limit; slot++) {
        int error = make_slot(topic, kind, slot);
        if (error)
            return error;
        error = lock_slot(topic, kind, slot);
        if (error == -EAGAIN)
            continue;
        if (error)
            return error;
        POINT(slot_not_counted);
        /* killed here: the slot is free, and not counted yet */
        for (uint32_t seen = load_relaxed(used); seen <= slot && !compare_and_swap(used, &seen, slot + 1);)
            ;
        *ret_slot = slot;
        return 0;
    }
    return -ENOENT;
}

/* A look at some slots in use, so that what the dead left is found by those who come. */
static bool reap_some(struct topic *topic, enum slot_kind kind, uint32_t most) {
    uint32_t slots = slots_of(topic, kind);
    uint32_t start = slots ? (uint32_t)(os_random() % slots) : 0;
    bool any = false;
    for (uint32_t i = 0; i < slots && i < most; i++)
        any |= slot_reap(topic, kind, (start + i) % slots, true);
    return any;
}

int topic_find_slot(struct topic *topic, enum slot_kind kind, uint32_t *ret_slot) {
    int error = claim_used(topic, kind, ret_slot);
    if (error == -ENOENT && reap_some(topic, kind, PROBES))
        error = claim_used(topic, kind, ret_slot);
    if (error == -ENOENT)
        error = claim_new(topic, kind, ret_slot);
    if (error && reap_some(topic, kind, UINT32_MAX)) { /* which makes room without memory */
        int again = claim_used(topic, kind, ret_slot);
        error = again == -ENOENT ? error : again;
    }
    return error;
}

void topic_begin_slot(struct topic *topic, enum slot_kind kind, uint32_t slot) {
    if (kind == PUBLISHER) {
        struct publisher_slot *publisher = roster_publisher(&topic->roster, slot);
        if (!publisher)
            return; /* a peer damaged the link to it: opening says so */
        slot_next_incarnation(&publisher->incarnation);
        POINT(incarnation_raised);
        store_release(&publisher->state, SLOT_OPENING);
        POINT(slot_opening);
        process_identify(&publisher->who);
        for (uint32_t i = 0; i < sizeof(publisher->pattern_words) / sizeof(publisher->pattern_words[0]); i++)
            store_relaxed(&publisher->pattern_words[i], 0);
        return;
    }
    struct subscriber_slot *subscriber = roster_subscriber(&topic->roster, slot);
    if (!subscriber)
        return; /* a peer damaged the link to it: opening says so */
    slot_next_incarnation(&subscriber->incarnation);
    store_release(&subscriber->state, SLOT_OPENING);
    process_identify(&subscriber->who);
    store_relaxed(&subscriber->taken, 0);
    store_relaxed(&subscriber->lost, 0);
    store_relaxed(&subscriber->role, ROLE_PLAIN);
    store_relaxed(&subscriber->load, 0);
    store_relaxed(&subscriber->attached, 0);
    POINT(slot_identified);
    /* killed here, in either: locked by nobody and not FREE, so it is reaped */
}

int topic_say_no_slot(const struct topic *topic, enum slot_kind kind, int error) {
    if (error == -ENOENT)
        return fail(TARN_ERROR_LIMIT, "topic \"%s\" has as many %s as there can be (%u)", topic->name,
                    kind == PUBLISHER ? "publishers" : "subscribers",
                    kind == PUBLISHER ? PUBLISHERS_MAX : SUBSCRIBERS_MAX);
    return fail_memory(-error, "topic \"%s\": cannot claim a place in it", topic->name);
}

int topic_claim_slot(struct topic *topic, enum slot_kind kind, uint32_t *ret_slot) {
    int error = topic_find_slot(topic, kind, ret_slot);
    if (error == 0)
        return 0;
    roster_detach(&topic->roster);
    return topic_say_no_slot(topic, kind, error);
}
