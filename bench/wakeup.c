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

#define SLEEPS_MAX 100000
#define PATIENCE_NS (10LL * 1000 * 1000 * 1000)
#define MARK 1.2
#define FUTEX_SLEEP 0 /* of linux/futex.h, which not every libc's headers come with */
#define FUTEX_RING 1

enum kind { FUTEX, RECEIVE, FIFO, TARN_FD, KINDS };

/* In memory that both share: the walking floor's ring, which is not in use here. */
struct meeting {
    _Alignas(128) _Atomic uint32_t word;     /* FUTEX: the message */
    _Alignas(128) _Atomic uint64_t about_to; /* the sleeper's n-th sleep begins */
    _Alignas(128) _Atomic uint64_t woken;    /* the sleeper's n-th sleep is over, at woken_ns */
    int64_t woken_ns;
};

struct sleeps {
    uint64_t count; /* per kind */
    char fifo[128];
};

static struct meeting *meeting_of(struct bench_pair *pair) {
    return (struct meeting *)(void *)pair->ring_here;
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
    for (uint64_t i = 0; i < sleeps.count * KINDS; i++) {
        tarn_message message = {0};
        switch ((enum kind)(i % KINDS)) {
        case FUTEX:
            sleep_on_futex(meeting);
            break;
        case RECEIVE:
            sleep_in_receive(meeting, &message);
            break;
        case FIFO:
            sleep_on_fifo(meeting);
            break;
        case TARN_FD:
            sleep_on_tarn_fd(meeting, &message);
            break;
        case KINDS:
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

static void wake(struct meeting *meeting, enum kind kind) {
    uint64_t payload = 1;
    switch (kind) {
    case FUTEX:
        atomic_fetch_add_explicit(&meeting->word, 1, memory_order_release);
        syscall(SYS_futex, &meeting->word, FUTEX_RING, INT_MAX, NULL, NULL, 0);
        break;
    case RECEIVE:
        bench_expect(tarn_publisher_publish(waker.receiver, &payload, sizeof(payload)), 1, "cannot publish");
        break;
    case FIFO:
        if (write(waker.fifo, "x", 1) != 1) {
            bench_fail("cannot write to the FIFO: %s", strerror(errno));
        }
        break;
    case TARN_FD:
        bench_expect(tarn_publisher_publish(waker.polled, &payload, sizeof(payload)), 1, "cannot publish");
        break;
    case KINDS:
        break;
    }
}

static void wake_in_turns(struct bench_pair *pair, const struct sleeps *sleeps, int64_t rest_ns,
                          struct bench_samples *samples) {
    struct meeting *meeting = meeting_of(pair);
    uint64_t base = atomic_load(&meeting->about_to);
    bench_pair_begin(pair, sleep_there, sleeps, sizeof(*sleeps));
    for (uint64_t i = 0; i < sleeps->count * KINDS; i++) {
        wait_until(&meeting->about_to, base + i + 1);
        spin_ns(rest_ns);
        int64_t start_ns = bench_now_ns();
        wake(meeting, (enum kind)(i % KINDS));
        wait_until(&meeting->woken, base + i + 1);
        bench_samples_add(&samples[i % KINDS], (uint64_t)(meeting->woken_ns - start_ns));
    }
    bench_pair_finish(pair, NULL, 0);
}

static void open_waker(struct bench_pair *pair, struct sleeps *sleeps) {
    snprintf(sleeps->fifo, sizeof(sleeps->fifo), "%s/fifo", getenv("TARN_DIR"));
    if (mkfifo(sleeps->fifo, 0600) != 0) {
        bench_fail("cannot make %s: %s", sleeps->fifo, strerror(errno));
    }
    waker.fifo = open(sleeps->fifo, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    bench_expect(tarn_publisher_open(&waker.receiver, "bench/receive", NULL), 0, "cannot open a publisher");
    bench_expect(tarn_publisher_open(&waker.polled, "bench/fd", NULL), 0, "cannot open a publisher");
    bench_pair_begin(pair, open_there, sleeps, sizeof(*sleeps));
    bench_pair_finish(pair, NULL, 0);
    unlink(sleeps->fifo);
}

static void report_kinds(struct bench_samples *samples, struct bench_report *report) {
    static const char *const names[KINDS] = {"bare futex", "tarn receive", "bare FIFO, epoll", "tarn fd, epoll"};
    double bare_ns = 0;
    printf("%-18s %10s %10s %10s %8s   %s\n", "asleep in", "p50", "p99", "max", "sleeps", "ratio of p50");
    for (int kind = 0; kind < KINDS; kind++) {
        char p50[32], p99[32], max[32];
        struct bench_summary summary = bench_samples_summary(&samples[kind], 1);
        bool bare = kind == FUTEX || kind == FIFO;
        bare_ns = bare ? summary.p50 : bare_ns;
        printf("%-18s %10s %10s %10s %8zu", names[kind], bench_format_ns(p50, sizeof(p50), summary.p50),
               bench_format_ns(p99, sizeof(p99), summary.p99), bench_format_ns(max, sizeof(max), summary.max),
               summary.count);
        bench_report_row(report, names[kind], "p50_ns", summary.p50, "p99_ns", summary.p99, "max_ns", summary.max,
                         "ratio", summary.p50 / bare_ns, NULL);
        if (bare) {
            printf("\n");
            continue;
        }
        printf("   %.2f x %s\n", summary.p50 / bare_ns, names[kind - 1]);
        bench_report_mark(report, kind == RECEIVE ? "wake-up in receive" : "wake-up by fd and epoll",
                          summary.p50 / bare_ns, true, MARK, kind == RECEIVE ? "x bare futex" : "x bare FIFO");
    }
}

int main(int argc, char **argv) {
    const char *count = "1000", *rest = "150", *cpus = NULL, *json = NULL, *marks = NULL;
    const struct bench_option options[] = {
        {"--iterations", "COUNT", "sleeps of each kind (1000)", &count},
        {"--rest", "US", "how long the sleeper is left asleep, microseconds (150)", &rest},
        {"--cpus", "A,B", "the two CPUs to run on", &cpus},
        {"--json", "FILE", "write the results to FILE", &json},
        {"--marks", "FILE", "append the marks to FILE", &marks},
    };
    bench_options_parse(argc, argv, "how long it takes to wake a subscriber that sleeps", options,
                        BENCH_COUNT(options));
    bench_place_open();
    struct bench_pair pair;
    bench_pair_start(&pair, bench_cpus_choose(cpus));
    struct sleeps sleeps = {.count = 50};
    open_waker(&pair, &sleeps);
    struct bench_samples samples[KINDS];
    for (int kind = 0; kind < KINDS; kind++) {
        bench_samples_open(&samples[kind], SLEEPS_MAX);
        samples[kind].in_ns = true;
    }
    int64_t rest_ns = (int64_t)(bench_parse_number(rest) * 1000);
    wake_in_turns(&pair, &sleeps, rest_ns, samples);
    for (int kind = 0; kind < KINDS; kind++) {
        samples[kind].count = 0;
    }
    sleeps.count = (uint64_t)bench_parse_number(count);
    if (sleeps.count < 1 || sleeps.count > SLEEPS_MAX) {
        bench_fail("--iterations is 1 to %d", SLEEPS_MAX);
    }
    wake_in_turns(&pair, &sleeps, rest_ns, samples);
    printf("From CPU %d to a process asleep on CPU %d, one way; the four in turns; %s us of sleep each.\n\n",
           pair.cpus.here, pair.cpus.there, rest);
    struct bench_report *report = bench_report_open("wakeup", json, marks);
    report_kinds(samples, report);
    bench_report_close(report);
    tarn_publisher_close(waker.receiver);
    tarn_publisher_close(waker.polled);
    bench_pair_begin(&pair, close_there, NULL, 0);
    bench_pair_finish(&pair, NULL, 0);
    bench_pair_stop(&pair);
    return 0;
}
