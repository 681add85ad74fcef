/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Whose logs a subscriber reads: publishers that come, leave and die, as far as the roster says. See subscriber.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "core/reaper.h"
#include "core/subscriber.h"
#include "core/topic.h"
#include "shm/holds.h"
#include "shm/reader.h"

static struct log_reader *find_reader(struct tarn_subscriber *subscriber, uint32_t slot, uint16_t incarnation) {
    for (uint32_t i = 0; i < subscriber->reader_count; i++) {
        struct remote *remote = subscriber->readers[i]->remote;
        if (remote->slot == slot && remote->incarnation == incarnation && !subscriber->readers[i]->gone)
            return subscriber->readers[i];
    }
    return NULL;
}

void subscriber_keep_trouble(struct tarn_subscriber *subscriber, int status) {
    subscriber->trouble = status;
    subscriber->quiet = NEVER_QUIET;
    snprintf(subscriber->trouble_text, sizeof(subscriber->trouble_text), "%s", tarn_error());
}

int subscriber_say_damaged(const struct tarn_subscriber *subscriber, const struct log_reader *reader) {
    return fail(TARN_ERROR_DAMAGED,
                "topic \"%s\": publisher %016" PRIx64 " (%s) wrote what is no message behind its message %" PRIu64
                ": nothing more is read from it",
                subscriber->waiter.topic->name, reader->remote->number, remote_pid_text(reader->remote).text,
                reader->sequence - 1);
}

static void note_trouble(struct tarn_subscriber *subscriber, struct publisher_slot *publisher, int error) {
    if (error == -EINVAL)
        return; /* it left or died meanwhile, or we are in another IPC namespace, which joining would have said */
    subscriber->retry = true;
    const char *reason = error == -EACCES || error == -EPERM ? ", as its owner and group do not let this user" : "";
    subscriber_keep_trouble(subscriber,
                            fail_memory(-error, "topic \"%s\": memory of publisher %.15s (%s) cannot be attached%s",
                                        subscriber->waiter.topic->name, publisher->who.command,
                                        process_pid_text(publisher->who.pid, publisher->who.namespaces).text, reason));
}

static int make_reader(struct tarn_subscriber *subscriber, struct publisher_slot *publisher, uint32_t slot,
                       uint16_t incarnation, bool left, struct log_reader **ret) {
    if (subscriber->reader_count == subscriber->reader_capacity) {
        uint32_t capacity = subscriber->reader_capacity ? 2 * subscriber->reader_capacity : 4;
        struct log_reader **readers = realloc(subscriber->readers, capacity * sizeof(struct log_reader *));
        if (!readers)
            return -ENOMEM;
        subscriber->readers = readers;
        subscriber->reader_capacity = capacity;
    }
    struct roster_taker taker = {false, subscriber->waiter.slot_number, subscriber->holds.incarnation,
                                 &subscriber->waiter.slot->pending_key};
    struct reader_row *row;
    int error = roster_make_row(&row, &subscriber->waiter.topic->roster, publisher, slot, &taker);
    if (error)
        return error;
    struct log_reader *reader = aligned_alloc(CACHE_LINE_BYTES, round_up(sizeof(*reader), CACHE_LINE_BYTES));
    struct remote *remote;
    if (!reader)
        return -ENOMEM;
    error = left ? topic_remote_in_part(subscriber->waiter.topic, &remote, publisher, slot, incarnation)
                 : topic_remote(subscriber->waiter.topic, &remote, publisher, slot, incarnation);
    if (error) {
        free(reader);
        return error;
    }
    log_reader_init(reader, &subscriber->holds, remote, row, row_place(subscriber->waiter.slot_number),
                    subscriber->reliable);
    reader->left = left;
    *ret = reader;
    return 0;
}

void subscriber_lend_credit(struct tarn_subscriber *subscriber, struct log_reader *reader) {
    log_reader_allow(reader, subscriber->credit);
    subscriber->credit = 0;
}

void subscriber_take_credit_back(struct tarn_subscriber *subscriber, struct log_reader *reader) {
    subscriber->credit += log_reader_allowed(reader);
    log_reader_allow(reader, 0);
}

static void set_only(struct tarn_subscriber *subscriber, struct log_reader *reader) {
    if (subscriber->only != &log_reader_nowhere)
        subscriber_take_credit_back(subscriber, subscriber->only);
    subscriber->only = reader;
    subscriber->quiet = NEVER_QUIET;
    if (reader != &log_reader_nowhere)
        subscriber_lend_credit(subscriber, reader);
}

void subscriber_count_readers(struct tarn_subscriber *subscriber, uint32_t count) {
    subscriber->reader_count = count;
    set_only(subscriber, count == 1 ? subscriber->readers[0] : &log_reader_nowhere);
}

static bool remember_missed(struct tarn_subscriber *subscriber, uint32_t slot, uint16_t incarnation, bool was_over) {
    struct missed *missed = realloc(subscriber->missed, (subscriber->missed_count + 1) * sizeof(*missed));
    if (!missed)
        return false;
    missed[subscriber->missed_count++] = (struct missed){slot, incarnation, was_over};
    subscriber->missed = missed;
    return true;
}

/* Whether it is one of the missed, and then how much of what was sent before is to be read; from now on it is none. */
static bool forget_missed(struct tarn_subscriber *subscriber, uint32_t slot, uint16_t incarnation,
                          uint64_t *ret_history) {
    for (uint32_t i = 0; i < subscriber->missed_count; i++)
        if (subscriber->missed[i].slot == slot && subscriber->missed[i].incarnation == incarnation) {
            *ret_history = subscriber->missed[i].was_over ? subscriber->history : UINT64_MAX; /* all that is kept */
            subscriber->missed[i] = subscriber->missed[--subscriber->missed_count];
            return true;
        }
    return false;
}

static bool was_passed(const struct tarn_subscriber *subscriber, const struct publisher_slot *publisher, uint32_t slot,
                       uint16_t incarnation) {
    return slot < subscriber->passed_count && subscriber->passed[slot].incarnation == incarnation &&
           subscriber->passed[slot].number == publisher->who.number;
}

/* Nothing more is to be read of that publisher. False: no memory to note it. */
static bool pass(struct tarn_subscriber *subscriber, uint32_t slot, uint16_t incarnation, uint64_t number) {
    if (slot >= subscriber->passed_count) {
        uint32_t count = roster_publisher_slots(&subscriber->waiter.topic->roster);
        count = count > slot ? count : slot + 1;
        struct passed *passed = realloc(subscriber->passed, count * sizeof(*passed));
        if (!passed)
            return false;
        memset(passed + subscriber->passed_count, 0, (count - subscriber->passed_count) * sizeof(*passed));
        subscriber->passed = passed;
        subscriber->passed_count = count;
    }
    subscriber->passed[slot] = (struct passed){number, incarnation};
    return true;
}

static bool is_for_us(const struct tarn_subscriber *subscriber, struct publisher_slot *publisher) {
    return !subscriber->self || load_acquire(&publisher->pattern_words[SERVICE_ADDRESSEE]) == subscriber->self; /* A1 */
}

/*
 * acquire, A1: with the release of a successor's words, before which the incarnation was raised. Then nobody knows who
 * spoke. The addressee once more, now that its log is attached: what was seen before may have been a predecessor's.
 */
static void note_speaker(const struct tarn_subscriber *subscriber, struct log_reader *reader,
                         struct publisher_slot *publisher, uint16_t incarnation) {
    uint64_t speaker = load_acquire(&publisher->pattern_words[SERVICE_SPEAKER]);
    bool is_ours = is_for_us(subscriber, publisher) && incarnation_of(&publisher->incarnation) == incarnation;
    reader->speaker = is_ours ? speaker : 0;
}

/*
 * Who cannot be attached as one who lives may have died, with memory that nobody had, and be kept as far as somebody
 * has it.
 */
static bool is_kept_after_death(struct tarn_subscriber *subscriber, struct publisher_slot *publisher, uint32_t slot,
                                uint16_t incarnation) {
    uint16_t now;
    slot_reap(subscriber->waiter.topic, PUBLISHER, slot, true);
    return publisher_state(publisher, &now) == SLOT_LEAVING && now == incarnation;
}

/*
 * A publisher that we do not know yet. left: it left or died, and is kept; joining: it was there before us. 0, or
 * -ENOMEM: joining must fail.
 */
static int add_reader(struct tarn_subscriber *subscriber, struct publisher_slot *publisher, uint32_t slot,
                      uint16_t incarnation, bool left, bool joining) {
    struct log_reader *reader = NULL;
    uint64_t history;
    if (left && joining && !subscriber->history && pass(subscriber, slot, incarnation, publisher->who.number))
        return 0;
    int error = make_reader(subscriber, publisher, slot, incarnation, left, &reader);
    if (error == -EINVAL && joining && !left && is_kept_after_death(subscriber, publisher, slot, incarnation))
        return add_reader(subscriber, publisher, slot, incarnation, true, joining);
    if (error) {
        note_trouble(subscriber, publisher, error);
        return joining && !remember_missed(subscriber, slot, incarnation, error == -EINVAL) ? -ENOMEM : 0;
    }
    if (joining)
        log_reader_start_newest(reader, subscriber->history);
    else if (forget_missed(subscriber, slot, incarnation, &history))
        log_reader_start_newest(reader, history);
    else
        log_reader_start_first(reader);
    if (subscriber->self)
        note_speaker(subscriber, reader, publisher, incarnation);
    if (reader->damaged)
        subscriber_keep_trouble(subscriber, subscriber_say_damaged(subscriber, reader));
    log_reader_tell(reader);
    log_reader_tell_attached(reader);
    log_reader_allow(reader, 0);
    reader->may_attach = !subscriber->realtime; /* not before: we are under process_lock() */
    subscriber->readers[subscriber->reader_count] = reader;
    subscriber_count_readers(subscriber, subscriber->reader_count + 1);
    return 0;
}

void subscriber_free_reader(struct tarn_subscriber *subscriber, struct log_reader *reader) {
    log_reader_count(reader);
    subscriber->taken += reader->taken_in_all;
    subscriber->lost += reader->lost_in_all;
    if (log_reader_is_over(reader))
        subscriber->lost += log_reader_unread(reader);
    topic_remote_drop(subscriber->waiter.topic, reader->remote);
    free(reader);
}

/* Whether there may be publishers in that slot and around it, which cannot be seen now. */
static bool is_hidden(struct roster *roster, uint32_t slot) {
    return roster_is_unreachable(roster, load_acquire(&roster->header->publisher_blocks[slot / PUBLISHERS_PER_BLOCK]));
}

/* As add_reader(). */
static int follow_slot(struct tarn_subscriber *subscriber, struct publisher_slot *publisher, uint32_t slot,
                       bool joining) {
    uint16_t incarnation;
    uint32_t state = publisher_state(publisher, &incarnation);
    bool left = state == SLOT_LEAVING; /* V1: who sees it sees all that was sent, and the end of the log is the end */
    if ((state != SLOT_LIVE && !left) || !is_for_us(subscriber, publisher))
        return 0;
    struct log_reader *reader = find_reader(subscriber, slot, incarnation);
    if (!reader && was_passed(subscriber, publisher, slot, incarnation))
        return 0;
    if (!reader)
        return add_reader(subscriber, publisher, slot, incarnation, left, joining);
    int error = reader->left ? 0 : remote_attach_all(reader->remote);
    if (error && subscriber->realtime) /* else take tries again when it needs it, and says so */
        note_trouble(subscriber, publisher, error);
    log_reader_tell_attached(reader);
    reader->left = left;
    return 0;
}

int subscriber_update(struct tarn_subscriber *subscriber, bool joining) {
    struct roster *roster = &subscriber->waiter.topic->roster;
    int status = 0;
    subscriber->retry = false;
    subscriber->quiet = NEVER_QUIET;
    subscriber->changes = load_acquire(&roster->header->changes); /* before looking: what comes later is seen later */
    for (uint32_t i = 0; i < subscriber->reader_count; i++) {     /* first: a slot's words belong to its newest owner */
        struct log_reader *reader = subscriber->readers[i];
        if (incarnation_of(&reader->holder.publisher->incarnation) != reader->remote->incarnation ||
            reader->holder.publisher->who.number !=
                reader->remote->number) { /* after 65536 incarnations the same again */
            if (!reader->gone)
                remote_attach_all(reader->remote); /* what can still be had */
            log_reader_part(reader);
        }
    }
    for (uint32_t slot = 0, slots = roster_publisher_slots(roster); slot < slots; slot++) {
        struct publisher_slot *publisher = roster_publisher(roster, slot);
        if (!publisher && is_hidden(roster, slot)) {
            subscriber->retry = true;
            status |= joining ? -ENOMEM : 0; /* else it would be taken for one that came later */
        }
        if (publisher)
            status |= follow_slot(subscriber, publisher, slot, joining);
    }
    return status;
}

void subscriber_follow_changes(struct tarn_subscriber *subscriber) {
    process_lock();
    subscriber_update(subscriber, false);
    process_unlock();
    if (subscriber->changed)
        subscriber->changed(subscriber->context);
}

/*
 * Its log, read to its end, is to be passed over. Not if the slot is another's by now, without our having followed
 * that: of the next one the log may be noted as passed already. False: no memory to note it.
 */
static bool pass_finished(struct tarn_subscriber *subscriber, const struct log_reader *reader) {
    const struct remote *remote = reader->remote;
    return reader->gone || incarnation_of(&reader->holder.publisher->incarnation) != remote->incarnation ||
           pass(subscriber, remote->slot, remote->incarnation, remote->number);
}

void subscriber_drop_finished(struct tarn_subscriber *subscriber) {
    for (uint32_t i = 0; i < subscriber->reader_count;) {
        struct log_reader *reader = subscriber->readers[i];
        /* the look comes after that was seen, so what was committed before is seen */
        enum reader_look look = log_reader_is_over(reader) ? log_reader_look(reader) : READER_PENDING;
        if (look == READER_DAMAGED)
            subscriber_keep_trouble(subscriber, subscriber_say_damaged(subscriber, reader));
        if (look != READER_EMPTY) {
            i++;
            continue;
        }
        log_reader_stop(reader);
        if (holds_oldest(&subscriber->holds, &reader->holder) != GENERATION_GONE ||
            !pass_finished(subscriber, reader)) {
            reader->finished = true;
            i++;
            continue;
        }
        set_only(subscriber, &log_reader_nowhere);
        process_lock();
        subscriber_free_reader(subscriber, reader);
        process_unlock();
        subscriber->readers[i] = subscriber->readers[subscriber->reader_count - 1];
        subscriber_count_readers(subscriber, subscriber->reader_count - 1);
    }
}
