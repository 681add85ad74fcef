/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A message there and one back over two topics, "bench/ping" and "bench/pong". What is timed is what a user does: on
 * each side receive, read; fill in, send; then, with the answer on its way, release what was read, and get a loan for
 * the next, as who cares for time would. One way is half of a round trip.
 *
 * Each side keeps its handles in a variable of this file (the two processes have one each). Before a run is timed, the
 * same goes to and fro until memory has been through every place it will rotate through: warm-up is by count and time.
 */
#include "common.h"

#include "tarn.h"

#include <inttypes.h>
#include <string.h>

#define ANSWER_NS (10LL * 1000 * 1000 * 1000)
#define WARM_UP_COUNT 20000
#define WARM_UP_COUNT_LEAST 40
#define WARM_UP_NS (150LL * 1000 * 1000)
#define LAST_ROUND UINT64_MAX /* seed of the message that ends a run */

static struct {
    struct bench_pingpong options;
    tarn_publisher *publisher;
    tarn_subscriber *subscriber;
    tarn_loan loan; /* for the next message */
    uint64_t rounds;
    unsigned char copy_from[BENCH_LINE_BYTES]; /* for sending small messages by publish */
} side;

static void get_loan(void) {
    if (!side.options.publish) {
        bench_expect(tarn_publisher_loan(side.publisher, side.options.bytes, &side.loan), 1, "cannot get a loan");
    }
}

static void open_side(const struct bench_pingpong *options, const char *send_to, const char *receive_from) {
    side.options = *options;
    tarn_subscriber_options how = {.struct_bytes = sizeof(how), .wait_strategy = options->wait_strategy};
    bench_expect(tarn_subscriber_open(&side.subscriber, receive_from, &how), 0, "cannot open the subscriber");
    bench_expect(tarn_publisher_open(&side.publisher, send_to, NULL), 0, "cannot open the publisher");
    get_loan();
    side.rounds = 0;
}

static void close_side(void) {
    tarn_publisher_close(side.publisher);
    tarn_subscriber_close(side.subscriber);
}

static inline void send_one(uint64_t seed) {
    size_t bytes = side.options.bytes;
    if (side.options.publish) {
        bench_payload_write(side.copy_from, bytes, BENCH_TOUCH_FULL, seed);
        bench_expect(tarn_publisher_publish(side.publisher, side.copy_from, bytes), 1, "cannot publish");
    } else {
        bench_payload_write(side.loan.data, bytes, side.options.touch, seed);
        bench_expect(tarn_loan_send(&side.loan), 1, "cannot send");
    }
}

/* Receives and checks one message. False if it is the one that ends the run. */
static inline bool receive_one(tarn_message *message, uint64_t seed) {
    bench_expect(tarn_subscriber_receive(side.subscriber, message, ANSWER_NS), 1, "no message within 10 s");
    if (message->lost != 0) {
        bench_fail("%" PRIu64 " messages were lost where one at a time is under way", message->lost);
    }
    if (message->bytes == side.options.bytes &&
        bench_payload_check(message->data, message->bytes, side.options.touch, seed)) {
        return true;
    }
    uint64_t word = 0;
    memcpy(&word, message->data, message->bytes < sizeof(word) ? message->bytes : sizeof(word));
    if (word != LAST_ROUND) {
        bench_fail("message %" PRIu64 " has other bytes than were sent", message->sequence);
    }
    return false;
}

static inline void release_one(tarn_message *message) {
    bench_expect(tarn_message_release(message), 0, "cannot release");
}

static void open_there(struct bench_pair *pair, void *arguments) {
    (void)pair;
    struct bench_pingpong options;
    memcpy(&options, arguments, sizeof(options));
    open_side(&options, "bench/pong", "bench/ping");
}

static void close_there(struct bench_pair *pair, void *arguments) {
    (void)pair, (void)arguments;
    close_side();
}

static void answer_there(struct bench_pair *pair, void *arguments) {
    (void)pair, (void)arguments;
    tarn_message message;
    while (receive_one(&message, side.rounds)) {
        send_one(side.rounds++);
        release_one(&message);
        get_loan();
    }
    release_one(&message);
}

void bench_pingpong_run(struct bench_pair *pair, uint64_t count, int64_t duration_ns, struct bench_samples *samples) {
    bench_pair_begin(pair, answer_there, NULL, 0);
    tarn_message message;
    uint64_t start = bench_ticks(), last = start;
    uint64_t limit = duration_ns > 0 ? (uint64_t)((double)duration_ns / bench_ns_per_tick()) : UINT64_MAX;
    send_one(side.rounds);
    get_loan();
    for (uint64_t round = 1;; round++) {
        receive_one(&message, side.rounds++);
        uint64_t now = bench_ticks();
        if (samples != NULL) {
            bench_samples_add(samples, now - last);
        }
        last = now;
        bool more = round < count && now - start < limit;
        send_one(more ? side.rounds : LAST_ROUND);
        release_one(&message);
        get_loan();
        if (!more) {
            break;
        }
    }
    bench_pair_finish(pair, NULL, 0);
}

void bench_pingpong_open(struct bench_pair *pair, const struct bench_pingpong *options) {
    if (options->bytes < sizeof(uint64_t)) {
        bench_fail("messages have 8 bytes at least here, for the number that they carry");
    }
    if (options->publish && options->bytes > sizeof(side.copy_from)) {
        bench_fail("sending by publish is for messages of at most %zu bytes here", sizeof(side.copy_from));
    }
    open_side(options, "bench/ping", "bench/pong");
    bench_pair_begin(pair, open_there, options, sizeof(*options));
    bench_pair_finish(pair, NULL, 0);
    bench_pingpong_run(pair, WARM_UP_COUNT_LEAST, 0, NULL);
    bench_pingpong_run(pair, WARM_UP_COUNT, WARM_UP_NS, NULL);
}

void bench_pingpong_close(struct bench_pair *pair) {
    bench_pair_begin(pair, close_there, NULL, 0);
    close_side();
    bench_pair_finish(pair, NULL, 0);
}
