/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* What a send costs the publisher with many subscribers that are awake, as common_crowd.c measures it. */
#include "common.h"

#include <stdio.h>
#include <string.h>

#define COUNTS_MAX 16
#define MARK 1.2
#define MARK_SUBSCRIBERS 1000

static void mark(struct bench_report *report, const struct bench_crowd *what, const char *size, const char *average,
                 double ratio) {
    char name[96];
    const char *written = what->touch == BENCH_TOUCH_FULL ? ", written," : "";
    snprintf(name, sizeof(name), "send %s%s to 1000 awake, %s", size, written, average);
    bench_report_mark(report, name, ratio, true, MARK, "x send to one");
}

static void measure(struct bench_pair *pair, const struct bench_crowd *what, int64_t duration_ns,
                    struct bench_report *report) {
    char size[32];
    struct bench_crowd_costs costs = bench_crowd_measure(pair, what, duration_ns);
    struct bench_crowd_cost one = costs.one, many = costs.many;
    bench_format_bytes(size, sizeof(size), what->bytes);
    printf("%8s %11llu | %6.0f ns %6.0f ns %6.0f ns | %6.0f ns %6.0f ns %6.0f ns | %5.2f %5.2f | %8zu %4zu\n", size,
           (unsigned long long)what->subscribers, one.p50, one.mean, one.p99, many.p50, many.mean, many.p99,
           many.p50 / one.p50, many.mean / one.mean, costs.messages, one.left_out + many.left_out);
    fflush(stdout);
    bench_report_row(report, what->touch == BENCH_TOUCH_FULL ? "send_full" : "send", "bytes", (double)what->bytes,
                     "subscribers", (double)what->subscribers, "one_p50_ns", one.p50, "one_mean_ns", one.mean,
                     "one_p99_ns", one.p99, "p50_ns", many.p50, "mean_ns", many.mean, "p99_ns", many.p99, NULL);
    if (what->subscribers == MARK_SUBSCRIBERS) {
        mark(report, what, size, "p50", many.p50 / one.p50);
        mark(report, what, size, "mean", many.mean / one.mean);
    }
}

int main(int argc, char **argv) {
    const char *sizes = "64,64K,1M", *counts = "1,4,16,64,256,1000", *seconds = "0.5", *mode = "line", *reliable = NULL,
               *cpus = NULL, *json = NULL, *marks = NULL;
    const struct bench_option options[] = {
        {"--sizes", "LIST", "message sizes (64,64K,1M)", &sizes},
        {"--subscribers", "LIST", "how many (1,4,16,64,256,1000)", &counts},
        {"--seconds", "SECONDS", "time per size and count (0.5)", &seconds},
        {"--mode", "MODE", "line: first cache line written and read; full: all, read by the first subscriber (line)",
         &mode},
        {"--reliable", NULL, "subscribers are reliable (best effort)", &reliable},
        {"--cpus", "A,B", "the two CPUs to run on", &cpus},
        {"--json", "FILE", "write the results to FILE", &json},
        {"--marks", "FILE", "append the marks to FILE", &marks},
    };
    bench_options_parse(argc, argv, "what a send costs with many subscribers that are awake", options,
                        BENCH_COUNT(options));
    uint64_t size_list[COUNTS_MAX], count_list[COUNTS_MAX];
    size_t size_count = bench_parse_list(sizes, size_list, COUNTS_MAX);
    size_t count_count = bench_parse_list(counts, count_list, COUNTS_MAX);
    int64_t duration_ns = (int64_t)(bench_parse_number(seconds) * 1e9);
    bool full = strcmp(mode, "full") == 0;
    if (!full && strcmp(mode, "line") != 0) {
        bench_fail("--mode is line or full");
    }
    bench_place_open();
    struct bench_pair pair;
    bench_pair_start(&pair, bench_cpus_choose(cpus));
    struct bench_report *report = bench_report_open("fanout", json, marks);
    printf("A send (loan, %s written, send) on CPU %d. The subscribers are handles of one process on CPU %d that"
           " polls\nthem in turn and never sleeps; each message is taken by all before the next is sent. Blocks of %d"
           " alternate between\na topic with one and a topic with many, sent as far apart.\n\n",
           full ? "everything" : "first line", pair.cpus.here, pair.cpus.there, BENCH_CROWD_BLOCK);
    printf("%8s %11s | %9s %9s %9s | %9s %9s %9s | %5s %5s | %8s %4s\n", "bytes", "subscribers", "one: p50", "mean",
           "p99", "all: p50", "mean", "p99", "/p50", "/mean", "messages", "cut");
    for (size_t i = 0; i < size_count; i++) {
        for (size_t k = 0; k < count_count; k++) {
            if (count_list[k] < 1 || count_list[k] > BENCH_CROWD_MAX) {
                bench_fail("--subscribers are 1 to %d", BENCH_CROWD_MAX);
            }
            struct bench_crowd what = {.bytes = (size_t)size_list[i],
                                       .touch = full ? BENCH_TOUCH_FULL : BENCH_TOUCH_LINE,
                                       .subscribers = count_list[k],
                                       .reliable = reliable != NULL};
            measure(&pair, &what, duration_ns, report);
        }
    }
    bench_report_close(report);
    bench_pair_stop(&pair);
    return 0;
}
