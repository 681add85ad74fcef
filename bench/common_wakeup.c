/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * How long it takes to wake a subscriber that sleeps, one way, beside the barest wake-up of the same kind:
 *
 *   receive        asleep in tarn_subscriber_receive    beside  a word and FUTEX_WAIT, FUTEX_WAKE
 *   fd and epoll   asleep in epoll_wait on the fd       beside  a FIFO in an epoll, one byte written
 *
 * The four take turns, message by message, in the same two processes on two CPUs, so that all see the same machine. The
 * sleeper says that it is about to sleep; the waker then spins for a while to be sure of it (both CPUs' idle states
 * are so the same for all four), notes the time, sends. One way: from that time to the sleeper's return.
 */
#define _GNU_SOURCE
#include "common.h"

#include "tarn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PATIENCE_NS (10LL * 1000 * 1000 * 1000)
#define FUTEX_SLEEP 0 /* of linux/futex.h, which not every libc's headers come with */
#define FUTEX_RING 1

/* In memory that both share: the bare payload's, which is not in use here. */
struct meeting {
    _Alignas(128) _Atomic uint32_t word;     /* of the futex: the message */
    _Alignas(128) _Atomic uint64_t about_to; /* the sleeper's n-th sleep begins */
    _Alignas(128) _Atomic uint64_t woken;    /* the sleeper's n-th sleep is over, at woken_ns */
    int64_t woken_ns;
};

struct sleeps {
    uint64_t count; /* per kind */
    char fifo[128];
};

static struct meeting *meeting_of(struct bench_pair *pair) {
    return (struct meeting *)(void *)pair->bulk_here;
}

/* ---- the sleeper ---------------------------------------------------------------------------------------------- */

static struct {
    tarn_subscriber *receiver, *polled;
    int fifo, fifo_epoll, tarn_epoll;
} sleeper;

static int epoll_on(int fd) {
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        bench_fail("cannot make an epoll: %s", strerror(errno));
    }
    return epoll;
}

static void open_there(struct bench_pair *pair, void *arguments) {
    (void)pair;
    const struct sleeps *sleeps = arguments;
    tarn_subscriber_options how = {.struct_bytes = sizeof(how), .wait_strategy = TARN_WAIT_SLEEP};
    bench_expect(tarn_subscriber_open(&sleeper.receiver, "bench/receive", &how), 0, "cannot open a subscriber");
    bench_expect(tarn_subscriber_open(&sleeper.polled, "bench/fd", &how), 0, "cannot open a subscriber");
    int fd = tarn_subscriber_fd(sleeper.polled);
    bench_expect(fd, 0, "cannot have the subscriber's fd");
    sleeper.fifo = open(sleeps->fifo, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (sleeper.fifo < 0) {
        bench_fail("cannot open %s: %s", sleeps->fifo, strerror(errno));
    }
    sleeper.fifo_epoll = epoll_on(sleeper.fifo);
    sleeper.tarn_epoll = epoll_on(fd);
}

static void close_there(struct bench_pair *pair, void *arguments) {
    (void)pair, (void)arguments;
    close(sleeper.fifo_epoll);
    close(sleeper.tarn_epoll);
    close(sleeper.fifo);
    tarn_subscriber_close(sleeper.receiver);
    tarn_subscriber_close(sleeper.polled);
}

static void wait_epoll(int epoll) {
    struct epoll_event event;
    if (epoll_wait(epoll, &event, 1, (int)(PATIENCE_NS / 1000000)) == 0) {
        bench_fail("not woken for 10 s");
    }
}

static void sleep_on_futex(struct meeting *meeting) {
    uint32_t before = atomic_load_explicit(&meeting->word, memory_order_relaxed);
    atomic_fetch_add_explicit(&meeting->about_to, 1, memory_order_release);
    while (atomic_load_explicit(&meeting->word, memory_order_acquire) == before) {
        syscall(SYS_futex, &meeting->word, FUTEX_SLEEP, before, NULL, NULL, 0);
    }
}

static void sleep_in_receive(struct meeting *meeting, tarn_message *message) {
    atomic_fetch_add_explicit(&meeting->about_to, 1, memory_order_release);
    bench_expect(tarn_subscriber_receive(sleeper.receiver, message, PATIENCE_NS), 1, "no message within 10 s");
}

static void sleep_on_fifo(struct meeting *meeting) {
    char byte;
    atomic_fetch_add_explicit(&meeting->about_to, 1, memory_order_release);
    do {
        wait_epoll(sleeper.fifo_epoll);
    } while (read(sleeper.fifo, &byte, 1) != 1);
}

/* Nothing was left to take after the last message, so the descriptor is quiet until the next. */
static void sleep_on_tarn_fd(struct meeting *meeting, tarn_message *message) {
    bench_expect(-tarn_subscriber_take(sleeper.polled, message), 0, "a message came too early");
    atomic_fetch_add_explicit(&meeting->about_to, 1, memory_order_release);
    int taken;
    do {
        wait_epoll(sleeper.tarn_epoll);
        taken = tarn_subscriber_take(sleeper.polled, message);
        bench_expect(taken, 0, "cannot take");
    } while (taken == 0);
}

static void sleep_there(struct bench_pair *pair, void *arguments) {
    const struct sleeps sleeps = *(const struct sleeps *)arguments;
    struct meeting *meeting = meeting_of(pair);
    for (uint64_t i = 0; i < sleeps.count * BENCH_SLEEP_KINDS; i++) {
        tarn_message message = {0};
        switch ((enum bench_sleep)(i % BENCH_SLEEP_KINDS)) {
        case BENCH_SLEEP_FUTEX:
            sleep_on_futex(meeting);
            break;
        case BENCH_SLEEP_RECEIVE:
            sleep_in_receive(meeting, &message);
            break;
        case BENCH_SLEEP_FIFO:
            sleep_on_fifo(meeting);
            break;
        case BENCH_SLEEP_TARN_FD:
            sleep_on_tarn_fd(meeting, &message);
            break;
        case BENCH_SLEEP_KINDS:
            break;
        }
        meeting->woken_ns = bench_now_ns();
        atomic_fetch_add_explicit(&meeting->woken, 1, memory_order_release);
        if (message.data != NULL) {
            tarn_message_release(&message);
        }
    }
}

/* ---- the waker ------------------------------------------------------------------------------------------------ */

static struct {
    tarn_publisher *receiver, *polled;
    int fifo;
} waker;

static void wait_until(_Atomic uint64_t *word, uint64_t value) {
    while (atomic_load_explicit(word, memory_order_acquire) != value) {
        bench_relax();
    }
}

static void spin_ns(int64_t ns) {
    for (int64_t end_ns = bench_now_ns() + ns; bench_now_ns() < end_ns;) {
        bench_relax();
    }
}

static void wake(struct meeting *meeting, enum bench_sleep kind) {
    uint64_t payload = 1;
    switch (kind) {
    case BENCH_SLEEP_FUTEX:
        atomic_fetch_add_explicit(&meeting->word, 1, memory_order_release);
        syscall(SYS_futex, &meeting->word, FUTEX_RING, INT_MAX, NULL, NULL, 0);
        break;
    case BENCH_SLEEP_RECEIVE:
        bench_expect(tarn_publisher_publish(waker.receiver, &payload, sizeof(payload)), 1, "cannot publish");
        break;
    case BENCH_SLEEP_FIFO:
        if (write(waker.fifo, "x", 1) != 1) {
            bench_fail("cannot write to the FIFO: %s", strerror(errno));
        }
        break;
    case BENCH_SLEEP_TARN_FD:
        bench_expect(tarn_publisher_publish(waker.polled, &payload, sizeof(payload)), 1, "cannot publish");
        break;
    case BENCH_SLEEP_KINDS:
        break;
    }
}

void bench_wakeup_run(struct bench_pair *pair, uint64_t count, int64_t rest_ns, struct bench_samples *samples) {
    struct meeting *meeting = meeting_of(pair);
    struct sleeps sleeps = {.count = count};
    uint64_t base = atomic_load(&meeting->about_to);
    bench_pair_begin(pair, sleep_there, &sleeps, sizeof(sleeps));
    for (uint64_t i = 0; i < count * BENCH_SLEEP_KINDS; i++) {
        wait_until(&meeting->about_to, base + i + 1);
        spin_ns(rest_ns);
        int64_t start_ns = bench_now_ns();
        wake(meeting, (enum bench_sleep)(i % BENCH_SLEEP_KINDS));
        wait_until(&meeting->woken, base + i + 1);
        bench_samples_add(&samples[i % BENCH_SLEEP_KINDS], (uint64_t)(meeting->woken_ns - start_ns));
    }
    bench_pair_finish(pair, NULL, 0);
}

void bench_wakeup_open(struct bench_pair *pair) {
    struct sleeps sleeps = {.count = 0};
    snprintf(sleeps.fifo, sizeof(sleeps.fifo), "%s/fifo", getenv("TARN_DIR"));
    if (mkfifo(sleeps.fifo, 0600) != 0) {
        bench_fail("cannot make %s: %s", sleeps.fifo, strerror(errno));
    }
    waker.fifo = open(sleeps.fifo, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    bench_expect(tarn_publisher_open(&waker.receiver, "bench/receive", NULL), 0, "cannot open a publisher");
    bench_expect(tarn_publisher_open(&waker.polled, "bench/fd", NULL), 0, "cannot open a publisher");
    bench_pair_begin(pair, open_there, &sleeps, sizeof(sleeps));
    bench_pair_finish(pair, NULL, 0);
    unlink(sleeps.fifo);
}

void bench_wakeup_close(struct bench_pair *pair) {
    close(waker.fifo);
    tarn_publisher_close(waker.receiver);
    tarn_publisher_close(waker.polled);
    bench_pair_begin(pair, close_there, NULL, 0);
    bench_pair_finish(pair, NULL, 0);
}
