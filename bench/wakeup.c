/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * How long it takes to wake a subscriber that sleeps, beside the barest wake-up of the same kind, as common_wakeup.c
 * measures it.
 */
#include "common.h"

#include <stdio.h>

#define SLEEPS_MAX 100000
#define WARM_UP_SLEEPS 50
#define MARK 1.2

static void report_kinds(struct bench_samples *samples, struct bench_report *report) {
    static const char *const names[BENCH_SLEEP_KINDS] = {"bare futex", "tarn receive", "bare FIFO, epoll",
                                                         "tarn fd, epoll"};
    double bare_ns = 0;
    printf("%-18s %10s %10s %10s %8s   %s\n", "asleep in", "p50", "p99", "max", "sleeps", "ratio of p50");
    for (int kind = 0; kind < BENCH_SLEEP_KINDS; kind++) {
        char p50[32], p99[32], max[32];
        struct bench_summary summary = bench_samples_summary(&samples[kind], 1);
        bool bare = kind == BENCH_SLEEP_FUTEX || kind == BENCH_SLEEP_FIFO;
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
        bench_report_mark(report, kind == BENCH_SLEEP_RECEIVE ? "wake-up in receive" : "wake-up by fd and epoll",
                          summary.p50 / bare_ns, true, MARK,
                          kind == BENCH_SLEEP_RECEIVE ? "x bare futex" : "x bare FIFO");
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
    bench_wakeup_open(&pair);
    struct bench_samples samples[BENCH_SLEEP_KINDS];
    for (int kind = 0; kind < BENCH_SLEEP_KINDS; kind++) {
        bench_samples_open(&samples[kind], SLEEPS_MAX);
        samples[kind].in_ns = true;
    }
    int64_t rest_ns = (int64_t)(bench_parse_number(rest) * 1000);
    bench_wakeup_run(&pair, WARM_UP_SLEEPS, rest_ns, samples);
    for (int kind = 0; kind < BENCH_SLEEP_KINDS; kind++) {
        samples[kind].count = 0;
    }
    uint64_t sleeps = (uint64_t)bench_parse_number(count);
    if (sleeps < 1 || sleeps > SLEEPS_MAX) {
        bench_fail("--iterations is 1 to %d", SLEEPS_MAX);
    }
    bench_wakeup_run(&pair, sleeps, rest_ns, samples);
    printf("From CPU %d to a process asleep on CPU %d, one way; the four in turns; %s us of sleep each.\n\n",
           pair.cpus.here, pair.cpus.there, rest);
    struct bench_report *report = bench_report_open("wakeup", json, marks);
    report_kinds(samples, report);
    bench_report_close(report);
    bench_wakeup_close(&pair);
    bench_pair_stop(&pair);
    return 0;
}
