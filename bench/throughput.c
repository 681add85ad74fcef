/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A stream in one direction to a reliable subscriber in another process: nothing lost, every sequence number checked,
 * every payload read and checked. The publisher writes as fast as it can and is held back by the subscriber alone,
 * through the memory limit. Timed by the subscriber, from its first message to its last.
 *
 * The limit decides where the stream lives: by default 4 MiB, inside the cache that both CPUs share.
 */
#include "common.h"

#include "tarn.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ROUNDS_MAX 100
#define PATIENCE_NS (10LL * 1000 * 1000 * 1000)
#define LOOKS_PER_CLOCK (1u << 24)
#define FLOOR_NS (15LL * 1000 * 1000)
#define MARK_PER_SECOND 100e6

struct stream {
    size_t bytes;
    enum bench_touch touch;
    uint64_t count;
    uint64_t first;  /* number of the round's first message, which is also its payload's seed */
    int64_t took_ns; /* the subscriber's result */
};

static tarn_publisher *publisher;
static tarn_subscriber *subscriber; /* in the partner */

static void open_there(struct bench_pair *pair, void *arguments) {
    (void)pair, (void)arguments;
    tarn_subscriber_options how = {.struct_bytes = sizeof(how), .reliable = 1, .wait_strategy = TARN_WAIT_SPIN};
    bench_expect(tarn_subscriber_open(&subscriber, "bench/stream", &how), 0, "cannot open the subscriber");
}

static void close_there(struct bench_pair *pair, void *arguments) {
    (void)pair, (void)arguments;
    tarn_subscriber_close(subscriber);
}

static void take_next(tarn_message *message) {
    int64_t start_ns = 0;
    for (uint32_t looks = 1;; looks++) {
        int result = tarn_subscriber_take(subscriber, message);
        if (result == 1) {
            return;
        }
        bench_expect(result, 0, "cannot take");
        bench_relax();
        if (looks % LOOKS_PER_CLOCK == 0) {
            start_ns = start_ns == 0 ? bench_now_ns() : start_ns;
            bench_expect(bench_now_ns() - start_ns < PATIENCE_NS, 1, "no message for 10 s");
        }
    }
}

static void check(const tarn_message *message, const struct stream *stream, uint64_t number) {
    if (message->sequence != number || message->lost != 0) {
        bench_fail("message %" PRIu64 " came instead of %" PRIu64 ", and %" PRIu64 " are said to be lost",
                   message->sequence, number, message->lost);
    }
    if (message->bytes != stream->bytes || !bench_payload_check(message->data, message->bytes, stream->touch, number)) {
        bench_fail("message %" PRIu64 " has other bytes than were sent", number);
    }
}

static void take_all(struct bench_pair *pair, void *arguments) {
    (void)pair;
    struct stream *stream = arguments, local = *stream;
    int64_t start_ns = 0;
    for (uint64_t i = 0; i < local.count; i++) {
        tarn_message message;
        take_next(&message);
        if (i == 0) {
            start_ns = bench_now_ns();
        }
        check(&message, &local, local.first + i);
        bench_expect(tarn_message_release(&message), 0, "cannot release");
    }
    stream->took_ns = bench_now_ns() - start_ns;
}

static void send_by_publish(const struct stream *stream) {
    unsigned char data[BENCH_LINE_BYTES];
    for (uint64_t i = 0; i < stream->count; i++) {
        bench_payload_write(data, stream->bytes, BENCH_TOUCH_FULL, stream->first + i);
        bench_expect(tarn_publisher_publish(publisher, data, stream->bytes), 1, "cannot publish");
    }
}

static void send_by_loan(const struct stream *stream) {
    for (uint64_t i = 0; i < stream->count; i++) {
        tarn_loan loan;
        bench_expect(tarn_publisher_loan(publisher, stream->bytes, &loan), 1, "cannot get a loan");
        bench_payload_write(loan.data, stream->bytes, stream->touch, stream->first + i);
        bench_expect(tarn_loan_send(&loan), 1, "cannot send");
    }
}

/* One stream of count messages. Returns messages per second. */
static double run(struct bench_pair *pair, struct stream *stream, bool loan) {
    bench_pair_begin(pair, take_all, stream, sizeof(*stream));
    if (loan) {
        send_by_loan(stream);
    } else {
        send_by_publish(stream);
    }
    struct stream result;
    bench_pair_finish(pair, &result, sizeof(result));
    stream->first += stream->count;
    return (double)(stream->count - 1) / (double)result.took_ns * 1e9;
}

static uint64_t count_for(double per_second, double seconds) {
    double count = per_second * seconds;
    return count < 100 ? 100 : (uint64_t)count;
}

/* Judges the speed by a first short stream, then goes once through all memory, then settles the streams' length. */
static void warm_up(struct bench_pair *pair, struct stream *stream, bool by_loan, double seconds) {
    stream->count = 1000;
    stream->count = count_for(run(pair, stream, by_loan), 0.1);
    stream->count = count_for(run(pair, stream, by_loan), seconds);
}

/* The median of rounds streams, those left out that had the floors move. Prints each. */
static double measure(struct bench_pair *pair, struct stream *stream, bool by_loan, size_t rounds,
                      struct bench_report *report) {
    double rates[ROUNDS_MAX];
    size_t counted = 0;
    printf("%10s %12s | %9s %9s %9s\n", "M msg/s", "GB/s", "standing", "walking", "CPU speed");
    struct bench_floor before = bench_floor_measure(pair, FLOOR_NS);
    for (size_t i = 0; i < rounds && i < ROUNDS_MAX; i++) {
        double rate = run(pair, stream, by_loan);
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

static void open_stream(struct bench_pair *pair, uint64_t limit_bytes) {
    tarn_publisher_options how = {.struct_bytes = sizeof(how), .memory_limit_bytes = limit_bytes};
    bench_expect(tarn_publisher_open(&publisher, "bench/stream", &how), 0, "cannot open the publisher");
    bench_pair_begin(pair, open_there, NULL, 0);
    bench_pair_finish(pair, NULL, 0);
}

static void close_stream(struct bench_pair *pair) {
    tarn_publisher_close(publisher);
    bench_pair_begin(pair, close_there, NULL, 0);
    bench_pair_finish(pair, NULL, 0);
}

int main(int argc, char **argv) {
    const char *size = "8", *limit = "4M", *rounds = "7", *seconds = "0.25", *loan = NULL, *touch = "full",
               *cpus = NULL, *json = NULL, *marks = NULL;
    const struct bench_option options[] = {
        {"--size", "BYTES", "bytes per message (8)", &size},
        {"--limit", "BYTES", "memory limit of the publisher (4M)", &limit},
        {"--touch", "WHAT", "line: first cache line written and read; full: everything (full)", &touch},
        {"--loan", NULL, "send small messages by a loan, too, instead of publish", &loan},
        {"--rounds", "COUNT", "streams, each between floors (7)", &rounds},
        {"--seconds", "SECONDS", "length of one stream (0.25)", &seconds},
        {"--cpus", "A,B", "the two CPUs to run on", &cpus},
        {"--json", "FILE", "write the results to FILE", &json},
        {"--marks", "FILE", "append the mark to FILE", &marks},
    };
    bench_options_parse(argc, argv, "messages per second in one direction, nothing lost", options,
                        BENCH_COUNT(options));
    struct stream stream = {.bytes = (size_t)bench_parse_bytes(size), .first = 1};
    stream.touch = strcmp(touch, "line") == 0 ? BENCH_TOUCH_LINE : BENCH_TOUCH_FULL;
    bool by_loan = loan != NULL || stream.bytes > BENCH_LINE_BYTES;
    bench_place_open();
    struct bench_pair pair;
    bench_pair_start(&pair, bench_cpus_choose(cpus));
    open_stream(&pair, bench_parse_bytes(limit));
    char name[32];
    printf("A stream of %s messages from CPU %d to CPU %d, reliable, sent by %s, memory limit %s, every message checked"
           " (%s).\n\n",
           bench_format_bytes(name, sizeof(name), stream.bytes), pair.cpus.here, pair.cpus.there,
           by_loan ? "loan" : "publish", limit, touch);
    struct bench_report *report = bench_report_open("throughput", json, marks);
    warm_up(&pair, &stream, by_loan, bench_parse_number(seconds));
    double median = measure(&pair, &stream, by_loan, (size_t)bench_parse_number(rounds), report);
    if (stream.bytes == 8) {
        bench_report_mark(report, "stream of 8 B, nothing lost", median / 1e6, false, MARK_PER_SECOND / 1e6, "M msg/s");
    }
    bench_report_close(report);
    close_stream(&pair);
    bench_pair_stop(&pair);
    return 0;
}
