/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A stream in one direction to a reliable subscriber in another process, over the topic "bench/stream": nothing lost,
 * every sequence number checked, every payload read and checked. The publisher writes as fast as it can and is held
 * back by the subscriber alone, through the memory limit. Timed by the subscriber, from its first message to its last.
 */
#include "common.h"

#include "tarn.h"

#include <inttypes.h>

#define PATIENCE_NS (10LL * 1000 * 1000 * 1000)
#define LOOKS_PER_CLOCK (1u << 24)

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

static size_t take_some(tarn_message *messages, size_t most) {
    int64_t start_ns = 0;
    for (uint32_t looks = 1;; looks++) {
        int result = most == 1 ? tarn_subscriber_take(subscriber, messages)
                               : tarn_subscriber_take_many(subscriber, messages, most);
        if (result > 0) {
            return (size_t)result;
        }
        bench_expect(result, 0, "cannot take");
        bench_relax();
        if (looks % LOOKS_PER_CLOCK == 0) {
            start_ns = start_ns == 0 ? bench_now_ns() : start_ns;
            bench_expect(bench_now_ns() - start_ns < PATIENCE_NS, 1, "no message for 10 s");
        }
    }
}

static void check(const tarn_message *message, const struct bench_stream *stream, uint64_t number) {
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
    struct bench_stream *stream = arguments, local = *stream;
    int64_t start_ns = 0;
    for (uint64_t i = 0; i < local.count;) {
        tarn_message messages[BENCH_STREAM_MANY];
        size_t taken = take_some(messages, local.at_once ? local.at_once : 1);
        if (i == 0) {
            start_ns = bench_now_ns();
        }
        for (size_t k = 0; k < taken; k++, i++) {
            check(&messages[k], &local, local.first + i);
            bench_expect(tarn_message_release(&messages[k]), 0, "cannot release");
        }
    }
    stream->took_ns = bench_now_ns() - start_ns;
}

static void send_by_publish(const struct bench_stream *stream) {
    unsigned char data[BENCH_LINE_BYTES];
    for (uint64_t i = 0; i < stream->count; i++) {
        bench_payload_write(data, stream->bytes, BENCH_TOUCH_FULL, stream->first + i);
        bench_expect(tarn_publisher_publish(publisher, data, stream->bytes), 1, "cannot publish");
    }
}

static void send_by_loan(const struct bench_stream *stream) {
    for (uint64_t i = 0; i < stream->count; i++) {
        tarn_loan loan;
        bench_expect(tarn_publisher_loan(publisher, stream->bytes, &loan), 1, "cannot get a loan");
        bench_payload_write(loan.data, stream->bytes, stream->touch, stream->first + i);
        bench_expect(tarn_loan_send(&loan), 1, "cannot send");
    }
}

double bench_stream_run(struct bench_pair *pair, struct bench_stream *stream) {
    bench_pair_begin(pair, take_all, stream, sizeof(*stream));
    if (stream->by_loan) {
        send_by_loan(stream);
    } else {
        send_by_publish(stream);
    }
    struct bench_stream result;
    bench_pair_finish(pair, &result, sizeof(result));
    stream->first += stream->count;
    return (double)(stream->count - 1) / (double)result.took_ns * 1e9;
}

static uint64_t count_for(double per_second, double seconds) {
    double count = per_second * seconds;
    return count < 100 ? 100 : (uint64_t)count;
}

void bench_stream_warm_up(struct bench_pair *pair, struct bench_stream *stream, double seconds) {
    stream->count = 1000;
    stream->count = count_for(bench_stream_run(pair, stream), 0.1);
    stream->count = count_for(bench_stream_run(pair, stream), seconds);
}

void bench_stream_open(struct bench_pair *pair, uint64_t limit_bytes) {
    tarn_publisher_options how = {.struct_bytes = sizeof(how), .memory_limit_bytes = limit_bytes};
    bench_expect(tarn_publisher_open(&publisher, "bench/stream", &how), 0, "cannot open the publisher");
    bench_pair_begin(pair, open_there, NULL, 0);
    bench_pair_finish(pair, NULL, 0);
}

void bench_stream_close(struct bench_pair *pair) {
    tarn_publisher_close(publisher);
    bench_pair_begin(pair, close_there, NULL, 0);
    bench_pair_finish(pair, NULL, 0);
}
