/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* What a send costs the publisher with many subscribers that are awake, as common_crowd.c measures it. */
#include "common.h"

#include <stdio.h>

#define COUNTS_MAX 16
#define MARK 1.2
#define MARK_SUBSCRIBERS 1000

static void report_costs(struct bench_report *report, size_t bytes, uint64_t subscriber_count, size_t messages,
                         struct bench_crowd_cost one, struct bench_crowd_cost many) {
    char name[32], mark[64];
    bench_format_bytes(name, sizeof(name), bytes);
    printf("%8s %11llu | %6.0f ns %6.0f ns %6.0f ns | %6.0f ns %6.0f ns %6.0f ns | %5.2f %5.2f | %8zu %4zu\n", name,
           (unsigned long long)subscriber_count, one.p50, one.mean, one.p99, many.p50, many.mean, many.p99,
           many.p50 / one.p50, many.mean / one.mean, messages, one.left_out + many.left_out);
    fflush(stdout);
    bench_report_row(report, "send", "bytes", (double)bytes, "subscribers", (double)subscriber_count, "one_p50_ns",
                     one.p50, "one_mean_ns", one.mean, "one_p99_ns", one.p99, "p50_ns", many.p50, "mean_ns", many.mean,
                     "p99_ns", many.p99, NULL);
    if (subscriber_count == MARK_SUBSCRIBERS) {
        snprintf(mark, sizeof(mark), "send %s to 1000 awake, p50", name);
        bench_report_mark(report, mark, many.p50 / one.p50, true, MARK, "x send to one");
        snprintf(mark, sizeof(mark), "send %s to 1000 awake, mean", name);
        bench_report_mark(report, mark, many.mean / one.mean, true, MARK, "x send to one");
    }
}

static void measure(struct bench_pair *pair, size_t bytes, uint64_t subscriber_count, bool reliable,
                    int64_t duration_ns, struct bench_report *report) {
    struct bench_crowd_costs costs = bench_crowd_measure(pair, bytes, subscriber_count, reliable, duration_ns);
    report_costs(report, bytes, subscriber_count, costs.messages, costs.one, costs.many);
}

int main(int argc, char **argv) {
    const char *sizes = "64,64K,1M", *counts = "1,4,16,64,256,1000", *seconds = "0.5", *reliable = NULL, *cpus = NULL,
               *json = NULL, *marks = NULL;
    const struct bench_option options[] = {
        {"--sizes", "LIST", "message sizes (64,64K,1M)", &sizes},
        {"--subscribers", "LIST", "how many (1,4,16,64,256,1000)", &counts},
        {"--seconds", "SECONDS", "time per size and count (0.5)", &seconds},
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
    bench_place_open();
    struct bench_pair pair;
    bench_pair_start(&pair, bench_cpus_choose(cpus));
    struct bench_report *report = bench_report_open("fanout", json, marks);
    printf(
        "A send (loan, first line written, send) on CPU %d. The subscribers are handles of one process on CPU %d that"
        " polls\nthem in turn and never sleeps; each message is taken by all before the next is sent. Blocks of %d"
        " alternate between\na topic with one and a topic with many, sent as far apart.\n\n",
        pair.cpus.here, pair.cpus.there, BENCH_CROWD_BLOCK);
    printf("%8s %11s | %9s %9s %9s | %9s %9s %9s | %5s %5s | %8s %4s\n", "bytes", "subscribers", "one: p50", "mean",
           "p99", "all: p50", "mean", "p99", "/p50", "/mean", "messages", "cut");
    for (size_t i = 0; i < size_count; i++) {
        for (size_t k = 0; k < count_count; k++) {
            if (count_list[k] < 1 || count_list[k] > BENCH_CROWD_MAX) {
                bench_fail("--subscribers are 1 to %d", BENCH_CROWD_MAX);
            }
            measure(&pair, (size_t)size_list[i], count_list[k], reliable != NULL, duration_ns, report);
        }
    }
    bench_report_close(report);
    bench_pair_stop(&pair);
    return 0;
}
