/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Waiting, as all handles do that wait for others: spinning first, then asleep on a bell, never longer than a slice
 * without a look at the peers; or through a file descriptor. What is waited for is the owner's matter: it is asked by a
 * function.
 *
 * A waiter belongs to one subscriber slot. It sleeps on the topic's bell, or, where the pattern has each subscriber be
 * woken by itself, on its slot's.
 */
#ifndef TARN_CORE_WAITER_H
#define TARN_CORE_WAITER_H

#include "core/doorbell.h"
#include "core/topic.h"

#define LOOKS_PER_CLOCK 64u          /* looks while spinning, for each at the clock */
#define PATIENCE_NS (10 * NS_PER_MS) /* between looks at a peer that is waited for */

struct waiter {
    struct topic *topic;
    struct subscriber_slot *slot;
    uint32_t slot_number;
    uint32_t looks_at_once; /* before the clock is looked at: LOOKS_PER_CLOCK; 1 for who sleeps at once */
    uint32_t strategy;      /* enum tarn_wait_strategy */
    uint32_t looks;         /* at peers */
    int64_t spin_ns;
    int64_t slice_ns;  /* between looks at peers */
    int64_t looked_ns; /* at peers */
    bool thorough;     /* the last of those looks was */
    _Atomic uint32_t *bell;
    bool subscribers_too; /* looks at peers include subscribers, not publishers alone */
    uint32_t share;       /* so many slots of each kind in a look, and all if one of them is dead; 0: all */
    uint32_t next[2];     /* by slot_kind: where the next share begins */
    bool removed;         /* the topic's file, when peers were looked at last */
    bool removal_told;
    bool removal_reported; /* by a waitset, so that the next take is to tell it */
    struct doorbell doorbell;
    _Atomic uint32_t interrupted;
};

/* 1: there is what is waited for; 0: not yet; or a status that ends the wait. */
typedef int waiter_ready(void *owner);

/*
 * Joins a topic as one who waits there, in a subscriber's slot. strategy and spin_ns as in tarn_subscriber_options. 0
 * or a status, and then it is in no topic. Under process_lock().
 */
int waiter_join(struct waiter *waiter, const char *topic, const char *directory, const char *domain,
                enum pattern pattern, uint32_t strategy, int64_t spin_ns);
/* Checks such options. 0 or a status. */
int waiter_check_options(uint32_t strategy, int64_t spin_ns);
int64_t waiter_spin_ns(int64_t option_ns); /* what such an option means */

/*
 * Repairs those who died, and notes whether it was a thorough look. Returns whether the topic's file is still in its
 * place. Not under process_lock(), as are all below.
 */
bool waiter_look_at_peers(struct waiter *waiter);

/* Interruption, and, when it is time, a look at peers. 0, or a status that ends the wait. */
int waiter_look_around(struct waiter *waiter, int64_t now);

/* Waits up to timeout_ns. 1, 0 (not in time), or a status: what ready says, or _INTERRUPTED, _TOPIC_REMOVED. */
int waiter_wait(struct waiter *waiter, waiter_ready *ready, void *owner, int64_t timeout_ns);

/* One sleep of at most a slice. As ready, after which it slept if that was 0. */
int waiter_sleep(struct waiter *waiter, waiter_ready *ready, void *owner, int64_t deadline_ns);

/*
 * Where a take found nothing: makes the descriptor quiet, and looks again. As ready, or _TOPIC_REMOVED if a waitset has
 * reported it. Without a descriptor: 0.
 */
int waiter_make_quiet(struct waiter *waiter, waiter_ready *ready, void *owner);

/* The public calls of that name. */
int waiter_fd(struct waiter *waiter);
int waiter_interrupt(struct waiter *waiter);

int waiter_say_interrupted(const struct waiter *waiter);
int waiter_say_removed(struct waiter *waiter);
/* For what a waitset looks at: _TOPIC_REMOVED for as long as that is so and no take has told it, which one will; or 0. */
int waiter_removal_for_waitset(struct waiter *waiter);

static inline bool waiter_was_interrupted(struct waiter *waiter) {
    return load_relaxed(&waiter->interrupted) &&
           atomic_exchange_explicit(&waiter->interrupted, 0, memory_order_acq_rel);
}

/* When to end, and from when on to sleep. */
struct wait {
    int64_t deadline_ns, sleep_from_ns;
};
struct wait waiter_begin(const struct waiter *waiter, int64_t now, int64_t timeout_ns);

/*
 * What a waitset has to know about a kind of handle that can be waited for: one const struct per kind, in
 * core/waitables.h. A status that ready or look returns must not be told only once: the user's next call has to say it.
 */
struct waitable {
    int (*fd)(
        void *handle); /* the public call of that name: a descriptor that is readable when there may be something */
    int (*ready)(void *handle); /* 1: there is something; 0: there is not, and the descriptor is quiet; or a status */
    int (*look)(
        void *handle); /* the same without any effect on the descriptor, nor a system call; NULL: there is none */
};

#endif
