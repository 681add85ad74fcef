/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Notifiers: the public calls, and what the death of one raises. A notifier is a publisher slot without memory. */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/compiler.h"
#include "base/os.h"
#include "base/points.h"
#include "base/status.h"
#include "core/events.h"
#include "core/handle.h"
#include "core/reaper.h"
#include "shm/bell.h"
#include "shm/counters.h"

#define LINGER_NS NS_PER_SECOND
#define LINGER_LOOK_NS 100000

_Static_assert(EVENT_IDS_MAX == TARN_EVENT_ID_MAX + 1, "the public limit");

struct tarn_notifier {
    struct handle handle;
    _Atomic uint32_t *bell;
    struct topic *topic;
    struct publisher_slot *slot;
    uint32_t slot_number;
    struct counters counters;
};

static struct closed_handles closed_notifiers;

int event_check_id(const struct topic *topic, uint32_t id) {
    if (id <= TARN_EVENT_ID_MAX)
        return 0;
    return fail(TARN_ERROR_ARGUMENT, "topic \"%s\": event %" PRIu32 " is above TARN_EVENT_ID_MAX, %u", topic->name, id,
                TARN_EVENT_ID_MAX);
}

int event_say_failed(const struct topic *topic, int error) {
    return fail_memory(-error, "topic \"%s\": no memory for its events' counters", topic->name);
}

/* ---- notifying ------------------------------------------------------------------------------------------------ */

LONG_HALF int wake_listeners(struct tarn_notifier *notifier) {
    topic_wake(notifier->topic);
    return 1;
}

/* Returns 1: raised. */
SHORT_HALF int raise_event(struct tarn_notifier *notifier, struct event_counter *block, uint32_t id, uint64_t count) {
    atomic_fetch_add_explicit(&block[id % EVENT_IDS_PER_BLOCK].raised, count, memory_order_seq_cst); /* E1 */
    POINT(event_raised);
    /* killed here: listeners find it in their slice */
    fence_behind_add(); /* B1 */
    return unlikely(load_relaxed(notifier->bell) & 1) ? wake_listeners(notifier) : 1;
}

static struct roster_taker taker_of(struct tarn_notifier *notifier) {
    return (struct roster_taker){true, notifier->slot_number, incarnation_of(&notifier->slot->incarnation),
                                 &notifier->slot->pending_key};
}

LONG_HALF int notify(struct tarn_notifier *notifier, uint32_t id, uint64_t count) {
    int status = handle_check((const struct handle *)notifier, HANDLE_NOTIFIER);
    if (!status)
        status = event_check_id(notifier->topic, id);
    if (status || count == 0)
        return status;
    process_lock();
    struct roster_taker taker = taker_of(notifier);
    int error = counters_make(&notifier->counters, id, &taker);
    process_unlock();
    if (error)
        return event_say_failed(notifier->topic, error);
    return raise_event(notifier, notifier->counters.blocks[id / EVENT_IDS_PER_BLOCK], id, count);
}

int tarn_notifier_notify_many(tarn_notifier *notifier, uint32_t id, uint64_t count) {
    if (likely(handle_is((const struct handle *)notifier, HANDLE_NOTIFIER)) && likely(id < notifier->counters.ids)) {
        struct event_counter *block = notifier->counters.blocks[id / EVENT_IDS_PER_BLOCK];
        if (likely(block && count))
            return raise_event(notifier, block, id, count);
    }
    return notify(notifier, id, count);
}

int tarn_notifier_notify(tarn_notifier *notifier, uint32_t id) {
    return tarn_notifier_notify_many(notifier, id, 1);
}

/* ---- a life --------------------------------------------------------------------------------------------------- */

static int check_options(const tarn_notifier_options *options, tarn_notifier_options *ret) {
    int status = options_copy(ret, sizeof(*ret), options, "tarn_notifier_options");
    if (status || !options)
        return status;
    if (ret->reserved)
        return fail(TARN_ERROR_ARGUMENT, "tarn_notifier_options.reserved is not 0");
    if (ret->death_event > TARN_EVENT_ID_MAX + 1)
        return fail(TARN_ERROR_ARGUMENT, "death_event is %" PRIu32 ": the most is TARN_EVENT_ID_MAX + 1, %u",
                    ret->death_event, TARN_EVENT_ID_MAX + 1);
    return 0;
}

static int open_in_slot(struct tarn_notifier *notifier, const tarn_notifier_options *options) {
    struct roster_taker taker = taker_of(notifier);
    int error = counters_open(&notifier->counters, &notifier->topic->roster, &taker);
    if (!error && options->death_event) /* whoever repairs us must find it there */
        error = counters_make(&notifier->counters, options->death_event - 1, &taker);
    if (error)
        return event_say_failed(notifier->topic, error);
    if (options->death_event)
        store_release(&notifier->slot->pattern_words[EVENT_WORD_DEATH],
                      stamped(taker.incarnation, options->death_event));
    /* killed here: it is raised, as if it had been open */
    store_release(&notifier->slot->state, SLOT_LIVE);
    POINT(notifier_live);
    topic_ring(notifier->topic);
    return 0;
}

/* Under process_lock(). */
static void leave(struct tarn_notifier *notifier) {
    publisher_slot_clear(notifier->topic, notifier->slot_number, false);
    topic_leave(notifier->topic, PUBLISHER, notifier->slot_number);
    handle_free(&closed_notifiers, &notifier->handle);
}

static int open_locked(tarn_notifier **ret, const char *topic, const tarn_notifier_options *options) {
    struct tarn_notifier *notifier = handle_allocate(&closed_notifiers, sizeof(*notifier), HANDLE_NOTIFIER);
    if (!notifier)
        return fail(TARN_ERROR_NO_MEMORY, "no memory for a notifier");
    int status = topic_join(&notifier->topic, &notifier->slot_number, topic, options->directory, options->domain,
                            PUBLISHER, PATTERN_EVENTS);
    if (status) {
        handle_free(&closed_notifiers, &notifier->handle);
        return status;
    }
    notifier->slot = roster_publisher(&notifier->topic->roster, notifier->slot_number);
    notifier->bell = &notifier->topic->roster.header->bell;
    status = notifier->slot ? open_in_slot(notifier, options) : topic_say_damaged(notifier->topic);
    if (status)
        leave(notifier);
    else
        *ret = notifier;
    return status;
}

int tarn_notifier_open(tarn_notifier **ret, const char *topic, const tarn_notifier_options *options) {
    tarn_notifier_options checked;
    if (!ret)
        return fail(TARN_ERROR_ARGUMENT, "the place for the notifier is NULL");
    int status = check_options(options, &checked);
    if (!status)
        status = process_enter();
    if (status)
        return status;
    process_lock();
    status = open_locked(ret, topic, &checked);
    process_unlock();
    return status;
}

static bool is_live_listener(struct topic *topic, const struct subscriber_slot *subscriber, uint32_t slot) {
    return load_acquire(&subscriber->state) == SLOT_WATCHING && load_relaxed(&subscriber->role) == ROLE_LISTENER &&
           !slot_is_dead(topic, SUBSCRIBER, slot, true);
}

int tarn_notifier_listeners(tarn_notifier *notifier) {
    int status = handle_check((const struct handle *)notifier, HANDLE_NOTIFIER);
    if (status)
        return status;
    int count = 0;
    process_lock();
    struct topic *topic = notifier->topic;
    for (uint32_t slot = 0, slots = roster_subscriber_slots(&topic->roster); slot < slots; slot++) {
        struct subscriber_slot *subscriber = roster_subscriber(&topic->roster, slot);
        count += subscriber && is_live_listener(topic, subscriber, slot);
    }
    process_unlock();
    return count;
}

/*
 * Listeners that do not have the segments in which our counters lie; those of this process have them as we do. acquire,
 * E3
 */
static int count_behind(struct tarn_notifier *notifier) {
    int count = 0;
    process_lock();
    struct topic *topic = notifier->topic;
    for (uint32_t slot = 0, slots = roster_subscriber_slots(&topic->roster); slot < slots; slot++) {
        struct subscriber_slot *subscriber = roster_subscriber(&topic->roster, slot);
        count += subscriber && load_acquire(&subscriber->attached) < notifier->counters.segments &&
                 !slot_is_own(topic, SUBSCRIBER, slot) && is_live_listener(topic, subscriber, slot);
    }
    process_unlock();
    return count;
}

/* Listeners attach the counters when they look. Returns how many have not when the time is over. */
static int linger(struct tarn_notifier *notifier) {
    int behind = notifier->counters.segments > 1 ? count_behind(notifier) : 0; /* everybody has the first */
    if (behind == 0)
        return 0;
    topic_ring(notifier->topic);
    for (int64_t deadline_ns = os_deadline_ns(LINGER_NS); behind > 0 && os_now_ns() < deadline_ns;) {
        nanosleep(&(struct timespec){0, LINGER_LOOK_NS}, NULL);
        behind = count_behind(notifier);
    }
    return behind;
}

int tarn_notifier_close(tarn_notifier *notifier) {
    if (!notifier)
        return 0;
    int status = handle_check(&notifier->handle, HANDLE_NOTIFIER);
    if (status)
        return status;
    int behind = linger(notifier);
    process_lock();
    leave(notifier);
    process_unlock();
    return behind;
}

/* ---- deaths --------------------------------------------------------------------------------------------------- */

bool events_raise_death(struct topic *topic, uint32_t slot) {
    struct publisher_slot *publisher =
        topic_pattern(topic) == PATTERN_EVENTS ? roster_publisher(&topic->roster, slot) : NULL;
    if (!publisher)
        return true;
    /* What is of another incarnation is a predecessor's, or this life is over, and its event was raised. */
    uint16_t incarnation = incarnation_of(&publisher->incarnation);
    uint64_t word = load_acquire(&publisher->pattern_words[EVENT_WORD_DEATH]);
    bool was_leaving = stamp_of(load_relaxed(&publisher->ended)) == incarnation;
    uint64_t event = word & COUNT_MASK;
    if (stamp_of(word) != incarnation || event == 0 || event > EVENT_IDS_MAX || was_leaving)
        return true;
    return counters_raise_death(&topic->roster, (uint32_t)event - 1, slot, incarnation);
}
