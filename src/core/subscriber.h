/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Subscribers within the library: the inboxes of clients and servers, which read what is addressed to them, and nothing
 * else, reliably. All public calls serve them, too. And what subscriber.c (taking, waiting, the public calls) and
 * subscriber_follow.c (whose logs are read) have in common.
 */
#ifndef TARN_CORE_SUBSCRIBER_H
#define TARN_CORE_SUBSCRIBER_H

#include <stddef.h>

#include "base/compiler.h"
#include "core/handle.h"
#include "core/waiter.h"
#include "shm/holds.h"
#include "shm/reader.h"

/* A publisher that was there when we joined, and could not be attached. */
struct missed {
    uint32_t slot;
    uint16_t incarnation;
    bool was_over; /* it had left or died then, with memory that nobody had: all that it sent was before us */
};

/* A publisher that left or died, is kept by somebody, and was read to its end here. By slot. */
struct passed {
    uint64_t number;
    uint16_t incarnation; /* 0: nobody */
};

struct tarn_subscriber {
    struct handle handle;
    _Atomic uint32_t *changes_now;
    struct log_reader *only; /* the reader, where there is one; else one that never finds anything */
    uint32_t changes;        /* of the roster, when we last looked at it */
    uint32_t next;           /* whose turn it is */
    uint64_t quiet;  /* only's sequence when a take last found nothing, and nothing to do either; else NEVER_QUIET */
    uint64_t credit; /* messages that may be taken before those held are counted again; if not lent to a reader */
    struct log_reader **readers;
    uint32_t reader_count, reader_capacity;
    uint32_t max_held;
    bool realtime, reliable;
    uint64_t taken, lost; /* of publishers that are gone */
    struct holds holds;
    struct waiter waiter;
    uint64_t self;                  /* of an inbox: peer_word() of its slot; else 0 */
    void (*changed)(void *context); /* told after each look at the roster, if not NULL */
    void *context;
    uint64_t history;
    uint64_t ended_before; /* lives of publishers, before it joined */
    bool retry;            /* some publisher could not be attached: again in a while */
    int64_t retried_ns;    /* when a take did so last */
    int64_t no_memory_ns;  /* when it was told last that there was no memory to go on in a log */
    struct missed *missed;
    uint32_t missed_count;
    struct passed *passed;
    uint32_t passed_count;
    int trouble; /* status of a publisher that cannot be attached, told by the next take */
    char trouble_text[512];
};

#define NEVER_QUIET UINT64_MAX

struct inbox_options {
    enum slot_role role;
    const tarn_type *response_type; /* the subscriber options' type is that of requests */
};

/* As tarn_subscriber_open(), without its check of options and not under process_lock(). */
int subscriber_open_inbox(struct tarn_subscriber **ret, const char *topic, const tarn_subscriber_options *options,
                          const struct inbox_options *inbox);

/* From now on called after each look at who is in the topic, in the subscriber's thread, not under process_lock(). */
void subscriber_on_change(struct tarn_subscriber *subscriber, void (*changed)(void *context), void *context);

/*
 * As tarn_subscriber_take(), but where nothing is there, it does nothing; and a status is said by the next take as
 * well.
 */
int subscriber_take_what_is_there(struct tarn_subscriber *subscriber, tarn_message *ret);

/* Whether something is to be taken of what that speaker sent, or may be. */
bool subscriber_has_unread(struct tarn_subscriber *subscriber, uint64_t speaker);

/* ---- subscriber_follow.c: whose logs are read ------------------------------------------------------------------- */

/* Brings the readers up to date with the roster. Under process_lock(). 0, or, if joining, -ENOMEM. */
int subscriber_update(struct tarn_subscriber *subscriber, bool joining);

/* The same, not under process_lock(), and tells the inbox's owner. */
void subscriber_follow_changes(struct tarn_subscriber *subscriber);

/* Lets readers go whose publisher is gone or left, whose log is read to its end, and of which no message is held. */
void subscriber_drop_finished(struct tarn_subscriber *subscriber);

/* Under process_lock(). What it took and lost is the subscriber's from now on. */
void subscriber_free_reader(struct tarn_subscriber *subscriber, struct log_reader *reader);

/* From now on the first so many. The only one has all the credit; of several it is lent to the one whose turn it is. */
void subscriber_count_readers(struct tarn_subscriber *subscriber, uint32_t count);
void subscriber_lend_credit(struct tarn_subscriber *subscriber, struct log_reader *reader);
void subscriber_take_credit_back(struct tarn_subscriber *subscriber, struct log_reader *reader);

/* Keeps the error just made for the next take to tell. */
void subscriber_keep_trouble(struct tarn_subscriber *subscriber, int status);

int subscriber_say_damaged(const struct tarn_subscriber *subscriber, const struct log_reader *reader);

static inline struct pid_text remote_pid_text(const struct remote *remote) {
    return process_pid_text(remote->pid, remote->namespaces);
}

/* ---- messages ------------------------------------------------------------------------------------------------- */

/* From which log a message is that was not released yet. */
static inline struct log_reader *message_reader(const tarn_message *message) {
    const struct hold *hold = message->held_by;
    return (struct log_reader *)(void *)((char *)(uintptr_t)hold->holder - offsetof(struct log_reader, holder));
}

/* ---- what most takes come down to ------------------------------------------------------------------------------- */

SHORT_HALF bool roster_changed(const struct tarn_subscriber *subscriber) {
    return load_acquire(subscriber->changes_now) != subscriber->changes;
}

/* Takes from the only publisher a message like the last one. False: nothing happened. */
SHORT_HALF bool take_easily(struct tarn_subscriber *subscriber, tarn_message *ret) {
    return likely(!roster_changed(subscriber)) && log_reader_take_usual(subscriber->only, ret);
}

/* Whether another look at the only publisher's log will do, since a take found nothing, and nothing has changed. */
SHORT_HALF bool subscriber_is_quiet(const struct tarn_subscriber *subscriber) {
    const struct log_reader *only = subscriber->only;
    return only->sequence == subscriber->quiet && only->position && !log_reader_sees(only) &&
           !roster_changed(subscriber);
}

/*
 * Looks so many times. Who pauses between looks gets the line sooner: its writer is disturbed less. False: something is
 * there that is no message of the only publisher like its last one, or nothing came.
 *
 * The loop is as short as can be, and so is the way from there to what the user does with the message: a processor runs
 * ahead of a line that is under way, speculating that it will have a message, and what it gets done by then is free.
 */
SHORT_HALF bool spin(struct tarn_subscriber *subscriber, tarn_message *ret) {
    struct log_reader *only = subscriber->only;
    for (uint32_t i = 0; i < subscriber->waiter.looks_at_once; i++) {
        if (log_reader_sees(only))
            return take_easily(subscriber, ret);
        spin_pause();
    }
    return false;
}

#define LOOKS_NS 20000 /* what so many looks take at most: shorter timeouts look at the clock first */

/* As take_easily(), for any message of the only publisher that is in its place. */
bool subscriber_take_plainly(struct tarn_subscriber *subscriber, tarn_message *ret);

/* As tarn_subscriber_receive(), without its checks: true, taken; false: nothing happened, call that. */
SHORT_HALF bool receive_easily(struct tarn_subscriber *subscriber, tarn_message *ret, int64_t timeout_ns) {
    if (take_easily(subscriber, ret) || (timeout_ns > LOOKS_NS && subscriber->only->position && spin(subscriber, ret)))
        return true;
    return log_reader_sees(subscriber->only) && subscriber_take_plainly(subscriber, ret);
}

#endif
