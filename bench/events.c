/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Events: what raising and taking one costs when nobody sleeps, and how long it takes to wake a listener that does,
 * beside a bare futex, as common_wakeup.c does it for messages: the two take turns, the sleeper is left asleep for a
 * while, and the way is from the waker's clock before it raises to the sleeper's behind its wait.
 */
#define _GNU_SOURCE
#include "common.h"

#include "tarn.h"

#include <limits.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SLEEPS_MAX 100000
#define WARM_UP_SLEEPS 50
#define PATIENCE_NS (10LL * 1000 * 1000 * 1000)
#define CALLS 2000000
#define FUTEX_SLEEP 0
#define FUTEX_RING 1
#define TOPIC "bench/events"

enum { BY_FUTEX, BY_EVENT, KINDS };

/* In memory that both share: the bare payload's, which is not in use here. */
struct meeting {
    _Alignas(128) _Atomic uint32_t word;
    _Alignas(128) _Atomic uint64_t about_to; /* the sleeper's n-th sleep begins */
    _Alignas(128) _Atomic uint64_t woken;    /* the sleeper's n-th sleep is over, at woken_ns */
    int64_t woken_ns;
};

static struct meeting *meeting_of(struct bench_pair *pair) {
    return (struct meeting *)(void *)pair->bulk_here;
}

/* ---- waking --------------------------------------------------------------------------------------------------- */

static tarn_listener *listener;

static void open_there(struct bench_pair *pair, void *arguments) {
    (void)pair, (void)arguments;
    tarn_listener_options how = {.struct_bytes = sizeof(how), .wait_strategy = TARN_WAIT_SLEEP};
    bench_expect(tarn_listener_open(&listener, TOPIC, &how), 0, "cannot open a listener");
}

static void close_there(struct bench_pair *pair, void *arguments) {
    (void)pair, (void)arguments;
    tarn_listener_close(listener);
}

static void sleep_on_futex(struct meeting *meeting) {
    uint32_t before = atomic_load_explicit(&meeting->word, memory_order_relaxed);
    atomic_fetch_add_explicit(&meeting->about_to, 1, memory_order_release);
    while (atomic_load_explicit(&meeting->word, memory_order_acquire) == before) {
        syscall(SYS_futex, &meeting->word, FUTEX_SLEEP, before, NULL, NULL, 0);
    }
}

static void sleep_there(struct bench_pair *pair, void *arguments) {
    const uint64_t count = *(const uint64_t *)arguments;
    struct meeting *meeting = meeting_of(pair);
    for (uint64_t i = 0; i < count * KINDS; i++) {
        if (i % KINDS == BY_FUTEX) {
            sleep_on_futex(meeting);
        } else {
            tarn_event event;
            atomic_fetch_add_explicit(&meeting->about_to, 1, memory_order_release);
            bench_expect(tarn_listener_receive(listener, &event, PATIENCE_NS), 1, "no event within 10 s");
        }
        meeting->woken_ns = bench_now_ns();
        atomic_fetch_add_explicit(&meeting->woken, 1, memory_order_release);
    }
}

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

static void wake_often(struct bench_pair *pair, tarn_notifier *notifier, uint64_t count, int64_t rest_ns,
                       struct bench_samples *samples) {
    struct meeting *meeting = meeting_of(pair);
    uint64_t base = atomic_load(&meeting->about_to);
    bench_pair_begin(pair, sleep_there, &count, sizeof(count));
    for (uint64_t i = 0; i < count * KINDS; i++) {
        wait_until(&meeting->about_to, base + i + 1);
        spin_ns(rest_ns);
        int64_t start_ns = bench_now_ns();
        if (i % KINDS == BY_FUTEX) {
            atomic_fetch_add_explicit(&meeting->word, 1, memory_order_release);
            syscall(SYS_futex, &meeting->word, FUTEX_RING, INT_MAX, NULL, NULL, 0);
        } else {
            bench_expect(tarn_notifier_notify(notifier, 1), 1, "cannot notify");
        }
        wait_until(&meeting->woken, base + i + 1);
        bench_samples_add(&samples[i % KINDS], (uint64_t)(meeting->woken_ns - start_ns));
    }
    bench_pair_finish(pair, NULL, 0);
}

static void report_waking(struct bench_samples *samples, struct bench_report *report) {
    static const char *const names[KINDS] = {"bare futex", "tarn event"};
    double bare_ns = 0;
    printf("%-18s %10s %10s %10s %8s   %s\n", "asleep in", "p50", "p99", "max", "sleeps", "ratio of p50");
    for (int kind = 0; kind < KINDS; kind++) {
        char p50[32], p99[32], max[32];
        struct bench_summary summary = bench_samples_summary(&samples[kind], 1);
        bare_ns = kind == BY_FUTEX ? summary.p50 : bare_ns;
        printf("%-18s %10s %10s %10s %8zu   %.2f\n", names[kind], bench_format_ns(p50, sizeof(p50), summary.p50),
               bench_format_ns(p99, sizeof(p99), summary.p99), bench_format_ns(max, sizeof(max), summary.max),
               summary.count, summary.p50 / bare_ns);
        bench_report_row(report, names[kind], "p50_ns", summary.p50, "p99_ns", summary.p99, "max_ns", summary.max,
                         "ratio", summary.p50 / bare_ns, NULL);
    }
}

/* ---- costs of calls, in one process ---------------------------------------------------------------------------- */

static void report_cost(struct bench_report *report, const char *name, int64_t ns, int calls) {
    printf("%-34s %8.1f ns\n", name, (double)ns / calls);
    bench_report_row(report, name, "mean_ns", (double)ns / calls, NULL);
}

static void measure_calls(tarn_notifier *notifier, struct bench_report *report) {
    tarn_listener *here;
    tarn_event event;
    bench_expect(tarn_listener_open(&here, TOPIC, NULL), 0, "cannot open a listener");
    int64_t start_ns = bench_now_ns();
    for (int i = 0; i < CALLS; i++) {
        tarn_notifier_notify(notifier, 1);
    }
    report_cost(report, "notify, nobody asleep", bench_now_ns() - start_ns, CALLS);
    start_ns = bench_now_ns();
    for (int i = 0; i < CALLS; i++) {
        tarn_notifier_notify(notifier, 1);
        tarn_listener_take(here, &event);
    }
    report_cost(report, "notify and take", bench_now_ns() - start_ns, CALLS);
    start_ns = bench_now_ns();
    for (int i = 0; i < CALLS; i++) {
        tarn_listener_take(here, &event);
    }
    report_cost(report, "take nothing, 2 events", bench_now_ns() - start_ns, CALLS);
    tarn_notifier_notify(notifier, 1023);
    start_ns = bench_now_ns();
    for (int i = 0; i < CALLS / 100; i++) {
        tarn_listener_take(here, &event);
    }
    report_cost(report, "take nothing, 1024 events", bench_now_ns() - start_ns, CALLS / 100);
    tarn_listener_close(here);
    printf("\n");
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
    bench_options_parse(argc, argv, "what events cost, and how long it takes to wake a listener", options,
                        BENCH_COUNT(options));
    uint64_t sleeps = (uint64_t)bench_parse_number(count);
    if (sleeps < 1 || sleeps > SLEEPS_MAX) {
        bench_fail("--iterations is 1 to %d", SLEEPS_MAX);
    }
    bench_place_open();
    struct bench_pair pair;
    bench_pair_start(&pair, bench_cpus_choose(cpus));
    tarn_notifier *notifier;
    bench_expect(tarn_notifier_open(&notifier, TOPIC, NULL), 0, "cannot open a notifier");
    struct bench_report *report = bench_report_open("events", json, marks);
    measure_calls(notifier, report);
    bench_pair_begin(&pair, open_there, NULL, 0);
    bench_pair_finish(&pair, NULL, 0);
    struct bench_samples samples[KINDS];
    for (int kind = 0; kind < KINDS; kind++) {
        bench_samples_open(&samples[kind], SLEEPS_MAX);
        samples[kind].in_ns = true;
    }
    int64_t rest_ns = (int64_t)(bench_parse_number(rest) * 1000);
    wake_often(&pair, notifier, WARM_UP_SLEEPS, rest_ns, samples);
    for (int kind = 0; kind < KINDS; kind++) {
        samples[kind].count = 0;
    }
    wake_often(&pair, notifier, sleeps, rest_ns, samples);
    report_waking(samples, report);
    bench_report_close(report);
    bench_pair_begin(&pair, close_there, NULL, 0);
    bench_pair_finish(&pair, NULL, 0);
    tarn_notifier_close(notifier);
    bench_pair_stop(&pair);
    return 0;
}
