/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Listeners. What one has seen of each counter is its own memory, so listeners know nothing of each other, and a
 * notifier nothing of them but the bell. A look goes over all ids that were ever used, or those that the options name,
 * in turns.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"
#include "base/points.h"
#include "base/status.h"
#include "core/events.h"
#include "core/handle.h"
#include "core/waitables.h"
#include "core/reaper.h"
#include "shm/counters.h"

struct tarn_listener {
    struct handle handle;
    uint64_t taken;
    uint32_t segments; /* of the roster, from the first, that are attached */
    uint32_t turn;     /* where the next look starts: an index into ids, or an id */
    uint32_t ids_count;
    uint32_t *ids; /* NULL: all */
    struct counters counters;
    uint64_t *seen[EVENT_BLOCKS_MAX];
    uint64_t first[EVENT_IDS_PER_BLOCK]; /* seen[0] */
    struct waiter waiter;
};

static struct closed_handles closed_listeners;

/* ---- looking -------------------------------------------------------------------------------------------------- */

static uint64_t *seen_of_block(struct tarn_listener *listener, uint32_t block) {
    if (!listener->seen[block])
        listener->seen[block] = calloc(EVENT_IDS_PER_BLOCK, sizeof(uint64_t));
    return listener->seen[block];
}

/* Whether the counter was raised since it was seen. */
static inline bool is_raised(struct event_counter *counter, uint64_t *seen) {
    uint64_t total = counter_total(counter);
    if (unlikely(total < *seen)) /* a peer damaged it: it counts from there on */
        *seen = total;
    return total > *seen;
}

/*
 * The first of the events from .. to - 1 that was raised since it was seen; to: none. ret_trouble: set where that
 * cannot be known of some now.
 */
static uint32_t find_raised(struct tarn_listener *listener, uint32_t from, uint32_t to, bool *ret_trouble) {
    while (from < to) {
        uint32_t next = from - from % EVENT_IDS_PER_BLOCK + EVENT_IDS_PER_BLOCK, end = next < to ? next : to;
        struct event_counter *block = counters_block(&listener->counters, from, ret_trouble);
        uint64_t *seen = block ? seen_of_block(listener, from / EVENT_IDS_PER_BLOCK) : NULL;
        if (block && !seen)
            *ret_trouble = true;
        for (; seen && from < end; from++)
            if (is_raised(&block[from % EVENT_IDS_PER_BLOCK], &seen[from % EVENT_IDS_PER_BLOCK]))
                return from;
        from = end;
    }
    return to;
}

static int say_trouble(const struct tarn_listener *listener) {
    return fail(TARN_ERROR_NO_MEMORY, "topic \"%s\": no memory to look at some of its events, which is tried again",
                listener->waiter.topic->name);
}

/* Among the events that it is for. As look(). */
static int look_at_chosen(struct tarn_listener *listener, uint32_t ids, bool *ret_trouble) {
    uint32_t turn = listener->turn < listener->ids_count ? listener->turn : 0;
    for (uint32_t i = 0; i < listener->ids_count; i++) {
        uint32_t id = listener->ids[turn];
        if (id < ids && find_raised(listener, id, id + 1, ret_trouble) == id) {
            listener->turn = turn;
            return 1;
        }
        if (++turn == listener->ids_count)
            turn = 0;
    }
    return 0;
}

/*
 * Also where none of its events is: the notifier that made the segment cannot know that, and waits for us when it
 * closes.
 */
static void attach_segments(struct tarn_listener *listener) {
    struct topic *topic = listener->waiter.topic;
    listener->segments = roster_attach_from(&topic->roster, listener->segments);
    POINT(segments_not_told);
    /* killed here: we lack them, as far as a notifier knows, until it finds that we are dead */
    store_release(&listener->waiter.slot->attached, listener->segments); /* E3 */
}

static bool has_new_segment(const struct tarn_listener *listener) {
    const struct roster_header *header = listener->waiter.topic->roster.header;
    return listener->segments < ROSTER_SEGMENTS_MAX && load_relaxed(&header->chain[listener->segments]);
}

/* Finds whose turn it is among those raised: 1, and turn is there; 0: none; or a status. */
static int look(void *owner) {
    struct tarn_listener *listener = owner;
    uint32_t ids = counters_look(&listener->counters);
    bool trouble = false;
    if (unlikely(has_new_segment(listener)))
        attach_segments(listener);
    if (listener->ids) {
        if (look_at_chosen(listener, ids, &trouble))
            return 1;
        return trouble ? say_trouble(listener) : 0;
    }
    uint32_t turn = listener->turn < ids ? listener->turn : 0;
    uint32_t id = find_raised(listener, turn, ids, &trouble);
    if (id == ids && (id = find_raised(listener, 0, turn, &trouble)) == turn)
        return trouble ? say_trouble(listener) : 0;
    listener->turn = id;
    return 1;
}

/* After a look that found something: turn is there. Returns 1. */
static int take_turn(struct tarn_listener *listener, tarn_event *ret) {
    uint32_t id = listener->ids ? listener->ids[listener->turn] : listener->turn;
    uint32_t block = id / EVENT_IDS_PER_BLOCK, index = id % EVENT_IDS_PER_BLOCK;
    uint64_t total = counter_total(&listener->counters.blocks[block][index]);
    uint64_t *seen = &listener->seen[block][index];
    if (unlikely(total <= *seen)) /* a peer damaged it since */
        return 0;
    *ret = (tarn_event){.id = id, .count = total - *seen, .total = total};
    *seen = total;
    listener->turn++;
    listener->taken++;
    return 1;
}

static int take_any(struct tarn_listener *listener, tarn_event *ret) {
    int status = look(listener);
    return status == 1 ? take_turn(listener, ret) : status;
}

static int check_call(const struct tarn_listener *listener, const tarn_event *ret) {
    int status = handle_check((const struct handle *)listener, HANDLE_LISTENER);
    return status || ret ? status : fail(TARN_ERROR_ARGUMENT, "the event is NULL");
}

int tarn_listener_take(tarn_listener *listener, tarn_event *ret) {
    int status = check_call(listener, ret);
    if (unlikely(status))
        return status;
    status = take_any(listener, ret);
    if (status)
        return status;
    store_relaxed(&listener->waiter.slot->taken, listener->taken); /* for tools */
    if (!listener->waiter.doorbell.open)
        return 0;
    status = waiter_make_quiet(&listener->waiter, look, listener);
    return status == 1 ? take_turn(listener, ret) : status;
}

/* ---- waiting -------------------------------------------------------------------------------------------------- */

int tarn_listener_receive(tarn_listener *listener, tarn_event *ret, int64_t timeout_ns) {
    int status = tarn_listener_take(listener, ret);
    if (status || timeout_ns <= 0)
        return status;
    status = waiter_wait(&listener->waiter, look, listener, timeout_ns);
    return status == 1 ? take_turn(listener, ret) : status;
}

int tarn_listener_wait(tarn_listener *listener, int64_t timeout_ns) {
    int status = handle_check((const struct handle *)listener, HANDLE_LISTENER);
    return status ? status : waiter_wait(&listener->waiter, look, listener, timeout_ns);
}

int tarn_listener_interrupt(tarn_listener *listener) {
    int status = handle_check((const struct handle *)listener, HANDLE_LISTENER);
    return status ? status : waiter_interrupt(&listener->waiter);
}

int tarn_listener_fd(tarn_listener *listener) {
    int status = handle_check((const struct handle *)listener, HANDLE_LISTENER);
    return status ? status : waiter_fd(&listener->waiter);
}

static int waitable_fd(void *handle) {
    return tarn_listener_fd(handle);
}

static int waitable_look(void *handle) {
    struct tarn_listener *listener = handle;
    int status = look(listener);
    return status ? status : waiter_removal_for_waitset(&listener->waiter);
}

static int waitable_ready(void *handle) {
    struct tarn_listener *listener = handle;
    int status = handle_check((const struct handle *)listener, HANDLE_LISTENER);
    if (!status)
        status = waitable_look(listener);
    return status ? status : waiter_make_quiet(&listener->waiter, waitable_look, listener);
}

const struct waitable listener_waitable = {waitable_fd, waitable_ready, waitable_look};

/* ---- opening and closing -------------------------------------------------------------------------------------- */

static int check_ids(const tarn_listener_options *options) {
    if (!options->ids != !options->ids_count)
        return fail(TARN_ERROR_ARGUMENT, "of ids and ids_count one is 0, and the other is not");
    if (options->ids_count > TARN_EVENT_ID_MAX + 1)
        return fail(TARN_ERROR_ARGUMENT, "ids_count is %" PRIu32 ": there are %u events", options->ids_count,
                    TARN_EVENT_ID_MAX + 1);
    for (uint32_t i = 0; i < options->ids_count; i++)
        if (options->ids[i] > TARN_EVENT_ID_MAX)
            return fail(TARN_ERROR_ARGUMENT, "ids[%" PRIu32 "] is %" PRIu32 ": above TARN_EVENT_ID_MAX, %u", i,
                        options->ids[i], TARN_EVENT_ID_MAX);
    return 0;
}

static int check_options(const tarn_listener_options *options, tarn_listener_options *ret) {
    int status = options_copy(ret, sizeof(*ret), options, "tarn_listener_options");
    if (status || !options)
        return status;
    if (ret->reserved)
        return fail(TARN_ERROR_ARGUMENT, "tarn_listener_options.reserved is not 0");
    status = waiter_check_options(ret->wait_strategy, ret->spin_ns);
    return status ? status : check_ids(ret);
}

/* What was raised before counts as seen. False: some of it cannot be looked at. */
static bool skip_history(struct tarn_listener *listener) {
    bool trouble = false;
    uint32_t ids = counters_look(&listener->counters);
    for (uint32_t id = 0; (id = find_raised(listener, id, ids, &trouble)) < ids;) {
        uint32_t block = id / EVENT_IDS_PER_BLOCK, index = id % EVENT_IDS_PER_BLOCK;
        listener->seen[block][index] = counter_total(&listener->counters.blocks[block][index]);
        id++; /* that may be raised all the time */
    }
    return !trouble;
}

static int open_in_slot(struct tarn_listener *listener, const tarn_listener_options *options) {
    struct subscriber_slot *slot = listener->waiter.slot;
    struct topic *topic = listener->waiter.topic;
    struct roster_taker taker = {false, listener->waiter.slot_number, incarnation_of(&slot->incarnation),
                                 &slot->pending_key};
    listener->seen[0] = listener->first;
    if (options->ids_count) {
        listener->ids = malloc(options->ids_count * sizeof(uint32_t));
        if (!listener->ids)
            return fail(TARN_ERROR_NO_MEMORY, "no memory for a listener");
        memcpy(listener->ids, options->ids, options->ids_count * sizeof(uint32_t));
        listener->ids_count = options->ids_count;
    }
    int error = counters_open(&listener->counters, &topic->roster, &taker);
    if (error)
        return event_say_failed(topic, error);
    attach_segments(listener);
    if (!options->history && !skip_history(listener)) /* first: who counts us can rely on that we hear what he raises */
        return say_trouble(listener);
    store_relaxed(&slot->role, ROLE_LISTENER);
    store_release(&slot->state, SLOT_WATCHING);
    POINT(watching_said);
    topic_ring(topic);
    return 0;
}

/* Under process_lock(). */
static void leave(struct tarn_listener *listener) {
    doorbell_close(&listener->waiter.doorbell);
    subscriber_slot_clear(listener->waiter.topic, listener->waiter.slot_number, false);
    topic_leave(listener->waiter.topic, SUBSCRIBER, listener->waiter.slot_number);
    for (uint32_t i = 1; i < EVENT_BLOCKS_MAX; i++)
        free(listener->seen[i]);
    free(listener->ids);
    handle_free(&closed_listeners, &listener->handle);
}

static int open_locked(tarn_listener **ret, const char *topic, const tarn_listener_options *options) {
    struct tarn_listener *listener = handle_allocate(&closed_listeners, sizeof(*listener), HANDLE_LISTENER);
    if (!listener)
        return fail(TARN_ERROR_NO_MEMORY, "no memory for a listener");
    int status = waiter_join(&listener->waiter, topic, options->directory, options->domain, PATTERN_EVENTS,
                             options->wait_strategy, options->spin_ns);
    if (status) {
        handle_free(&closed_listeners, &listener->handle);
        return status;
    }
    status = open_in_slot(listener, options);
    if (status)
        leave(listener);
    else
        *ret = listener;
    return status;
}

int tarn_listener_open(tarn_listener **ret, const char *topic, const tarn_listener_options *options) {
    tarn_listener_options checked;
    if (!ret)
        return fail(TARN_ERROR_ARGUMENT, "the place for the listener is NULL");
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

int tarn_listener_close(tarn_listener *listener) {
    if (!listener)
        return 0;
    int status = handle_check(&listener->handle, HANDLE_LISTENER);
    if (status)
        return status;
    process_lock();
    leave(listener);
    process_unlock();
    return 0;
}
