/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * How long it takes to wake a process that sleeps in a waitset of few and of many subscribers, beside the barest
 * wake-up of the kind: one byte to a FIFO in an epoll. One way, the kinds in turns, as common_wakeup.c measures others.
 * And what a message costs that is there already: reported, taken, released.
 */
#include "common.h"

#include "tarn.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATIENCE_NS (10LL * 1000 * 1000 * 1000)
#define SLEEPS_MAX 100000
#define MOST 200
#define KINDS 4

static const unsigned sizes[KINDS] = {0, 2, 64, MOST}; /* 0: the FIFO */

struct meeting {
    _Alignas(128) _Atomic uint64_t about_to; /* the sleeper's n-th sleep begins */
    _Alignas(128) _Atomic uint64_t woken;    /* the n-th is over, at woken_ns */
    int64_t woken_ns;
};

static int fifo, fifo_epoll;
static tarn_waitset *sets[KINDS];
static tarn_subscriber *subscribers[KINDS][MOST];
static tarn_publisher *publishers[KINDS];

static const char *topic_of(int kind, unsigned number) {
    static char name[64];
    snprintf(name, sizeof(name), number ? "bench/%d/idle" : "bench/%d", kind);
    return name;
}

static const char *fifo_path(void) {
    static char path[512];
    snprintf(path, sizeof(path), "%s/fifo", getenv("TARN_DIR"));
    return path;
}

/* The first of each set's subscribers has the topic where something is sent. */
static void open_there(struct bench_pair *pair, void *arguments) {
    (void)pair, (void)arguments;
    tarn_waitset_options options = {.struct_bytes = sizeof(options), .wait_strategy = TARN_WAIT_SLEEP};
    struct epoll_event event = {.events = EPOLLIN};
    fifo = open(fifo_path(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
    fifo_epoll = epoll_create1(EPOLL_CLOEXEC);
    bench_expect(-epoll_ctl(fifo_epoll, EPOLL_CTL_ADD, fifo, &event), 0, "cannot watch the FIFO");
    for (int kind = 1; kind < KINDS; kind++) {
        bench_expect(tarn_waitset_open(&sets[kind], &options), 0, "cannot open a waitset");
        for (unsigned i = 0; i < sizes[kind]; i++) {
            bench_expect(tarn_subscriber_open(&subscribers[kind][i], topic_of(kind, i), NULL), 0, "cannot open");
            bench_expect(tarn_waitset_add(sets[kind], subscribers[kind][i], NULL), 0, "cannot add");
        }
    }
}

static void close_there(struct bench_pair *pair, void *arguments) {
    (void)pair, (void)arguments;
    for (int kind = 1; kind < KINDS; kind++) {
        tarn_waitset_close(sets[kind]);
        for (unsigned i = 0; i < sizes[kind]; i++)
            tarn_subscriber_close(subscribers[kind][i]);
    }
    close(fifo_epoll);
    close(fifo);
}

static void sleep_once(struct meeting *meeting, int kind) {
    tarn_ready ready;
    tarn_message message;
    struct epoll_event event;
    char byte;
    atomic_fetch_add_explicit(&meeting->about_to, 1, memory_order_release);
    if (kind) {
        bench_expect(tarn_waitset_wait(sets[kind], &ready, 1, PATIENCE_NS), 1, "not woken within 10 s");
        bench_expect(tarn_subscriber_take(ready.handle, &message), 1, "nothing to take");
    } else if (epoll_wait(fifo_epoll, &event, 1, 10000) != 1 || read(fifo, &byte, 1) != 1) {
        bench_fail("the FIFO did not wake");
    }
    meeting->woken_ns = bench_now_ns();
    atomic_fetch_add_explicit(&meeting->woken, 1, memory_order_release);
    if (kind)
        tarn_message_release(&message);
}

static void sleep_there(struct bench_pair *pair, void *arguments) {
    uint64_t count = *(uint64_t *)arguments;
    for (uint64_t i = 0; i < count * KINDS; i++)
        sleep_once((struct meeting *)(void *)pair->bulk_here, (int)(i % KINDS));
}

static void wait_until(_Atomic uint64_t *word, uint64_t value) {
    while (atomic_load_explicit(word, memory_order_acquire) != value)
        bench_relax();
}

static void wake(int kind) {
    if (kind)
        bench_expect(tarn_publisher_publish(publishers[kind], "12345678", 8), 1, "cannot publish");
    else if (write(fifo, "x", 1) != 1)
        bench_fail("cannot write to the FIFO");
}

static void run(struct bench_pair *pair, uint64_t count, int64_t rest_ns, struct bench_samples *samples) {
    struct meeting *meeting = (struct meeting *)(void *)pair->bulk_here;
    uint64_t base = atomic_load(&meeting->about_to);
    bench_pair_begin(pair, sleep_there, &count, sizeof(count));
    for (uint64_t i = 0; i < count * KINDS; i++) {
        wait_until(&meeting->about_to, base + i + 1);
        for (int64_t end_ns = bench_now_ns() + rest_ns; bench_now_ns() < end_ns;)
            bench_relax();
        int64_t start_ns = bench_now_ns();
        wake((int)(i % KINDS));
        wait_until(&meeting->woken, base + i + 1);
        bench_samples_add(&samples[i % KINDS], (uint64_t)(meeting->woken_ns - start_ns));
    }
    bench_pair_finish(pair, NULL, 0);
}

static void report(struct bench_samples *samples) {
    double bare_ns = 0;
    printf("%-26s %10s %10s %8s   %s\n", "asleep in", "p50", "p99", "sleeps", "ratio of p50");
    for (int kind = 0; kind < KINDS; kind++) {
        char p50[32], p99[32], name[64] = "bare FIFO, epoll";
        struct bench_summary summary = bench_samples_summary(&samples[kind], 1);
        bare_ns = kind ? bare_ns : summary.p50;
        if (kind)
            snprintf(name, sizeof(name), "waitset of %u", sizes[kind]);
        printf("%-26s %10s %10s %8zu   %.2f\n", name, bench_format_ns(p50, sizeof(p50), summary.p50),
               bench_format_ns(p99, sizeof(p99), summary.p99), summary.count, summary.p50 / bare_ns);
    }
}

/* In this process alone: a batch is sent, then each message is waited for, taken and released. */
static void report_busy(unsigned size) {
    enum { BATCH = 64, BATCHES = 2000 };
    tarn_waitset *set;
    tarn_subscriber *own[MOST];
    tarn_publisher *publisher;
    int64_t total_ns = 0;
    bench_expect(tarn_waitset_open(&set, NULL), 0, "cannot open a waitset");
    for (unsigned i = 0; i < size; i++) {
        bench_expect(tarn_subscriber_open(&own[i], i ? "bench/idle" : "bench/busy", NULL), 0, "cannot open");
        bench_expect(tarn_waitset_add(set, own[i], NULL), 0, "cannot add");
    }
    bench_expect(tarn_publisher_open(&publisher, "bench/busy", NULL), 0, "cannot open a publisher");
    for (int batch = 0; batch < BATCHES; batch++) {
        for (int i = 0; i < BATCH; i++)
            bench_expect(tarn_publisher_publish(publisher, "12345678", 8), 1, "cannot publish");
        int64_t start_ns = bench_now_ns();
        for (int i = 0; i < BATCH; i++) {
            tarn_ready ready;
            tarn_message message;
            bench_expect(tarn_waitset_wait(set, &ready, 1, PATIENCE_NS), 1, "nothing is ready");
            bench_expect(tarn_subscriber_take(ready.handle, &message), 1, "nothing to take");
            tarn_message_release(&message);
        }
        total_ns += bench_now_ns() - start_ns;
    }
    printf("%-26u %10.0f ns\n", size, (double)total_ns / BATCH / BATCHES);
    tarn_waitset_close(set);
    for (unsigned i = 0; i < size; i++)
        tarn_subscriber_close(own[i]);
    tarn_publisher_close(publisher);
}

int main(int argc, char **argv) {
    const char *count = "1000", *rest = "150", *cpus = NULL;
    const struct bench_option options[] = {
        {"--iterations", "COUNT", "sleeps of each kind (1000)", &count},
        {"--rest", "US", "how long the sleeper is left asleep, microseconds (150)", &rest},
        {"--cpus", "A,B", "the two CPUs to run on", &cpus},
    };
    bench_options_parse(argc, argv, "how long it takes to wake who sleeps in a waitset", options, BENCH_COUNT(options));
    uint64_t sleeps = (uint64_t)bench_parse_number(count);
    if (sleeps < 1 || sleeps > SLEEPS_MAX)
        bench_fail("--iterations is 1 to %d", SLEEPS_MAX);
    bench_place_open();
    if (mkfifo(fifo_path(), 0600) != 0)
        bench_fail("cannot make a FIFO");
    struct bench_pair pair;
    struct bench_samples samples[KINDS];
    bench_pair_start(&pair, bench_cpus_choose(cpus));
    bench_pair_begin(&pair, open_there, NULL, 0);
    bench_pair_finish(&pair, NULL, 0);
    fifo = open(fifo_path(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
    unlink(fifo_path());
    for (int kind = 0; kind < KINDS; kind++) {
        bench_samples_open(&samples[kind], SLEEPS_MAX);
        samples[kind].in_ns = true;
        if (kind)
            bench_expect(tarn_publisher_open(&publishers[kind], topic_of(kind, 0), NULL), 0, "cannot open");
    }
    int64_t rest_ns = (int64_t)(bench_parse_number(rest) * 1000);
    run(&pair, 50, rest_ns, samples);
    for (int kind = 0; kind < KINDS; kind++)
        samples[kind].count = 0;
    run(&pair, sleeps, rest_ns, samples);
    printf("From CPU %d to a process asleep on CPU %d, one way.\n\n", pair.cpus.here, pair.cpus.there);
    report(samples);
    printf("\nA message of 8 bytes that is there: reported, taken, released, in a waitset of\n\n");
    for (int kind = 1; kind < KINDS; kind++)
        report_busy(sizes[kind]);
    for (int kind = 1; kind < KINDS; kind++)
        tarn_publisher_close(publishers[kind]);
    close(fifo);
    bench_pair_begin(&pair, close_there, NULL, 0);
    bench_pair_finish(&pair, NULL, 0);
    bench_pair_stop(&pair);
    return 0;
}
