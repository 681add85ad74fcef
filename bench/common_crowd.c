/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * What a send costs the publisher with many subscribers that are awake.
 *
 * A thousand subscribers cannot run at once on a few CPUs. So they are handles of one process on another CPU, which
 * takes every message with each of them in turn and never sleeps: the publisher sees a thousand participants with
 * positions and holds of their own, all caught up. What this cannot show is a thousand CPUs asking for one cache line.
 *
 * The publisher sends a message, timed from before the loan until after the send (reading the clock subtracted, and
 * what is written of the payload within), and waits, untimed, until every subscriber has taken and released it. Blocks
 * of messages alternate between a topic with the many and a topic with one, so that the ratio is of the same seconds;
 * and the one gets its messages as far apart as the many need to take theirs, since a publisher that has waited for 50
 * us has colder caches and branch predictors than one that has not, however many subscribers there are. The mean
 * contains what is done only now and then, such as looking through all subscribers' positions when an extent is reused;
 * times by more than 50 us longer than the median are the scheduler's and are left out of all figures, and counted.
 */
#include "common.h"

#include "tarn.h"

#define SUBSCRIBERS_MAX BENCH_CROWD_MAX
#define BLOCK BENCH_CROWD_BLOCK
#define BLOCKS_MAX 400
#define TOO_LONG_NS 50e3

struct crowd {
    struct bench_crowd what;
    uint32_t topic; /* 0: one subscriber, 1: many */
    uint64_t messages;
};

static const char *const topics[2] = {"bench/one", "bench/many"};
static tarn_publisher *publishers[2];
static uint64_t sent[2];
static tarn_subscriber *subscribers[2][SUBSCRIBERS_MAX]; /* in the partner, as is the next */
static uint64_t taken[2];

/* The partner says in this line how many messages all its subscribers have taken. */
static _Atomic uint64_t *taken_by_all(struct bench_pair *pair) {
    return (_Atomic uint64_t *)(void *)pair->bulk_here;
}

static void open_there(struct bench_pair *pair, void *arguments) {
    (void)pair;
    const struct crowd *crowd = arguments;
    tarn_subscriber_options how = {.struct_bytes = sizeof(how), .reliable = crowd->what.reliable};
    for (uint64_t i = 0; i < crowd->what.subscribers; i++) {
        bench_expect(tarn_subscriber_open(&subscribers[crowd->topic][i], topics[crowd->topic], &how), 0,
                     "cannot open a subscriber");
    }
    taken[crowd->topic] = 0;
}

static void close_there(struct bench_pair *pair, void *arguments) {
    (void)pair;
    const struct crowd *crowd = arguments;
    for (uint64_t i = 0; i < crowd->what.subscribers; i++) {
        tarn_subscriber_close(subscribers[crowd->topic][i]);
    }
}

static void take_one(tarn_subscriber *subscriber, size_t bytes, enum bench_touch touch, uint64_t number) {
    tarn_message message;
    int result;
    while ((result = tarn_subscriber_take(subscriber, &message)) == 0) {
        bench_relax();
    }
    bench_expect(result, 1, "cannot take");
    if (message.sequence != number || message.bytes != bytes ||
        !bench_payload_check(message.data, bytes, touch, number)) {
        bench_fail("a subscriber took something else than message %llu", (unsigned long long)number);
    }
    bench_expect(tarn_message_release(&message), 0, "cannot release");
}

static void take_there(struct bench_pair *pair, void *arguments) {
    const struct crowd crowd = *(const struct crowd *)arguments;
    for (uint64_t i = 0; i < crowd.messages; i++) {
        taken[crowd.topic]++;
        for (uint64_t s = 0; s < crowd.what.subscribers; s++) {
            enum bench_touch touch = s == 0 ? crowd.what.touch : BENCH_TOUCH_LINE;
            take_one(subscribers[crowd.topic][s], crowd.what.bytes, touch, taken[crowd.topic]);
        }
        atomic_store_explicit(taken_by_all(pair), taken[crowd.topic], memory_order_release);
    }
}

/* The median of some runs: being preempted in one must not make all sends look too cheap. */
static double clock_cost_ticks(void) {
    enum { RUNS = 21, READINGS = 50 };
    double costs[RUNS];
    for (int run = 0; run < RUNS; run++) {
        uint64_t start = bench_ticks_ordered();
        for (int i = 0; i < READINGS; i++) {
            bench_ticks_ordered();
        }
        costs[run] = (double)(bench_ticks_ordered() - start) / READINGS;
    }
    return bench_median(costs, RUNS);
}

static uint64_t send_one(tarn_publisher *publisher, const struct bench_crowd *what, uint64_t number) {
    tarn_loan loan;
    uint64_t start = bench_ticks_ordered();
    int lent = tarn_publisher_loan(publisher, what->bytes, &loan);
    if (lent == 1) {
        bench_payload_write(loan.data, what->bytes, what->touch, number);
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
        uint64_t ticks = send_one(publishers[crowd->topic], &crowd->what, number);
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

static struct bench_crowd_cost cost_of(struct bench_samples *samples, double clock_ticks) {
    double usual_ns = bench_samples_summary(samples, 1).p50;
    uint64_t limit = (uint64_t)((TOO_LONG_NS + usual_ns) / bench_ns_per_tick());
    size_t kept = 0, all = samples->count;
    for (size_t i = 0; i < all; i++) {
        if (samples->values[i] <= limit) {
            samples->values[kept++] = samples->values[i];
        }
    }
    samples->count = kept;
    struct bench_summary summary = bench_samples_summary(samples, 1);
    double clock_ns = clock_ticks * bench_ns_per_tick();
    return (struct bench_crowd_cost){summary.p50 - clock_ns, summary.mean - clock_ns, summary.p99 - clock_ns,
                                     all - kept};
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

struct bench_crowd_costs bench_crowd_measure(struct bench_pair *pair, const struct bench_crowd *what,
                                             int64_t duration_ns) {
    static struct bench_samples samples[2];
    struct crowd crowds[2];
    double clock_ticks = clock_cost_ticks();
    for (uint32_t topic = 0; topic < 2; topic++) {
        crowds[topic] = (struct crowd){*what, topic, BLOCK};
        if (topic == 0)
            crowds[topic].what.subscribers = 1;
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
    struct bench_crowd_costs costs = {.messages = samples[1].count};
    costs.one = cost_of(&samples[0], clock_ticks);
    costs.many = cost_of(&samples[1], clock_ticks);
    close_topic(pair, &crowds[0]);
    close_topic(pair, &crowds[1]);
    return costs;
}
