/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Messages per second in one direction, as common_stream.c sends them. The memory limit decides where the stream lives:
 * by default 4 MiB, inside the cache that both CPUs share.
 */
#include "common.h"

#include <stdio.h>
#include <string.h>

#define ROUNDS_MAX 100
#define FLOOR_NS (15LL * 1000 * 1000)
#define MARK_PER_SECOND 100e6

/* The median of rounds streams, those left out that had the floors move. Prints each. */
static double measure(struct bench_pair *pair, struct bench_stream *stream, size_t rounds,
                      struct bench_report *report) {
    double rates[ROUNDS_MAX];
    size_t counted = 0;
    printf("%10s %12s | %9s %9s %9s\n", "M msg/s", "GB/s", "standing", "walking", "CPU speed");
    struct bench_floor before = bench_floor_measure(pair, FLOOR_NS);
    for (size_t i = 0; i < rounds && i < ROUNDS_MAX; i++) {
        double rate = bench_stream_run(pair, stream);
        struct bench_floor after = bench_floor_measure(pair, FLOOR_NS);
        bool steady = bench_floor_difference(before, after) <= BENCH_FLOOR_TOLERANCE;
        struct bench_floor floor = bench_floor_between(before, after);
        printf("%10.1f %12.2f | %6.1f ns %6.1f ns %6.2f /ns%s\n", rate / 1e6, rate * (double)stream->bytes / 1e9,
               floor.standing_ns, floor.walking_ns, floor.speed_per_ns, steady ? "" : "  ! not counted: floors differ");
        fflush(stdout);
        bench_report_row(report, "stream", "bytes", (double)stream->bytes, "per_second", rate, "standing_ns",
                         floor.standing_ns, "walking_ns", floor.walking_ns, "speed_per_ns", floor.speed_per_ns,
                         "counted", (double)steady, NULL);
        if (steady) {
            rates[counted++] = rate;
        }
        before = after;
    }
    double median = bench_median(rates, counted);
    printf("\n%10.1f M msg/s, %.2f GB/s: the median of %zu\n", median / 1e6, median * (double)stream->bytes / 1e9,
           counted);
    return median;
}

int main(int argc, char **argv) {
    const char *size = "8", *limit = "4M", *rounds = "7", *seconds = "0.25", *loan = NULL, *touch = "full",
               *at_once = "1", *cpus = NULL, *json = NULL, *marks = NULL;
    const struct bench_option options[] = {
        {"--size", "BYTES", "bytes per message (8)", &size},
        {"--limit", "BYTES", "memory limit of the publisher (4M)", &limit},
        {"--touch", "WHAT", "line: first cache line written and read; full: everything (full)", &touch},
        {"--loan", NULL, "send small messages by a loan, too, instead of publish", &loan},
        {"--at-once", "COUNT", "messages taken in one call, at most 32 (1)", &at_once},
        {"--rounds", "COUNT", "streams, each between floors (7)", &rounds},
        {"--seconds", "SECONDS", "length of one stream (0.25)", &seconds},
        {"--cpus", "A,B", "the two CPUs to run on", &cpus},
        {"--json", "FILE", "write the results to FILE", &json},
        {"--marks", "FILE", "append the mark to FILE", &marks},
    };
    bench_options_parse(argc, argv, "messages per second in one direction, nothing lost", options,
                        BENCH_COUNT(options));
    struct bench_stream stream = {.bytes = (size_t)bench_parse_bytes(size), .first = 1};
    double many = bench_parse_number(at_once);
    stream.at_once = many < 1 ? 1 : many > BENCH_STREAM_MANY ? BENCH_STREAM_MANY : (size_t)many;
    stream.touch = strcmp(touch, "line") == 0 ? BENCH_TOUCH_LINE : BENCH_TOUCH_FULL;
    stream.by_loan = loan != NULL || stream.bytes > BENCH_LINE_BYTES;
    bench_place_open();
    struct bench_pair pair;
    bench_pair_start(&pair, bench_cpus_choose(cpus));
    bench_stream_open(&pair, bench_parse_bytes(limit));
    char name[32];
    printf("A stream of %s messages from CPU %d to CPU %d, reliable, sent by %s, memory limit %s, every message checked"
           " (%s).\n\n",
           bench_format_bytes(name, sizeof(name), stream.bytes), pair.cpus.here, pair.cpus.there,
           stream.by_loan ? "loan" : "publish", limit, touch);
    struct bench_report *report = bench_report_open("throughput", json, marks);
    bench_stream_warm_up(&pair, &stream, bench_parse_number(seconds));
    double median = measure(&pair, &stream, (size_t)bench_parse_number(rounds), report);
    if (stream.bytes == 8) {
        bench_report_mark(report, "stream of 8 B, nothing lost", median / 1e6, false, MARK_PER_SECOND / 1e6, "M msg/s");
    }
    bench_report_close(report);
    bench_stream_close(&pair);
    bench_pair_stop(&pair);
    return 0;
}
