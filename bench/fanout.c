/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * What a send costs the publisher with many subscribers that are awake.
 *
 * A thousand subscribers cannot run at once on a few CPUs. So they are handles of one process on another CPU, which
 * takes every message with each of them in turn and never sleeps: the publisher sees a thousand participants with
 * positions and holds of their own, all caught up. What this cannot show is a thousand CPUs asking for one cache line.
 *
 * The publisher sends a message, timed from before the loan until after the send (reading the clock subtracted, first
 * line written), and waits, untimed, until every subscriber has taken and released it. Blocks of messages alternate
 * between a topic with the many and a topic with one, so that the ratio is of the same seconds; and the one gets its
 * messages as far apart as the many need to take theirs, since a publisher that has waited for 50 us has colder caches and
 * branch predictors than one that has not, however many subscribers there are. The mean contains what is
 * done only now and then, such as looking through all subscribers' positions when an extent is reused; times above
 * 50 us are the scheduler's and are left out of all figures, and counted.
 */
#include "common.h"

#include "tarn.h"

#include <stdio.h>
#include <string.h>

#define COUNTS_MAX 16
#define SUBSCRIBERS_MAX 4000
#define BLOCK 250
#define BLOCKS_MAX 400
#define TOO_LONG_NS 50e3
#define MARK 1.2
#define MARK_SUBSCRIBERS 1000

struct crowd {
    uint32_t topic; /* 0: one subscriber, 1: many */
    uint64_t subscribers;
    uint64_t messages;
    size_t bytes;
    bool reliable;
};

static const char *const topics[2] = {"bench/one", "bench/many"};
static tarn_publisher *publishers[2];
static uint64_t sent[2];
static tarn_subscriber *subscribers[2][SUBSCRIBERS_MAX]; /* in the partner, as is the next */
static uint64_t taken[2];

/* The partner says in this line how many messages all its subscribers have taken. */
static _Atomic uint64_t *taken_by_all(struct bench_pair *pair) {
    return &pair->ring_here[1].word;
}

static void open_there(struct bench_pair *pair, void *arguments) {
    (void)pair;
    const struct crowd *crowd = arguments;
    tarn_subscriber_options how = {.struct_bytes = sizeof(how), .reliable = crowd->reliable};
    for (uint64_t i = 0; i < crowd->subscribers; i++) {
        bench_expect(tarn_subscriber_open(&subscribers[crowd->topic][i], topics[crowd->topic], &how), 0,
                     "cannot open a subscriber");
    }
    taken[crowd->topic] = 0;
}

static void close_there(struct bench_pair *pair, void *arguments) {
    (void)pair;
    const struct crowd *crowd = arguments;
    for (uint64_t i = 0; i < crowd->subscribers; i++) {
        tarn_subscriber_close(subscribers[crowd->topic][i]);
    }
}

static void take_one(tarn_subscriber *subscriber, size_t bytes, uint64_t number) {
    tarn_message message;
    int result;
    while ((result = tarn_subscriber_take(subscriber, &message)) == 0) {
        bench_relax();
    }
    bench_expect(result, 1, "cannot take");
    if (message.sequence != number || message.bytes != bytes ||
        !bench_payload_check(message.data, bytes, BENCH_TOUCH_LINE, number)) {
        bench_fail("a subscriber took something else than message %llu", (unsigned long long)number);
    }
    bench_expect(tarn_message_release(&message), 0, "cannot release");
}

static void take_there(struct bench_pair *pair, void *arguments) {
    const struct crowd crowd = *(const struct crowd *)arguments;
    for (uint64_t i = 0; i < crowd.messages; i++) {
        taken[crowd.topic]++;
        for (uint64_t s = 0; s < crowd.subscribers; s++) {
            take_one(subscribers[crowd.topic][s], crowd.bytes, taken[crowd.topic]);
        }
        atomic_store_explicit(taken_by_all(pair), taken[crowd.topic], memory_order_release);
    }
}

static double clock_cost_ticks(void) {
    uint64_t start = bench_ticks_ordered();
    for (int i = 0; i < 1000; i++) {
        bench_ticks_ordered();
    }
    return (double)(bench_ticks_ordered() - start) / 1000;
}

static uint64_t send_one(tarn_publisher *publisher, size_t bytes, uint64_t number) {
    tarn_loan loan;
    uint64_t start = bench_ticks_ordered();
    int lent = tarn_publisher_loan(publisher, bytes, &loan);
    if (lent == 1) {
        bench_payload_write(loan.data, bytes, BENCH_TOUCH_LINE, number);
        lent = tarn_loan_send(&loan);
    }
    uint64_t end = bench_ticks_ordered();
    bench_expect(lent, 1, "cannot send");
    return end - start;
}

/* Sends a block of messages to one of the topics, each taken by all before the next, at least pace_ticks apart. Returns
   how far apart they were. */
static uint64_t send_block(struct bench_pair *pair, const struct crowd *crowd, uint64_t pace_ticks,
                           struct bench_samples *samples) {
    atomic_store_explicit(taken_by_all(pair), 0, memory_order_relaxed);
    bench_pair_begin(pair, take_there, crowd, sizeof(*crowd));
    uint64_t begin = bench_ticks();
    for (uint64_t i = 0; i < crowd->messages; i++) {
        uint64_t number = ++sent[crowd->topic], start = bench_ticks();
        uint64_t ticks = send_one(publishers[crowd->topic], crowd->bytes, number);
        if (samples != NULL) {
            bench_samples_add(samples, ticks);
        }
        while (atomic_load_explicit(taken_by_all(pair), memory_order_acquire) != number ||
               bench_ticks() - start < pace_ticks) {
            bench_relax();
        }
    }
    uint64_t apart = (bench_ticks() - begin) / crowd->messages;
    bench_pair_finish(pair, NULL, 0);
    return apart;
}

struct cost {
    double p50, mean, p99;
    size_t left_out;
};

static struct cost cost_of(struct bench_samples *samples, double clock_ticks) {
    uint64_t limit = (uint64_t)(TOO_LONG_NS / bench_ns_per_tick());
    size_t kept = 0, all = samples->count;
    for (size_t i = 0; i < all; i++) {
        if (samples->values[i] <= limit) {
            samples->values[kept++] = samples->values[i];
        }
    }
    samples->count = kept;
    struct bench_summary summary = bench_samples_summary(samples, 1);
    double clock_ns = clock_ticks * bench_ns_per_tick();
    return (struct cost){summary.p50 - clock_ns, summary.mean - clock_ns, summary.p99 - clock_ns, all - kept};
}

static void open_topic(struct bench_pair *pair, struct crowd *crowd) {
    bench_expect(tarn_publisher_open(&publishers[crowd->topic], topics[crowd->topic], NULL), 0,
                 "cannot open the publisher");
    bench_pair_begin(pair, open_there, crowd, sizeof(*crowd));
    bench_pair_finish(pair, NULL, 0);
    sent[crowd->topic] = 0;
}

static void close_topic(struct bench_pair *pair, const struct crowd *crowd) {
    tarn_publisher_close(publishers[crowd->topic]);
    bench_pair_begin(pair, close_there, crowd, sizeof(*crowd));
    bench_pair_finish(pair, NULL, 0);
}

static void report_costs(struct bench_report *report, size_t bytes, uint64_t subscriber_count, size_t messages,
                         struct cost one, struct cost many) {
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
    static struct bench_samples samples[2];
    struct crowd crowds[2];
    double clock_ticks = clock_cost_ticks();
    for (uint32_t topic = 0; topic < 2; topic++) {
        crowds[topic] = (struct crowd){topic, topic == 0 ? 1 : subscriber_count, BLOCK, bytes, reliable};
        open_topic(pair, &crowds[topic]);
        if (samples[topic].values == NULL) {
            bench_samples_open(&samples[topic], BLOCK * BLOCKS_MAX);
        }
        samples[topic].count = 0;
    }
    int64_t start_ns = bench_now_ns();
    uint64_t pace_ticks = 0;
    for (int warm = 0; warm < 80 && (warm < 2 || bench_now_ns() - start_ns < duration_ns / 4); warm++) {
        send_block(pair, &crowds[0], 0, NULL);
        pace_ticks = send_block(pair, &crowds[1], 0, NULL);
    }
    start_ns = bench_now_ns();
    for (int block = 0; block < BLOCKS_MAX && (block < 4 || bench_now_ns() - start_ns < duration_ns); block++) {
        send_block(pair, &crowds[0], pace_ticks, &samples[0]);
        pace_ticks = send_block(pair, &crowds[1], 0, &samples[1]);
    }
    size_t messages = samples[1].count;
    struct cost one = cost_of(&samples[0], clock_ticks), many = cost_of(&samples[1], clock_ticks);
    report_costs(report, bytes, subscriber_count, messages, one, many);
    close_topic(pair, &crowds[0]);
    close_topic(pair, &crowds[1]);
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
        pair.cpus.here, pair.cpus.there, BLOCK);
    printf("%8s %11s | %9s %9s %9s | %9s %9s %9s | %5s %5s | %8s %4s\n", "bytes", "subscribers", "one: p50", "mean",
           "p99", "all: p50", "mean", "p99", "/p50", "/mean", "messages", "cut");
    for (size_t i = 0; i < size_count; i++) {
        for (size_t k = 0; k < count_count; k++) {
            if (count_list[k] < 1 || count_list[k] > SUBSCRIBERS_MAX) {
                bench_fail("--subscribers are 1 to %d", SUBSCRIBERS_MAX);
            }
            measure(&pair, (size_t)size_list[i], count_list[k], reliable != NULL, duration_ns, report);
        }
    }
    bench_report_close(report);
    bench_pair_stop(&pair);
    return 0;
}
