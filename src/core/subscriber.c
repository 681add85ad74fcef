/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Subscribers and messages: the public calls, and waiting. Whom they follow is in subscriber_follow.c, reading a log in
 * shm/reader.c.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "base/status.h"
#include "core/handle.h"
#include "core/inspect.h"
#include "core/reaper.h"
#include "core/subscriber.h"
#include "core/topic.h"
#include "core/type.h"
#include "core/waitables.h"
#include "core/waiter.h"
#include "shm/bell.h"
#include "shm/holds.h"
#include "shm/reader.h"

#define DEFAULT_MAX_HELD 64u
#define MAX_HELD_MAX 65536u
#define INBOX_LOOKS 4u       /* at slots of each kind, in a look of one of many that do the same */
#define LOSSES_AT_ONCE 4096u /* messages that are no more, in one take of a log: one for each open loan is honest */

static struct closed_handles closed_subscribers;

/* ---- taking --------------------------------------------------------------------------------------------------- */

static uint64_t lost_in_all(const struct tarn_subscriber *subscriber) {
    uint64_t lost = subscriber->lost;
    for (uint32_t i = 0; i < subscriber->reader_count; i++)
        lost += subscriber->readers[i]->lost_in_all;
    return lost;
}

static void tell_statistics(struct tarn_subscriber *subscriber) {
    uint64_t taken = subscriber->taken;
    for (uint32_t i = 0; i < subscriber->reader_count; i++) {
        log_reader_count(subscriber->readers[i]);
        taken += subscriber->readers[i]->taken_in_all;
    }
    store_relaxed(&subscriber->waiter.slot->taken, taken);
    store_relaxed(&subscriber->waiter.slot->lost, lost_in_all(subscriber));
}

/* Counts what the user holds. False: as much as is allowed. */
static bool renew_credit(struct tarn_subscriber *subscriber, struct log_reader *reader) {
    tell_statistics(subscriber); /* the holds know now what was taken */
    uint64_t held = holds_outstanding(&subscriber->holds);
    subscriber->credit = held < subscriber->max_held ? subscriber->max_held - held : 0;
    subscriber_lend_credit(subscriber, reader);
    return held < subscriber->max_held;
}

static int say_holding(const struct tarn_subscriber *subscriber) {
    return fail(TARN_ERROR_HOLDING,
                "topic \"%s\": %" PRIu32
                " messages are held, as many as max_held allows: release some first; nothing is lost",
                subscriber->waiter.topic->name, subscriber->max_held);
}

static int say_trouble(struct tarn_subscriber *subscriber) {
    int status = subscriber->trouble;
    subscriber->trouble = 0;
    return fail((enum tarn_status)status, "%s", subscriber->trouble_text);
}

static int say_no_memory(const struct tarn_subscriber *subscriber, const struct log_reader *reader) {
    int error = -reader->attach_error;
    return fail_memory(error, "topic \"%s\": cannot follow publisher %016" PRIx64 " (%s), which is tried again",
                       subscriber->waiter.topic->name, reader->remote->number, remote_pid_text(reader->remote).text);
}

/* Not with each look, as it is tried again with each: who waits for memory, and looks again, is to sleep in between. */
static int tell_no_memory(struct tarn_subscriber *subscriber, const struct log_reader *reader) {
    int64_t now = os_now_ns();
    if (now - subscriber->no_memory_ns < SLICE_NS)
        return 0;
    subscriber->no_memory_ns = now;
    return say_no_memory(subscriber, reader);
}

/* Past what is no plain message. 1: taken; 0: nothing; or a status. */
static int take_slowly(struct tarn_subscriber *subscriber, struct log_reader *reader, tarn_message *ret) {
    for (uint32_t i = 0; i < LOSSES_AT_ONCE; i++) {
        enum reader_look look = log_reader_look(reader);
        if (look == READER_DAMAGED)
            return subscriber_say_damaged(subscriber, reader);
        if (look == READER_NO_MEMORY)
            return tell_no_memory(subscriber, reader);
        if (look != READER_MESSAGE)
            return 0;
        if (log_reader_allowed(reader) == 0 && !renew_credit(subscriber, reader))
            return say_holding(subscriber);
        enum reader_take take = log_reader_take(reader, ret);
        if (take != READER_LOST)
            return take == READER_FAILED ? tell_no_memory(subscriber, reader) : take == READER_TAKEN;
    }
    return 0; /* others have their turn; a publisher may go on like that for ever */
}

static int take_from(struct tarn_subscriber *subscriber, struct log_reader *reader, tarn_message *ret) {
    if (reader->position && !log_reader_sees(reader))
        return 0;
    return take_slowly(subscriber, reader, ret);
}

static int take_in_turn(struct tarn_subscriber *subscriber, struct log_reader *reader, tarn_message *ret) {
    subscriber_lend_credit(subscriber, reader);
    int result = log_reader_take_usual(reader, ret) ? 1 : take_from(subscriber, reader, ret);
    subscriber_take_credit_back(subscriber, reader);
    return result;
}

/* For who never waits: the look at peers that tries again is in waits. Returns whether it was tried. */
static bool retry_now_and_then(struct tarn_subscriber *subscriber) {
    if (likely(!subscriber->retry))
        return false;
    int64_t now = os_now_coarse_ns();
    if (now - subscriber->retried_ns < SLICE_NS)
        return false;
    subscriber->retried_ns = now;
    if (subscriber->trouble != TARN_ERROR_DAMAGED && subscriber->trouble != TARN_ERROR_TOPIC_REMOVED)
        subscriber->trouble = 0; /* it is noted anew, unless it is over */
    subscriber_follow_changes(subscriber);
    return true;
}

/*
 * Follows joins and leaves, and now and then, as it must be counted anyway what is held, lets go of who has left: a
 * subscriber that never finds nothing would keep their memory for ever.
 */
static inline void keep_up(struct tarn_subscriber *subscriber) {
    if (unlikely(roster_changed(subscriber)))
        subscriber_follow_changes(subscriber);
    if (unlikely(subscriber->credit + log_reader_allowed(subscriber->only) == 0)) {
        retry_now_and_then(subscriber);
        subscriber_drop_finished(subscriber);
    }
}

static int take_any(struct tarn_subscriber *subscriber, tarn_message *ret) {
    uint32_t count = subscriber->reader_count;
    uint32_t turn = subscriber->next < count ? subscriber->next : 0;
    if (count == 1)
        return take_from(subscriber, subscriber->only, ret);
    for (uint32_t i = 0; i < count; i++) {
        int result = take_in_turn(subscriber, subscriber->readers[turn], ret);
        if (++turn == count)
            turn = 0;
        if (result) {
            subscriber->next = turn;
            return result;
        }
    }
    return 0;
}

static bool look_at_peers(struct tarn_subscriber *subscriber);

/* The caller looks again, and rings if there is something. False: the topic's file has been found to be gone. */
static bool make_quiet(struct tarn_subscriber *subscriber, bool looks_at_peers) {
    struct waiter *waiter = &subscriber->waiter;
    bool in_place = !doorbell_drain(&waiter->doorbell) || !looks_at_peers || look_at_peers(subscriber);
    POINT(doorbell_drained);
    doorbell_arm(&waiter->doorbell, waiter->slot, waiter->bell, SLICE_NS);
    return in_place;
}

/* Lets go of what is finished, and makes the descriptor quiet. */
static int found_nothing(struct tarn_subscriber *subscriber, tarn_message *ret) {
    bool retried = !subscriber->realtime && retry_now_and_then(subscriber);
    if (!subscriber->realtime)
        subscriber_drop_finished(subscriber);
    tell_statistics(subscriber);
    if (subscriber->trouble)
        return say_trouble(subscriber);
    if (!subscriber->waiter.doorbell.open) {
        bool may_be_quiet = !subscriber->only->gone && !subscriber->retry && !retried;
        subscriber->quiet = may_be_quiet ? subscriber->only->sequence : NEVER_QUIET;
        return 0;
    }
    make_quiet(subscriber, !subscriber->realtime);
    if (roster_changed(subscriber) && !subscriber->realtime)
        subscriber_follow_changes(subscriber);
    int result = take_any(subscriber, ret);
    if (result)
        doorbell_ring_self(&subscriber->waiter.doorbell);
    return result;
}

/* As renew_credit(), if all that is held can only be of the only publisher's log, where its reader is. */
static bool renew_easily(struct tarn_subscriber *subscriber) {
    struct log_reader *only = subscriber->only;
    if (!only->position || log_reader_is_over(only) || !holds_positions_only(&subscriber->holds))
        return false;
    tell_statistics(subscriber); /* the hold knows now what was taken */
    uint64_t held = (uint64_t)hold_out(only->position);
    if (held < subscriber->max_held)
        log_reader_allow(only, subscriber->max_held - held);
    return held < subscriber->max_held;
}

/* As take_easily(), for any message of the only publisher that is in its place. */
SHORT_HALF bool take_plainly(struct tarn_subscriber *subscriber, tarn_message *ret) {
    struct log_reader *only = subscriber->only;
    return likely(!roster_changed(subscriber)) && likely(only->sequence < only->until) &&
           log_reader_take_plain(only, ret);
}

__attribute__((noinline)) bool subscriber_take_plainly(struct tarn_subscriber *subscriber, tarn_message *ret) {
    return take_plainly(subscriber, ret);
}

/* As take_plainly(), which did not do it, if that was for want of credit. */
static bool take_on_credit(struct tarn_subscriber *subscriber, tarn_message *ret) {
    return log_reader_allowed(subscriber->only) == 0 && renew_easily(subscriber) && take_plainly(subscriber, ret);
}

LONG_HALF int take(struct tarn_subscriber *subscriber, tarn_message *ret) {
    int status = handle_check((const struct handle *)subscriber, HANDLE_SUBSCRIBER);
    if (status)
        return status;
    if (!ret)
        return fail(TARN_ERROR_ARGUMENT, "the message is NULL");
    if (take_on_credit(subscriber, ret))
        return 1;
    if (!subscriber->realtime)
        keep_up(subscriber);
    int result = take_any(subscriber, ret);
    return result ? result : found_nothing(subscriber, ret);
}

/*
 * What is no message like the last one: a large one, which mostly lies in an extent of its own, is gone to without
 * detours.
 */
LONG_HALF int take_other(struct tarn_subscriber *subscriber, tarn_message *ret) {
    if (take_plainly(subscriber, ret))
        return 1;
    if (roster_changed(subscriber) || log_reader_allowed(subscriber->only) == 0)
        return take(subscriber, ret);
    enum reader_look look = log_reader_follow(subscriber->only);
    if (look == READER_DAMAGED)
        return subscriber_say_damaged(subscriber, subscriber->only);
    return look == READER_PENDING && take_plainly(subscriber, ret) ? 1 : take(subscriber, ret);
}

int tarn_subscriber_take(tarn_subscriber *subscriber, tarn_message *ret) {
    if (unlikely(!handle_is((const struct handle *)subscriber, HANDLE_SUBSCRIBER)) || unlikely(!ret))
        return take(subscriber, ret);
    if (take_easily(subscriber, ret))
        return 1;
    return subscriber_is_quiet(subscriber) ? 0 : take_other(subscriber, ret);
}

int tarn_subscriber_take_many(tarn_subscriber *subscriber, tarn_message *ret, size_t count) {
    int status = handle_check((const struct handle *)subscriber, HANDLE_SUBSCRIBER);
    if (status)
        return status;
    if (!ret || count == 0)
        return fail(TARN_ERROR_ARGUMENT, ret ? "no message is asked for" : "the place for the messages is NULL");
    if (unlikely(subscriber->trouble))
        return say_trouble(subscriber);
    size_t most = count < INT_MAX ? count : INT_MAX, taken = 0;
    while (taken < most) {
        if (likely(!roster_changed(subscriber)))
            taken += log_reader_take_alike(subscriber->only, ret + taken, most - taken);
        if (taken == most || (taken > 0 && subscriber->only->position && !log_reader_sees(subscriber->only)))
            break;
        status = tarn_subscriber_take(subscriber, ret + taken);
        if (status == 1) {
            taken++;
            continue;
        }
        if (taken == 0)
            return status;
        if (status < 0 && status != TARN_ERROR_HOLDING) /* which the next take finds again */
            subscriber_keep_trouble(subscriber, status);
        break;
    }
    return (int)taken;
}

LONG_HALF int explain_message(const tarn_message *message) {
    if (!message)
        return fail(TARN_ERROR_ARGUMENT, "the message is NULL");
    if (!message->held_by)
        return fail(TARN_ERROR_RELEASED, "the message was released before");
    return fail(TARN_ERROR_FORKED, "the message was taken before fork() and belongs to the parent");
}

int tarn_message_release(tarn_message *message) {
    struct hold *hold = message ? message->held_by : NULL;
    if (unlikely(!hold) || unlikely(!process_is_epoch(hold->epoch)))
        return explain_message(message);
    message->data = NULL; /* one by one: memset of so little costs more than all the rest */
    message->bytes = 0;
    message->sequence = message->publisher = message->lost = 0;
    message->sent_ns = 0;
    message->held_by = NULL;
    hold_release(hold);
    return 0;
}

/* ---- waiting -------------------------------------------------------------------------------------------------- */

/* 1: there is something to take; 0: nothing; or a status. ret_unattached: set where something is out of reach. */
static int look_at_logs(struct tarn_subscriber *subscriber, bool *ret_unattached) {
    if (__builtin_expect(roster_changed(subscriber), 0))
        subscriber_follow_changes(subscriber);
    const struct log_reader *starved = NULL;
    for (uint32_t i = 0; i < subscriber->reader_count; i++) {
        enum reader_look look = log_reader_look(subscriber->readers[i]);
        if (look == READER_DAMAGED)
            return subscriber_say_damaged(subscriber, subscriber->readers[i]);
        if (look == READER_NO_MEMORY)
            starved = subscriber->readers[i];
        else if (look == READER_UNATTACHED)
            *ret_unattached = true;
        else if (look != READER_EMPTY)
            return 1;
    }
    return starved ? tell_no_memory(subscriber, starved) : 0;
}

static int look_again(struct tarn_subscriber *subscriber) {
    bool unattached = false;
    int status = look_at_logs(subscriber, &unattached);
    if (!status && unattached && roster_changed(subscriber)) /* the publisher has grown meanwhile */
        status = look_at_logs(subscriber, &unattached);
    return status;
}

/*
 * 1: there is something to take (or to say); 0: nothing. What lies in a segment that cannot be attached is nothing:
 * with a publisher that was killed it has gone, and only when a wait goes on to look at peers is that seen.
 */
static int ready(void *owner) {
    struct tarn_subscriber *subscriber = owner;
    int status = look_again(subscriber);
    return !status && subscriber->trouble ? say_trouble(subscriber) : status;
}

/* Repairs publishers that died. Returns whether the topic's file is still in its place. */
static bool look_at_peers(struct tarn_subscriber *subscriber) {
    bool in_place = waiter_look_at_peers(&subscriber->waiter);
    if (subscriber->retry || subscriber->waiter.thorough) /* a repairer may have died before it counted the change */
        subscriber->changes--;
    return in_place;
}

/* One look while waiting: takes into ret, or, if that is NULL, only tells whether there is something. */
static inline int look_once(struct tarn_subscriber *subscriber, tarn_message *ret) {
    if (!ret)
        return ready(subscriber);
    keep_up(subscriber);
    return take_any(subscriber, ret);
}

/* As look_once(), so many times if need be. */
static int look_often(struct tarn_subscriber *subscriber, tarn_message *ret) {
    if (ret && subscriber->only->position)
        return spin(subscriber, ret) ? 1 : look_once(subscriber, ret);
    for (uint32_t i = 0; i < subscriber->waiter.looks_at_once; i++) {
        int status = look_once(subscriber, ret);
        if (status)
            return status;
        spin_pause();
    }
    return 0;
}

/* What is looked after now and then while waiting. 0, or a status that ends the wait. */
static int look_around(struct tarn_subscriber *subscriber, int64_t now) {
    if (waiter_was_interrupted(&subscriber->waiter))
        return waiter_say_interrupted(&subscriber->waiter);
    if (subscriber->trouble)
        return say_trouble(subscriber);
    if (now - subscriber->waiter.looked_ns >= SLICE_NS && !look_at_peers(subscriber) &&
        !subscriber->waiter.removal_told)
        return waiter_say_removed(&subscriber->waiter);
    return 0;
}

/* 1: there is something, or with ret: it was taken; 0: not in time; or a status. */
static int wait_for(struct tarn_subscriber *subscriber, tarn_message *ret, int64_t timeout_ns) {
    struct wait wait = waiter_begin(&subscriber->waiter, os_now_ns(), timeout_ns);
    for (bool first = true;; first = false) {
        int status = look_often(subscriber, ret);
        if (!status && first && ret)
            status = found_nothing(subscriber, ret);
        if (status)
            return status;
        int64_t now = os_now_ns();
        status = look_around(subscriber, now);
        if (status || now >= wait.deadline_ns)
            return status;
        tell_statistics(subscriber);
        subscriber_drop_finished(subscriber);
        status = now >= wait.sleep_from_ns ? waiter_sleep(&subscriber->waiter, ready, subscriber, wait.deadline_ns) : 0;
        if (status < 0 || (status && !ret))
            return status;
    }
}

int tarn_subscriber_wait(tarn_subscriber *subscriber, int64_t timeout_ns) {
    int status = handle_check((const struct handle *)subscriber, HANDLE_SUBSCRIBER);
    if (status)
        return status;
    if (subscriber->realtime)
        subscriber_drop_finished(subscriber); /* its takes do not */
    if (timeout_ns > 0)
        return wait_for(subscriber, NULL, timeout_ns);
    status = ready(subscriber);
    if (!status)
        status = look_around(subscriber, os_now_ns());
    if (!status)
        subscriber_drop_finished(subscriber);
    return status;
}

LONG_HALF int receive(struct tarn_subscriber *subscriber, tarn_message *ret, int64_t timeout_ns) {
    if (timeout_ns <= 0 || !ret || !handle_is((const struct handle *)subscriber, HANDLE_SUBSCRIBER))
        return take(subscriber, ret);
    if (take_on_credit(subscriber, ret))
        return 1;
    if (roster_changed(subscriber))
        subscriber_follow_changes(subscriber);
    /* along a jump, which has ended the short half's looks */
    enum reader_look look = log_reader_follow(subscriber->only);
    if (look == READER_DAMAGED)
        return subscriber_say_damaged(subscriber, subscriber->only);
    if (look == READER_PENDING && (take_plainly(subscriber, ret) ||
                                   (timeout_ns > LOOKS_NS && (spin(subscriber, ret) || take_plainly(subscriber, ret)))))
        return 1;
    return wait_for(subscriber, ret, timeout_ns);
}

int tarn_subscriber_receive(tarn_subscriber *subscriber, tarn_message *ret, int64_t timeout_ns) {
    if (likely(handle_is((const struct handle *)subscriber, HANDLE_SUBSCRIBER)) && ret &&
        receive_easily(subscriber, ret, timeout_ns))
        return 1;
    return receive(subscriber, ret, timeout_ns);
}

int tarn_subscriber_interrupt(tarn_subscriber *subscriber) {
    int status = handle_check((const struct handle *)subscriber, HANDLE_SUBSCRIBER);
    if (status)
        return status;
    return waiter_interrupt(&subscriber->waiter);
}

int tarn_subscriber_fd(tarn_subscriber *subscriber) {
    int status = handle_check((const struct handle *)subscriber, HANDLE_SUBSCRIBER);
    if (status)
        return status;
    subscriber->quiet = NEVER_QUIET;
    return waiter_fd(&subscriber->waiter);
}

/* ---- waiting for many ----------------------------------------------------------------------------------------- */

static int fd_for_waitset(void *handle) {
    return tarn_subscriber_fd(handle);
}

/* As ready(), but the next take will tell the trouble, too. */
static int look_for_waitset(void *handle) {
    struct tarn_subscriber *subscriber = handle;
    int status = look_again(subscriber);
    if (status == TARN_ERROR_DAMAGED)
        subscriber_keep_trouble(subscriber, status);
    if (status || !subscriber->trouble)
        return status;
    return fail((enum tarn_status)subscriber->trouble, "%s", subscriber->trouble_text);
}

/* As found_nothing(), but it takes nothing, and may look at peers where takes do not: the waitset's wait is a wait. */
static int ready_for_waitset(void *handle) {
    struct tarn_subscriber *subscriber = handle;
    int status = look_for_waitset(subscriber);
    if (status)
        return status;
    subscriber_drop_finished(subscriber);
    tell_statistics(subscriber);
    if (!make_quiet(subscriber, true) && !subscriber->waiter.removal_told)
        subscriber_keep_trouble(subscriber, waiter_say_removed(&subscriber->waiter));
    status = look_for_waitset(subscriber);
    if (status)
        doorbell_ring_self(&subscriber->waiter.doorbell);
    return status;
}

const struct waitable subscriber_waitable = {fd_for_waitset, ready_for_waitset, look_for_waitset};

/* ---- opening and closing -------------------------------------------------------------------------------------- */

static int check_options(const tarn_subscriber_options *options, tarn_subscriber_options *ret) {
    int status = options_copy(ret, sizeof(*ret), options, "tarn_subscriber_options");
    if (status || !options)
        return status;
    if (ret->max_held > MAX_HELD_MAX)
        return fail(TARN_ERROR_ARGUMENT, "max_held is %" PRIu32 ": the most is %u", ret->max_held, MAX_HELD_MAX);
    status = waiter_check_options(ret->wait_strategy, ret->spin_ns);
    return status ? status : type_check(ret->type);
}

static int check_refused(struct tarn_subscriber *subscriber) {
    for (uint32_t i = 0; i < subscriber->reader_count; i++) {
        struct log_reader *reader = subscriber->readers[i];
        if (load_acquire(&reader->holder.publisher->refuses_reliable) && !log_reader_is_over(reader) &&
            !slot_is_dead(subscriber->waiter.topic, PUBLISHER, reader->remote->slot, true))
            return fail(TARN_ERROR_REFUSED,
                        "topic \"%s\": publisher %.15s (%s) refuses reliable subscribers: open a best-effort one",
                        subscriber->waiter.topic->name, reader->holder.publisher->who.command,
                        remote_pid_text(reader->remote).text);
    }
    return 0;
}

/* Called once, by whoever lets go of the last message, or by close: the slot and all else goes. */
static void end(void *context) {
    struct tarn_subscriber *subscriber = context;
    process_lock();
    subscriber_slot_clear(subscriber->waiter.topic, subscriber->waiter.slot_number, false);
    for (uint32_t i = 0; i < subscriber->reader_count; i++)
        subscriber_free_reader(subscriber, subscriber->readers[i]);
    free(subscriber->readers);
    free(subscriber->missed);
    free(subscriber->passed);
    holds_free(&subscriber->holds);
    topic_leave(subscriber->waiter.topic, SUBSCRIBER, subscriber->waiter.slot_number);
    handle_free(&closed_subscribers, &subscriber->handle);
    process_unlock();
}

/* Reads nothing more. Messages may still be held. Not under process_lock(). */
static void stop(struct tarn_subscriber *subscriber) {
    process_lock();
    for (uint32_t i = 0; i < subscriber->reader_count; i++)
        log_reader_stop(subscriber->readers[i]);
    tell_statistics(subscriber);
    doorbell_close(&subscriber->waiter.doorbell);
    store_relaxed(&subscriber->handle.mark, HANDLE_CLOSED);
    if (load_relaxed(&subscriber->waiter.slot->state) != SLOT_OPENING) /* else nobody has seen us: no life that ends */
        store_release(&subscriber->waiter.slot->state, SLOT_LEAVING);
    POINT(leaving_said);
    topic_ring(subscriber->waiter.topic);
    for (uint32_t i = 0; i < subscriber->reader_count; i++)
        space_ring(subscriber->readers[i]->holder.publisher); /* S1: one that waits for our cursor looks again */
    process_unlock();
    holds_end(&subscriber->holds);
}

static uint64_t lives_ended(struct roster *roster) {
    uint64_t count = 0;
    for (uint32_t slot = 0, slots = roster_publisher_slots(roster); slot < slots; slot++) {
        struct publisher_slot *publisher = roster_publisher(roster, slot);
        count += publisher ? ended_count(load_acquire(&publisher->ended)) : 0;
    }
    return count;
}

static int open_in_slot(struct tarn_subscriber *subscriber, const tarn_subscriber_options *options,
                        const struct inbox_options *inbox) {
    struct roster_taker taker = {false, subscriber->waiter.slot_number, subscriber->holds.incarnation,
                                 &subscriber->waiter.slot->pending_key};
    int status = type_settle(subscriber->waiter.topic, options->type, &taker);
    if (!status && inbox)
        status = type_settle_response(subscriber->waiter.topic, inbox->response_type, &taker);
    if (status)
        return status;
    if (subscriber->realtime) {
        int error = holds_reserve(&subscriber->holds, subscriber->max_held + CELLS_INLINE);
        if (error)
            return fail_memory(-error, "topic \"%s\": no memory for holds", subscriber->waiter.topic->name);
    }
    store_relaxed(&subscriber->waiter.slot->reliable, subscriber->reliable);
    store_relaxed(&subscriber->waiter.slot->role, inbox ? (uint32_t)inbox->role : ROLE_PLAIN);
    subscriber->ended_before = lives_ended(&subscriber->waiter.topic->roster);
    store_release(&subscriber->waiter.slot->state, SLOT_JOINING);
    POINT(joining_said);
    topic_ring(subscriber->waiter.topic); /* R1, and the fence of H2's other side */
    if (subscriber_update(subscriber, true) != 0)
        return fail(
            TARN_ERROR_NO_MEMORY,
            "topic \"%s\": no memory to see, or to note, whom to follow, or a peer damaged the list of publishers",
            subscriber->waiter.topic->name);
    store_release(&subscriber->waiter.slot->state,
                  SLOT_LIVE); /* who counts us can rely on that we get what he sends then */
    POINT(live_said);
    topic_ring(subscriber->waiter.topic);
    return subscriber->reliable ? check_refused(subscriber) : 0;
}

static int open_locked(struct tarn_subscriber **ret, const char *topic, const tarn_subscriber_options *options,
                       const struct inbox_options *inbox) {
    struct tarn_subscriber *subscriber = handle_allocate(&closed_subscribers, sizeof(*subscriber), HANDLE_SUBSCRIBER);
    if (!subscriber)
        return fail(TARN_ERROR_NO_MEMORY, "no memory for a subscriber");
    int status = waiter_join(&subscriber->waiter, topic, options->directory, options->domain,
                             inbox ? PATTERN_SERVICE : PATTERN_MESSAGES, options->wait_strategy, options->spin_ns);
    if (status) {
        handle_free(&closed_subscribers, &subscriber->handle);
        return status;
    }
    subscriber->changes_now = &subscriber->waiter.topic->roster.header->changes;
    subscriber->only = &log_reader_nowhere;
    subscriber_count_readers(subscriber, 0);
    subscriber->reliable = options->reliable;
    subscriber->realtime = options->realtime;
    subscriber->history = options->history;
    subscriber->max_held = options->max_held ? options->max_held : DEFAULT_MAX_HELD;
    int error = holds_open(&subscriber->holds, &subscriber->waiter.topic->roster, subscriber->waiter.slot,
                           subscriber->waiter.slot_number, incarnation_of(&subscriber->waiter.slot->incarnation));
    subscriber->holds.emptied = end;
    subscriber->holds.context = subscriber;
    *ret = subscriber;
    if (error)
        return fail(TARN_ERROR_NO_MEMORY, "no memory for a subscriber");
    if (inbox) {
        subscriber->self = peer_word(subscriber->waiter.slot_number, subscriber->holds.incarnation);
        subscriber->waiter.subscribers_too = true;
        /* each pair has two publishers, and for whom an answer is awaited the kernel is asked by service.c */
        subscriber->waiter.share = INBOX_LOOKS;
    }
    return open_in_slot(subscriber, options, inbox);
}

static int open_any(struct tarn_subscriber **ret, const char *topic, const tarn_subscriber_options *options,
                    const struct inbox_options *inbox) {
    int status = process_enter();
    if (status)
        return status;
    struct tarn_subscriber *subscriber = NULL;
    process_lock();
    status = open_locked(&subscriber, topic, options, inbox);
    process_unlock();
    if (status == 0)
        *ret = subscriber;
    else if (subscriber)
        stop(subscriber);
    return status;
}

int subscriber_open_inbox(struct tarn_subscriber **ret, const char *topic, const tarn_subscriber_options *options,
                          const struct inbox_options *inbox) {
    return open_any(ret, topic, options, inbox);
}

int tarn_subscriber_open(tarn_subscriber **ret, const char *topic, const tarn_subscriber_options *options) {
    tarn_subscriber_options checked;
    if (!ret)
        return fail(TARN_ERROR_ARGUMENT, "the place for the subscriber is NULL");
    int status = check_options(options, &checked);
    return status ? status : open_any(ret, topic, &checked, NULL);
}

int tarn_subscriber_close(tarn_subscriber *subscriber) {
    if (!subscriber)
        return 0;
    int status = handle_check(&subscriber->handle, HANDLE_SUBSCRIBER);
    if (status)
        return status;
    stop(subscriber);
    return 0;
}

/* ---- counts --------------------------------------------------------------------------------------------------- */

int tarn_subscriber_publishers(tarn_subscriber *subscriber) {
    int status = handle_check((const struct handle *)subscriber, HANDLE_SUBSCRIBER);
    if (status)
        return status;
    int count = 0;
    process_lock();
    struct roster *roster = &subscriber->waiter.topic->roster;
    for (uint32_t slot = 0, slots = roster_publisher_slots(roster); slot < slots; slot++) {
        struct publisher_slot *publisher = roster_publisher(roster, slot);
        count += publisher && load_acquire(&publisher->state) == SLOT_LIVE &&
                 !slot_is_dead(subscriber->waiter.topic, PUBLISHER, slot, true);
    }
    process_unlock();
    return count;
}

uint64_t inspect_publishers_ended(const struct tarn_subscriber *subscriber) {
    process_lock();
    uint64_t count = lives_ended(&subscriber->waiter.topic->roster);
    process_unlock();
    return count - subscriber->ended_before;
}

uint64_t tarn_subscriber_lost(const tarn_subscriber *subscriber) {
    return handle_check((const struct handle *)subscriber, HANDLE_SUBSCRIBER) ? 0 : lost_in_all(subscriber);
}

/* ---- inboxes -------------------------------------------------------------------------------------------------- */

void subscriber_on_change(struct tarn_subscriber *subscriber, void (*changed)(void *context), void *context) {
    subscriber->changed = changed;
    subscriber->context = context;
}

int subscriber_take_what_is_there(struct tarn_subscriber *subscriber, tarn_message *ret) {
    int status = take_any(subscriber, ret);
    if (status < 0 && status != TARN_ERROR_HOLDING)
        subscriber_keep_trouble(subscriber, status);
    return status;
}

bool subscriber_has_unread(struct tarn_subscriber *subscriber, uint64_t speaker) {
    for (uint32_t i = 0; i < subscriber->reader_count; i++) {
        struct log_reader *reader = subscriber->readers[i];
        enum reader_look look = reader->speaker == speaker ? log_reader_look(reader) : READER_EMPTY;
        if (look == READER_MESSAGE || look == READER_PENDING)
            return true;
    }
    return false;
}
