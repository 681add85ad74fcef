/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The floors of this machine, as common_floor.c measures them, several times over: what the hardware allows, and how
 * steady the machine is. The other programs measure the same beside their own figures. Beside them what any code at all
 * costs between a message and its answer: the walking floor with instructions that do nothing.
 */
#include "common.h"

#include <stdio.h>

#define RUNS_MAX 1000
static const uint32_t burdens[] = {0, 50, 100, 150, 200, 250, 300, 400};

int main(int argc, char **argv) {
    const char *runs_text = "5", *milliseconds_text = "60", *cpus_text = NULL, *json = NULL;
    const struct bench_option options[] = {
        {"--runs", "COUNT", "measure so many times (5)", &runs_text},
        {"--milliseconds", "MS", "time of one measurement (60)", &milliseconds_text},
        {"--cpus", "A,B", "the two CPUs to run on", &cpus_text},
        {"--json", "FILE", "write the results to FILE", &json},
    };
    bench_options_parse(argc, argv, "what two processes need to bounce cache lines, one way", options,
                        BENCH_COUNT(options));
    struct bench_pair pair;
    bench_pair_start(&pair, bench_cpus_choose(cpus_text));
    struct bench_report *report = bench_report_open("floor", json, NULL);
    printf("Two processes on CPUs %d and %d, one way (half of a round trip), p50.\n\n", pair.cpus.here,
           pair.cpus.there);
    printf("%14s  %12s   walking, with so many no-operations before each answer, as a ratio:\n%14s  %12s  ", "standing",
           "walking", "", "");
    for (size_t i = 0; i < BENCH_COUNT(burdens); i++) {
        printf(" %6u", burdens[i]);
    }
    printf("\n");
    size_t runs = (size_t)bench_parse_number(runs_text);
    for (size_t run = 0; run < runs && run < RUNS_MAX; run++) {
        int64_t duration_ns = (int64_t)(bench_parse_number(milliseconds_text) * 1000 * 1000);
        struct bench_floor floor = bench_floor_measure(&pair, duration_ns);
        bench_report_row(report, "floor", "standing_ns", floor.standing_ns, "walking_ns", floor.walking_ns, NULL);
        printf("%11.1f ns  %9.1f ns  ", floor.standing_ns, floor.walking_ns);
        for (size_t i = 0; i < BENCH_COUNT(burdens); i++) {
            double burdened_ns = bench_floor_burdened(&pair, burdens[i], duration_ns / 4);
            bench_report_row(report, "burdened", "instructions", (double)burdens[i], "ns", burdened_ns, NULL);
            printf(" %6.2f", burdened_ns / floor.walking_ns);
        }
        printf("\n");
        fflush(stdout);
    }
    bench_report_close(report);
    bench_pair_stop(&pair);
    return 0;
}
