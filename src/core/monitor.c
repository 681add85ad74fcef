/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Monitors: who joins a topic of any pattern, who leaves, who dies. A monitor compares the slots with what it knew of
 * them, when the roster's counter of changes has moved, and in each slice, after a look at everybody's lock.
 *
 * Each slot says how many lives have ended in it, and how the last ones did (layout.h, ended_word()). So a life is
 * known by its number, and what came and went between two looks is counted exactly, however fast it was.
 *
 * A monitor sleeps on its own slot's bell, which changes ring and messages do not, so it costs publishers nothing.
 */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"
#include "base/os.h"
#include "base/points.h"
#include "base/status.h"
#include "core/handle.h"
#include "core/waitables.h"
#include "core/reaper.h"
#include "core/roles.h"

#define DEFAULT_LOOK_NS (10 * NS_PER_MS)
#define SLOT_TRIES 8u /* to read a slot that changes meanwhile */
#define SCANS 3u      /* in one call, if changes go on */

/* What is known of a slot. */
struct known {
    uint32_t ended; /* lives that had ended there */
    bool is_told;   /* somebody joined there, and did not end yet; who says who */
    bool is_silent; /* the life that goes on there is not told, or its end was told already */
    uint64_t start_time, namespaces;
    tarn_match who;
};

struct tarn_monitor {
    struct handle handle;
    bool others;       /* other monitors are told */
    bool is_scanning;  /* from kind and slot on */
    bool again;        /* some slot could not be read */
    bool has_match;    /* match is to be taken */
    bool skip_present; /* during opening: who is there is noted as if it had been told */
    uint32_t changes;  /* as at the last scan's begin */
    uint32_t looks;    /* at peers, likewise */
    enum slot_kind kind;
    uint32_t slot;
    uint64_t missed; /* not told yet */
    tarn_match match;
    struct known *known[2];
    uint32_t known_count[2];
    struct waiter waiter;
};

static struct closed_handles closed_monitors;

/* ---- one slot ------------------------------------------------------------------------------------------------- */

struct slot_words {
    _Atomic uint32_t *state, *incarnation;
    _Atomic uint64_t *ended;
    const struct identity *who;
    _Atomic uint32_t *role; /* NULL: a publisher's slot */
};

struct slot_look {
    bool is_alive, is_leaving;
    uint32_t slot_role;
    uint64_t ended;
    struct identity who;
};

static bool find_words(struct topic *topic, enum slot_kind kind, uint32_t slot, struct slot_words *ret) {
    if (kind == PUBLISHER) {
        struct publisher_slot *publisher = roster_publisher(&topic->roster, slot);
        if (publisher)
            *ret = (struct slot_words){&publisher->state, &publisher->incarnation, &publisher->ended, &publisher->who,
                                       NULL};
        return publisher;
    }
    struct subscriber_slot *subscriber = roster_subscriber(&topic->roster, slot);
    if (subscriber)
        *ret = (struct slot_words){&subscriber->state, &subscriber->incarnation, &subscriber->ended, &subscriber->who,
                                   &subscriber->role};
    return subscriber;
}

/* All of it as it was at one moment. False: it changes all the time. */
static bool look_at_slot(const struct slot_words *words, struct slot_look *ret) {
    for (uint32_t i = 0; i < SLOT_TRIES; i++) {
        uint32_t incarnation = load_acquire(words->incarnation);
        uint32_t state = load_acquire(words->state);
        ret->who = *words->who;
        ret->slot_role = words->role ? load_relaxed(words->role) : ROLE_PLAIN;
        ret->ended = load_acquire(words->ended);
        full_fence(); /* the copy is over */
        if (load_acquire(words->incarnation) != incarnation || load_acquire(words->state) != state ||
            load_acquire(words->ended) != ret->ended)
            continue;
        bool over = life_is_over(ret->ended, (uint16_t)incarnation);
        ret->is_alive = !over && (state == SLOT_LIVE || state == SLOT_WATCHING);
        ret->is_leaving = !over && state == SLOT_LEAVING;
        return true;
    }
    return false;
}

static void describe(struct known *known, const struct identity *who, uint32_t role) {
    known->start_time = who->start_time;
    known->namespaces = who->namespaces;
    known->who = (tarn_match){
        .role = role,
        .identity = who->number,
        .opened_ns = who->opened_ns,
        .pid = who->pid,
        .uid = who->uid,
        .foreign_pid = !os_numbers_alike(who->namespaces),
    };
    memcpy(known->who.command, who->command, sizeof(known->who.command));
    known->who.command[sizeof(known->who.command) - 1] = 0;
}

static void tell(struct tarn_monitor *monitor, const tarn_match *who, enum tarn_match_kind kind) {
    monitor->match = *who;
    monitor->match.kind = kind;
    monitor->match.missed = monitor->missed;
    monitor->missed = 0;
    monitor->has_match = true;
}

/* How a life ended of which so many have ended since, itself included. */
static enum tarn_match_kind how_ended(const struct known *known, uint64_t ended, uint32_t since) {
    bool died = since <= ENDED_HISTORY ? ended_by_death(ended, since - 1)
                                       : os_is_gone(known->who.pid, known->start_time, known->namespaces);
    return died ? TARN_MATCH_DIED : TARN_MATCH_LEFT;
}

/* Whether somebody is in the slot yet, but not in the topic any more. */
static bool has_gone(struct tarn_monitor *monitor, const struct known *known, const struct slot_words *words,
                     const struct slot_look *look, enum tarn_match_kind *ret) {
    bool may_remain = known->who.role == TARN_ROLE_WRITER || known->who.role == TARN_ROLE_PRODUCER;
    if (!look->is_leaving && !(look->is_alive && may_remain))
        return false;
    bool dead = slot_is_dead(monitor->waiter.topic, monitor->kind, monitor->slot, true);
    struct slot_look now; /* it may have left since, and seem dead by that */
    if (!look_at_slot(words, &now) || now.ended != look->ended || now.is_leaving != look->is_leaving) {
        monitor->again = true;
        return false;
    }
    *ret = look->is_leaving ? TARN_MATCH_LEFT : TARN_MATCH_DIED;
    if (look->is_leaving) /* closed: messages are still held, or what it left is needed */
        return !dead || may_remain;
    return dead; /* kept, as what it left is needed */
}

/* What somebody told did: is anything to be told now? */
static bool follow_life(struct tarn_monitor *monitor, struct known *known, const struct slot_words *words,
                        const struct slot_look *look) {
    uint32_t since = ended_count(look->ended) - known->ended;
    enum tarn_match_kind how;
    if (since == 0) {
        if (!has_gone(monitor, known, words, look, &how))
            return false;
        known->is_silent = true; /* that it ends is not told again */
    } else
        how = how_ended(known, look->ended, since);
    known->is_told = false;
    tell(monitor, &known->who, how);
    if (since) {
        known->ended += since;
        monitor->missed += since - 1;
    }
    return true;
}

/* Whether the slot has something to tell; it may have more. */
static bool follow_slot(struct tarn_monitor *monitor, struct known *known) {
    struct slot_words words;
    struct slot_look look;
    struct topic *topic = monitor->waiter.topic;
    if (!find_words(topic, monitor->kind, monitor->slot, &words))
        return false;
    if (!look_at_slot(&words, &look)) {
        monitor->again = true;
        return false;
    }
    uint32_t role = role_of(topic_pattern(topic), monitor->kind, look.slot_role);
    if (role == 0)
        return false;
    if (known->is_told)
        return follow_life(monitor, known, &words, &look);
    uint32_t since = ended_count(look.ended) - known->ended;
    if (since) {
        monitor->missed += since - known->is_silent;
        known->ended += since;
        known->is_silent = false;
    }
    if (!look.is_alive || known->is_silent)
        return false;
    bool own = monitor->kind == SUBSCRIBER && monitor->slot == monitor->waiter.slot_number;
    if (own || (role == TARN_ROLE_MONITOR && !monitor->others)) {
        known->is_silent = true;
        return false;
    }
    describe(known, &look.who, role);
    known->is_told = true;
    if (!monitor->skip_present)
        tell(monitor, &known->who, TARN_MATCH_JOINED);
    return !monitor->skip_present;
}

/* ---- all slots ------------------------------------------------------------------------------------------------ */

static uint32_t slots_of(struct tarn_monitor *monitor, enum slot_kind kind) {
    struct roster *roster = &monitor->waiter.topic->roster;
    return kind == PUBLISHER ? roster_publisher_slots(roster) : roster_subscriber_slots(roster);
}

static bool make_room(struct tarn_monitor *monitor, enum slot_kind kind, uint32_t count) {
    if (count <= monitor->known_count[kind])
        return true;
    struct known *known = realloc(monitor->known[kind], count * sizeof(*known));
    if (!known)
        return false;
    memset(known + monitor->known_count[kind], 0, (count - monitor->known_count[kind]) * sizeof(*known));
    monitor->known[kind] = known;
    monitor->known_count[kind] = count;
    return true;
}

/* Goes on until some slot has something to tell. 1: it has; 0: none; or a status. Under process_lock(). */
static int scan(struct tarn_monitor *monitor) {
    for (; monitor->kind <= SUBSCRIBER; monitor->kind++, monitor->slot = 0) {
        uint32_t slots = slots_of(monitor, monitor->kind);
        if (!make_room(monitor, monitor->kind, slots))
            return fail(TARN_ERROR_NO_MEMORY, "topic \"%s\": no memory to remember its participants",
                        monitor->waiter.topic->name);
        for (; monitor->slot < slots; monitor->slot++)
            if (follow_slot(monitor, &monitor->known[monitor->kind][monitor->slot]))
                return 1; /* and the same slot again, as another may be there */
    }
    monitor->is_scanning = false;
    if (!monitor->missed)
        return 0;
    tell(monitor, &(tarn_match){.kind = 0}, TARN_MATCH_MISSED);
    return 1;
}

static bool is_due(const struct tarn_monitor *monitor) {
    return monitor->is_scanning || monitor->again || monitor->looks != monitor->waiter.looks ||
           load_acquire(&monitor->waiter.topic->roster.header->changes) != monitor->changes;
}

/* 1: there is a match to take; 0: none; or a status. */
static int find(void *owner) {
    struct tarn_monitor *monitor = owner;
    int status = monitor->has_match;
    for (uint32_t i = 0; i < SCANS && !status && is_due(monitor); i++) {
        process_lock();
        if (!monitor->is_scanning) {
            monitor->changes = load_acquire(&monitor->waiter.topic->roster.header->changes); /* before looking */
            monitor->looks = monitor->waiter.looks;
            monitor->again = false;
            monitor->is_scanning = true;
            monitor->kind = PUBLISHER;
            monitor->slot = 0;
        }
        status = scan(monitor);
        process_unlock();
    }
    return status;
}

/* As find(), having looked after the dead if it is time. */
static int find_or_look(struct tarn_monitor *monitor) {
    int status = find(monitor);
    if (status || os_now_ns() - monitor->waiter.looked_ns < monitor->waiter.slice_ns)
        return status;
    waiter_look_at_peers(&monitor->waiter);
    return find(monitor);
}

static int deliver(struct tarn_monitor *monitor, tarn_match *ret) {
    *ret = monitor->match;
    monitor->has_match = false;
    return 1;
}

/* ---- the public calls ----------------------------------------------------------------------------------------- */

static int check_handle(const struct tarn_monitor *monitor) {
    return handle_check((const struct handle *)monitor, HANDLE_MONITOR);
}

int tarn_monitor_take(tarn_monitor *monitor, tarn_match *ret) {
    int status = check_handle(monitor);
    if (status)
        return status;
    if (!ret)
        return fail(TARN_ERROR_ARGUMENT, "the match is NULL");
    status = find_or_look(monitor);
    if (!status)
        status = waiter_make_quiet(&monitor->waiter, find, monitor);
    return status == 1 ? deliver(monitor, ret) : status;
}

int tarn_monitor_receive(tarn_monitor *monitor, tarn_match *ret, int64_t timeout_ns) {
    int status = tarn_monitor_take(monitor, ret);
    if (status || timeout_ns <= 0)
        return status;
    status = waiter_wait(&monitor->waiter, find, monitor, timeout_ns);
    return status == 1 ? deliver(monitor, ret) : status;
}

int tarn_monitor_wait(tarn_monitor *monitor, int64_t timeout_ns) {
    int status = check_handle(monitor);
    return status ? status : waiter_wait(&monitor->waiter, find, monitor, timeout_ns);
}

int tarn_monitor_interrupt(tarn_monitor *monitor) {
    int status = check_handle(monitor);
    return status ? status : waiter_interrupt(&monitor->waiter);
}

int tarn_monitor_fd(tarn_monitor *monitor) {
    int status = check_handle(monitor);
    return status ? status : waiter_fd(&monitor->waiter);
}

static int waitable_fd(void *handle) {
    return tarn_monitor_fd(handle);
}

static int waitable_look(void *handle) {
    struct tarn_monitor *monitor = handle;
    int status = find(monitor);
    return status ? status : waiter_removal_for_waitset(&monitor->waiter);
}

static int waitable_ready(void *handle) {
    struct tarn_monitor *monitor = handle;
    int status = check_handle(monitor);
    if (!status)
        status = find_or_look(monitor);
    return status ? status : waiter_make_quiet(&monitor->waiter, waitable_look, monitor);
}

const struct waitable monitor_waitable = {waitable_fd, waitable_ready, waitable_look};

/* ---- opening and closing -------------------------------------------------------------------------------------- */

static int check_options(const tarn_monitor_options *options, tarn_monitor_options *ret) {
    int status = options_copy(ret, sizeof(*ret), options, "tarn_monitor_options");
    if (status || !options)
        return status;
    if (ret->reserved)
        return fail(TARN_ERROR_ARGUMENT, "tarn_monitor_options.reserved is not 0");
    if (ret->look_ns < 0)
        return fail(TARN_ERROR_ARGUMENT, "look_ns is negative");
    return waiter_check_options(ret->wait_strategy, ret->spin_ns);
}

/* Who was there before is no news, and what ended before is not missed. Under process_lock(). */
static int look_first(struct tarn_monitor *monitor, bool skip_present) {
    struct topic *topic = monitor->waiter.topic;
    for (enum slot_kind kind = PUBLISHER; kind <= SUBSCRIBER; kind++) {
        uint32_t slots = slots_of(monitor, kind);
        if (!make_room(monitor, kind, slots))
            return fail(TARN_ERROR_NO_MEMORY, "topic \"%s\": no memory to remember its participants", topic->name);
        for (uint32_t slot = 0; slot < slots; slot++) {
            struct slot_words words;
            if (find_words(topic, kind, slot, &words))
                monitor->known[kind][slot].ended = ended_count(load_acquire(words.ended));
        }
    }
    monitor->changes = load_acquire(&topic->roster.header->changes) - 1; /* what is there is to be looked at */
    monitor->skip_present = skip_present;
    monitor->is_scanning = skip_present;
    int status = skip_present ? scan(monitor) : 0;
    monitor->skip_present = false;
    return status < 0 ? status : 0;
}

static int open_in_slot(struct tarn_monitor *monitor, const tarn_monitor_options *options) {
    struct subscriber_slot *slot = monitor->waiter.slot;
    struct topic *topic = monitor->waiter.topic;
    monitor->waiter.bell = &slot->bell;
    monitor->waiter.subscribers_too = true;
    monitor->waiter.slice_ns = options->look_ns ? options->look_ns : DEFAULT_LOOK_NS;
    monitor->others = options->monitors;
    store_release(&topic->roster.header->monitors, 1); /* before the look: changes ring us from here on */
    store_relaxed(&slot->role, ROLE_MONITOR);
    int status = look_first(monitor, options->skip_present); /* first: who sees us can rely on being told, or counted */
    if (status)
        return status;
    store_release(&slot->state, SLOT_WATCHING);
    topic_ring(topic);
    return 0;
}

/* Under process_lock(). */
static void leave(struct tarn_monitor *monitor) {
    doorbell_close(&monitor->waiter.doorbell);
    subscriber_slot_clear(monitor->waiter.topic, monitor->waiter.slot_number, false);
    topic_leave(monitor->waiter.topic, SUBSCRIBER, monitor->waiter.slot_number);
    free(monitor->known[PUBLISHER]);
    free(monitor->known[SUBSCRIBER]);
    handle_free(&closed_monitors, &monitor->handle);
}

static int open_locked(tarn_monitor **ret, const char *topic, const tarn_monitor_options *options) {
    struct tarn_monitor *monitor = handle_allocate(&closed_monitors, sizeof(*monitor), HANDLE_MONITOR);
    if (!monitor)
        return fail(TARN_ERROR_NO_MEMORY, "no memory for a monitor");
    int status = waiter_join(&monitor->waiter, topic, options->directory, options->domain, PATTERN_NONE,
                             options->wait_strategy, options->spin_ns);
    if (status) {
        handle_free(&closed_monitors, &monitor->handle);
        return status;
    }
    status = open_in_slot(monitor, options);
    if (status)
        leave(monitor);
    else
        *ret = monitor;
    return status;
}

int tarn_monitor_open(tarn_monitor **ret, const char *topic, const tarn_monitor_options *options) {
    tarn_monitor_options checked;
    if (!ret)
        return fail(TARN_ERROR_ARGUMENT, "the place for the monitor is NULL");
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

int tarn_monitor_close(tarn_monitor *monitor) {
    if (!monitor)
        return 0;
    int status = check_handle(monitor);
    if (status)
        return status;
    process_lock();
    leave(monitor);
    process_unlock();
    return 0;
}
