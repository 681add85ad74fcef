/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * An event, or a message of 8 bytes where the peer has none. Spinning: there and back, one way is half of it. To a
 * listener that has gone to sleep: from sent to taken, by one clock; in turns with that, event by event, the barest
 * wake-up that there is, a word and a futex, in the same two processes. The sleeper says that it is about to sleep; the
 * waker spins for a while to be sure of it.
 */
#define _GNU_SOURCE
#include <limits.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "run.h"

#define END (PEER_EVENTS - 1) /* ends a run */
#define FUTEX_SLEEP 0         /* of linux/futex.h, which not every libc's headers come with */
#define FUTEX_RING 1

/* In memory that both share. */
struct meeting {
    _Alignas(128) _Atomic uint32_t word;          /* of the futex */
    _Alignas(128) _Atomic uint64_t sleeps, woken; /* how many have begun, and are over */
    int64_t woken_ns;
};

static uint64_t event_of(uint64_t number) {
    return number % END;
}

static void send_event(uint64_t event) {
    memcpy(run.peer->loan(own.senders[0]), &event, sizeof(event));
    run.peer->send(own.senders[0]);
}

/* False if it is the end. */
static bool take_event(uint64_t expected) {
    uint64_t event;
    memcpy(&event, take_some(own.receivers[0]), sizeof(event));
    run.peer->done(own.receivers[0]);
    if (event != expected && event != END) {
        bench_fail("%s: event %" PRIu64 " came instead of %" PRIu64, run.peer->name, event, expected);
    }
    return event != END;
}

/* ---- spinning --------------------------------------------------------------------------------------------------- */

static void answer_there(struct bench_pair *pair, void *arguments) {
    (void)pair, (void)arguments;
    for (uint64_t number = 1; take_event(event_of(number)); number++) {
        send_event(event_of(number));
    }
}

static void bounce_events(struct bench_pair *pair, bool warm_up) {
    bench_pair_begin(pair, answer_there, NULL, 0);
    uint64_t start = bench_ticks(), last = start;
    for (uint64_t number = 1; !is_over(warm_up, last - start, number); number++) {
        send_event(event_of(number));
        take_event(event_of(number));
        uint64_t now = bench_ticks();
        if (!warm_up) {
            bench_samples_add(&samples, now - last);
        }
        last = now;
    }
    send_event(END);
    bench_pair_finish(pair, NULL, 0);
}

/* ---- sleeping --------------------------------------------------------------------------------------------------- */

static struct meeting *meeting_of(struct bench_pair *pair) {
    return (struct meeting *)(void *)pair->bulk_here;
}

static void sleep_on_futex(struct meeting *meeting) {
    uint32_t before = atomic_load(&meeting->word);
    atomic_fetch_add(&meeting->sleeps, 1);
    while (atomic_load(&meeting->word) == before) {
        syscall(SYS_futex, &meeting->word, FUTEX_SLEEP, before, NULL, NULL, 0);
    }
}

static void tell_woken(struct meeting *meeting, int64_t now_ns) {
    meeting->woken_ns = now_ns;
    atomic_fetch_add_explicit(&meeting->woken, 1, memory_order_release);
}

static void sleep_there(struct bench_pair *pair, void *arguments) {
    (void)arguments;
    struct meeting *meeting = meeting_of(pair);
    bool more = true;
    for (uint64_t number = 1; more; number++) {
        sleep_on_futex(meeting);
        tell_woken(meeting, bench_now_ns());
        atomic_fetch_add(&meeting->sleeps, 1);
        uint64_t event;
        memcpy(&event, take_some(own.receivers[0]), sizeof(event));
        int64_t now_ns = bench_now_ns();
        run.peer->done(own.receivers[0]);
        more = event != END;
        if (more && event != event_of(number)) {
            bench_fail("%s: event %" PRIu64 " came instead of %" PRIu64, run.peer->name, event, event_of(number));
        }
        tell_woken(meeting, now_ns);
    }
}

/* Waits until the sleeper has slept for a while. Returns the time. */
static int64_t wait_for_sleep(struct meeting *meeting, uint64_t sleep) {
    while (atomic_load_explicit(&meeting->sleeps, memory_order_acquire) != sleep) {
        bench_relax();
    }
    int64_t now_ns = bench_now_ns();
    for (int64_t due_ns = now_ns + WAKEUP_GAP_NS; now_ns < due_ns; now_ns = bench_now_ns()) {
        bench_relax();
    }
    return now_ns;
}

static uint64_t time_of_wakeup(struct meeting *meeting, uint64_t sleep, int64_t sent_ns) {
    while (atomic_load_explicit(&meeting->woken, memory_order_acquire) != sleep) {
        bench_relax();
    }
    return (uint64_t)(meeting->woken_ns - sent_ns);
}

static void wake_in_turns(struct bench_pair *pair, bool warm_up) {
    struct meeting *meeting = meeting_of(pair);
    double seconds = warm_up ? run.warm_up_seconds : run.seconds;
    int64_t end_ns = bench_now_ns() + (int64_t)(seconds * 1e9);
    uint64_t sleep = atomic_load(&meeting->sleeps);
    bench_pair_begin(pair, sleep_there, NULL, 0);
    bool more = true;
    for (uint64_t number = 1; more; number++) {
        int64_t sent_ns = wait_for_sleep(meeting, ++sleep);
        atomic_fetch_add(&meeting->word, 1);
        syscall(SYS_futex, &meeting->word, FUTEX_RING, INT_MAX, NULL, NULL, 0);
        uint64_t bare = time_of_wakeup(meeting, sleep, sent_ns);
        sent_ns = wait_for_sleep(meeting, ++sleep);
        more = sent_ns < end_ns;
        send_event(more ? event_of(number) : END);
        uint64_t took = time_of_wakeup(meeting, sleep, sent_ns);
        if (!warm_up && more) {
            bench_samples_add(&more_samples, bare);
            bench_samples_add(&samples, took);
        }
    }
    bench_pair_finish(pair, NULL, 0);
}

void measure_notify(struct bench_pair *pair) {
    bench_samples_open(&samples, SAMPLES_MAX);
    bench_samples_open(&more_samples, SAMPLES_MAX);
    open_ends(pair);
    if (run.there.sleeps) {
        samples.in_ns = more_samples.in_ns = true;
        wake_in_turns(pair, true);
        wake_in_turns(pair, false);
        print_times("wakeup", &samples, 1);
        printf(", ");
        print_times("futex", &more_samples, 1);
    } else {
        bounce_events(pair, true);
        bounce_events(pair, false);
        print_times("one_way", &samples, 2);
    }
    close_ends(pair);
}
