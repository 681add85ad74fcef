/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * What the scenarios of bench_compare share: the run, one process's ends, sending and taking of numbered messages. The
 * main program, ../compare.c, has the scenarios of publish and subscribe; each other pattern has a file here.
 */
#ifndef TARN_BENCH_RUN_H
#define TARN_BENCH_RUN_H

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>

#include "../common.h"
#include "../peers/peer.h"

#define LAST UINT64_MAX /* seed of the message that ends a run */
#define SAMPLES_MAX (1u << 21)
#define WAKEUP_GAP_NS 300000
/* So many messages, so that memory has been through every place it will rotate through, and for a time: the first tenths of
   a second of anything that moves much memory are slow on virtual machines. */
#define WARM_UP_COUNT 40
#define WARM_UP_SECONDS 0.1
#define WARM_UP_STREAM_SECONDS 0.3
#define WARM_UP_SECONDS_MAX 2.0

struct compare_run {
    const struct peer *peer;
    struct peer_channel there, back;
    enum bench_touch touch;
    double seconds, warm_up_seconds;
    uint32_t handles; /* senders or receivers of fanin and fanout, workers of queue */
    uint64_t count;   /* of instructions */
    cpu_set_t cpus;   /* that may be used */
};
extern struct compare_run run;

/* One process's ends. */
struct compare_ends {
    void *senders[PEER_HANDLES_MAX], *receivers[PEER_HANDLES_MAX];
    uint32_t sender_count, receiver_count;
    void *memory; /* for the next message of the first sender, or NULL */
};
extern struct compare_ends own;

extern struct bench_samples samples, more_samples;

/* In this process: senders or receivers of a channel, until what they send arrives. */
void open_senders(const struct peer_channel *channel);
void connect_senders(void);
void close_own(void);
/* In both: senders of `there` and receivers of `back` here, the others there. */
void open_ends(struct bench_pair *pair);
void close_ends(struct bench_pair *pair);

/* There and back by messages: what a pair of one-way channels makes of latency, call and notify. */
void bounce(struct bench_pair *pair, bool warm_up);
/* As a member of the run's object of JSON. parts: what each time is divided by. */
void print_times(const char *name, struct bench_samples *of, double parts);

/* compare_call.c and so on: see the head of ../compare.c. */
void measure_call(struct bench_pair *pair);
void measure_notify(struct bench_pair *pair);
void measure_value(struct bench_pair *pair);
void measure_queue(struct bench_pair *pair);

static inline void send_seed(void *sender, uint64_t seed) {
    bench_payload_write(run.peer->loan(sender), run.there.bytes, run.touch, seed);
    run.peer->send(sender);
}

static inline const void *take_some(void *receiver) {
    const void *data;
    while ((data = run.peer->take(receiver, run.there.sleeps)) == NULL) {
        bench_relax();
    }
    return data;
}

static inline void fail_payload(uint64_t seed, uint64_t word) {
    bench_fail("%s: message %" PRIu64 " has other bytes than were sent (%#" PRIx64 ")", run.peer->name, seed, word);
}

/* False if it is the last one. */
static inline bool check(const void *data, uint64_t seed) {
    if (__builtin_expect(bench_payload_check(data, run.there.bytes, run.touch, seed), 1)) {
        return true;
    }
    uint64_t word;
    memcpy(&word, data, sizeof(word));
    if (word != LAST) {
        fail_payload(seed, word);
    }
    return false;
}

static inline bool take_seed(void *receiver, uint64_t seed) {
    bool more = check(take_some(receiver), seed);
    run.peer->done(receiver);
    return more;
}

/* Whether a run has been long enough. */
static inline bool is_over(bool warm_up, uint64_t passed_ticks, uint64_t count) {
    double seconds = (double)passed_ticks * bench_ns_per_tick() / 1e9;
    if (warm_up) {
        return seconds > WARM_UP_SECONDS_MAX || (seconds > run.warm_up_seconds && count >= WARM_UP_COUNT);
    }
    return seconds > run.seconds && count >= 4;
}

#endif
