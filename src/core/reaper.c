/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See reaper.h. */
#include "core/reaper.h"

#include <errno.h>
#include <unistd.h>

#include "base/os.h"
#include "base/process.h"
#include "core/events.h"
#include "core/remains.h"
#include "shm/space.h"
#include "shm/bell.h"
#include "shm/segment.h"

#define HOLDERS_ASKED 4u

int64_t slot_byte(enum slot_kind kind, uint32_t slot) {
    return (kind == PUBLISHER ? TOPIC_LOCK_PUBLISHERS : TOPIC_LOCK_SUBSCRIBERS) + (int64_t)slot;
}

bool slot_is_own(const struct topic *topic, enum slot_kind kind, uint32_t slot) {
    return slot < SUBSCRIBERS_MAX && (topic->own[kind][slot / 64] >> slot % 64 & 1);
}

uint16_t slot_next_incarnation(_Atomic uint32_t *incarnation) {
    uint32_t next = load_relaxed(incarnation) + 1;
    if ((uint16_t)next == 0)
        next++;
    store_release(incarnation, next);
    return (uint16_t)next;
}

struct slot_words {
    _Atomic uint32_t *state;
    _Atomic uint32_t *incarnation;
    const struct identity *who;
};

static bool slot_words(struct topic *topic, enum slot_kind kind, uint32_t slot, struct slot_words *ret) {
    if (kind == PUBLISHER) {
        struct publisher_slot *publisher = roster_publisher(&topic->roster, slot);
        if (publisher)
            *ret = (struct slot_words){&publisher->state, &publisher->incarnation, &publisher->who};
        return publisher;
    }
    struct subscriber_slot *subscriber = roster_subscriber(&topic->roster, slot);
    if (subscriber)
        *ret = (struct slot_words){&subscriber->state, &subscriber->incarnation, &subscriber->who};
    return subscriber;
}

/* The lock is held by another file description: by the owner, or by a stray child that outlives it. */
static bool owner_is_gone(const struct slot_words *words) {
    uint32_t state = load_acquire(words->state);
    if (state == SLOT_OPENING || state == SLOT_FREE)
        return false; /* its identity may be its predecessor's yet */
    return os_is_gone(words->who->pid, words->who->start_time, words->who->namespaces);
}

bool slot_is_dead(struct topic *topic, enum slot_kind kind, uint32_t slot, bool thorough) {
    struct slot_words words;
    if (slot_is_own(topic, kind, slot) || !slot_words(topic, kind, slot, &words))
        return false;
    /* First the incarnation: a state read before it could be a predecessor's (models/reap.pml, STATE_READ_FIRST). */
    uint32_t incarnation = load_acquire(words.incarnation);
    if (load_acquire(words.state) == SLOT_FREE)
        return false;
    int64_t locked = os_locked(topic->fd, slot_byte(kind, slot), 1);
    if (locked < -1 || (locked >= 0 && !(thorough && owner_is_gone(&words))))
        return false;
    /* it may have been repaired, claimed and unlocked in between: only the same incarnation is evidence */
    return load_acquire(words.state) != SLOT_FREE && load_acquire(words.incarnation) == incarnation;
}

/* Notes how the life in a slot ended, once per life. False: the incarnation was raised since. */
static bool note_end(_Atomic uint64_t *ended, _Atomic uint32_t *incarnation, bool counts, bool died) {
    uint64_t before = load_relaxed(ended);
    uint16_t now = incarnation_of(incarnation), noted = stamp_of(before);
    if (noted && now == incarnation_after(noted))
        return false;
    if (noted != now)
        store_relaxed(ended, ended_word(before, now, counts, died));
    POINT(end_noted);
    return true;
}

/*
 * Notes how the life in a slot ended, then raises the incarnation, once per life. Release: readers take nothing new for
 * the old owner's. Killed in between: it is noted as it was, and raised by the next one; behind: nothing is left to do.
 */
static void end_life(_Atomic uint64_t *ended, _Atomic uint32_t *incarnation, bool counts, bool died) {
    if (note_end(ended, incarnation, counts, died))
        slot_next_incarnation(incarnation);
}

void publisher_slot_clear(struct topic *topic, uint32_t slot, bool died) {
    struct publisher_slot *publisher = roster_publisher(&topic->roster, slot);
    if (!publisher)
        return; /* a peer damaged the link to it */
    /*
     * First the reference: who reads the next incarnation, the slot being LIVE yet, must not attach the old owner's
     * segment.
     */
    store_relaxed(&publisher->segment.backend, BACKEND_NONE);
    end_life(&publisher->ended, &publisher->incarnation, load_relaxed(&publisher->state) != SLOT_OPENING, died);
    POINT(publisher_over);
    /* killed here, and after each step below: state is not FREE, so the next one starts over */
    segment_sweep(topic->directory.access.key_seed, load_relaxed(&publisher->pending_key));
    store_relaxed(&publisher->pending_key, 0);
    store_relaxed(&publisher->refuses_reliable, 0);
    store_relaxed(&publisher->freed_ns, (uint64_t)os_now_ns());
    store_release(&publisher->state, SLOT_FREE);
    POINT(publisher_freed);
}

void publisher_slot_keep(struct topic *topic, uint32_t slot, bool died) {
    struct publisher_slot *publisher = roster_publisher(&topic->roster, slot);
    if (!publisher)
        return; /* a peer damaged the link to it */
    note_end(&publisher->ended, &publisher->incarnation, true, died);
    /*
     * killed here, and below: not FREE and not LEAVING, so the next one starts over, or clears it if it is kept no more
     */
    segment_sweep(topic->directory.access.key_seed, load_relaxed(&publisher->pending_key));
    store_relaxed(&publisher->pending_key, 0);
    store_relaxed(&publisher->freed_ns, (uint64_t)os_now_ns()); /* keepers let the oldest go first */
    /* release, V1: who sees it sees all that was sent, so that what he finds at the end of the log is the end */
    store_release(&publisher->state, SLOT_LEAVING);
    POINT(publisher_kept);
}

/* Lets go of everything that a subscriber's slot says to one publisher. */
static void clear_row(struct topic *topic, struct publisher_slot *publisher, uint32_t slot) {
    struct reader_row *row = roster_row(&topic->roster, publisher, slot);
    if (!row)
        return;
    store_relaxed(&row->cursor[row_place(slot)], 0); /* a successor has not attached until it says so */
    store_relaxed(&row->attached[row_place(slot)], 0);
    store_release(&row->oldest[row_place(slot)], GENERATION_GONE); /* R2 */
}

void subscriber_slot_clear(struct topic *topic, uint32_t slot, bool died) {
    struct subscriber_slot *subscriber = roster_subscriber(&topic->roster, slot);
    if (!subscriber)
        return; /* a peer damaged the link to it */
    for (uint32_t i = 0; i < CELLS_INLINE; i++)
        store_release(&subscriber->cells[i], 0); /* R4 */
    store_relaxed(&subscriber->cell_list, 0);
    POINT(cells_emptied);
    /* killed here, and around: state is not FREE, so the next one starts over */
    /* raising the incarnation frees the blocks of further cells */
    end_life(&subscriber->ended, &subscriber->incarnation, load_relaxed(&subscriber->state) != SLOT_OPENING, died);
    POINT(subscriber_over);
    if (load_relaxed(&subscriber->doorbell) != DOORBELL_NONE) {
        char name[DOORBELL_NAME_BYTES];
        doorbell_name(name, topic->inode, slot);
        unlinkat(topic->directory.fd, name, 0);
        store_relaxed(&subscriber->doorbell, DOORBELL_NONE);
    }
    segment_sweep(topic->directory.access.key_seed, load_relaxed(&subscriber->pending_key));
    store_relaxed(&subscriber->pending_key, 0);
    uint32_t publishers = roster_publisher_slots(&topic->roster);
    for (uint32_t i = 0; i < publishers; i++) {
        struct publisher_slot *publisher = roster_publisher(&topic->roster, i);
        if (publisher)
            clear_row(topic, publisher, slot);
    }
    store_relaxed(&subscriber->reliable, 0);
    store_relaxed(&subscriber->freed_ns, (uint64_t)os_now_ns());
    store_release(&subscriber->state, SLOT_FREE);
    POINT(subscriber_freed);
    for (uint32_t i = 0; i < publishers; i++) {
        struct publisher_slot *publisher = roster_publisher(&topic->roster, i);
        if (publisher)
            space_ring(publisher); /* S1 */
    }
}

/*
 * Publishers learn who is in the topic from the counter of changes, so they have to be told that nobody is to be waited
 * for any more before they are woken, and before the slot is FREE: a repairer killed behind that would leave them
 * waiting for what is in no list of the dead.
 */
static void stop_waiting_for(struct topic *topic, uint32_t slot) {
    struct subscriber_slot *subscriber = roster_subscriber(&topic->roster, slot);
    uint32_t state = subscriber ? load_acquire(&subscriber->state) : SLOT_FREE;
    if (state == SLOT_FREE || state == SLOT_OPENING)
        return;
    note_end(&subscriber->ended, &subscriber->incarnation, true, true); /* before: else a monitor tells that it left */
    /* killed here: the next one starts over, and finds it noted */
    /* also where it says so already: who wrote that may have been killed before he counted it */
    store_release(&subscriber->state, SLOT_LEAVING);
    POINT(repair_leaving_said);
    /* killed here: not FREE, so the next one starts over */
    topic_ring(topic); /* R1 */
}

/* A publisher that left in order, but what it left was needed. */
static bool has_left(struct topic *topic, uint32_t slot) {
    struct publisher_slot *publisher = roster_publisher(&topic->roster, slot);
    return publisher && load_acquire(&publisher->state) == SLOT_LEAVING;
}

/* A log that its owner left, and somebody keeps: nothing is to be repaired. Cheaper than to lock it to see that. */
static bool is_kept(struct topic *topic, enum slot_kind kind, uint32_t slot, bool thorough) {
    return kind == PUBLISHER && topic_pattern(topic) == PATTERN_MESSAGES && has_left(topic, slot) &&
           remains_are_needed(topic, slot, thorough);
}

/* The caller has the right to repair the dead. False: nothing has changed. *ret_cleared: the slot is free. */
static bool repair_publisher(struct topic *topic, uint32_t slot, bool thorough, bool *ret_cleared) {
    *ret_cleared = false;
    if (remains_are_needed(topic, slot, thorough)) {
        bool is_new = topic_pattern(topic) == PATTERN_MESSAGES && !has_left(topic, slot);
        if (is_new)
            publisher_slot_keep(topic, slot, true);
        return is_new;
    }
    *ret_cleared = events_raise_death(topic, slot);
    if (*ret_cleared)
        publisher_slot_clear(topic, slot, !has_left(topic, slot));
    return *ret_cleared;
}

bool slot_reap(struct topic *topic, enum slot_kind kind, uint32_t slot, bool thorough) {
    if (is_kept(topic, kind, slot, thorough) || !slot_is_dead(topic, kind, slot, thorough))
        return false;
    int64_t repair_byte = TOPIC_LOCK_REPAIR + slot_byte(kind, slot);
    if (os_lock(topic->fd, repair_byte) != 0)
        return false; /* somebody is at it */
    POINT(repair_locked);
    bool dead = slot_is_dead(topic, kind, slot, thorough); /* still, now that nobody else repairs it */
    /* The slot's own byte keeps claimers out; a stray child may have it, which does the same. */
    bool locked = dead && os_lock(topic->fd, slot_byte(kind, slot)) == 0;
    bool cleared = dead, changed = dead;
    if (dead && kind == PUBLISHER) {
        changed = repair_publisher(topic, slot, thorough, &cleared);
    } else if (dead) {
        stop_waiting_for(topic, slot);
        subscriber_slot_clear(topic, slot, true);
    }
    if (locked)
        os_unlock(topic->fd, slot_byte(kind, slot));
    os_unlock(topic->fd, repair_byte);
    POINT(repair_not_rung);
    if (changed)
        topic_ring(topic);
    return cleared;
}

bool reap_reader(void *context, const struct reader *reader) {
    struct topic *topic = context;
    return slot_reap(topic, SUBSCRIBER, reader->slot, true) || slot_is_dead(topic, SUBSCRIBER, reader->slot, true);
}

void reap_blocking(struct topic *topic, struct readers *readers, struct extents *extents, int64_t *looked_ns) {
    uint64_t generation, sequence;
    int64_t now = os_now_ns();
    if (now - *looked_ns < SLICE_NS / 2 || !readers_refresh(readers))
        return;
    *looked_ns = now;
    extents_blockage(extents, &generation, &sequence);
    process_lock();
    readers_blocking(readers, generation, sequence, reap_reader, topic);
    process_unlock();
}

/* Some of all that were seen, each as likely as the others. */
struct sample {
    uint32_t slots[HOLDERS_ASKED], seen;
    uint64_t random;
};

static bool sample_reader(void *context, const struct reader *reader) {
    struct sample *sample = context;
    sample->random = sample->random * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX */
    uint32_t place =
        sample->seen < HOLDERS_ASKED ? sample->seen : (uint32_t)((sample->random >> 33) % (sample->seen + 1));
    if (place < HOLDERS_ASKED)
        sample->slots[place] = reader->slot;
    sample->seen++;
    return false;
}

void reap_holding(struct topic *topic, struct readers *readers, struct extents *extents) {
    struct sample sample = {.random = (uint64_t)extents->trimmed_ns};
    extents->is_held_long = false;
    if (!readers_refresh(readers))
        return;
    readers_blocking(readers, extents_youngest_retired(extents), 0, sample_reader, &sample);
    process_lock();
    for (uint32_t i = 0; i < sample.seen && i < HOLDERS_ASKED; i++)
        slot_reap(topic, SUBSCRIBER, sample.slots[i], false);
    process_unlock();
}
