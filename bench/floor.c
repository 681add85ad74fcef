/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The floors of this machine, as common_floor.c measures them, several times over: what the hardware allows, and how
 * steady the machine is. The other programs measure the same beside their own figures.
 */
#include "common.h"

#include <stdio.h>

#define RUNS_MAX 1000

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
    printf("%14s  %12s\n", "standing", "walking");
    size_t runs = (size_t)bench_parse_number(runs_text);
    for (size_t run = 0; run < runs && run < RUNS_MAX; run++) {
        struct bench_floor floor =
            bench_floor_measure(&pair, (int64_t)(bench_parse_number(milliseconds_text) * 1000 * 1000));
        printf("%11.1f ns  %9.1f ns\n", floor.standing_ns, floor.walking_ns);
        fflush(stdout);
        bench_report_row(report, "floor", "standing_ns", floor.standing_ns, "walking_ns", floor.walking_ns, NULL);
    }
    bench_report_close(report);
    bench_pair_stop(&pair);
    return 0;
}
