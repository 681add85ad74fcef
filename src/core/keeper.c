/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Keepers: have the memory of a topic's publishers, producers or writers attached, so that what these sent outlives
 * them.
 *
 * The kernel frees memory that nobody has, and a slot by which nobody's memory is found is cleared by whoever looks at
 * it. So a keeper attaches all there is, and tells so in its row of each publisher, as readers do. For queues and
 * blackboards that is all: what is needed of them is known from their cells and keys. A log of messages is needed as
 * long as a keeper says that it keeps it (remains.c); how many that are is bounded here, by letting the oldest go.
 *
 * A keeper holds no extent and reads no message, so nobody waits for it, but one who closes, for a second at most. It
 * sleeps on its own slot's bell, which changes and growing publishers ring and messages do not.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"
#include "base/machine.h"
#include "base/points.h"
#include "base/status.h"
#include "core/handle.h"
#include "core/reaper.h"
#include "core/waitables.h"
#include "shm/space.h"

#define DEFAULT_LEFT_MAX 64u

/* The publisher in a slot. */
struct kept {
    uint16_t incarnation;  /* 0: nobody that is known */
    bool has_left;         /* or died: a publisher of messages, which is here until we let it go */
    struct remote *remote; /* NULL: let go, but others keep it */
    struct publisher_slot *publisher;
    struct reader_row *row;
    uint64_t number; /* identity */
    uint64_t told;   /* of the last publisher here whose memory could not be attached, which was said */
    uint64_t left_ns, bytes;
};

struct tarn_keeper {
    struct handle handle;
    struct kept *kept; /* by slot */
    uint32_t kept_count;
    uint32_t changes;  /* of the roster, when we last looked at it */
    int64_t looked_ns; /* at peers, when we last looked at all again because of that */
    uint32_t left_max;
    uint64_t memory_max_bytes;
    uint64_t let_go, let_go_told;
    uint16_t incarnation;
    struct waiter waiter;
    int trouble;
    char trouble_text[512];
};

static struct closed_handles closed_keepers;

static int check(const struct tarn_keeper *keeper) {
    return handle_check((const struct handle *)keeper, HANDLE_KEEPER);
}

static void keep_trouble(struct tarn_keeper *keeper, int status) {
    keeper->trouble = status;
    snprintf(keeper->trouble_text, sizeof(keeper->trouble_text), "%s", tarn_error());
}

/* ---- one publisher -------------------------------------------------------------------------------------------- */

static void tell_attached(const struct tarn_keeper *keeper, const struct kept *kept) {
    _Atomic uint32_t *attached = &kept->row->attached[row_place(keeper->waiter.slot_number)];
    uint32_t word = (uint32_t)kept->incarnation << 16 | load_acquire(&kept->remote->attached);
    if (load_relaxed(attached) == word)
        return;
    /*
     * killed here: of what its publisher leaves, only what somebody else keeps stays; behind: dead keepers do not count
     */
    store_release(attached, word); /* V2 */
    POINT(keeping_told);
    space_ring(kept->publisher); /* S1 */
}

/* 0, or a negative errno. */
static int begin(struct tarn_keeper *keeper, struct kept *kept, struct publisher_slot *publisher, uint32_t slot,
                 uint16_t incarnation) {
    struct topic *topic = keeper->waiter.topic;
    struct roster_taker taker = {false, keeper->waiter.slot_number, keeper->incarnation,
                                 &keeper->waiter.slot->pending_key};
    struct reader_row *row;
    struct remote *remote;
    int error = roster_make_row(&row, &topic->roster, publisher, slot, &taker);
    if (!error)
        error = topic_remote_in_part(topic, &remote, publisher, slot, incarnation);
    if (error)
        return error;
    *kept = (struct kept){.incarnation = incarnation,
                          .remote = remote,
                          .publisher = publisher,
                          .row = row,
                          .number = remote->number,
                          .told = kept->told};
    store_release(&row->oldest[row_place(keeper->waiter.slot_number)], GENERATION_GONE); /* R2: we hold nothing */
    tell_attached(keeper, kept);
    return 0;
}

static void note_trouble(struct tarn_keeper *keeper, struct kept *kept, struct publisher_slot *publisher, int error) {
    uint64_t number = publisher->who.number;
    if (error == -EINVAL || kept->told == number || keeper->trouble)
        return; /* nobody has its memory any more; or said before; or another one's turn */
    kept->told = number;
    keep_trouble(keeper,
                 fail_memory(-error,
                             "topic \"%s\": memory of %.15s (%s) cannot be attached, and is not kept, or only in part",
                             keeper->waiter.topic->name, publisher->who.command,
                             process_pid_text(publisher->who.pid, publisher->who.namespaces).text));
}

/* The slot's words are another's by now, or nobody's. */
static bool is_replaced(const struct kept *kept) {
    return incarnation_of(&kept->publisher->incarnation) != kept->incarnation ||
           kept->publisher->who.number != kept->number; /* after 65536 incarnations the same again */
}

static void detach(struct tarn_keeper *keeper, struct kept *kept) {
    if (kept->remote)
        topic_remote_drop(keeper->waiter.topic, kept->remote);
    kept->remote = NULL;
}

/* How much memory that is; no more than there can be, whatever its publisher says. */
static uint64_t bytes_of(const struct kept *kept) {
    uint64_t bytes = 0, held = load_relaxed(&remote_header(kept->remote)->bytes_held);
    for (uint32_t i = 0, count = load_relaxed(&kept->remote->attached); i < count && i < SEGMENTS_MAX; i++)
        bytes += kept->remote->segments[i].bytes;
    return held < bytes ? held : bytes;
}

static void note_left(struct kept *kept) {
    kept->has_left = true;
    kept->left_ns = load_relaxed(&kept->publisher->freed_ns);
    kept->bytes = bytes_of(kept);
}

static void follow(struct tarn_keeper *keeper, uint32_t slot) {
    struct topic *topic = keeper->waiter.topic;
    struct kept *kept = &keeper->kept[slot];
    struct publisher_slot *publisher = roster_publisher(&topic->roster, slot);
    if (kept->incarnation && is_replaced(kept)) {
        detach(keeper, kept);
        *kept = (struct kept){0};
    }
    uint16_t incarnation;
    uint32_t state = publisher ? publisher_state(publisher, &incarnation) : SLOT_FREE;
    if ((state != SLOT_LIVE && state != SLOT_LEAVING) || (kept->incarnation && kept->incarnation != incarnation) ||
        incarnation == 0) /* damaged: nobody has that one */
        return;
    int error = 0;
    if (!kept->incarnation)
        error = begin(keeper, kept, publisher, slot, incarnation);
    else if (kept->remote)
        error = remote_attach_all(kept->remote);
    if (error)
        note_trouble(keeper, kept, publisher, error);
    if (!kept->remote)
        return;
    tell_attached(keeper, kept);
    if (state == SLOT_LEAVING && topic_pattern(topic) == PATTERN_MESSAGES && !kept->has_left)
        note_left(kept);
}

/* ---- all of them ---------------------------------------------------------------------------------------------- */

/* From now on nobody finds it, unless another keeper has it. */
static void let_go(struct tarn_keeper *keeper, uint32_t slot) {
    struct kept *kept = &keeper->kept[slot];
    store_release(&kept->row->attached[row_place(keeper->waiter.slot_number)], 0);
    POINT(keeping_ended);
    /* killed here: who looks at its slot next finds that nobody keeps it */
    detach(keeper, kept);
    keeper->let_go++;
    slot_reap(keeper->waiter.topic, PUBLISHER, slot, false);
}

/* Of those who left, the one that did so first is let go until the others are no more than they may be. */
static void bound(struct tarn_keeper *keeper) {
    for (;;) {
        uint32_t count = 0, oldest = 0;
        uint64_t bytes = 0;
        for (uint32_t slot = 0; slot < keeper->kept_count; slot++) {
            const struct kept *kept = &keeper->kept[slot];
            if (!kept->remote || !kept->has_left)
                continue;
            if (count++ == 0 || kept->left_ns < keeper->kept[oldest].left_ns)
                oldest = slot;
            bytes += kept->bytes;
        }
        if (count <= keeper->left_max && bytes <= keeper->memory_max_bytes)
            return;
        let_go(keeper, oldest);
    }
}

static bool make_room(struct tarn_keeper *keeper, uint32_t count) {
    if (count <= keeper->kept_count)
        return true;
    struct kept *kept = realloc(keeper->kept, count * sizeof(*kept));
    if (!kept) {
        keep_trouble(keeper, fail(TARN_ERROR_NO_MEMORY, "topic \"%s\": no memory to remember its publishers",
                                  keeper->waiter.topic->name));
        return false;
    }
    memset(kept + keeper->kept_count, 0, (count - keeper->kept_count) * sizeof(*kept));
    keeper->kept = kept;
    keeper->kept_count = count;
    return true;
}

/* What the topic is for leaves nothing in anybody's memory. 0 or a status. */
static int check_pattern(const struct topic *topic) {
    enum pattern pattern = topic_pattern(topic);
    if (pattern != PATTERN_SERVICE && pattern != PATTERN_EVENTS)
        return 0;
    return fail(TARN_ERROR_PATTERN, "topic \"%s\" is in use for %s, of which there is nothing to keep", topic->name,
                topic_pattern_text(pattern));
}

/* Attaches what is there. Under process_lock(). */
static void update(struct tarn_keeper *keeper) {
    struct topic *topic = keeper->waiter.topic;
    keeper->changes =
        load_acquire(&topic->roster.header->changes); /* R1: before looking: what comes later is seen later */
    int status = check_pattern(topic);
    if (status)
        keep_trouble(keeper, status);
    make_room(keeper, status ? 0 : roster_publisher_slots(&topic->roster));
    for (uint32_t slot = 0; slot < keeper->kept_count; slot++)
        follow(keeper, slot);
    bound(keeper);
}

static bool roster_changed(const struct tarn_keeper *keeper) {
    return load_acquire(&keeper->waiter.topic->roster.header->changes) != keeper->changes;
}

/* A repairer may have died before it counted the change: so each look at peers makes us look at all, too. */
static void keep_up(struct tarn_keeper *keeper) {
    if (likely(!roster_changed(keeper) && keeper->looked_ns == keeper->waiter.looked_ns))
        return;
    keeper->looked_ns = keeper->waiter.looked_ns;
    process_lock();
    update(keeper);
    process_unlock();
}

/* ---- waiting -------------------------------------------------------------------------------------------------- */

/* 1: some were let go since that was told; 0; or a status. */
static int look(void *owner) {
    struct tarn_keeper *keeper = owner;
    keep_up(keeper);
    if (keeper->trouble)
        return fail((enum tarn_status)keeper->trouble, "%s", keeper->trouble_text);
    return keeper->let_go != keeper->let_go_told;
}

int tarn_keeper_wait(tarn_keeper *keeper, int64_t timeout_ns) {
    int status = check(keeper);
    if (status)
        return status;
    status = waiter_wait(&keeper->waiter, look, keeper, timeout_ns);
    if (!status) /* there is no take to do it */
        status = waiter_make_quiet(&keeper->waiter, look, keeper);
    if (status == 1)
        keeper->let_go_told = keeper->let_go;
    else if (status && status == keeper->trouble)
        keeper->trouble = 0; /* it is told now */
    return status;
}

int tarn_keeper_interrupt(tarn_keeper *keeper) {
    int status = check(keeper);
    return status ? status : waiter_interrupt(&keeper->waiter);
}

int tarn_keeper_fd(tarn_keeper *keeper) {
    int status = check(keeper);
    return status ? status : waiter_fd(&keeper->waiter);
}

static int fd_for_waitset(void *handle) {
    return tarn_keeper_fd(handle);
}

static int look_for_waitset(void *handle) {
    struct tarn_keeper *keeper = handle;
    int status = look(keeper);
    return status ? status : waiter_removal_for_waitset(&keeper->waiter);
}

static int ready_for_waitset(void *handle) {
    struct tarn_keeper *keeper = handle;
    int status = check(keeper);
    if (!status)
        status = look_for_waitset(keeper);
    return status ? status : waiter_make_quiet(&keeper->waiter, look_for_waitset, keeper);
}

const struct waitable keeper_waitable = {fd_for_waitset, ready_for_waitset, look_for_waitset};

uint64_t tarn_keeper_left(tarn_keeper *keeper) {
    uint64_t count = 0;
    if (check(keeper))
        return 0;
    keep_up(keeper);
    for (uint32_t slot = 0; slot < keeper->kept_count; slot++)
        count += keeper->kept[slot].remote && keeper->kept[slot].has_left;
    return count;
}

uint64_t tarn_keeper_let_go(const tarn_keeper *keeper) {
    return check(keeper) ? 0 : keeper->let_go;
}

/* ---- opening and closing -------------------------------------------------------------------------------------- */

static int check_options(const tarn_keeper_options *options, tarn_keeper_options *ret) {
    int status = options_copy(ret, sizeof(*ret), options, "tarn_keeper_options");
    if (status || !options)
        return status;
    if (ret->left_max > PUBLISHERS_MAX / 2)
        return fail(TARN_ERROR_ARGUMENT, "left_max is %" PRIu32 ": the most is %u", ret->left_max, PUBLISHERS_MAX / 2);
    return waiter_check_options(ret->wait_strategy, ret->spin_ns);
}

/* Under process_lock(). What is kept of those who left goes, unless others keep it. */
static void leave(struct tarn_keeper *keeper) {
    struct topic *topic = keeper->waiter.topic;
    doorbell_close(&keeper->waiter.doorbell);
    store_relaxed(&keeper->handle.mark, HANDLE_CLOSED);
    subscriber_slot_clear(topic, keeper->waiter.slot_number, false);
    for (uint32_t slot = 0; slot < keeper->kept_count; slot++)
        detach(keeper, &keeper->kept[slot]);
    /* killed here, or before: who looks at their slots next finds that nobody keeps them */
    for (uint32_t slot = 0; slot < keeper->kept_count; slot++)
        if (keeper->kept[slot].has_left)
            slot_reap(topic, PUBLISHER, slot, false);
    free(keeper->kept);
    topic_leave(topic, SUBSCRIBER, keeper->waiter.slot_number);
    handle_free(&closed_keepers, &keeper->handle);
}

static int open_in_slot(struct tarn_keeper *keeper) {
    struct topic *topic = keeper->waiter.topic;
    struct subscriber_slot *slot = keeper->waiter.slot;
    int status = check_pattern(topic);
    if (status)
        return status;
    keeper->incarnation = incarnation_of(&slot->incarnation);
    keeper->waiter.bell = &slot->bell;
    keeper->waiter.subscribers_too = true;
    store_release(&topic->roster.header->monitors, 1); /* before the look: changes ring us from here on */
    store_relaxed(&slot->reliable, 0);
    store_relaxed(&slot->role, ROLE_KEEPER);
    store_release(&slot->state, SLOT_JOINING);
    POINT(keeper_joining);
    /* killed here, and below: a dead subscriber's slot as any other; what it has attached counts only while it lives */
    topic_ring(topic); /* R1 */
    update(keeper);
    store_release(&slot->state, SLOT_LIVE);
    POINT(keeper_live);
    topic_ring(topic);
    return 0;
}

static int open_locked(tarn_keeper **ret, const char *name, const tarn_keeper_options *options) {
    struct tarn_keeper *keeper = handle_allocate(&closed_keepers, sizeof(*keeper), HANDLE_KEEPER);
    if (!keeper)
        return fail(TARN_ERROR_NO_MEMORY, "no memory for a keeper");
    int status = waiter_join(&keeper->waiter, name, options->directory, options->domain, PATTERN_NONE,
                             options->wait_strategy, options->spin_ns);
    if (status) {
        handle_free(&closed_keepers, &keeper->handle);
        return status;
    }
    keeper->left_max = options->left_max ? options->left_max : DEFAULT_LEFT_MAX;
    keeper->memory_max_bytes = options->memory_max_bytes ? options->memory_max_bytes : machine_memory_limit();
    status = open_in_slot(keeper);
    if (status)
        leave(keeper);
    else
        *ret = keeper;
    return status;
}

int tarn_keeper_open(tarn_keeper **ret, const char *topic, const tarn_keeper_options *options) {
    tarn_keeper_options checked;
    if (!ret)
        return fail(TARN_ERROR_ARGUMENT, "the place for the keeper is NULL");
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

int tarn_keeper_close(tarn_keeper *keeper) {
    if (!keeper)
        return 0;
    int status = check(keeper);
    if (status)
        return status;
    process_lock();
    leave(keeper);
    process_unlock();
    return 0;
}
