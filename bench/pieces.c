/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * How long it takes until so many bytes that one process writes have been read by another, if they are sent in one
 * message or in several: a message is read when all of it is written, pieces are read while the next ones are written.
 * Beside it a Unix stream socket, which cuts what it carries by itself. Everything is written and read; one way is half
 * of a round trip.
 */
#include "common.h"

#include "tarn.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define ROUNDS_MAX 10000
#define ROUNDS_AT_ONCE 20
#define PATIENCE_NS (10LL * 1000 * 1000 * 1000)
#define WAYS_MAX 16
#define SOCKET 0 /* as a way's piece */

struct way {
    size_t piece; /* bytes of a message, or SOCKET */
    size_t bytes;
    uint64_t rounds;
};

static int sockets[2]; /* made before the fork: the partner has the second */
static int own_socket;
static unsigned char *copy; /* what goes through the socket */
static tarn_publisher *publisher;
static tarn_subscriber *subscriber;

static void open_side(const char *send_to, const char *receive_from, int number) {
    tarn_subscriber_options how = {.struct_bytes = sizeof(how), .reliable = 1};
    bench_expect(tarn_subscriber_open(&subscriber, receive_from, &how), 0, "cannot open the subscriber");
    bench_expect(tarn_publisher_open(&publisher, send_to, NULL), 0, "cannot open the publisher");
    own_socket = sockets[number];
}

static void send_pieces(const struct way *way, uint64_t round) {
    for (size_t sent = 0; sent < way->bytes; sent += way->piece) {
        tarn_loan loan;
        bench_expect(tarn_publisher_loan(publisher, way->piece, &loan), 1, "cannot get a loan");
        bench_payload_write(loan.data, way->piece, BENCH_TOUCH_FULL, round);
        bench_expect(tarn_loan_send(&loan), 1, "cannot send");
    }
}

static void receive_pieces(const struct way *way, uint64_t round) {
    for (size_t received = 0; received < way->bytes; received += way->piece) {
        tarn_message message;
        bench_expect(tarn_subscriber_receive(subscriber, &message, PATIENCE_NS), 1, "no message within 10 s");
        if (message.bytes != way->piece || message.lost ||
            !bench_payload_check(message.data, message.bytes, BENCH_TOUCH_FULL, round)) {
            bench_fail("a piece has other bytes than were sent");
        }
        bench_expect(tarn_message_release(&message), 0, "cannot release");
    }
}

static void send_through_socket(const struct way *way, uint64_t round) {
    bench_payload_write(copy, way->bytes, BENCH_TOUCH_FULL, round);
    for (size_t sent = 0; sent < way->bytes;) {
        ssize_t bytes = send(own_socket, copy + sent, way->bytes - sent, MSG_NOSIGNAL);
        bench_expect(bytes > 0, 1, "cannot send through the socket");
        sent += (size_t)bytes;
    }
}

static void receive_from_socket(const struct way *way, uint64_t round) {
    for (size_t received = 0; received < way->bytes;) {
        ssize_t bytes =
            recv(own_socket, copy + received, way->bytes - received, MSG_DONTWAIT); /* spinning, as tarn does */
        if (bytes == 0) {
            bench_fail("the other process has closed the socket");
        }
        received += bytes > 0 ? (size_t)bytes : 0;
    }
    if (!bench_payload_check(copy, way->bytes, BENCH_TOUCH_FULL, round)) {
        bench_fail("the socket gave other bytes than were sent");
    }
}

static void send_all(const struct way *way, uint64_t round) {
    way->piece == SOCKET ? send_through_socket(way, round) : send_pieces(way, round);
}

static void receive_all(const struct way *way, uint64_t round) {
    way->piece == SOCKET ? receive_from_socket(way, round) : receive_pieces(way, round);
}

static void open_there(struct bench_pair *pair, void *arguments) {
    (void)pair, (void)arguments;
    open_side("bench/pong", "bench/ping", 1);
}

static void close_there(struct bench_pair *pair, void *arguments) {
    (void)pair, (void)arguments;
    tarn_publisher_close(publisher);
    tarn_subscriber_close(subscriber);
}

static void answer_there(struct bench_pair *pair, void *arguments) {
    (void)pair;
    const struct way way = *(const struct way *)arguments;
    for (uint64_t round = 0; round < way.rounds; round++) {
        receive_all(&way, round);
        send_all(&way, round);
    }
}

static void run(struct bench_pair *pair, const struct way *way, struct bench_samples *samples) {
    bench_pair_begin(pair, answer_there, way, sizeof(*way));
    for (uint64_t round = 0; round < way->rounds; round++) {
        uint64_t start = bench_ticks();
        send_all(way, round);
        receive_all(way, round);
        bench_samples_add(samples, bench_ticks() - start);
    }
    bench_pair_finish(pair, NULL, 0);
}

static void print(const struct way *way, struct bench_samples *samples, double walking_ns,
                  struct bench_report *report) {
    char piece[32], p50[32], p99[32];
    struct bench_summary summary = bench_samples_summary(samples, 2);
    bench_format_bytes(piece, sizeof(piece), way->piece);
    printf("%18s %12s %12s\n", way->piece == SOCKET ? "Unix stream socket" : piece,
           bench_format_ns(p50, sizeof(p50), summary.p50), bench_format_ns(p99, sizeof(p99), summary.p99));
    bench_report_row(report, "pieces", "bytes", (double)way->bytes, "piece", (double)way->piece, "p50_ns", summary.p50,
                     "p99_ns", summary.p99, "walking_ns", walking_ns, NULL);
}

/* Each way in turn, some rounds at a time; the first turn only goes through the memory. */
static void measure(struct bench_pair *pair, struct way *ways, size_t count, uint64_t turns,
                    struct bench_report *report) {
    static struct bench_samples samples[WAYS_MAX];
    for (size_t i = 0; i < count; i++) {
        bench_samples_open(&samples[i], ROUNDS_MAX);
    }
    struct bench_floor before = bench_floor_measure(pair, 5 * 1000 * 1000);
    for (uint64_t turn = 0; turn <= turns; turn++) {
        for (size_t i = 0; i < count; i++) {
            run(pair, &ways[i], &samples[i]);
            samples[i].count = turn == 0 ? 0 : samples[i].count;
        }
    }
    struct bench_floor after = bench_floor_measure(pair, 5 * 1000 * 1000);
    for (size_t i = 0; i < count; i++) {
        print(&ways[i], &samples[i], before.walking_ns, report);
    }
    printf("\nWalking floor %.0f ns before, %.0f ns after%s.\n", before.walking_ns, after.walking_ns,
           bench_floor_difference(before, after) > BENCH_FLOOR_TOLERANCE ? ": the CPUs were moved meanwhile" : "");
}

/* The socket is the last one. Returns how many ways there are. */
static size_t choose_ways(const char *size, const char *pieces, struct way *ret) {
    uint64_t list[WAYS_MAX - 1];
    size_t count = bench_parse_list(pieces, list, BENCH_COUNT(list)), bytes = (size_t)bench_parse_bytes(size);
    for (size_t i = 0; i < count; i++) {
        ret[i] = (struct way){(size_t)list[i], bytes, ROUNDS_AT_ONCE};
        if (ret[i].piece < sizeof(uint64_t) || bytes % ret[i].piece != 0) {
            bench_fail("%zu bytes cannot be cut into pieces of %zu", bytes, ret[i].piece);
        }
    }
    ret[count] = (struct way){SOCKET, bytes, ROUNDS_AT_ONCE};
    return count + 1;
}

int main(int argc, char **argv) {
    const char *size = "1M", *pieces = "1M,256K,64K,16K", *turns = "20", *cpus = NULL, *json = NULL;
    const struct bench_option options[] = {
        {"--size", "BYTES", "bytes in all (1M)", &size},
        {"--pieces", "LIST", "bytes of a message, each a divisor of that (1M,256K,64K,16K)", &pieces},
        {"--turns", "COUNT", "how often each is measured, 20 round trips a time (20)", &turns},
        {"--cpus", "A,B", "the two CPUs to run on", &cpus},
        {"--json", "FILE", "write the results to FILE", &json},
    };
    bench_options_parse(argc, argv, "how long bytes take in one message or in several", options, BENCH_COUNT(options));
    struct way ways[WAYS_MAX];
    size_t count = choose_ways(size, pieces, ways), bytes = ways[0].bytes;
    bench_place_open();
    bench_expect(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0, "cannot make sockets");
    copy = malloc(bytes);
    bench_expect(copy != NULL, 1, "no memory for what goes through the socket");
    struct bench_pair pair;
    bench_pair_start(&pair, bench_cpus_choose(cpus));
    open_side("bench/ping", "bench/pong", 0);
    bench_pair_begin(&pair, open_there, NULL, 0);
    bench_pair_finish(&pair, NULL, 0);
    char name[32];
    printf("%s from CPU %d to CPU %d, written and read in full, one way, receivers spin, by the size of a message.\n\n",
           bench_format_bytes(name, sizeof(name), bytes), pair.cpus.here, pair.cpus.there);
    printf("%18s %12s %12s\n", "a message", "p50", "p99");
    struct bench_report *report = bench_report_open("pieces", json, NULL);
    measure(&pair, ways, count, (uint64_t)bench_parse_number(turns), report);
    bench_report_close(report);
    bench_pair_begin(&pair, close_there, NULL, 0);
    close_there(&pair, NULL);
    bench_pair_finish(&pair, NULL, 0);
    bench_pair_stop(&pair);
    return 0;
}
